"""A view in deferred mode: its logs, who fills them, what readers lay over the state, and `apply`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from textwrap import indent

from pg_stepping.backend.plpython import python_name, python_text
from pg_stepping.backend.settings import dollar_tag
from pg_stepping.delta import Deferred, Log, Stage
from pg_stepping.delta.deferred import kept_function, pending_function
from pg_stepping.delta.locks import first_lock
from pg_stepping.delta.merge import StageChange, replaces
from pg_stepping.delta.program import stored_names
from pg_stepping.delta.stage import SCHEMA
from pg_stepping.delta.terms import quote_table, regclass
from pg_stepping.errors import UnsupportedQuery
from pg_stepping.frontend.dialect import quote_lines, quote_name, quote_text

Settings = tuple[tuple[str, str], ...]
_INDENT = "    "
# What few rows join with is looked up, and mostly in memory; a table as a whole is read for many.
_FEW = (("random_page_cost", "1.1"),)
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


def apply_lock(name: str) -> int:
    """The number of the advisory lock that whoever applies a view's logs holds (and stepping.log_lock())."""
    return first_lock(f"{name} apply")


def wait_lock(name: str) -> int:
    """That of the lock that a worker holds while it waits for something in them."""
    return first_lock(f"{name} wait")


def maintain_function(deferred: Deferred) -> str:
    return f"{SCHEMA}.{quote_name(deferred.name + '__maintain')}"


def log_function(deferred: Deferred, language: str) -> str:
    """The trigger function: it appends the change to the log, and does nothing else."""
    write = _plpython if language == "plpython3u" else _plpgsql
    body = write(deferred)
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
    rows["TRUNCATE"] = change.rows("-1", quote_table(log.source))
    return {event: f"INSERT INTO {quote_table(log.table)} ({into})\n{query}" for event, query in rows.items()}


def _is_due(deferred: Deferred, log: Log, looks: str = "") -> str:
    """The condition that a writer must see to a log, as stepping.logged() has it; it wakes a worker that
    waits. `looks` is a condition under which alone the length of the log is looked up."""
    lock, table = wait_lock(deferred.name), f"{quote_text(regclass(log.table))}::pg_catalog.regclass"
    return (
        f"(CASE\n{_INDENT * 2}WHEN pg_catalog.pg_try_advisory_lock_shared({lock})\n"
        f"{_INDENT * 2}THEN pg_catalog.pg_advisory_unlock_shared({lock})\n"
        f"{_INDENT * 2}ELSE {SCHEMA}.wake({quote_text(deferred.name)})\n"
        f"{_INDENT}END) AND {looks}{SCHEMA}.is_long({table})"
    )


def _noted(deferred: Deferred) -> str:
    return f"{SCHEMA}.note_long({quote_text(deferred.name)})"


def _plpgsql(deferred: Deferred) -> str:
    """PL/pgSQL prepares each expression anew in each transaction: there are as few as can be on the way of a
    writer, and RETURN NEW, which is NULL for a statement, has none. The table with most columns, where most
    is written as a rule, comes first. To look up how long a log is costs about as much as to write a row."""
    logs = sorted(deferred.logs, key=lambda log: -len(log.change.fields))
    lines: list[str] = []
    looks = "(number OPERATOR(pg_catalog.>=) 50 OR pg_catalog.random() OPERATOR(pg_catalog.<) 0.02) AND "
    for i, log in enumerate(logs):
        found = _if([(f"TG_OP OPERATOR(pg_catalog.=) '{e}'", s) for e, s in _statements(log).items()])
        found += [
            "GET DIAGNOSTICS number = ROW_COUNT;",
            f"IF number OPERATOR(pg_catalog.>) 0 AND {_is_due(deferred, log, looks)} THEN",
            f"{_INDENT}PERFORM {_noted(deferred)};",
            "END IF;",
        ]
        if len(logs) == 1:
            lines += found
            break
        test = f"TG_ARGV[0] OPERATOR(pg_catalog.=) {quote_text(log.key)}"
        lines += [f"{'ELSIF' if i else 'IF'} {test} THEN", *(indent(line, _INDENT) for line in found)]
    if len(logs) > 1:
        lines.append("END IF;")
    body = "\n".join(indent(line, _INDENT) for line in [*lines, "RETURN NEW;"])
    return f"#variable_conflict use_column\nDECLARE\n{_INDENT}number bigint;\nBEGIN\n{body}\nEND"


def _statements(log: Log) -> dict[str, str]:
    statements = {event: f"{sql};" for event, sql in _appended(log).items()}
    statements["TRUNCATE"] = f"PERFORM {SCHEMA}.check_truncate(TG_RELID);\n{statements['TRUNCATE']}"
    return statements


def _if(cases: list[tuple[str, str]]) -> list[str]:
    lines = []
    for i, (test, code) in enumerate(cases):
        lines += [f"{'ELSIF' if i else 'IF'} {test} THEN", indent(code, _INDENT)]
    return [*lines, "END IF;"]


