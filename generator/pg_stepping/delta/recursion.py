"""WITH RECURSIVE: rows that a change adds are followed on from there; rows that it takes are computed anew.

Semi-naive evaluation (Bancilhon, Ramakrishnan, SIGMOD 1986): if R holds for the tables as they were, then all
that a change can add follows from the rows D that it adds to the seed, or to one step over R:
    new rows  =  D, and what the step makes of new rows, until there are no more.
A row that goes may have been reached another way too, or only from itself, round a cycle: there the whole
recursion is run again.
"""

from __future__ import annotations

from textwrap import indent

from pg_stepping.delta.partition import INDENT, Anew, gather_bag, hash_of, refilling
from pg_stepping.delta.stages import Stage, is_own
from pg_stepping.delta.terms import Changed, changes_of, recursion_of, select_of
from pg_stepping.frontend.dialect import quote_name
from pg_stepping.ir import Column, Plan, Recursive, Scan
from pg_stepping.ir.rewrite import rebuild


class Recursion(Anew):
    """The statements of a recursion, in the names of StageProgram.

    `delta` is what the change adds to the seed and to one step over the rows that are stored: distinct rows,
    each with a number, which is negative for one that is taken. `extent` tells whether there is such a one.
    """

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        assert isinstance(self.partition.input, Recursive)
        self.recursive = self.partition.input

    def terms(self, changed: Changed) -> list[str]:
        """The queries of which `delta` is made."""
        parts = (self.recursive.seed, self._over_stored(self.recursive.step))
        return changes_of(parts, changed, self.stage.weight)

    def _over_stored(self, plan: Plan) -> Plan:
        """The plan with the stored rows in place of those found so far."""
        if not is_own(plan, self.recursive):
            return rebuild(plan, tuple(map(self._over_stored, plan.inputs)), lambda e: e)
        relation, count = plan.columns[0].relation, self.stage.count
        fields = (*plan.columns, Column(relation, count.name, count.type))
        return Scan(self.stage.table, relation, fields, None if self.recursive.distinct else count.name)

    @property
    def gather(self) -> tuple[str, str]:
        return gather_bag(self.stage)

    @property
    def before(self) -> tuple[tuple[str, str], ...]:
        extent = f"SELECT coalesce(bool_or({self.n} < 0), false) AS shrinks FROM delta"
        followed = self._counted(self._followed())
        return ("extent AS MATERIALIZED", extent), ("fresh AS MATERIALIZED", followed)

    @property
    def apply(self) -> str:
        return self._merged(f"excluded.{self.n}" + ("" if self.recursive.distinct else f" + state.{self.n}"))

    @property
    def outcome(self) -> str:
        stale = "CASE WHEN (SELECT shrinks FROM extent) THEN ARRAY['(0,0)'::tid] END AS stale"
        return f"SELECT min(n) AS least, {stale}\nFROM changed"

    @property
    def refresh(self) -> str:
        """All rows anew, where some may be gone."""
        fresh = self._counted(recursion_of(self.recursive))
        gone = (
            f"DELETE FROM {self.table} AS state\nWHERE NOT EXISTS (\n"
            f"{INDENT}SELECT FROM fresh WHERE fresh.{self.row_key} = state.{self.row_key}\n)"
        )
        named = (("fresh AS MATERIALIZED", fresh), ("gone AS", gone))
        with_ = ", ".join(f"{name} (\n{indent(query, INDENT)}\n)" for name, query in named)
        return f"WITH {with_}\n{self._merged(f'excluded.{self.n}')}"

    @property
    def empty(self) -> tuple[str, ...]:
        return *refilling(self.stage), f"DELETE FROM {self.table}", self.fill

    def _query(self, *, restricted: bool) -> str:
        return recursion_of(self.recursive)

    def _followed(self) -> str:
        """The recursion from the rows that were added."""
        node = self.recursive
        name, step = quote_name(node.name), select_of(node.step)
        added, union = f"SELECT {self.columns}\nFROM delta", "UNION"
        if node.distinct:
            step = (
                f"SELECT *\nFROM (\n{indent(step, INDENT)}\n) AS following\nWHERE {self._is_new('following')}"
            )
        else:
            added += f"\nCROSS JOIN unnest(array_fill(true, ARRAY[{self.n}::integer])) AS copies"
            union = "UNION ALL"
        added += f"\nWHERE {self.n} > 0 AND NOT (SELECT shrinks FROM extent)"
        if node.distinct:
            added += f"\n{INDENT}AND {self._is_new('delta')}"
        body = f"{added}\n{union}\n{step}"
        return (
            f"WITH RECURSIVE {name} ({self.columns}) AS (\n{indent(body, INDENT)}\n)\n"
            f"SELECT {self.columns} FROM {name}"
        )

    def _is_new(self, relation: str) -> str:
        """The condition that a row is not stored."""
        key = f"{relation}.{self.row_key}" if relation == "delta" else hash_of(self.stage.keys, relation)
        return f"NOT EXISTS (SELECT FROM {self.table} AS state WHERE state.{self.row_key} = {key})"
