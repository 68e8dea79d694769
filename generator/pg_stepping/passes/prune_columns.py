"""Tables are read for the columns that the query uses, and no others."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from pg_stepping.ir import Aggregate, Plan, Project, Scan
from pg_stepping.ir.nodes import columns_read
from pg_stepping.ir.rewrite import with_inputs


def prune_columns(plan: Project) -> Project:
    """Drop the columns of tables, and the aggregates, that nothing above them reads.

    SELECT x FROM (SELECT * FROM t) AS q      reads only t.x
    """
    return cast(Project, prune(plan, set()))


def prune(plan: Plan, wanted: set[tuple[str, str]]) -> Plan:
    """The plan with only the columns of tables that it, or what is `wanted` above it, reads."""
    if isinstance(plan, Scan):
        copies = (plan.relation, plan.copies)
        used = (c for c in plan.fields if (c.relation, c.name) in wanted or (c.relation, c.name) == copies)
        return replace(plan, fields=tuple(used))
    if isinstance(plan, Aggregate):
        plan = replace(plan, calls=tuple(c for c in plan.calls if (plan.relation, c.name) in wanted))
    below = wanted | set(columns_read(*plan.expressions))
    return with_inputs(plan, lambda i: prune(i, below))
