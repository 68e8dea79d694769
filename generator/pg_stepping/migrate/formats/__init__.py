"""The migration tools, one file each, by the name that `--format` takes.

Each module has `history(folder)`, the up parts of the migrations in a folder in the order in which they run,
and `files(folder, migration)`, the text of the new files by their path from the folder.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pg_stepping.migrate.formats import alembic, dbmate, django, flyway, sqitch, sql
from pg_stepping.migrate.migration import Migration


@dataclass(frozen=True, slots=True)
class Format:
    """How a tool keeps its migrations."""

    history: Callable[[Path], list[str]]
    files: Callable[[Path, Migration], Mapping[str, str]]


FORMATS: Mapping[str, Format] = {
    "sql": Format(sql.history, sql.files),
    "alembic": Format(alembic.history, alembic.files),
    "django": Format(django.history, django.files),
    "dbmate": Format(dbmate.history, dbmate.files),
    "sqitch": Format(sqitch.history, sqitch.files),
    "flyway": Format(flyway.history, flyway.files),
}
