"""Taking triggers off tables that are written: first they do nothing any more, then they go, table by table.

To create a trigger takes a lock that only writers wait for; to drop one takes a lock for which readers of
the table wait, too, and those who read it within another table's trigger. So that is never asked for two
tables at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from pg_stepping.frontend.dialect import quote_name
from pg_stepping.frontend.postgres import Connection, execute, run_script
from pg_stepping.ir import Table
from pg_stepping.online.patience import lock, patiently
from pg_stepping.session import guarded

_TRIGGERS = """
SELECT n.nspname, c.relname,
    string_agg(concat('DROP TRIGGER ', quote_ident(t.tgname), ' ON ', c.oid::regclass), '; ')
FROM pg_trigger AS t
JOIN pg_proc AS p ON p.oid = t.tgfoid AND p.pronamespace = 'stepping'::regnamespace
JOIN pg_class AS c ON c.oid = t.tgrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE p.proname = ANY (%s) GROUP BY n.nspname, c.relname ORDER BY 1, 2"""


def silenced(functions: Sequence[str]) -> str:
    """The script that makes trigger functions of schema stepping do nothing."""
    return "\n".join(
        f"CREATE OR REPLACE FUNCTION stepping.{quote_name(name)}() RETURNS trigger LANGUAGE plpgsql AS"
        " $body$BEGIN RETURN NULL; END$body$;"
        for name in functions
    )


def drop_triggers(conn: Connection, functions: Sequence[str]) -> None:
    """Drop all triggers that call some silenced functions, a transaction for each table."""
    with guarded(conn):
        found = execute(conn, _TRIGGERS, [list(functions)]).fetchall()
    for schema, name, drops in found:
        patiently(conn, partial(_drop, conn, Table(schema, name), drops))


def _drop(conn: Connection, table: Table, drops: str) -> None:
    lock(conn, [table], "ACCESS EXCLUSIVE")
    run_script(conn, drops)
