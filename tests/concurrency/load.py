"""Several sessions that write at random at the same time."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from threading import Event, Thread
from time import monotonic, sleep
from typing import Any

import psycopg
from psycopg import errors as pg

import pg_stepping

TABLES = """
CREATE TABLE users (user_id integer PRIMARY KEY, name text NOT NULL);
CREATE TABLE meters (meter_id integer PRIMARY KEY, user_id integer);
CREATE TABLE reads (meter_id integer, day date, value numeric(8, 2));
CREATE INDEX ON reads (meter_id);
CREATE INDEX ON meters (user_id);
INSERT INTO users SELECT i, 'user ' || i % 4 FROM generate_series(1, 8) AS i;
INSERT INTO meters SELECT i, i % 8 + 1 FROM generate_series(1, 16) AS i;
INSERT INTO reads SELECT i % 16 + 1, date '2024-01-01' + i % 3, i FROM generate_series(1, 200) AS i;
"""
VIEWS = {
    "daily": """
        SELECT u.name, r.day, sum(r.value) AS total, count(*) AS n
        FROM users AS u JOIN meters AS m USING (user_id) JOIN reads AS r USING (meter_id) GROUP BY u.name, r.day""",
    "by_meter": "SELECT meter_id, sum(value) AS total, avg(value) AS mean FROM reads GROUP BY meter_id",
    "sizes": """
        SELECT n, count(*) AS meters
        FROM (SELECT meter_id, count(*) AS n FROM reads GROUP BY meter_id) AS q GROUP BY n""",
    "owners": "SELECT u.name, m.meter_id FROM users AS u JOIN meters AS m ON m.user_id = u.user_id",
    "share": """
        SELECT m.user_id, sum(q.total) AS total
        FROM (SELECT meter_id, sum(value) AS total FROM reads GROUP BY meter_id) AS q
        JOIN meters AS m ON m.meter_id = q.meter_id GROUP BY m.user_id""",
}

Conn = psycopg.Connection[Any]


def statements(pick: random.Random) -> Iterator[str]:
    """Statements over all three tables, without end."""
    while True:
        m, n, u, v = pick.randint(1, 20), pick.randint(1, 20), pick.randint(1, 10), pick.randint(1, 10)
        day, value = f"date '2024-01-0{pick.randint(1, 3)}'", pick.randint(0, 99999) / 100
        yield pick.choice(
            [
                *[f"INSERT INTO reads VALUES ({m}, {day}, {value}), ({n}, {day}, {value})"] * 4,
                f"INSERT INTO reads SELECT i, {day}, i FROM generate_series({min(m, n)}, {max(m, n)}) AS i",
                f"DELETE FROM reads WHERE meter_id = {m} AND day = {day}",
                f"UPDATE reads SET meter_id = {n} WHERE meter_id = {m} AND day = {day}",
                f"UPDATE reads SET value = value + 1 WHERE meter_id = {m} AND value < {value}",
                f"INSERT INTO meters VALUES ({m}, {u}) ON CONFLICT (meter_id) DO UPDATE SET user_id = {v}",
                f"DELETE FROM meters WHERE meter_id = {m}",
                f"UPDATE meters SET user_id = {u} WHERE meter_id = {m}",
                f"INSERT INTO users VALUES ({u}, 'user {v % 4}') ON CONFLICT DO NOTHING",
                f"UPDATE users SET name = 'user {v % 4}' WHERE user_id = {u}",
                f"DELETE FROM users WHERE user_id = {u}",
                f"WITH m AS (DELETE FROM meters WHERE meter_id = {m})"
                f" INSERT INTO reads VALUES ({n}, {day}, {value})",
            ]
        )


def set_up(dsn: str, language: str, views: Mapping[str, str] = VIEWS, tables: str = TABLES) -> None:
    with psycopg.connect(dsn) as conn:
        conn.execute(tables)  # type: ignore[arg-type]
        for name, query in views.items():
            pg_stepping.create_view(conn, name, query, language=language)


def differences(dsn: str, views: Mapping[str, str] = VIEWS) -> dict[str, Any]:
    """What verify finds, by view, where it finds something."""
    with psycopg.connect(dsn) as conn:
        found = {name: pg_stepping.verify(conn, name) for name in views}
    return {name: rows for name, rows in found.items() if rows}


def rows_left(dsn: str) -> int:
    """Advisory locks that somebody holds, and changes that wait."""
    query = """
        SELECT (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
            + (SELECT count(*) FROM stepping.waiting)"""
    with psycopg.connect(dsn) as conn:
        row = conn.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def transaction(conn: Conn, pick: random.Random) -> None:
    """A few statements, some below a savepoint that may be rolled back; sometimes all is rolled back."""
    with conn.transaction() as whole:
        for statement, _ in zip(statements(pick), range(pick.randint(1, 3)), strict=False):
            with conn.transaction() as part:
                conn.execute(statement)  # type: ignore[arg-type]
                if pick.random() < 0.15:
                    raise psycopg.Rollback(part)
        if pick.random() < 0.1:
            raise psycopg.Rollback(whole)


@dataclass
class Load:
    """Sessions that run `work` again and again, each in a thread, as long as the block runs.

    `expected` errors roll a transaction back; after a `lost` one the session connects again.
    """

    dsn: str
    work: Callable[[Conn, random.Random], None] = transaction
    sessions: int = 8
    expected: tuple[type[psycopg.Error], ...] = (pg.DeadlockDetected,)
    lost: tuple[type[BaseException], ...] = ()
    done: int = 0
    again: int = 0
    reconnected: int = 0
    errors: list[BaseException] = field(default_factory=list)
    stopped: Event = field(default_factory=Event)

    def __enter__(self) -> Load:
        self.threads = [Thread(target=self._run, args=(i,)) for i in range(self.sessions)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join()

    def wait(self, seconds: float, transactions: int = 0) -> None:
        """Let them write for a time, and until they have done some transactions."""
        until, wanted = monotonic() + seconds, self.done + transactions
        while (monotonic() < until or self.done < wanted) and not self.errors:
            sleep(0.02)

    def _run(self, seed: int) -> None:
        pick = random.Random(seed)
        while not self.stopped.is_set():
            try:
                self._session(pick)
            except self.lost:
                self.reconnected += 1
                sleep(0.02)
            except Exception as error:
                self.errors.append(error)
                return

    def _session(self, pick: random.Random) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            conn.execute("SET deadlock_timeout = '20ms'")
            while not self.stopped.is_set():
                try:
                    self.work(conn, pick)
                    self.done += 1
                except self.expected:
                    self.again += 1
