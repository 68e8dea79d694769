"""Marked sections of SQL: what a committed migration does to maintained views can be read back from its text.

    -- pg_stepping: create ["public", "daily_usage"]
    -- pg_stepping: {"fingerprint": "...", "language": "plpgsql", "mode": "immediate", "reads": []}
    ...
    -- pg_stepping: end 0123...

A view that is changed where it stands has `change` for `create`.

Each section is ended by a hash of its text: no text of a user's within it can end it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from pg_stepping.errors import InvalidDeclaration
from pg_stepping.frontend.dialect import quote_text
from pg_stepping.ir import Table
from pg_stepping.shipped import version

CATALOG = "CREATE TABLE IF NOT EXISTS stepping.maintained_view"
_MARK = "-- pg_stepping: "
_TOLD = (
    "fingerprint", "language", "mode", "query", "indexes", "settings", "stripes", "stages",
    "version", "declared",
)  # fmt: skip
_BEGIN = re.compile(rf"^{_MARK}(create|change|drop) (\[.*\])\n", re.M)


@dataclass(frozen=True, slots=True)
class Section:
    """A maintained view as SQL makes it; `reads` are the maintained views that it reads.

    `up` is None where the view is known to be there, but not the SQL that makes it; `query`, and what it was
    compiled with, None where older versions did not note it; `gone`: it was dropped by hand; `edited`: its
    text was changed by hand; `any_language`: its declaration leaves the language open.
    """

    view: Table
    fingerprint: str
    language: str
    mode: str
    reads: tuple[Table, ...]
    up: str | None
    query: str | None = None
    indexes: tuple[tuple[str, ...], ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    stripes: int = 0
    stages: tuple[str, ...] = ()
    version: str = ""
    gone: bool = False
    edited: bool = False
    any_language: bool = False
    declared: str = ""

    @property
    def created(self) -> str:
        """The SQL that makes it, marked."""
        return self._marked("create", self.up or "")

    def changed(self, text: str) -> str:
        """SQL that changes what is there to it, marked."""
        return self._marked("change", text)

    def _marked(self, verb: str, sql: str) -> str:
        told = {name: getattr(self, name) for name in _TOLD}
        told["reads"] = [[t.schema, t.name] for t in self.reads]
        text = f"{_MARK}{_json(told)}\n{sql}"
        return f"{_MARK}{verb} {_name(self.view)}\n{text}{_end(text)}"

    @property
    def dropped(self) -> str:
        """The SQL that takes it away, marked."""
        call = f"SELECT stepping.drop_view({quote_text(self.view.schema)}, {quote_text(self.view.name)});\n"
        return f"{_MARK}drop {_name(self.view)}\n{call}{_end(call)}"

    @property
    def unlike(self) -> str:
        """Why what is there may not be what this version makes of the query; empty where it is."""
        if self.edited:
            return "its SQL in an earlier migration was edited by hand"
        return "another version of pg_stepping wrote it" if self.version != version() else ""


def in_migrations(texts: Iterable[str]) -> dict[Table, Section]:
    """The maintained views that there are after all these migrations (their up parts, in order) have run."""
    there: dict[Table, Section] = {}
    for text in texts:
        place = 0
        while begin := _BEGIN.search(text, place):
            view = _view(begin[2])
            body, place, edited = _body(text, begin.end())
            if begin[1] == "drop":
                there.pop(view, None)
                continue
            first, _, up = body.partition("\n")
            section = _section(view, first, up if begin[1] == "create" else None)
            there[view] = replace(section, edited=edited)
    return there


def _section(view: Table, first: str, up: str | None) -> Section:
    """The section of a view, of which the `first` line tells."""
    try:
        told = json.loads(first.removeprefix(_MARK))
        return Section(
            view,
            told["fingerprint"],
            told["language"],
            told["mode"],
            tuple(Table(*name) for name in told["reads"]),
            up,
            query=told.get("query"),
            indexes=tuple(map(tuple, told.get("indexes", ()))),
            settings=tuple((name, value) for name, value in told.get("settings", ())),
            stripes=told.get("stripes", 0),
            stages=tuple(told.get("stages", ())),
            version=told.get("version", ""),
            declared=told["declared"],
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _edited(f"view {view}", first) from error


def _view(name: str) -> Table:
    try:
        schema, view = json.loads(name)
    except ValueError as error:
        raise _edited("a view", name) from error
    return Table(schema, view)


def _edited(of: str, line: str) -> InvalidDeclaration:
    hint = (
        f"put it back as it was written, after {_MARK.strip()!r}: the SQL may be edited, but not these lines"
    )
    return InvalidDeclaration(f"a migration of {of} has a line that was edited: {line[:50]}", hint=hint)


def _body(text: str, start: int) -> tuple[str, int, bool]:
    """The text of the section that begins at `start`, where it ends, and whether it was edited: then it goes
    to its next end.
    """
    ends = list(re.compile(rf"^{_MARK}end (\w+)$", re.M).finditer(text, start))
    for end in ends:
        if _hash(text[start : end.start()]) == end[1]:
            return text[start : end.start()], end.end(), False
    end_at = ends[0].start() if ends else len(text)
    return text[start:end_at], ends[0].end() if ends else len(text), True


def _end(text: str) -> str:
    return f"{_MARK}end {_hash(text)}\n"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _name(view: Table) -> str:
    return _json([view.schema, view.name])


def _json(value: Any) -> str:
    """JSON in which no migration tool finds a placeholder."""
    return re.sub(r"[%$]|:(?=\w)|[{](?=[{%#])", lambda m: f"\\u{ord(m[0]):04x}", json.dumps(value))
