"""How changed views change: where they stand if they can, in place or by a new version; else made anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from pg_stepping.backend.script import Definition, fingerprint_of
from pg_stepping.change import shown_alike, stored_alike
from pg_stepping.change.version import renamed
from pg_stepping.errors import SteppingError
from pg_stepping.frontend.postgres import Connection, estimated_rows
from pg_stepping.ir import Table
from pg_stepping.migrate.changes import Change, differ
from pg_stepping.migrate.declared import View
from pg_stepping.migrate.replacement import (
    filled_beside,
    in_place,
    is_in_place,
    name_beside,
    sources,
)
from pg_stepping.migrate.sections import Section
from pg_stepping.migrate.wanted import Trial
from pg_stepping.session import guarded


@dataclass(frozen=True, slots=True)
class _Version:
    """A view as it is compiled, under its own name and under that which it has beside another version.

    `rows` are those of the tables that it reads.
    """

    own: Definition
    beside: Definition
    rows: dict[Table, int]


def planned(
    conn: Connection,
    changes: Sequence[Change],
    there: Mapping[Table, Section],
    declared: Sequence[View],
    *,
    before: Callable[[], object] | None = None,
) -> list[Change]:
    """The changes, those where the views can stand made so; a view that need not change is left out.

    `there` are all views that there are, `declared` all that should be; `before` is as in `wanted`. If that
    cannot run while the old views are there, or changes what they are, they are dropped first. Nothing in the
    database changes.
    """
    changed = {c.view: c.old for c in changes if c.kind == "changed" and c.old is not None}
    why = {view: "its query is not known" for view, section in changed.items() if section.query is None}
    may = {c.view: c for c in changes if c.view in changed and c.view not in why}
    if not may:
        return [replace(c, why=why.get(c.view, "")) for c in changes]
    with guarded(conn, undo=True):
        old = _old_versions(conn, may, there)
    with guarded(conn, undo=True):
        trial = Trial(conn)
        stay = before is None or trial.change(before)
        if stay and before is not None:
            with guarded(conn, undo=True):
                after = _old_versions(conn, may, there)
            stay = bool(after) and all(stored_alike(v.own, after[t].own) for t, v in old.items())
        new = {d.view: _version(conn, d) for _, d in trial.compiled(declared)} if stay and old else {}
        other = {t for t in old if fingerprint_of(old[t].own) != changed[t].fingerprint}
        stand = _standing(changes, {t for t in may if t in old and t in new} - other)
    if not stay:
        why |= dict.fromkeys(may, "this migration takes away, or changes, what it reads")
    why |= dict.fromkeys(other, "its old query is another view to this version of pg_stepping")
    why |= {t: "its old query cannot be compiled any more" for t in may if t not in old and t not in why}
    why |= {t: "a view that it reads is made anew" for t in may if t not in stand and t not in why}
    planned_ = _with_plans(changes, stand, old, new)
    return [c if c.up is not None else replace(c, why=why.get(c.view, "")) for c in planned_]


def _old_versions(
    conn: Connection, may: Mapping[Table, Change], there: Mapping[Table, Section]
) -> dict[Table, _Version]:
    """The views as they were, with those that they read; nothing if one of them cannot be compiled now."""
    needed = set(may)
    while more := {t for v in needed for t in there[v].reads if t in there} - needed:
        needed |= more
    sections = [there[t] for t in sorted(needed, key=str)]
    if any(s.query is None for s in sections):
        return {}
    views = [
        View(s.view.name, s.query or "", s.view.schema, s.language, s.mode, s.indexes, stripes=s.stripes)
        for s in sections
    ]
    try:
        trial = Trial(conn, settings={s.view: s.settings for s in sections})
        return {d.view: _version(conn, d) for _, d in trial.compiled(views) if d.view in may}
    except SteppingError:
        return {}


def _version(conn: Connection, definition: Definition) -> _Version:
    rows = {table: estimated_rows(conn, table) for table in sources(definition)}
    return _Version(definition, renamed(conn, definition, name_beside(definition.view)), rows)


def _standing(changes: Sequence[Change], can: set[Table]) -> set[Table]:
    """Those of the views that can be changed where they stand: what they read is there before and after."""
    stand = set(can)
    while True:
        fresh = {c.view for c in changes} - stand
        for change in changes:
            if change.view in stand and _reads(change) & fresh:
                stand.discard(change.view)
                break
        else:
            return stand


def _with_plans(
    changes: Sequence[Change],
    stand: set[Table],
    old: Mapping[Table, _Version],
    new: Mapping[Table, _Version],
) -> list[Change]:
    anew = set[Table]()  # those with another state: what reads them follows
    found = []
    for change in changes:
        follows = bool(anew & _reads(change))
        if not follows and change.kind == "changed" and not _differ(change):
            continue
        if change.view not in stand:
            anew.add(change.view)
            found.append(change)
            continue
        assert change.old is not None
        was, is_, here = old[change.view], new[change.view], _readers(changes, change.view)
        canonical = not change.old.unlike and change.old.stages == tuple(
            p.stage.name for p in was.own.programs
        )
        alike = shown_alike(was.own, is_.own)
        if not follows and canonical and is_in_place(was.own, is_.own) and (alike or not here):
            name = name_beside(change.view)
            up, down = in_place(was.own, is_.own, name), in_place(is_.own, was.own, name)
        else:
            anew.add(change.view)
            up, down = (
                filled_beside(a.own, b.own, b.beside, keep=canonical and not follows, anew=here, rows=b.rows)
                for a, b in ((was, is_), (is_, was))
            )
        if change.old.unlike:
            up = replace(
                up,
                plan=(
                    *up.plan,
                    f"  no state is kept: {change.old.unlike}; a downgrade does not bring that back",
                ),
            )
        found.append(replace(change, up=up, down=down))
    return found


def _reads(change: Change) -> set[Table]:
    """The maintained views that it reads, before or after."""
    return {t for s in (change.old, change.new) if s is not None for t in s.reads}


def _differ(change: Change) -> bool:
    return change.old is None or change.new is None or differ(change.old, change.new)


def _readers(changes: Sequence[Change], view: Table) -> list[Table]:
    """The changed views that read a view, before or after."""
    return [c.view for c in changes if c.kind == "changed" and view in _reads(c)]
