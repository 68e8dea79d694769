"""Plain SQL: `0001_daily_usage.sql`, and `0001_daily_usage_down.sql` for the way back."""

from __future__ import annotations

import re
from pathlib import Path

from pg_stepping.migrate.formats.numbers import following, numbered
from pg_stepping.migrate.migration import Migration

_NAME = r"(\d+)_.*(?<!_down)\.sql\Z"


def history(folder: Path) -> list[str]:
    return [file.read_text(encoding="utf-8") for _, file in numbered(folder, _NAME)]


def files(folder: Path, migration: Migration) -> dict[str, str]:
    taken = [re.split(r"\D", f.name)[0] for _, f in numbered(folder, _NAME)]
    name = f"{following(taken, '0001')}_{migration.slug}"
    return {f"{name}.sql": migration.up, f"{name}_down.sql": migration.down}
