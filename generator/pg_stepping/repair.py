"""Putting a view right where it is wrong: only the keys that differ are computed anew."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from psycopg import errors as pg
from psycopg.pq import TransactionStatus

from pg_stepping.backend.deferred import apply_lock
from pg_stepping.backend.script import Definition, all_settings
from pg_stepping.catalog import Installed, found, use_settings
from pg_stepping.compiler import compile_installed
from pg_stepping.delta import Deferred, StageProgram
from pg_stepping.delta.correction import correction, differing_rows
from pg_stepping.delta.terms import quote_table
from pg_stepping.errors import ConnectionUnusable, SteppingError
from pg_stepping.frontend.postgres import Connection, execute, run_script
from pg_stepping.online.before import before, before_view, divided_by, never_had, programs_before
from pg_stepping.online.patience import lock, patiently
from pg_stepping.session import guarded

_FIRST = 8  # keys; how many the next time are follows from how long these took
_HOLD = 0.02
_AT_MOST = 50  # ms; what takes longer is taken back
_TRIES = 5  # of one key, which may take longer after these


class _TookLong(Exception):
    """What writers wait for took longer than they should."""


def repair(conn: Connection, name: str, *, schema: str | None = None, batch: int = 500) -> int:
    """Put right the rows of a view's state that differ from its query; returns how many were changed.

    The differing keys are found in one snapshot, without a lock. They are computed anew from the tables as
    they are, at most `batch` keys at a time, under a lock that keeps writers out. Under autocommit each time
    is a transaction of its own, of as many keys as take 20 ms or of one, and waits for its lock for no more
    than 25 ms, so that writers never queue behind it for longer; one that takes more than 50 ms is taken back
    and tried with fewer keys, or, of one key, up to five times. In a transaction of the caller's the locks
    are held until that ends. A stage without a key is computed anew as a whole. In deferred
    mode no writer waits, but for a view of which a log has rows that its table never had: then all wait until
    it is done, and the logs are emptied.
    Raises ViewNotFound, and ConnectionUnusable at REPEATABLE READ or SERIALIZABLE.
    """
    with guarded(conn):
        view = found(conn, name, schema)
        row = execute(conn, "SELECT current_setting('transaction_isolation')").fetchone()
        if row in (("repeatable read",), ("serializable",)):
            raise ConnectionUnusable(
                "a view cannot be repaired at REPEATABLE READ or SERIALIZABLE",
                hint="it would miss rows committed since it began: use READ COMMITTED",
                sqlstate="25000",
            )
        sql = "SELECT FROM stepping.filling WHERE schema_name = %s AND view_name = %s"
        if execute(conn, sql, [view.schema, view.name]).fetchone() is not None:
            hint = "run the command that makes it again: it goes on; or drop the view"
            raise SteppingError(f"{view.table} is being filled online", hint=hint, sqlstate="55000")
        definition = _definition(conn, view)
    if definition.deferred is None:
        return _repair(conn, definition, definition.programs, batch)
    return _repair_deferred(conn, definition, definition.deferred, batch)


def _repair_deferred(conn: Connection, definition: Definition, deferred: Deferred, batch: int) -> int:
    """Compare the state with the query over the tables without their logs, which may grow meanwhile."""
    with guarded(conn):
        divided = [(log, divided_by(conn, log)) for log in deferred.logs]
        for log, by in divided:
            run_script(conn, before_view(log, by))
        sane = all(execute(conn, never_had(log, by)).fetchone() is None for log, by in divided)
    try:
        if sane:
            return _repair(conn, definition, programs_before(definition), batch)
        with guarded(conn):
            _lock(conn, definition.programs)
            execute(conn, "SELECT pg_advisory_xact_lock(%s)", [apply_lock(deferred.name)])
            for log in deferred.logs:
                execute(conn, f"DELETE FROM {quote_table(log.table)}")
            return _repair(conn, definition, definition.programs, batch)
    finally:
        if not conn.closed and conn.info.transaction_status != TransactionStatus.INERROR:
            with guarded(conn):
                for log in deferred.logs:
                    execute(conn, f"DROP VIEW IF EXISTS {quote_table(before(log))}")


def _repair(conn: Connection, definition: Definition, programs: Sequence[StageProgram], batch: int) -> int:
    changed = 0
    alone = conn.autocommit and conn.info.transaction_status == TransactionStatus.IDLE
    for program in programs:  # each after those that it reads
        with guarded(conn), _computing(conn, definition):
            rows = [str(row[0]) for row in execute(conn, differing_rows(program))]
        start, size, tries = 0, min(batch, _FIRST) if alone else batch, 0
        while start < len(rows):
            limit = _AT_MOST if alone and (size > 1 or tries < _TRIES) else 0
            of = partial(_correct, conn, definition, program, rows[start : start + size], alone, limit)
            try:
                count, took = patiently(conn, of) if alone else of()
            except _TookLong:
                size, tries = max(1, size // 2), tries + 1
                continue
            changed += count
            start, tries = start + size, 0
            if alone:
                size = max(1, min(batch, 2 * size, int(size * _HOLD / took)))
    with guarded(conn):
        sql = "DELETE FROM stepping.suspect WHERE schema_name = %s AND view_name = %s"
        execute(conn, sql, [definition.view.schema, definition.view.name])
    return changed


def _definition(conn: Connection, view: Installed) -> Definition:
    with guarded(conn, undo=True):
        use_settings(conn, view)
        return compile_installed(conn, view)


@contextmanager
def _computing(conn: Connection, definition: Definition) -> Iterator[None]:
    """The settings that the triggers of the view run with."""
    settings = [("search_path", "pg_catalog, pg_temp"), ("jit", "off"), *all_settings(definition)]
    before = [(name, execute(conn, "SELECT current_setting(%s)", [name]).fetchone()) for name, _ in settings]
    for setting in settings:
        execute(conn, "SELECT set_config(%s, %s, true)", setting)
    yield
    for name, row in before:
        execute(conn, "SELECT set_config(%s, %s, true)", [name, row[0] if row else ""])


def _correct(
    conn: Connection, definition: Definition, program: StageProgram, rows: list[str], alone: bool, limit: int
) -> tuple[int, float]:
    """Compute some rows anew; returns how many changed, and how long others had to wait for it (seconds).

    Raises _TookLong where that takes more than `limit` ms; 0: however long.
    """
    with guarded(conn):
        if definition.deferred is not None:
            execute(conn, "SELECT pg_advisory_xact_lock(%s)", [apply_lock(definition.deferred.name)])
        elif alone:
            lock(conn, list(dict.fromkeys(s.table for s in program.sources)), "SHARE ROW EXCLUSIVE")
        else:
            _lock(conn, [program])
        began = time.monotonic()
        with _alone(conn, definition, program), _computing(conn, definition):
            statement = correction(program).replace("%", "%%").replace("$1", "%(rows)s")
            if limit:
                execute(conn, f"SET LOCAL statement_timeout = {limit}")
            try:
                found = execute(conn, statement, {"rows": rows}).fetchone()
            except pg.QueryCanceled as error:
                if not limit or time.monotonic() - began < limit / 1000:  # somebody else's
                    raise
                raise _TookLong from error
            if limit:
                execute(conn, "SET LOCAL statement_timeout = 0")
    return int(found[0]) if found else 0, time.monotonic() - began


def _lock(conn: Connection, programs: Sequence[StageProgram]) -> None:
    """Keep writers out of all that some stages read."""
    tables = ", ".join(dict.fromkeys(quote_table(s.table) for p in programs for s in p.sources))
    execute(conn, f"LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE")


@contextmanager
def _alone(conn: Connection, definition: Definition, program: StageProgram) -> Iterator[None]:
    """Later stages of the view do not follow: each is looked through itself. Other views do follow."""
    functions = [f"{p.stage.name}__maintain" for p in definition.programs]
    table = quote_table(program.stage.table)
    rows = execute(
        conn,
        """SELECT quote_ident(t.tgname) FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
           WHERE t.tgrelid = %s::regclass AND p.pronamespace = 'stepping'::regnamespace
             AND p.proname = ANY (%s)""",
        [table, functions],
    ).fetchall()
    for (trigger,) in rows:
        execute(conn, f"ALTER TABLE {table} DISABLE TRIGGER {trigger}")
    yield
    for (trigger,) in rows:
        execute(conn, f"ALTER TABLE {table} ENABLE TRIGGER {trigger}")
