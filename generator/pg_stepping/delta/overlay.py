"""The new rows of state tables laid over those that they are to replace: a table as it will be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sqlglot import exp

from pg_stepping.delta.merge import replaces
from pg_stepping.delta.stage import Stage
from pg_stepping.delta.stages import flat
from pg_stepping.delta.terms import NOWHERE
from pg_stepping.frontend.dialect import quote_name
from pg_stepping.ir import Column, Filter, Join, Plan, Scan, Table, Type
from pg_stepping.ir.rewrite import with_inputs
from pg_stepping.ir.types import fresh


def laid_over(stage: Stage, over: Mapping[Table, str], stages: Mapping[Table, Stage]) -> Stage:
    """The stage with the new rows of the state tables that it reads laid over them."""
    partition = stage.partition
    if partition is not None:
        partition = replace(partition, input=overlaid(partition.input, over, stages))
    return replace(stage, input=overlaid(stage.input, over, stages), partition=partition)


def overlaid(
    plan: Plan,
    over: Mapping[Table, str],
    stages: Mapping[Table, Stage],
    kept: Mapping[Table, str] | None = None,
) -> Plan:
    """The plan with the new rows of state tables laid over them; `over` names the relation of each. With
    `kept` a row is there if its place is in that set (see kept_function), or if that is NULL."""
    if isinstance(plan, Scan):
        if plan.table not in over:
            return plan
        return _scan(
            plan, over[plan.table], stages[plan.table], kept[plan.table] if kept is not None else None
        )
    plan = with_inputs(plan, lambda p: overlaid(p, over, stages, kept))
    if isinstance(plan, Join | Filter):
        plan = flat(plan)
        assert isinstance(plan, Join | Filter)
        return replace(plan, conditions=tuple(dict.fromkeys(plan.conditions)))
    return plan


def _scan(scan: Scan, overlay: str, stage: Stage, kept: str | None) -> Plan:
    """The condition on places is all that readers pay while there are no new rows: it alone decides whether
    these are looked for, since it reads no other column.

    Which rows are replaced is no anti-join: that would be begun before a row of the state is found.
    """
    place = fresh("place", {c.name for c in scan.fields})
    at = f"{quote_name(scan.relation)}.{quote_name(place)}"
    if kept is not None:
        test = f"coalesce({at} <@ {kept}, {at} <> {NOWHERE})"
    else:
        gone = replaces(stage)
        replaced = f"SELECT changed.{gone} FROM {overlay} AS changed WHERE changed.{gone} IS NOT NULL"
        test = f"({at} = {NOWHERE} OR {at} NOT IN ({replaced}))"
    there = "" if stage.kind == "total" else f" WHERE {stage.count.sql_name} <> 0"
    fields = (*scan.fields, Column(scan.relation, place, Type.of("tid")))
    return Filter(replace(scan, fields=fields, overlay=f"{overlay}{there}"), (exp.Var(this=test),))
