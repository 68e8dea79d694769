"""Applying a view's logs: `__apply` all that is in them, `__step` a part (delta/step.py, keyed_step.py)."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import indent

from pg_stepping.backend.deferred import Settings, apply_lock, pinned, stored_columns, with_relations
from pg_stepping.backend.settings import dollar_tag
from pg_stepping.delta import Deferred, Stage
from pg_stepping.delta.deferred import pending_function, waiting
from pg_stepping.delta.keyed_step import LOGGED, KeyedStep
from pg_stepping.delta.merge import StageChange, replaces
from pg_stepping.delta.stage import SCHEMA
from pg_stepping.delta.step import Step, taken
from pg_stepping.delta.terms import quote_table
from pg_stepping.frontend.dialect import quote_name, quote_text

_INDENT = "    "
# how an expression, a cast to a domain or a function of the user fails, or a key that is too long
_FAILS = (
    "data_exception OR check_violation OR external_routine_exception OR raise_exception"
    " OR program_limit_exceeded"
)


def apply(deferred: Deferred, settings: Settings) -> str:
    """The function that brings the state up to date: one statement, by whoever has the lock."""
    name = f"{SCHEMA}.{quote_name(deferred.name + '__apply')}"
    changes = [
        (f"change_{i}", f"SELECT * FROM {pending_function(c.stage)}()")
        for i, c in enumerate(deferred.changes, 1)
    ]
    writes = [w for i, c in enumerate(deferred.changes, 1) for w in _writes(c.stage, i)]
    logs = [
        (f"taken_{i}", f"DELETE FROM {quote_table(log.table)} RETURNING true")
        for i, log in enumerate(deferred.logs, 1)
    ]
    taken = " + ".join(f"(SELECT count(*) FROM {n})" for n, _ in logs)
    least = _least(deferred.changes)
    selected = f"SELECT\n    {taken},\n    {least}\nINTO taken, fewest;"
    statement = with_relations([*changes, *writes, *logs], selected)
    body = (
        "DECLARE\n    taken bigint := 0;\n    fewest bigint;\nBEGIN\n"
        f"    PERFORM {SCHEMA}.check_apply({quote_text(deferred.name)});\n"
        f"    PERFORM pg_advisory_xact_lock({apply_lock(deferred.name)});\n"
        f"    IF {waiting(deferred.logs)} THEN\n{indent(statement, _INDENT * 2)}\n    END IF;\n"
        f"{indent(_is_sound(deferred), _INDENT)}\n    RETURN taken;\nEND"
    )
    tag = dollar_tag("body", body)
    return (
        f"CREATE FUNCTION {name}() RETURNS bigint\nLANGUAGE plpgsql SECURITY DEFINER\n"
        f"{pinned(settings)}AS {tag}\n#variable_conflict use_column\n{body}\n{tag};\n"
        f"REVOKE ALL ON FUNCTION {name}() FROM PUBLIC;\n"
        f"COMMENT ON FUNCTION {name}() IS 'Applies what is in the logs; returns how many changes.';"
    )


def step(deferred: Deferred, settings: Settings) -> str:
    """The function that applies at most so many changes of one log; a larger part where that is refused.

    Its statements are planned each time, for the number of rows that they take. What they read has just been
    written: a page by its place costs little more than the next one.
    """
    name = f"{SCHEMA}.{quote_name(deferred.name + '__step')}"
    body = (
        "DECLARE\n    asked bigint := most;\n    taken bigint := 0;\n    fewest bigint;\nBEGIN\n"
        f"    PERFORM {SCHEMA}.check_apply({quote_text(deferred.name)});\n"
        f"    PERFORM pg_advisory_xact_lock({apply_lock(deferred.name)});\n"
        f"    IF NOT ({waiting(deferred.logs)}) THEN\n        RETURN 0;\n    END IF;\n"
        f"{indent(_by_weights(deferred) + _by_keys(deferred), _INDENT)}"
        f"    RETURN {SCHEMA}.{quote_name(deferred.name + '__apply')}();\nEND"
    )
    planned = (("plan_cache_mode", "force_custom_plan"), ("random_page_cost", "1.1"))
    tag = dollar_tag("body", body)
    return (
        f"CREATE FUNCTION {name}(most bigint) RETURNS bigint\nLANGUAGE plpgsql SECURITY DEFINER\n"
        f"{pinned((*settings, *planned))}AS {tag}\n"
        f"#variable_conflict use_column\n{body}\n{tag};\n"
        f"REVOKE ALL ON FUNCTION {name}(bigint) FROM PUBLIC;\n"
        f"COMMENT ON FUNCTION {name}(bigint) IS 'Applies some changes of a log; returns how many.';"
    )


def _by_weights(deferred: Deferred) -> str:
    if not deferred.steps:
        return ""
    first, *others = (_statement(deferred, s) for s in deferred.steps)
    tried = first + "".join(f"\nIF taken = 0 THEN\n{indent(other, _INDENT)}\nEND IF;" for other in others)
    attempts = 1 if deferred.keyed_steps else 2
    return (
        f"FOR attempt IN 1 .. {attempts} LOOP\n    BEGIN\n{indent(tried, _INDENT * 2)}\n"
        "        EXIT WHEN taken = 0;\n        RETURN taken;\n"
        "    -- see refuse_step(); or a row is in the part that another one would have taken back\n"
        f"    EXCEPTION WHEN SQLSTATE 'S5001' OR {_FAILS} THEN\n"
        "        most := most * 10;\n    END;\nEND LOOP;\n"
    )


def _by_keys(deferred: Deferred) -> str:
    if not deferred.keyed_steps:
        return ""
    tried = "".join(
        f"IF taken = 0 THEN\n{indent(_keyed_statement(deferred, s), _INDENT)}\nEND IF;\n"
        for s in deferred.keyed_steps
    )
    tried = "taken := 0;\nmost := asked;\n" + tried
    return (
        f"BEGIN\n{indent(tried, _INDENT)}{indent(_is_sound(deferred), _INDENT)}\n"
        "    IF taken > 0 THEN\n        RETURN taken;\n    END IF;\n"
        "-- the key of a row that another one would have taken back\n"
        f"EXCEPTION WHEN {_FAILS} THEN\n    taken := 0;\nEND;\n"
    )


def _is_sound(deferred: Deferred) -> str:
    return (
        "IF fewest < 0 THEN\n"
        f"    RAISE 'stepping.{deferred.name} is corrupt: a count fell below zero'\n"
        "    USING ERRCODE = 'data_corrupted',\n"
        "        HINT = 'verify shows the difference; repair it, or drop and create the view again';\n"
        "END IF;"
    )


def _least(changes: Sequence[StageChange]) -> str:
    """The least count of rows that comes to be written."""
    counts = [f"(SELECT min({c.stage.count.sql_name}) FROM change_{i})" for i, c in enumerate(changes, 1)]
    return f"least({', '.join(counts)})" if len(counts) > 1 else counts[0]


def _keyed_statement(deferred: Deferred, part: KeyedStep) -> str:
    log = deferred.logs[part.number - 1]
    table = quote_table(log.table)
    names = [*(quote_name(f.name) for f in log.change.fields), log.change.weight]
    columns = ", ".join(f"{LOGGED}.{name}" for name in names)
    empty = [f" AND NOT EXISTS (SELECT FROM {quote_table(o.table)})" for o in deferred.logs if o is not log]
    chosen = (
        f"SELECT counted.classes, mod({part.hash}, counted.classes) AS class\n"
        f"FROM (SELECT greatest(count(*) / $1, 1) AS classes FROM {table}) AS counted\n"
        f"CROSS JOIN (SELECT * FROM {table} LIMIT 1) AS {LOGGED}"
    )
    gone = (
        f"DELETE FROM {table} AS {LOGGED}\nUSING log_class\n"
        f"WHERE mod({part.hash}, log_class.classes) = log_class.class{''.join(empty)}\nRETURNING {columns}"
    )
    relations = [("log_class", chosen), (taken(part.number), gone), part.netted]
    for i, change in enumerate(part.changes, 1):
        relations.append((f"change_{i}", with_relations(change.relations, change.query)))
        relations += part.moved[i - 1 : i]
    relations += [w for i, c in enumerate(part.changes, 1) for w in _writes(c.stage, i)]
    counted = f"(SELECT count(*) FROM {taken(part.number)}),\n    {_least(part.changes)}"
    return with_relations(relations, f"SELECT\n    {counted}\nINTO taken, fewest;")


def _statement(deferred: Deferred, part: Step) -> str:
    relations = [(taken(i), _taken(deferred, i, part.alone)) for i, _ in enumerate(deferred.logs, 1)]
    relations += part.netted
    for i, change in enumerate(part.changes, 1):
        relations.append((f"change_{i}", with_relations(change.relations, change.query)))
        relations += part.moved[i - 1 : i]
    relations += [w for i, c in enumerate(part.changes, 1) for w in _writes(c.stage, i)]
    counted = " + ".join(f"(SELECT count(*) FROM {taken(i)})" for i, _ in enumerate(deferred.logs, 1))
    return with_relations(relations, f"SELECT {counted} INTO taken;")


def _taken(deferred: Deferred, number: int, alone: bool) -> str:
    """Take some rows out of a log: if all others are empty, or of the first one that has any."""
    log = deferred.logs[number - 1]
    table = quote_table(log.table)
    names = [*(quote_name(f.name) for f in log.change.fields), log.change.weight]
    columns = ", ".join(f"log.{name}" for name in names)
    others = [quote_table(other.table) for other in deferred.logs if other is not log]
    read = others if alone else [taken(i) for i in range(1, number)]
    where = " WHERE " + " AND ".join(f"NOT EXISTS (SELECT FROM {r})" for r in read) if read else ""
    return (
        f"DELETE FROM {table} AS log\n"
        f"USING (SELECT ctid AS place FROM {table}{where} LIMIT $1) AS part\n"
        f"WHERE log.ctid = part.place\nRETURNING {columns}"
    )


def _writes(stage: Stage, number: int) -> list[tuple[str, str]]:
    """The statements that write a stage's change to its state."""
    table, n, change = quote_table(stage.table), stage.count.sql_name, f"change_{number}"
    columns = [name for name, _ in stored_columns(stage)]
    kept = [*(c.sql_name for c in stage.state), *(r.sql_name for r in stage.results)]
    sets = f",\n{_INDENT}".join(f"{c} = changed.{c}" for c in kept)
    at = f"{change} AS changed\nWHERE state.ctid = changed.{replaces(stage)}"
    total = stage.kind == "total"
    there = "" if total else f" AND changed.{n} <> 0"
    update = f"UPDATE {table} AS state\nSET\n{_INDENT}{sets}\nFROM {at}{there}"
    if total:
        return [(f"kept_{number}", update)]
    listed = ", ".join(columns)
    insert = f"INSERT INTO {table} ({listed})\nSELECT {listed}\nFROM {change}\n"
    return [
        (f"kept_{number}", update),
        (f"added_{number}", f"{insert}WHERE {replaces(stage)} IS NULL AND {n} <> 0"),
        (f"emptied_{number}", f"DELETE FROM {table} AS state\nUSING {at} AND changed.{n} = 0"),
    ]
