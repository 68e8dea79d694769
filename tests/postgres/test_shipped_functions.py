"""Row functions that run as Python in the database: what goes there, what is refused, and that views stay right."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import random
import re
import time
import unicodedata
import urllib.parse
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from uuid import UUID

import pytest

import pg_stepping as st
from pg_stepping.errors import UnsupportedQuery, UnsupportedServer

WORDS = re.compile(r"\w+")
RATES = {"a": Decimal("1.5"), "b": Decimal("0.1")}
VOWELS = frozenset("aeiou")
COUNT = 0
SEEN: list[int] = []


class Kind(Enum):
    LETTER = "letter"
    OTHER = "other"


class Thing(st.Data):
    id: int
    name: str
    note: str | None
    amount: Decimal
    at: datetime
    day: date
    key: UUID
    value: float
    raw: bytes

    @property
    def initials(self) -> str:
        return "".join(w[0] for w in WORDS.findall(self.name))


class Made(st.Data):
    id: int
    slug: str
    digest: str
    rate: Decimal
    later: datetime
    day: date
    key: UUID
    value: float
    raw: bytes
    note: str | None
    vowels: int


def slug(text: str, glue: str = "-") -> str:
    """Lower case words."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return glue.join(w.lower() for w in WORDS.findall(plain))


def make(t: Thing) -> Made:
    rate = RATES.get(t.name[:1].lower(), Decimal("0.25"))
    try:
        first = t.initials[0].upper()
    except IndexError:
        first = "?"
    return Made(
        id=t.id,
        slug=slug(t.name, glue="_") + first,
        digest=hashlib.sha256(t.name.encode()).hexdigest()[:8],
        rate=(t.amount * rate).quantize(Decimal("0.01")),
        later=t.at.replace(day=1) + timedelta(days=t.id),
        day=date.fromordinal(t.day.toordinal() + 1),
        key=UUID(int=t.key.int ^ 1),
        value=float(Fraction(t.value).limit_denominator(10)),
        raw=t.raw[::-1],
        note=None if t.note is None else t.note.title(),
        vowels=sum(c in VOWELS for c in t.name),
    )


def things(n: int) -> list[Thing]:
    return [
        Thing(id=i, name=f"{'aBé'[i % 3]}pple Straße {i}", note=[None, "it's\na %s :x {{"][i % 2], amount=Decimal(i) / 8,
              at=datetime(2023, 1, 31, 4, 5, 6, i), day=date(2023, 1, 1) + timedelta(days=i), key=UUID(int=i),
              value=i / 3, raw=bytes([i % 256, 0, 255]))
        for i in range(n)
    ]  # fmt: skip


def query_of(f, row_type=Thing, name="made"):
    def query(things):
        return st.Cache(name=name)[st.map(things, f=f)](lambda a: st.integrate_indexed(a, indexes=()))

    query.__annotations__ = {"things": st.ZSet[row_type]}
    return st.compile(query)


def rows(conn, view="made"):
    return conn.execute(f"SELECT * FROM {view} ORDER BY 1").fetchall()


def plpython(conn):
    return conn.execute("SELECT FROM pg_language WHERE lanname = 'plpython3u'").fetchone() is not None


def test_differential_shipped_and_python(conn):
    graph = query_of(make)
    if not plpython(conn):
        with pytest.raises(
            UnsupportedServer, match=r"make .*must run as Python.*does not have plpython3u|test_shipped"
        ):
            st.StorePostgres.from_graph(conn, graph, create_tables=True)
        return
    conn.execute("SET DateStyle = 'German'")
    conn.execute("SET IntervalStyle = 'iso_8601'")
    store = st.StorePostgres.from_graph(conn, graph, create_tables=True)
    (action,) = st.actions(store, graph)
    given = things(7)
    action.insert(*given)
    expected = [tuple(vars(make(t)).values()) for t in given]
    assert rows(conn) == expected
    action.remove(given[2])
    action.replace(given[3], given[2])
    expected = sorted(tuple(vars(make(t)).values()) for t in [given[i] for i in (0, 1, 2, 4, 5, 6)])
    assert rows(conn) == expected
    assert st.verify(conn, "made") == []
    st.drop_view(conn, "made")
    left = conn.execute(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'stepping'::regnamespace AND proname ~ '_[0-9a-f]{12}'"
    ).fetchall()
    assert left == []


