"""What row functions return: None, tuples, lists and members of unions made in place, through both stores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal, NewType

import psycopg
import pytest

import pg_stepping as st

Number = NewType("Number", int)


class Inner(st.Data):
    NAMES: ClassVar[tuple[str, ...]] = ("z",)
    a: Number
    b: str | None


class Row(st.Data):
    i: int
    sign: Literal["+", "-"]
    x: float
    s: str
    tags: tuple[str, ...]
    numbers: frozenset[int]
    inner: Inner
    maybe: Inner | None


class Arrays(st.Data):
    parts: tuple[int, ...]
    floats: list[float | None]
    inner: Inner


class Unions(st.Data):
    row: Inner | None
    value: int | str | Inner


def arrays(r: Row) -> Arrays:
    return Arrays(parts=(r.i, 7, -r.i), floats=[r.x, None, 1], inner=Inner(a=Number(0), b=None))


def one_or_two(r: Row) -> Arrays:
    return Arrays(parts=(r.i,) if r.s else (r.i, 2), floats=[], inner=r.inner)


def unions(r: Row) -> Unions:
    return Unions(row=None if r.i else r.inner, value=r.i)


def union_of_row(r: Row) -> Unions:
    return Unions(row=r.maybe, value=r.inner)


def pair(r: Row) -> st.Pair[int, str | None]:
    return st.Pair(r.i, None)


def pair_of_rows(r: Row) -> st.Pair[Inner, Inner | None]:
    return st.Pair(r.inner, None)


def named(r: Row) -> Inner:
    return Inner(a=Number(r.i), b=r.sign)


def named_in_python(r: Row) -> list[Number]:
    return [Number(len(w)) for w in r.s.split()]


def nothing(r: Row) -> int | None:
    return None


def several(r: Row) -> tuple[Inner, ...]:
    return (r.inner, Inner(a=Number(r.i), b=Inner.NAMES[0]))


def total(r: Row) -> int:
    return sum(r.numbers)


def listed(r: Row) -> list[int]:
    return [r.i, r.i, 3]


def constants(r: Row) -> frozenset[str]:
    return frozenset({"a", "b"})


ROWS = [
    Row(
        i=1,
        sign="+",
        x=0.5,
        s="é",
        tags=("a",),
        numbers=frozenset({3, 1}),
        inner=Inner(a=Number(1), b=None),
        maybe=None,
    ),
    Row(
        i=0,
        sign="-",
        x=-0.0,
        s="",
        tags=(),
        numbers=frozenset(),
        inner=Inner(a=Number(2), b=""),
        maybe=Inner(a=Number(3), b="q"),
    ),
]
SETS = [listed, constants, named_in_python]
AS_SQL = [arrays, named, pair, pair_of_rows, nothing, listed]
AS_PYTHON = [one_or_two, unions, union_of_row, several, total]


@pytest.mark.parametrize(
    "functions", [AS_SQL, [*AS_PYTHON, constants, named_in_python]], ids=["SQL", "Python"]
)
def test_differential_results(conn: psycopg.Connection[Any], functions: list[Callable[[Row], Any]]) -> None:
    def query(rows: st.ZSet[Row]) -> tuple[st.ZSet[Any], ...]:
        return tuple(
            st.map_many(rows, f=f) if f in SETS else st.map(rows, f=f)  # type: ignore[arg-type]
            for f in functions
        )

    graph = st.compile(query)
    runs = {note.name: note.runs for note in graph.functions}
    assert runs == {f.__name__: "SQL" if f in AS_SQL else "Python" for f in functions}
    plpython = conn.execute("SELECT FROM pg_language WHERE lanname = 'plpython3u'").fetchone()
    if "Python" in runs.values() and plpython is None:
        pytest.skip("they run as Python")
    stores = st.StorePostgres.from_graph(conn, graph, create_tables=True), st.StorePython.from_graph(graph)
    made = [[e for r in ROWS for e in (f(r) if f in SETS else [f(r)])] for f in functions]
    for store in stores:
        (rows,) = st.actions(store, graph)
        assert rows.insert(*ROWS) == tuple(st.ZSetPython((e, 1) for e in elements) for elements in made)
        assert rows.remove(*ROWS) == tuple(st.ZSetPython((e, -1) for e in elements) for elements in made)
        rows.insert(*ROWS)
    for kept in graph.kept:
        assert st.verify(conn, kept.name) == []
