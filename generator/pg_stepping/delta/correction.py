"""Putting a stage right: which rows of its state are wrong, and how these are computed anew.

Right is what fills the state when it is made. All of that is compared with the state, without a lock; the
rows that were found are then computed anew by their keys alone, from the tables as they are, while nobody
writes.
"""

from __future__ import annotations

from textwrap import indent

from pg_stepping.delta.program import StageProgram, stored_names
from pg_stepping.delta.stage import Stage
from pg_stepping.delta.state import equal, same
from pg_stepping.delta.stripes import own_stripe, whole_groups
from pg_stepping.delta.terms import named, quote_table, whole
from pg_stepping.frontend.dialect import quote_name
from pg_stepping.ir import Type

_INDENT = "    "


def differing_rows(program: StageProgram) -> str:
    """A query of the rows, as texts, that are in the state and should not be, or should and are not so."""
    stage = program.stage
    keys = [quote_name(stage.row_key)] if stage.is_bag else [quote_name(k.name) for k in stage.keys]
    on = " = ".join(f"ROW({', '.join(f'{side}.{k}' for k in keys)})::text" for side in ("stored", "correct"))
    typed = ", ".join(
        f"{'0' if name == quote_name(stage.stripe) else name}::{type_.name} AS {name}"
        for name, type_ in _of_table(stage)
    )
    groups = f"(\n{_INDENT}SELECT {typed} FROM {whole_groups(stage)} AS groups\n)" if stage.stripes else ""
    return (
        f"SELECT coalesce(stored::text, correct::text)\nFROM {groups or quote_table(stage.table)} AS stored\n"
        f"FULL JOIN (\n{_INDENT}SELECT {typed}\n{_INDENT}FROM (\n{indent(_filled(program), _INDENT * 2)}\n"
        f"{_INDENT}) AS filled ({_names(stage)})\n) AS correct ON {on}\n"
        f"WHERE {_differ(stage, 'stored', 'correct')}"
    )


def correction(program: StageProgram) -> str:
    """The statement that puts some rows right: `$1`, an array of the texts that `differing_rows` gave.

    It returns how many rows of the state it changed. Whoever runs it keeps writers out. A group in stripes
    has one row from then on, in the stripe of whoever runs it: nobody knows which of its rows was wrong.
    """
    stage, table = program.stage, quote_table(program.stage.table)
    by, columns, names = _matched(stage), _columns(stage), _names(stage)
    listed = ", ".join(f"(given::{table}).{name}" for name in by)
    relations = []
    if by:
        of = f"SELECT DISTINCT {listed}\nFROM unnest($1::text[]) AS given"
        relations.append((f"delta ({', '.join(by)}) AS MATERIALIZED", of))
    relations.append((f"correct ({names}) AS MATERIALIZED", _restricted(program, by)))
    own = [quote_name(stage.row_key)] if stage.is_bag else [quote_name(k.name) for k in stage.keys]
    there = f"EXISTS (SELECT FROM correct WHERE {_match(stage, own, 'correct', 'state')})"
    if stage.stripes:
        there = f"({there} AND state.{quote_name(stage.stripe)} = {own_stripe(stage)})"
    using = "\nUSING delta" if by else ""
    listed_own = f"ROW({', '.join(f'state.{k}' for k in own)})::text"
    scope = f"{_match(stage, by, 'state', 'delta')}\n{_INDENT}AND " if by else ""
    relations.append(
        ("gone AS", f"DELETE FROM {table} AS state{using}\nWHERE {scope}NOT {there}\nRETURNING {listed_own}")
    )
    sets = f",\n{_INDENT}".join(f"{name} = excluded.{name}" for name, _ in columns)
    put = (
        f"INSERT INTO {table} AS state ({names})\nSELECT {names}\nFROM correct\n"
        f"ON CONFLICT ({', '.join(stage.unique_by)}) DO UPDATE SET\n{_INDENT}{sets}\n"
        f"WHERE {_differ(stage, 'state', 'excluded')}\nRETURNING {listed_own}"
    )
    relations.append(("put AS", put))
    with_ = ", ".join(f"{name} (\n{indent(query, _INDENT)}\n)" for name, query in relations)
    return f"WITH {with_}\nSELECT count(*) FROM (SELECT * FROM gone UNION SELECT * FROM put) AS changed"