def test_only_what_has_no_sql_is_shipped():
    text = " ".join(query_of(lambda t: Small(id=t.id * 2, text=slug(t.name))).sql["made"].split())
    assert re.fullmatch(
        r"SELECT things\.id \* '2'::bigint AS id,"
        r" stepping\.lambda_text_[0-9a-f]{12}\(things\.id, things\.name\) AS text FROM things", text
    )  # fmt: skip


def test_a_function_that_changes_is_another_query():
    def compiled(suffix):
        return query_of(lambda t: st_pair(t, suffix)).sql["made"]

    assert compiled("a") == compiled("a")
    assert compiled("a") != compiled("b")


class Small(st.Data):
    id: int
    text: str


def st_pair(t: Thing, suffix: str) -> Small:
    return Small(id=t.id, text=t.name.upper() + suffix)


def test_the_script_has_its_functions(conn):
    if not plpython(conn):
        return
    conn.execute("CREATE TABLE things (id bigint NOT NULL, name text NOT NULL)")
    text = query_of(lambda t: Small(id=t.id, text=t.name.upper() + "x")).sql["made"]
    script = st.generate(conn, "made", text)
    assert script.up.count("CREATE OR REPLACE FUNCTION stepping.lambda") == 1
    assert not re.search(r"%|(?<!:):(?=\w)|\$\{|\{\{", script.up)
    conn.execute("INSERT INTO things VALUES (1, 'ß')")
    conn.execute(script.up)
    assert rows(conn) == [(1, "SSx")]
    conn.execute("UPDATE things SET name = 'straße'")
    assert rows(conn) == [(1, "STRASSEx")]
    conn.execute(script.down)


def sized(t: Thing) -> Small:
    return Small(id=t.id, text=str(random.random()))


def clock(t: Thing) -> Small:
    return Small(id=t.id, text=str(datetime.now(tz=UTC)) + t.name)


def counting(t: Thing) -> Small:
    global COUNT
    COUNT += 1
    return Small(id=COUNT, text=t.name)


def remembering(t: Thing) -> Small:
    SEEN.append(t.id)
    return Small(id=t.id, text=t.name.upper())


def reading(t: Thing) -> Small:
    return Small(id=t.id, text=open(t.name).read())


def sleeping(t: Thing) -> Small:
    time.sleep(0)
    return Small(id=t.id, text=t.name)


def shuffled(t: Thing) -> Small:
    return Small(id=t.id, text="".join(set(t.name)))


def hashed(t: Thing) -> Small:
    return Small(id=hash(t.name), text=t.name)


def inner_clock(t: Thing) -> Small:
    return sleeping(t)


def importing(t: Thing) -> Small:
    import os

    return Small(id=t.id, text=os.getcwd())


def environment(t: Thing) -> Small:
    return Small(id=t.id, text=os.environ["HOME"])


def collecting(t: Thing, seen: list[int] = []) -> Small:  # noqa: B006
    seen.append(t.id)
    return Small(id=len(seen), text=t.name)


def counted():
    n = 0

    def count(t: Thing) -> Small:
        nonlocal n
        n += 1
        return Small(id=n, text=t.name)

    return count


def by_name(t: Thing) -> Small:
    return Small(id=t.id, text=str(getattr(random, "random")()))  # noqa: B009


def of_here(t: Thing) -> Small:
    return Small(id=t.id, text=str(t.at.astimezone()))


def instant(t: Thing) -> Small:
    return Small(id=int(t.at.timestamp()), text=t.name)


def asking(t: Thing) -> Small:
    return Small(id=t.id, text=str(plpy.execute("SELECT 1")))  # noqa: F821


