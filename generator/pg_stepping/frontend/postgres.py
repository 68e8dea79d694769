"""What Postgres itself says of a query: its canonical text, its types, its tables, its functions.

A query is never analysed by guess. It is made a temporary view inside a savepoint, and read back: the text
with every name resolved and qualified (pg_get_viewdef under an empty search path), the exact column types,
and the OID of every function that is called (pg_rewrite). Then the savepoint is rolled back.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import psycopg
from psycopg import errors as pg
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.rows import tuple_row
from sqlglot import exp

from pg_stepping.errors import (
    ConnectionUnusable,
    InsufficientPrivilege,
    InvalidQuery,
    UnsupportedQuery,
    UnsupportedServer,
)
from pg_stepping.frontend.dialect import quote_name, to_sql
from pg_stepping.frontend.refuse import Source
from pg_stepping.ir import Column, Table, Type
from pg_stepping.ir.nodes import Expression

Connection = psycopg.Connection[Any]

_PROBE = "pg_stepping_probe"
_CREATE = f"CREATE TEMPORARY VIEW {_PROBE} AS\n"
_QUALIFIED = "SET LOCAL search_path = pg_catalog"
_HASH_FAMILY = """
    SELECT t.oid, CASE t.typtype WHEN 'e' THEN t.oid ELSE o.opcfamily END
    FROM pg_type AS t
    LEFT JOIN pg_opclass AS o ON o.opcintype = t.oid AND o.opcdefault
        AND o.opcmethod = (SELECT oid FROM pg_am WHERE amname = 'hash')
    WHERE t.oid = ANY (%s)"""
_LOOSE_COLLATION = """
    SELECT FROM pg_collation
    WHERE oid = ANY (%s::text[]::regcollation[]::oid[]) AND NOT collisdeterministic"""
# Types of Postgres's own of which equal values are the same in every respect, and those that have an order
# in which 1.0 and 1.00 are equal: by their numbers, which never change.
_EXACT = {
    "boolean": 16, "bytea": 17, "char": 18, "name": 19, "bigint": 20, "smallint": 21, "integer": 23,
    "text": 25, "oid": 26, "money": 790, "varchar": 1043, "date": 1082, "time": 1083, "timestamp": 1114,
    "timestamptz": 1184, "uuid": 2950,
    "cidr": 650, "macaddr": 829, "inet": 869, "bit": 1560, "varbit": 1562,
    # names of objects are their numbers: their texts change with a RENAME
    "regproc": 24, "regprocedure": 2202, "regoper": 2203, "regoperator": 2204, "regclass": 2205,
    "regtype": 2206, "regconfig": 3734, "regdictionary": 3769, "regnamespace": 4089,
    "regrole": 4096, "regcollation": 4191,
}  # fmt: skip
_SORTED = (700, 701, 1042, 1186, 1266, 1700, 3802)  # floats, bpchar, interval, timetz, numeric, jsonb
_PLAIN_COLLATIONS = (0, 100, 950, 951)  # none, default, C, POSIX
_MADE_OF = """
    WITH RECURSIVE part (whole, used, type, coll) AS (  -- elements, columns, what is below a domain
        SELECT oid, coll, oid, coll FROM unnest(%s::oid[], %s::oid[]) AS asked (oid, coll)
        UNION
        SELECT part.whole, part.used, inside.type, inside.coll
        FROM part JOIN pg_type AS p ON p.oid = part.type
        CROSS JOIN LATERAL (
            SELECT p.typbasetype, part.coll WHERE p.typtype = 'd'
            UNION ALL
            SELECT p.typelem, part.coll WHERE p.typsubscript::oid = 'array_subscript_handler'::regproc
            UNION ALL
            SELECT rngsubtype, rngcollation FROM pg_range WHERE p.oid IN (rngtypid, rngmultitypid)
            UNION ALL
            SELECT atttypid, attcollation FROM pg_attribute
            WHERE attrelid = p.typrelid AND p.typtype = 'c' AND attnum > 0 AND NOT attisdropped
        ) AS inside (type, coll)
    )
    SELECT whole, used,
        CASE WHEN NOT every(sorts) THEN 'text' WHEN every(exact) THEN 'value' ELSE 'order' END,
        CASE WHEN every(is_leaf OR p.typtype = 'd') THEN coalesce(max(equals), '=') ELSE '=' END,
        bool_or(p.typtype = 'c')
    FROM part
    JOIN pg_type AS p ON p.oid = part.type
    LEFT JOIN pg_collation AS c ON c.oid = part.coll
    CROSS JOIN LATERAL (
        SELECT p.typtype IN ('b', 'e') AND p.typsubscript::oid <> 'array_subscript_handler'::regproc
    ) AS kind (is_leaf)
    CROSS JOIN LATERAL (
        SELECT NOT is_leaf OR p.typtype = 'e' OR EXISTS (
            SELECT FROM pg_opclass AS o
            WHERE opcdefault AND opcmethod = (SELECT oid FROM pg_am WHERE amname = 'btree')
                AND (opcintype = p.oid OR EXISTS (
                    SELECT FROM pg_cast WHERE castsource = p.oid AND casttarget = opcintype
                        AND castmethod = 'b' AND castcontext = 'i'))
        ), NOT is_leaf OR p.typtype = 'e' OR p.oid = ANY (%s::oid[]) AND c.collisdeterministic IS NOT FALSE, (
            SELECT format('OPERATOR(%%I.%%s)', n.nspname, f.oprname)
            FROM pg_opclass AS o
            JOIN pg_amop AS a ON amopfamily = opcfamily AND amoplefttype = p.oid AND amoprighttype = p.oid
            JOIN pg_operator AS f ON f.oid = amopopr
            JOIN pg_namespace AS n ON n.oid = f.oprnamespace
            WHERE opcdefault AND opcmethod = (SELECT oid FROM pg_am WHERE amname = 'btree')
                AND opcintype = p.oid AND amopstrategy = 3 AND nspname <> 'pg_catalog')
    ) AS leaf (sorts, exact, equals)
    GROUP BY whole, used"""

# What to do about the commonest mistakes, by SQLSTATE, where Postgres itself does not say it.
_HINTS = {
    "42P01": "check the name; give its schema, or set search_path",
    "42701": "give each column of the result a name of its own, with AS",
    "42702": "put the table's name or alias before it",
    "42703": "check the name against the columns of the tables in FROM",
    "42803": "columns outside of aggregates go into GROUP BY, conditions on aggregates into HAVING",
}


@dataclass(frozen=True, slots=True)
class Function:
    """A function that a query calls; `kind` is pg_proc.prokind, `volatile` is pg_proc.provolatile, of an
    aggregate that of the functions that it is made of.

    `operators` are the names of the operators by which it is called.
    """

    oid: int
    schema: str
    name: str
    kind: str
    volatile: str
    returns_set: bool
    argument_count: int
    operators: tuple[str, ...]

    @property
    def called(self) -> str:
        """The name by which canonical text calls it."""
        return self.name if self.schema == "pg_catalog" else f"{self.schema}.{self.name}"

    def places(self) -> tuple[str, ...]:
        """Where a query's text may call it, as patterns for Source."""
        call = f"{self.name} ("
        return f"{self.schema} . →{call}", call, *self.operators, self.name


