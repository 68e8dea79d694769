"""WITH RECURSIVE: what a change adds is followed on from there; what it may take is derived again.

Semi-naive evaluation (Bancilhon, Ramakrishnan, SIGMOD 1986): if R holds for the tables as they were, then all
that a change can add follows from the rows D that it adds to the seed, or to one step over R:
    new rows  =  D, and what the step makes of new rows, until there are no more.
UNION ALL counts derivations, of which a step is a linear function: where a change only takes rows, D has
their numbers with a minus, and is followed on in the same way. (Where it adds and takes, what is followed
from a row that goes may never end: there the whole recursion is run again.)
UNION has each row once, and a row that loses a derivation may have another one, or only one from itself,
round a cycle. So, as in delete and rederive (Gupta, Mumick, Subrahmanian, SIGMOD 1993, section 7):
    doomed  =  the stored rows that lose a derivation, and those that the step makes of doomed ones;
    back    =  doomed or new rows that the seed, or a step over the others, has, and what follows.
Where more than MANY rows are doomed, all rows are derived again from the seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from textwrap import indent
from typing import cast

from sqlglot import exp

from pg_stepping.delta.partition import INDENT, Anew, hash_of, refilling
from pg_stepping.delta.stage import Stage
from pg_stepping.delta.stages import flat
from pg_stepping.delta.terms import Changed, changes_of, recursion_of, select_of
from pg_stepping.frontend.dialect import quote_name
from pg_stepping.ir import Column, Filter, Item, Join, Plan, Project, Recursive, Rows, Scan
from pg_stepping.ir.rewrite import is_own, rebuild
from pg_stepping.ir.types import fresh, reference

MANY = 200  # each row costs a look-up, so that an index that lacks does no more harm than this


class Rerun(Anew):
    """The statements of a recursion whose step has no delta: all its rows anew."""

    @property
    def recursive(self) -> Recursive:
        assert self.stage.recursive is not None
        return self.stage.recursive

    @property
    def empty(self) -> tuple[str, ...]:
        return *refilling(self.stage), f"DELETE FROM {self.table}", self.fill

    def _query(self, *, restricted: bool) -> str:
        return recursion_of(self.recursive)


class Recursion(Rerun):
    """The statements of a recursion, in the names of StageProgram.

    `delta` is what the change does to the seed and to one step over the rows that are stored: distinct rows,
    each with its number, and whether it `lost` and `gained` a derivation. `extent` says so of all of them.
    Doomed rows are marked by the number 0, new ones beside them are written with it; `refresh` sees to both.
    """

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        taken = {k.name for k in stage.keys} | {stage.count.name, stage.row_key, stage.weight}
        self.lost, self.gained = (quote_name(fresh(name, taken)) for name in ("lost", "gained"))

    def key_of(self, relation: str = "") -> str:
        return hash_of(self.stage.keys, relation, alike=self.recursive.distinct)

    def terms(self, changed: Changed) -> list[str]:
        """The queries of which `delta` is made; of UNION ALL a stored row stands for several."""
        seed, step = self.recursive.seed, self._over_stored(self.recursive.step)
        if not self.recursive.distinct:
            count = self.stage.count
            own = next(p for p in _relations(step) if isinstance(p, Scan) and p.table == self.stage.table)
            numbers = (exp.Literal.number(1), reference(own.relation, count.name))
            seed, step = (
                replace(part, items=(*part.items, Item(count.name, number, count.type)))
                for part, number in zip((seed, step), numbers, strict=True)
            )
        return changes_of((seed, step), changed, self.stage.weight)

    def _over_stored(self, step: Project, *, kept: bool = False) -> Project:
        """The step over the stored rows in place of those found so far; `kept`: without those marked."""

        def one(plan: Plan) -> Plan:
            if not is_own(plan, self.recursive):
                plan = rebuild(plan, tuple(map(one, plan.inputs)), lambda e: e)
                return flat(plan) if kept and isinstance(plan, Join | Filter) else plan
            relation, count = plan.columns[0].relation, self.stage.count
            fields = (*plan.columns, Column(relation, count.name, count.type))
            scan = Scan(self.stage.table, relation, fields)
            zero = exp.Literal.number(0)
            return Filter(scan, (exp.NEQ(this=fields[-1].ref, expression=zero),)) if kept else scan

        return cast(Project, one(step))

    @property
    def gather(self) -> tuple[str, str]:
        key, weight = self.row_key, quote_name(self.stage.weight)
        number = weight if self.recursive.distinct else f"{weight} * {self.n}"
        listed = (
            f"sum({number}) OVER same AS {self.n}",
            f"bool_or({weight} < 0) OVER same AS {self.lost}",
            f"bool_or({weight} > 0) OVER same AS {self.gained}",
        )
        return (
            f"SELECT DISTINCT ON ({key})\n{INDENT}{key}, {self.columns},\n{INDENT}{', '.join(listed)}\n"
            f"FROM (SELECT *, {self.key_of()} AS {key} FROM (\n",
            f"\n) AS term) AS keyed\nWINDOW same AS (PARTITION BY {key})\nORDER BY {key}",
        )

    @property
    def before(self) -> tuple[tuple[str, str], ...]:
        named = ((self.lost, "lost"), (self.gained, "gained"))
        flags = ", ".join(f"coalesce(bool_or({flag}), false) AS {name}" for flag, name in named)
        extent = ("extent AS MATERIALIZED", f"SELECT {flags}\nFROM delta")
        if not self.recursive.distinct:
            summed = self._counted(self._followed(), f"sum({self.n})")
            return extent, ("fresh AS MATERIALIZED", summed)
        rows, marked = (
            f"SELECT {self.columns}\nFROM delta\nWHERE",
            f"SELECT {self.row_key}, {self.columns}, 0",
        )
        new = self._is_new("delta")
        lost = f"{rows} {self.lost} AND {new.removeprefix('NOT ')}"
        doomed = self._counted(self._recursion(lost, stored=True))
        added = f"{rows} NOT (SELECT lost FROM extent)\n{INDENT}AND {new}"
        found = self._counted(self._recursion(added, stored=False))
        parts = (
            f"{marked}\nFROM doomed",
            f"{marked}\nFROM delta\nWHERE {self.gained} AND (SELECT lost FROM extent)\n{INDENT}AND {new}",
            f"SELECT *\nFROM (\n{indent(found, INDENT)}\n) AS found",
        )
        fresh_ = "\nUNION ALL\n".join(parts)
        return (
            extent,
            ("doomed AS MATERIALIZED", doomed),
            (f"fresh ({self._stored}) AS MATERIALIZED", fresh_),
        )

    @property
    def merge(self) -> str:
        return self._merge(f"excluded.{self.n}" + ("" if self.recursive.distinct else f" + state.{self.n}"))

    @property
    def outcome(self) -> str:
        marked = "array_agg(ctid) FILTER (WHERE n = 0)"
        if self.recursive.distinct:
            few = f"count(*) FILTER (WHERE n = 0) <= {MANY}"
            either = (
                f"CASE WHEN NOT {few} THEN {marked} END AS emptied",
                f"CASE WHEN {few} THEN {marked} END AS stale",
            )
            return f"SELECT min(n) AS least, {', '.join(either)}\nFROM changed"
        mixed = "CASE WHEN (SELECT lost AND gained FROM extent) THEN ARRAY['(0,0)'::tid] END"
        return f"SELECT min(n) AS least, {marked} AS emptied, {mixed} AS stale\nFROM changed"

    @property
    def remove(self) -> str:
        """For UNION ALL what takes away rows of which no derivation is left; for UNION all rows anew."""
        gone = f"DELETE FROM {self.table} WHERE ctid = ANY ($1)"
        return self._anew if self.recursive.distinct else gone

    @property
    def refresh(self) -> str:
        """For UNION the marked rows (at the places `$1`) derived again from the others; else all anew."""
        if not self.recursive.distinct:
            return self._anew
        candidates = f"SELECT {self.columns} FROM {self.table} WHERE ctid = ANY ($1)"
        relations = (("candidate AS MATERIALIZED", candidates),)
        return self._replaced(self._rederived(), f"state.ctid = ANY ($1)\n{INDENT}AND ", relations)

    @property
    def _anew(self) -> str:
        return self._replaced(recursion_of(self.recursive))

    def _replaced(self, query: str, among: str = "", before: tuple[tuple[str, str], ...] = ()) -> str:
        """Write the rows of a query, and delete other ones."""
        gone = (
            f"DELETE FROM {self.table} AS state\nWHERE {among}NOT EXISTS (\n"
            f"{INDENT}SELECT FROM fresh WHERE fresh.{self.row_key} = state.{self.row_key}\n)"
        )
        relations = (*before, ("fresh AS MATERIALIZED", self._counted(query)), ("gone AS", gone))
        with_ = ", ".join(f"{name} (\n{indent(query, INDENT)}\n)" for name, query in relations)
        return f"WITH {with_}\n{self.into}\n{self.select}\n{self._merge(f'excluded.{self.n}')}"

    def _recursion(self, first: str, *, stored: bool) -> str:
        """The recursion from some rows on, among those that are stored or those that are not."""
        node = self.recursive
        name = quote_name(node.name)
        following = f"SELECT *\nFROM (\n{indent(select_of(node.step), INDENT)}\n) AS following"
        where = self._is_new("following").removeprefix("NOT " if stored else "")
        body = indent(f"{first}\nUNION\n{following}\nWHERE {where}", INDENT)
        return f"WITH RECURSIVE {name} ({self.columns}) AS (\n{body}\n)\nSELECT {self.columns} FROM {name}"

    def _rederived(self) -> str:
        """Of the candidates those that the seed or a step over the others has, and what follows from them."""
        node = self.recursive
        parts = (node.seed, self._over_stored(node.step, kept=True))
        derived = indent("\nUNION ALL\n".join(map(select_of, parts)), INDENT)
        pairs = ((f"derived.{n}", f"candidate.{n}") for n in (quote_name(k.name) for k in self.stage.keys))
        same = f"\n{INDENT}AND ".join(f"({a} = {b} OR ({a} IS NULL AND {b} IS NULL))" for a, b in pairs)
        one = f"SELECT *\nFROM (\n{derived}\n) AS derived ({self.columns})\nWHERE {same}\nLIMIT 1"
        again = f"SELECT again.*\nFROM candidate\nCROSS JOIN LATERAL (\n{indent(one, INDENT)}\n) AS again"
        return self._recursion(again, stored=False)

    def _followed(self) -> str:
        """The recursion of UNION ALL from the rows of the change on, each with its number."""
        node = self.recursive
        name, listed = quote_name(node.name), f"{self.columns}, {self.n}"
        own = next(p for p in _relations(node.step) if is_own(p, node))
        assert isinstance(own, Rows)
        count = Column(own.relation, self.stage.count.name, self.stage.count.type)
        fields = (*own.fields, count)
        header = f"({', '.join(quote_name(f.name) for f in fields)})"
        wide = replace(own, fields=fields, header=header)
        item = Item(self.stage.count.name, count.ref, count.type)
        step = _with_relation(node.step, own, wide)
        assert isinstance(step, Project)
        added = (
            f"SELECT {listed}\nFROM delta\nWHERE {self.n} <> 0 AND NOT (SELECT lost AND gained FROM extent)"
        )
        body = f"{added}\nUNION ALL\n{select_of(replace(step, items=(*step.items, item)))}"
        return (
            f"WITH RECURSIVE {name} ({listed}) AS (\n{indent(body, INDENT)}\n)\nSELECT {listed} FROM {name}"
        )

    def _is_new(self, relation: str) -> str:
        """The condition that a row is not stored, or is marked."""
        key = f"{relation}.{self.row_key}" if relation == "delta" else self.key_of(relation)
        there = f"state.{self.row_key} = {key} AND state.{self.n} <> 0"
        return f"NOT EXISTS (SELECT FROM {self.table} AS state WHERE {there})"


def anew_of(stage: Stage) -> Anew:
    """The statements by which a partition is computed anew."""
    if stage.is_followed:
        return Recursion(stage)
    return Rerun(stage) if stage.is_recursive else Anew(stage)


def _relations(plan: Plan) -> Iterator[Plan]:
    if not plan.inputs:
        yield plan
    for node in plan.inputs:
        yield from _relations(node)


def _with_relation(plan: Plan, old: Plan, new: Plan) -> Plan:
    if plan is old:
        return new
    return rebuild(plan, tuple(_with_relation(p, old, new) for p in plan.inputs), lambda e: e)
