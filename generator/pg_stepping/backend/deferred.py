"""A view in deferred mode: its logs, who fills them, what readers lay over the state, and `apply`."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import indent

from pg_stepping.backend.plpython import python_text
from pg_stepping.backend.settings import dollar_tag
from pg_stepping.delta import Deferred, Log, Stage
from pg_stepping.delta.deferred import REPLACES, StageChange, pending_function
from pg_stepping.delta.locks import first_lock
from pg_stepping.delta.program import stored_names
from pg_stepping.delta.stages import SCHEMA
from pg_stepping.delta.terms import quote_table
from pg_stepping.frontend.dialect import quote_lines, quote_name, quote_text

Settings = tuple[tuple[str, str], ...]
_INDENT = "    "
_SEARCH_PATH = "SET search_path = pg_catalog, pg_temp"


def log_tables(deferred: Deferred, view: str) -> str:
    """CREATE TABLE for each log; they are vacuumed by how many rows went, however many there are."""
    tables = ["-- Where changes wait until they are applied."]
    for log in deferred.logs:
        columns = [f"{quote_name(c.name)} {c.type.sql}" for c in log.change.fields]
        columns += [f"{log.change.weight} integer NOT NULL", "logged_at timestamptz NOT NULL DEFAULT now()"]
        body, table = ",\n    ".join(columns), quote_table(log.table)
        says = f"Changes of {log.source} that are not in the state of the maintained view {view} yet."
        tables.append(
            f"CREATE TABLE {table} (\n    {body}\n)"
            " WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);\n"
            f"COMMENT ON TABLE {table} IS {quote_lines(says)};"
        )
    return "\n".join(tables)


def maintain_function(deferred: Deferred) -> str:
    return f"{SCHEMA}.{quote_name(deferred.name + '__maintain')}"


def log_function(deferred: Deferred, language: str) -> str:
    """The trigger function: it appends the change to the log, and does nothing else."""
    write = _plpython if language == "plpython3u" else _plpgsql
    body = write(deferred.logs)
    tag, name = dollar_tag("body", body), maintain_function(deferred)
    return (
        f"-- It runs with the rights of its owner, and names all that it uses with its schema.\n"
        f"CREATE FUNCTION {name}() RETURNS trigger\n"
        f"LANGUAGE {language} SECURITY DEFINER\nAS {tag}\n{body}\n{tag};"
    )


def _appended(log: Log) -> dict[str, str]:
    """The statement for each event; TRUNCATE fires before the rows are gone."""
    columns, change = log.change.columns, log.change
    into = ", ".join([*filter(None, [columns]), change.weight])
    rows = {event: change.logged(event) for event in ("INSERT", "UPDATE", "DELETE")}
    comma = ", " if columns else ""
    rows["TRUNCATE"] = f"SELECT {columns}{comma}-1 AS {change.weight} FROM {quote_table(log.source)}"
    return {event: f"INSERT INTO {quote_table(log.table)} ({into})\n{query}" for event, query in rows.items()}


def _plpgsql(logs: tuple[Log, ...]) -> str:
    lines = []
    for i, log in enumerate(logs):
        found = _if([(f"TG_OP OPERATOR(pg_catalog.=) '{e}'", s) for e, s in _statements(log).items()])
        if len(logs) == 1:
            lines += found
            break
        test = f"TG_ARGV[0] OPERATOR(pg_catalog.=) {quote_text(log.key)}"
        lines += [f"{'ELSIF' if i else 'IF'} {test} THEN", *(indent(line, _INDENT) for line in found)]
    if len(logs) > 1:
        lines.append("END IF;")
    return "BEGIN\n" + "\n".join(indent(line, _INDENT) for line in [*lines, "RETURN NULL;"]) + "\nEND"


def _statements(log: Log) -> dict[str, str]:
    statements = {event: f"{sql};" for event, sql in _appended(log).items()}
    statements["TRUNCATE"] = f"PERFORM {SCHEMA}.check_truncate(TG_RELID);\n{statements['TRUNCATE']}"
    return statements


def _if(cases: list[tuple[str, str]]) -> list[str]:
    lines = []
    for i, (test, code) in enumerate(cases):
        lines += [f"{'ELSIF' if i else 'IF'} {test} THEN", indent(code, _INDENT)]
    return [*lines, "END IF;"]


def _plpython(logs: tuple[Log, ...]) -> str:
    lines = ["statements = {"]
    for log in logs:
        for event, sql in _appended(log).items():
            lines.append(f"    ({python_text(log.key)}, {python_text(event)}): {python_text(sql)},")
    lines += [
        "}",
        'key = (TD["args"][0], TD["event"])',
        "if key not in SD:",
        "    SD[key] = plpy.prepare(statements[key])",
        'if TD["event"] == "TRUNCATE":',
        f'    plpy.execute("SELECT {SCHEMA}.check_truncate(" + TD["relid"] + ")")',
        "SD[key].execute()",
    ]
    return "\n".join(lines)


def pending(deferred: Deferred, change: StageChange, settings: Settings) -> str:
    """The function that gives a reader the rows to lay over a stage's state, in his own snapshot."""
    stage, name = change.stage, pending_function(change.stage)
    columns = [f"{REPLACES} tid", *(f"{n} {kind}" for n, kind in _columns(stage))]
    body = (
        "#variable_conflict use_column\nBEGIN\n"
        f"    IF {_some(deferred)} THEN\n"
        f"        RETURN QUERY\n{indent(_with(change.relations, change.query), _INDENT * 2)};\n"
        "    END IF;\nEND"
    )
    tag = dollar_tag("body", body)
    says = (
        f"What the logs will change in {stage.table}: rows, and the places (ctid) of those that they replace."
    )
    return (
        f"CREATE FUNCTION {name}() RETURNS TABLE (\n    " + ",\n    ".join(columns) + "\n)\n"
        f"LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 10\n{_pinned(settings)}AS {tag}\n{body}\n{tag};\n"
        f"COMMENT ON FUNCTION {name}() IS {quote_lines(says)};"
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
    counts = [
        f"(SELECT min({c.stage.count.sql_name}) FROM {name})"
        for (name, _), c in zip(changes, deferred.changes, strict=True)
    ]
    least = f"least({', '.join(counts)})" if len(counts) > 1 else counts[0]
    selected = f"SELECT\n    {taken},\n    {least}\nINTO taken, fewest;"
    statement = _with([*changes, *writes, *logs], selected)
    body = (
        "DECLARE\n    taken bigint := 0;\n    fewest bigint;\nBEGIN\n"
        f"    PERFORM {SCHEMA}.check_apply({quote_text(deferred.name)});\n"
        f"    PERFORM pg_advisory_xact_lock({apply_lock(deferred.name)});\n"
        f"    IF {_some(deferred)} THEN\n{indent(statement, _INDENT * 2)}\n    END IF;\n"
        "    IF fewest < 0 THEN\n"
        f"        RAISE 'stepping.{deferred.name} is corrupt: a count fell below zero'\n"
        "        USING ERRCODE = 'data_corrupted',\n"
        "            HINT = 'verify shows the difference; repair it, or drop and create the view again';\n"
        "    END IF;\n    RETURN taken;\nEND"
    )
    tag = dollar_tag("body", body)
    return (
        f"CREATE FUNCTION {name}() RETURNS bigint\nLANGUAGE plpgsql SECURITY DEFINER\n"
        f"{_pinned(settings)}AS {tag}\n#variable_conflict use_column\n{body}\n{tag};\n"
        f"REVOKE ALL ON FUNCTION {name}() FROM PUBLIC;\n"
        f"COMMENT ON FUNCTION {name}() IS 'Applies what is in the logs; returns how many changes.';"
    )


def apply_lock(name: str) -> int:
    """The number of the advisory lock that whoever applies a view's logs holds."""
    return first_lock(f"{name} apply")


def _writes(stage: Stage, number: int) -> list[tuple[str, str]]:
    """The statements that write a stage's change to its state."""
    table, n, change = quote_table(stage.table), stage.count.sql_name, f"change_{number}"
    columns = [name for name, _ in _columns(stage)]
    kept = [*(c.sql_name for c in stage.state), *(r.sql_name for r in stage.results)]
    sets = f",\n{_INDENT}".join(f"{c} = changed.{c}" for c in kept)
    at = f"{change} AS changed\nWHERE state.ctid = changed.{REPLACES}"
    total = stage.kind == "total"
    there = "" if total else f" AND changed.{n} <> 0"
    update = f"UPDATE {table} AS state\nSET\n{_INDENT}{sets}\nFROM {at}{there}"
    if total:
        return [(f"kept_{number}", update)]
    listed = ", ".join(columns)
    insert = f"INSERT INTO {table} ({listed})\nSELECT {listed}\nFROM {change}\n"
    return [
        (f"kept_{number}", update),
        (f"added_{number}", f"{insert}WHERE {REPLACES} IS NULL AND {n} <> 0"),
        (f"emptied_{number}", f"DELETE FROM {table} AS state\nUSING {at} AND changed.{n} = 0"),
    ]


def _columns(stage: Stage) -> list[tuple[str, str]]:
    """The columns of a state table with their types."""
    types = ["bytea"] if stage.is_bag else []
    types += [k.type.name for k in stage.keys] + [c.type.name for c in stage.state]
    columns = list(zip(stored_names(stage), types, strict=True))
    return columns + [(r.sql_name, r.type.name) for r in stage.results]


def _some(deferred: Deferred) -> str:
    return " OR ".join(f"EXISTS (SELECT FROM {quote_table(log.table)})" for log in deferred.logs)


def _with(relations: Sequence[tuple[str, str]], query: str) -> str:
    """A query after WITH; what is read more than once is computed once."""
    ctes = []
    for name, of in relations:
        once = name.startswith(("log", "change", "delta", "merged", "fresh", "stored"))
        kept = "AS MATERIALIZED" if once else "AS"
        ctes.append(f"{name} {kept} (\n{indent(of, _INDENT)}\n)")
    return f"WITH {', '.join(ctes)}\n{query}"


def _pinned(settings: Settings) -> str:
    """JIT is off: it would compile a plan that looks large and mostly has a row or two to do."""
    values = [f"SET {name} = {quote_text(value)}\n" for name, value in (("jit", "off"), *settings)]
    return f"{_SEARCH_PATH}\n" + "".join(values)
