"""Migrations as files: what is missing in a folder, and writing it."""

from __future__ import annotations

from pathlib import Path

from pg_stepping.frontend.postgres import Connection
from pg_stepping.migrate.database import all_changes, catalog_for
from pg_stepping.migrate.declared import Declaration
from pg_stepping.migrate.formats import FORMATS
from pg_stepping.migrate.migration import Migration
from pg_stepping.migrate.sections import CATALOG, in_migrations
from pg_stepping.migrate.wanted import wanted


def missing(conn: Connection, declaration: Declaration, folder: Path, format_: str) -> Migration | None:
    """The migration that the folder lacks, None if it has all that is declared.

    The database is only asked what the declared views are as SQL; it may be behind the folder, or before it.
    """
    history = FORMATS[format_].history(folder)
    there = {v: s for v, s in in_migrations(history).items() if not declaration.ignores(v)}
    new = wanted(conn, declaration.views)
    changes = all_changes(conn, there, new, declaration.views)
    if not changes:
        return None
    has_catalog = any(CATALOG in text for text in history)
    needed = [c.new for c in changes if c.new is not None]
    return Migration(tuple(changes), "" if has_catalog else catalog_for(conn, needed))


def write(folder: Path, migration: Migration, format_: str) -> list[Path]:
    """Write the files of a migration into a folder; returns them. None of them is there before, but
    for a plan, and what verifies earlier ones.
    """
    written = []
    for name, text in FORMATS[format_].files(folder, migration).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written
