"""Making and dropping maintained views over a psycopg connection.

Everything happens in the caller's transaction, inside a savepoint: it is never committed here, and a call
that fails leaves the database, and the transaction, as they were.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from psycopg import errors as pg

from pg_stepping.backend.script import Definition, Script, applied_name, fingerprint_of, write_script
from pg_stepping.catalog import Installed, check_language, found, init, installed, list_views, prelude, target
from pg_stepping.compiler import check_stripes, compile_query
from pg_stepping.delta.terms import regclass
from pg_stepping.errors import NameTaken, SteppingError, UnsupportedQuery
from pg_stepping.frontend.bodies import UNKNOWN, found_by_path
from pg_stepping.frontend.postgres import Connection, describe, execute, run_script, savepoint
from pg_stepping.frontend.tables import relation
from pg_stepping.ir import Table
from pg_stepping.session import guarded
from pg_stepping.verification import Difference, verify

__all__ = [
    "Difference",
    "Installed",
    "apply",
    "create_view",
    "drop_view",
    "fingerprint",
    "generate",
    "init",
    "installed",
    "list_views",
    "verify",
]


def generate(
    conn: Connection,
    name: str,
    query: str,
    *,
    schema: str | None = None,
    language: str | None = None,
    indexes: Sequence[Sequence[str]] = (),
    strict: bool = False,
    mode: str = "immediate",
    stripes: int = 0,
) -> Script:
    """The migration that makes view `name` of the SELECT in `query`; nothing in the database changes.

    `indexes` lists the published columns of each further index. If the database has no catalog yet, the
    script makes it first. Raises UnsupportedQuery, InvalidQuery, UnsupportedServer or ConnectionUnusable.
    """
    check_stripes(mode, stripes)
    with guarded(conn, undo=True):
        definition = compile_query(
            conn,
            target(conn, name, schema),
            query,
            language=language,
            indexes=indexes,
            strict=strict,
            mode=mode,
            stripes=stripes,
        )
        script, before = write_script(definition), prelude(conn, definition.language)
    return replace(script, up=f"{before}\n{script.up}") if before else script


def create_view(
    conn: Connection,
    name: str,
    query: str,
    *,
    schema: str | None = None,
    language: str | None = None,
    indexes: Sequence[Sequence[str]] = (),
    strict: bool = False,
    mode: str = "immediate",
    stripes: int = 0,
) -> None:
    """Make the maintained view `name` of the SELECT in `query`, and fill it.

    Runs in the caller's transaction: nothing is committed, and it rolls back whole. `name` may be given as
    schema.name; the default schema is the first of search_path. `strict` refuses a query of which every
    change computes a whole stage anew (`explain` names those). With `mode="deferred"` writers only append to
    logs: whoever reads `name` sees their changes at once, whoever reads `name`_as_applied those that `apply`
    has brought into the state. With `stripes=n`, in immediate mode, each group is spread over n rows, which
    readers sum, so that writers of one group seldom wait for each other; its results must be sums, counts or
    what follows from these. Raises UnsupportedQuery, InvalidQuery,
    NameTaken, UnsupportedServer, InsufficientPrivilege or ConnectionUnusable, with nothing changed.
    """
    check_stripes(mode, stripes)
    with guarded(conn):
        view = target(conn, name, schema)
        check_name_is_free(conn, view)
        definition = compile_query(
            conn,
            view,
            query,
            language=language,
            indexes=indexes,
            strict=strict,
            mode=mode,
            stripes=stripes,
        )
        make(conn, definition)


def make(conn: Connection, definition: Definition) -> None:
    """Make the view of a definition, and fill it; its name must be free."""
    check_language(conn, definition.language)
    if definition.deferred is not None:
        check_name_is_free(conn, applied_name(definition.view))
    try:
        with savepoint(conn):
            run_script(conn, prelude(conn, definition.language) + write_script(definition).up)
    except UNKNOWN as error:
        called = re.search(r'(?:SQL|PL/pgSQL) function "?([^" ]+)', error.diag.context or "")
        if called is not None:
            raise found_by_path(called[1], error) from error
        if not isinstance(error, pg.UndefinedObject):
            raise
        raise UnsupportedQuery(
            f"a type that has no ordering ({error.diag.message_primary})",
            hint="group by a form of it that has one, such as its text",
        ) from error
    _check_types(conn, definition)


def apply(conn: Connection, name: str, *, limit: int | None = None, schema: str | None = None) -> int:
    """Bring the state of a view in deferred mode up to date with its logs; returns how many changes.

    With `limit` about so many changes are applied, or all for a view of which no part can be applied alone
    (docs/deferred.md); call it again until it returns 0. Runs in the caller's transaction, at READ COMMITTED;
    until it ends, others who apply this view wait. Raises ViewNotFound, NotDeferred for a view in immediate
    mode, and InvalidQuery for a limit below 1.
    """
    with guarded(conn):
        view = found(conn, name, schema)
        sql = "SELECT stepping.apply(%s::text::regclass, %s)"
        row = execute(conn, sql, [regclass(view.table), limit]).fetchone()
    assert row is not None
    return int(row[0])


def drop_view(conn: Connection, name: str, *, schema: str | None = None) -> None:
    """Drop a maintained view with all that belongs to it; the tables that it reads stay as they are.

    Runs in the caller's transaction. Raises ViewNotFound, or ViewInUse if another maintained view, or any
    other object, depends on it.
    """
    with guarded(conn):
        view = found(conn, name, schema)
        execute(conn, "SELECT stepping.drop_view(%s, %s)", [view.schema, view.name])


def fingerprint(
    conn: Connection,
    name: str,
    query: str,
    *,
    schema: str | None = None,
    indexes: Sequence[Sequence[str]] = (),
    stripes: int = 0,
) -> str:
    """The fingerprint that view `name` of this query would have."""
    with guarded(conn, undo=True):
        view = target(conn, name, schema)
        return fingerprint_of(compile_query(conn, view, query, indexes=indexes, stripes=stripes))


def check_name_is_free(conn: Connection, view: Table) -> None:
    """Raises NameTaken where a relation or a type has the name."""
    taken = execute(
        conn,
        """SELECT FROM pg_namespace AS n
           WHERE n.nspname = %(schema)s
             AND (EXISTS (SELECT FROM pg_class WHERE relnamespace = n.oid AND relname = %(name)s)
                  OR EXISTS (SELECT FROM pg_type WHERE typnamespace = n.oid AND typname = %(name)s))""",
        {"schema": view.schema, "name": view.name},
    ).fetchone()
    if taken is not None:
        hint = "drop the relation or the type of this name, or choose another name"
        raise NameTaken(f"the name {view} is taken", hint=hint)


def _check_types(conn: Connection, definition: Definition) -> None:
    """The published columns are of the very types that the query has."""
    wanted = [(o.name, o.type) for o in describe(conn, definition.query.text).outputs]
    published = [(f.name, f.type) for f in relation(conn, definition.view).fields]
    if wanted != published:
        raise SteppingError(
            f"the view would have the columns {published}, the query has {wanted}",
            hint="this is a mistake in pg_stepping: please report it with the query",
        )
