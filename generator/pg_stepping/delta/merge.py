"""A delta of a stage and what it makes of the rows that are stored: as a query, which writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import indent

from sqlglot import exp

from pg_stepping.delta.change import Change
from pg_stepping.delta.partition import INDENT, Anew
from pg_stepping.delta.program import Shape, stored_names
from pg_stepping.delta.recursion import anew_of
from pg_stepping.delta.refresh import STATE, afresh, all_afresh, place_of
from pg_stepping.delta.stage import SCHEMA, Stage
from pg_stepping.delta.state import equal, same
from pg_stepping.delta.terms import Changed, quote_table, terms
from pg_stepping.frontend.dialect import quote_name, to_sql
from pg_stepping.ir import Table
from pg_stepping.ir.nodes import Expression
from pg_stepping.ir.types import fresh, reference

Relations = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Log:
    """Where the changes of a source table wait until they are applied; `netted` is the relation of its rows
    with their weights, in which what cancels has cancelled."""

    key: str
    source: Table
    table: Table
    change: Change
    netted: str

    @property
    def net(self) -> str:
        """A log of inserts alone has nothing that cancels: it is read as it is."""
        table, change = quote_table(self.table), self.change
        gone = f"EXISTS (SELECT FROM {table} WHERE {change.weight} < 0)"
        columns = ", ".join([*filter(None, [change.columns]), change.weight])
        netted = change.netted(f"(SELECT * FROM {table} WHERE {gone})")
        return f"SELECT {columns} FROM {table} WHERE NOT {gone}\nUNION ALL\n{netted}"


@dataclass(frozen=True, slots=True)
class StageChange:
    """The rows that are to replace some of a stage's state, as a query: it begins with WITH and `relations`.

    It has the columns of the state table after `replaces`, the place (ctid) of the row that goes; a row that
    only goes has a count of zero.
    """

    stage: Stage
    relations: tuple[tuple[str, str], ...]
    query: str


def replaces(stage: Stage) -> str:
    """What the place of the row that goes is called, beside the columns of the state table."""
    columns = {c.name for c in (*stage.state, *stage.results)}
    return fresh("replaces", columns | {stage.row_key, *(k.name for k in stage.keys)})


def moved_rows(stage: Stage, change: str, weight: str) -> str:
    """The change of a stage as rows with weights."""
    columns = [*stored_names(stage), *(r.sql_name for r in stage.results)]
    old = ", ".join(f"{STATE}.{c}" for c in columns)
    there = "" if stage.kind == "total" else f"\nWHERE {stage.count.sql_name} <> 0"
    return (
        f"SELECT {old}, -1 AS {quote_name(weight)}\nFROM {change} AS changed\n"
        f"JOIN {quote_table(stage.table)} AS {STATE} ON {STATE}.ctid = changed.{replaces(stage)}\n"
        f"UNION ALL\nSELECT {', '.join(columns)}, 1\nFROM {change}{there}"
    )


def joined(stage: Stage, changed: Changed) -> str:
    """The terms of a stage's delta, as a query."""
    found = map(Shape(stage).term, terms(stage.core, changed, stage.weight))
    return indent("\nUNION ALL\n".join(found), INDENT)


