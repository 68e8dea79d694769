"""Another query for a view that is there: what that takes, shown before it is done.

The same fingerprint: nothing. The same state: the published view and its indexes change in place. Else a new
version is made beside the old one, a maintained view of its own for a while, and takes its place; maintained
views that read it are made anew with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from uuid import uuid4

from pg_stepping.backend import plpgsql, publish
from pg_stepping.backend.script import (
    Definition,
    all_settings,
    comment_indexes,
    fingerprint_of,
    register_again,
)
from pg_stepping.backend.tables import aside_tables, state_table
from pg_stepping.catalog import Installed, found, list_views, use_settings
from pg_stepping.change.version import (
    check_readers,
    drop,
    has_fault,
    kept_of,
    maintained_readers,
    make_version,
    name_beside,
    problem,
    readers_beside,
    renamed,
    take_place,
)
from pg_stepping.compiler import compile_installed, compile_query
from pg_stepping.dependents import put_in_place, readers
from pg_stepping.errors import SteppingError
from pg_stepping.frontend.postgres import Connection, estimated_rows, execute, run_script
from pg_stepping.ir import Table
from pg_stepping.online import Progress, make_online
from pg_stepping.online.patience import patiently
from pg_stepping.online.retire import drop_triggers, silenced
from pg_stepping.session import check_connection, guarded
from pg_stepping.views import make


@dataclass(frozen=True, slots=True)
class Change:
    """What a change of a view takes.

    `kind` is `nothing`, `in place` or `new version`; `reads` are the source tables (schema.name) that are
    read to fill a new version, with the rows that Postgres estimates; `locks` and `steps` are sentences.
    """

    view: str
    kind: str
    steps: tuple[str, ...]
    reads: tuple[tuple[str, int], ...]
    locks: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"Change of view {self.view}: {self.kind}"]
        lines += [f"  {i}. {step}" for i, step in enumerate(self.steps, 1)]
        lines += [f"  reads {table}: about {rows} rows" for table, rows in self.reads]
        lines += [f"  locks {lock}" for lock in self.locks]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _Compared:
    view: Installed
    old: Definition
    new: Definition
    change: Change
    late: frozenset[Table] = frozenset()


def plan_change(
    conn: Connection,
    name: str,
    query: str | None = None,
    *,
    schema: str | None = None,
    language: str | None = None,
    indexes: Sequence[Sequence[str]] | None = None,
    strict: bool = False,
    online: bool = False,
) -> Change:
    """What `change_view` would do; nothing in the database changes. Raises as it does."""
    with guarded(conn, undo=True):
        return _compared(conn, name, query, schema, language, indexes, strict, online).change


def change_view(
    conn: Connection,
    name: str,
    query: str | None = None,
    *,
    schema: str | None = None,
    language: str | None = None,
    indexes: Sequence[Sequence[str]] | None = None,
    strict: bool = False,
    online: bool = False,
    progress: Progress = lambda step, share: None,
    estimated: Callable[[int], None] = lambda rows: None,
) -> Change:
    """Give the maintained view `name` the SELECT in `query`; what reads it, grants and comments stay.

    Without `query` it keeps its own: it is made anew if an older version made it, with a fault that is mended
    since, as `status` says. `language` and `indexes` stay as they are unless they are given.
    In the caller's transaction it happens as a whole, or not at all; under autocommit a new version is made
    and filled in one transaction, and takes the old one's place in another, short one. With `online`, which
    needs autocommit, the new version is made as `create_view_online` does: writers go on meanwhile, and a
    change that was interrupted goes on when it is called again with the same query; called with another one,
    it drops what was begun. Returns what was done. Raises ViewNotFound, ViewInUse if something that reads the
    view cannot do without what it had, and whatever `create_view` raises.
    """
    check_connection(conn, alone="a view is changed online" if online else None)

    def compare() -> _Compared:
        with guarded(conn, undo=True):
            if online:  # it tries whether what reads the view can do with another one
                execute(conn, "SET LOCAL lock_timeout = '25ms'")
            return _compared(conn, name, query, schema, language, indexes, strict, online)

    with guarded(conn):
        compared = patiently(conn, compare) if online else compare()
        if compared.change.kind == "in place":
            _change_in_place(conn, compared)
    if online and compared.change.kind != "new version":  # one may have been interrupted at its very end
        _drop_others(conn, compared.view.table, [])
    if compared.change.kind == "new version":
        if online:
            _replace_online(conn, compared, progress, estimated)
        else:
            with nullcontext() if conn.autocommit else guarded(conn):
                _replace(conn, compared)
    return compared.change


def _replace(conn: Connection, compared: _Compared) -> None:
    """Make new versions of a view and of what reads it, and put them in their places; under autocommit each
    is a transaction of its own, and the last thing another."""
    view, mark = compared.view, uuid4().hex[:8]
    version = name_beside(view.table, mark)
    made: list[Table] = []
    try:
        make_version(conn, view, compared.old, compared.new, version)
        made.append(version)
        readers = readers_beside(conn, view, version, mark, compared.late)
        for reader, to, compiled in readers:
            with guarded(conn):
                make(conn, compiled(reader.mode))
            made.append(to)
        with guarded(conn):
            pairs = [(reader, to) for reader, to, _ in readers]
            drop(conn, take_place(conn, view, version, pairs, compared.late, mark))
    except BaseException:
        if conn.autocommit and not conn.closed:
            with guarded(conn):
                drop(conn, made)
        raise


def _replace_online(
    conn: Connection, compared: _Compared, progress: Progress, estimated: Callable[[int], None]
) -> None:
    """The same while the tables are written; what an interrupted change has done is found by its name."""
    view, new = compared.view, compared.new
    with guarded(conn):
        read_by = [(str(r.table), r.fingerprint) for r in maintained_readers(conn, view.table)]
    told = repr((str(view.table), view.fingerprint, fingerprint_of(new), new.language, read_by))
    mark = hashlib.sha256(told.encode()).hexdigest()[:8]
    version = name_beside(view.table, mark)
    with guarded(conn):
        readers = readers_beside(conn, view, version, mark, ())
    _drop_others(conn, view.table, [version, *(to for _, to, _ in readers)])
    make_online(
        conn,
        version,
        lambda mode: renamed(conn, new, version, mode=mode),
        new.mode,
        progress,
        estimated,
        view.table,
    )
    for reader, to, compiled in readers:
        make_online(conn, to, compiled, reader.mode, progress, estimated, view.table)
    progress("exchange", 0)
    pairs = [(reader, to) for reader, to, _ in readers]
    patiently(conn, lambda: _exchange(conn, view, version, pairs, mark))
    progress("exchange", 1)
    progress("drop", 0)
    _drop_others(conn, view.table, [])
    progress("drop", 1)


def _exchange(
    conn: Connection,
    view: Installed,
    version: Table,
    readers: Sequence[tuple[Installed, Table]],
    mark: str,
) -> None:
    execute(conn, "SET LOCAL lock_timeout = '25ms'")
    take_place(conn, view, version, readers, (), mark)


def _drop_others(conn: Connection, view: Table, versions: Sequence[Table]) -> None:
    """Drop the versions of a view, and of what reads it, that are old, or were begun and given up."""
    sql = "SELECT schema_name, view_name FROM stepping.version_of WHERE changed = %s ORDER BY number DESC"
    with guarded(conn):
        others = [Table(*row) for row in execute(conn, sql, [str(view)])]
    there = {v.table: v for v in list_views(conn)}
    for other in others:
        if other not in versions:
            with guarded(conn):
                functions = _silence(conn, there[other])
            drop_triggers(conn, functions)
            patiently(conn, partial(_drop_soon, conn, other))


def _silence(conn: Connection, version: Installed) -> list[str]:
    """Let a version follow its tables no more; returns the trigger functions that do nothing now. In deferred
    mode only the last stage has one."""
    sql = "SELECT to_regproc(concat('stepping.', quote_ident(%s))) IS NOT NULL"
    named = [f"{stage}__maintain" for stage in version.stages]
    functions = [name for name in named if execute(conn, sql, [name]).fetchone() == (True,)]
    run_script(conn, silenced(functions))
    return functions


def _drop_soon(conn: Connection, version: Table) -> None:
    execute(conn, "SET LOCAL lock_timeout = '25ms'")
    drop(conn, [version])


def _compared(
    conn: Connection,
    name: str,
    query: str | None,
    schema: str | None,
    language: str | None,
    indexes: Sequence[Sequence[str]] | None,
    strict: bool,
    online: bool,
) -> _Compared:
    view = found(conn, name, schema)
    with guarded(conn, undo=True):
        if query is None:
            use_settings(conn, view)
        new = compile_query(
            conn,
            view.table,
            query or view.query,
            language=language or view.language,
            indexes=view.indexes if indexes is None else indexes,
            strict=strict,
            state=view.stages[-1],
            stripes=view.stripes,
            mode=view.mode,
        )
    kind = "new version"
    same = fingerprint_of(new) == view.fingerprint and new.language == view.language
    if same and not has_fault(conn, view):
        return _Compared(view, new, new, Change(str(view.table), "nothing", (), (), ()))
    with guarded(conn, undo=True):
        use_settings(conn, view)
        old = compile_installed(conn, view)
    in_place = stored_alike(old, new) and old.language == new.language
    # In deferred mode the views show what is in the logs, too; and what may be wrong is not kept.
    if in_place and view.mode == "immediate" and problem(conn, view) is None:
        kind = "in place"
    anew, late = list[Installed](), frozenset[Table]()
    if kind == "new version" or not shown_alike(old, new):
        anew, late = check_readers(conn, view, new, uuid4().hex[:8])
    if kind == "in place" and anew:  # they were made from its published columns
        kind = "new version"
    if online and late:
        names = ", ".join(str(reader) for reader in sorted(late, key=str))
        raise SteppingError(
            f"{view.table} cannot be changed online: whole rows of it are read by {names}",
            hint="let that name the columns it needs first; or change without online: writers wait meanwhile",
            sqlstate="0A000",
        )
    return _Compared(view, old, new, _change(conn, view, old, new, kind, anew, late, online), late)


def stored_alike(old: Definition, new: Definition) -> bool:
    """Whether all that is stored and run for two views is the same, below what is published."""
    return _stored(old) == _stored(new)


def shown_alike(old: Definition, new: Definition) -> bool:
    """Whether what is published is the same."""
    return _published(old) == _published(new)


def _stored(definition: Definition) -> object:
    settings = all_settings(definition)
    stages = [
        (state_table(p.stage, ""), aside_tables(p), p.fill, plpgsql.function(p, settings))
        for p in definition.programs
    ]
    return stages, definition.query.whole_rows


def _published(definition: Definition) -> str:
    return publish.view(definition.published, definition.view, "")


def _change(
    conn: Connection,
    view: Installed,
    old: Definition,
    new: Definition,
    kind: str,
    anew: Sequence[Installed],
    late: frozenset[Table],
    online: bool,
) -> Change:
    read_by = [str(reader) for reader in readers(conn, view.table)]
    kept_readers = [f"keep {', '.join(read_by)}, which read it"] if read_by else []
    shown = f"ACCESS EXCLUSIVE on {view.table}, at the end, until commit: readers wait"
    if kind == "in place":
        steps = [] if shown_alike(old, new) else ["replace the published view", *kept_readers]
        locks = [shown] if steps else []
        steps += [f"drop the index on ({', '.join(i)})" for i in old.indexes if i not in new.indexes]
        made = [i for i in new.indexes if i not in old.indexes]
        steps += [f"create an index on ({', '.join(i)})" for i in made]
        if made or len(old.indexes) != len(new.indexes):
            locks.append(f"SHARE on stepping.{view.stages[-1]}: writers wait while an index is made")
        return Change(str(view.table), kind, tuple(steps), (), tuple(locks))
    kept = {} if online else kept_of(conn, view, old, new)
    sources = {s.table for p in new.programs if p.stage.name not in kept for s in p.sources}
    sources -= {p.stage.table for p in new.programs}
    reads = tuple((str(t), estimated_rows(conn, t)) for t in sorted(sources))
    steps = ["make and fill a new version beside the old one"]
    if kept:
        steps.append(f"keep what is in {', '.join(kept.values())}: it is copied, and no table is read for it")
    steps += [
        f"make maintained view {reader.table}, which reads it, anew beside it"
        for reader in anew
        if reader.table not in late
    ]
    steps += [f"put {'these' if anew else 'it'} in place of the old one{'s' if anew else ''}", *kept_readers]
    steps += [
        f"make maintained view {r.table}, which reads whole rows, anew" for r in anew if r.table in late
    ]
    steps.append(f"drop the old version ({', '.join(view.stages)})")
    before, after = ({*map(str, _sources(d)), *_followed_by(conn, anew)} for d in (old, new))
    if online:
        named = ", ".join(sorted(before | after))
        locks = [f"SHARE ROW EXCLUSIVE, then ACCESS EXCLUSIVE on {named}, each for a moment", shown]
    else:
        locks = [
            f"SHARE ROW EXCLUSIVE on {', '.join(sorted(after))}, while it is filled: writers wait, readers do"
            " not",
            shown,
            f"ACCESS EXCLUSIVE on {', '.join(sorted(before))}, at the end, until commit",
        ]
    return Change(str(view.table), kind, tuple(steps), reads, tuple(locks))


def _followed_by(conn: Connection, views: Sequence[Installed]) -> list[str]:
    """The tables that some views follow, by their names; state tables are no more the users' to write."""
    sql = """SELECT DISTINCT object FROM stepping.used
        WHERE kind = 'table' AND (schema_name, view_name) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
        ORDER BY object"""
    names = [[v.schema for v in views], [v.name for v in views]]
    return [row[0] for row in execute(conn, sql, names)]


def _sources(definition: Definition) -> set[Table]:
    own = {p.stage.table for p in definition.programs}
    return {s.table for p in definition.programs for s in p.sources} - own


def _change_in_place(conn: Connection, compared: _Compared) -> None:
    view, new = compared.view, compared.new
    other = name_beside(view.table, uuid4().hex)
    with guarded(conn, undo=True):
        use_settings(conn, view)
        old = compile_installed(conn, view)
    for function in new.functions:
        run_script(conn, function.sql)
    if not shown_alike(old, new):
        run_script(conn, publish.view(new.published, other, ""))
        put_in_place(conn, view.table, other)
    for columns in old.indexes:
        if columns not in new.indexes:
            made = publish.indexed(old.published, columns)
            execute(conn, "SELECT stepping.drop_index(%s, %s)", [old.published.stage.name, made])
    for columns in new.indexes:
        if columns not in old.indexes:
            run_script(conn, publish.index(new.published, columns))
    run_script(conn, comment_indexes(new))
    run_script(conn, register_again(new))
    execute(conn, "SELECT stepping.drop_uncalled()")
