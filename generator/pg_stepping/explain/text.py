"""A view explained in words and SQL."""

from __future__ import annotations

from textwrap import indent

from sqlglot import exp

from pg_stepping.backend.script import Definition
from pg_stepping.delta import Deferred, SourceProgram, Stage, StageProgram
from pg_stepping.delta.change import Change
from pg_stepping.delta.locks import joined
from pg_stepping.delta.terms import Step, join_order, quote_table
from pg_stepping.frontend.dialect import quote_name
from pg_stepping.frontend.tables import Index
from pg_stepping.ir import Scan, Table
from pg_stepping.ir.format import format_plan
from pg_stepping.ir.nodes import columns_read

_STALE = {
    "infinite": "is not a finite number",
    "scale": "may show too many digits",
    "extreme": "may be that of a row that is gone",
}


def explain_text(definition: Definition) -> str:
    """The plan, the state, and for each source table what its change runs."""
    parts = [
        f"View {definition.view}, maintained in {definition.language}",
        "Plan\n" + indent(format_plan(definition.plan), "  "),
    ]
    missing: list[str] = []
    states = (_state(p.stage) + _of_a_key(definition, p, missing) for p in definition.programs)
    parts.append("State\n" + indent("\n".join(states), "  "))
    if definition.deferred is not None:
        parts += _logged(definition.deferred)
    else:
        for program in definition.programs:
            parts += [_source(definition, program, s, missing) for s in program.sources]
            parts.append(_applied(program))
    if missing:
        parts.append("Missing indexes\n" + "\n".join(f"  {m}" for m in dict.fromkeys(missing)))
    return "\n\n".join(parts) + "\n"


def _logged(deferred: Deferred) -> list[str]:
    """What a view in deferred mode runs: for a change, and for whoever reads or applies."""
    parts = [
        f"When {log.source} changes (columns {log.change.columns or 'none'})\n{_matter(log.change)}"
        f"  appends the changed rows, with their weights, to {log.table}\n"
        f"  {_in_parts(deferred, number)}"
        for number, log in enumerate(deferred.logs, 1)
    ]
    for change in deferred.changes:
        lines = [f"  {name} (\n{indent(query, '      ')}\n  )" for name, query in change.relations]
        parts.append(
            f"When it is read or applied, for the changes in the logs: what rows of {change.stage.table}"
            " they replace by what\n" + "\n".join(lines) + "\n" + indent(change.query, "  ")
        )
    return parts


def _matter(change: Change) -> str:
    """Which of the changed rows matter, as a line."""
    return f"  only in rows with {change.where}\n" if change.where is not None else ""


def _in_parts(deferred: Deferred, number: int) -> str:
    """What a step of apply may take of a log (delta/step.py, delta/keyed_step.py)."""
    told = next((", ".join(s.told) for s in deferred.keyed_steps if s.number == number), "")
    if not deferred.steps and not told:
        return "which is applied ALL at once: a row of it does not tell which keys of every stage it touches"
    by = "" if deferred.steps else f" by {told}"
    alone = len(deferred.logs) > 1 and all(s.alone for s in deferred.steps)
    others = " while the other logs are empty, else ALL at once" if alone else ""
    return f"which is applied in parts{by}{others}"


def _state(stage: Stage) -> str:
    rows = {"groups": "one row a group", "total": "one row", "rows": "one row for each distinct row"}
    kind = rows.get(stage.kind) or _computed_anew(stage)
    found = f"found by index {stage.name}_key ({_state_key(stage)})"
    lines = [f"{stage.table}, kept by {stage.kept_by}: {kind}, {found}"]
    if stage.stripes:
        lines.append(
            f"  spread over up to {stage.stripes} rows each (column {stage.stripe}):"
            " a writer takes the one of its backend, readers sum them"
        )
    for column in stage.state:
        line = f"  {column.name} {column.type.name}: {column.total()}, kept by delta"
        if column.stale != "never":
            line += (
                f"; computed afresh for a touched group where it {_STALE[column.stale]} after rows left it"
            )
        lines.append(line)
    return "\n".join(lines)


def _computed_anew(stage: Stage) -> str:
    if stage.is_followed:
        if stage.is_set:
            return "one row for each distinct row; new ones by delta, those that may be gone derived again"
        return "one row for each distinct row, by delta, but ALL computed anew when rows come and go at once"
    if not stage.by:
        return "one row for each distinct row, ALL of them computed anew when a row changes (there is no key)"
    return f"one row for each distinct row, computed anew for each touched key ({', '.join(stage.by)})"