def summed(stage: Stage, changed: Sequence[Changed], laid: Stage | None) -> tuple[Relations, str]:
    """The rows of the touched groups, with the delta added to what is stored of them.

    Sums that are stale are computed afresh from `laid`, the stage with new rows laid over the state tables;
    without it they are refused, and so is a group that would be lost (delta/step.py).
    """
    tests = [t for c in stage.state if (t := c.stale_test("merged"))]
    shrinks = fresh("shrinks", {k.name for k in stage.keys} | {c.name for c in stage.state})
    more = [f"bool_or({quote_name(stage.weight)} < 0) AS {shrinks}"] if tests else []
    head, tail = Shape(stage).gathered(*more)
    queries = "\n    UNION ALL\n".join(t for c in changed if (t := joined(stage, c)))
    gathered = f"{indent(head, INDENT)}{indent(queries, INDENT)}{indent(tail, INDENT)}"
    changes = " OR ".join(c.change_test() for c in stage.state)
    delta = f"SELECT *\nFROM (\n{gathered}\n) AS gathered\nWHERE {changes}"
    # rows that are found and written side by side share the pages of the index
    delta += f"\nORDER BY {', '.join(stage.ordered_by)}" if stage.kind == "groups" else ""
    sums: dict[str, Expression] = {}
    for c in stage.state:
        if c.kind != "removed":
            before = f"coalesce({STATE}.{c.sql_name}, {c.zero})" if c.required else f"{STATE}.{c.sql_name}"
            sums[c.name] = c.merged(exp.Var(this=before), reference("delta", c.name))
    for c in stage.state:
        if c.kind == "removed":
            sums[c.name] = c.reaching(reference("delta", c.name), sums[c.beside])
    first = [quote_name(stage.row_key)] if stage.is_bag else []
    keys = [*first, *(quote_name(k.name) for k in stage.keys)]
    listed = [f"{STATE}.ctid AS {replaces(stage)}", *(f"delta.{k}" for k in first)]
    for k in stage.keys:  # a group keeps the image of its key that was there first
        name = quote_name(k.name)
        kept = stage.kind == "groups" and not k.type.exact
        listed.append(f"coalesce({STATE}.{name}, delta.{name}) AS {name}" if kept else f"delta.{name}")
    listed += [f"({to_sql(sums[c.name])})::{c.type.name} AS {c.sql_name}" for c in stage.state]
    listed += [f"delta.{shrinks}"] if tests else []
    merged = "\nUNION ALL\n".join(
        f"SELECT {', '.join(listed)}\nFROM delta\nLEFT JOIN LATERAL (\n{INDENT}SELECT {STATE}.ctid, {STATE}.*"
        f" FROM {quote_table(stage.table)} AS {STATE} WHERE {on} OFFSET 0\n) AS {STATE} ON true{where}"
        for on, where in _on_key(stage)
    )
    n = stage.count.sql_name
    values: dict[str, Expression] = {c.name: reference("merged", c.name) for c in stage.state}
    lines = "FROM merged"
    more_relations: list[tuple[str, str]] = []
    stale = f"merged.{shrinks} AND ({' OR '.join(tests)})" if tests else ""
    if laid is None:
        lines += f"\nWHERE NOT ({' OR '.join(_refused(stage, stale))}) OR {SCHEMA}.refuse_step()"
    elif stale:
        stale += "" if stage.kind == "total" else f" AND merged.{n} <> 0"
        for c in stage.state:
            if c.stale != "never":
                value = f"CASE WHEN {stale} THEN afresh.{c.sql_name} ELSE merged.{c.sql_name} END"
                values[c.name] = exp.Var(this=value)
        if stage.kind == "total":
            lines += f"\nCROSS JOIN LATERAL (\n{indent(afresh(laid, 'merged', stale), INDENT)}\n) AS afresh"
        else:
            place = place_of(stage)
            numbered = (
                f"SELECT *, row_number() OVER () AS {place}\nFROM (\n{indent(merged, INDENT)}\n) AS merged"
            )
            more_relations = _afresh_of(laid, [place, *keys], stale)
            merged = numbered
            lines += f"\nLEFT JOIN afresh ON afresh.{place} = merged.{place}"
    columns = [f"merged.{replaces(stage)}", *(f"merged.{k}" for k in keys)]
    columns += [f"{to_sql(values[c.name])} AS {c.sql_name}" for c in stage.state]
    columns += [f"({r.over(values)})::{r.type.name} AS {r.sql_name}" for r in stage.results]
    relations = [("delta", delta), ("merged", merged), *more_relations]
    return relations, f"SELECT {', '.join(columns)}\n{lines}"


