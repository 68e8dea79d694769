"""Building one plan from another: new inputs, new expressions, columns replaced by expressions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from sqlglot import exp

from pg_stepping.ir.nodes import Aggregate, Call, Expression, Filter, Item, Join, Plan, Project, Scan

Columns = Mapping[tuple[str, str], Expression]

_ATOMIC = (exp.Column, exp.Literal, exp.Anonymous, exp.Paren, exp.Null, exp.Boolean)


def with_inputs(plan: Plan, change: Callable[[Plan], Plan]) -> Plan:
    """The node over changed inputs; its expressions must still be readable from them."""
    match plan:
        case Scan():
            return plan
        case Join():
            return replace(plan, parts=tuple(change(p) for p in plan.parts))
        case Filter() | Project() | Aggregate():
            return replace(plan, input=change(plan.input))


def rebuild(plan: Plan, inputs: tuple[Plan, ...], change: Callable[[Expression], Expression]) -> Plan:
    """The node over other inputs, with every expression changed to fit them."""
    match plan:
        case Scan():
            return plan
        case Join():
            return Join(inputs, tuple(change(c) for c in plan.conditions))
        case Filter():
            return Filter(inputs[0], tuple(change(c) for c in plan.conditions))
        case Project():
            return replace(plan, input=inputs[0], items=tuple(_item(i, change) for i in plan.items))
        case Aggregate():
            return replace(
                plan,
                input=inputs[0],
                keys=tuple(_item(k, change) for k in plan.keys),
                calls=tuple(_call(c, change) for c in plan.calls),
            )


def _item(item: Item, change: Callable[[Expression], Expression]) -> Item:
    return replace(item, expression=change(item.expression))


def _call(call: Call, change: Callable[[Expression], Expression]) -> Call:
    return replace(
        call,
        argument=change(call.argument) if call.argument is not None else None,
        condition=change(call.condition) if call.condition is not None else None,
    )


def substitute(expression: Expression, columns: Columns) -> Expression:
    """The expression with columns replaced, in parentheses where they are needed.

    >>> from pg_stepping.frontend.dialect import parse, to_sql
    >>> to_sql(substitute(parse("a.x * 2"), {("a", "x"): parse("b.y + 1")}))
    '(b.y + 1) * 2'
    """

    def one(node: Expression) -> Expression:
        if isinstance(node, exp.Column) and (node.table, node.name) in columns:
            new = columns[node.table, node.name].copy()
            return new if isinstance(new, _ATOMIC) or node.parent is None else exp.Paren(this=new)
        return node

    return expression.copy().transform(one)
