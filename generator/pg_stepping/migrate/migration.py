"""One migration: all changes of maintained views in one script, and its way back."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pg_stepping.migrate.changes import Change, readers_first


@dataclass(frozen=True, slots=True)
class Migration:
    """`up` makes the changes, `down` takes them back; `prelude` (the catalog, or nothing) comes before `up`.

    Views that change are dropped and made anew, those that read others first, and made after these.
    """

    changes: tuple[Change, ...]
    prelude: str = ""

    @property
    def up(self) -> str:
        before = f"{self.prelude}\n" if self.prelude else ""
        return before + "\n".join(self._drops() + self._creates())

    @property
    def down(self) -> str:
        new = [c.new for c in self.changes if c.new is not None]
        old = [c.old for c in self.changes if c.old is not None]
        drops = [s.dropped for s in readers_first(new)]
        return "\n".join(drops + [s.created for s in reversed(readers_first(old))])

    def _drops(self) -> list[str]:
        return [s.dropped for s in readers_first([c.old for c in self.changes if c.old is not None])]

    def _creates(self) -> list[str]:
        return [c.new.created for c in self.changes if c.new is not None]

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


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "view"