@dataclass(frozen=True, slots=True)
class Output:
    """A column of a query's result."""

    name: str
    type: Type


@dataclass(frozen=True, slots=True)
class Described:
    """A query as Postgres understood it.

    `reads_clock`: CURRENT_DATE, CURRENT_USER and their like; `casts_by_text`: a cast that goes through a
    type's text form, which settings such as DateStyle can change.
    """

    text: str
    outputs: tuple[Output, ...]
    functions: frozenset[Function]
    reads_clock: bool
    casts_by_text: bool


@dataclass(frozen=True, slots=True)
class Field:
    """A column of a table."""

    name: str
    type: Type
    not_null: bool


def execute(
    conn: Connection, sql: str, params: Sequence[Any] | Mapping[str, Any] | None = None
) -> psycopg.Cursor[Any]:
    """Run SQL that was computed, with `params`; rows are tuples, whatever the caller has set."""
    return psycopg.Cursor(conn, row_factory=tuple_row).execute(sql, params)


def run_script(conn: Connection, script: str) -> None:
    """Run a script of several statements."""
    conn.execute(script, prepare=False)


def estimated_rows(conn: Connection, table: Table) -> int:
    """How many rows the planner expects in a table; also of one that was never analyzed it has an idea."""
    name = f"{quote_name(table.schema)}.{quote_name(table.name)}"
    row = execute(conn, f"EXPLAIN (FORMAT JSON) SELECT FROM {name}").fetchone()
    assert row is not None
    return int(row[0][0]["Plan"]["Plan Rows"])


