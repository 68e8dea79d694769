"""Deferred mode: what the changes in the logs will make of each stage, as a query that writes nothing.

Invariant, in every snapshot: the state is the query over the tables without the changes that their logs hold.
A row and its entry in the log are committed together, so this needs no lock. The same query serves both:
a reader lays its rows over the state; `apply` writes them to it and empties the logs, in one statement, so
that whoever reads meets all of that or nothing.

A table is New as it stands, and Old without its log; a state table is Old as it stands, and New with what
this query has found for it. Between the two the delta of a join is that of terms.py. What can only be
computed from rows, not from weights (partition.py, extremes), reads a state table with its new rows laid over
it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from textwrap import indent

from sqlglot import exp

from pg_stepping.delta.change import Change, change_of
from pg_stepping.delta.partition import INDENT, Anew
from pg_stepping.delta.program import Shape, source_key, stored_names
from pg_stepping.delta.recursion import Recursion
from pg_stepping.delta.refresh import STATE, afresh
from pg_stepping.delta.stages import SCHEMA, Published, Stage, flat
from pg_stepping.delta.terms import Changed, quote_table, terms
from pg_stepping.frontend.dialect import quote_name, to_sql
from pg_stepping.ir import Column, Filter, Join, Plan, Scan, Table, Type
from pg_stepping.ir.nodes import Expression
from pg_stepping.ir.rewrite import with_inputs
from pg_stepping.ir.types import NO_ORDER, fresh, reference

REPLACES = "replaces"
Relations = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Log:
    """Where the changes of a source table wait until they are applied; `netted` is the relation of its rows
    with their weights, in which what cancels has cancelled."""

    key: str
    source: Table
    table: Table
    change: Change
    netted: str

    @property
    def net(self) -> str:
        return self.change.netted(quote_table(self.table))


@dataclass(frozen=True, slots=True)
class StageChange:
    """The rows that are to replace some of a stage's state, as a query: it begins with WITH and `relations`.

    It has the columns of the state table after `replaces`, the place (ctid) of the row that goes; a row that
    only goes has a count of zero.
    """

    stage: Stage
    relations: tuple[tuple[str, str], ...]
    query: str


@dataclass(frozen=True, slots=True)
class Deferred:
    """What a view in deferred mode runs, from its logs to its state."""

    name: str
    logs: tuple[Log, ...]
    changes: tuple[StageChange, ...]
    published: Published


def pending_function(stage: Stage) -> str:
    """The function that gives readers a stage's change."""
    return f"{SCHEMA}.{quote_name(stage.name + '__pending')}"


def deferred_of(stages: Sequence[Stage], published: Published) -> Deferred:
    """The program of a view; it is called as its last stage is."""
    name = published.stage.name
    weight = fresh("weight", {n for s in stages for n in _names(s)})
    stages = [replace(s, weight=weight) for s in stages]
    own = {s.table for s in stages}
    sources = dict.fromkeys(scan.table for s in stages for scan in s.scans if scan.table not in own)
    logs = []
    tables = list(sources)
    for i, source in enumerate(tables, 1):
        fields = {f.name: f for s in stages for scan in s.scans if scan.table == source for f in scan.fields}
        table = Table(SCHEMA, f"{name}__log_{i}")
        change = change_of(tuple(fields.values()), weight)
        logs.append(Log(source_key(source, tables), source, table, change, f"log_{i}"))
    builder = _Builder(logs, weight)
    for stage in stages:
        builder.add(stage)
    over = {c.stage.table: f"{pending_function(c.stage)}()" for c in builder.changes}
    laid = replace(published, input=_overlaid(published.input, over, {s.table: s for s in stages}))
    return Deferred(name, tuple(logs), tuple(builder.changes), laid)


def _names(stage: Stage) -> set[str]:
    names = {f.name for s in stage.scans for f in s.fields} | {c.name for c in stage.core.columns}
    return names | {k.name for k in stage.keys} | {c.name for c in stage.state}


