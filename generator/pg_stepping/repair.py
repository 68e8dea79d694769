"""Putting a view right where it is wrong: only the keys that differ are computed anew."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import errors as pg

from pg_stepping.backend.deferred import apply_lock
from pg_stepping.backend.script import Definition, all_settings
from pg_stepping.catalog import Installed, found, use_settings
from pg_stepping.compiler import compile_installed
from pg_stepping.delta import StageProgram
from pg_stepping.delta.correction import correction, differing_rows
from pg_stepping.delta.terms import quote_table
from pg_stepping.errors import ConnectionUnusable
from pg_stepping.frontend.postgres import Connection, execute
from pg_stepping.session import guarded

_PATIENCE = 60.0


def repair(conn: Connection, name: str, *, schema: str | None = None, batch: int = 500) -> int:
    """Put right the rows of a view's state that differ from its query; returns how many were changed.

    The differing keys are found in one snapshot, without a lock. They are computed anew from the tables as
    they are, `batch` keys at a time, each under a lock that keeps writers out. Under autocommit each is a
    transaction of its own, and waits for its lock for no more than 50 ms at a time, so that writers never
    queue behind it for longer; in a transaction of the caller's the locks are held until that ends. A stage
    without a key is computed anew as a whole. In deferred mode writers wait until all is done, and what waits
    in the logs is part of it. Raises ViewNotFound, and ConnectionUnusable at REPEATABLE READ
    or SERIALIZABLE.
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
        definition = _definition(conn, view)
    if definition.deferred is None:
        return _repair(conn, definition, batch)
    with guarded(conn):
        for program in definition.programs:
            _lock(conn, program, patient=True)
        execute(conn, "SELECT pg_advisory_xact_lock(%s)", [apply_lock(definition.deferred.name)])
        for log in definition.deferred.logs:
            execute(conn, f"DELETE FROM {quote_table(log.table)}")
        return _repair(conn, definition, batch)


def _repair(conn: Connection, definition: Definition, batch: int) -> int:
    changed = 0
    for program in definition.programs:  # each after those that it reads
        with guarded(conn), _computing(conn, definition):
            rows = [str(row[0]) for row in execute(conn, differing_rows(program))]
        for start in range(0, len(rows), batch):
            changed += _correct(conn, definition, program, rows[start : start + batch])
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


def _correct(conn: Connection, definition: Definition, program: StageProgram, rows: list[str]) -> int:
    began = time.monotonic()
    while True:
        try:
            with guarded(conn):
                _lock(conn, program)
                with _alone(conn, definition, program), _computing(conn, definition):
                    statement = correction(program).replace("%", "%%").replace("$1", "%(rows)s")
                    found = execute(conn, statement, {"rows": rows}).fetchone()
                return int(found[0]) if found else 0
        except pg.LockNotAvailable:
            if not conn.autocommit or time.monotonic() - began > _PATIENCE:
                raise
            time.sleep(0.1)


def _lock(conn: Connection, program: StageProgram, *, patient: bool = False) -> None:
    """Keep writers out of all that the stage reads."""
    tables = ", ".join(dict.fromkeys(quote_table(s.table) for s in program.sources))
    if conn.autocommit and not patient:
        execute(conn, "SET LOCAL lock_timeout = '50ms'")
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
