"""A new version of a view, made beside the old one, takes its place; so do new versions of what reads it."""

from __future__ import annotations

from collections.abc import Sequence

from pg_stepping.backend.script import Definition, applied_name, write_skeleton
from pg_stepping.catalog import Installed, list_views, use_settings
from pg_stepping.change.kept import kept_stages, with_kept
from pg_stepping.compiler import compile_installed, compile_query
from pg_stepping.delta import object_name
from pg_stepping.delta.terms import regclass
from pg_stepping.dependents import put_in_place
from pg_stepping.errors import SteppingError, ViewInUse
from pg_stepping.frontend.postgres import Connection, execute, run_script
from pg_stepping.ir import Table
from pg_stepping.session import guarded
from pg_stepping.views import make

_RENAME = """
INSERT INTO stepping.maintained_view
SELECT (jsonb_populate_record(v, jsonb_build_object('view_name', %(to)s::text))).*
FROM stepping.maintained_view AS v WHERE schema_name = %(schema)s AND view_name = %(name)s"""
_FORGET = "DELETE FROM stepping.maintained_view WHERE schema_name = %s AND view_name = %s"
_SUSPECT = "SELECT FROM stepping.suspect WHERE schema_name = %s AND view_name = %s"


def name_beside(view: Table, mark: str) -> Table:
    """The name of another version of a view; it is there only until that is in place, or gone."""
    return Table(view.schema, f"{view.name.encode()[:40].decode(errors='ignore')}__{mark[:8]}")


def maintained_readers(conn: Connection, view: Table) -> list[Installed]:
    """The maintained views that read a view, directly or not, each after those that it reads."""
    found_: list[Installed] = []
    read = {str(view)}
    left = list_views(conn)
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
    suspect = execute(conn, _SUSPECT, [view.schema, view.name]).fetchone() is not None
    return {} if suspect or old.deferred is not None or new.deferred is not None else kept_stages(old, new)


def renamed(conn: Connection, definition: Definition, to: Table, *, strict: bool = False) -> Definition:
    """The same definition under the name `to`, with a state of its own."""
    return compile_query(
        conn,
        to,
        definition.query.text,
        language=definition.language,
        indexes=definition.indexes,
        strict=strict,
        state=object_name(to),
        mode=definition.mode,
        stripes=definition.stripes,
    )


def make_version(conn: Connection, view: Installed, old: Definition, new: Definition, to: Table) -> None:
    """Make and fill the version `to` of a view, as `new` says; what `old` has already is not read again."""
    with guarded(conn):
        version = renamed(conn, new, to)
        make(conn, with_kept(version, kept_of(conn, view, old, version)))


def take_place(conn: Connection, view: Installed, version: Table, mark: str) -> list[Table]:
    """Put a version in place of a view, then new versions in place of those that read it.

    Returns the old ones, which are to be dropped.
    """
    readers = maintained_readers(conn, view.table)
    gone = [_exchanged(conn, view, version, mark)]
    for reader in readers:
        new = _compiled(conn, view.table, reader)
        to = name_beside(reader.table, mark)
        make(conn, renamed(conn, new, to))
        gone.append(_exchanged(conn, reader, to, mark))
    sql = "INSERT INTO stepping.version_of (schema_name, view_name, changed) VALUES (%s, %s, %s)"
    for old in gone:
        execute(conn, sql, [old.schema, old.name, str(view.table)])
    return gone


def drop(conn: Connection, gone: Sequence[Table]) -> None:
    """Drop old versions, each of which may read those before it."""
    execute(conn, "SET LOCAL client_min_messages = warning")
    for old in reversed(gone):
        execute(conn, "SELECT stepping.drop_view(%s, %s)", [old.schema, old.name])


def _exchanged(conn: Connection, view: Installed, version: Table, mark: str) -> Table:
    """Give a view's name to its new version; returns the name that the old one has now."""
    put_in_place(conn, view.table, version)
    applied = applied_name(version)
    if execute(conn, "SELECT to_regclass(%s) IS NOT NULL", [regclass(applied)]).fetchone() == (True,):
        put_in_place(conn, applied_name(view.table), applied)
    old = Table(view.schema, f"{name_beside(view.table, mark).name}_old")
    for name, to in ((view.name, old.name), (version.name, view.name)):
        execute(conn, _RENAME, {"schema": view.schema, "name": name, "to": to})
        execute(conn, _FORGET, [view.schema, name])
    return old


def check_readers(conn: Connection, view: Installed, new: Definition, mark: str) -> list[Installed]:
    """The maintained views that are to be made anew with a view; nothing in the database changes.

    Raises ViewInUse if one of them, or an ordinary view, needs what the new query does not have.
    """
    readers = maintained_readers(conn, view.table)
    with guarded(conn, undo=True):
        definition, last = new, view
        for reader in [None, *readers]:
            if reader is not None:
                definition, last = _compiled(conn, view.table, reader), reader
            to = name_beside(last.table, mark)
            run_script(conn, write_skeleton(renamed(conn, definition, to)))
            _exchanged(conn, last, to, mark)
    return readers


def _compiled(conn: Connection, changed: Table, reader: Installed) -> Definition:
    """What the query of a reader is now that a view is another."""
    try:
        with guarded(conn, undo=True):
            use_settings(conn, reader)
            return compile_installed(conn, reader)
    except SteppingError as error:
        raise ViewInUse(
            f"maintained view {reader.table} reads {changed}, and needs what it would not have: {error}",
            hint="change or drop that view first",
        ) from error
