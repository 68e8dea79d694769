"""What differs between the views that are there and those that are wanted, and in which order it is
mended.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pg_stepping.errors import InvalidDeclaration
from pg_stepping.ir import Table
from pg_stepping.migrate.replacement import Replacement
from pg_stepping.migrate.sections import Section


@dataclass(frozen=True, slots=True)
class Change:
    """A view that is "new", "changed", "dropped" or "gone": `old` is what is there, `new` what should be.

    "gone" are those that the catalog has and the database, apart from that, has not. A changed view that is
    changed where it stands has `up` and `down`; any other is dropped and made anew: `why` says why.
    """

    kind: str
    old: Section | None
    new: Section | None
    up: Replacement | None = None
    down: Replacement | None = None
    why: str = ""

    @property
    def plan(self) -> tuple[str, ...]:
        """What a change of a view that is there takes, in lines."""
        if self.up is not None:
            return self.up.plan
        if self.kind != "changed":
            return ()
        return (
            f"Change of view {self.view}: it is dropped, made anew and filled",
            f"  because {self.why}",
            "  locks the tables that it read and reads, until commit: writers wait",
        )

    @property
    def view(self) -> Table:
        section = self.new or self.old
        assert section is not None
        return section.view


def compare(there: Mapping[Table, Section], wanted: Sequence[Section]) -> list[Change]:
    """The changes from `there` to `wanted`, in the order in which they are made; those that drop come first.

    A view that reads one that changes is made anew with it. Raises InvalidDeclaration if a view reads one
    that is to be dropped.
    """
    new = {s.view: s for s in wanted}
    dropped = [s for view, s in there.items() if view not in new]
    replaced = {s.view for s in dropped}
    for section in wanted:
        missing = next((t for t in section.reads if t in replaced and t not in new), None)
        if missing is not None:
            hint = f"declare {missing} too, or list it under ignore"
            raise InvalidDeclaration(f"view {section.view} reads {missing}, which is not declared", hint=hint)
    grown = True
    while grown:
        more = {
            view for view, old in there.items() if view not in replaced
            and (differ(old, new[view]) or replaced.intersection(old.reads))
        }  # fmt: skip
        replaced |= more
        grown = bool(more)
    changes = [Change("dropped", s, None) for s in readers_first(dropped)]
    for section in wanted:
        old = there.get(section.view)
        if old is None:
            changes.append(Change("new", None, section))
        elif section.view in replaced:
            changes.append(Change("gone" if old.gone else "changed", old, section))
    return changes


def differ(old: Section, new: Section) -> bool:
    """Whether a view is not what it should be; the text that another version wrote does not matter."""
    if old.gone or old.edited or (old.fingerprint, old.mode) != (new.fingerprint, new.mode):
        return True
    return old.language != new.language and not new.any_language


def readers_first(sections: Collection[Section]) -> list[Section]:
    """In an order in which they can be dropped."""
    left = sorted(sections, key=lambda s: (s.view.schema, s.view.name))
    order = []
    while left:
        read = {t for s in left for t in s.reads}
        next_ = next((s for s in left if s.view not in read), left[0])
        left.remove(next_)
        order.append(next_)
    return order
