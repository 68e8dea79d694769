"""dbmate: one file, `20240131120000_daily_usage.sql`, with both ways."""

from __future__ import annotations

import re
from pathlib import Path

from pg_stepping.migrate.formats.numbers import following, numbered
from pg_stepping.migrate.migration import Migration

_NAME = r"(\d+).*\.sql\Z"
_UP = re.compile(r"^--\s*migrate:up[^\n]*\n(.*?)(?=^--\s*migrate:down|\Z)", re.M | re.S)


def history(folder: Path) -> list[str]:
    texts = [file.read_text(encoding="utf-8") for _, file in numbered(folder, _NAME)]
    return [up[1] for text in texts if (up := _UP.search(text))]


def files(folder: Path, migration: Migration) -> dict[str, str]:
    taken = [re.split(r"\D", f.name)[0] for _, f in numbered(folder, _NAME)]
    name = f"{following(taken, 'now')}_{migration.slug}.sql"
    return {name: f"-- migrate:up\n{migration.up}\n-- migrate:down\n{migration.down}"}
