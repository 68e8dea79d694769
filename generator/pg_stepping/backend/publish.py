"""The published view: what readers select from."""

from __future__ import annotations

from sqlglot import exp

from pg_stepping.delta import Published
from pg_stepping.delta.terms import named, quote_table, whole
from pg_stepping.frontend.dialect import quote_lines, to_sql
from pg_stepping.ir import Table


def view(published: Published, name: Table, describe: str) -> str:
    """CREATE VIEW over the last state table, closed to writes."""
    quoted = quote_table(name)
    return (
        f"CREATE VIEW {quoted} AS\n{_query(published)};\n"
        f"COMMENT ON VIEW {quoted} IS {quote_lines(describe)};\n"
        f"CREATE TRIGGER refuse_write INSTEAD OF INSERT OR UPDATE OR DELETE ON {quoted}\n"
        f"    FOR EACH ROW EXECUTE FUNCTION stepping.refuse_write();"
    )


def replaced(published: Published, name: Table, options: str = "") -> str:
    """The same for a view that is there, with these columns: what is said of it, granted and set stays."""
    return f"CREATE OR REPLACE VIEW {quote_table(name)}{options} AS\n{_query(published)};"


def _query(published: Published) -> str:
    columns = ",\n    ".join(named(i.expression, i.name) for i in published.items)
    return f"SELECT\n    {columns}\n" + "\n".join(whole(published.core))


def index(published: Published, columns: tuple[str, ...]) -> str:
    """CREATE INDEX on the state table, for the published columns that the user named."""
    return f"CREATE INDEX ON {quote_table(published.stage.table)} {indexed(published, columns)};"


def indexed(published: Published, columns: tuple[str, ...]) -> str:
    """What such an index is on, in parentheses."""
    by_name = {i.name: i.expression for i in published.items}
    parts = []
    for column in columns:
        expression = by_name[column].copy()
        for read in list(expression.find_all(exp.Column)):
            read.set("table", None)
        plain = isinstance(expression, exp.Column)
        parts.append(to_sql(expression) if plain else f"({to_sql(expression)})")
    return f"({', '.join(parts)})"
