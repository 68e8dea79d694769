"""Making a view while its tables are written.

First its changes are captured, in logs, as in deferred mode. Then its state is filled, piece by piece, from
the tables without what their logs hold (before.py). The logs are applied until few changes are left; the last
are in the short transaction in which the view becomes what it is to be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count

from pg_stepping.backend.deferred import maintain_function
from pg_stepping.backend.script import (
    Definition,
    fingerprint_of,
    follow,
    hold,
    maintaining,
    published,
    register,
    register_again,
    stored,
)
from pg_stepping.backend.tables import spread
from pg_stepping.catalog import installed, prelude, target
from pg_stepping.compiler import check_stripes, choose_language, compile_query
from pg_stepping.delta.stripes import stripes_in
from pg_stepping.delta.terms import quote_table, regclass
from pg_stepping.errors import NameTaken
from pg_stepping.frontend.dialect import quote_name
from pg_stepping.frontend.postgres import Connection, execute, run_script
from pg_stepping.ir import Table
from pg_stepping.logs import vacuum
from pg_stepping.online.before import before, before_view, divided_by
from pg_stepping.online.patience import lock, patiently, within
from pg_stepping.online.pieces import MARK, fill, rows_to_read
from pg_stepping.online.retire import drop_triggers, silenced
from pg_stepping.session import check_connection, guarded

Progress = Callable[[str, float], None]
FEW = 100
_FOLLOWING = 20  # ms that making triggers may take; on an idle machine it takes 5
_NOTE = "UPDATE stepping.maintained_view SET mode = mode WHERE schema_name = %s AND view_name = %s"
_NOTE_COLUMNS = "SELECT stepping.note_columns(%s, %s)"
_MARK_VERSION = "INSERT INTO stepping.version_of (schema_name, view_name, changed) VALUES (%s, %s, %s)"


def create_view_online(
    conn: Connection,
    name: str,
    query: str,
    *,
    schema: str | None = None,
    language: str | None = None,
    indexes: Sequence[Sequence[str]] = (),
    mode: str = "immediate",
    stripes: int = 0,
    progress: Progress = lambda step, share: None,
    estimated: Callable[[int], None] = lambda rows: None,
    version_of: Table | None = None,
) -> None:
    """Make the maintained view `name` as `create_view` does, without keeping writers out while it is filled.

    Needs a connection under autocommit: each step, and each piece of the fill, is a transaction of its own.
    Interrupted, it goes on where it was when it is called again with the same query; `drop_view` undoes it.
    `progress` is told each step (capture, fill, catch up, publish) with the share of it that is done, and
    `estimated` how many rows are to be read; `version_of` is a view that this one is to replace. Writers wait
    for two short transactions, the first and the last; for their locks these wait no longer than 25 ms at a
    time.
    Raises what `create_view` raises, and ConnectionUnusable in a transaction.
    """
    check_stripes(mode, stripes)
    check_connection(conn, alone="a view is made online")
    with guarded(conn):
        view = target(conn, name, schema)

    def compiled(in_mode: str) -> Definition:
        chosen = language if mode == "deferred" else choose_language(conn, language)
        return compile_query(
            conn,
            view,
            query,
            language=chosen,
            indexes=indexes,
            mode=in_mode,
            stripes=stripes_in(in_mode, stripes),
        )

    make_online(conn, view, compiled, mode, progress, estimated, version_of)


def make_online(
    conn: Connection,
    view: Table,
    compiled: Callable[[str], Definition],
    mode: str,
    progress: Progress,
    estimated: Callable[[int], None],
    version_of: Table | None,
) -> None:
    """The same for what `compiled` gives for each mode; no-op for a view that is made and published."""
    with guarded(conn):
        there = installed(conn, view.name, schema=view.schema)
        taken = execute(conn, "SELECT to_regclass(%s) IS NOT NULL", [regclass(view)]).fetchone() == (True,)
        with guarded(conn, undo=True):
            captured = compiled("deferred")
            final = captured if mode == "deferred" else compiled(mode)
    same = there is not None and there.fingerprint in (fingerprint_of(captured), fingerprint_of(final))
    if same and taken and version_of is not None:
        return
    if taken or (there is not None and not same):
        raise NameTaken(f"the name {view} is taken", hint="choose another, or drop what has it")
    if there is not None and not _is_begun(conn, captured):
        raise NameTaken(f"view {view} is there, but what it published is gone", hint="drop it first")
    if there is None:
        progress("capture", 0)
        holds = count(20, 5)  # ms; more each time, where this takes long
        patiently(conn, lambda: _capture(conn, captured, version_of, holds))
        with guarded(conn):  # what it is made from is noted when writers do not wait any more
            execute(conn, _NOTE, [view.schema, view.name])
    estimated(rows_to_read(conn, captured))
    progress("fill", 0)
    fill(conn, captured, lambda share: progress("fill", share))
    progress("catch up", 0)
    _catch_up(conn, captured)
    progress("publish", 0)
    holds = count(20, 5)  # ms; more each time, for a view of which a single change takes long
    patiently(
        conn,
        lambda: _publish(conn, captured, final, holds),
        before=lambda: _catch_up(conn, captured),
    )
    if final.deferred is None:
        drop_triggers(conn, [_capture_name(captured)])
        with guarded(conn):
            execute(conn, f"DROP FUNCTION stepping.{quote_name(_capture_name(captured))}()")
            execute(conn, "SELECT stepping.drop_logs(%s)", [[p.stage.name for p in captured.programs]])
            execute(conn, _NOTE_COLUMNS, [view.schema, view.name])
    progress("publish", 1)


def _is_begun(conn: Connection, captured: Definition) -> bool:
    """Whether a view is captured, and not published yet."""
    assert captured.deferred is not None
    tables = [regclass(before(log)) for log in captured.deferred.logs]
    with guarded(conn):
        row = execute(conn, "SELECT to_regclass(%s) IS NOT NULL", tables[:1]).fetchone()
    return row == (True,)


def _capture(conn: Connection, captured: Definition, version_of: Table | None, holds: Iterator[int]) -> None:
    assert captured.deferred is not None
    views = [before_view(log, divided_by(conn, log)) for log in captured.deferred.logs]
    run_script(conn, "\n".join([prelude(conn, captured.language), *stored(captured), *views]))
    run_script(conn, f"{register(captured)}\n{hold(captured)}")
    row = [captured.view.schema, captured.view.name]
    sql = "INSERT INTO stepping.suspect (schema_name, view_name, reason) VALUES (%s, %s, %s)"
    execute(conn, sql, [*row, MARK])
    execute(conn, "INSERT INTO stepping.filling (schema_name, view_name) VALUES (%s, %s)", row)
    if version_of is not None:
        execute(conn, _MARK_VERSION, [*row, str(version_of)])
    lock(conn, [log.source for log in captured.deferred.logs], "SHARE ROW EXCLUSIVE")
    within(conn, next(holds) + _FOLLOWING, follow(captured))


def _catch_up(conn: Connection, captured: Definition) -> None:
    """Apply the logs until that leaves few changes behind; logs that grew would take longer each time."""
    assert captured.deferred is not None
    for _ in range(100):
        with guarded(conn):
            row = execute(conn, f"SELECT {_apply_function(captured)}()").fetchone()
        if row is None or row[0] < FEW:
            return
        vacuum(conn, captured.deferred.name, shorter=False)


def _apply_function(captured: Definition) -> str:
    assert captured.deferred is not None
    return f"stepping.{quote_name(captured.deferred.name + '__apply')}"


def _capture_name(captured: Definition) -> str:
    """The trigger function of the logs, when it does nothing any more."""
    assert captured.deferred is not None
    return f"{captured.deferred.name}__capture"


def _publish(conn: Connection, captured: Definition, final: Definition, holds: Iterator[int]) -> None:
    """Make the captured view what it is to be; what needs no lock on its tables comes first.

    The changes that are left are applied under the lock, in the next of `holds` ms or not at all; so are the
    triggers made.
    """
    deferred = captured.deferred
    assert deferred is not None
    gone = [f"DROP VIEW {quote_table(before(log))};" for log in deferred.logs]
    if final.deferred is not None:
        run_script(conn, "\n".join([*gone, *published(final)]))
        return
    run_script(conn, register_again(final))
    capture = _capture_name(captured)
    gone += [f"ALTER FUNCTION {maintain_function(deferred)}() RENAME TO {quote_name(capture)};"]
    gone += [silenced([capture])]
    gone += [spread(p.stage) for p in final.programs if p.stage.stripes]
    run_script(conn, "\n".join([*gone, *maintaining(final), *published(final), hold(final)]))
    execute(conn, _NOTE_COLUMNS, [captured.view.schema, captured.view.name])
    apply = f"SELECT {_apply_function(captured)}()"
    execute(conn, apply)  # what came meanwhile, so that next to nothing is left under the lock
    lock(conn, [log.source for log in deferred.logs], "SHARE ROW EXCLUSIVE")
    hold_ = next(holds)
    within(conn, hold_, apply)
    within(conn, hold_ + _FOLLOWING, follow(final))
