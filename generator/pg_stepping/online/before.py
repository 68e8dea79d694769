"""The tables of a view as they were when its changes began to be captured.

Law: while nothing takes an entry out of a log, a table without what its log holds is the same bag of rows in
every snapshot. So what is filled from these views, in however many transactions, fits together; and it is
the query over the tables without their logs, as delta/deferred.py wants the state to be.

Rows that agree in one column with none of the log's are taken as they are; the others are counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pg_stepping.backend.script import Definition
from pg_stepping.delta import Log, Stage, StageProgram, programs_of
from pg_stepping.delta.stage import SCHEMA
from pg_stepping.delta.terms import quote_table, regclass
from pg_stepping.frontend.dialect import quote_name
from pg_stepping.frontend.postgres import Connection, execute
from pg_stepping.ir import Plan, Scan, Table
from pg_stepping.ir.rewrite import with_inputs

# Columns by which rows can be told apart and put in order: the operators are those of pg_catalog. What the
# table is sorted by comes first, then what has an index, then what tells most rows apart.
_COLUMNS = """
SELECT a.attname::text, a.attnotnull AND c.relkind = 'r' AND NOT c.relhassubclass,
    coalesce(i.there AND abs(s.correlation) > 0.5, false)
FROM pg_attribute AS a
JOIN pg_class AS c ON c.oid = a.attrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_type AS t ON t.oid = a.atttypid
JOIN pg_opclass AS o ON o.opcintype = t.oid AND o.opcdefault
JOIN pg_am AS m ON m.oid = o.opcmethod AND m.amname = 'btree'
CROSS JOIN LATERAL (
    SELECT EXISTS (
        SELECT FROM pg_index
        WHERE indrelid = c.oid AND indisvalid AND indpred IS NULL AND indkey[0] = a.attnum
    ) AS there
) AS i
LEFT JOIN pg_stats AS s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = a.attname
    AND s.inherited = (c.relkind = 'p')
WHERE c.oid = %s::regclass AND a.attname = ANY (%s) AND t.typnamespace = 'pg_catalog'::regnamespace
    AND t.typtype = 'b'
ORDER BY 3 DESC, i.there DESC,
    CASE WHEN s.n_distinct < 0 THEN -s.n_distinct * c.reltuples ELSE s.n_distinct END DESC NULLS LAST,
    a.attnum
LIMIT 1"""


@dataclass(frozen=True, slots=True)
class By:
    """A column by whose values a table is divided; `sorted`: an index reads a range at little cost."""

    column: str
    not_null: bool
    sorted: bool


def divided_by(conn: Connection, log: Log) -> By | None:
    """The column that divides a table best, of those that are in its log."""
    names = [f.name for f in log.change.fields]
    row = execute(conn, _COLUMNS, [regclass(log.source), names]).fetchone()
    return By(*row) if row is not None else None


def before_view(log: Log, by: By | None) -> str:
    """CREATE VIEW of a table without what its log holds."""
    columns, weight = log.change.columns, log.change.weight
    shown = columns or "true AS present"
    untouched, counted = _divided(log, by)
    first = f"SELECT {shown} FROM {untouched}\nUNION ALL\n" if untouched else ""
    return (
        f"CREATE VIEW {quote_table(before(log))} AS\n{first}"
        f"SELECT {shown} FROM (\n{log.change.netted(counted)}\n) AS net"
        f" CROSS JOIN generate_series(1, net.{weight});"
    )


def never_had(log: Log, by: By | None) -> str:
    """A query of what a log says was added to its table, and neither is there nor was taken from it."""
    _, counted = _divided(log, by)
    return f"SELECT FROM (\n{log.change.netted(counted)}\n) AS net WHERE net.{log.change.weight} < 0 LIMIT 1"


def _divided(log: Log, by: By | None) -> tuple[str, str]:
    """The rows of a table that its log does not touch, as an item of FROM, and the others with weights."""
    source, logged, weight = quote_table(log.source), quote_table(log.table), log.change.weight
    comma = f"{log.change.columns}, " if log.change.columns else ""
    taken_back = f"SELECT {comma}-{weight} FROM {logged}"
    untouched, parts = "", [f"SELECT {comma}1 AS {weight} FROM {source} AS t"]
    if by is not None:
        k = quote_name(by.column)
        same = f"EXISTS (SELECT FROM {logged} AS l WHERE l.{k} = t.{k})"
        told_apart = f"NOT {same}" if by.not_null else f"t.{k} IS NOT NULL AND NOT {same}"
        untouched = f"{source} AS t WHERE {told_apart}"
        others = [same] if by.not_null else [same, f"t.{k} IS NULL"]
        parts = [f"{parts[0]} WHERE {other}" for other in others]
    return untouched, "(" + " UNION ALL\n    ".join([*parts, taken_back]) + ")"


def before(log: Log) -> Table:
    """The name of that view."""
    return Table(SCHEMA, log.table.name.replace("__log_", "__before_"))


def programs_before(definition: Definition) -> tuple[StageProgram, ...]:
    """The programs of a view in deferred mode, over its tables as they were."""
    assert definition.deferred is not None
    views = {log.source: before(log) for log in definition.deferred.logs}
    stages = [_over(p.stage, views) for p in definition.programs]
    return programs_of(stages, {p.stage.name: p.tree for p in definition.programs})


def _over(stage: Stage, tables: Mapping[Table, Table]) -> Stage:
    partition = stage.partition
    if partition is not None:
        partition = replace(partition, input=_moved(partition.input, tables))
    return replace(stage, input=_moved(stage.input, tables), partition=partition)


def _moved(plan: Plan, tables: Mapping[Table, Table]) -> Plan:
    if isinstance(plan, Scan):
        return replace(plan, table=tables.get(plan.table, plan.table))
    return with_inputs(plan, lambda p: _moved(p, tables))
