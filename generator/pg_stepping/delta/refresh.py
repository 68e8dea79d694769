"""Sums and extremes that a deletion has made stale, computed afresh for their groups alone.

What a deletion takes from a sum that is not finite, or from the extreme of a group, no delta can tell: the
query of the stage is restricted to the keys of these groups, and gives them anew.
"""

from __future__ import annotations

from textwrap import indent

from pg_stepping.delta.stage import Stage
from pg_stepping.delta.state import operand, same
from pg_stepping.delta.terms import quote_table, whole
from pg_stepping.frontend.dialect import quote_name, quote_text, to_sql
from pg_stepping.ir.types import fresh, reference

INDENT = "    "
STATE = "state"  # the alias of the state table wherever it is written


def refresh(stage: Stage) -> str:
    """Compute the sums of the groups at places `$1` of the state afresh: the query restricted to their keys.

    A snapshot of REPEATABLE READ may see rows that are gone, of a group that was deleted since and has come
    again: then it counts more rows than the state.
    """
    table, n = quote_table(stage.table), stage.count.sql_name
    columns = [c for c in stage.state if c.stale != "never"]
    now = {c.name: reference("afresh" if c in columns else STATE, c.name) for c in stage.state}
    sets = [f"{c.sql_name} = {to_sql(now[c.name])}" for c in columns]
    sets += [f"{r.sql_name} = {r.over(now)}" for r in stage.results]
    right = f"(afresh.{n} = {STATE}.{n} OR stepping.refuse_count({quote_text(stage.name)}))"
    update = f"UPDATE {table} AS {STATE} SET\n{INDENT}" + f",\n{INDENT}".join(sets)
    if stage.kind == "total":
        body = indent(afresh(stage, STATE), INDENT)
        return f"{update}\nFROM (\n{body}\n) AS afresh\nWHERE {STATE}.ctid = ANY ($1) AND {right}"
    keys = ", ".join(quote_name(k.name) for k in stage.keys)
    place = place_of(stage)
    relations = {
        "touched": f"SELECT ctid AS {place}, {keys} FROM {table} WHERE ctid = ANY ($1)",
        "afresh": all_afresh(stage, "touched"),
    }
    with_ = ", ".join(f"{name} AS (\n{indent(query, INDENT)}\n)" for name, query in relations.items())
    return (
        f"WITH {with_}\n{update}\nFROM touched\nLEFT JOIN afresh USING ({place})\n"
        f"WHERE {STATE}.ctid = touched.{place} AND {right}"
    )


def all_afresh(stage: Stage, relation: str) -> str:
    """The same as `afresh` for every place in a relation of keys.

    Where no index finds their rows, a hash join does, in one pass.
    """
    lines = list(whole(stage.core))
    where = [lines.pop()] if lines[-1].startswith("WHERE ") else []
    mine = ", ".join(to_sql(k.expression) for k in stage.keys)
    theirs = ", ".join(f"{relation}.{quote_name(k.name)}" for k in stage.keys)
    hashes = [f"hash_record(ROW({mine})) = hash_record(ROW({theirs}))"] if stage.hashed else []
    on = "\n    AND ".join([*_of_keys(stage, relation), *hashes])
    place = f"{relation}.{place_of(stage)}"
    lines += [f"JOIN {relation} ON {on}", *where, f"GROUP BY {place}"]
    return f"SELECT {place}, {_sums(stage)}\n" + "\n".join(lines)


def place_of(stage: Stage) -> str:
    """What the place of a row in the state table is called, beside its columns."""
    return fresh("place", {k.name for k in stage.keys} | {c.name for c in stage.state})


def _of_keys(stage: Stage, relation: str) -> list[str]:
    """The conditions that joined rows are of the group whose keys a relation has."""
    return [same(operand(k.expression), f"{relation}.{quote_name(k.name)}", k.type) for k in stage.keys]


def _sums(stage: Stage) -> str:
    """The count and those sums that can be stale."""
    columns = (stage.count, *(c for c in stage.state if c.stale != "never"))
    return ", ".join(f"{c.total()} AS {c.sql_name}" for c in columns)


def afresh(stage: Stage, relation: str, *conditions: str) -> str:
    """The count and those sums that can be stale, of the group whose keys `relation` has."""
    lines = list(whole(stage.core))
    where = [*conditions]
    where += [f"({lines.pop().removeprefix('WHERE ')})"] if lines[-1].startswith("WHERE ") else []
    where += _of_keys(stage, relation) if stage.kind == "groups" else []
    if where:
        lines.append("WHERE " + "\n    AND ".join(where))
    return f"SELECT {_sums(stage)}\n" + "\n".join(lines)
