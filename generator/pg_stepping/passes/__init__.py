"""The passes: each a function from plan to plan, run in this order. The result of a query never changes."""

from __future__ import annotations

from collections.abc import Callable

from pg_stepping.ir import Project
from pg_stepping.passes.flatten_joins import flatten_joins
from pg_stepping.passes.inline_projections import inline_projections
from pg_stepping.passes.name_relations import name_relations
from pg_stepping.passes.prune_columns import prune_columns
from pg_stepping.passes.share_columns import share_columns

Pass = Callable[[Project], Project]

PASSES: tuple[Pass, ...] = (
    inline_projections,  # first: a projection between two joins keeps them from being one
    flatten_joins,
    name_relations,  # needs all inputs of a join side by side; gives the order that the rest keeps
    share_columns,  # needs all equalities of a join in one place
    prune_columns,  # last: the passes before decide which columns are read
)


def run_passes(plan: Project, passes: tuple[Pass, ...] = PASSES) -> Project:
    """The plan after every pass."""
    for step in passes:
        plan = step(plan)
    return plan
