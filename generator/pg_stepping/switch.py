"""Bringing a view from immediate to deferred mode, or back, without computing it anew.

In immediate mode the state is the query over the tables; in deferred mode it is that without the changes in
the logs. So between the two lie only empty logs, which a lock on the tables makes sure of.
Back to immediate mode it takes two steps: a snapshot from before still sees changes in the logs, and the
state without them, so the published view reads the logs until no such snapshot is left.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

from psycopg.pq import TransactionStatus

from pg_stepping.backend.deferred import apply_lock
from pg_stepping.backend.script import Definition, applied_name
from pg_stepping.backend.switch import write_deferring, write_keeping, write_without_logs
from pg_stepping.catalog import Installed, check_language, found, use_settings
from pg_stepping.change.version import problem
from pg_stepping.compiler import compile_installed
from pg_stepping.delta.terms import quote_table, regclass
from pg_stepping.dependents import readers
from pg_stepping.errors import SteppingError, ViewInUse
from pg_stepping.frontend.postgres import Connection, execute, run_script
from pg_stepping.ir import Table
from pg_stepping.online import FEW
from pg_stepping.online.patience import lock, patiently
from pg_stepping.session import guarded
from pg_stepping.views import apply, check_name_is_free

_ROUNDS = 20  # at most, in which few changes are to be left: writers may be as fast as we
_PATIENCE = 300.0  # seconds to wait for older transactions
_FOLLOWERS = """
SELECT left(p.proname, -length('__maintain')) FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
WHERE NOT t.tgisinternal AND p.proname ~ '__maintain$'
  AND t.tgrelid IN (
    SELECT to_regclass(concat('stepping.', quote_ident(s))) FROM unnest(%(stages)s::text[]) AS s)
  AND p.proname <> ALL (ARRAY(SELECT concat(s, '__maintain') FROM unnest(%(stages)s::text[]) AS s))