def _filled(program: StageProgram) -> str:
    """The rows that the state should have, its columns in their order."""
    return program.fill[program.fill.index("\n") + 1 :]


def _restricted(program: StageProgram, by: list[str]) -> str:
    """The same for the keys in `delta`; the condition stands where it reaches the indexes of the tables."""
    stage = program.stage
    if not by:
        return _filled(program)
    if stage.kind == "partition":
        return next(query for name, query in program.before if name.startswith("fresh "))
    if stage.kind == "rows":
        listed = ", ".join(named(k.expression, k.name) for k in stage.keys)
        rows = f"SELECT {listed}, 1 AS {quote_name(stage.weight)}\n" + "\n".join(whole(stage.core))
        gathered = program.delta(_of_keys(stage, rows, "plain", by))
        return f"SELECT {', '.join(stored_names(stage))}\nFROM (\n{indent(gathered, _INDENT)}\n) AS gathered"
    return _of_keys(stage, _filled(program), f"filled ({_names(stage)})", by)


def _of_keys(stage: Stage, rows: str, alias: str, by: list[str]) -> str:
    """The rows that have the keys in `delta`, found one key after the other: OFFSET 0 keeps Postgres from
    computing all rows, to join them with the keys. What may be NULL no index finds: those keys come apart."""
    name = alias.partition(" ")[0]
    none = " AND ".join(f"delta.{n} IS NOT NULL" for n in by)
    types = dict(_columns(stage))
    equals = " AND ".join(equal(f"{name}.{n}", f"delta.{n}", types[n]) for n in by)
    found = []
    for keys, match in ((none, equals), (f"NOT ({none})", _match(stage, by, name, "delta"))):
        inner = f"SELECT * FROM (\n{indent(rows, _INDENT)}\n) AS {alias}\nWHERE {match}\nOFFSET 0"
        lateral = f"CROSS JOIN LATERAL (\n{indent(inner, _INDENT)}\n) AS {name}"
        found.append(f"SELECT {name}.* FROM delta {lateral}\nWHERE {keys}")
    return "\nUNION ALL\n".join(found)


def _matched(stage: Stage) -> list[str]:
    """The columns of the state by which rows are computed anew; none: the whole stage is."""
    if stage.kind == "partition":
        return [quote_name(name) for name in stage.by]
    if stage.kind == "total":
        return []
    return [quote_name(k.name) for k in stage.keys if k.type.groups]


def _match(stage: Stage, names: list[str], a: str, b: str) -> str:
    types = dict(_columns(stage))
    return " AND ".join(same(f"{a}.{n}", f"{b}.{n}", types[n]) for n in names)


def _differ(stage: Stage, a: str, b: str) -> str:
    """What a change took last, and how a fold's state is put, is no part of what a row says."""
    scratch = {c.sql_name for c in stage.state if c.kind in ("removed", "fold")}
    tests = []
    for name, type_ in _columns(stage):
        by_text = not type_.equated or type_.base.startswith("interval")
        text = "::text" if by_text else ""
        if name not in scratch:
            tests.append(f"{a}.{name}{text} IS DISTINCT FROM {b}.{name}{text}")
    return f"\n{_INDENT}OR ".join(tests)


def _names(stage: Stage) -> str:
    return ", ".join(name for name, _ in _columns(stage))


def _of_table(stage: Stage) -> list[tuple[str, Type]]:
    """The columns in the order of the table (see state_table)."""
    columns, keys = _columns(stage), len(stage.keys) + stage.is_bag
    if stage.stripes:
        columns.append((quote_name(stage.stripe), Type.of("smallint")))
    return columns[:keys] + sorted(columns[keys:], key=lambda c: c[1].base.startswith("numeric"))


def _columns(stage: Stage) -> list[tuple[str, Type]]:
    """The columns of a state table with their types."""
    types = [Type.of("bytea")] if stage.is_bag else []
    types += [k.type for k in stage.keys] + [c.type for c in stage.state]
    columns = list(zip(stored_names(stage), types, strict=True))
    return columns + [(r.sql_name, r.type) for r in stage.results]
