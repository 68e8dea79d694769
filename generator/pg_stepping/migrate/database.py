"""The maintained views of a database, as the state from which a migration starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from pg_stepping.catalog import Installed, list_views, prelude
from pg_stepping.compiler import compile_query
from pg_stepping.errors import SteppingError
from pg_stepping.frontend.dialect import quote_text
from pg_stepping.frontend.postgres import Connection, execute
from pg_stepping.ir import Table
from pg_stepping.migrate.changes import Change, compare
from pg_stepping.migrate.declared import Declaration, View
from pg_stepping.migrate.planned import planned
from pg_stepping.migrate.sections import Section
from pg_stepping.migrate.wanted import section_of, wanted
from pg_stepping.session import guarded


def in_database(conn: Connection, declaration: Declaration) -> dict[Table, Section]:
    """The maintained views of the database, but for those that the declaration says to leave alone.

    None of them has its `up`, which takes compiling: see `with_up`.
    """
    with guarded(conn):
        declared = {v.name for v in declaration.views}
        views = [v for v in list_views(conn) if v.name in declared or not declaration.ignores(v.table)]
        names = {str(v.table): v.table for v in views}
        return {
            v.table: Section(
                v.table, v.fingerprint, v.language, v.mode,
                tuple(names[r] for r in v.reads if r in names), None, query=v.query, indexes=v.indexes,
                settings=v.settings, stripes=v.stripes, stages=v.stages, version=v.version,
                gone=_is_gone(conn, v),
            )
            for v in views
        }  # fmt: skip


def migrate(
    conn: Connection, declaration: Declaration, *, before: Callable[[], object] | None = None
) -> list[Change]:
    """The changes that bring the database to what is declared, with the SQL of both states."""
    new = wanted(conn, declaration.views, before=before)
    there = in_database(conn, declaration)
    return all_changes(conn, there, new, declaration.views, before=before)


def all_changes(
    conn: Connection,
    there: Mapping[Table, Section],
    new: Sequence[Section],
    declared: Sequence[View],
    *,
    before: Callable[[], object] | None = None,
) -> list[Change]:
    """The changes from what is there, as they are made, with the SQL of both states."""
    changes = planned(conn, compare(there, new), there, declared, before=before)
    return [replace(c, old=c.old and with_up(conn, c.old)) if c.up is None else c for c in changes]


def with_up(conn: Connection, old: Section) -> Section:
    """The section with the SQL that makes the view, as this version writes it, unless it has its own."""
    if old.up is not None:
        return old
    with guarded(conn, undo=True):
        for name, value in old.settings:
            execute(conn, "SELECT set_config(%s, %s, true)", [name, value])
        try:
            if old.query is None:
                raise SteppingError("its query is not known")
            up = section_of(
                compile_query(
                    conn,
                    old.view,
                    old.query,
                    language=old.language,
                    indexes=old.indexes,
                    mode=old.mode,
                    stripes=old.stripes,
                )
            ).up
        except SteppingError as error:
            why = quote_text(f"view {old.view} cannot be made again: {error.message}")
            up = f"DO $refuse$\nBEGIN\n    RAISE EXCEPTION USING MESSAGE = {why};\nEND\n$refuse$;\n"
    return replace(old, up=up)


def catalog_for(conn: Connection, sections: list[Section]) -> str:
    """What these views need and the database lacks: the catalog, or nothing."""
    languages = {s.language for s in sections}
    return prelude(conn, "plpython3u" if "plpython3u" in languages else "plpgsql") if sections else ""


def _is_gone(conn: Connection, view: Installed) -> bool:
    """Whether the published view, or a table behind it, was dropped by hand."""
    row = execute(
        conn,
        """SELECT (SELECT count(*) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
                   WHERE (n.nspname, c.relname, c.relkind) = (%s, %s, 'v')
                      OR (n.nspname, c.relkind) = ('stepping', 'r') AND c.relname = ANY (%s))""",
        [view.schema, view.name, list(view.stages)],
    ).fetchone()
    return row is None or row[0] < len(view.stages) + 1
