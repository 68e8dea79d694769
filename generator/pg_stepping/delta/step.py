"""Applying a part of the logs: a step whose time and memory do not grow with them.

The state is the query over O_j, each table j without its log. If no stage needs the rows themselves (all is
sums with weights), a part S of the log of table i changes it by
    O_1 x .. x O_(i-1)  x  S  x  O_(i+1) x .. x O_n
and leaves it the query over the same, with O_i + S in place of O_i: whichever part that is, so a step takes
what it finds first. (A table read twice, and stages upon stages, follow the law of terms.py, where what is
taken is beside its table.) Where the other logs are empty, the other tables are O_j as they stand: that is
tried first, and is the only way for an outer join, which reads rows of them.

A part may have the end of a row and not its begin, whose entry another session has put further down. Such a
state is right for what is added to it later, but a row of it with a count of zero and other sums is none that
can be left out, and there may be two rows of what a primary key allows one. There, and where sums or extremes
become stale, the step is refused: a larger part will do, at last all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pg_stepping.delta.merge import Log, StageChange, moved_rows, summed
from pg_stepping.delta.stage import Stage
from pg_stepping.delta.terms import Changed, quote_table
from pg_stepping.ir import Rows, Scan, Table


@dataclass(frozen=True, slots=True)
class Step:
    """What a part of the logs makes of the state.

    `netted` are the relations of what was taken where that must be netted first; each of `changes` has the
    relations of its own alone, and each of `moved` is the relation of the rows of one, with weights.
    `alone`: it holds only where all other logs are empty, and reads the tables as they are.
    """

    netted: tuple[tuple[str, str], ...]
    changes: tuple[StageChange, ...]
    moved: tuple[tuple[str, str], ...]
    alone: bool


def steps_of(stages: Sequence[Stage], logs: Sequence[Log], weight: str) -> tuple[Step, ...]:
    """The steps of a view, to be tried in this order; none if a stage of it reads rows, not only weights."""
    if not all(map(_is_linear, stages)):
        return ()
    optional = any(s.core.outers for s in stages)  # of its rows it must be known whether they have a partner
    ways = (True,) if optional or len(logs) == 1 else (True, False)
    return tuple(_step(stages, logs, weight, alone) for alone in ways)


def _step(stages: Sequence[Stage], logs: Sequence[Log], weight: str, alone: bool) -> Step:
    several = {log.source for log in logs if any(_places(s, log.source) > 1 for s in stages)}
    numbered = list(enumerate(logs, 1))
    netted = [(log.netted, log.change.netted(taken(i))) for i, log in numbered if log.source in several]
    rows = {log.source: log.netted if log.source in several else taken(i) for i, log in numbered}
    tables = {log.source: quote_table(log.table) for log in logs}
    again = {t for t in tables if sum(_places(s, t) for s in stages) > 1}
    behind = {t: name for t, name in tables.items() if t in again or not alone}
    own: dict[Table, str] = {}
    changes, moved = [], []
    for number, stage in enumerate(stages, 1):
        read = {s.table for s in stage.scans}
        beside = frozenset([*tables, *own])
        if read & own.keys():
            each = [{t: r for t, r in {**rows, **own}.items() if t in read}]
        else:  # of all parts one alone is not empty
            each = [{t: r} for t, r in rows.items() if t in read]
        changed = [Changed(e, {}, beside, behind) for e in each]
        relations, query = summed(stage, changed, None)
        changes.append(StageChange(stage, tuple(relations), query))
        name = f"moved_{number}"
        moved.append((name, moved_rows(stage, f"change_{number}", weight)))
        own[stage.table] = name
    return Step(tuple(netted), tuple(changes), tuple(moved[:-1]), alone)


def taken(number: int) -> str:
    """The relation of what a step took of a log."""
    return f"taken_{number}"


def _is_linear(stage: Stage) -> bool:
    core = stage.core
    outers = (i for o in core.outers for i in (o.input, o.match) if i is not None)
    simple = all(isinstance(p, Scan | Rows) for p in core.parts) and all(isinstance(i, Scan) for i in outers)
    return simple and stage.kind != "partition" and not any(c.kind == "fold" for c in stage.state)


def _places(stage: Stage, table: Table) -> int:
    return sum(s.table == table for s in stage.scans)