class _Builder:
    """Goes through the stages of a view; `below` are the relations that each table's change is read from."""

    def __init__(self, logs: Sequence[Log], weight: str) -> None:
        self.weight = weight
        self.changes: list[StageChange] = []
        self.below: dict[Table, tuple[tuple[str, str], ...]] = {
            log.source: ((log.netted, log.net),) for log in logs
        }
        self.tables = {log.source: quote_table(log.table) for log in logs}
        self.stages: dict[Table, Stage] = {}
        self.over: dict[Table, str] = {}

    def add(self, stage: Stage) -> None:
        """Add the change of a stage, whose inputs are there."""
        read = dict.fromkeys(s.table for s in stage.scans)
        rows = {t: self.below[t][-1][0] for t in read}
        changed = Changed(rows, self.tables, frozenset(self.stages))
        laid = replace(stage, input=_overlaid(stage.input, self.over, self.stages))
        own, query = (
            self._anew(stage, laid, changed) if stage.kind == "partition" else _summed(stage, laid, changed)
        )
        relations = [r for t in read for r in self.below[t]]
        self.changes.append(StageChange(stage, (*relations, *own), query))
        change, moved = f"change_{len(self.changes)}", f"moved_{len(self.changes)}"
        called = f"SELECT * FROM {pending_function(stage)}()"
        self.below[stage.table] = ((change, called), (moved, self._moved(stage, change)))
        self.tables[stage.table] = f"(SELECT * FROM {moved} OFFSET 0) AS moved"
        self.over[stage.table] = change
        self.stages[stage.table] = stage

    def _moved(self, stage: Stage, change: str) -> str:
        """The change of a stage as rows with weights."""
        weight = quote_name(self.weight)
        columns = [*stored_names(stage), *(r.sql_name for r in stage.results)]
        old = ", ".join(f"{STATE}.{c}" for c in columns)
        there = "" if stage.kind == "total" else f"\nWHERE {stage.count.sql_name} <> 0"
        return (
            f"SELECT {old}, -1 AS {weight}\nFROM {change} AS changed\n"
            f"JOIN {quote_table(stage.table)} AS {STATE} ON {STATE}.ctid = changed.{REPLACES}\n"
            f"UNION ALL\nSELECT {', '.join(columns)}, 1\nFROM {change}{there}"
        )

    def _anew(self, stage: Stage, laid: Stage, changed: Changed) -> tuple[Relations, str]:
        """The rows of the touched keys that are not as they are stored."""
        assert laid.partition is not None
        laid = replace(
            laid,
            partition=replace(laid.partition, input=_overlaid(laid.partition.input, self.over, self.stages)),
        )
        anew = Recursion(laid) if stage.is_recursive else Anew(laid)
        head, tail = Anew(stage).touched
        delta = head + _terms(stage, changed) + tail
        key, n = anew.row_key, anew.n
        columns = ", ".join(f"fresh.{quote_name(k.name)}" for k in stage.keys)
        return (
            [("delta", delta), ("fresh", anew.fresh), ("stored", anew.stored)],
            f"SELECT stored.ctid AS {REPLACES}, coalesce(fresh.{key}, stored.{key}) AS {key}, {columns},"
            f" coalesce(fresh.{n}, 0) AS {n}\n"
            f"FROM stored FULL JOIN fresh ON fresh.{key} = stored.{key}\n"
            f"WHERE stored.{n} IS DISTINCT FROM fresh.{n}",
        )


def _terms(stage: Stage, changed: Changed) -> str:
    found = map(Shape(stage).term, terms(stage.core, changed, stage.weight))
    return indent("\nUNION ALL\n".join(found), INDENT)


