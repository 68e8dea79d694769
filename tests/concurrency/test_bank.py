"""Money moves between accounts; what a view says there is of it is the same in every snapshot."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from decimal import Decimal
from threading import Event, Thread
from typing import Any

import psycopg
import pytest
from load import Conn, Load, differences, rows_left, set_up
from locking import locks_off
from psycopg import IsolationLevel

ACCOUNTS = 40
TABLES = f"""
CREATE TABLE accounts (id integer PRIMARY KEY, branch integer NOT NULL, balance numeric NOT NULL);
CREATE TABLE entries (account_id integer NOT NULL, amount numeric(10, 2) NOT NULL);
CREATE INDEX ON entries (account_id);
INSERT INTO accounts SELECT i, i % 4, 100 FROM generate_series(1, {ACCOUNTS}) AS i;
INSERT INTO entries SELECT i, 100 FROM generate_series(1, {ACCOUNTS}) AS i;
"""
VIEWS = {
    "branches": "SELECT branch, sum(balance) AS total FROM accounts GROUP BY branch",
    "booked": """
        SELECT a.branch, sum(e.amount) AS total
        FROM accounts AS a JOIN entries AS e ON e.account_id = a.id GROUP BY a.branch""",
    "bank": "SELECT sum(total) AS total FROM branches",
}
SUMS = "SELECT " + ", ".join(f"(SELECT sum(total) FROM {view}) AS {view}" for view in VIEWS)
EXPECTED = dict.fromkeys(VIEWS, Decimal(100 * ACCOUNTS))


def transfer(conn: Conn, pick: random.Random) -> None:
    """Between two accounts, booked twice; now and then an account moves to another branch."""
    a, b = pick.sample(range(1, ACCOUNTS + 1), 2)
    amount = Decimal(pick.randint(1, 9999)) / 100
    with conn.transaction():
        update = "UPDATE accounts SET balance = balance + %s WHERE id = %s"
        conn.execute(update, [amount, a])
        conn.execute(update, [-amount, b])
        conn.execute("INSERT INTO entries VALUES (%s, %s), (%s, %s)", [a, amount, b, -amount])
    if pick.random() < 0.3:
        conn.execute("UPDATE accounts SET branch = %s WHERE id = %s", [pick.randint(0, 3), a])


class Auditors:
    """Readers at each level, each of which notes the sums of every snapshot that are not as expected."""

    def __init__(self, dsn: str) -> None:
        self.wrong: list[Any] = []
        self.looks = 0
        self.stopped = Event()
        levels = (IsolationLevel.READ_COMMITTED, IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE)
        self.threads = [Thread(target=self._read, args=(dsn, level)) for level in levels]

    def _read(self, dsn: str, level: IsolationLevel) -> None:
        with psycopg.connect(dsn, row_factory=psycopg.rows.dict_row) as conn:
            conn.isolation_level, conn.read_only = level, True
            repeats = 1 if level == IsolationLevel.READ_COMMITTED else 3
            while not self.stopped.is_set():
                with conn.transaction():
                    found = [conn.execute(SUMS).fetchone() for _ in range(repeats)]
                self.wrong += [sums for sums in found if sums != EXPECTED]
                self.looks += repeats

    def __enter__(self) -> Auditors:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize("sessions", [4])
def test_oracle_the_sum_is_the_same_in_every_snapshot(dsn: str, language: str, sessions: int) -> None:
    set_up(dsn, language, VIEWS, TABLES)
    with Auditors(dsn) as auditors, Load(dsn, transfer, sessions) as load:
        load.wait(5, transactions=200)
    assert not load.errors, load.errors[0]
    assert auditors.looks > 100
    assert auditors.wrong == []
    assert differences(dsn, VIEWS) == {}
    assert rows_left(dsn) == 0


def test_without_locks_an_auditor_finds_it(database: Callable[..., str]) -> None:
    """An account moves while money is booked on it: the old branch keeps what came in between."""
    dsn = database("plpgsql")
    with locks_off():
        set_up(dsn, "plpgsql", VIEWS, TABLES)
    with psycopg.connect(dsn) as mover, psycopg.connect(dsn) as teller, ThreadPoolExecutor(1) as thread:
        mover.execute("UPDATE accounts SET branch = 9 WHERE id = 1")
        booking = thread.submit(teller.execute, "INSERT INTO entries VALUES (1, 5), (2, -5)")
        wait([booking], 0.5)  # for the row of the old branch, with a delta that is out of date
        mover.commit()
        booking.result()
        teller.commit()
    assert set(differences(dsn, VIEWS)) == {"booked"}