@pytest.mark.parametrize(
    ("f", "construct"),
    [
        (environment, "os.environ (input and output, or the state of the process) in environment"),
        (collecting, "the default of seen, which it changes, in collecting"),
        (counted(), "n, a variable of another function, which it sets, in count"),
        (by_name, "getattr(), which takes random.random, in by_name"),
        (of_here, "astimezone() without a time zone (the server's time zone) in of_here"),
        (instant, "t.at.timestamp() (the server's time zone) in instant"),
        (asking, "the name plpy, which is PL/Python's own, in asking"),
        (sized, "random.random (randomness) in sized"),
        (clock, "datetime.datetime.now (the clock) in clock"),
        (counting, "the global COUNT, which"),
        (remembering, "the global SEEN, which it changes, in remembering"),
        (reading, "open() (input and output) in reading"),
        (sleeping, "time.sleep (the clock) in sleeping"),
        (shuffled, "the order of a set (use sorted()) in shuffled"),
        (hashed, "hash() (a hash that differs from process to process) in hashed"),
        (inner_clock, "time.sleep (the clock) in sleeping"),
        (importing, "the import of os"),
    ],
)
def test_what_is_not_pure_is_refused_by_name_and_line(f, construct):
    with pytest.raises(UnsupportedQuery) as refused:
        query_of(f)
    assert construct in str(refused.value)
    assert re.search(rf" at {re.escape(__file__)}:\d+", str(refused.value))


@dataclasses.dataclass(frozen=True)
class Point:
    x: int


def quoted(t: Thing) -> Small:
    return Small(id=len(str(st.Pair(1, st.EMPTY))), text=urllib.parse.quote(t.name) + repr(Point(t.id)))


def test_differential_modules_in_modules_and_the_names_of_classes(conn):
    if not plpython(conn):
        pytest.skip("this runs as Python")
    graph = query_of(quoted)
    (action,) = st.actions(st.StorePostgres.from_graph(conn, graph, create_tables=True), graph)
    action.insert(*things(2))
    assert rows(conn) == [tuple(vars(quoted(t)).values()) for t in things(2)]


def test_a_package_that_the_server_lacks_is_named(conn):
    from sqlglot import exp

    if not plpython(conn):
        return

    def quoted(t: Thing) -> Small:
        return Small(id=t.id, text=exp.to_identifier(t.name, quoted=True).sql())

    with pytest.raises(st.SteppingError, match="the Python of the server lacks the package sqlglot"):
        st.StorePostgres.from_graph(conn, query_of(quoted), create_tables=True)
    assert conn.execute("SELECT to_regclass('things')").fetchone() == (None,)


def test_a_result_of_another_type_is_an_error(conn):
    if not plpython(conn):
        return

    def wrong(t: Thing) -> Small:
        return Small(id=t.id, text=t.raw.hex and t.raw)  # type: ignore[arg-type]

    graph = query_of(wrong)
    store = st.StorePostgres.from_graph(conn, graph, create_tables=True)
    with pytest.raises(Exception, match=r"wrong\(\)\.text is str, not bytes"):
        st.actions(store, graph)[0].insert(*things(1))


class Left(st.Data):
    id: int
    name: str


class Right(st.Data):
    id: int
    v: int


class Both(st.Data):
    id: int
    v: int
    w: str | None


def joined(p: st.Pair[Left, Right | st.Empty]) -> Both:
    if isinstance(p.right, st.Empty):
        return Both(id=p.left.id, v=0, w=None)
    return Both(id=p.left.id, v=p.right.v * 2, w=p.left.name)


def joined_in_python(p: st.Pair[Left, Right | st.Empty]) -> Both:
    r = p.right
    w = p.left.name.upper() if not isinstance(r, st.Empty) else None
    return Both(id=p.left.id, v=r.v if isinstance(r, Right) else -1, w=w)


class Held(st.Data):
    id: int
    right: Right | None
    pair: st.Pair[int, Right | None]


def held(p: st.Pair[Left, Right | st.Empty]) -> Held:
    right = None if isinstance(p.right, st.Empty) else Right(id=p.right.id, v=len(p.left.name.upper()))
    return Held(id=p.left.id, right=right, pair=st.Pair(1, right))


