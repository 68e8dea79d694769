"""Eight sessions write at random, with savepoints, rollbacks and retries; then every view is right."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import psycopg
import pytest
from load import MIXED, ONE_TABLE, VIEWS, make, run_writers, wrong_views
from locking import locks_off

WRITERS = 8
SECONDS = 8.0


def write(conn: psycopg.Connection, rng: random.Random, counts: Counter[str]) -> None:
    """A transaction of a few statements; some are rolled back to a savepoint, or as a whole."""
    with conn.transaction() as transaction:
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            with conn.transaction() as savepoint:
                conn.execute(statement(rng))  # type: ignore[arg-type]
                if rng.random() < 0.15:
                    counts["savepoints rolled back"] += 1
                    raise psycopg.Rollback(savepoint)
        if rng.random() < 0.15:
            counts["rolled back"] += 1
            raise psycopg.Rollback(transaction)


def statement(rng: random.Random) -> str:
    """Any kind of statement over any of the tables, over few keys, so that writers meet often."""
    user, meter, other, value = (rng.randint(1, n) for n in (6, 12, 12, 99))
    day = f"'2024-01-0{rng.randint(1, 4)}'"
    rows = ", ".join(
        f"({rng.randint(1, 12)}, {day}, {rng.randint(0, 400) / 4})" for _ in range(rng.randint(1, 5))
    )
    reads = f"INSERT INTO reads (meter_id, day, value) VALUES {rows}"
    statements = {
        reads: 8,
        f"UPDATE reads SET value = {value}.50 WHERE meter_id = {meter} AND day = {day}": 3,
        f"UPDATE reads SET meter_id = {other} WHERE meter_id = {meter} AND day = {day}": 2,
        f"DELETE FROM reads WHERE meter_id = {meter} AND day <> {day}": 3,
        f"INSERT INTO meters VALUES ({meter}, {user}, 'gas') ON CONFLICT (id) DO UPDATE SET kind = 'kind {value % 3}'": 2,
        f"UPDATE meters SET user_id = {user} WHERE id = {meter}": 2,
        f"DELETE FROM meters WHERE id = {meter}": 1,
        f"INSERT INTO users VALUES ({user}, 'name {value % 4}') ON CONFLICT DO NOTHING": 1,
        f"UPDATE users SET name = 'name {value % 4}' WHERE id = {user}": 2,
        f"DELETE FROM users WHERE id = {user}": 1,
        f"WITH m AS (UPDATE meters SET kind = 'kind {value % 3}' WHERE id = {meter}) {reads}": 2,
    }
    return rng.choices(list(statements), list(statements.values()))[0]


def test_oracle_random_writers(database: Callable[..., str], language: str) -> None:
    dsn = database(language)
    make(dsn, language, MIXED)
    counts = run_writers(dsn, [write] * WRITERS, SECONDS)
    assert wrong_views(dsn) == []
    assert counts["done"] > 100 and counts["rolled back"] > 0 and counts["savepoints rolled back"] > 0, counts


@pytest.mark.parametrize("language", ["plpgsql"])
def test_oracle_random_writers_at_all_levels(database: Callable[..., str], language: str) -> None:
    """For views over one table; a view that joins refuses such writers."""

    def write_at_some_level(conn: psycopg.Connection, rng: random.Random, counts: Counter[str]) -> None:
        conn.isolation_level = rng.choice(list(psycopg.IsolationLevel))
        write(conn, rng, counts)

    dsn = database(language)
    make(dsn, language, {name: VIEWS[name] for name in ONE_TABLE})
    counts = run_writers(dsn, [write_at_some_level] * WRITERS, SECONDS / 2)
    assert wrong_views(dsn) == []
    assert counts["done"] > 100 and counts["40001"] > 0, counts


@pytest.mark.parametrize("language", ["plpgsql"])
def test_without_locks_random_writers_leave_wrong_rows(database: Callable[..., str], language: str) -> None:
    for _ in range(4):
        dsn = database(language)
        with locks_off():
            make(dsn, language, MIXED)
        run_writers(dsn, [write] * WRITERS, 2.0, ignore=("XX001",))  # a count below zero is a find too
        if wrong_views(dsn):
            return
    pytest.fail("the writers did not meet")
