"""Applying the changes of some keys: a step where a stage reads rows, not only weights (see step.py).

Let every key of a stage hold some expressions over one row of a table i, each by itself, and let S be all
entries in the log of i for which these are in one class of values; the other logs are empty. No entry that
stays touches a key that S touches. So the rows of these keys are those of the tables as they are now, and
all others stay as they are: the state is the query over the tables without what is left in the logs.

The classes are those of a hash, as many as make one about as large as a step is to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from pg_stepping.delta.merge import Log, StageChange, computed_anew, moved_rows, summed
from pg_stepping.delta.overlay import laid_over
from pg_stepping.delta.stage import Stage
from pg_stepping.delta.step import taken
from pg_stepping.delta.terms import Changed
from pg_stepping.frontend.dialect import to_sql
from pg_stepping.ir import Scan, Table
from pg_stepping.ir.nodes import Expression

LOGGED = "log"  # what the log is called where its entries are told apart


@dataclass(frozen=True, slots=True)
class KeyedStep:
    """What the entries of a class in one log make of the state, where all other logs are empty.

    `hash` is an expression over an entry, `netted` the relation of those that were taken; `changes` have the
    relations of their own alone, and each of `moved` is the relation of the rows of one, with weights.
    """

    number: int
    hash: str
    netted: tuple[str, str]
    changes: tuple[StageChange, ...]
    moved: tuple[tuple[str, str], ...]


def keyed_steps_of(stages: Sequence[Stage], logs: Sequence[Log], weight: str) -> tuple[KeyedStep, ...]:
    """The steps of a view, one for each log whose entries tell which keys they touch."""
    found = (_step(stages, number, log, weight) for number, log in enumerate(logs, 1))
    return tuple(step for step in found if step is not None)


def _step(stages: Sequence[Stage], number: int, log: Log, weight: str) -> KeyedStep | None:
    keys = _keys_told(stages, log.source)
    if not keys:
        return None
    told = ", ".join(to_sql(_of_entry(key)) for key in keys)
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
    return KeyedStep(
        number, f"hash_record_extended(ROW({told}), 0)", netted, tuple(changes), tuple(moved[:-1])
    )


def _keys_told(stages: Sequence[Stage], source: Table) -> list[Expression]:
    """The expressions over a row of the table that every key of each stage holds, none if there are none.

    The table is read once, by the first stage, and each other stage reads the rows of the one before it once.
    """
    below: dict[str, Expression] = {}
    for i, stage in enumerate(stages):
        kept = stage.kind == "rows" or (stage.kind in ("groups", "partition") and stage.hashed)
        own = {s.table for s in stages} | {source}
        read = [s for s in stage.scans if s.table in own]
        part = stages[i - 1].table if i else source
        scan = next((p for p in stage.core.parts if isinstance(p, Scan) and p.table == part), None)
        if not kept or stage.is_recursive or read != [scan] or scan is None:
            return []
        told = {}
        for key in stage.keys:
            if stage.kind == "partition" and key.name not in stage.by:
                continue
            columns = list(key.expression.find_all(exp.Column))
            if not columns or any(c.table != scan.relation for c in columns):
                continue
            if not i:
                told[key.name] = key.expression
            elif key.expression in columns and key.expression.name in below:
                told[key.name] = below[key.expression.name]
        below = told
    return list(below.values())


def _of_entry(key: Expression) -> Expression:
    """The expression over an entry in the log."""

    def moved(node: Expression) -> Expression:
        if isinstance(node, exp.Column):
            return exp.column(node.this.copy(), table=exp.to_identifier(LOGGED, quoted=False))
        return node

    return key.copy().transform(moved)