def test_a_row_in_what_python_returns_may_be_missing(conn):
    if not plpython(conn):
        pytest.skip("this runs as Python")

    def query(lefts: st.ZSet[Left], rights: st.ZSet[Right]) -> st.ZSet[Held]:
        on_left, on_right = st.Index.pick(Left, lambda r: r.id), st.Index.pick(Right, lambda r: r.id)
        return st.map(st.outer_join(lefts, rights, on_left=on_left, on_right=on_right), f=held)

    graph = st.compile(query)
    for store in (
        st.StorePostgres.from_graph(conn, graph, create_tables=True),
        st.StorePython.from_graph(graph),
    ):
        lefts, rights = st.actions(store, graph)
        (changed,) = lefts.insert(Left(id=1, name="ß"))
        none = Held(id=1, right=None, pair=st.Pair(1, None))
        assert changed == st.ZSetPython({none: 1})
        (changed,) = rights.insert(Right(id=1, v=7))
        right = Right(id=1, v=2)
        assert changed == st.ZSetPython({none: -1, Held(id=1, right=right, pair=st.Pair(1, right)): 1})


def test_rows_that_may_be_missing(conn):
    def query(lefts: st.ZSet[Left], rights: st.ZSet[Right]) -> None:
        on_left, on_right = st.Index.pick(Left, lambda r: r.id), st.Index.pick(Right, lambda r: r.id)
        pairs = st.outer_join(lefts, rights, on_left=on_left, on_right=on_right)
        _ = st.Cache[Both]("a")[st.map(pairs, f=joined)](lambda z: st.integrate_indexed(z, indexes=()))
        if plpython(conn):
            b = st.Cache[Both]("b")
            _ = b[st.map(pairs, f=joined_in_python)](lambda z: st.integrate_indexed(z, indexes=()))

    graph = st.compile(query)
    assert "stepping." not in graph.sql["a"]
    store = st.StorePostgres.from_graph(conn, graph, create_tables=True)
    lefts, rights = st.actions(store, graph)
    lefts.insert(Left(id=1, name="ß"), Left(id=2, name="b"))
    rights.insert(Right(id=1, v=7), Right(id=3, v=8))
    assert rows(conn, "a") == [(1, 14, "ß"), (2, 0, None)]
    rights.insert(Right(id=2, v=0))
    rights.remove(Right(id=1, v=7))
    assert rows(conn, "a") == [(1, 0, None), (2, 0, "b")]
    if plpython(conn):
        assert rows(conn, "b") == [(1, -1, None), (2, 0, "B")]
        assert st.verify(conn, "b") == []


def test_explain_says_sql_or_python_and_why(conn):
    if not plpython(conn):
        return
    graph = query_of(lambda t: Small(id=t.id * 2, text=slug(t.name)))
    st.StorePostgres.from_graph(conn, graph, create_tables=True)
    told = st.explain(conn, "made")
    line = re.search(r"^  <lambda> \(test_shipped_functions.py, line \d+\): (.*)$", told, re.M)
    assert line is not None
    assert re.fullmatch(r"Python, a comprehension \(line \d+\) has no SQL of the same meaning", line[1])
    assert re.search(
        r"^  stepping.lambda_text_\w+\(\): <lambda> runs as Python, since a comprehension has no SQL",
        told,
        re.M,
    )
    st.drop_view(conn, "made")
    plain = query_of(lambda t: Small(id=t.id * 2, text=t.name.strip()))
    st.StorePostgres.from_graph(conn, plain, create_tables=True)
    assert re.search(
        r"^  <lambda> \(.*\): SQL, all of it has SQL of the same meaning$", st.explain(conn, "made"), re.M
    )


class Shouting(st.Data):
    id: int
    name: str
    MARK = "!"

    @property
    def loud(self) -> str:
        return self.name.upper() + self.MARK


def test_properties_and_constants_of_classes_go_along(conn):
    if not plpython(conn):
        return
    graph = query_of(lambda s: Small(id=s.id, text=s.loud), row_type=Shouting)
    store = st.StorePostgres.from_graph(conn, graph, create_tables=True)
    st.actions(store, graph)[0].insert(Shouting(id=1, name="straße"))
    assert rows(conn) == [(1, "STRASSE!")]
