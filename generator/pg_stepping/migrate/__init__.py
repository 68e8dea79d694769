"""Views declared in code, and the migrations that bring a database to them.

A declaration (declared.py) is compiled in a savepoint to what the database should have (wanted.py), and
compared with what is there: in the database (database.py), or in the migrations that are committed
(sections.py). The changes are one migration (migration.py), written for a tool by one file of formats/.
"""

from pg_stepping.migrate.changes import Change, compare
from pg_stepping.migrate.database import in_database, migrate
from pg_stepping.migrate.declared import Declaration, View, read_declaration
from pg_stepping.migrate.formats import FORMATS
from pg_stepping.migrate.migration import Migration
from pg_stepping.migrate.sections import Section, in_migrations
from pg_stepping.migrate.wanted import wanted

__all__ = [
    "FORMATS",
    "Change",
    "Declaration",
    "Migration",
    "Section",
    "View",
    "compare",
    "in_database",
    "in_migrations",
    "migrate",
    "read_declaration",
    "wanted",
]
