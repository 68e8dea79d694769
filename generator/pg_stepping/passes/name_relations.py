"""Relations get their names, and a join's inputs and conditions their order, from the tables alone."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from sqlglot import exp

from pg_stepping.frontend.dialect import to_sql
from pg_stepping.ir import (
    Aggregate,
    Call,
    Column,
    Filter,
    Join,
    Partition,
    Plan,
    Project,
    Recursive,
    Rows,
    Scan,
    Union,
)
from pg_stepping.ir.nodes import Expression
from pg_stepping.ir.rewrite import rebuild, substitute
from pg_stepping.ir.types import fresh, reference

# What the statements of a delta program call their own relations.
RESERVED = (
    "afresh",
    "again",
    "candidate",
    "change",
    "changed",
    "deleted",
    "delta",
    "derived",
    "doomed",
    "each",
    "excluded",
    "extent",
    "following",
    "found",
    "fresh",
    "gone",
    "held",
    "inserted",
    "keyed",
    "maintain",
    "outcome",
    "ranked",
    "released",
    "seed",
    "seeds",
    "stale",
    "state",
    "term",
    "touched",
    "united",
)


def name_relations(plan: Project) -> Project:
    """Name each relation after its table and sort what has no order, so that equal queries have equal plans.

       FROM reads AS r JOIN meters AS m ON r.meter_id = m.meter_id
    -> FROM meters JOIN reads ON meters.meter_id = reads.meter_id
    """
    taken = set(RESERVED)
    columns: dict[tuple[str, str], Expression] = {}

    def rename(old: str, wanted: str, names: list[str]) -> str:
        new = fresh(wanted, taken)
        columns.update({(old, n): reference(new, n) for n in names})
        return new

    def name(node: Plan) -> Plan:
        inputs = node.inputs
        if isinstance(node, Join):
            size = len(node.parts)
            inputs = (*sorted(inputs[:size], key=_order), *inputs[size:])
        named = tuple(name(i) for i in inputs)
        if isinstance(node, Join) and list(map(id, inputs)) != list(map(id, node.inputs)):
            node = replace(node, parts=tuple(inputs[: len(node.parts)]))
        node = rebuild(node, named, lambda e: substitute(e, columns))
        match node:
            case Scan() | Rows():
                wanted = node.table.name if isinstance(node, Scan) else node.relation
                relation = rename(node.relation, wanted, [c.name for c in node.fields])
                return replace(node, relation=relation, fields=_moved(node.fields, relation))
            case Aggregate():
                return _name_calls(node, rename(node.relation, "grouped", []), columns)
            case Filter() | Join():
                conditions = tuple(sorted({_oriented(c) for c in node.conditions}, key=to_sql))
                return replace(node, conditions=conditions)
            case Union():
                return replace(node, relation=rename(node.relation, "both", [c.name for c in node.columns]))
            case Recursive():
                names = [c.name for c in node.columns]
                return replace(node, relation=rename(node.relation, "recursive", names))
            case Project():
                return replace(node, relation=rename(node.relation, "inner", [c.name for c in node.columns]))
            case Partition():
                names = [i.name for i in (*node.items, *node.ranks)]
                relation = rename(node.relation, "computed", names)
                conditions = tuple(substitute(c, columns) for c in node.conditions)
                return replace(node, relation=relation, conditions=conditions)

    return replace(cast(Project, name(plan)), relation="result")


def _moved(fields: tuple[Column, ...], relation: str) -> tuple[Column, ...]:
    return tuple(replace(c, relation=relation) for c in fields)


def _name_calls(node: Aggregate, relation: str, columns: dict[tuple[str, str], Expression]) -> Aggregate:
    """Name each aggregate after its function and argument."""
    taken = {k.name for k in node.keys}
    calls = []
    for call in sorted(node.calls, key=_call_order):
        suffix = f"_{call.argument.name}" if isinstance(call.argument, exp.Column) else ""
        function = call.function.rpartition(".")[2]
        calls.append(replace(call, name=fresh(function + suffix, taken)))
        columns[node.relation, call.name] = reference(relation, calls[-1].name)
    for key in node.keys:
        columns[node.relation, key.name] = reference(relation, key.name)
    return replace(node, relation=relation, calls=tuple(calls))


def _call_order(call: Call) -> tuple[str, ...]:
    parts = (call.argument, call.second, call.condition)
    return (call.function, str(call.distinct), *(to_sql(e) if e is not None else "" for e in parts))


def _order(plan: Plan) -> tuple[str, ...]:
    if isinstance(plan, Scan):
        return (plan.table.name, plan.table.schema)
    return ("~", *(word for i in plan.inputs for word in _order(i)))


def _oriented(condition: Expression) -> Expression:
    """`b = a` as `a = b`, for columns."""
    both = (condition.args.get("this"), condition.args.get("expression"))
    columns = isinstance(condition, exp.EQ) and all(isinstance(side, exp.Column) for side in both)
    if columns and to_sql(condition.this) > to_sql(condition.expression):
        return exp.EQ(this=condition.expression.copy(), expression=condition.this.copy())
    return condition
