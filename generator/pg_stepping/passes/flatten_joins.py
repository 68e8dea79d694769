"""Joins and the filters around them become one join."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from pg_stepping.ir import Filter, Join, Outer, Plan, Project
from pg_stepping.ir.nodes import Expression
from pg_stepping.ir.rewrite import with_inputs


def flatten_joins(plan: Project) -> Project:
    """Make nested joins and filters one n-ary join with all their conditions.

        (a JOIN b ON p) JOIN (SELECT * FROM c WHERE q) ON r WHERE s
     -> a, b, c WHERE p AND q AND r AND s

    Outer joins come after all inner ones: (a LEFT JOIN b) JOIN c is (a JOIN c) LEFT JOIN b, with the inner
    join's condition as a filter over both. A filter over a grouping stays where it is: it is a HAVING.
    """
    return cast(Project, flatten(plan))


def flatten(plan: Plan) -> Plan:
    """The same for any plan."""
    plan = with_inputs(plan, flatten)
    if not isinstance(plan, Filter | Join):
        return plan
    parts: list[Plan] = []
    conditions: list[Expression] = []
    outers: list[Outer] = []
    _gather(plan, parts, conditions, outers)
    if len(parts) + len(outers) > 1:
        return Join(tuple(parts), tuple(conditions), tuple(outers))
    return Filter(parts[0], tuple(conditions)) if conditions else parts[0]


def _gather(plan: Plan, parts: list[Plan], conditions: list[Expression], outers: list[Outer]) -> None:
    if not isinstance(plan, Filter | Join):
        parts.append(plan)
        return
    for node in plan.parts if isinstance(plan, Join) else (plan.input,):
        _gather(node, parts, conditions, outers)
    conditions.extend(plan.conditions)
    if isinstance(plan, Join):
        outers.extend(map(_bare, plan.outers))


def _bare(outer: Outer) -> Outer:
    """The filter of an optional side among the conditions of its join."""
    while isinstance(outer.input, Filter):
        outer = replace(
            outer, input=outer.input.input, conditions=(*outer.conditions, *outer.input.conditions)
        )
    return outer
