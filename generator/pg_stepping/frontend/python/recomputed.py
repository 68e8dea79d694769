"""What the operators mean, computed from whole ZSets: the in-memory store, and the oracle of the tests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from decimal import Context, Decimal
from typing import Any, TypeVar

from pg_stepping.frontend.python import nesting
from pg_stepping.frontend.python.data import EMPTY, Pair, hashable
from pg_stepping.frontend.python.index import Index
from pg_stepping.frontend.python.zset import ZSetPython

T = TypeVar("T")
U = TypeVar("U")
Function = Callable[[Any], Any]


def map_rows(rows: ZSetPython[T], f: Callable[[T], U]) -> ZSetPython[U]:
    return ZSetPython((f(row), count) for row, count in rows.iter())


def map_many(rows: ZSetPython[T], f: Callable[[T], Iterable[U]]) -> ZSetPython[U]:
    return ZSetPython((made, count) for row, count in rows.iter() for made in f(row))


def join(
    left: ZSetPython[Any], right: ZSetPython[Any], key_left: Function, key_right: Function, outer: bool
) -> ZSetPython[Any]:
    """Pairs of equal keys; if `outer`, left rows whose key no right row has, with Empty()."""
    partners: dict[object, list[tuple[Any, int]]] = defaultdict(list)
    for row, count in right.iter():
        partners[hashable(key_right(row))].append((row, count))
    found: list[tuple[Any, int]] = []
    for row, count in left.iter():
        key = key_left(row)
        there = [] if _has_none(key) else partners.get(hashable(key), [])
        found += [(Pair(row, other), count * copies) for other, copies in there]
        if outer and not there:
            found.append((Pair(row, EMPTY), count))
    return ZSetPython(found)


def _has_none(key: Any) -> bool:
    return any(_has_none(k) for k in key) if isinstance(key, tuple) else key is None


def reduce(
    rows: ZSetPython[Any],
    key: Function,
    pick_value: Function,
    zero: Callable[[], Any],
    made: Callable[[Any, Any], Any],
) -> ZSetPython[Any]:
    """`made(total, key)` for each key that has rows."""
    groups: dict[object, tuple[Any, list[tuple[Any, int]]]] = {}
    for row, count in rows.iter():
        _, values = groups.setdefault(hashable(key(row)), (key(row), []))
        values.append((pick_value(row), count))
    return ZSetPython((made(total(zero(), values), k), 1) for k, values in groups.values())


def total(zero: Any, values: Iterable[tuple[Any, int]]) -> Any:
    """Zero and each value as often as it is there; floats by their shortest decimals, exactly."""
    if not isinstance(zero, float | Decimal):
        for value, count in values:
            zero = zero + value * count
        return zero
    exact = Context(prec=2000, traps=[])
    result = Decimal(repr(zero)) if isinstance(zero, float) else zero
    for value, count in values:
        number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
        result = exact.add(result, exact.multiply(number, Decimal(count)))
    return float(result) if isinstance(zero, float) else result


def first_n(
    rows: ZSetPython[Any], index: Index[Any, Any], n: int, in_partition: Function, inner: Function
) -> ZSetPython[Any]:
    """The first `n` copies in each partition; `inner` is the row that the index is of."""
    partitions: dict[object, list[Any]] = defaultdict(list)
    for row, count in rows.iter():
        if count > 0:
            partitions[hashable(in_partition(row))].append((row, count))
    found: list[tuple[Any, int]] = []
    for members in partitions.values():
        left = n
        for row, count in sorted(members, key=lambda m: index.order(index.f(inner(m[0])), inner(m[0]))):
            found.append((row, min(count, left)))
            left -= min(count, left)
    return ZSetPython(found)


def closure(rows: ZSetPython[Any], depth: int) -> ZSetPython[Any]:
    """The transitive closure of the pairs in each group; an end that is None leads nowhere."""
    groups: dict[tuple[Any, ...], dict[Hashable, set[Any]]] = defaultdict(lambda: defaultdict(set))
    for row, count in rows.iter():
        if count > 0:
            pair = nesting.inner(row, depth)
            groups[nesting.keys(row, depth)][pair.left].add(pair.right)
    return ZSetPython(
        (nesting.within(pair, keys), 1) for keys, edges in groups.items() for pair in _reached(edges)
    )


def _reached(edges: dict[Hashable, set[Any]]) -> set[Any]:
    found: set[Any] = set()
    for start in edges:
        todo = list(edges[start])
        reached: set[Any] = set()
        while todo:
            node = todo.pop()
            if node in reached:
                continue
            reached.add(node)
            if not _has_none(node):
                todo += edges.get(node, ())
        found |= {Pair(start, node) for node in reached}
    return found
