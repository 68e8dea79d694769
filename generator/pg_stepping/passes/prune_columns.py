"""Tables are read for the columns that the query uses, and no others."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from pg_stepping.ir import Aggregate, Join, Partition, Plan, Project, Scan, Union
from pg_stepping.ir.nodes import columns_read
from pg_stepping.ir.rewrite import with_inputs


def prune_columns(plan: Project) -> Project:
    """Drop the columns of tables, and the aggregates, that nothing above them reads.

    SELECT x FROM (SELECT * FROM t) AS q      reads only t.x
    """
    return cast(Project, prune(plan, set()))


def prune(plan: Plan, wanted: set[tuple[str, str]]) -> Plan:
    """The plan with only the columns that it, or what is `wanted` above it, reads."""
    if isinstance(plan, Scan):
        copies = (plan.relation, plan.copies)
        used = (c for c in plan.fields if (c.relation, c.name) in wanted or (c.relation, c.name) == copies)
        return replace(plan, fields=tuple(used))
    if isinstance(plan, Union):
        kept = {name for relation, name in wanted if relation == plan.relation}
        parts = (replace(p, items=tuple(i for i in p.items if i.name in kept)) for p in plan.parts)
        plan = replace(plan, parts=tuple(parts))
    elif isinstance(plan, Aggregate):
        plan = replace(plan, calls=tuple(c for c in plan.calls if (plan.relation, c.name) in wanted))
    elif isinstance(plan, Partition):
        kept = {name for relation, name in wanted if relation == plan.relation}
        read = {name for _, name in columns_read(*plan.conditions)}
        hidden = tuple(i for i in plan.items if i.name in read - kept)
        items = tuple(i for i in plan.items if i.name in kept) or plan.items[:1]
        hidden = tuple(i for i in hidden if i not in items)
        plan = replace(plan, items=items, ranks=(*plan.ranks, *hidden))
    below = wanted | set(columns_read(*plan.expressions))
    if isinstance(plan, Join):
        plan = _prune_outers(plan, below)
    return with_inputs(plan, lambda i: prune(i, below))


def _prune_outers(plan: Join, wanted: set[tuple[str, str]]) -> Join:
    """Projections that are the optional side of an outer join, without outputs that nobody reads."""
    return replace(
        plan,
        outers=tuple(
            replace(o, input=replace(i, items=tuple(c for c in i.items if (i.relation, c.name) in wanted)))
            if isinstance(i := o.input, Project)
            else o
            for o in plan.outers
        ),
    )
