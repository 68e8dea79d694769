"""Flyway: `V1__daily_usage.sql`, and `U1__daily_usage.sql` for its undo, which some editions run."""

from __future__ import annotations

import re
from pathlib import Path

from pg_stepping.migrate.formats.numbers import following
from pg_stepping.migrate.migration import Migration

_NAME = re.compile(r"V(\d+(?:[._]\d+)*)__.*\.sql\Z")


def history(folder: Path) -> list[str]:
    return [file.read_text(encoding="utf-8") for _, file in _versioned(folder)]


def files(folder: Path, migration: Migration) -> dict[str, str]:
    taken = [re.split(r"[._]", version)[0] for version, _ in _versioned(folder)]
    name = f"{following(taken, '1')}__{migration.slug}.sql"
    return {f"V{name}": migration.up, f"U{name}": migration.down}


def _versioned(folder: Path) -> list[tuple[str, Path]]:
    """The versioned migrations in Flyway's order: 1_9 comes before 1_10."""
    files = folder.iterdir() if folder.is_dir() else []
    found = [(m[1], f) for f in files if (m := _NAME.match(f.name))]
    return sorted(found, key=lambda pair: [int(part) for part in re.split(r"[._]", pair[0])])
