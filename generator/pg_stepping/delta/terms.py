"""The delta of a join.

Law: with Old_j = New_j - D_j,
    New_1 x ... x New_n  -  Old_1 x ... x Old_n
        =  sum over i of  New_1 x .. x New_(i-1)  x  D_i  x  Old_(i+1) x .. x Old_n
in terms of the tables as they are now (Gupta, Mumick, Subrahmanian, SIGMOD 1993; Budiu et al., DBSP, VLDB
2023, theorem 5.5 iterated). A relation that has not changed has Old = New and no term of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pg_stepping.delta.stages import Stage
from pg_stepping.frontend.dialect import quote_name, to_sql
from pg_stepping.ir import Column, Scan, Table
from pg_stepping.ir.nodes import Expression, columns_read
from pg_stepping.ir.types import fresh


@dataclass(frozen=True, slots=True)
class Term:
    """One product of the sum, that of the change of `table`: the lines of its FROM and WHERE, and the weight
    of a joined row."""

    table: Table
    lines: tuple[str, ...]
    weight: str


def quote_table(table: Table) -> str:
    return f"{quote_name(table.schema)}.{quote_name(table.name)}"


def names_of(columns: tuple[Column, ...]) -> list[str]:
    return [quote_name(c.name) for c in columns]


def terms(stage: Stage, changed: Mapping[Table, str]) -> tuple[Term, ...]:
    """The delta of the stage's join; `changed` names, for each changed table, the relation of its changes."""
    result: list[Term] = []
    for i, scan in enumerate(stage.scans):
        if scan.table not in changed:
            continue
        reads: dict[str, str] = {}
        weights = [f"{quote_name(scan.relation)}.{quote_name(stage.weight)}"]
        for j, other in enumerate(stage.scans):
            reads[other.relation] = quote_table(other.table)
            if j == i:
                reads[other.relation] = changed[other.table]
            elif j > i and other.table in changed:
                reads[other.relation] = _old(stage, other, changed[other.table])
                weights.append(f"{quote_name(other.relation)}.{quote_name(stage.weight)}")
        result.append(Term(scan.table, join_lines(stage, reads, first=scan), " * ".join(weights)))
    return tuple(result)


def whole(stage: Stage) -> tuple[str, ...]:
    """FROM and WHERE of the join itself, over the tables as they are now."""
    reads = {s.relation: quote_table(s.table) for s in stage.scans}
    return join_lines(stage, reads, first=stage.scans[0])


def grown(stage: Stage, table: Table, rows: str) -> str | None:
    """The join of the rows that were inserted into a table with the others: all of the delta, every weight 1.

    None if the table occurs twice, where the delta is not so simple."""
    occurrences = [s for s in stage.scans if s.table == table]
    if len(occurrences) > 1:
        return None
    reads = {s.relation: quote_table(s.table) for s in stage.scans} | {occurrences[0].relation: rows}
    return "\n".join(join_lines(stage, reads, first=occurrences[0]))


def _old(stage: Stage, scan: Scan, changes: str) -> str:
    columns = ", ".join(names_of(scan.fields)) + (", " if scan.fields else "")
    weight = quote_name(stage.weight)
    return (
        f"(SELECT {columns}1 AS {weight} FROM {quote_table(scan.table)} UNION ALL\n"
        f"    SELECT {columns}-{weight} FROM {changes})"
    )


@dataclass(frozen=True, slots=True)
class Step:
    """One relation of a join in the order of evaluation; `on` links it to those before it."""

    scan: Scan
    on: tuple[Expression, ...]
    where: tuple[Expression, ...]


def join_order(stage: Stage, first: Scan) -> list[Step]:
    """The relations of the stage's join, beginning at `first`; each next one is linked to those before it
    where there is such a one, and every condition stands at the first place where it can be checked."""
    waiting = [s for s in stage.scans if s is not first]
    conditions = [(c, {relation for relation, _ in columns_read(c)}) for c in stage.conditions]
    steps: list[Step] = []
    there: set[str] = set()
    scan = first
    while True:
        there.add(scan.relation)
        ready = [(c, relations) for c, relations in conditions if relations <= there]
        conditions = [(c, relations) for c, relations in conditions if not relations <= there]
        on = tuple(c for c, relations in ready if len(relations) > 1)
        steps.append(Step(scan, on, tuple(c for c, relations in ready if len(relations) <= 1)))
        if not waiting:
            return steps
        linked = (s for s in waiting if any(_links(r, s.relation, there) for _, r in conditions))
        scan = next(linked, waiting[0])
        waiting.remove(scan)


def _links(relations: set[str], relation: str, there: set[str]) -> bool:
    return relation in relations and len(relations) > 1 and relations <= there | {relation}


def join_lines(stage: Stage, reads: Mapping[str, str], first: Scan) -> tuple[str, ...]:
    """FROM and WHERE of the stage's join, beginning at `first`."""
    lines: list[str] = []
    where: list[Expression] = []
    for step in join_order(stage, first):
        aliased = _aliased(step.scan, reads)
        if step.scan is first:
            lines.append(f"FROM {aliased}")
        elif step.on:
            lines.append(f"JOIN {aliased} ON {_all(step.on)}")
        else:
            lines.append(f"CROSS JOIN {aliased}")
        lines += _copies(step.scan, stage)
        where += step.where
    if where:
        lines.append(f"WHERE {_all(where)}")
    return tuple(lines)


def _aliased(scan: Scan, reads: Mapping[str, str]) -> str:
    return f"{reads[scan.relation]} AS {quote_name(scan.relation)}"


def _copies(scan: Scan, stage: Stage) -> list[str]:
    if scan.copies is None:
        return []
    alias = fresh(f"copies_{stage.scans.index(scan) + 1}", {s.relation for s in stage.scans})
    count = f"{quote_name(scan.relation)}.{quote_name(scan.copies)}"
    return [f"CROSS JOIN generate_series(1, {count}) AS {quote_name(alias)}"]


def _all(conditions: Sequence[Expression]) -> str:
    return " AND ".join(to_sql(c) if len(conditions) == 1 else f"({to_sql(c)})" for c in conditions)
