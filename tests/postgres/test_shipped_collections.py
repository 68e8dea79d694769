"""Collections, unions and nested rows on their way to Python functions in the database and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from math import inf
from typing import Any
from uuid import UUID

import psycopg
import pytest

import pg_stepping as st


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Address(st.Data):
    street: str
    number: int


class Person(st.Data):
    id: int


class Nest(st.Data):
    rows: list[Address]
    by_name: dict[str, Address | None]
    by_number: dict[int, list[Decimal]]
    pairs: tuple[tuple[int, str], ...]
    several: int | str | list[int] | None
    told_apart: Address | Person | None
    days: list[date | None]
    both: frozenset[tuple[int, str]]
    moments: dict[str, datetime]
    spans: list[timedelta]
    raw: list[bytes]
    ids: list[UUID]
    colours: list[Colour]
    instants: list[st.AwareDatetime]
    floats: list[float]
    counted: st.ZSetPython[str]
    lists: list[list[int]]
    shares: dict[str, float]
    times: list[time]
    fixed: tuple[int, Decimal, Address]


def address(n: int) -> Address:
    return Address(street=f'ä"\\{n}', number=n)


def nests() -> Iterator[Nest]:
    empty = Nest(
        rows=[], by_name={}, by_number={}, pairs=(), several=None, told_apart=None, days=[], both=frozenset(),
        moments={}, spans=[], raw=[], ids=[], colours=[], instants=[], floats=[], counted=st.ZSetPython(),
        lists=[], shares={}, times=[], fixed=(1, Decimal("1.50"), address(0)),
    )  # fmt: skip
    yield empty
    yield Nest(
        rows=[address(1), address(2)], by_name={"x": None, "y\\": address(3)},
        by_number={2: [Decimal("7.0"), Decimal("1E+5")], 10: []}, pairs=((1, "a"), (2, "")), several=5,
        told_apart=address(4), days=[date(2020, 1, 2), None], both=frozenset([(1, "b"), (0, "a")]),
        moments={"k": datetime(2020, 1, 1, 2, 3, 4, 5)}, spans=[timedelta(days=-1, microseconds=3), timedelta(0)],
        raw=[b"\0\xff", b""], ids=[UUID(int=7)], colours=[Colour.RED],
        instants=[datetime(2020, 1, 1, tzinfo=timezone(timedelta(hours=-7)))], floats=[0.1, inf, -inf, -0.0, 1e300],
        counted=st.ZSetPython({"q": 2, "r": -1}), lists=[[1], []], shares={"inf": inf, "z": 0.1},
        times=[time(1, 2, 3, 4)], fixed=(-1, Decimal("0.1"), address(5)),
    )  # fmt: skip
    yield dataclasses.replace(empty, several="5", told_apart=Person(id=1))
    yield dataclasses.replace(empty, several=[1, 2])


def turned(nest: Nest) -> Nest:
    return dataclasses.replace(nest, rows=list(reversed(nest.rows)), counted=nest.counted + nest.counted)


def test_differential_collections_cross_both_ways(conn: psycopg.Connection[Any]) -> None:
    if conn.execute("SELECT FROM pg_language WHERE lanname = 'plpython3u'").fetchone() is None:
        pytest.skip("turned() runs as Python")

    def query(nests: st.ZSet[Nest]) -> tuple[st.ZSet[Nest], st.ZSet[Nest]]:
        return nests, st.map(nests, f=turned)

    graph = st.compile(query)
    stores = st.StorePostgres.from_graph(conn, graph, create_tables=True), st.StorePython.from_graph(graph)
    (postgres,), (memory,) = (st.actions(store, graph) for store in stores)
    for style in ("postgres", "sql_standard"):
        conn.execute("SELECT set_config('intervalstyle', %s, false)", [style])
        conn.execute("SET datestyle = 'German'; SET timezone = 'Asia/Tokyo'; SET bytea_output = 'escape'")
        for nest in nests():
            changed = postgres.insert(nest, nest)
            assert changed == memory.insert(nest, nest)
            assert dict(changed[1].iter()) == {turned(nest): 2}
        for nest in nests():
            assert postgres.remove(nest, nest) == memory.remove(nest, nest)
