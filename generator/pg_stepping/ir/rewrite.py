"""Building one plan from another: new inputs, new expressions, columns replaced by expressions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import cast

from sqlglot import exp

from pg_stepping.frontend.dialect import quote_name, to_sql
from pg_stepping.ir.nodes import (
    Aggregate,
    Call,
    Expression,
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
    columns_read,
)
from pg_stepping.ir.types import fresh, reference

Columns = Mapping[tuple[str, str], Expression]

_ATOMIC = (exp.Column, exp.Literal, exp.Anonymous, exp.Paren, exp.Null, exp.Boolean)


def with_inputs(plan: Plan, change: Callable[[Plan], Plan]) -> Plan:
    """The node over changed inputs; its expressions must still be readable from them."""
    return rebuild(plan, tuple(change(i) for i in plan.inputs), lambda e: e)


def rebuild(plan: Plan, inputs: tuple[Plan, ...], change: Callable[[Expression], Expression]) -> Plan:
    """The node over other inputs, with every expression changed to fit them."""

    def all_(expressions: tuple[Expression, ...]) -> tuple[Expression, ...]:
        return tuple(map(change, expressions))

    def items(named: tuple[Item, ...]) -> tuple[Item, ...]:
        return tuple(_item(i, change) for i in named)

    match plan:
        case Scan() | Rows():
            return plan
        case Union():
            return replace(plan, parts=cast(tuple[Project, ...], inputs))
        case Recursive():
            seed, step = cast(tuple[Project, Project], inputs)
            return replace(plan, seed=seed, step=step)
        case Join():
            return _rebuilt_join(plan, inputs, change)
        case Filter():
            return Filter(inputs[0], all_(plan.conditions))
        case Project():
            return replace(plan, input=inputs[0], items=items(plan.items))
        case Aggregate():
            calls = tuple(_call(c, change) for c in plan.calls)
            return replace(plan, input=inputs[0], keys=items(plan.keys), calls=calls)
        case Partition():
            return replace(
                plan,
                input=inputs[0],
                keys=items(plan.keys),
                items=items(plan.items),
                group=None if plan.group is None else all_(plan.group),
                ranks=items(plan.ranks),
            )


def _rebuilt_join(plan: Join, inputs: tuple[Plan, ...], change: Callable[[Expression], Expression]) -> Join:
    """Its sources of rows are changed with it: they read what it joins."""
    changed = [replace(i, source=change(i.source)) if isinstance(i, Rows) else i for i in inputs]
    size, outer = len(plan.parts), len(plan.outers)
    matches = iter(changed[size + outer :])
    outers = tuple(
        Outer(
            input,
            tuple(map(change, o.conditions)),
            None if o.match is None else next(matches),
            tuple(map(change, o.match_conditions)),
            o.mutual,
        )
        for o, input in zip(plan.outers, changed[size : size + outer], strict=True)
    )
    return Join(tuple(changed[:size]), tuple(map(change, plan.conditions)), outers)


def _item(item: Item, change: Callable[[Expression], Expression]) -> Item:
    return replace(item, expression=change(item.expression))


def _call(call: Call, change: Callable[[Expression], Expression]) -> Call:
    return replace(
        call,
        argument=change(call.argument) if call.argument is not None else None,
        second=change(call.second) if call.second is not None else None,
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

    return expression.transform(one)


def identity(plan: Plan) -> str:
    """A text that two plans share if they compute the same columns, of the same names, in the same way."""
    return repr(renamed(plan, set(), "relation")[0])


def renamed(
    plan: Plan, names: set[str], word: str | None = None
) -> tuple[Plan, dict[tuple[str, str], Expression]]:
    """A copy of the plan in which every relation has a fresh name, made from its own or from `word`; returns
    how the new columns are read."""
    columns: dict[tuple[str, str], Expression] = {}

    def one(node: Plan) -> Plan:
        inputs = tuple(one(i) for i in node.inputs)
        node = rebuild(node, inputs, lambda e: substitute(e, columns))
        if isinstance(node, Filter | Join):
            return node
        name = fresh(word or node.relation, names)
        mine = {(node.relation, c.name): reference(name, c.name) for c in node.columns}
        if isinstance(node, Partition):
            mine |= {(node.relation, r.name): reference(name, r.name) for r in node.ranks}
            node = replace(node, conditions=tuple(substitute(c, mine) for c in node.conditions))
        columns.update(mine)
        if isinstance(node, Scan | Rows):
            return replace(node, relation=name, fields=tuple(replace(c, relation=name) for c in node.fields))
        return replace(node, relation=name)

    return one(plan), columns


def rows_in(plan: Plan) -> list[Rows]:
    return [plan] if isinstance(plan, Rows) else [r for i in plan.inputs for r in rows_in(i)]


def is_own(plan: Plan, recursive: Recursive) -> bool:
    """Whether a relation of the step is the rows that the recursion has found so far."""
    return isinstance(plan, Rows) and to_sql(plan.source) == f"(TABLE {quote_name(recursive.name)})"


def outside(plan: Plan) -> set[tuple[str, str]]:
    """The columns that the plan reads but does not have: those of the query around it."""
    sources = columns_read(plan.source) if isinstance(plan, Rows) else columns_read(*plan.expressions)
    read = set(sources).union(*(outside(i) for i in plan.inputs))
    return read - {(c.relation, c.name) for i in plan.inputs for c in i.columns}
