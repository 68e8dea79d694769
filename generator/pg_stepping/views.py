"""Making, dropping, checking and listing maintained views over a psycopg connection.

Everything happens in the caller's transaction, inside a savepoint: it is never committed here, and a call
that fails leaves the database, and the transaction, as they were.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast


from psycopg import errors as pg
from psycopg.rows import dict_row, tuple_row

from pg_stepping.backend.script import Definition, Script, fingerprint_of, write_script
from pg_stepping.compiler import compile_query
from pg_stepping.errors import (
    InsufficientPrivilege,
    InvalidQuery,
    NameTaken,
    SteppingError,
    UnsupportedQuery,
    ViewInUse,
    ViewNotFound,
)
from pg_stepping.frontend.postgres import Connection, begin, execute, qualified_names, savepoint
from pg_stepping.ir import Table
from pg_stepping.shipped import catalog_sql


@dataclass(frozen=True, slots=True)
class Installed:
    """A maintained view as the catalog has it."""

    schema: str
    name: str
    query: str
    recompute: str
    language: str
    indexes: tuple[tuple[str, ...], ...]
    reads: tuple[str, ...]
    fingerprint: str
    version: str
    down: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A row in which a view and the recomputed query differ.

    `weight` is +1 for a row that the view has too often, -1 for one that it lacks; `row` maps its columns.
    """

    weight: int
    row: dict[str, Any]


@contextmanager
def _plain_rows(conn: Connection) -> Iterator[None]:
    """Tuples for rows, whatever row factory the caller has set."""
    before, conn.row_factory = conn.row_factory, tuple_row
    try:
        yield
    finally:
        conn.row_factory = before


@contextmanager
def _guarded(conn: Connection) -> Iterator[None]:
    """A savepoint in which Postgres's errors become ours."""
    with _plain_rows(conn):
        begin(conn)
        try:
            with savepoint(conn):
                yield
        except pg.InsufficientPrivilege as error:
            message = error.diag.message_primary or str(error)
            hint = "the role must own the query's tables and may need rights on schema stepping"
            raise InsufficientPrivilege(message, hint=error.diag.message_hint or hint) from error
        except (pg.DuplicateTable, pg.DuplicateFunction, pg.DuplicateObject) as error:
            raise NameTaken(str(error.diag.message_primary), hint="choose another name for the view") from error
        except pg.DependentObjectsStillExist as error:
            raise ViewInUse(
                error.diag.message_detail or str(error.diag.message_primary), hint=error.diag.message_hint
            ) from error


def has_catalog(conn: Connection) -> bool:
    """Whether the database has the catalog, by `init` or as an extension."""
    row = execute(conn, "SELECT to_regclass('stepping.maintained_view') IS NOT NULL").fetchone()
    return row is not None and bool(row[0])


def init(conn: Connection) -> None:
    """Make the catalog in schema `stepping`, as CREATE EXTENSION pg_stepping would; no-op if it is there."""
    with _guarded(conn):
        if not has_catalog(conn):
            execute(conn, init_script())


def init_script() -> str:
    """The SQL of `init`."""
    return f"CREATE SCHEMA IF NOT EXISTS stepping;\n\n{catalog_sql()}"


def _target(conn: Connection, name: str, schema: str | None) -> Table:
    if schema is None and "." in name and not name.startswith('"'):
        schema, _, name = name.partition(".")
    if not name or len(name.encode()) > 63:
        raise InvalidQuery(f"{name!r} is no name for a view", hint="a name has 1 to 63 bytes", sqlstate="42602")
    if schema is None:
        row = execute(conn, "SELECT current_schema()").fetchone()
        schema = row[0] if row is not None else None
        if schema is None:
            raise InvalidQuery(
                "no schema to create the view in", hint="set search_path or give schema=", sqlstate="3F000"
            )
    return Table(schema, name)


def _check_name_is_free(conn: Connection, view: Table) -> None:
    row = execute(
        conn,
        """SELECT c.relkind FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
           WHERE n.nspname = %s AND c.relname = %s""",
        [view.schema, view.name],
    ).fetchone()
    if row is not None:
        raise NameTaken(f"the name {view} is taken", hint="drop that relation or choose another name")


def _definition(
    conn: Connection,
    name: str,
    query: str,
    schema: str | None,
    language: str | None,
    indexes: Sequence[Sequence[str]],
) -> Definition:
    view = _target(conn, name, schema)
    return compile_query(conn, view, query, language=language, indexes=indexes)


def generate(
    conn: Connection,
    name: str,
    query: str,
    *,
    schema: str | None = None,
    language: str | None = None,
    indexes: Sequence[Sequence[str]] = (),
) -> Script:
    """The migration that makes view `name` of the SELECT in `query`; nothing in the database changes.

    `indexes` lists the published columns of each further index. If the database has no catalog yet, the
    script makes it first. Raises UnsupportedQuery, InvalidQuery, UnsupportedServer or ConnectionUnusable.
    """
    with _plain_rows(conn):
        begin(conn)
        with savepoint(conn, undo=True):
            script = write_script(_definition(conn, name, query, schema, language, indexes))
            if has_catalog(conn):
                return script
    head = "-- The catalog of pg_stepping, which this database does not have yet.\n"
    return Script(f"{head}{init_script()}\n{script.up}", script.down, script.fingerprint)


