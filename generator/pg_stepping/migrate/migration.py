"""One migration: all changes of maintained views in one script, and its way back."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pg_stepping.backend.script import commented
from pg_stepping.frontend.dialect import quote_text
from pg_stepping.ir import Table
from pg_stepping.migrate.changes import Change, readers_first
from pg_stepping.migrate.sections import Section


@dataclass(frozen=True, slots=True)
class Migration:
    """`up` makes the changes, `down` takes them back; `prelude` is what `creates` needs
    first: the catalog, or nothing.

    Views that change do so where they stand, or are dropped and made anew: those that read others first, and
    made after these.
    """

    changes: tuple[Change, ...]
    prelude: str = ""

    @property
    def up(self) -> str:
        return "\n".join(filter(None, (self.drops, self.creates)))

    @property
    def down(self) -> str:
        return "\n".join(filter(None, (self.undoes, self.restores)))

    @property
    def drops(self) -> str:
        """The first half of `up`: drops what goes or changes."""
        anew = (line for c in self.changes if c.up is None for line in c.plan)
        told = "".join(f"-- {commented(line)}\n" for line in anew)
        return told + "\n".join([*self._aside, *(s.dropped for s in readers_first(self._gone))])

    @property
    def creates(self) -> str:
        """The second half of `up`."""
        made = [
            c.new.changed(c.up.text) if c.up is not None else self._made(c.new)
            for c in self.changes if c.new is not None
        ]  # fmt: skip
        return "\n".join([*filter(None, [self.prelude]), *made])

    @property
    def undoes(self) -> str:
        """The first half of `down`: takes `creates` back."""
        made = readers_first([c.new for c in self.changes if c.new is not None and c.up is None])
        downs = {c.view: c.down for c in self.changes if c.down is not None}
        back = readers_first([c.old for c in self.changes if c.old is not None and c.view in downs])
        changed = [section.changed(downs[section.view].text) for section in reversed(back)]
        return "\n".join([*self._aside, *(s.dropped for s in made), *changed])

    @property
    def restores(self) -> str:
        """The second half of `down`: takes `drops` back."""
        return "\n".join(self._made(s) for s in reversed(readers_first(self._gone)))

    @property
    def _gone(self) -> list[Section]:
        return [c.old for c in self.changes if c.old is not None and c.up is None]

    @property
    def _aside(self) -> list[str]:
        """What reads a view that is made anew is set aside meanwhile, with its grants and comments."""
        anew = [c for c in reversed(self.changes) if c.kind == "changed" and c.up is None]
        return [_call("set_dependents_aside", c.view) for c in anew]

    def _made(self, section: Section) -> str:
        """The SQL that makes a view, and what reads it where that was set aside."""
        changed = any(c.kind == "changed" and c.view == section.view for c in self.changes)
        back = _call("put_dependents_back", section.view) if changed else ""
        return "\n".join(filter(None, [section.created, back]))

    @property
    def plan(self) -> list[str]:
        """What the changes of views that are there take, in lines."""
        return [line for c in self.changes for line in c.plan]

    @property
    def title(self) -> str:
        """What it does, in a line of letters, digits, spaces and commas."""
        kinds = {"new": "create", "changed": "change", "gone": "restore", "dropped": "drop"}
        told = [f"{kinds[c.kind]} {_plain(c.view.name)}" for c in self.changes]
        return ", ".join(told)

    @property
    def slug(self) -> str:
        """The same for the name of a file: letters, digits and underscores."""
        names = [_plain(c.view.name) for c in self.changes]
        kinds = {c.kind for c in self.changes}
        verb = {"changed": "change_", "dropped": "drop_"}.get(kinds.pop(), "") if len(kinds) == 1 else ""
        more = f"_and_{len(names) - 1}_more" if len(names) > 1 else ""
        return f"{verb}{names[0][:40]}{more}"


def _call(function: str, view: Table) -> str:
    """A call with the names of a view."""
    return f"SELECT stepping.{function}({quote_text(view.schema)}, {quote_text(view.name)});\n"


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "view"
