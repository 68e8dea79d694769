"""Subqueries that only compute columns disappear into their readers."""

from __future__ import annotations

from dataclasses import replace

from pg_stepping.ir import Plan, Project
from pg_stepping.ir.nodes import Expression
from pg_stepping.ir.rewrite import rebuild, substitute


def inline_projections(plan: Project) -> Project:
    """Replace each projection below the root by its expressions, where its columns are read.

       SELECT q.y + 1 FROM (SELECT x * 2 AS y FROM t) AS q
    -> SELECT (x * 2) + 1 FROM t
    """
    columns: dict[tuple[str, str], Expression] = {}

    def inline(node: Plan) -> Plan:
        inputs = tuple(inline(i) for i in node.inputs)
        node = rebuild(node, inputs, lambda e: substitute(e, columns))
        if isinstance(node, Project):
            columns.update({(node.relation, i.name): i.expression for i in node.items})
            return node.input
        return node

    below = inline(plan.input)
    items = tuple(replace(i, expression=substitute(i.expression, columns)) for i in plan.items)
    return replace(plan, input=below, items=items)
