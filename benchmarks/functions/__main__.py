"""Measure Python queries and functions, and write RESULTS.md beside this file."""

from __future__ import annotations

import os
import platform
import re
import runpy
import statistics
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import click
import psycopg
from psycopg.conninfo import make_conninfo

import pg_stepping as st
from benchmarks.databases import SETTINGS, copy, run
from pg_stepping import devserver
from pg_stepping.frontend.database_functions import called_in

FOLDER = Path(__file__).parent
QUERY = FOLDER.parents[1] / "examples" / "meter_reads" / "query.py"
STEPPING_BATCH, STEPPING_SINGLE = 2293, 190  # reads a second, of stepping's own benchmark
NAME = "pg_stepping_bench_functions"
METERS = 1000


class Thing(st.Data):
    id: int
    name: str


class Slug(st.Data):
    id: int
    slug: str


def slug(t: Thing) -> Slug:
    plain = unicodedata.normalize("NFKD", t.name).encode("ascii", "ignore").decode()
    return Slug(id=t.id, slug="-".join(re.findall(r"\w+", plain.lower())))


@contextmanager
def database(server: devserver.Server) -> Iterator[psycopg.Connection[Any]]:
    """A fresh database with PL/Python."""
    copy(server, NAME, "template0")
    try:
        with psycopg.connect(make_conninfo(server.dsn, dbname=NAME), autocommit=False) as conn:
            conn.execute("CREATE EXTENSION IF NOT EXISTS plpython3u")
            conn.commit()
            yield conn
            conn.rollback()
    finally:
        run(server, "DROP DATABASE IF EXISTS {} WITH (FORCE)", NAME)


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def prepared(conn: psycopg.Connection[Any]) -> tuple[Any, Any]:
    """The meter reads query in Python, its meters in place: its names and the actions."""
    program = runpy.run_path(str(QUERY))
    graph = st.compile(program["query"])
    store = st.StorePostgres.from_graph(conn, graph, create_tables=True)
    users, meters, reads = st.actions(store, graph)
    users.insert(*(program["User"](user_id=i, name=f"user {i}") for i in range(100)))
    meters.insert(*(program["Meter"](meter_id=UUID(int=i), user_id=i % 100) for i in range(METERS)))
    conn.commit()
    conn.execute("ANALYZE")
    conn.commit()
    return program, reads


def some(program: Any, start: int, count: int) -> list[Any]:
    day = datetime(2023, 1, 1)
    return [
        program["HalfHourlyMeterRead"](
            meter_id=UUID(int=i % METERS), timestamp=day + timedelta(minutes=i), value=i / 8
        )
        for i in range(start, start + count)
    ]


def writing(server: devserver.Server, calls: int) -> tuple[float, float, float, float]:
    """Reads a second, all committed: 1,000 a call; one a call in a transaction, and on a connection with
    autocommit; and one a statement of psycopg's alone, in a transaction."""
    with database(server) as conn:
        program, reads = prepared(conn)
        place = 0

        def write(count: int, batch: int) -> None:
            nonlocal place
            for _ in range(count):
                reads.insert(*some(program, place, batch))
                conn.commit()
                place += batch

        def plainly(count: int) -> None:
            nonlocal place
            for read in some(program, place, count):
                conn.execute(
                    "INSERT INTO reads VALUES (%s, %s, %s)", (read.meter_id, read.timestamp, read.value)
                )
                conn.commit()
            place += count

        def at_once(count: int) -> None:
            conn.autocommit = True
            write(count, 1)
            conn.autocommit = False

        write(2, 1000)
        write(20, 1)
        plainly(20)
        batch = statistics.median(seconds(lambda: write(1, 1000)) for _ in range(calls))
        ways = (lambda: write(20, 1), lambda: at_once(20), lambda: plainly(20))
        runs = [[seconds(way) for way in ways] for _ in range(calls)]
        single, alone, plain = (statistics.median(times) for times in zip(*runs, strict=True))
        return 1000 / batch, 20 / single, 20 / alone, 20 / plain


def twins(server: devserver.Server, rounds: int, size: int) -> float:
    """The time of writes with the query in Python, as a multiple of that with its SQL by hand."""
    sql = """SELECT m.user_id, m.meter_id, r."timestamp"::date AS date, sum(r.value) AS value
             FROM meters AS m JOIN reads AS r USING (meter_id) JOIN users AS u USING (user_id)
             GROUP BY m.user_id, m.meter_id, r."timestamp"::date"""
    ratios = []
    with database(server) as conn:
        prepared(conn)
        insert = f"""INSERT INTO reads SELECT lpad(to_hex(i % {METERS}), 32, '0')::uuid,
            timestamp '2023-01-01' + i * interval '1 minute', i FROM generate_series(1, {size}) AS i"""

        def written() -> float:
            """In a transaction that is rolled back, after one that warms up."""
            times = []
            for _ in range(2):
                with conn.transaction(force_rollback=True):
                    times.append(seconds(lambda: conn.execute(insert)))
            return times[1]

        for _ in range(rounds):
            python = written()
            st.drop_view(conn, "daily_usage")
            st.create_view(conn, "daily_usage", sql, indexes=[["date"]])
            by_hand = written()
            st.drop_view(conn, "daily_usage")
            conn.commit()
            program = runpy.run_path(str(QUERY))
            st.StorePostgres.from_graph(conn, st.compile(program["query"]), create_tables=True)
            ratios.append(python / by_hand)
    return statistics.median(ratios)


