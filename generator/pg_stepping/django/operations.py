"""The migration operation: it has the SQL itself, so that a migration stays what was reviewed."""

from __future__ import annotations

from typing import Any

from django.db.migrations.operations.special import RunSQL
from django.db.migrations.state import ProjectState

from pg_stepping.ir import Table
from pg_stepping.migrate.formats.python_text import literal
from pg_stepping.migrate.sections import Section, in_migrations


class MaintainedViews(RunSQL):
    """Makes, changes and drops maintained views by `sql`; `reverse_sql` takes that back, `title` says
    what it does.
    """

    def __init__(self, title: str, sql: str, reverse_sql: str) -> None:
        super().__init__(sql, reverse_sql)
        self.title = title

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        texts = {"title": self.title, "sql": _Lines(self.sql), "reverse_sql": _Lines(self.reverse_sql)}
        return self.__class__.__qualname__, [], texts

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        told: list[tuple[str, str]] = getattr(state, _TOLD, [])
        setattr(state, _TOLD, [*told, (app_label, self.sql)])

    def describe(self) -> str:
        return f"Maintained views: {self.title}"

    @property
    def migration_name_fragment(self) -> str:
        first, *others = self.title.replace(" ", "_").split(",_")
        return f"{first}_and_{len(others)}_more" if others else first


_TOLD = "pg_stepping_sql"


def views_of(state: ProjectState) -> dict[Table, Section]:
    """The maintained views that the migrations behind a state have made."""
    return in_migrations(sql for _, sql in getattr(state, _TOLD, []))


def apps_of(state: ProjectState) -> dict[Table, str]:
    """The app whose migration made or changed each of them last."""
    return {view: app for app, sql in getattr(state, _TOLD, []) for view in in_migrations([sql])}


class _Lines(str):
    """A text that Django writes into a migration one literal a line."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"({literal(self, ' ' * 4)}\n)"
