"""The published view: what readers select from."""

from __future__ import annotations

from sqlglot import exp

from pg_stepping.delta import Published
from pg_stepping.delta.terms import quote_table
from pg_stepping.frontend.dialect import quote_lines, quote_name, to_sql
from pg_stepping.ir import Item, Table
from pg_stepping.ir.nodes import Expression


def view(published: Published, name: Table, describe: str) -> str:
    """CREATE VIEW over the last state table, closed to writes."""
    stage, relation = published.stage, quote_name(published.relation)
    columns = ",\n    ".join(_column(i) for i in published.items)
    source = f"FROM {quote_table(stage.table)} AS {relation}"
    if stage.kind == "rows" and not stage.unique:
        source += f"\nCROSS JOIN generate_series(1, {relation}.{stage.count.sql_name}) AS copies"
    where = " AND ".join(_condition(c, len(published.conditions)) for c in published.conditions)
    end = f"\nWHERE {where}" if where else ""
    quoted = quote_table(name)
    return (
        f"CREATE VIEW {quoted} AS\nSELECT\n    {columns}\n{source}{end};\n"
        f"COMMENT ON VIEW {quoted} IS {quote_lines(describe)};\n"
        f"CREATE TRIGGER refuse_write INSTEAD OF INSERT OR UPDATE OR DELETE ON {quoted}\n"
        f"    FOR EACH ROW EXECUTE FUNCTION stepping.refuse_write();"
    )


def _column(item: Item) -> str:
    read = to_sql(item.expression)
    plain = isinstance(item.expression, exp.Column) and item.expression.name == item.name
    return read if plain else f"{read} AS {quote_name(item.name)}"


def _condition(condition: Expression, of: int) -> str:
    return to_sql(condition) if of == 1 else f"({to_sql(condition)})"


def index(published: Published, columns: tuple[str, ...]) -> str:
    """CREATE INDEX on the state table, for the published columns that the user named."""
    by_name = {i.name: i.expression for i in published.items}
    parts = []
    for column in columns:
        expression = by_name[column].copy()
        for read in list(expression.find_all(exp.Column)):
            read.set("table", None)
        plain = isinstance(expression, exp.Column)
        parts.append(to_sql(expression) if plain else f"({to_sql(expression)})")
    return f"CREATE INDEX ON {quote_table(published.stage.table)} ({', '.join(parts)});"
