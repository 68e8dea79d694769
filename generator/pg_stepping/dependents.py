"""What depends on a view, or is said of it, kept while another one takes its place."""

from __future__ import annotations

from psycopg import errors as pg

from pg_stepping.delta.terms import quote_table
from pg_stepping.errors import ViewInUse
from pg_stepping.frontend.dialect import quote_name
from pg_stepping.frontend.postgres import Connection, execute, qualified_names, savepoint
from pg_stepping.ir import Table

_READERS = """
WITH RECURSIVE reader (oid, depth) AS (
    SELECT %s::regclass::oid, 0
    UNION
    SELECT r.ev_class, reader.depth + 1
    FROM reader
    JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = reader.oid
        AND d.classid = 'pg_rewrite'::regclass
    JOIN pg_rewrite AS r ON r.oid = d.objid AND r.ev_class <> reader.oid
)
SELECT c.oid, n.nspname, c.relname, c.relkind
FROM reader JOIN pg_class AS c USING (oid) JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE depth > 0
GROUP BY c.oid, n.nspname, c.relname, c.relkind
ORDER BY max(depth), n.nspname, c.relname"""

# What was given and said, as the statements that do so again; %s is the object's oid.
_SAID = """
WITH object AS (
    SELECT c.oid, c.relacl, c.relowner, concat(quote_ident(n.nspname), '.', quote_ident(c.relname)) AS name
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = %(oid)s
), grants AS (
    SELECT object.name, acl.*, '' AS columns FROM object CROSS JOIN aclexplode(relacl) AS acl
    UNION ALL
    SELECT object.name, acl.*, concat(' (', quote_ident(a.attname), ')')
    FROM object JOIN pg_attribute AS a ON a.attrelid = object.oid CROSS JOIN aclexplode(a.attacl) AS acl
)
SELECT concat('ALTER VIEW ', name, ' OWNER TO ', relowner::regrole) FROM object
UNION ALL
SELECT concat('REVOKE ALL ON ', name, ' FROM ', relowner::regrole) FROM object WHERE relacl IS NOT NULL
UNION ALL
SELECT concat('GRANT ', privilege_type, columns, ' ON ', name, ' TO ',
    CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END,
    CASE WHEN is_grantable THEN ' WITH GRANT OPTION' END)
FROM grants
UNION ALL
SELECT concat('COMMENT ON ', CASE d.objsubid WHEN 0 THEN concat('VIEW ', name)
    ELSE concat('COLUMN ', name, '.', quote_ident(a.attname)) END, ' IS ', quote_literal(d.description))
FROM object JOIN pg_description AS d ON d.classoid = 'pg_class'::regclass AND d.objoid = object.oid
LEFT JOIN pg_attribute AS a ON a.attrelid = object.oid AND a.attnum = d.objsubid AND d.objsubid > 0"""

_DEFINED = """
SELECT concat('CREATE VIEW ', %(name)s::text,
        CASE WHEN reloptions IS NOT NULL THEN concat(' WITH (', array_to_string(reloptions, ', '), ')') END,
        ' AS ', pg_get_viewdef(c.oid))
FROM pg_class AS c WHERE c.oid = %(oid)s
UNION ALL
SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = %(oid)s AND NOT tgisinternal"""


def readers(conn: Connection, view: Table) -> list[Table]:
    """The views that read a view, directly or not, each after those that it reads."""
    return [Table(s, n) for _, s, n, _ in execute(conn, _READERS, [quote_table(view)])]


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
            _exchange(conn, view, other)


def _exchange(conn: Connection, view: Table, other: Table) -> None:
    name = quote_table(view)
    found = execute(conn, _READERS, [name]).fetchall()
    solid = [f"{s}.{n}" for _, s, n, kind in found if kind != "v"]
    if solid:
        hint = "drop it, change the view, and make it again"
        raise ViewInUse(f"{solid[0]} reads {view}, which loses or changes a column", hint=hint)
    said = _said(conn, execute(conn, "SELECT %s::regclass::oid", [name]).fetchall()[0][0])
    restored: list[tuple[str, list[str]]] = []
    for oid, schema, reader, _ in found:
        own = quote_table(Table(schema, reader))
        defined = execute(conn, _DEFINED, {"oid": oid, "name": own}).fetchall()
        restored.append((f"{schema}.{reader}", [*(str(d[0]) for d in defined), *_said(conn, oid)]))
    for _, schema, reader, _ in reversed(found):
        execute(conn, f"DROP VIEW {quote_table(Table(schema, reader))}")
    execute(conn, f"DROP VIEW {name}")
    execute(conn, f"ALTER VIEW {quote_table(other)} RENAME TO {quote_name(view.name)}")
    for statement in said:
        try:
            with savepoint(conn):
                execute(conn, statement)
        except pg.UndefinedColumn:  # a grant or a comment on a column that is gone
            continue
    for reader, statements in restored:
        try:
            with savepoint(conn):
                for statement in statements:
                    execute(conn, statement)
        except (pg.UndefinedColumn, pg.UndefinedFunction, pg.DatatypeMismatch, pg.WrongObjectType) as error:
            raise ViewInUse(
                f"view {reader} needs what the new query does not have: {error.diag.message_primary}",
                hint="change or drop that view first",
            ) from error


def _said(conn: Connection, oid: int) -> list[str]:
    return [str(row[0]) for row in execute(conn, _SAID, {"oid": oid})]
