"""The new rows of state tables laid over those that they are to replace: a table as it will be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sqlglot import exp

from pg_stepping.delta.merge import REPLACES
from pg_stepping.delta.stage import Stage
from pg_stepping.delta.stages import flat
from pg_stepping.frontend.dialect import quote_name
from pg_stepping.ir import Column, Filter, Join, Plan, Scan, Table, Type
from pg_stepping.ir.nodes import Expression
from pg_stepping.ir.rewrite import with_inputs
from pg_stepping.ir.types import fresh, reference


def laid_over(stage: Stage, over: Mapping[Table, str], stages: Mapping[Table, Stage]) -> Stage:
    """The stage with the new rows of the state tables that it reads laid over them."""
    partition = stage.partition
    if partition is not None:
        partition = replace(partition, input=overlaid(partition.input, over, stages))
    return replace(stage, input=overlaid(stage.input, over, stages), partition=partition)


def overlaid(
    plan: Plan, over: Mapping[Table, str], stages: Mapping[Table, Stage], some: str | None = None
) -> Plan:
    """The plan with the new rows of state tables laid over them; `over` names the relation of each, `some` is
    the condition that they may have rows."""
    if isinstance(plan, Scan):
        return _scan(plan, over[plan.table], stages[plan.table], some) if plan.table in over else plan
    plan = with_inputs(plan, lambda p: overlaid(p, over, stages, some))
    if isinstance(plan, Join | Filter):
        plan = flat(plan)
        assert isinstance(plan, Join | Filter)
        return replace(plan, conditions=tuple(dict.fromkeys(plan.conditions)))
    return plan


def _scan(scan: Scan, overlay: str, stage: Stage, some: str | None) -> Plan:
    """The condition on places is all that readers pay while there are no new rows: it alone decides whether
    these are looked for, since it reads no other column.

    Which rows are replaced is no anti-join: that would be begun before a row of the state is found.
    """
    taken = {c.name for c in scan.fields}
    count = stage.count
    fields = [*scan.fields]
    if stage.kind != "total" and count.name not in taken:
        fields.append(Column(scan.relation, count.name, count.type))
        taken.add(count.name)
    place = fresh("place", taken)
    fields.append(Column(scan.relation, place, Type.of("tid")))
    old = f"{quote_name(scan.relation)}.{quote_name(place)}"
    changed = f"SELECT changed.{REPLACES} FROM {overlay} AS changed WHERE changed.{REPLACES} IS NOT NULL"
    test = f"({old} IS NULL OR {old} NOT IN ({changed}))"
    if some is not None:
        test = f"CASE WHEN {some} THEN {test} ELSE {old} IS NOT NULL END"
    conditions: list[Expression] = [exp.Var(this=test)]
    if stage.kind != "total":
        there = reference(scan.relation, count.name)
        conditions.insert(0, exp.NEQ(this=there, expression=exp.Literal.number(0)))
    return Filter(replace(scan, fields=tuple(fields), overlay=overlay), tuple(conditions))
