"""Applying the changes of some keys: a step where a stage reads rows, not only weights (see step.py).

Let every key of a stage hold some expressions over one row of a table i, each by itself, and let S be all
entries in the log of i for which these are in one class of values; the other logs are empty. No entry that
stays touches a key that S touches. So the rows of these keys are those of the tables as they are now, and
all others stay as they are: the state is the query over the tables without what is left in the logs.

The classes are those of a hash, as many as make one about as large as a step is to be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

from pg_stepping.delta.merge import Log, StageChange, computed_anew, moved_rows, summed
from pg_stepping.delta.overlay import laid_over
from pg_stepping.delta.stage import Stage
from pg_stepping.delta.step import taken
from pg_stepping.delta.terms import Changed, Core, core_of, scans_in
from pg_stepping.frontend.dialect import image_of, to_sql
from pg_stepping.ir import Item, Plan, Project, Scan, Table, Union
from pg_stepping.ir.nodes import Expression

LOGGED = "log"  # what the log is called where its entries are told apart


@dataclass(frozen=True, slots=True)
class KeyedStep:
    """What the entries of a class in one log make of the state, where all other logs are empty.

    `told` are the expressions over an entry that make its class, `netted` the relation of those that were
    taken; `changes` have the relations of their own alone, and each of `moved` is the relation of the rows of
    one, with weights.
    """

    number: int
    told: tuple[str, ...]
    netted: tuple[str, str]
    changes: tuple[StageChange, ...]
    moved: tuple[tuple[str, str], ...]

    @property
    def hash(self) -> str:
        """What an entry's class is taken from, as SQL."""
        return f"hash_record_extended(ROW({', '.join(self.told)}), 0)"


def keyed_steps_of(stages: Sequence[Stage], logs: Sequence[Log], weight: str) -> tuple[KeyedStep, ...]:
    """The steps of a view, one for each log whose entries tell which keys they touch."""
    found = (_step(stages, number, log, weight) for number, log in enumerate(logs, 1))
    return tuple(step for step in found if step is not None)


def _step(stages: Sequence[Stage], number: int, log: Log, weight: str) -> KeyedStep | None:
    stages = _touched(stages, log.source)
    keys = _keys_told(stages, log.source)
    if not keys:
        return None
    entries = [_of_entry(key) for key in keys]
    if all(s.kind == "rows" for s in stages) and not all(s.hashed for s in stages):
        entries = [
            image_of(entry) for entry in entries
        ]  # by which rows are told apart; a value may have no hash
    told = tuple(map(to_sql, entries))
    rows = {log.source: log.netted}
    changes: list[StageChange] = []
    moved: list[tuple[str, str]] = []
    there: dict[Table, Stage] = {}
    over: dict[Table, str] = {}
    for i, stage in enumerate(stages, 1):
        read = [t for t in dict.fromkeys(s.table for s in stage.scans) if t in rows]
        tables = {t: f"(SELECT * FROM {rows[t]} OFFSET 0) AS moved" for t in read if t in there}
        changed = Changed({t: rows[t] for t in read}, tables, frozenset(there))
        write = computed_anew if stage.kind == "partition" else summed
        relations, query = write(stage, [changed], laid_over(stage, over, there))
        change, rows[stage.table] = f"change_{i}", f"moved_{i}"
        changes.append(StageChange(stage, tuple(relations), query))
        moved.append((rows[stage.table], moved_rows(stage, change, weight)))
        there[stage.table], over[stage.table] = stage, change
    netted = (log.netted, log.change.netted(taken(number)))
    return KeyedStep(number, told, netted, tuple(changes), tuple(moved[:-1]))


def _keys_told(stages: Sequence[Stage], source: Table) -> list[Expression]:
    """The expressions over a row of the table that every key of each of the stages holds, none if there are
    none.

    Of the table, and of the stages that read it, each stage reads rows in one relation alone.
    """
    told: dict[Table, dict[str, Expression] | None] = {source: None}
    common: list[Expression] | None = None
    for stage in stages:
        kept = stage.kind == "rows" or (stage.kind in ("groups", "partition") and stage.hashed)
        below = _told_by(stage.core, told)
        if not kept or stage.is_recursive or not below:
            return []
        keys = (k for k in stage.keys if stage.kind != "partition" or k.name in stage.by)
        own = _through(keys, below)
        told[stage.table] = own
        common = [e for e in (own.values() if common is None else common) if e in own.values()]
    return common or []


def _touched(stages: Sequence[Stage], source: Table) -> list[Stage]:
    """The stages that read the table, or one that does."""
    tables, found = {source}, []
    for stage in stages:
        if any(s.table in tables for s in stage.scans):
            tables.add(stage.table)
            found.append(stage)
    return found


Below = dict[tuple[str, str], Expression]


def _told_by(core: Core, told: Mapping[Table, dict[str, Expression] | None]) -> Below | None:
    """What the columns of the relation that reads such rows are, over a row of the table; None if several
    do, or one that may be missing. The table's own columns stand for themselves."""
    reading = [p for p in core.parts if any(s.table in told for s in scans_in(p))]
    if len(reading) != 1 or sum(s.table in told for s in core.scans) != _number(reading[0], told):
        return None
    part = reading[0]
    if isinstance(part, Scan):
        columns = told[part.table]
        if columns is None:
            return {(part.relation, f.name): exp.column(f.name, quoted=True) for f in part.fields}
        return {(part.relation, name): of for name, of in columns.items()}
    found: Below | None = None
    for project in part.parts if isinstance(part, Union) else (part,):
        if not isinstance(project, Project):
            return None
        if _number(project, told):
            below = _told_by(core_of(project.input), told)
            items = _through(project.items, below) if below else {}
            own = {(c.relation, c.name): items[c.name] for c in part.columns if c.name in items}
            found = own if found is None else {k: v for k, v in found.items() if own.get(k) == v}
    return found


def _number(part: Plan, told: Mapping[Table, object]) -> int:
    return sum(s.table in told for s in scans_in(part))


def _through(items: Iterable[Item], below: Below) -> dict[str, Expression]:
    """Those items, by their names, that are expressions over what is told."""
    found = {}
    for item in items:
        columns = list(item.expression.find_all(exp.Column))
        if columns and all((c.table, c.name) in below for c in columns):
            found[item.name] = item.expression.copy().transform(
                lambda n: below[n.table, n.name].copy() if isinstance(n, exp.Column) and n.table else n
            )
    return found


def _of_entry(key: Expression) -> Expression:
    """The expression over an entry in the log."""

    def moved(node: Expression) -> Expression:
        if isinstance(node, exp.Column):
            return exp.column(node.this.copy(), table=exp.to_identifier(LOGGED, quoted=False))
        return node

    return key.copy().transform(moved)
