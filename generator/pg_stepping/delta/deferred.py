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

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pg_stepping.delta.change import change_of
from pg_stepping.delta.keyed_step import KeyedStep, keyed_steps_of
from pg_stepping.delta.merge import Log, StageChange, computed_anew, moved_rows, summed
from pg_stepping.delta.overlay import laid_over, overlaid
from pg_stepping.delta.program import source_key
from pg_stepping.delta.selection import selection
from pg_stepping.delta.stage import SCHEMA, Published, Stage
from pg_stepping.delta.step import Step, steps_of
from pg_stepping.delta.terms import Changed, quote_table
from pg_stepping.frontend.dialect import quote_name
from pg_stepping.ir import Plan, Project, Table, Union
from pg_stepping.ir.nodes import columns_read
from pg_stepping.ir.types import fresh
from pg_stepping.passes.prune_columns import prune


@dataclass(frozen=True, slots=True)
class Deferred:
    """What a view in deferred mode runs, from its logs to its state; `steps` (delta/step.py) and, where these
    cannot, `keyed_steps` apply a part of a log. Where there are none, all is applied at once."""

    name: str
    logs: tuple[Log, ...]
    changes: tuple[StageChange, ...]
    published: Published
    steps: tuple[Step, ...] = ()
    keyed_steps: tuple[KeyedStep, ...] = ()

    @property
    def shown(self) -> tuple[Stage, ...]:
        """The stages whose state readers see."""
        tables = {scan.table for scan in self.published.core.scans}
        return tuple(c.stage for c in self.changes if c.stage.table in tables)


def pending_function(stage: Stage) -> str:
    """The function that gives readers a stage's change, which they call if there is something in the logs."""
    return f"{SCHEMA}.{quote_name(stage.name + '__pending')}"


def kept_function(stage: Stage) -> str:
    """The function that gives readers the places of all rows of a stage's state but those that its change
    replaces: as one value, which is looked into for each row that is read."""
    return f"{SCHEMA}.{quote_name(stage.name + '__kept')}"


def waiting(logs: Sequence[Log]) -> str:
    """The condition that there is something in the logs."""
    return " OR ".join(f"EXISTS (SELECT FROM {quote_table(log.table)})" for log in logs)


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
        readers = [s for s in stages if any(scan.table == source for scan in s.scans)]
        some = not any(s.is_recursive for s in readers)
        where = selection([s.core for s in readers], source, logged=True) if some else None
        change = change_of(tuple(fields.values()), weight, where)
        logs.append(Log(source_key(source, tables), source, table, change, f"log_{i}"))
    builder = _Builder(logs, weight)
    for stage in stages:
        builder.add(stage)
    over = {c.stage.table: f"{pending_function(c.stage)}()" for c in builder.changes}
    by_table = {s.table: s for s in stages}
    shown = prune(published.input, set(columns_read(*(i.expression for i in published.items))))
    kept = {s.table: f"(SELECT {kept_function(s)}() WHERE {waiting(logs)})" for s in stages}
    laid = replace(published, input=overlaid(shown, over, by_table, kept))
    steps, keyed = steps_of(stages, logs, weight), keyed_steps_of(stages, logs, weight)
    return Deferred(name, tuple(logs), tuple(builder.changes), laid, steps, keyed)


def _names(stage: Stage) -> set[str]:
    names = {f.name for s in stage.scans for f in s.fields} | {c.name for c in stage.core.columns}
    return names | {k.name for k in stage.keys} | {c.name for c in stage.state}


def _computed(plan: Plan) -> dict[str, Plan]:
    """The relations below a plan that are computed from tables, by their names."""
    own = {plan.relation: plan} if isinstance(plan, Project | Union) else {}
    return own | {name: p for i in plan.inputs for name, p in _computed(i).items()}


def _looked_into(changes: str) -> str:
    """Changes beside a table, so that Postgres looks a key up by the table's index and reads these as they
    come. They are netted ones: on a value that came and went a condition may fail."""
    return f"(SELECT * FROM {changes} OFFSET 0) AS {changes}"


class _Builder:
    """Goes through the stages of a view; `below` are the relations that each table's change is read from."""

    def __init__(self, logs: Sequence[Log], weight: str) -> None:
        self.weight = weight
        self.changes: list[StageChange] = []
        self.below: dict[Table, tuple[tuple[str, str], ...]] = {
            log.source: ((log.netted, log.net),) for log in logs
        }
        self.tables = {log.source: _looked_into(log.netted) for log in logs}
        self.stages: dict[Table, Stage] = {}
        self.over: dict[Table, str] = {}

    def add(self, stage: Stage) -> None:
        """Add the change of a stage, whose inputs are there."""
        read = dict.fromkeys(s.table for s in stage.scans)
        rows = {t: self.below[t][-1][0] for t in read}
        laid = laid_over(stage, self.over, self.stages)
        changed = Changed(rows, self.tables, frozenset(self.stages), laid=_computed(laid.input))
        write = computed_anew if stage.kind == "partition" else summed
        own, query = write(stage, [changed], laid)
        relations = [r for t in read for r in self.below[t]]
        self.changes.append(StageChange(stage, (*relations, *own), query))
        change, moved = f"change_{len(self.changes)}", f"moved_{len(self.changes)}"
        called = f"SELECT * FROM {pending_function(stage)}()"
        self.below[stage.table] = ((change, called), (moved, moved_rows(stage, change, self.weight)))
        self.tables[stage.table] = _looked_into(moved)
        self.over[stage.table] = change
        self.stages[stage.table] = stage
