"""A new version of a view, made beside the old one, takes its place; so do new versions of what reads it."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

from pg_stepping.backend.script import (
    Definition,
    applied_name,
    fingerprint_of,
    register_again,
    write_skeleton,
)
from pg_stepping.catalog import Installed, found, list_views, set_settings, use_settings
from pg_stepping.change.kept import kept_stages, with_kept
from pg_stepping.change.reading import reading
from pg_stepping.compiler import compile_installed, compile_query
from pg_stepping.delta import object_name
from pg_stepping.delta.stripes import stripes_in
from pg_stepping.delta.terms import regclass
from pg_stepping.dependents import put_in_place
from pg_stepping.errors import SteppingError, ViewInUse
from pg_stepping.frontend.postgres import Connection, execute, run_script
from pg_stepping.ir import Table
from pg_stepping.session import guarded
from pg_stepping.views import make

_RENAME = """
INSERT INTO stepping.maintained_view
SELECT (jsonb_populate_record(v, %(changed)s::jsonb)).*
FROM stepping.maintained_view AS v WHERE schema_name = %(schema)s AND view_name = %(name)s"""
_FORGET = "DELETE FROM stepping.maintained_view WHERE schema_name = %s AND view_name = %s"
_NOTED = """
UPDATE stepping.{} SET view_name = %(to)s WHERE schema_name = %(schema)s AND view_name = %(name)s"""
_PROBLEM = """
SELECT stepping.{}(v) FROM stepping.maintained_view AS v WHERE schema_name = %s AND view_name = %s"""


def name_beside(view: Table, mark: str) -> Table:
    """The name of another version of a view; it is there only until that is in place, or gone."""
    return Table(view.schema, f"{view.name.encode()[:40].decode(errors='ignore')}__{mark[:8]}")


def maintained_readers(conn: Connection, view: Table) -> list[Installed]:
    """The maintained views that read a view, directly or not, each after those that it reads."""
    found_: list[Installed] = []
    read = {str(view)}
    versions = set(execute(conn, "SELECT schema_name, view_name FROM stepping.version_of").fetchall())
    left = [v for v in list_views(conn) if (v.schema, v.name) not in versions]
    while next_ := [v for v in left if read.intersection(v.reads)]:
        for reader in next_:
            left.remove(reader)
            read.add(str(reader.table))
            found_.append(reader)
    return _sorted(found_)


def _sorted(views: Sequence[Installed]) -> list[Installed]:
    left, order = list(views), list[Installed]()
    while left:
        names = {str(v.table) for v in left}
        next_ = next(v for v in left if not names.intersection(v.reads))
        left.remove(next_)
        order.append(next_)
    return order


def kept_of(conn: Connection, view: Installed, old: Definition, new: Definition) -> dict[str, str]:
    """The stages of the old version that need not be filled anew; none of a view that may be wrong."""
    if problem(conn, view) is not None or old.deferred is not None or new.deferred is not None:
        return {}
    return kept_stages(old, new)


def problem(conn: Connection, view: Installed) -> str | None:
    """Why a view may be wrong, as `status` says it."""
    row = execute(conn, _PROBLEM.format("problem"), [view.schema, view.name]).fetchone()
    return row[0] if row is not None else None


def has_fault(conn: Connection, view: Installed) -> bool:
    """Whether an older version made a view with a fault that is mended since."""
    row = execute(conn, _PROBLEM.format("fault"), [view.schema, view.name]).fetchone()
    return row is not None and row[0] is not None


def renamed(conn: Connection, definition: Definition, to: Table, *, mode: str | None = None) -> Definition:
    """The same definition under the name `to`, with a state of its own."""
    with guarded(conn, undo=True):
        set_settings(conn, definition.query.settings)
        return compile_query(
            conn,
            to,
            definition.query.text,
            language=definition.language,
            indexes=definition.indexes,
            state=object_name(to),
            mode=mode or definition.mode,
            stripes=stripes_in(mode or definition.mode, definition.stripes),
        )


def make_version(conn: Connection, view: Installed, old: Definition, new: Definition, to: Table) -> None:
    """Make and fill the version `to` of a view, as `new` says; what `old` has already is not read again."""
    with guarded(conn):
        version = renamed(conn, new, to)
        make(conn, with_kept(version, kept_of(conn, view, old, version)))


def readers_beside(
    conn: Connection, view: Installed, version: Table, mark: str, late: Collection[Table]
) -> list[tuple[Installed, Table, Callable[[str], Definition]]]:
    """For each maintained view that reads a view, but for the `late` ones, in their order: the name of its
    new version, and what that is in a mode, once the versions before it are there."""
    instead = {view.table: version}
    found_: list[tuple[Installed, Table, Callable[[str], Definition]]] = []
    for reader in maintained_readers(conn, view.table):
        if reader.table not in late:
            instead[reader.table] = to = name_beside(reader.table, mark)
            found_.append((reader, to, partial(_version_of_reader, conn, reader, to, dict(instead))))
    return found_


def _version_of_reader(
    conn: Connection, reader: Installed, to: Table, instead: Mapping[Table, Table], mode: str
) -> Definition:
    with guarded(conn, undo=True):
        use_settings(conn, reader)
        return compile_query(
            conn,
            to,
            reading(conn, reader.query, instead),
            language=reader.language,
            indexes=reader.indexes,
            mode=mode,
            stripes=stripes_in(mode, reader.stripes),
        )


def take_place(
    conn: Connection,
    view: Installed,
    version: Table,
    readers: Sequence[tuple[Installed, Table]],
    late: Collection[Table],
    mark: str,
    fill: Callable[[Connection, Definition], None] = make,
) -> list[Table]:
    """Put versions in place of a view, and of those that read it; returns the old ones, to be dropped.

    Versions of the `late` ones are made and filled only then.
    """
    late_ones = [r for r in maintained_readers(conn, view.table) if r.table in late]
    gone = _placed(conn, [(view, version), *readers], mark)
    for reader, _ in readers:
        _read_by_name(conn, reader)
    for reader in late_ones:
        to = name_beside(reader.table, mark)
        try:
            new = _version_of_reader(conn, reader, to, {}, reader.mode)
        except SteppingError as error:
            raise ViewInUse(
                f"maintained view {reader.table} reads {view.table}, and needs what it would not have:"
                f" {error}",
                hint="change or drop that view first",
            ) from error
        fill(conn, new)
        gone += _placed(conn, [(reader, to)], mark)
    for old_version in gone:
        mark_version(conn, old_version, view.table)
    return gone


def _placed(conn: Connection, versions: Sequence[tuple[Installed, Table]], mark: str) -> list[Table]:
    gone = [_registered(conn, old, to, mark) for old, to in versions]
    for old, to in versions:
        put_in_place(conn, old.table, to)
        applied = applied_name(to)
        if execute(conn, "SELECT to_regclass(%s) IS NOT NULL", [regclass(applied)]).fetchone() == (True,):
            put_in_place(conn, applied_name(old.table), applied)
    return gone


def _registered(conn: Connection, view: Installed, version: Table, mark: str) -> Table:
    """Give a view's name to its new version in the catalog; returns the name that the old one has now. That
    need not care any more for what ordinary views are, so these can be made anew."""
    old = Table(view.schema, f"{name_beside(view.table, mark).name}_old")
    for name, to, changed in (
        (view.name, old.name, {"view_name": old.name, "expands": []}),
        (version.name, view.name, {"view_name": view.name}),
    ):
        renamed_ = {"schema": view.schema, "name": name, "to": to, "changed": json.dumps(changed)}
        for noted in ("used", "suspect"):
            execute(conn, _NOTED.format(noted), renamed_)
        execute(conn, _RENAME, renamed_)
        execute(conn, _FORGET, [view.schema, name])
    return old


def mark_version(conn: Connection, version: Table, view: Table) -> None:
    """Say that a maintained view is a version of one that is being changed, or of what reads that."""
    sql = "INSERT INTO stepping.version_of (schema_name, view_name, changed) VALUES (%s, %s, %s)"
    execute(conn, sql, [version.schema, version.name, str(view)])


def _read_by_name(conn: Connection, reader: Installed) -> None:
    """Register a version in its place by the query of the old one: what that reads has its old names now."""
    now = found(conn, reader.name, reader.schema)
    with guarded(conn, undo=True):
        use_settings(conn, reader)
        definition = compile_installed(conn, replace(now, query=reader.query))
    if fingerprint_of(definition) != now.fingerprint:
        raise _NotBeside(reader.table)
    run_script(conn, register_again(definition))


def drop(conn: Connection, gone: Sequence[Table]) -> None:
    """Drop old versions, each of which may read those before it."""
    execute(conn, "SET LOCAL client_min_messages = warning")
    for old in reversed(gone):
        execute(conn, "SELECT stepping.drop_view(%s, %s)", [old.schema, old.name])


def check_readers(
    conn: Connection, view: Installed, new: Definition, mark: str
) -> tuple[list[Installed], frozenset[Table]]:
    """The maintained views that are to be made anew with a view, and those of them that cannot be made beside
    it, as they read whole rows of it; nothing in the database changes.

    Raises ViewInUse if one of them, or an ordinary view, needs what the new query does not have.
    """
    late = set[Table]()
    while True:
        try:
            with guarded(conn, undo=True):
                _try_places(conn, view, new, mark, late)
        except _NotBeside as found_:
            late.add(found_.view)
        else:
            return maintained_readers(conn, view.table), frozenset(late)


class _NotBeside(Exception):
    """A version of a view made beside it would not be what its query is, once that is in place."""

    def __init__(self, view: Table) -> None:
        super().__init__(f"the new version of {view} is not what its query is")
        self.view = view


def _try_places(
    conn: Connection, view: Installed, new: Definition, mark: str, late: Collection[Table]
) -> None:
    version = name_beside(view.table, mark)
    _make_skeleton(conn, renamed(conn, new, version))
    readers = readers_beside(conn, view, version, mark, late)
    for reader, _, compiled in readers:
        try:
            definition = compiled(reader.mode)
        except SteppingError as error:
            raise _NotBeside(reader.table) from error
        _make_skeleton(conn, definition)
    pairs = [(reader, to) for reader, to, _ in readers]
    take_place(conn, view, version, pairs, late, mark, fill=_make_skeleton)


def _make_skeleton(conn: Connection, definition: Definition) -> None:
    run_script(conn, write_skeleton(definition))