def shipped(server: devserver.Server, rows: int, rounds: int) -> dict[str, float]:
    """Rows a second through a function that runs as Python: a call a row, and a call for arrays of 1,000."""

    def query(things: st.ZSet[Thing]) -> None:
        _ = st.Cache[Slug]()[st.map(things, f=slug)](lambda z: st.integrate_indexed(z, indexes=()))

    graph = st.compile(query)
    found: dict[str, list[float]] = {"call": [], "batch": [], "view": [], "plain": []}
    with database(server) as conn:
        st.StorePostgres.from_graph(conn, graph, create_tables=True)
        function = next(f for f in called_in(graph.sql["slug"]) if "_slug_" in f.name)
        names = [name for name, _ in function.arguments]
        lists = ", ".join(f"{name} {kind}[]" for name, kind in function.arguments)
        body = re.sub(r"\nreturn call\(.*\)$", f"\nreturn list(map(call, {', '.join(names)}))", function.body)
        conn.execute(
            f"CREATE FUNCTION slugs({lists}) RETURNS text[] LANGUAGE plpython3u AS $python$\n{body}\n$python$"
        )
        conn.execute(
            f"""CREATE TABLE given AS SELECT i AS id, 'Größe Nummer ' || i AS name
                FROM generate_series(1, {rows}) AS i"""
        )
        conn.execute("CREATE TABLE plain (LIKE things)")
        listed, arrays = ", ".join(names), ", ".join(f"array_agg({name})" for name in names)
        asked = {
            "call": f"SELECT count(stepping.{function.name}({listed})) FROM given",
            "batch": f"""SELECT count(slug)
                         FROM (SELECT slugs({arrays}) AS made FROM given GROUP BY id / 1000) AS batches
                         CROSS JOIN LATERAL unnest(made) AS slug""",
            "view": "INSERT INTO things SELECT id, name FROM given",
            "plain": "INSERT INTO plain SELECT id, name FROM given",
        }
        for _ in range(rounds + 1):
            for name, sql in asked.items():
                with conn.transaction(force_rollback=True):
                    found[name].append(seconds(lambda sql=sql: conn.execute(sql)))  # type: ignore[misc]
    return {name: rows / statistics.median(times[1:]) for name, times in found.items()}


@click.command()
@click.option("--quick", is_flag=True, help="A smoke test: few rows, one round.")
def main(quick: bool) -> None:
    """Measure Python queries and functions."""
    rounds, rows, calls = (1, 5000, 3) if quick else (5, 50_000, 15)
    with devserver.start(settings=SETTINGS) as server:
        if not server.plpython:
            raise click.ClickException("the server has no plpython3u")
        batch, single, alone, plain = writing(server, calls)
        ratio = twins(server, rounds, 2000 if quick else 20_000)
        rates = shipped(server, rows, rounds)
        version = server.version
    times = [
        f"({found / theirs:.1f} times stepping's {theirs:,})"
        for found, theirs in ((batch, STEPPING_BATCH), (single, STEPPING_SINGLE), (alone, STEPPING_SINGLE))
    ]
    text = f"""# Python queries and functions

`python -m benchmarks.functions`, on {os.cpu_count()} cores ({platform.machine()}), PostgreSQL {version}.
Medians.

| what | found | asked for |
|---|---|---|
| the seed query in Python, time of a large insert against its SQL twin | {ratio:.2f} | at most 1.05 |
| `insert` of 1,000 reads a call, committed: reads a second | {batch:,.0f} {times[0]} | 20 times |
| `insert` of one read a call, committed: reads a second | {single:,.0f} {times[1]} | 8 times |
| the same on a connection with autocommit: reads a second | {alone:,.0f} {times[2]} | 8 times |
| one read a statement of psycopg's, committed, which tells no change | {plain:,.0f} | |

A function that runs as Python (normalize, a regular expression, join), rows a second:

| how | rows a second |
|---|---|
| a call a row | {rates["call"]:,.0f} |
| a call for arrays of 1,000 rows | {rates["batch"]:,.0f} |
| insert into the table of a view that maps by it, a call a row | {rates["view"]:,.0f} |
| insert into a table without a view | {rates["plain"]:,.0f} |
"""
    target = FOLDER / ("RESULTS-quick.md" if quick else "RESULTS.md")
    target.write_text(text)
    click.echo(text)


if __name__ == "__main__":
    main()
