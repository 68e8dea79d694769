"""Where a join says that two columns are equal, one of them is read for both."""

from __future__ import annotations

from typing import cast

from sqlglot import exp

from pg_stepping.ir import Aggregate, Filter, Join, Partition, Plan, Project, Type
from pg_stepping.ir.nodes import Expression
from pg_stepping.ir.rewrite import rebuild, substitute

# Types whose equal values cannot be told apart by any function; numeric (1.0 = 1.00) is not one of them.
_EXACT = frozenset(("smallint", "integer", "bigint", "uuid", "date", "boolean", "oid"))
_EXACT_PREFIXES = ("timestamp with", "time without")


def is_exact(type_: Type) -> bool:
    """Whether equal values of the type are the same value in every respect."""
    return type_.name in _EXACT or type_.name.startswith(_EXACT_PREFIXES)


def share_columns(plan: Project) -> Project:
    """Above a join, read the first of the columns that it makes equal.

       SELECT users.user_id FROM meters JOIN users ON meters.user_id = users.user_id
    -> SELECT meters.user_id FROM meters JOIN users ON meters.user_id = users.user_id
    """
    columns: dict[tuple[str, str], Expression] = {}

    def share(node: Plan) -> Plan:
        inputs = tuple(share(i) for i in node.inputs)
        if isinstance(node, Join | Filter):
            _note_equalities(node, columns)
            return rebuild(node, inputs, lambda e: e)
        node = rebuild(node, inputs, lambda e: substitute(e, columns))
        if isinstance(node, Aggregate | Partition):
            columns.clear()  # what is read above a grouping is its output, not the join's columns
        return node

    return cast(Project, share(plan))


def _note_equalities(node: Join | Filter, columns: dict[tuple[str, str], Expression]) -> None:
    types = {(c.relation, c.name): c.type for c in node.columns}
    leader: dict[tuple[str, str], tuple[str, str]] = {}

    def first(column: tuple[str, str]) -> tuple[str, str]:
        while column in leader:
            column = leader[column]
        return column

    for condition in node.conditions:
        a, b = condition.args.get("this"), condition.args.get("expression")
        if not (isinstance(condition, exp.EQ) and isinstance(a, exp.Column) and isinstance(b, exp.Column)):
            continue
        low, high = sorted((first((a.table, a.name)), first((b.table, b.name))))
        if low != high and types[low] == types[high] and is_exact(types[low]):
            leader[high] = low
    for column in leader:
        low = first(column)
        columns[column] = next(c for c in node.columns if (c.relation, c.name) == low).ref