def computed_anew(stage: Stage, changed: Sequence[Changed], laid: Stage) -> tuple[Relations, str]:
    """The rows of the touched keys of a partition that are not as they are stored, computed from `laid`."""
    anew = anew_of(laid)
    head, tail = Anew(stage).touched
    delta = head + "\nUNION ALL\n".join(joined(stage, c) for c in changed) + tail
    key, n = anew.row_key, anew.n
    columns = ", ".join(f"fresh.{quote_name(k.name)}" for k in stage.keys)
    return (
        [("delta", delta), ("fresh", anew.fresh), ("stored", anew.stored)],
        f"SELECT stored.ctid AS {replaces(stage)}, coalesce(fresh.{key}, stored.{key}) AS {key}, {columns},"
        f" coalesce(fresh.{n}, 0) AS {n}\n"
        f"FROM stored FULL JOIN fresh ON fresh.{key} = stored.{key}\n"
        f"WHERE stored.{n} IS DISTINCT FROM fresh.{n}",
    )


def _afresh_of(stage: Stage, columns: list[str], stale: str) -> list[tuple[str, str]]:
    """The sums of the rows of `merged` that are stale, by their places: the first of the columns.

    However long the log was when this was planned, the planner shall expect some ten such rows: few enough to
    look each up where there is an index, and too many to read the table for each where there is none. So it
    is given a condition that always holds, and ten rows that are never there.
    """
    place = columns[0]
    none = ", ".join(f"merged.{c}" for c in columns)
    touched = (
        f"SELECT {', '.join(columns)}\nFROM merged\nWHERE {stale} AND {place} = abs({place})\nUNION ALL\n"
        f"SELECT {none}\nFROM unnest(ARRAY(SELECT true WHERE false)) LEFT JOIN merged ON false"
    )
    found = f"(\n{indent(all_afresh(stage, 'touched'), INDENT)}\n) AS found"
    return [
        ("touched", touched),
        ("afresh", f"SELECT *\nFROM {found}\nWHERE EXISTS (SELECT FROM touched)"),
    ]


def _refused(stage: Stage, stale: str) -> list[str]:
    """What a part of a log must not make of a row of the state: see delta/step.py."""
    n = f"merged.{stage.count.sql_name}"
    refused = [f"{n} < 0", *([stale] if stale else []), *([f"{n} > 1"] if stage.unique else [])]
    if stage.kind == "groups":
        others = [c for c in stage.state if c.kind != "rows"]
        known = all(c.required for c in others)
        lost = " OR ".join(c.is_something() for c in others if c.required)
        refused += [f"{n} = 0 AND ({lost})" if known else f"{n} = 0"] if others else []
    return refused


def _on_key(stage: Stage) -> list[tuple[str, str]]:
    """How a row of `delta` finds that of its key, and for which rows; keys that are NULL by themselves, which
    no equality finds. It does so by the index, each for itself, however many there are: the state may be
    large (OFFSET 0 keeps it from being read as a whole, for a hash)."""
    if stage.is_bag:
        key = quote_name(stage.row_key)
        return [(f"{STATE}.{key} = delta.{key}", "")]
    not_null = {(c.relation, c.name) for p in stage.core.parts for c in p.columns if c.not_null}
    equals, alike, nullable = [], [], []
    for k in stage.keys:
        name = quote_name(k.name)
        equals.append(equal(f"{STATE}.{name}", f"delta.{name}", k.type))
        alike.append(same(f"{STATE}.{name}", f"delta.{name}", k.type))
        sure = isinstance(k.expression, exp.Column) and (k.expression.table, k.expression.name) in not_null
        if not sure and stage.kind != "total":
            nullable.append(f"delta.{name}")
    if not nullable:
        return [(" AND ".join(equals), "")]
    none = " AND ".join(f"{name} IS NOT NULL" for name in nullable)
    return [(" AND ".join(equals), f"\nWHERE {none}"), (" AND ".join(alike), f"\nWHERE NOT ({none})")]
