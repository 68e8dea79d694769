"""Inner joins and the filters around them become one join."""

from __future__ import annotations

from typing import cast

from pg_stepping.ir import Filter, Join, Plan, Project
from pg_stepping.ir.nodes import Expression
from pg_stepping.ir.rewrite import with_inputs


def flatten_joins(plan: Project) -> Project:
    """Make nested joins and filters one n-ary join with all their conditions.

        (a JOIN b ON p) JOIN (SELECT * FROM c WHERE q) ON r WHERE s
     -> a, b, c WHERE p AND q AND r AND s

    A filter over a grouping stays where it is: it is a HAVING.
    """
    return cast(Project, _flatten(plan))


def _flatten(plan: Plan) -> Plan:
    plan = with_inputs(plan, _flatten)
    if not isinstance(plan, Filter | Join):
        return plan
    parts: list[Plan] = []
    conditions: list[Expression] = []
    _gather(plan, parts, conditions)
    if len(parts) > 1:
        return Join(tuple(parts), tuple(conditions))
    return Filter(parts[0], tuple(conditions)) if conditions else parts[0]


def _gather(plan: Plan, parts: list[Plan], conditions: list[Expression]) -> None:
    if not isinstance(plan, Filter | Join):
        parts.append(plan)
        return
    for node in plan.inputs:
        _gather(node, parts, conditions)
    conditions.extend(plan.conditions)
