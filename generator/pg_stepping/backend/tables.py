"""The tables of a stage: its state, its indexes, and where changes wait."""

from __future__ import annotations

from collections.abc import Sequence

from pg_stepping.delta import Stage, StageProgram
from pg_stepping.delta.keys import Keys
from pg_stepping.delta.stage import SCHEMA
from pg_stepping.delta.terms import quote_table
from pg_stepping.frontend.dialect import quote_lines, quote_name
from pg_stepping.ir import Table, Type
from pg_stepping.ir.types import NO_ORDER, fresh


def state_table(stage: Stage, describe: str) -> str:
    """CREATE TABLE for the state of a stage, with the index that finds a row by its key."""
    lines: list[str] = []
    unique, by = quote_name(f"{stage.name}_key"), ", ".join(stage.unique_by)
    if stage.is_bag:
        lines.append(f"{quote_name(stage.row_key)} bytea NOT NULL")
    for key in stage.keys:
        required = f" NOT NULL CHECK ({quote_name(key.name)})" if stage.kind == "total" else ""
        lines.append(f"{quote_name(key.name)} {key.type.sql}{required}")
    default = " DEFAULT '0'" if stage.kind == "total" else ""
    values = [
        (c.type, f"{c.sql_name} " + (f"{c.type.name} NOT NULL{default}" if c.required else c.type.sql))
        for c in stage.state
    ]
    values += [(result.type, f"{result.sql_name} {result.type.sql}") for result in stage.results]
    if stage.stripes:
        own = f"pg_catalog.mod(pg_catalog.pg_backend_pid(), {stage.stripes})"
        small = Type.of("smallint")
        values.append((small, f"{quote_name(stage.stripe)} {small.name} NOT NULL DEFAULT {own}"))
    # numerics last: Postgres finds what stands before the first column of varying width fastest
    lines += [line for _, line in sorted(values, key=lambda value: value[0].base.startswith("numeric"))]
    if stage.is_bag:
        lines.append(f"CONSTRAINT {unique} PRIMARY KEY ({by})")
    elif stage.is_sorted:
        lines.append(f"CONSTRAINT {unique} UNIQUE NULLS NOT DISTINCT ({by})")
    if stage.unique:
        lines.append(f"CONSTRAINT rows_are_unique CHECK ({stage.count.sql_name} <= 1)")
    body = ",\n    ".join(lines)
    table = quote_table(stage.table)
    # Groups are updated in place: with room for that on a page the index is spared (benchmarks/bloat.py).
    options = " WITH (fillfactor = 90)" if stage.kind == "groups" else ""
    created = f"CREATE TABLE {table} (\n    {body}\n){options};\n"
    created += f"COMMENT ON TABLE {table} IS {quote_lines(describe)};"
    indexes = (
        [] if stage.is_sorted else [f"CREATE UNIQUE INDEX {unique} ON {table} ({by}) NULLS NOT DISTINCT;"]
    )
    unsorted = {k.name for k in stage.keys if k.type.base in NO_ORDER}
    for columns in stage.looked_up:
        using = " USING hash" if len(columns) == 1 and unsorted.intersection(columns) else ""
        listed = [quote_name(c) for c in columns if using or c not in unsorted]
        indexes.append(f"CREATE INDEX ON {table}{using} ({', '.join(listed)});")
    return "\n".join([created, *indexes])


def row_type_tables(name: str, tables: Sequence[Table]) -> str:
    """A table for each whose whole rows the view `name` reads: it uses the type of these rows."""
    lines = [
        "-- The view reads whole rows: empty tables with such a column tell of which tables. It is right as\n"
        "-- long as these rows have the columns that they have now."
    ]
    for i, table in enumerate(tables, 1):
        own = quote_table(Table(SCHEMA, f"{name}__row_{i}"))
        lines.append(f"CREATE TABLE {own} (row_of {quote_table(table)});")
    return "\n".join(lines)


def key_table(keys: Keys) -> str:
    """CREATE TABLE for the rows by which the keys of a stage are held."""
    table, unique = quote_table(keys.table), quote_name(f"{keys.stage.name}__keys_key")
    columns = ",\n    ".join(f"{quote_name(c.name)} {c.type.sql}" for c in keys.columns)
    says = f"The keys of {keys.stage.table}: whoever computes one anew writes its row first."
    return (
        f"CREATE TABLE {table} (\n    {columns},\n    {keys.writes} bigint NOT NULL\n);\n"
        f"CREATE UNIQUE INDEX {unique} ON {table} ({', '.join(keys.unique_by)}) NULLS NOT DISTINCT;\n"
        f"COMMENT ON TABLE {table} IS {quote_lines(says)};"
    )


def aside_tables(program: StageProgram) -> str:
    """The tables where changes wait while others of the same statement are still to come.

    The planner guesses their rows from their pages: a column that seems wide lets it expect one row a page,
    and so look up what joins with it by an index.
    """
    tables = [
        "-- Where changes wait while a statement has more of them to come; empty at all other times.\n"
        "-- The padding, which nobody fills, lets the planner expect few rows."
    ]
    for source in program.sources:
        columns = [f"{quote_name(c.name)} {c.type.sql}" for c in source.change.fields]
        columns.append(f"{source.change.weight} integer")
        taken = {c.name for c in source.change.fields} | {program.stage.weight}
        columns.append(f"{quote_name(fresh('padding', taken))} character(8000)")
        tables.append(f"CREATE UNLOGGED TABLE {quote_table(source.aside)} ({', '.join(columns)});")
    asides = ", ".join(quote_table(s.aside) for s in program.sources)
    tables.append(f"ANALYZE {asides};")
    return "\n".join(tables)
