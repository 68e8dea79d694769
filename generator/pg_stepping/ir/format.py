"""A plan as stable text, for people and for comparison."""

from __future__ import annotations

from pg_stepping.frontend.dialect import to_sql
from pg_stepping.ir.nodes import (
    Aggregate,
    Call,
    Filter,
    Item,
    Join,
    Outer,
    Partition,
    Plan,
    Project,
    Recursive,
    Rows,
    Scan,
    Union,
)


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
            on = f"Join {_all(plan.conditions)}" if plan.conditions else "Join (every combination)"
            return "; ".join([on, *map(_outer, plan.outers)])
        case Rows():
            return f"Rows of {to_sql(plan.source)} as {plan.relation}{plan.header}"
        case Recursive():
            every = "each row once" if plan.distinct else "every row"
            return (
                f"Recursive {plan.name} as {plan.relation}, {every}: the rows of the first, then the second"
            )
        case Union():
            return f"Union all as {plan.relation}"
        case Partition():
            by = f" by {', '.join(map(_item, plan.keys))}" if plan.keys else " of all rows"
            group = f" grouped by {', '.join(map(to_sql, plan.group))}" if plan.group else ""
            ranks = f" with {', '.join(map(_item, plan.ranks))}" if plan.ranks else ""
            where = f" where {_all(plan.conditions)}" if plan.conditions else ""
            return f"Partition{by}: {', '.join(map(_item, plan.items))}{group}{ranks}{where}"
        case Project():
            return "Project " + ", ".join(map(_item, plan.items))
        case Aggregate():
            by = f" by {', '.join(map(_item, plan.keys))}" if plan.keys else " over all rows"
            return f"Aggregate {', '.join(map(_call, plan.calls)) or 'no values'}{by}"


def _outer(outer: Outer) -> str:
    names = dict.fromkeys(c.relation for c in outer.input.columns)
    return f"left {', '.join(names)} on {_all(outer.conditions) or 'true'}"


def _all(conditions: tuple) -> str:  # type: ignore[type-arg]
    return " and ".join(map(to_sql, conditions))


def _item(item: Item) -> str:
    return f"{item.name} {item.type.sql} = {to_sql(item.expression)}"


def _call(call: Call) -> str:
    argument = ", ".join(map(to_sql, call.arguments)) or "*"
    condition = f" where {to_sql(call.condition)}" if call.condition is not None else ""
    distinct = "distinct " if call.distinct else ""
    return f"{call.name} {call.type.sql} = {call.function}({distinct}{argument}){condition}"
