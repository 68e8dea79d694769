"""What `makemigrations` detects: the changes of models, then those of maintained views.

A hook into the autodetector, and no command of its own: `makemigrations --check`, `--dry-run`, `--name` and
app labels mean the same for views, and both come out in the order in which they depend on each other.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import CommandError
from django.db import DEFAULT_DB_ALIAS, OperationalError, connections, transaction
from django.db.migrations import Migration
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.graph import MigrationGraph

from pg_stepping.django.operations import MaintainedViews, apps_of, views_of
from pg_stepping.errors import SteppingError
from pg_stepping.ir import Table
from pg_stepping.migrate import Change, Declaration, Section, View, read_declaration, wanted
from pg_stepping.migrate import Migration as Views
from pg_stepping.migrate.database import all_changes, catalog_for
from pg_stepping.migrate.declared import find_file
from pg_stepping.migrate.wanted import words

_NOT_THERE = ("42P01", "42703", "3F000")
Changes = dict[str, list[Migration]]


class Autodetector(MigrationAutodetector):
    def _detect_changes(self, convert_apps: Any = None, graph: Any = None) -> Changes:
        changes: Changes = super()._detect_changes(convert_apps, graph)
        try:
            self._add_views(changes, graph)
        except SteppingError as error:
            raise CommandError(f"pg_stepping: {error}") from error
        return changes

    def _add_views(self, changes: Changes, graph: MigrationGraph) -> None:
        declaration = _declaration()
        there = {v: s for v, s in views_of(self.from_state).items() if not declaration.ignores(v)}
        found = self._changes(declaration, there, changes)
        by_app: dict[str, list[Change]] = {}
        made_in = apps_of(self.from_state)
        for change in found:
            by_app.setdefault(_app(declaration, change, made_in), []).append(change)
        if len(by_app) > 1:
            listed = ", ".join(sorted(by_app))
            raise CommandError(f"pg_stepping: views of one makemigrations belong to several apps: {listed};"
                               " give all the same app")  # fmt: skip
        for app, views in by_app.items():
            self._append(changes, graph, app, Views(tuple(views), self._prelude), declaration)

    def _changes(
        self, declaration: Declaration, there: dict[Table, Section], changes: Changes
    ) -> list[Change]:
        """The changes of views; where the tables are not there yet, none, if the declarations are as
        they were.
        """
        connection = connections[DEFAULT_DB_ALIAS]
        self._prelude = ""
        try:
            connection.ensure_connection()
            raw: Any = connection.connection
            if not isinstance(raw, psycopg.Connection):
                raise CommandError("pg_stepping: Django has to use psycopg 3 and PostgreSQL")
            with transaction.atomic(using=DEFAULT_DB_ALIAS):
                before = partial(self._try, changes)
                new = wanted(raw, declaration.views, before=before)
                found = all_changes(raw, there, new, declaration.views, before=before)
                needed = [c.new for c in found if c.new is not None]
                self._prelude = catalog_for(raw, needed) if not there else ""
            return found
        except (SteppingError, OperationalError) as error:
            known = {s.declared for s in there.values()} == {v.digest for v in declaration.views}
            if not known and isinstance(error, SteppingError) and error.sqlstate not in _NOT_THERE:
                raise
            if not known:
                said = "; run `migrate`, then `makemigrations` once more" if changes or not there else ""
                if not changes:
                    raise CommandError(f"pg_stepping: {error}{said}") from error
                print(f"pg_stepping: the views wait, since {error}{said}", file=sys.stderr)
            return []

    def _try(self, changes: Changes) -> None:
        """Change the database as the new migrations of models will, in the savepoint that is rolled back."""
        state = self.from_state.clone()
        left = [m for migrations in changes.values() for m in migrations]
        with connections[DEFAULT_DB_ALIAS].schema_editor(atomic=False) as editor:
            while left:
                names = {(m.app_label, m.name) for m in left}
                ready = [m for m in left if not names.intersection(m.dependencies)] or left[:1]
                for migration in ready:
                    state = migration.apply(state, editor)
                left = [m for m in left if m not in ready]

    def _append(
        self, changes: Changes, graph: MigrationGraph, app: str, views: Views, declaration: Declaration
    ) -> None:
        """Add the changes of views to an app's migrations, after those of models; what has to be dropped
        comes before these, and all of it in one migration if it can.
        """
        before = changes.get(app, [])
        drops = MaintainedViews(f"before {views.title}", views.drops, views.restores)
        creates = MaintainedViews(views.title, views.creates, views.undoes)
        if views.drops and before and sum(map(len, changes.values())) == 1:
            (migration,) = before
            migration.operations = [drops, *migration.operations, *([creates] if views.creates else [])]
            return
        migration = Migration(f"auto_{len(before) + 1}", app)
        migration.operations = [MaintainedViews(views.title, views.up, views.down)]
        if views.drops and changes:
            migration.operations = [creates]
            first = Migration("auto_0", app)
            first.operations = [drops]
            for other in (m for migrations in changes.values() for m in migrations):
                other.dependencies.append((app, first.name))
            changes[app] = [first, *before]
        new = [(other, migrations[-1].name) for other, migrations in changes.items() if migrations]
        mentioned = {word for view in declaration.views for word in words(view.query)}
        tables = {
            (m[0], (s.options.get("db_table") or f"{m[0]}_{m[1]}")) for m, s in self.to_state.models.items()
        }
        apps = {label for label, table in tables if table in mentioned} - {app} - {label for label, _ in new}
        old = [leaf for label in sorted(apps) for leaf in graph.leaf_nodes(label)]
        migration.dependencies = [*new, *old]
        changes.setdefault(app, []).append(migration)


def _declaration() -> Declaration:
    given = getattr(settings, "PG_STEPPING", None)
    if isinstance(given, Declaration):
        return given
    if isinstance(given, Iterable) and not isinstance(given, str):
        return Declaration(tuple(v for v in given if isinstance(v, View)))
    base = getattr(settings, "BASE_DIR", None)
    return read_declaration(Path(given) if given else find_file(Path(base) if base else None))


def _app(declaration: Declaration, change: Change, made_in: Mapping[Table, str]) -> str:
    """The app of a view; that of one that is dropped is the others', or that whose migration made it."""
    named = [v.app for v in declaration.views if v.name == change.view.name] if change.new else []
    apps = sorted(
        {a for a in named or [v.app for v in declaration.views] or [declaration.app] if a is not None}
    )
    if len(apps) != 1 and not named and change.view in made_in:
        return made_in[change.view]
    if len(apps) != 1:
        raise CommandError(
            f'pg_stepping: view {change.view} has no app: say app = "..." in [tool.pg_stepping]'
        )
    return apps[0]
