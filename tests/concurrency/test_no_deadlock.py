"""Two transactions of one large statement each never deadlock, whatever they write and in whatever order.

The statements of two sessions write rows of their own (even ids, odd ids) and refer to such rows, so that
Postgres's own row locks never meet; the views' groups and join keys overlap wherever they can.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import combinations_with_replacement
from threading import Barrier
from typing import Any

import psycopg
from interleavings import Shape, prepare
from load import VIEWS
from scenarios import METERS_WITH_KEYS

import pg_stepping

PAIRINGS = ("pairings", "SELECT u.name, m.kind, count(*) AS n FROM users AS u JOIN meters AS m ON u.id < m.id GROUP BY u.name, m.kind")  # fmt: skip

SHAPE = Shape(
    METERS_WITH_KEYS
    + """
    CREATE INDEX ON meters (user_id);
    CREATE INDEX ON reads (meter_id);
    INSERT INTO users SELECT i, 'name ' || i / 2 % 4 FROM generate_series(1, 20) AS i;
    INSERT INTO meters SELECT i, i % 20 + 1, 'kind ' || i / 2 % 3 FROM generate_series(0, 99) AS i;
    UPDATE meters SET user_id = user_id - 1 + id % 2 * 2 - 1 WHERE user_id % 2 <> id % 2 AND user_id > 2;
    UPDATE meters SET user_id = 2 - id % 2 WHERE user_id % 2 <> id % 2 OR user_id IS NULL;
    INSERT INTO reads (id, meter_id, day, value)
        SELECT i, i % 100, date '2024-01-01' + i / 2 % 5, i / 4.0 FROM generate_series(0, 299) AS i;
    ALTER TABLE reads ALTER id RESTART 10000;
    """,
    {**{name: VIEWS[name] for name in ("daily", "sums", "sizes", "siblings", "days", "names", "kinds")}, PAIRINGS[0]: PAIRINGS[1]},
    {},
)  # fmt: skip

# {p} is 0 or 1, the parity of all rows that a session writes or refers to
MINE = "SELECT i FROM generate_series({p}, 99, 2) AS i ORDER BY random()"
INSERT_READS = f"INSERT INTO reads (meter_id, day, value) SELECT i, date '2024-01-01' + i / 2 % 5, i / 8.0 FROM ({MINE}) AS mine"
INSERT_METERS = "INSERT INTO meters SELECT i, 2 * (i % 9) + 2 - {p}, 'kind ' || i % 3 FROM (SELECT 2 * i + {p} FROM generate_series(100, 140) AS i ORDER BY random()) AS mine (i)"
INSERT_USERS = "INSERT INTO users SELECT 2 * i + {p}, 'name ' || i % 4 FROM generate_series(100, 120) AS i ORDER BY random()"
MOVE_METERS = "UPDATE meters SET user_id = 2 * (id * 7 % 9) + 2 - {p} WHERE id % 2 = {p}"
RENAME_USERS = "UPDATE users SET name = 'name ' || (id + 1) % 4 WHERE id % 2 = {p}"
MOVE_READS = (
    "UPDATE reads SET meter_id = 2 * ((id * 13 / 2) % 50) + {p}, value = value + 1 WHERE id % 2 = {p}"
)
DELETE_READS = "DELETE FROM reads WHERE id % 2 = {p} AND id % 3 = 0"

STATEMENTS = {
    "insert reads": INSERT_READS,
    "update reads": "UPDATE reads SET value = value * 2, day = day + 1 WHERE id % 2 = {p}",
    "move reads": MOVE_READS,
    "delete reads": DELETE_READS,
    "insert meters": INSERT_METERS,
    "move meters": MOVE_METERS,
    "change kinds": "UPDATE meters SET kind = 'kind ' || id / 2 % 4 WHERE id % 2 = {p}",
    "delete meters": "DELETE FROM meters WHERE id % 2 = {p} AND id % 3 = 0",  # cascades to reads
    "rekey meters": "UPDATE meters SET id = id + 1000 WHERE id % 2 = {p} AND id % 5 = 0",  # cascades to reads
    "insert users": INSERT_USERS,
    "rename users": RENAME_USERS,
    "delete users": "DELETE FROM users WHERE id % 2 = {p} AND id > 10",  # cascades to meters and reads
    "users, meters, reads": f"WITH u AS ({RENAME_USERS}), m AS ({MOVE_METERS}) {INSERT_READS}",
    "reads, meters, users": f"WITH r AS ({DELETE_READS}), m AS ({MOVE_METERS}) {RENAME_USERS}",
    "meters, users, reads": f"WITH m AS ({INSERT_METERS}), u AS ({INSERT_USERS}) {MOVE_READS}",
}

PAIRS = list(combinations_with_replacement(STATEMENTS, 2))


def build(dsn: str, language: str, views: dict[str, str] = SHAPE.views) -> None:
    """The schema with its views, and functions that bring the rows back and count wrong ones."""
    with psycopg.connect(dsn) as conn:
        conn.execute(SHAPE.schema)  # type: ignore[arg-type]
        conn.execute("""ANALYZE; SELECT setval('reads_id_seq', 10000)""")
        for name, query in views.items():
            pg_stepping.create_view(conn, name, query, language=language)
        prepare(conn, replace(SHAPE, views=views))


TRUNCATE = {"truncate reads": "TRUNCATE reads"}
MOVES_KEYS = (
    "delete meters",
    "rekey meters",
    "delete users",
)  # these write to reads when they hold other rows


def meet(dsn: str, pairs: list[tuple[str, str]], rounds: int) -> Counter[str]:
    """Run the two statements of each pair at once, some times; count errors by statements and SQLSTATE."""
    barrier = Barrier(2)
    errors: Counter[str] = Counter()
    sessions = [psycopg.connect(dsn, autocommit=True) for _ in range(2)]

    def run(session: psycopg.Connection[Any], parity: int, name: str, delay: float) -> str | None:
        barrier.wait(30)
        try:
            session.execute(f"SELECT pg_sleep({delay})")  # type: ignore[arg-type]
            session.execute((STATEMENTS | TRUNCATE)[name].format(p=parity))  # type: ignore[arg-type]
        except psycopg.Error as error:
            return str(error.sqlstate)
        return None

    rng = random.Random(7)
    with ThreadPoolExecutor(2) as threads:
        for session in sessions:
            session.execute("SET deadlock_timeout = '20ms'; SET statement_timeout = '20s'; SET jit = off")
        for pair in pairs:
            for _ in range(rounds):
                delay = rng.choice((0, 0, 0.002))
                runs = [threads.submit(run, sessions[i], i, pair[i], delay * i) for i in (0, 1)]
                for code in [r.result() for r in runs]:
                    if code:
                        errors[f"{pair[0]} | {pair[1]}: {code}"] += 1
                row = sessions[0].execute("SELECT harness.wrong() + harness.wrong_state()").fetchone()
                assert row == (0,), f"{pair}: {row} wrong rows"
                sessions[0].execute("SELECT harness.reset()")
    for session in sessions:
        session.close()
    return errors


def test_oracle_two_large_statements_never_deadlock(database: Callable[..., str]) -> None:
    dsn = database("plpgsql")
    build(dsn, "plpgsql")
    assert meet(dsn, PAIRS, 1) == {}


def test_oracle_two_large_statements_never_deadlock_in_plpython(database: Callable[..., str]) -> None:
    dsn = database("plpython3u")
    build(dsn, "plpython3u")
    assert meet(dsn, random.Random(7).sample(PAIRS, 30), 2) == {}


def test_without_views_they_never_deadlock_either(database: Callable[..., str]) -> None:
    """So that what the other tests find is of our making."""
    dsn = database("plpgsql")
    build(dsn, "plpgsql", {})
    assert meet(dsn, PAIRS, 1) == {}


def test_oracle_truncate_never_deadlocks(database: Callable[..., str]) -> None:
    """It holds a lock on the whole table before any trigger runs. (Of a table that others refer to, it
    deadlocks with their checks without any view.)"""
    dsn = database("plpgsql")
    build(dsn, "plpgsql")
    assert meet(dsn, [(name, "truncate reads") for name in STATEMENTS if name not in MOVES_KEYS], 4) == {}
