"""What depends on a view, or is said of it, kept while another one takes its place."""

from __future__ import annotations

from pg_stepping.delta.terms import regclass
from pg_stepping.frontend.postgres import Connection, execute
from pg_stepping.ir import Table

_READERS = """
SELECT n.nspname, c.relname FROM stepping.readers_of(%s::regclass) WITH ORDINALITY AS r (oid, place)
JOIN pg_class AS c USING (oid) JOIN pg_namespace AS n ON n.oid = c.relnamespace ORDER BY place"""


def readers(conn: Connection, view: Table) -> list[Table]:
    """The views that read a view, directly or not, each after those that it reads."""
    return [Table(*row) for row in execute(conn, _READERS, [regclass(view)])]


def put_in_place(conn: Connection, view: Table, other: Table) -> None:
    """Give `view` the definition of `other`, which goes; its readers, grants and comments stay.

    Raises ViewInUse if something that reads it cannot do without what it had.
    """
    names = [view.schema, view.name, other.name]
    execute(conn, "SELECT stepping.put_view_in_place(%s, %s, %s)", names)