@contextmanager
def savepoint(conn: Connection, *, undo: bool = False) -> Iterator[None]:
    """A savepoint in the caller's transaction, which is never committed here.

    With autocommit, where the caller has no transaction, it is a transaction of its own.
    """
    begin(conn)
    with conn.transaction(force_rollback=undo):
        yield


def begin(conn: Connection) -> None:
    """Check the connection and open the caller's transaction if he has none (never with autocommit)."""
    if conn.closed:
        raise ConnectionUnusable("the connection is closed", hint="open a new one with psycopg.connect()")
    status = conn.info.transaction_status
    if status == TransactionStatus.INERROR:
        raise ConnectionUnusable(
            "the connection's transaction has failed", hint="call rollback() on it first", sqlstate="25P02"
        )
    if status == TransactionStatus.ACTIVE:
        raise _busy()
    check_no_pipeline(conn)
    if conn.info.parameter_status("standard_conforming_strings") == "off":
        raise ConnectionUnusable(
            "the session takes a backslash in '...' for an escape",
            hint="SET standard_conforming_strings = on",
            sqlstate="55000",
        )
    if conn.info.server_version < 150000:
        raise UnsupportedServer(
            f"the server is PostgreSQL {conn.info.server_version // 10000}, older than 15",
            hint="upgrade it: group keys that are NULL need UNIQUE NULLS NOT DISTINCT, which 15 brought",
        )
    if status == TransactionStatus.IDLE and not conn.autocommit:
        conn.execute("SELECT")  # so that conn.transaction() makes a savepoint, and commits nothing


def check_no_pipeline(conn: Connection) -> None:
    """Raise ConnectionUnusable in a pipeline, where results come later."""
    if conn.pgconn.pipeline_status != PipelineStatus.OFF:
        raise _busy()


def _busy() -> ConnectionUnusable:
    hint = "leave its pipeline, COPY or stream first"
    return ConnectionUnusable("the connection is busy", hint=hint, sqlstate="55006")


@contextmanager
def qualified_names(conn: Connection) -> Iterator[None]:
    """Within this block Postgres prints every name outside pg_catalog with its schema."""
    sql = "SELECT current_setting('search_path'), set_config('search_path', 'pg_catalog', true)"
    before, _ = cast("tuple[str, str]", execute(conn, sql).fetchone())
    try:
        yield
    finally:
        if conn.info.transaction_status != TransactionStatus.INERROR:
            execute(conn, "SELECT set_config('search_path', %s, true)", [before])


def describe(conn: Connection, query: str, *, qualified: bool = False) -> Described:
    """Let Postgres read `query`; `qualified`: it names everything outside pg_catalog with its schema.

    Raises InvalidQuery with Postgres's own message, and its place in `query`, if it cannot.
    """
    with _probe(conn, query, qualified=qualified):
        if not qualified:
            execute(conn, _QUALIFIED)
        return _read_probe(conn)


