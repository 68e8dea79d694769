"""Making a view while its tables are written.

First its changes are captured, in logs, as in deferred mode. Then its state is filled, in one snapshot that
also takes the changes that it sees out of the logs: so it is the query over the tables without their logs,
as delta/deferred.py wants it. The logs are applied until few are left; the last are in the short
transaction in which the view becomes what it is to be.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from psycopg import errors as pg

from pg_stepping.backend.deferred import maintain_function
from pg_stepping.backend.script import (
    Definition,
    all_settings,
    fingerprint_of,
    published,
    write_adoption,
    write_capture,
)
from pg_stepping.catalog import installed, prelude, target
from pg_stepping.compiler import compile_query
from pg_stepping.delta.deferred import pending_function
from pg_stepping.delta.terms import quote_table
from pg_stepping.errors import ConnectionUnusable, NameTaken
from pg_stepping.frontend.dialect import quote_name
from pg_stepping.frontend.postgres import Connection, execute, run_script
from pg_stepping.session import guarded

Progress = Callable[[str, float], None]
FEW = 1000
_PATIENCE = 300.0
_MARK = "is being filled online"


def create_view_online(
    conn: Connection,
    name: str,
    query: str,
    *,
    schema: str | None = None,
    language: str | None = None,
    indexes: Sequence[Sequence[str]] = (),
    mode: str = "immediate",
    progress: Progress = lambda step, share: None,
) -> None:
    """Make the maintained view `name` as `create_view` does, without keeping writers out while it is filled.

    Needs a connection under autocommit: each step is a transaction of its own. Interrupted, it goes on
    where it was when it is called again with the same query; `drop_view` undoes it. `progress` is told each
    step (capture, fill, catch up, publish), and 1 at the end. Writers wait for two short transactions, the
    first and the last; for their locks these wait no longer than 50 ms at a time.
    Raises what `create_view` raises, and ConnectionUnusable in a transaction.
    """
    if not conn.autocommit:
        raise ConnectionUnusable(
            "a view is made online in several transactions", hint="use a connection with autocommit=True"
        )
    with guarded(conn):
        view = target(conn, name, schema)
        with guarded(conn, undo=True):
            captured = compile_query(conn, view, query, language=language, indexes=indexes, mode="deferred")
            final = captured
            if mode != "deferred":
                final = compile_query(conn, view, query, language=language, indexes=indexes, mode=mode)
        there = installed(conn, view.name, schema=view.schema)
        taken = execute(conn, "SELECT to_regclass(%s) IS NOT NULL", [quote_table(view)]).fetchone() == (True,)
    if taken or (there is not None and there.fingerprint != fingerprint_of(captured)):
        raise NameTaken(f"the name {view} is taken", hint="choose another, or drop what has it")
    if there is None:
        progress("capture", 0)
        _patiently(conn, lambda: _capture(conn, captured))
    progress("fill", 0)
    _fill(conn, captured)
    for _ in range(100):
        progress("catch up", 0)
        if _apply(conn, captured) < FEW:
            break
    progress("publish", 0)
    _patiently(conn, lambda: _publish(conn, captured, final))
    progress("publish", 1)


def _patiently(conn: Connection, step: Callable[[], None]) -> None:
    """Try a transaction until it gets its locks at once."""
    began = time.monotonic()
    while True:
        try:
            with guarded(conn):
                execute(conn, "SET LOCAL lock_timeout = '50ms'")
                step()
                return
        except pg.LockNotAvailable:
            if time.monotonic() - began > _PATIENCE:
                raise
            time.sleep(0.1)


def _capture(conn: Connection, captured: Definition) -> None:
    run_script(conn, prelude(conn, captured.language) + write_capture(captured))
    sql = "INSERT INTO stepping.suspect (schema_name, view_name, reason) VALUES (%s, %s, %s)"
    execute(conn, sql, [captured.view.schema, captured.view.name, _MARK])


def _fill(conn: Connection, captured: Definition) -> None:
    """Fill the state, unless that is done."""
    deferred = captured.deferred
    assert deferred is not None
    sources = ", ".join(quote_table(log.source) for log in deferred.logs)
    done = """DELETE FROM stepping.suspect
              WHERE schema_name = %s AND view_name = %s AND reason = %s RETURNING true"""
    with guarded(conn):
        execute(conn, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        # TRUNCATE heeds no snapshot: it must come before this one is taken, or after the end.
        execute(conn, f"LOCK TABLE {sources} IN ACCESS SHARE MODE")
        if execute(conn, done, [captured.view.schema, captured.view.name, _MARK]).fetchone() is None:
            return
        for name, value in (("search_path", "pg_catalog, pg_temp"), *all_settings(captured)):
            execute(conn, "SELECT set_config(%s, %s, true)", [name, value])
        for program in captured.programs:
            run_script(conn, program.fill)
        for log in deferred.logs:
            execute(conn, f"DELETE FROM {quote_table(log.table)}")


def _apply(conn: Connection, captured: Definition) -> int:
    assert captured.deferred is not None
    with guarded(conn):
        row = execute(conn, f"SELECT {_apply_function(captured)}()").fetchone()
    return int(row[0]) if row else 0


def _apply_function(captured: Definition) -> str:
    assert captured.deferred is not None
    return f"stepping.{quote_name(captured.deferred.name + '__apply')}"


def _publish(conn: Connection, captured: Definition, final: Definition) -> None:
    deferred = captured.deferred
    assert deferred is not None
    if final.deferred is not None:
        run_script(conn, "\n".join(published(final)))
        return
    sources = ", ".join(quote_table(log.source) for log in deferred.logs)
    execute(conn, f"LOCK TABLE {sources} IN ACCESS EXCLUSIVE MODE")
    execute(conn, f"SELECT {_apply_function(captured)}()")
    function = maintain_function(deferred)
    triggers = execute(
        conn,
        "SELECT quote_ident(tgname), tgrelid::regclass FROM pg_trigger WHERE tgfoid = %s::regproc",
        [function],
    ).fetchall()
    lines = [f"DROP TRIGGER {trigger} ON {table};" for trigger, table in triggers]
    lines += [f"DROP FUNCTION {function}(), {_apply_function(captured)}();"]
    lines += [f"DROP FUNCTION {pending_function(c.stage)}();" for c in deferred.changes]
    lines += [f"DROP TABLE {quote_table(log.table)};" for log in deferred.logs]
    run_script(conn, "\n".join(lines))
    row = [captured.view.schema, captured.view.name]
    execute(conn, "DELETE FROM stepping.maintained_view WHERE schema_name = %s AND view_name = %s", row)
    run_script(conn, write_adoption(final))
