"""How many locks there are, where their numbers come from, and that single statements never deadlock."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from load import TABLES, VIEWS, Conn, Load, differences, rows_left, set_up

from pg_stepping.delta.locks import BUCKETS, first_lock

Connect = Callable[..., psycopg.Connection[Any]]
HELD = """
    SELECT (classid::bigint << 32) + objid::bigint, mode = 'ExclusiveLock' FROM pg_locks
    WHERE locktype = 'advisory' AND pid = pg_backend_pid() ORDER BY 1"""


def test_a_million_keys_take_a_bounded_number_of_locks(dsn: str, language: str, connect: Connect) -> None:
    set_up(dsn, language, {name: VIEWS[name] for name in ("daily", "owners")})
    conn = connect()
    conn.execute("INSERT INTO meters SELECT i, i % 8 + 1 FROM generate_series(100, 1000099) AS i")
    assert BUCKETS < len(conn.execute(HELD).fetchall()) <= 4 * BUCKETS
    conn.rollback()
    conn.execute("INSERT INTO reads SELECT i, '2024-01-01', 1 FROM generate_series(1, 1000000) AS i")
    held = conn.execute(HELD).fetchall()
    assert len(held) == BUCKETS
    assert not any(exclusive for _, exclusive in held)


def test_lock_numbers_are_those_of_the_stage(dsn: str, language: str, connect: Connect) -> None:
    set_up(dsn, language, {"daily": VIEWS["daily"]})
    conn = connect()
    conn.execute("INSERT INTO reads VALUES (1, '2024-01-01', 1), (2, '2024-01-01', 1)")
    numbers = [number - first_lock("daily") for number, _ in conn.execute(HELD).fetchall()]
    assert len(numbers) == 2
    assert all(BUCKETS <= n < 2 * BUCKETS for n in numbers)  # the edge to the facts comes second
    conn.commit()
    assert rows_left(dsn) == 0


def test_a_view_over_one_table_takes_none(dsn: str, language: str, connect: Connect) -> None:
    set_up(dsn, language, {name: VIEWS[name] for name in ("by_meter", "sizes")})
    conn = connect()
    for statement in (
        "INSERT INTO reads VALUES (1, '2024-01-01', 1)",
        "DELETE FROM reads WHERE meter_id = 2",
    ):
        conn.execute(statement)  # type: ignore[arg-type]
    assert conn.execute(HELD).fetchall() == []


def test_an_update_of_columns_that_no_view_uses_takes_none(dsn: str, language: str, connect: Connect) -> None:
    set_up(dsn, language, {"owners": VIEWS["owners"]}, TABLES + "ALTER TABLE meters ADD COLUMN note text;")
    conn = connect()
    conn.execute("UPDATE meters SET note = 'x'")
    assert conn.execute(HELD).fetchall() == []
    conn.rollback()
    conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    conn.execute("UPDATE meters SET note = 'y'")


def test_rollback_to_a_savepoint_gives_locks_back(dsn: str, language: str, connect: Connect) -> None:
    set_up(dsn, language, {"daily": VIEWS["daily"]})
    conn = connect()
    with conn.transaction(force_rollback=True):
        conn.execute("INSERT INTO meters VALUES (99, 1)")
        assert conn.execute(HELD).fetchall()
    assert conn.execute(HELD).fetchall() == []


BIG = """
DROP TABLE IF EXISTS users, meters, reads CASCADE;
CREATE TABLE users (user_id integer PRIMARY KEY, name text NOT NULL);
CREATE TABLE meters (
    meter_id integer PRIMARY KEY, user_id integer REFERENCES users ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE reads (meter_id integer, day date, value numeric(8, 2));
CREATE INDEX ON reads (meter_id);
CREATE INDEX ON meters (user_id);
INSERT INTO users SELECT i, 'user ' || i % 40 FROM generate_series(1, 200) AS i;
INSERT INTO meters SELECT i, i % 200 + 1 FROM generate_series(1, 400) AS i;
"""


def large(conn: Conn, pick: random.Random) -> None:
    """One statement over many rows, in no order, none of which another session updates: our locks only."""
    session, some = pick.randint(1, 10**6), pick.randint(20, 400)
    shuffled = f"generate_series(1, {some}) AS i ORDER BY md5((i + {session})::text)"
    day = f"date '2024-01-0{pick.randint(1, 3)}'"
    new = 1000 + session * 10
    statement = pick.choice(
        [
            f"INSERT INTO reads SELECT i, {day}, 1 FROM {shuffled}",
            f"WITH m AS (INSERT INTO meters SELECT {new} + i, i FROM generate_series(1, 9) AS i)"
            f" INSERT INTO reads SELECT i, {day}, 1 FROM {shuffled}",
            f"WITH u AS (INSERT INTO users SELECT {new} + i, 'user ' || i FROM generate_series(1, 9) AS i),"
            f" r AS (INSERT INTO reads SELECT i, {day}, 1 FROM {shuffled})"
            f" INSERT INTO meters SELECT {new} + i, i FROM generate_series(1, 9) AS i",
            f"DELETE FROM reads WHERE ctid = ANY (ARRAY(SELECT ctid FROM reads ORDER BY random() LIMIT {some}"
            " FOR UPDATE SKIP LOCKED))",
            "UPDATE meters SET user_id = user_id % 200 + 1 WHERE meter_id = ANY (ARRAY("
            f"SELECT meter_id FROM meters ORDER BY random() LIMIT {some} FOR UPDATE SKIP LOCKED))",
            "UPDATE users SET name = 'user ' || length(name) WHERE user_id = ANY (ARRAY("
            f"SELECT user_id FROM users ORDER BY random() LIMIT {some} FOR UPDATE SKIP LOCKED))",
        ]
    )
    conn.execute(statement)  # type: ignore[arg-type]


@pytest.mark.parametrize("names", [["daily", "owners", "share", "sizes"]])
def test_oracle_single_statements_never_deadlock(dsn: str, language: str, names: list[str]) -> None:
    views = {name: VIEWS[name] for name in names}
    set_up(dsn, language, views, BIG)
    with Load(dsn, large, sessions=6, expected=()) as load:
        load.wait(6, transactions=60)
    assert not load.errors, load.errors[0]
    assert differences(dsn, views) == {}