def _of_a_key(definition: Definition, program: StageProgram, missing: list[str]) -> str:
    """How the rows of one key are found where they are computed anew; notes an index that is not there."""
    stage = program.stage
    if not (stage.by if stage.kind == "partition" else stage.kind == "groups" and program.refresh):
        return ""
    keys = [k.expression for k in stage.keys if not stage.by or k.name in stage.by]
    columns = {c for k in keys if isinstance(k, exp.Column) for c in columns_read(k)}
    wanted = [
        (s.table, [name for relation, name in sorted(columns) if relation == s.relation]) for s in stage.scans
    ]
    wanted = [(table, names) for table, names in wanted if names]
    for table, names in wanted:
        index = next((i for i in _indexes(definition, table) if i.columns and i.columns[0] in names), None)
        if index is not None:
            return f"\n  finds the rows of a key by index {index.name}"
    if not wanted:
        return ""
    table, names = wanted[0]
    listed = ", ".join(map(quote_name, names))
    missing.append(f"CREATE INDEX ON {quote_table(table)} ({listed});")
    return f"\n  finds the rows of a key by reading all: WARNING, no index on {quote_table(table)} ({listed})"


def _state_key(stage: Stage) -> str:
    own = [stage.stripe] if stage.stripes else []
    return stage.row_key if stage.is_bag else ", ".join([*(k.name for k in stage.keys), *own])


def _source(definition: Definition, program: StageProgram, source: SourceProgram, missing: list[str]) -> str:
    stage = program.stage
    lines = [f"When {source.table} changes (columns {source.change.columns or 'none'})"]
    lines += _matter(source.change).splitlines()
    for scan in stage.scans:
        if scan.table != source.table:
            continue
        lines += (f"  joins {quote_table(_table(s))} {_access(definition, s, missing)}"
                  for s in _order(stage, scan) if isinstance(s.plan, Scan))  # fmt: skip
    lines.append(f"  writes {stage.table} by index {stage.name}_key")
    lines.append(f"  waits in {source.aside} while the same statement has other changes to come")
    for i, lock in enumerate(program.locks({source.table: "change"})):
        held = program.keys and f"writes the rows of its keys in {program.keys.table}"
        lines.append(f"  {'then' if i else 'first'} {held or 'locks what its rows join by'}:")
        lines.append(indent(lock.query(), "    "))
    lines.append("  on INSERT, DELETE and UPDATE, with the changed rows as the relation change:")
    lines.append(indent(program.delta(source.term), "    "))
    return "\n".join(lines)


def _applied(program: StageProgram) -> str:
    """What is done with the result of such a statement, whichever source changed."""
    lines = [f"Then, with that as the relation delta, in {program.stage.table}"]
    for name, query in program.before:
        lines.append(f"    {name} (\n{indent(query, '        ')}\n    )")
    lines.append(indent(program.apply, "    "))
    if program.remove is not None:
        rows = "groups that may be empty" if program.stage.stripes else "rows whose count came to zero"
        lines.append(f"  after DELETE and UPDATE, for the {rows}:")
        lines.append(indent(program.remove, "    "))
    if program.refresh is not None:
        lines.append("  and for those whose sums must be computed afresh:")
        lines.append(indent(program.refresh, "    "))
    lines.append("  on TRUNCATE:")
    lines += (indent(step, "    ") for step in program.empty)
    return "\n".join(lines)


def _order(stage: Stage, scan: Scan) -> list[Step]:
    """The relations that the changed rows of `scan` are joined to, in order."""
    of = next(j for j in joined(stage.core) if any(s is scan for s in j.scans))
    return join_order(of.scans, scan, of.conditions)[1:]


def _access(definition: Definition, step: Step, missing: list[str]) -> str:
    """How the rows of a joined relation are found; notes an index that is not there."""
    columns = _equated(step)
    if not columns:
        condition = "no equality to look up by" if step.on else "no condition"
        return f"as a whole: {condition}"
    index = next(
        (i for i in _indexes(definition, _table(step)) if i.columns and i.columns[0] in columns), None
    )
    if index is not None:
        return f"by index {index.name} ({', '.join(index.columns)})"
    table, first = quote_table(_table(step)), ", ".join(quote_name(c) for c in columns)
    missing.append(f"CREATE INDEX ON {table} ({first});")
    return f"as a whole: WARNING, no index on {table} ({first})"


def _equated(step: Step) -> list[str]:
    """The columns of the joined relation that an equality gives a value for."""
    found = []
    for condition in step.on:
        if not isinstance(condition, exp.EQ):
            continue
        for side, other in ((condition.this, condition.expression), (condition.expression, condition.this)):
            mine = isinstance(side, exp.Column) and side.table == _relation(step)
            if mine and all(relation != _relation(step) for relation, _ in columns_read(other)):
                found.append(side.name)
    return list(dict.fromkeys(found))


def _indexes(definition: Definition, table: Table) -> tuple[Index, ...]:
    if table in definition.query.tables:
        return definition.query.tables[table].indexes
    stage = next(p.stage for p in definition.programs if p.stage.table == table)
    return (Index(f"{stage.name}_key", tuple(k.name for k in stage.keys)),)


def _table(step: Step) -> Table:
    assert isinstance(step.plan, Scan)
    return step.plan.table


def _relation(step: Step) -> str:
    assert isinstance(step.plan, Scan)
    return step.plan.relation
