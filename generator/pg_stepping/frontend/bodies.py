"""Functions that find what they call by the session's search_path, where triggers have none of the user's."""

from __future__ import annotations

from collections.abc import Iterable

from psycopg import errors as pg

from pg_stepping.errors import InvalidQuery
from pg_stepping.frontend.postgres import Connection, Function, execute, qualified_names, savepoint

UNKNOWN = (pg.UndefinedFunction, pg.UndefinedTable, pg.UndefinedObject)
_IN_SQL = """
    SELECT p.oid, p.oid::regprocedure::text
    FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang AND l.lanname = 'sql'
    WHERE p.oid = ANY (%s) AND p.prosqlbody IS NULL
      AND NOT EXISTS (SELECT FROM unnest(p.proconfig) AS setting WHERE starts_with(setting, 'search_path='))
    ORDER BY 2"""


def check_bodies(conn: Connection, functions: Iterable[Function]) -> None:
    """Refuse SQL functions of the user's own whose body names something that it finds by search_path alone:
    every write would fail. Bodies in other languages are known only when they run."""
    own = [f.oid for f in functions if f.schema not in ("pg_catalog", "stepping")]
    if not own:
        return
    with qualified_names(conn):
        for oid, name in execute(conn, _IN_SQL, [own]).fetchall():
            try:
                with savepoint(conn, undo=True):
                    execute(conn, "SET LOCAL check_function_bodies = on")
                    execute(conn, "SELECT fmgr_sql_validator(%s)", [oid])
            except UNKNOWN as error:
                raise found_by_path(name, error) from error


def found_by_path(name: str, error: pg.Error) -> InvalidQuery:
    """The refusal of a function, given what Postgres says when it is run as triggers run it."""
    return InvalidQuery(
        f"the function {name} fails in a trigger, with search_path pg_catalog: {error.diag.message_primary}",
        hint="give it its own path, ALTER FUNCTION ... SET search_path = ..., or name schemas in its body",
        sqlstate=error.sqlstate,
    )
