"""The triggers on the tables that a stage reads."""

from __future__ import annotations

from pg_stepping.backend.settings import open_setting
from pg_stepping.delta import StageProgram
from pg_stepping.delta.terms import quote_table
from pg_stepping.frontend.dialect import quote_name, quote_text

_TRANSITIONS = {
    "INSERT": "NEW TABLE AS inserted",
    "DELETE": "OLD TABLE AS deleted",
    "UPDATE": "OLD TABLE AS deleted NEW TABLE AS inserted",
}


def function_name(program: StageProgram) -> str:
    return f"stepping.{quote_name(program.stage.name + '__maintain')}"


def triggers(program: StageProgram) -> list[str]:
    """CREATE TRIGGER for every event on every table of the stage."""
    result = []
    for source in program.sources:
        table = quote_table(source.table)
        name = f"stepping_{program.stage.name}"
        result.append(
            f"CREATE TRIGGER {quote_name(name + '__open')} BEFORE INSERT OR UPDATE OR DELETE ON {table}\n"
            f"    FOR EACH STATEMENT EXECUTE FUNCTION"
            f" stepping.open_statement({quote_text(open_setting(program))});"
        )
        call = f"FOR EACH STATEMENT EXECUTE FUNCTION {function_name(program)}({quote_text(source.key)});"
        for event, tables in _TRANSITIONS.items():
            result.append(
                f"CREATE TRIGGER {quote_name(f'{name}__{event.lower()}')} AFTER {event} ON {table}\n"
                f"    REFERENCING {tables} {call}"
            )
        result.append(
            f"CREATE TRIGGER {quote_name(name + '__truncate')} AFTER TRUNCATE ON {table}\n    {call}"
        )
    return result


def drop_triggers(program: StageProgram) -> list[str]:
    """DROP FUNCTION takes the maintaining triggers along; those that only count are named."""
    name = quote_name(f"stepping_{program.stage.name}__open")
    return [f"DROP TRIGGER {name} ON {quote_table(s.table)};" for s in program.sources]
