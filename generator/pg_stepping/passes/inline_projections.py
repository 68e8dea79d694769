"""Subqueries that only compute columns disappear into their readers."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from pg_stepping.ir import Filter, Item, Join, Plan, Project, Recursive, Union
from pg_stepping.ir.nodes import Expression
from pg_stepping.ir.rewrite import rebuild, substitute
from pg_stepping.ir.types import fresh

Columns = dict[tuple[str, str], Expression]


def inline_projections(plan: Project) -> Project:
    """Replace each projection below the root by its expressions, where its columns are read.

       SELECT q.y + 1 FROM (SELECT x * 2 AS y FROM t) AS q
    -> SELECT (x * 2) + 1 FROM t

    Not so the parts of a union, and not what an outer join makes NULL: a join there becomes a projection.
    """
    columns: Columns = {}
    below = _inline(plan.input, columns)
    items = tuple(replace(i, expression=substitute(i.expression, columns)) for i in plan.items)
    return replace(plan, input=below, items=items)


def _inline(node: Plan, columns: Columns) -> Plan:
    if isinstance(node, Union):
        return replace(node, parts=tuple(_inside(p, columns) for p in node.parts))
    if isinstance(node, Recursive):
        return replace(node, seed=_inside(node.seed, columns), step=_inside(node.step, columns))
    if isinstance(node, Join):
        optional = {id(o.input) for o in node.outers}
        inputs = tuple(
            _optional(i, columns) if id(i) in optional else _inline(i, columns) for i in node.inputs
        )
        return rebuild(node, inputs, lambda e: substitute(e, columns))
    node = rebuild(node, tuple(_inline(i, columns) for i in node.inputs), lambda e: substitute(e, columns))
    if isinstance(node, Project):
        columns.update({(node.relation, i.name): i.expression for i in node.items})
        return node.input
    return node


def _inside(node: Project, columns: Columns) -> Project:
    """The projection with those below it inlined."""
    below = _inline(node.input, columns)
    items = tuple(replace(i, expression=substitute(i.expression, columns)) for i in node.items)
    return replace(node, input=below, items=items)


def _optional(node: Plan, columns: Columns) -> Plan:
    """The optional side of an outer join: one relation, perhaps filtered."""
    if isinstance(node, Project):
        node = _inside(node, columns)
        plain = all(isinstance(i.expression, exp.Column) for i in node.items)
        if not plain or isinstance(_unfiltered(node.input), Join):
            return node
        columns.update({(node.relation, i.name): i.expression for i in node.items})
        return node.input
    node = _inline(node, columns)
    return _projected(node, columns) if isinstance(_unfiltered(node), Join) else node


def _unfiltered(node: Plan) -> Plan:
    while isinstance(node, Filter):
        node = node.input
    return node


def _projected(node: Plan, columns: Columns) -> Project:
    taken: set[str] = set()
    items = tuple(Item(fresh(c.name, taken), c.ref, c.type) for c in node.columns)
    first = node.columns[0].relation
    project = Project(node, f"{first} joined", items)
    there = {(c.relation, c.name): r.ref for c, r in zip(node.columns, project.columns, strict=True)}
    columns.update({key: substitute(e, there) for key, e in columns.items()})
    columns.update(there)
    return project
