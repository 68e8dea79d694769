"""The transaction-local settings by which a stage's triggers know of each other, and their queries."""

from __future__ import annotations

from pg_stepping.delta import StageProgram
from pg_stepping.frontend.dialect import quote_text


def open_setting(program: StageProgram) -> str:
    """Counts the statements under way on the stage's tables: BEFORE triggers add one, AFTER take one away."""
    return f"stepping.{program.stage.name}__open"


def waiting_setting(program: StageProgram) -> str:
    """Tells whether changes were set aside."""
    return f"stepping.{program.stage.name}__waiting"


def count_columns(program: StageProgram) -> tuple[str, str]:
    """Counts down, once a statement: how many others are still open; and whether changes wait."""
    name, waiting = quote_text(open_setting(program)), quote_text(waiting_setting(program))
    return (
        f"set_config({name}, (current_setting({name})::integer - 1)::text, true)",
        f"coalesce(current_setting({waiting}, true), '')",
    )


def wait_statements(program: StageProgram) -> tuple[str, str]:
    """Note that changes wait: for the check at commit, and for the triggers to come."""
    return (
        f"INSERT INTO stepping.waiting VALUES ({quote_text(program.stage.name)})",
        f"SELECT set_config({quote_text(waiting_setting(program))}, 'yes', true)",
    )


def settled_query(program: StageProgram) -> str:
    """Note that no changes wait any more."""
    return f"SELECT set_config({quote_text(waiting_setting(program))}, '', true)"


def snapshot_is_old() -> str:
    """True where a statement may not see what was committed while it waited for a lock."""
    return "current_setting('transaction_isolation') IN ('repeatable read', 'serializable')"


def pinned(settings: tuple[tuple[str, str], ...]) -> str:
    """The SET clauses of a trigger function, a line each.

    JIT is off: it would compile the plan of a join that seems costly again and again, for a row or two.
    """
    values = [f"SET {name} = {quote_text(value)}\n" for name, value in (("jit", "off"), *settings)]
    return "SET search_path = pg_catalog, pg_temp\n" + "".join(values)


def dollar_tag(word: str, body: str) -> str:
    """A dollar quote that does not occur in the body."""
    tag, i = f"${word}$", 1
    while tag in body:
        i += 1
        tag = f"${word}_{i}$"
    return tag
