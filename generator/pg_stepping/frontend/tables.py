"""What the catalogs say of the tables and views that a query reads."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pg_stepping.errors import InvalidQuery
from pg_stepping.frontend.postgres import Connection, Field, execute, fields_of, qualified_names
from pg_stepping.ir import Table

_FAMILY = """
    WITH RECURSIVE up (member) AS (
        SELECT %(oid)s::oid
        UNION SELECT inhparent FROM pg_inherits JOIN up ON inhrelid = member WHERE NOT inhdetachpending
    ), down (member) AS (
        SELECT %(oid)s::oid
        UNION SELECT inhrelid FROM pg_inherits JOIN down ON inhparent = member WHERE NOT inhdetachpending
    )
    SELECT
        (SELECT member::regclass::text FROM up
         WHERE member <> %(oid)s AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = member)
         ORDER BY member LIMIT 1),
        (SELECT count(*) > 1 FROM down),
        (SELECT member::regclass::text FROM down JOIN pg_class AS c ON c.oid = member
         WHERE member <> %(oid)s AND (relkind NOT IN ('r', 'p') OR relpersistence <> 'p' OR EXISTS (
             SELECT FROM pg_inherits WHERE inhrelid = member AND inhparent NOT IN (SELECT member FROM down)))
         ORDER BY member LIMIT 1)"""


@dataclass(frozen=True, slots=True)
class Index:
    """An index: its name and its leading plain columns."""

    name: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Relation:
    """A table as the catalogs describe it.

    `kind` is pg_class.relkind, `keys` are the column sets that are unique and never NULL (the primary key
    first), `indexes` are those that are valid and cover all rows. `root` is the topmost table that it is a
    partition or a child of, `has_parts` whether it has some itself, `unfit` one of these on which changes
    cannot be followed.
    """

    table: Table
    kind: str
    persistence: str
    root: str | None
    has_parts: bool
    unfit: str | None
    fields: tuple[Field, ...]
    keys: tuple[tuple[str, ...], ...]
    indexes: tuple[Index, ...]


def implicit_schema(conn: Connection, name: str) -> str:
    """The schema of a relation that Postgres prints without one: temporary, or its own."""
    row = execute(
        conn,
        """SELECT n.nspname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
           WHERE c.relname = %s AND (n.oid = pg_my_temp_schema() OR n.nspname = 'pg_catalog')
           ORDER BY n.nspname = 'pg_catalog'""",
        [name],
    ).fetchone()
    return str(row[0]) if row is not None else "pg_catalog"


def _maintained(conn: Connection, view: Table) -> tuple[bool, str] | None:
    """Whether the state of a maintained view is its result, as it is not where changes wait in logs or groups
    are in stripes, and its query. None for one that is not ours."""
    row = execute(conn, "SELECT to_regclass('stepping.maintained_view') IS NOT NULL").fetchone()
    if row is None or not row[0]:
        return None
    sql = """SELECT mode = 'immediate' AND stripes = 0, query FROM stepping.maintained_view
             WHERE schema_name = %s AND view_name = %s"""
    found = execute(conn, sql, [view.schema, view.name]).fetchone()
    return None if found is None else (bool(found[0]), str(found[1]))


def query_in_place(conn: Connection, view: Table) -> str | None:
    """The query of a maintained view that others cannot read the state of; None for any other relation."""
    found = _maintained(conn, view)
    return found[1] if found is not None and not found[0] else None


def is_maintained(conn: Connection, view: Table) -> bool:
    """Whether a view is one of ours."""
    return _maintained(conn, view) is not None


def ordinary_view(conn: Connection, view: Table) -> str | None:
    """The query of an ordinary view of the user's own; None for any other relation."""
    row = execute(
        conn,
        """SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
           WHERE n.nspname = %s AND c.relname = %s AND c.relkind = 'v' AND c.relpersistence = 'p'
             AND n.nspname NOT IN ('pg_catalog', 'information_schema')""",
        [view.schema, view.name],
    ).fetchone()
    return view_definition(conn, view) if row is not None and not is_maintained(conn, view) else None


def view_definition(conn: Connection, view: Table) -> str:
    """The query of a view, its names qualified."""
    with qualified_names(conn):
        row = execute(
            conn,
            """SELECT pg_get_viewdef(c.oid) FROM pg_class AS c
               JOIN pg_namespace AS n ON n.oid = c.relnamespace
               WHERE n.nspname = %s AND c.relname = %s""",
            [view.schema, view.name],
        ).fetchone()
    if row is None:
        raise InvalidQuery(f"view {view} does not exist", hint="create the view first", sqlstate="42P01")
    return str(row[0]).strip().rstrip(";")


def relation(conn: Connection, table: Table) -> Relation:
    """Look a table up in the catalogs; raises InvalidQuery if it is not there."""
    with qualified_names(conn):
        row = execute(
            conn,
            """SELECT c.oid, c.relkind, c.relpersistence
               FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
               WHERE n.nspname = %s AND c.relname = %s""",
            [table.schema, table.name],
        ).fetchone()
        if row is None:
            raise InvalidQuery(
                f"relation {table} does not exist", hint="create the table first", sqlstate="42P01"
            )
        oid, kind, persistence = row
        family = execute(conn, _FAMILY, {"oid": oid}).fetchone()
        assert family is not None
        root, has_parts, unfit = family
        has_parts = has_parts or kind == "p"
        fields = fields_of(conn, str(oid))
        indexes = execute(
            conn,
            """SELECT i.indexrelid::regclass::text, i.indisunique AND i.indimmediate,
                      array(SELECT a.attname::text
                            FROM unnest(i.indkey::int[]) WITH ORDINALITY AS k (attnum, place)
                            LEFT JOIN pg_attribute AS a
                              ON a.attrelid = i.indrelid AND a.attnum = k.attnum AND k.attnum > 0
                            WHERE k.place <= i.indnkeyatts ORDER BY k.place)
               FROM pg_index AS i
               WHERE i.indrelid = %s AND i.indisvalid AND i.indpred IS NULL
               ORDER BY i.indisprimary DESC, i.indexrelid""",
            [oid],
        ).fetchall()
    if has_parts and kind != "p":  # what an index or NOT NULL says of a parent need not hold for its children
        fields, indexes = tuple(replace(f, not_null=False) for f in fields), []
    not_null = {f.name for f in fields if f.not_null}
    return Relation(
        table=table,
        kind=kind,
        persistence=persistence,
        root=root,
        has_parts=has_parts,
        unfit=unfit,
        fields=fields,
        keys=tuple(tuple(columns) for _, unique, columns in indexes if unique and not_null >= set(columns)),
        indexes=tuple(Index(name, _plain_prefix(columns)) for name, _, columns in indexes),
    )


def _plain_prefix(columns: list[str | None]) -> tuple[str, ...]:
    cut = columns.index(None) if None in columns else len(columns)
    return tuple(c for c in columns[:cut] if c is not None)