ORDER BY 1 LIMIT 1"""
_OPTIONS = """
SELECT concat(' WITH (', array_to_string(reloptions, ', '), ')') FROM pg_class
WHERE oid = %s::regclass AND reloptions IS NOT NULL"""
_OPEN = """
SELECT array_agg(l.virtualtransaction) FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
WHERE l.locktype = 'virtualxid' AND l.pid <> pg_backend_pid()
  AND a.datid = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (a.backend_xmin IS NOT NULL OR a.query = '<insufficient privilege>')
  AND (%(of)s::text[] IS NULL OR l.virtualtransaction = ANY (%(of)s::text[]))"""


def switch_view(conn: Connection, name: str, *, mode: str, schema: str | None = None) -> None:
    """Bring a view to `mode`, `immediate` or `deferred`, with its state as it is; a no-op if it is in it.

    What waits in the logs is applied; no other table is read. Writers wait while the triggers are exchanged.
    Under autocommit that is a transaction of its own, when few changes are left; it gives up a lock that it
    does not get within 40 ms, and tries again. The logs go when transactions that began before have ended.
    In a transaction of the caller's, at READ COMMITTED, all happens at once, and rolls back whole; to a
    transaction at REPEATABLE READ that began before, and reads the view only after, what waited is lost then.
    Raises ViewNotFound, InvalidQuery for another mode, and ViewInUse if another maintained view follows the
    state, or something reads `name`_as_applied, which would go.
    """
    with guarded(conn):
        view = found(conn, name, schema)
        if view.stripes and mode == "deferred":
            raise SteppingError(
                f"a view in stripes cannot be brought to deferred mode: {view.table}",
                hint="its groups have several rows: drop it and create it with mode='deferred'",
                sqlstate="0A000",
            )
        wanted = _in_mode(conn, view, mode)
        is_half_way = view.mode == "deferred" and _has_triggers_of_both(conn, view)
        if mode == view.mode and not is_half_way:
            return
        check_language(conn, view.language)
        _check_readers(conn, view)
        told = problem(conn, view) if not is_half_way else None
        if told is not None:
            raise SteppingError(
                f"{view.table} may be wrong: {told}",
                hint="repair it, or drop it and make it again; then bring it to another mode",
                sqlstate="55000",
            )
    alone = conn.autocommit and conn.info.transaction_status == TransactionStatus.IDLE
    with nullcontext() if alone else guarded(conn):
        if view.mode == "deferred":
            _keep(
                conn,
                view,
                wanted if mode == "immediate" else _in_mode(conn, view, "immediate"),
                alone,
                is_half_way,
            )
        if mode == "deferred":
            _once(conn, alone, lambda: _defer(conn, view, wanted, alone))


def _in_mode(conn: Connection, view: Installed, mode: str) -> Definition:
    with guarded(conn, undo=True):
        use_settings(conn, view)
        return compile_installed(conn, replace(view, mode=mode))


def _once(conn: Connection, alone: bool, step: Callable[[], None]) -> None:
    """Do a step as a whole; alone, in a transaction of its own that nobody queues behind for long."""
    if alone:
        patiently(conn, step)
    else:
        with guarded(conn):
            step()


def _defer(conn: Connection, view: Installed, definition: Definition, alone: bool) -> None:
    check_name_is_free(conn, applied_name(view.table))
    _lock(conn, definition, alone)
    run_script(conn, write_deferring(definition, _options(conn, view.table)))


def _keep(conn: Connection, view: Installed, definition: Definition, alone: bool, is_half_way: bool) -> None:
    """To immediate mode, in its two halves."""
    if not is_half_way:
        for _ in range(_ROUNDS if alone else 0):
            if apply(conn, view.name, schema=view.schema) < FEW:
                break
        _once(conn, alone, lambda: _keep_by_triggers(conn, view, definition, alone))
    if alone:
        _wait_for_older(conn)
    _once(conn, alone, lambda: _take_logs_away(conn, view, definition, alone))


def _keep_by_triggers(conn: Connection, view: Installed, definition: Definition, alone: bool) -> None:
    _lock_applying(conn, view)
    _lock(conn, definition, alone)
    apply(conn, view.name, schema=view.schema)
    run_script(conn, write_keeping(definition))


def _take_logs_away(conn: Connection, view: Installed, definition: Definition, alone: bool) -> None:
    options = _options(conn, view.table)
    _lock_applying(conn, view)
    if alone:  # LOCK TABLE on a view asks what its owner may do to the tables below, too
        execute(conn, "SET LOCAL lock_timeout = '25ms'")
    run_script(conn, write_without_logs(definition, options))


def _lock_applying(conn: Connection, view: Installed) -> None:
    """Keep others from applying; before any table, for who applies has this lock when he reads them."""
    execute(conn, "SELECT pg_advisory_xact_lock(%s)", [apply_lock(view.stages[-1])])


def _lock(conn: Connection, definition: Definition, alone: bool) -> None:
    """Keep everybody off the tables: their triggers go, which takes such a lock anyway."""
    own = {p.stage.table for p in definition.programs}
    tables = list(
        dict.fromkeys(s.table for p in definition.programs for s in p.sources if s.table not in own)
    )
    if alone:
        lock(conn, tables, "ACCESS EXCLUSIVE")
    else:
        execute(conn, f"LOCK TABLE {', '.join(map(quote_table, tables))} IN ACCESS EXCLUSIVE MODE")


def _check_readers(conn: Connection, view: Installed) -> None:
    hint = "drop that view first, and make it again afterwards"
    row = execute(conn, _FOLLOWERS, {"stages": list(view.stages)}).fetchone()
    if row is not None:
        raise ViewInUse(
            f"a maintained view follows the state of {view.table}, in stepping.{row[0]}", hint=hint
        )
    found = readers(conn, applied_name(view.table)) if view.mode == "deferred" else []
    if found:
        raise ViewInUse(f"{found[0]} reads {applied_name(view.table)}, which would go", hint=hint)


def _has_triggers_of_both(conn: Connection, view: Installed) -> bool:
    """Whether it was on its way to immediate mode, and was interrupted between the two steps."""
    sql = "SELECT to_regclass(concat('stepping.', quote_ident(%s || '__aside_1'))) IS NOT NULL"
    return execute(conn, sql, [view.stages[-1]]).fetchone() == (True,)


def _options(conn: Connection, view: Table) -> str:
    """What was set for a view, which CREATE OR REPLACE would take back."""
    row = execute(conn, _OPTIONS, [regclass(view)]).fetchone()
    return str(row[0]) if row is not None else ""


def _wait_for_older(conn: Connection) -> None:
    """Wait until no transaction has a snapshot from before."""
    began = time.monotonic()
    waiting: list[str] | None = None
    while True:
        with guarded(conn):
            row = execute(conn, _OPEN, {"of": waiting}).fetchone()
        waiting = row[0] if row is not None else None
        if not waiting:
            return
        if time.monotonic() - began > _PATIENCE:
            raise SteppingError(
                f"{len(waiting)} transactions that began before may still read the logs",
                hint="the view is right and kept by triggers; run the same again to take its logs away",
                sqlstate="55006",
            )
        time.sleep(0.05)
