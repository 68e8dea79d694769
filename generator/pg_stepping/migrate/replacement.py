"""A change of a view where it stands, as SQL: in place, or by a new version that is filled beside.

One transaction runs it, so the new version needs no triggers before the old one is gone: it is filled while
writers wait, takes the place of what is published, and then has the names that a view made anew has.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from pg_stepping.backend import publish
from pg_stepping.backend.script import (
    Definition,
    applied_name,
    comment_indexes,
    commented,
    fingerprint_of,
    published_as_applied,
    register,
    register_again,
    says_of_state,
    write_filling,
    write_following,
)
from pg_stepping.backend.tables import row_type_tables, state_table
from pg_stepping.change import shown_alike, stored_alike
from pg_stepping.change.kept import kept_stages
from pg_stepping.delta import Published
from pg_stepping.delta.terms import quote_table
from pg_stepping.frontend.dialect import quote_text
from pg_stepping.ir import Table


@dataclass(frozen=True, slots=True)
class Replacement:
    """`sql` changes a view, `plan` says in lines what that takes; `kind` is as in `pg_stepping.Change`."""

    kind: str
    plan: tuple[str, ...]
    sql: str

    @property
    def text(self) -> str:
        """What stands in the migration: the plan first."""
        return "".join(f"-- {commented(line)}\n" for line in self.plan) + self.sql


def name_beside(view: Table) -> Table:
    """The name of a new version within its migration."""
    return Table(view.schema, f"{view.name.encode()[:50].decode(errors='ignore')}__next")


def in_place(old: Definition, new: Definition, beside: Table) -> Replacement:
    """Only what is published, or the indexes: no table is read."""
    stage, plan, sql = new.published.stage, [f"Change of view {new.view}: in place"], []
    alike = shown_alike(old, new)
    sql += [_expect(old, None if alike else ()), _call("expect_in_step", old.view)]
    sql += [function.sql for function in new.functions]
    shown = f"locks ACCESS EXCLUSIVE on {new.view}, until commit: readers wait"
    if not alike:
        plan += ["  replaces the published view; views that read it, grants and comments stay", f"  {shown}"]
        sql.append(publish.view(new.published, beside, ""))
        sql.append(_call("put_view_in_place", new.view, quote_text(beside.name)))
    for columns in old.indexes:
        if columns not in new.indexes:
            plan.append(f"  drops the index on ({', '.join(columns)})")
            made = quote_text(publish.indexed(old.published, columns))
            sql.append(f"SELECT stepping.drop_index({quote_text(stage.name)}, {made});")
    for columns in new.indexes:
        if columns not in old.indexes:
            plan.append(f"  creates an index on ({', '.join(columns)})")
            sql.append(publish.index(new.published, columns))
    if old.indexes != new.indexes:
        sql.append(comment_indexes(new))
        plan.append(f"  locks SHARE on {stage.table}, until commit: writers wait")
    sql.append(f"{register_again(new)}\nSELECT stepping.drop_uncalled();")
    return Replacement("in place", tuple(plan), "\n\n".join(sql) + "\n")


def filled_beside(
    old: Definition,
    new: Definition,
    beside: Definition,
    *,
    keep: bool,
    anew: Collection[Table],
    rows: Mapping[Table, int],
) -> Replacement:
    """Another state; `beside` is `new` under the names that it has meanwhile, `anew` are the maintained views
    that follow in the migration. With `keep`, stages that `old` has are copied. `rows` are those of tables.
    """
    in_logs = [d.deferred is not None for d in (old, new)]  # what is in them is not in the state
    kept = kept_stages(old, beside) if keep and not any(in_logs) else {}
    version = _with_copies(new.view, beside, kept)
    own = {p.stage.table for p in beside.programs}
    read = {s.table for p in beside.programs if p.stage.name not in kept for s in p.sources} - own
    locked = ", ".join(sorted(map(str, sources(new))))
    plan = [f"Change of view {new.view}: a new version is filled beside, and takes its place"]
    if kept:
        plan.append(f"  keeps what is in {', '.join(sorted(kept.values()))}: no table is read for it")
    plan += [
        f"  reads {table}: about {rows.get(table, 0)} rows when this was written"
        for table in sorted(read, key=str)
    ]
    plan += [
        "  views that read it, grants and comments stay",
        f"  locks SHARE ROW EXCLUSIVE on {locked}, until commit: writers wait, readers do not",
        f"  locks ACCESS EXCLUSIVE on {new.view} and on the tables that it read, at the end, until commit",
    ]
    if anew:
        plan.insert(
            -2, f"  maintained views that read it are made anew after it: {', '.join(sorted(map(str, anew)))}"
        )
    pairs = [(b.stage.name, n.stage.name) for b, n in zip(beside.programs, new.programs, strict=True)]
    sql = [
        _expect(old, anew),
        *(function.sql for function in new.functions),
        *(state_table(p.stage, says_of_state(new.view, p)) for p in beside.programs),
        write_filling(version),
        *(publish.index(beside.published, columns) for columns in beside.indexes),
        *_put_in_place(new.view, beside.view, beside.published),
    ]
    applied = applied_name(new.view)
    if in_logs == [True, True]:
        sql += _put_in_place(applied, applied_name(beside.view), beside.published)
    elif in_logs == [True, False]:
        sql.append(f"DROP VIEW {quote_table(applied)};")
    sql.append(_call("replace_state", new.view, *(_array(names) for names in zip(*pairs, strict=True))))
    if new.query.whole_rows:
        sql.append(row_type_tables(new.published.stage.name, new.query.whole_rows))
    sql += write_following(new)
    if new.deferred is not None:
        sql += _put_in_place(new.view, beside.view, new.deferred.published)
    if in_logs == [False, True]:
        sql.append(published_as_applied(new))
    sql += [comment_indexes(new), register(new)]
    return Replacement("new version", tuple(plan), "\n\n".join(sql) + "\n")


def _put_in_place(view: Table, other: Table, published: Published) -> list[str]:
    return [publish.view(published, other, ""), _call("put_view_in_place", view, quote_text(other.name))]


def is_in_place(old: Definition, new: Definition) -> bool:
    """Whether no state changes. In deferred mode what is published shows what is in the logs, too."""
    immediate = (old.mode, new.mode) == ("immediate", "immediate")
    return immediate and stored_alike(old, new) and old.language == new.language


def _with_copies(view: Table, beside: Definition, kept: Mapping[str, str]) -> Definition:
    """The definition, with these stages filled from the old version, unless that may be wrong."""
    names = f"({quote_text(view.schema)}, {quote_text(view.name)})"
    suspect = (
        "EXISTS (SELECT FROM stepping.maintained_view AS v"
        f" WHERE (schema_name, view_name) = {names} AND stepping.problem(v) IS NOT NULL)"
    )
    programs = []
    for program in beside.programs:
        if program.stage.name in kept:
            own = program.stage.table
            there = quote_table(replace(own, name=kept[program.stage.name]))
            copy = f"INSERT INTO {quote_table(own)} SELECT * FROM {there}"
            program = replace(program, fill=f"IF {suspect} THEN\n{program.fill};\nELSE\n{copy};\nEND IF")
        programs.append(program)
    return replace(beside, programs=tuple(programs))


def _expect(old: Definition, anew: Collection[Table] | None) -> str:
    readers = "NULL" if anew is None else _array(sorted(map(str, anew)))
    mode = [quote_text(old.mode)] if old.deferred is not None else []
    return _call("expect", old.view, quote_text(fingerprint_of(old)), readers, *mode)


def sources(definition: Definition) -> set[Table]:
    """The tables that a view reads, and the state of the views that it reads."""
    own = {p.stage.table for p in definition.programs}
    return {s.table for p in definition.programs for s in p.sources} - own


def _call(function: str, view: Table, *arguments: str) -> str:
    names = (quote_text(view.schema), quote_text(view.name))
    return f"SELECT stepping.{function}({', '.join((*names, *arguments))});"


def _array(values: Collection[str]) -> str:
    return f"ARRAY[{', '.join(map(quote_text, values))}]::text[]"
