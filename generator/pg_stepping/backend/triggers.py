"""How a stage's triggers get onto the tables that it reads."""

from __future__ import annotations

from collections.abc import Mapping

from pg_stepping.delta import Deferred, StageProgram
from pg_stepping.delta.terms import regclass
from pg_stepping.frontend.dialect import quote_name, quote_text
from pg_stepping.frontend.tables import Relation
from pg_stepping.ir import Table

# What whoever reads a trigger function has to know; it stands at its head.
READING = (
    "Runs once for each statement on each table that the stage reads. Its trigger gives it the name that the",
    "table has here ('': the end of the statement) and the number of the stage, in the order of all stages.",
    "stepping.open has a + for each statement under way. If there is no other, and no stage before this one",
    "waits, the change is carried at once, else it is set aside until the end. Locks: docs/concurrency.md.",
)


def function_name(program: StageProgram) -> str:
    """The trigger function of a stage."""
    return f"stepping.{quote_name(program.stage.name + '__maintain')}"


def follow_call(followed: StageProgram | Deferred, relations: Mapping[Table, Relation]) -> str:
    """The call that creates the triggers on all tables of a stage, or of a view in deferred mode (see
    sql/10_catalog.sql)."""
    name, sources = _sources(followed)
    tables = ", ".join(quote_text(regclass(table)) for table, _ in sources)
    keys = ", ".join(quote_text(key) for _, key in sources)
    parted = [key for table, key in sources if table in relations and relations[table].has_parts]
    more = f", ARRAY[{', '.join(map(quote_text, parted))}]" if parted else ""
    return f"stepping.follow({quote_text(name)}, ARRAY[{tables}]::regclass[], ARRAY[{keys}]{more})"


def hold_calls(followed: StageProgram | Deferred) -> list[str]:
    """The calls that hold the columns that a stage reads, as following it does (see sql/11_columns.sql)."""
    name, sources = _sources(followed)
    return [
        f"SELECT stepping.hold_columns({quote_text(name)}, {place}, {quote_text(regclass(table))}::regclass);"
        for place, (table, _) in enumerate(sources, 1)
    ]


def _sources(followed: StageProgram | Deferred) -> tuple[str, list[tuple[Table, str]]]:
    """The name of what is followed, and the tables that it reads, with their names within it."""
    if isinstance(followed, Deferred):
        return followed.name, [(log.source, log.key) for log in followed.logs]
    return followed.stage.name, [(s.table, s.key) for s in followed.sources]