def outputs_of(conn: Connection, query: str) -> tuple[Output, ...]:
    """The columns that Postgres gives the result of a query with qualified names; raises InvalidQuery."""
    with _probe(conn, query, qualified=True):
        return tuple(Output(f.name, f.type) for f in fields_of(conn, f"pg_temp.{_PROBE}"))


@contextmanager
def _probe(conn: Connection, query: str, *, qualified: bool) -> Iterator[None]:
    """Within this block the query is a temporary view."""
    try:
        with savepoint(conn, undo=True):
            run_script(conn, f"SET LOCAL client_min_messages = warning;{_QUALIFIED if qualified else ''}")
            execute(conn, _CREATE + query)
            yield
    except (psycopg.OperationalError, pg.ReadOnlySqlTransaction):
        raise
    except pg.Error as error:
        raise _refusal(error, query) from error


def _refusal(error: psycopg.Error, query: str) -> Exception:
    diag = error.diag
    message = diag.message_primary or str(error)
    place, line, column = "", None, None
    if diag.statement_position:
        offset = max(int(diag.statement_position) - 1 - len(_CREATE), 0)
        line, column = query.count("\n", 0, offset) + 1, offset - query.rfind("\n", 0, offset)
        place = f" at line {line}, column {column}"
    own = "the message is Postgres's own: correct the query until it runs there"
    hint = diag.message_hint or _HINTS.get(error.sqlstate or "", own)
    if "data-modifying statements in WITH" in message:
        verbs = ("insert into", "update", "delete from", "merge into")
        places = [f"{before} →{verb}" for before in ("(", ")") for verb in verbs]
        return Source(query).unsupported("a data-modifying CTE", *places, hint="write only SELECTs in WITH")
    if "SELECT INTO" in message:
        hint = "leave INTO out; the view has a name of its own"
        return Source(query).unsupported("SELECT INTO", "into", hint=hint)
    if isinstance(error, pg.InsufficientPrivilege):
        return InsufficientPrivilege(f"{message}{place}", hint=hint, sqlstate=diag.sqlstate)
    return InvalidQuery(f"{message}{place}", hint=hint, sqlstate=diag.sqlstate)


def _read_probe(conn: Connection) -> Described:
    row = execute(
        conn,
        """SELECT v.oid, pg_get_viewdef(v.oid) AS text, r.ev_action::text AS tree,
                  v.reloptions IS NOT NULL AS checks_writes
           FROM pg_class AS v JOIN pg_rewrite AS r ON r.ev_class = v.oid
           WHERE v.oid = to_regclass(%s)""",
        [f"pg_temp.{_PROBE}"],
    ).fetchone()
    assert row is not None
    oid, text, tree, checks_writes = row
    if checks_writes:
        raise UnsupportedQuery("WITH CHECK OPTION", hint="leave it out; a maintained view is not written")
    return Described(
        text=text.strip().rstrip(";"),
        outputs=tuple(Output(f.name, f.type) for f in fields_of(conn, str(oid))),
        functions=_functions(conn, tree),
        reads_clock="{SQLVALUEFUNCTION" in tree,
        casts_by_text="{COERCEVIAIO" in tree,
    )


def fields_of(conn: Connection, relation: str) -> tuple[Field, ...]:
    """The columns of a relation, given by its name or its oid."""
    rows = execute(
        conn,
        """SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                  t.oid, t.typtype = 'd', a.attcollation, t.typcollation
           FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
           WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped
           ORDER BY a.attnum""",
        [relation],
    ).fetchall()
    below = {oid: _below(conn, oid) for *_, oid, is_domain, _, _ in rows if is_domain}
    told_apart = _told_apart(conn, {(oid, collation) for *_, oid, _, collation, _ in rows})
    fields = []
    for name, shown, required, oid, _, collation, usual in rows:
        base, usual = below.get(oid, (shown, usual))
        own = None if collation == usual else _collation_name(conn, collation)
        fields.append(Field(name, Type(shown, base, own, *told_apart[oid, collation]), required))
    return tuple(fields)


