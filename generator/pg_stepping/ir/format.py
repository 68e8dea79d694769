"""A plan as stable text, for people and for comparison."""

from __future__ import annotations

from pg_stepping.frontend.dialect import to_sql
from pg_stepping.ir.nodes import Aggregate, Call, Filter, Item, Join, Plan, Project, Scan


def format_plan(plan: Plan, indent: int = 0) -> str:
    """The plan as an indented tree, inputs below their reader."""
    lines = ["  " * indent + describe_node(plan)]
    lines += [format_plan(i, indent + 1) for i in plan.inputs]
    return "\n".join(lines)


def describe_node(plan: Plan) -> str:
    """One line for one operator."""
    match plan:
        case Scan():
            columns = ", ".join(f"{c.name} {c.type.sql}" for c in plan.fields) or "no columns"
            alias = f" as {plan.relation}" if plan.relation != plan.table.name else ""
            copies = f", each {plan.copies} times" if plan.copies else ""
            return f"Scan {plan.table}{alias} ({columns}){copies}"
        case Filter():
            return f"Filter {_all(plan.conditions)}"
        case Join():
            return f"Join {_all(plan.conditions)}" if plan.conditions else "Join (every combination)"
        case Project():
            return "Project " + ", ".join(map(_item, plan.items))
        case Aggregate():
            by = f" by {', '.join(map(_item, plan.keys))}" if plan.keys else " over all rows"
            return f"Aggregate {', '.join(map(_call, plan.calls)) or 'no values'}{by}"


def _all(conditions: tuple) -> str:  # type: ignore[type-arg]
    return " and ".join(map(to_sql, conditions))


def _item(item: Item) -> str:
    return f"{item.name} {item.type.sql} = {to_sql(item.expression)}"


def _call(call: Call) -> str:
    argument = to_sql(call.argument) if call.argument is not None else "*"
    condition = f" where {to_sql(call.condition)}" if call.condition is not None else ""
    return f"{call.name} {call.type.sql} = {call.function}({argument}){condition}"
