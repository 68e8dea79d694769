"""Source tables: made from Data classes, or checked against them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from psycopg.rows import tuple_row
from sqlglot import exp

from pg_stepping.frontend.dialect import quote_name
from pg_stepping.frontend.postgres import Connection, execute
from pg_stepping.frontend.python.operators import Filter, Join, Map, Neg, Operator, Source
from pg_stepping.frontend.python.rows import leaves, named_leaves, stored_columns
from pg_stepping.frontend.python.scalar import Scalar
from pg_stepping.frontend.python.types import type_name


@dataclass(frozen=True, slots=True)
class SourceTable:
    """The table of a source, in the schema where the store has it."""

    schema: str
    name: str
    source: Source

    @property
    def sql(self) -> str:
        return f"{quote_name(self.schema)}.{quote_name(self.name)}"

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    def create(self, conn: Connection, keys: Sequence[tuple[str, ...]]) -> None:
        """Make the table, with an index on each of `keys`, which Postgres names `<table>_<columns>_idx`."""
        fields = [
            f"{quote_name(name)} {kind.sql}{'' if kind.nullable else ' NOT NULL'}"
            for name, kind in stored_columns(self.source.row)
        ]
        execute(conn, f"CREATE TABLE {self.sql} ({', '.join(fields)})")
        for key in keys:
            execute(conn, f"CREATE INDEX ON {self.sql} ({', '.join(map(quote_name, key))})")

    def differences(self, conn: Connection) -> list[str] | None:
        """In what the table is not what the source's Data class needs; None if there is no such table."""
        found = _columns_of(conn, self.schema, self.name)
        if not found:
            return None
        differences = []
        fields = dict(stored_columns(self.source.row))
        for name, kind in fields.items():
            column = found.get(name)
            wanted = f"{kind.sql}{'' if kind.nullable else ' NOT NULL'}"
            if column is None:
                differences.append(f"the column {name} ({wanted}) is missing")
            elif (column.type, column.nullable) != (kind.sql, kind.nullable):
                there = f"{column.type}{'' if column.nullable else ' NOT NULL'}"
                differences.append(f"the column {name} is {there}, not {wanted}")
            elif not column.exact:
                differences.append(f"the column {name} has a collation by which unlike texts are equal")
        differences += [
            f"the column {name}, which {type_name(self.source.row_type)} has not,"
            " is NOT NULL without a default"
            for name, column in found.items()
            if name not in fields and not column.nullable and not column.filled
        ]
        return [f"table {self.schema}.{self.name}: {difference}" for difference in differences]


@dataclass(frozen=True, slots=True)
class _Column:
    """A column as it is there; `filled` by Postgres if an INSERT leaves it out, `exact` if only like texts
    are equal."""

    type: str
    nullable: bool
    filled: bool
    exact: bool


def _columns_of(conn: Connection, schema: str, name: str) -> dict[str, _Column]:
    cursor = conn.cursor(row_factory=tuple_row)
    sql = """SELECT a.attname, format_type(coalesce(nullif(t.typbasetype, 0), t.oid),
                                           CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END),
                    NOT a.attnotnull, a.atthasdef OR a.attidentity <> '',
                    o.collisdeterministic IS NOT FALSE
             FROM pg_attribute AS a
             JOIN pg_type AS t ON t.oid = a.atttypid
             JOIN pg_class AS c ON c.oid = a.attrelid
             JOIN pg_namespace AS n ON n.oid = c.relnamespace
             LEFT JOIN pg_collation AS o ON o.oid = a.attcollation
             WHERE n.nspname = %s AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped
             ORDER BY a.attnum"""
    return {name: _Column(*rest) for name, *rest in cursor.execute(sql, [schema, name])}


def join_keys(operator: Operator) -> Iterator[tuple[Source, tuple[str, ...]]]:
    """The columns of source tables by which the joins of an operator look rows up."""
    if isinstance(operator, Join):
        for side, key in ((operator.left, operator.on_left), (operator.right, operator.on_right)):
            yield from _plain_columns(side, key)
    for below in operator.inputs:
        yield from join_keys(below)


def _plain_columns(operator: Operator, key: Sequence[Scalar]) -> Iterator[tuple[Source, tuple[str, ...]]]:
    """The key as columns of one table, if it is that."""
    origins = [_origin(operator, column.expression) for column in key]
    found = [origin for origin in origins if origin is not None]
    if found and len(found) == len(origins) and len({id(source) for source, _ in found}) == 1:
        yield found[0][0], tuple(name for _, name in found)


def _origin(operator: Operator, expression: exp.Expression) -> tuple[Source, str] | None:
    """The source and the column that an expression over the rows of `operator` reads unchanged."""
    if not isinstance(expression, exp.Column):
        return None
    path = expression.name
    match operator:
        case Source():
            names = zip(leaves(operator.row), named_leaves(operator.row), strict=True)
            return next(((operator, name) for (p, _), (name, _) in names if ".".join(p) == path), None)
        case Join():
            side, _, rest = path.partition(".")
            return _origin(operator.left if side == "left" else operator.right, exp.column(rest))
        case Filter() | Neg():
            return _origin(operator.input, expression)
        case Map():
            below = {".".join(p): leaf for p, leaf in leaves(operator.row)}.get(path)
            return None if below is None else _origin(operator.input, below.expression)
    return None