def _summed(stage: Stage, laid: Stage, changed: Changed) -> tuple[Relations, str]:
    """The rows of the touched groups, with the delta added to what is stored of them."""
    head, tail = Shape(stage).gather
    gathered = indent(head + _terms(stage, changed) + tail, INDENT)
    changes = " OR ".join(c.change_test() for c in stage.state)
    delta = f"SELECT *\nFROM (\n{gathered}\n) AS gathered\nWHERE {changes}"
    sums: dict[str, Expression] = {}
    for c in stage.state:
        if c.kind != "removed":
            before = f"coalesce({STATE}.{c.sql_name}, {c.zero})" if c.required else f"{STATE}.{c.sql_name}"
            sums[c.name] = c.merged(exp.Var(this=before), reference("delta", c.name))
    for c in stage.state:
        if c.kind == "removed":
            sums[c.name] = c.reaching(reference("delta", c.name), sums[c.beside])
    first = [quote_name(stage.row_key)] if stage.is_bag else []
    keys = [*first, *(quote_name(k.name) for k in stage.keys)]
    listed = [f"{STATE}.ctid AS {REPLACES}", *(f"delta.{k}" for k in keys)]
    listed += [f"({to_sql(sums[c.name])})::{c.type.name} AS {c.sql_name}" for c in stage.state]
    merged = "\nUNION ALL\n".join(
        f"SELECT {', '.join(listed)}\nFROM delta\nLEFT JOIN {quote_table(stage.table)} AS {STATE} ON {on}"
        for on in _on_key(stage)
    )
    n = stage.count.sql_name
    tests = [t for c in stage.state if (t := c.stale_test("merged"))]
    values: dict[str, Expression] = {c.name: reference("merged", c.name) for c in stage.state}
    lines = "FROM merged"
    if tests:
        stale = f"({' OR '.join(tests)})" + ("" if stage.kind == "total" else f" AND merged.{n} <> 0")
        for c in stage.state:
            if c.stale != "never":
                value = f"CASE WHEN {stale} THEN afresh.{c.sql_name} ELSE merged.{c.sql_name} END"
                values[c.name] = exp.Var(this=value)
        lines += f"\nCROSS JOIN LATERAL (\n{indent(afresh(laid, 'merged', stale), INDENT)}\n) AS afresh"
    columns = [f"merged.{REPLACES}", *(f"merged.{k}" for k in keys)]
    columns += [f"{to_sql(values[c.name])} AS {c.sql_name}" for c in stage.state]
    columns += [f"({r.over(values)})::{r.type.name} AS {r.sql_name}" for r in stage.results]
    return [("delta", delta), ("merged", merged)], f"SELECT {', '.join(columns)}\n{lines}"


def _on_key(stage: Stage) -> list[str]:
    """How a row of `delta` finds that of its key; by itself for keys that are NULL, which no hash finds."""
    if stage.is_bag:
        key = quote_name(stage.row_key)
        return [f"{STATE}.{key} = delta.{key}"]
    not_null = {(c.relation, c.name) for p in stage.core.parts for c in p.columns if c.not_null}
    pairs, nullable = [], []
    for k in stage.keys:
        text = "::text" if k.type.base in NO_ORDER else ""
        name = quote_name(k.name)
        pairs.append((f"{STATE}.{name}{text}", f"delta.{name}{text}"))
        sure = isinstance(k.expression, exp.Column) and (k.expression.table, k.expression.name) in not_null
        if not sure and stage.kind != "total":
            nullable.append(f"delta.{name}")
    equal = " AND ".join(f"{a} = {b}" for a, b in pairs)
    if not nullable:
        return [equal]
    same = " AND ".join(f"({a} = {b} OR ({a} IS NULL AND {b} IS NULL))" for a, b in pairs)
    none = " AND ".join(f"{name} IS NOT NULL" for name in nullable)
    return [f"{equal}\nWHERE {none}", f"{same}\nWHERE NOT ({none})"]


def _overlaid(plan: Plan, over: Mapping[Table, str], stages: Mapping[Table, Stage]) -> Plan:
    """The plan with the new rows of state tables laid over them; `over` names the relation of each."""
    if isinstance(plan, Scan):
        return _scan(plan, over[plan.table], stages[plan.table]) if plan.table in over else plan
    plan = with_inputs(plan, lambda p: _overlaid(p, over, stages))
    if isinstance(plan, Join | Filter):
        plan = flat(plan)
        assert isinstance(plan, Join | Filter)
        return replace(plan, conditions=tuple(dict.fromkeys(plan.conditions)))
    return plan


def _scan(scan: Scan, overlay: str, stage: Stage) -> Plan:
    taken = {c.name for c in scan.fields}
    count = stage.count
    fields = [*scan.fields]
    if stage.kind != "total" and count.name not in taken:
        fields.append(Column(scan.relation, count.name, count.type))
        taken.add(count.name)
    place = fresh("place", taken)
    fields.append(Column(scan.relation, place, Type.of("tid")))
    old = f"{quote_name(scan.relation)}.{quote_name(place)}"
    gone: Expression = exp.Var(
        this=f"NOT EXISTS (SELECT FROM {overlay} AS changed WHERE changed.{REPLACES} = {old})"
    )
    conditions = [gone]
    if stage.kind != "total":
        there = reference(scan.relation, count.name)
        conditions.insert(0, exp.NEQ(this=there, expression=exp.Literal.number(0)))
    return Filter(replace(scan, fields=tuple(fields), overlay=overlay), tuple(conditions))