def _below(conn: Connection, domain: int) -> tuple[str, int]:
    """The type below a domain, also below one of a domain, and its collation."""
    row = execute(
        conn,
        """WITH RECURSIVE below (type, typmod) AS (
               SELECT typbasetype, typtypmod FROM pg_type WHERE oid = %s
               UNION ALL
               SELECT d.typbasetype, d.typtypmod
               FROM below JOIN pg_type AS d ON d.oid = below.type AND d.typtype = 'd'
           )
           SELECT format_type(type, typmod), typcollation
           FROM below JOIN pg_type AS base ON base.oid = below.type AND base.typtype <> 'd'""",
        [domain],
    ).fetchone()
    assert row is not None
    name, collation = row
    return name, collation


def _collation_name(conn: Connection, oid: int) -> str | None:
    """The name of a collation as SQL; None if there is none."""
    row = execute(
        conn,
        """SELECT quote_ident(n.nspname) || '.' || quote_ident(c.collname)
           FROM pg_collation AS c JOIN pg_namespace AS n ON n.oid = c.collnamespace WHERE c.oid = %s""",
        [oid],
    ).fetchone()
    return row[0] if row is not None else None


def _told_apart(
    conn: Connection, types: Collection[tuple[int, int]]
) -> dict[tuple[int, int], tuple[str, str, bool]]:
    """For types, each with a collation or 0: `told_apart`, `equals` and `is_row` (see Type)."""
    found, asked = dict.fromkeys(types, ("value", "=", False)), []
    for oid, collation in types:
        if oid in _EXACT.values() and collation in _PLAIN_COLLATIONS:
            continue
        if oid in _SORTED:
            found[oid, collation] = ("order", "=", False)
        else:
            asked.append((oid, collation))
    if asked:
        parameters = [list(column) for column in zip(*asked, strict=True)]
        rows = execute(conn, _MADE_OF, [*parameters, list(_EXACT.values())])
        found |= {(oid, collation): (of, equals, row) for oid, collation, of, equals, row in rows}
    return found


def _functions(conn: Connection, tree: str) -> frozenset[Function]:
    """Every function behind the query: called by name, by an operator, or by a cast through text."""

    def oids(pattern: str) -> list[int]:
        return [int(oid) for oid in re.findall(pattern, tree)]

    rows = execute(
        conn,
        """WITH called (oid) AS (  -- with nothing else, so that each is looked up
               SELECT unnest(%(called)s::oid[])
               UNION SELECT oprcode FROM pg_operator WHERE oid = ANY (%(operators)s::oid[])
               UNION SELECT typinput FROM pg_type WHERE oid = ANY (%(parsed)s::oid[])
           )
           SELECT p.oid, n.nspname, p.proname, p.prokind,
                  CASE WHEN p.prokind = 'a' AND n.nspname <> 'pg_catalog' THEN (
                      -- 'i' < 's' < 'v': an aggregate is what the user's functions are that it is made of
                      SELECT coalesce(max(f.provolatile::text), 'i')
                      FROM pg_aggregate AS g JOIN pg_proc AS f
                          ON f.oid IN (aggtransfn, aggfinalfn, aggmtransfn, aggminvtransfn, aggmfinalfn)
                      WHERE g.aggfnoid = p.oid
                        AND (f.provolatile = 'v' OR f.pronamespace <> 'pg_catalog'::regnamespace)
                  ) ELSE p.provolatile::text END,
                  p.proretset, p.pronargs,
                  array(SELECT DISTINCT oprname::text FROM pg_operator
                        WHERE oprcode = p.oid AND oid = ANY (%(operators)s::oid[]) ORDER BY 1)
           FROM called JOIN pg_proc AS p USING (oid) JOIN pg_namespace AS n ON n.oid = p.pronamespace""",
        {
            "called": oids(r":(?:funcid|opfuncid|aggfnoid|winfnoid) (\d+)"),
            "operators": oids(r":opno (\d+)"),
            "parsed": oids(r"\{COERCEVIAIO .*? :resulttype (\d+)"),
        },
    )
    return frozenset(
        Function(oid, s, n, k, v, r, a, tuple(operators)) for oid, s, n, k, v, r, a, operators in rows
    )


