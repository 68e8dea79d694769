"""What depends on a view, or is said of it, kept while another one takes its place."""

from __future__ import annotations

from psycopg import errors as pg

from pg_stepping.delta.terms import quote_table
from pg_stepping.frontend.dialect import quote_name
from pg_stepping.frontend.postgres import Connection, execute, qualified_names, savepoint
from pg_stepping.ir import Table

_READERS = """
SELECT n.nspname, c.relname FROM stepping.readers_of(%s::regclass) WITH ORDINALITY AS r (oid, place)
JOIN pg_class AS c USING (oid) JOIN pg_namespace AS n ON n.oid = c.relnamespace ORDER BY place"""


def readers(conn: Connection, view: Table) -> list[Table]:
    """The views that read a view, directly or not, each after those that it reads."""
    return [Table(*row) for row in execute(conn, _READERS, [quote_table(view)])]


def put_in_place(conn: Connection, view: Table, other: Table) -> None:
    """Give `view` the definition of `other`, which goes; its readers, grants and comments stay.

    Raises ViewInUse if something that reads it cannot do without what it had.
    """
    with qualified_names(conn):
        row = execute(conn, "SELECT pg_get_viewdef(%s::regclass)", [quote_table(other)]).fetchone()
        assert row is not None
        try:
            with savepoint(conn):
                execute(conn, f"CREATE OR REPLACE VIEW {quote_table(view)} AS {row[0]}")
            execute(conn, f"DROP VIEW {quote_table(other)}")
        except pg.InvalidTableDefinition:  # a column goes, or has another name or type
            names = [view.schema, view.name]
            execute(conn, "SELECT stepping.set_dependents_aside(%s, %s)", names)
            execute(conn, f"DROP VIEW {quote_table(view)}")
            execute(conn, f"ALTER VIEW {quote_table(other)} RENAME TO {quote_name(view.name)}")
            execute(conn, "SELECT stepping.put_dependents_back(%s, %s)", names)
