"""Django's own migrate, which says so if changes of maintained views have no migration yet."""

import sys
from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands.migrate import Command as Migrate
from django.db.migrations.autodetector import MigrationAutodetector

from pg_stepping.django.autodetector import Autodetector, Changes


class _Noticing(Autodetector):
    def _detect_changes(self, convert_apps: Any = None, graph: Any = None) -> Changes:
        """What keeps `makemigrations` from its work is no error of `migrate`, which has done its own."""
        try:
            return super()._detect_changes(convert_apps, graph)
        except CommandError as error:
            print(error, file=sys.stderr)
            changes: Changes = MigrationAutodetector._detect_changes(self, convert_apps, graph)
            return changes


class Command(Migrate):
    autodetector = Autodetector  # Django checks that makemigrations has the same

    def handle(self, *args: Any, **options: Any) -> None:
        self.autodetector = _Noticing
        super().handle(*args, **options)
