"""Getting a lock that keeps writers out without making them queue behind it for long."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from psycopg import errors as pg

from pg_stepping.delta.terms import quote_table
from pg_stepping.frontend.postgres import Connection, execute
from pg_stepping.ir import Table
from pg_stepping.session import guarded

Result = TypeVar("Result")
_PATIENCE = 600.0
_WAIT = 0.025


def patiently(
    conn: Connection, step: Callable[[], Result], *, before: Callable[[], None] = lambda: None
) -> Result:
    """Try a transaction until it gets its locks soon; `before` comes before each try.

    Raises LockNotAvailable where ten minutes were not enough.
    """
    began = time.monotonic()
    while True:
        before()
        try:
            with guarded(conn):
                return step()
        except pg.LockNotAvailable:
            if time.monotonic() - began > _PATIENCE:
                raise
            time.sleep(random.uniform(0.02, 0.2))


def within(conn: Connection, hold: int, sql: str) -> None:
    """Run a statement under such locks: in `hold` ms, or raise LockNotAvailable as if they were not got."""
    execute(conn, f"SET LOCAL statement_timeout = '{hold}ms'")
    began = time.monotonic()
    try:
        execute(conn, sql)
    except pg.QueryCanceled as error:
        if time.monotonic() - began < hold / 1000:  # somebody else's
            raise
        raise pg.LockNotAvailable(str(error)) from error
    execute(conn, "SET LOCAL statement_timeout = 0")


def lock(conn: Connection, tables: Sequence[Table], mode: str) -> None:
    """Lock some tables, the last thing for which the transaction waits.

    Whoever writes one queues behind this: so it takes no longer than 25 ms, or raises LockNotAvailable. Nor
    do they wait for the disk when it commits: what comes later, theirs or ours, takes it there with itself.
    """
    execute(conn, "SET LOCAL synchronous_commit = off")
    until = time.monotonic() + _WAIT
    for table in tables:
        left = max(1, int((until - time.monotonic()) * 1000))
        execute(conn, f"SET LOCAL lock_timeout = '{left}ms'")
        execute(conn, f"LOCK TABLE {quote_table(table)} IN {mode} MODE")
