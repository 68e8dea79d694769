"""PL/Python against PL/pgSQL: `python -m benchmarks.languages` prints the table of docs/which-language.md."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import click
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

import pg_stepping
from benchmarks.contenders import FOLDER
from pg_stepping import devserver

LANGUAGES = ("plpython3u", "plpgsql")
INSERTS = 200
ROUNDS = 15
PLAIN = (
    'SELECT meter_id, "timestamp"::date AS day, count(*) AS n, sum(value) AS value FROM reads GROUP BY 1, 2'
)
INSERT = "INSERT INTO reads VALUES (bench.meter({n}), bench.half_hour(3, {n}), bench.kwh({n}))"

Connection = psycopg.Connection[Any]


def main() -> None:
    with devserver.start(settings={"fsync": "off", "autovacuum": "off"}) as server:
        click.echo(f"PostgreSQL {server.version}, medians of {ROUNDS} alternating rounds")
        for title, query in (("one table", PLAIN), ("a join of three", (FOLDER / "query.sql").read_text())):
            names = {language: _made(server.dsn, language, query) for language in LANGUAGES}
            try:
                _measure(title, {k: make_conninfo(server.dsn, dbname=v) for k, v in names.items()})
            finally:
                _drop(server.dsn, names.values())


def _made(dsn: str, language: str, query: str) -> str:
    name = f"pg_stepping_bench_{language}"
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    with psycopg.connect(make_conninfo(dsn, dbname=name)) as conn:
        conn.execute("CREATE EXTENSION plpython3u")
        conn.execute((FOLDER / "schema.sql").read_text().encode())
        conn.execute("CALL bench.load(100, 900, 2, 2)")
        pg_stepping.create_view(conn, "daily_usage", query, language=language)
        conn.commit()
    return name


def _drop(dsn: str, names: Any) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        for name in names:
            conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _measure(title: str, databases: dict[str, str]) -> None:
    asked: tuple[tuple[str, str, Callable[[str, int], float]], ...] = (
        ("first insert of a session", "ms", _first),
        ("each further one", "us", _further),
        (f"transaction ids for {INSERTS} inserts", "ids", _ids),
    )
    for what, unit, measure in asked:
        found: dict[str, list[float]] = {language: [] for language in databases}
        for number in range(ROUNDS):
            for language, dsn in databases.items():
                found[language].append(measure(dsn, number))
        told = ", ".join(f"{k} {statistics.median(v):.1f} {unit}" for k, v in found.items())
        click.echo(f"{title}: {what}: {told}")


def _insert(conn: Connection, n: int) -> None:
    conn.execute(INSERT.format(n=n % 900 + 1).encode())


def _first(dsn: str, number: int) -> float:
    with psycopg.connect(dsn) as conn:
        conn.execute("SELECT count(*) FROM reads")
        start = time.perf_counter()
        _insert(conn, number)
        return (time.perf_counter() - start) * 1e3


def _further(dsn: str, number: int) -> float:
    with psycopg.connect(dsn) as conn:
        for n in range(20):
            _insert(conn, n)
        start = time.perf_counter()
        for n in range(INSERTS):
            _insert(conn, number * INSERTS + n)
        return (time.perf_counter() - start) / INSERTS * 1e6


def _ids(dsn: str, number: int) -> float:
    with psycopg.connect(dsn) as conn:
        before = _next_id(conn)
        for n in range(INSERTS):
            _insert(conn, number * INSERTS + n)
        conn.commit()
        return _next_id(conn) - before


def _next_id(conn: Connection) -> int:
    row = conn.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint").fetchone()
    conn.commit()
    assert row is not None
    return int(row[0])


if __name__ == "__main__":
    main()