def create_view(
    conn: Connection,
    name: str,
    query: str,
    *,
    schema: str | None = None,
    language: str | None = None,
    indexes: Sequence[Sequence[str]] = (),
) -> None:
    """Make the maintained view `name` of the SELECT in `query`, and fill it.

    Runs in the caller's transaction: nothing is committed, and it rolls back whole. `name` may be given as
    schema.name; the default schema is the first of search_path. Raises UnsupportedQuery, InvalidQuery,
    NameTaken, UnsupportedServer, InsufficientPrivilege or ConnectionUnusable, with nothing changed.
    """
    with _guarded(conn):
        if not has_catalog(conn):
            execute(conn, init_script())
        view = _target(conn, name, schema)
        _check_name_is_free(conn, view)
        definition = compile_query(conn, view, query, language=language, indexes=indexes)
        try:
            with savepoint(conn):
                execute(conn, write_script(definition).up)
        except pg.UndefinedFunction as error:
            raise UnsupportedQuery(
                f"a type that has no ordering ({error.diag.message_primary})",
                hint="group by, or return, a form of it that has one, such as its text",
            ) from error
        _check_types(conn, definition)


def _check_types(conn: Connection, definition: Definition) -> None:
    """The published columns are of the very types that the query has."""
    from pg_stepping.frontend.postgres import describe, relation

    wanted = [(o.name, o.type) for o in describe(conn, definition.text).outputs]
    found = [(f.name, f.type) for f in relation(conn, definition.view).fields]
    if wanted != found:
        raise SteppingError(
            f"the view would have the columns {found}, the query has {wanted}", hint="please report this"
        )


def installed(conn: Connection, name: str, *, schema: str | None = None) -> Installed | None:
    """The maintained view of this name, or None."""
    with _plain_rows(conn):
        begin(conn)
        view = _target(conn, name, schema)
        return next((v for v in _catalog(conn) if (v.schema, v.name) == (view.schema, view.name)), None)


def list_views(conn: Connection) -> list[Installed]:
    """All maintained views of the database, by schema and name."""
    with _plain_rows(conn):
        begin(conn)
        return _catalog(conn)


def _catalog(conn: Connection) -> list[Installed]:
    if not has_catalog(conn):
        return []
    rows = execute(
        conn,
        """SELECT schema_name, view_name, query, recompute, language, indexes, reads, fingerprint, version, down
           FROM stepping.maintained_view ORDER BY schema_name, view_name""",
    )
    return [
        Installed(s, n, q, r, lang, tuple(tuple(i.split(", ")) for i in idx), tuple(reads), f, v, d)
        for s, n, q, r, lang, idx, reads, f, v, d in rows
    ]


def _found(conn: Connection, name: str, schema: str | None) -> Installed:
    found = installed(conn, name, schema=schema)
    if found is None:
        raise ViewNotFound(f"there is no maintained view {name!r}", hint="pg-stepping list shows those there are")
    return found


def drop_view(conn: Connection, name: str, *, schema: str | None = None) -> None:
    """Drop a maintained view with all that belongs to it; the tables that it reads stay as they are.

    Raises ViewNotFound, or ViewInUse if another maintained view, or any other object, depends on it.
    """
    with _guarded(conn):
        execute(conn, _found(conn, name, schema).down)


def verify(conn: Connection, name: str, *, schema: str | None = None) -> list[Difference]:
    """The rows in which a view and its recomputed query differ, in one snapshot; none if it is right.

    Float sums are recomputed in the same exact arithmetic as the view's, so they compare equal or not.
    """
    with _plain_rows(conn):
        begin(conn)
        view = _found(conn, name, schema)
        with savepoint(conn, undo=True):
            return _differences(conn, view)


def _differences(conn: Connection, view: Installed) -> list[Difference]:
    from pg_stepping.delta.change import NO_EQUALITY
    from pg_stepping.delta.terms import quote_table
    from pg_stepping.frontend.dialect import quote_name
    from pg_stepping.frontend.postgres import relation

    execute(conn, "SET LOCAL extra_float_digits = 1")
    with qualified_names(conn):
        pass
    fields = relation(conn, Table(view.schema, view.name)).fields
    columns = ", ".join(
        f"{quote_name(f.name)}::text" if f.type.base in NO_EQUALITY else quote_name(f.name) for f in fields
    )
    sql = f"""
        WITH view_rows AS (SELECT {columns} FROM {quote_table(Table(view.schema, view.name))}),
        query_rows AS (SELECT {columns} FROM ({view.recompute}) AS recomputed)
        (SELECT 1 AS stepping_weight, * FROM (TABLE view_rows EXCEPT ALL TABLE query_rows) AS too_many)
        UNION ALL
        (SELECT -1, * FROM (TABLE query_rows EXCEPT ALL TABLE view_rows) AS missing)"""
    execute(conn, "SELECT set_config('search_path', 'pg_catalog', true)")
    cursor = conn.cursor(row_factory=dict_row)
    rows = cursor.execute(cast(Any, sql)).fetchall()
    return [Difference(int(row.pop("stepping_weight")), row) for row in rows]


def fingerprint(
    conn: Connection,
    name: str,
    query: str,
    *,
    schema: str | None = None,
    indexes: Sequence[Sequence[str]] = (),
) -> str:
    """The fingerprint that view `name` of this query would have."""
    with _plain_rows(conn):
        begin(conn)
        with savepoint(conn, undo=True):
            return fingerprint_of(_definition(conn, name, query, schema, None, indexes))


__all__ = [
    "Difference",
    "Installed",
    "create_view",
    "drop_view",
    "fingerprint",
    "generate",
    "has_catalog",
    "init",
    "init_script",
    "installed",
    "list_views",

    "verify",
]
