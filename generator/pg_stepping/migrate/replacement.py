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
    comment_indexes,
    commented,
    fingerprint_of,
    register,
    says_of_state,
    write_filling,
    write_following,
)
from pg_stepping.backend.tables import state_table
from pg_stepping.change import shown_alike, stored_alike
from pg_stepping.change.kept import kept_stages
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
    sql.append(_expect(old, None if alike else ()))
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
    names = f"{quote_text(new.view.schema)}, {quote_text(new.view.name)}"
    sql.append(f"DELETE FROM stepping.maintained_view WHERE (schema_name, view_name) = ({names});")
    sql.append(f"{register(new)}\nSELECT stepping.drop_uncalled();")
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
    kept = kept_stages(old, beside) if keep else {}
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
        publish.view(beside.published, beside.view, ""),
        _call("put_view_in_place", new.view, quote_text(beside.view.name)),
        _call("replace_state", new.view, *(_array(names) for names in zip(*pairs, strict=True))),
        *write_following(new),
        comment_indexes(new),
        register(new),
    ]
    return Replacement("new version", tuple(plan), "\n\n".join(sql) + "\n")


def can_stand(old: Definition, new: Definition) -> bool:
    """Whether a view can be changed where it stands; else it is dropped and made anew."""
    return not any(d.deferred is not None or d.query.whole_rows for d in (old, new))


def is_in_place(old: Definition, new: Definition) -> bool:
    return stored_alike(old, new) and old.language == new.language


def _with_copies(view: Table, beside: Definition, kept: Mapping[str, str]) -> Definition:
    """The definition, with these stages filled from the old version, unless that may be wrong."""
    names = f"({quote_text(view.schema)}, {quote_text(view.name)})"
    suspect = f"EXISTS (SELECT FROM stepping.suspect WHERE (schema_name, view_name) = {names})"
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
    return _call("expect", old.view, quote_text(fingerprint_of(old)), readers)


def sources(definition: Definition) -> set[Table]:
    """The tables that a view reads, and the state of the views that it reads."""
    own = {p.stage.table for p in definition.programs}
    return {s.table for p in definition.programs for s in p.sources} - own


def _call(function: str, view: Table, *arguments: str) -> str:
    names = (quote_text(view.schema), quote_text(view.name))
    return f"SELECT stepping.{function}({', '.join((*names, *arguments))});"


def _array(values: Collection[str]) -> str:
    return f"ARRAY[{', '.join(map(quote_text, values))}]::text[]"