def _typed_nulls(columns: Sequence[Column]) -> str:
    """Relations with these columns, as a FROM list; the planner, which calls functions of constants, must
    not see that they are NULL (OFFSET 0): a function may fail of that.
    """
    listed: dict[str, list[str]] = {}
    for c in columns:
        collate = f" COLLATE {c.type.collation}" if c.type.collation else ""
        listed.setdefault(c.relation, []).append(f"NULL::{c.type.name}{collate} AS {quote_name(c.name)}")
    return ", ".join(f"(SELECT {', '.join(t)} OFFSET 0) AS {quote_name(r)}" for r, t in listed.items())


def typed(conn: Connection, columns: Sequence[Column], expressions: Sequence[Expression]) -> list[Type]:
    """The types of expressions over some columns."""
    outputs = [f"{to_sql(e)} AS c{i}" for i, e in enumerate(expressions)]
    from_ = f" FROM {_typed_nulls(columns)}" if columns else ""
    try:
        return [o.type for o in outputs_of(conn, f"SELECT {', '.join(outputs)}{from_}")]
    except InvalidQuery as error:
        if "pseudo-type record" not in str(error):
            raise
        hint = "name its columns one by one, or give it a type: ROW(a, b)::a_type"
        raise UnsupportedQuery("a row (a, b) that has no type, as a value", hint=hint) from error


def of_no_rows(conn: Connection, columns: Sequence[Column], aggregate: Expression) -> str | None:
    """The text of an aggregate's value over no rows, None if that is NULL."""
    from_ = f" FROM {_typed_nulls(columns)}" if columns else ""
    with savepoint(conn), qualified_names(conn):
        row = execute(conn, f"SELECT ({to_sql(aggregate)})::text{from_} WHERE false").fetchone()
    return None if row is None else row[0]


def rows_of(
    conn: Connection, columns: Sequence[Column], source: str, alias: str, header: str
) -> tuple[Output, ...]:
    """The columns of an item of FROM that may read these columns."""
    name = quote_name(alias)
    before = f"{_typed_nulls(columns)}, " if columns else ""
    return outputs_of(conn, f"SELECT {name}.* FROM {before}LATERAL {source} AS {name}{header}")


def hashable(
    conn: Connection, columns: Sequence[Column], pairs: Sequence[tuple[Expression, Expression]]
) -> list[bool]:
    """For each pair of expressions over `columns`: whether values that are equal have equal hashes.

    That is so if the types of both have hash functions of one family (`hash_record` uses these), and no
    collation takes different texts for equal.
    """
    if not pairs:
        return []
    relations = _typed_nulls(columns)
    sides = ", ".join(to_sql(side) for pair in pairs for side in pair)
    collations = [c.type.collation for c in columns if c.type.collation]
    collations += [to_sql(c.expression) for pair in pairs for e in pair for c in e.find_all(exp.Collate)]
    with qualified_names(conn):
        described = (
            execute(
                conn, f"SELECT {sides} FROM {relations} LIMIT 0" if relations else f"SELECT {sides}"
            ).description
            or []
        )
        types = [d.type_code for d in described]
        family = dict(execute(conn, _HASH_FAMILY, [types]).fetchall())
        loose = execute(conn, _LOOSE_COLLATION, [collations]).fetchone()
    found = [family.get(t) for t in types]
    return [loose is None and a is not None and a == b for a, b in zip(found[::2], found[1::2], strict=True)]
