"""The tables of a stage: its state, its indexes, and where changes wait."""

from __future__ import annotations

from collections.abc import Sequence

from pg_stepping.delta import Stage, StageProgram
from pg_stepping.delta.keys import Keys
from pg_stepping.delta.stage import SCHEMA
from pg_stepping.delta.stripes import own_stripe
from pg_stepping.delta.terms import quote_table
from pg_stepping.frontend.dialect import quote_lines, quote_name
from pg_stepping.ir import Table, Type
from pg_stepping.ir.types import fresh


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
        small = Type.of("smallint")
        column = f"{quote_name(stage.stripe)} {small.name} NOT NULL DEFAULT {own_stripe(stage)}"
        values.append((small, column))
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
    says = [f"COMMENT ON TABLE {table} IS {quote_lines(describe)};"]
    says += [f"COMMENT ON COLUMN {table}.{name} IS {quote_lines(text)};" for name, text in _columns(stage)]
    created += "\n".join(says)
    indexes = (
        [] if stage.is_sorted else [f"CREATE UNIQUE INDEX {unique} ON {table} ({by}) NULLS NOT DISTINCT;"]
    )
    unsorted = {k.name for k in stage.keys if not k.type.sorts}
    for columns in stage.looked_up:
        using = " USING hash" if len(columns) == 1 and unsorted.intersection(columns) else ""
        listed = [quote_name(c) for c in columns if using or c not in unsorted]
        indexes.append(f"CREATE INDEX ON {table}{using} ({', '.join(listed)});")
    return "\n".join([created, *indexes])


def _columns(stage: Stage) -> list[tuple[str, str]]:
    """What each column is for that readers of the view do not see, by its name as SQL."""
    own = [(quote_name(stage.row_key), "SHA-256 of the row, by which it is found.")] if stage.is_bag else []
    rows = "How often the row is there." if stage.is_bag else "Of how many rows the group is made."
    own += [(c.sql_name, rows if c is stage.count else c.describe()) for c in stage.state]
    own += [(r.sql_name, "A result, ready for readers: computed from the state.") for r in stage.results]
    return own + ([(quote_name(stage.stripe), _says_of_stripe(stage))] if stage.stripes else [])


def _says_of_stripe(stage: Stage) -> str:
    return f"Which of the {stage.stripes} rows of its group this is: each writer adds to one."


def spread(stage: Stage) -> str:
    """From here on writers of a table that had one stripe take their own."""
    column = quote_name(stage.stripe)
    return (
        f"ALTER TABLE {quote_table(stage.table)} ALTER COLUMN {column} SET DEFAULT {own_stripe(stage)};\n"
        f"COMMENT ON COLUMN {quote_table(stage.table)}.{column} IS {quote_lines(_says_of_stripe(stage))};"
    )


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
        aside = quote_table(source.aside)
        says = f"Changes of {source.table} that wait for the end of the running statement; else empty."
        tables.append(f"CREATE UNLOGGED TABLE {aside} ({', '.join(columns)});")
        tables.append(f"COMMENT ON TABLE {aside} IS {quote_lines(says)};")
    asides = ", ".join(quote_table(s.aside) for s in program.sources)
    tables.append(f"ANALYZE {asides};")
    return "\n".join(tables)
