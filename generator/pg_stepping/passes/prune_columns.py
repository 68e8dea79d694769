"""Tables are read for the columns that the query uses, and no others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import cast

from pg_stepping.ir import Aggregate, Join, Partition, Plan, Project, Scan, Union
from pg_stepping.ir.nodes import columns_read
from pg_stepping.ir.rewrite import identity, with_inputs


def prune_columns(plan: Project) -> Project:
    """Drop the columns of tables, and the aggregates, that nothing above them reads.

    SELECT x FROM (SELECT * FROM t) AS q      reads only t.x

    Of stateful operators that compute the same, each keeps what any of them is read for: so they stay alike,
    and one stage can serve for all (see delta/stages.py).
    """
    alike = _alike(plan)
    read: dict[str, set[str]] = {}
    while True:
        before = sum(map(len, read.values()))
        pruned = cast(Project, prune(plan, set(), alike, read))
        if sum(map(len, read.values())) == before:
            return pruned


def _alike(plan: Plan) -> dict[str, str]:
    """What the stateful operators compute of which there are several, by the names of their relations."""
    nodes = [n for n in _nodes(plan) if isinstance(n, Aggregate | Partition)]
    computed = {n.relation: identity(n) for n in nodes if len(nodes) > 1}
    times = Counter(computed.values())
    return {relation: text for relation, text in computed.items() if times[text] > 1}


def _nodes(plan: Plan) -> Iterator[Plan]:
    yield plan
    for i in plan.inputs:
        yield from _nodes(i)


def prune(
    plan: Plan,
    wanted: set[tuple[str, str]],
    alike: Mapping[str, str] = MappingProxyType({}),
    read: dict[str, set[str]] | None = None,
) -> Plan:
    """The plan with only the columns that it, or what is `wanted` above it, reads.

    `read` collects what is read of the operators that are `alike`, and they keep what it has.
    """
    if isinstance(plan, Scan):
        copies = (plan.relation, plan.copies)
        used = (c for c in plan.fields if (c.relation, c.name) in wanted or (c.relation, c.name) == copies)
        return replace(plan, fields=tuple(used))
    if isinstance(plan, Union | Aggregate | Partition):
        kept = {name for relation, name in wanted if relation == plan.relation}
        if read is not None and plan.relation in alike:
            kept |= read.get(alike[plan.relation], set())
            read[alike[plan.relation]] = kept
    if isinstance(plan, Union):
        parts = (replace(p, items=tuple(i for i in p.items if i.name in kept)) for p in plan.parts)
        plan = replace(plan, parts=tuple(parts))
    elif isinstance(plan, Aggregate):
        plan = replace(plan, calls=tuple(c for c in plan.calls if c.name in kept))
    elif isinstance(plan, Partition):
        needed = {name for _, name in columns_read(*plan.conditions)}
        hidden = tuple(i for i in plan.items if i.name in needed - kept)
        items = tuple(i for i in plan.items if i.name in kept) or plan.items[:1]
        hidden = tuple(i for i in hidden if i not in items)
        plan = replace(plan, items=items, ranks=(*plan.ranks, *hidden))
    below = wanted | set(columns_read(*plan.expressions))
    if isinstance(plan, Join):
        plan = _prune_outers(plan, below)
    return with_inputs(plan, lambda i: prune(i, below, alike, read))


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