def _plpython(deferred: Deferred) -> str:
    lines = ["statements = {"]
    for log in deferred.logs:
        for event, sql in _appended(log).items():
            lines.append(f"    ({python_name(log.key)}, {python_text(event)}): {python_text(sql)},")
    lines += ["}", "due = {"]
    for log in deferred.logs:
        due = f"SELECT CASE WHEN {_is_due(deferred, log)} THEN {_noted(deferred)} END"
        lines.append(f"    {python_name(log.key)}: {python_text(due)},")
    lines += [
        "}",
        'key = (TD["args"][0], TD["event"])',
        "if key not in SD:",
        "    SD[key] = plpy.prepare(statements[key]), plpy.prepare(due[key[0]])",
        'if TD["event"] == "TRUNCATE":',
        f'    plpy.execute("SELECT {SCHEMA}.check_truncate(" + TD["relid"] + ")")',
        "append, see_to_it = SD[key]",
        "if append.execute().nrows():",
        "    see_to_it.execute()",
    ]
    return "\n".join(lines)


def pending(change: StageChange, settings: Settings) -> str:
    """The function that gives a reader the rows to lay over a stage's state, in his own snapshot."""
    stage, name = change.stage, pending_function(change.stage)
    columns = [f"{replaces(stage)} tid", *(f"{n} {kind}" for n, kind in stored_columns(stage))]
    for column in columns:
        if number := re.match(r'"\$\d+" ', column):  # PL/pgSQL calls its parameters so
            told = f"a column named {number[0].strip()} in deferred mode, or made online"
            raise UnsupportedQuery(told, hint="give it another name with AS")
    query = f"RETURN QUERY\n{with_relations(change.relations, change.query)};"
    body = f"#variable_conflict use_column\nBEGIN\n{indent(query, _INDENT)}\nEND"
    tag = dollar_tag("body", body)
    says = (
        f"What the logs will change in {stage.table}: rows, and the places (ctid) of those that they replace."
    )
    return (
        f"CREATE FUNCTION {name}() RETURNS TABLE (\n    " + ",\n    ".join(columns) + "\n)\n"
        "LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 10\n"
        f"{pinned((*settings, *_FEW))}AS {tag}\n{body}\n{tag};\n"
        f"COMMENT ON FUNCTION {name}() IS {quote_lines(says)};"
    )


def kept(stage: Stage) -> str:
    """The function that gives a reader the places in a stage's state that still hold.

    What waits is computed for it a second time: a view with a CTE that shared it with the rows laid over the
    state is not pulled up by Postgres, so the keys of a reader's joins would not reach the state's index.
    """
    name, changed = kept_function(stage), pending_function(stage)
    gone = replaces(stage)
    replaced = f"range_agg({SCHEMA}.place_range({gone}, {gone}, '[]'))"
    body = (
        f"BEGIN\n{_INDENT}RETURN {SCHEMA}.place_set({SCHEMA}.place_range(NULL, NULL)) - coalesce(\n"
        f"{_INDENT * 2}(SELECT {replaced} FROM {changed}() WHERE {gone} IS NOT NULL), '{{}}'\n"
        f"{_INDENT});\nEND"
    )
    tag = dollar_tag("body", body)
    says = f"The places (ctid) in {stage.table} but those of rows that the logs will replace."
    return (
        f"CREATE FUNCTION {name}() RETURNS {SCHEMA}.place_set\nLANGUAGE plpgsql STABLE SECURITY DEFINER\n"
        f"{_SEARCH_PATH}\nAS {tag}\n{body}\n{tag};\n"
        f"COMMENT ON FUNCTION {name}() IS {quote_lines(says)};"
    )


def stored_columns(stage: Stage) -> list[tuple[str, str]]:
    """The columns of a state table with their types."""
    types = ["bytea"] if stage.is_bag else []
    types += [k.type.name for k in stage.keys] + [c.type.name for c in stage.state]
    columns = list(zip(stored_names(stage), types, strict=True))
    return columns + [(r.sql_name, r.type.name) for r in stage.results]


def with_relations(relations: Sequence[tuple[str, str]], query: str) -> str:
    """A query after WITH; what is read more than once is computed once."""
    ctes = []
    for name, of in relations:
        once = name.startswith(("log", "change", "delta", "merged", "fresh", "stored"))
        kept = "AS MATERIALIZED" if once else "AS"
        ctes.append(f"{name} {kept} (\n{indent(of, _INDENT)}\n)")
    return f"WITH {', '.join(ctes)}\n{query}"


def pinned(settings: Settings) -> str:
    """JIT is off: it would compile a plan that looks large and mostly has a row or two to do."""
    values = [f"SET {name} = {quote_text(value)}\n" for name, value in (("jit", "off"), *settings)]
    return f"{_SEARCH_PATH}\n" + "".join(values)
