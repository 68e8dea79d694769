# ruff: noqa: UP031, UP032, RUF015, C416 -- ways to write it that others would write better
"""What differs from process to process is refused where it can be seen: orders of sets, addresses, zones, clocks."""

from __future__ import annotations

import collections
import decimal
import functools
import itertools
import json
import math
import operator
from datetime import UTC, date, datetime, timedelta

import pytest

from pg_stepping.errors import UnsupportedQuery
from pg_stepping.frontend import python as st
from pg_stepping.frontend.python.functions import compile_row_function
from pg_stepping.frontend.python.rows import row_of

WORDS = frozenset(["a", "b"])
CHANGED: list[int] = []


class Row(st.Data):
    id: int
    name: str
    tags: frozenset[str]
    more: frozenset[str] | None
    ints: frozenset[int]
    floats: frozenset[float]
    at: datetime
    instant: st.AwareDatetime
    day: date


def by_annotation(tags: frozenset[str]) -> str:
    return ",".join(tags)


class Own:
    @staticmethod
    def add(n: int) -> int:
        return n * 3 % 7


def total(numbers: frozenset[int]) -> int:
    return sum(numbers)


def total_again(numbers: frozenset[int]) -> float:
    numbers = {float(n) for n in numbers}
    return sum(numbers)


def by_call(tags):
    first, *_ = tags
    return first


def assigned(r: Row) -> str:
    found = r.tags - WORDS
    for tag in found:
        return tag
    return ""


def zoneless(r: Row) -> float:
    later = r.at + timedelta(days=1)
    return later.timestamp()


def zoneless_argument(at: datetime) -> float:
    return at.timestamp()


SETS = [
    lambda r: ",".join(r.tags), lambda r: ",".join(r.tags | {"x"}), lambda r: ",".join(set(r.name).union("x")),
    lambda r: ",".join(sorted(r.tags, key=len)), lambda r: max(r.tags, key=len), lambda r: max((t for t in r.tags), key=len),
    lambda r: ",".join([t for t in r.tags]), lambda r: by_annotation(r.tags), lambda r: by_call(r.tags),
    lambda r: "%s" % (r.tags,), lambda r: "{}".format(r.tags), lambda r: f"{r.tags}", lambda r: f"{WORDS}{r.name}",
    lambda r: functools.reduce(lambda a, b: a + b, r.tags), lambda r: "".join(itertools.chain(r.tags)),
    lambda r: collections.Counter(r.tags).most_common(1)[0][0], lambda r: next(iter(dict.fromkeys(r.tags))),
    lambda r: next(iter(r.more or frozenset())), lambda r: json.dumps(list(r.tags)), lambda r: tuple(WORDS),
    lambda r: [*r.tags][0], lambda r: sum(float(t) for t in r.tags), lambda r: (lambda s: "".join(s))(r.tags),
    lambda r: "".join(r.tags if r.id else WORDS), lambda r: "".join(filter(None, r.tags)), lambda r: str((r.tags, 1)),
    assigned, lambda r: sum(r.floats), lambda r: sum(r.ints, 0.5), lambda r: sum(n / 3 for n in r.ints), lambda r: total_again(r.ints),
]  # fmt: skip
ADDRESSES = [
    lambda r: repr(object()), lambda r: str(lambda: 1), lambda r: f"{(c for c in r.name)}", lambda r: "%s" % object(),
    lambda r: str(map(str, r.name)), lambda r: str(by_call), lambda r: f"{[by_call]}{r.name}", lambda r: "{}".format(by_call),
]  # fmt: skip
OTHERS = [
    (lambda r: r.name.__hash__(), "__hash__() (it may differ from process to process)"),
    (lambda r: r.day.today(), "today() (the clock)"), (lambda r: type(r.at).now(), "now() (the clock)"),
    (lambda r: (r.at + timedelta(1)).timestamp(), "timestamp() (the server's time zone)"),
    (lambda r: datetime(2024, 1, 1).timestamp(), "timestamp() (the server's time zone)"),
    (zoneless, "later.timestamp() (the server's time zone) in zoneless"),
    (lambda r: zoneless_argument(r.at), "at.timestamp() (the server's time zone) in zoneless_argument"),
    (lambda r: datetime.fromtimestamp(r.id), "fromtimestamp (the server's time zone)"),
    (lambda r: datetime.fromtimestamp(r.id, None), "fromtimestamp (the server's time zone)"),
    (lambda r: list.append(CHANGED, r.id), "the global list, which it changes"),
    (lambda r: r.at.strftime("%Y%s"), "r.at.strftime('%Y%s'): the format %s (the server's time zone)"),
    (lambda r: f"{r.instant:%s}", "the format %s (the server's time zone)"),
    (lambda r: decimal.getcontext().prec, "decimal.getcontext (the state of the process)"),
]  # fmt: skip
PURE = [
    lambda r: ",".join(sorted(r.tags)), lambda r: ",".join(sorted(r.tags, key=lambda t: (len(t), t))), lambda r: max(r.tags),
    lambda r: sum(len(t) for t in r.tags), lambda r: sum(1 for t in r.tags if t in WORDS), lambda r: sum(sorted(map(len, sorted(r.tags)))),
    lambda r: any(t > "a" for t in r.tags), lambda r: len({c for c in r.name}), lambda r: sorted(t.upper() for t in r.tags | WORDS),
    lambda r: math.fsum(map(float, sorted(r.tags))), lambda r: min((len(t) for t in r.tags), default=0), lambda r: by_call(sorted(r.tags)),
    lambda r: r.instant.timestamp(), lambda r: r.at.replace(tzinfo=UTC).timestamp(), lambda r: datetime.fromtimestamp(r.id, tz=UTC),
    lambda r: datetime.fromtimestamp(r.id, UTC), lambda r: "%s" % r.name.upper(), lambda r: r.tags.issubset(WORDS),
    lambda r: sum(r.ints), lambda r: sum(n * 2 for n in r.ints if n > 1), lambda r: total(r.ints), lambda r: r.at.strftime("%%s %A %c"),
    lambda r: date(2024, 1, 1).strftime("%A") + r.name.upper(), lambda r: functools.reduce(operator.add, map(len, r.name), 0),
    lambda r: operator.add(r.id, 1), lambda r: Own.add(r.id),
]  # fmt: skip


def compiled(f):
    return compile_row_function(f, row_of(Row), returns=str)


def numbered(cases):
    return [pytest.param(f, id=f"{n}") for n, f in enumerate(cases)]


@pytest.mark.parametrize("f", numbered(SETS))
def test_the_order_of_a_set_is_refused(f):
    with pytest.raises(
        UnsupportedQuery, match=rf"the order of a set \(use sorted\(\)\) in .* at {__file__}:"
    ):
        compiled(f)


@pytest.mark.parametrize("f", numbered(ADDRESSES))
def test_an_address_is_refused(f):
    with pytest.raises(UnsupportedQuery, match=rf"the text of what has only an address in .* at {__file__}:"):
        compiled(f)


@pytest.mark.parametrize(("f", "construct"), OTHERS)
def test_clocks_zones_and_contexts_are_refused(f, construct):
    with pytest.raises(UnsupportedQuery) as refused:
        compiled(f)
    assert construct in str(refused.value)


@pytest.mark.parametrize("f", numbered(PURE))
def test_what_has_one_value_is_not_refused(f):
    compiled(f)
