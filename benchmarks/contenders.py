"""Who is compared: each keeps (or does not keep) `daily_usage` in a database of its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString, cast
from unittest import mock

import psycopg

import pg_stepping

Connection = psycopg.Connection[Any]
FOLDER = Path(__file__).parent


def read(name: str) -> LiteralString:
    """The text of a file beside this one."""
    return cast(LiteralString, (FOLDER / name).read_text())


QUERY = read("query.sql")
INDEXED = "CREATE UNIQUE INDEX ON daily_usage (user_id, meter_id, date); CREATE INDEX ON daily_usage (date);"


@dataclass(frozen=True, slots=True)
class Contender:
    """`install` makes `daily_usage`, with an index on its key and one on the date, and fills it.

    `extension` is what the server must have for it; `refresh` is run after each statement that writes.
    """

    name: str
    title: str
    install: Callable[[Connection], Any]
    extension: str | None = None
    refresh: LiteralString | None = None


def _plain_table(conn: Connection) -> None:
    """Nothing follows the changes here; it is there to be read."""
    conn.execute("CREATE TABLE daily_usage AS " + QUERY)
    conn.execute("ALTER TABLE daily_usage ADD PRIMARY KEY (user_id, meter_id, date)")
    conn.execute("CREATE INDEX ON daily_usage (date)")


def _materialized_view(conn: Connection) -> None:
    conn.execute("CREATE MATERIALIZED VIEW daily_usage AS " + QUERY)
    conn.execute(INDEXED)


def _stepping(language: str) -> Callable[[Connection], None]:
    def install(conn: Connection) -> None:
        pg_stepping.create_view(conn, "daily_usage", QUERY, language=language, indexes=[("date",)])

    return install


def _without_locks(conn: Connection) -> None:
    """Wrong with concurrent writers of different tables; it tells what the locks cost."""
    with mock.patch("pg_stepping.delta.program.locks", return_value=()):
        _stepping("plpgsql")(conn)


def create_immv(conn: Connection, name: str, query: str) -> None:
    """A view of pg_ivm, in whose schema, pg_catalog before version 1.9 and pgivm since, the function is."""
    conn.execute("CREATE EXTENSION IF NOT EXISTS pg_ivm")
    row = conn.execute("SELECT oid::regproc FROM pg_proc WHERE proname = 'create_immv'").fetchone()
    assert row is not None
    conn.execute(cast(Any, f"SELECT {row[0]}(%s, %s)"), [name, query])


def unlimited(query: str) -> str:
    """A query without the ORDER BY and LIMIT at its end, which pg_ivm refuses."""
    return re.sub(r"\nORDER BY .*\nLIMIT \d+\s*$", "", query)


def _pg_ivm(conn: Connection) -> None:
    """pg_ivm indexes the key by itself. An index on the date misleads the plans of what it writes."""
    create_immv(conn, "daily_usage", QUERY)


NONE = Contender("none", "no view", _plain_table)
HAND = Contender("hand", "by hand", lambda conn: conn.execute(read("hand_written.sql")))
CONTENDERS = (
    NONE,
    HAND,
    Contender("plpython3u", "pg_stepping, plpython3u", _stepping("plpython3u"), extension="plpython3u"),
    Contender("plpgsql", "pg_stepping, plpgsql", _stepping("plpgsql")),
    Contender("unlocked", "the same without locks", _without_locks),
    Contender("pg_ivm", "pg_ivm, no index on the date", _pg_ivm, extension="pg_ivm"),
    Contender("refresh", "REFRESH", _materialized_view, refresh="REFRESH MATERIALIZED VIEW daily_usage"),
)
STEPPING = ("plpython3u", "plpgsql")
