"""The keys of a stage over one relation, each held by a row that all who compute it anew write first.

Invariant: a key that has rows has a row here too. Who comes second waits for that row, and at READ COMMITTED
then sees what the first one did. At REPEATABLE READ and SERIALIZABLE, where he cannot, Postgres tells him:
the row has changed since his snapshot (40001). If it is gone since, Postgres does not; but then the row that
he writes is new although his snapshot shows one. A key of which neither his snapshot shows a row nor there is
one now had no rows then, and has none now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import indent

from sqlglot import exp

from pg_stepping.delta.stage import SCHEMA, Stage, unique_names
from pg_stepping.delta.state import same
from pg_stepping.delta.terms import named, quote_table, whole
from pg_stepping.frontend.dialect import quote_name, quote_text
from pg_stepping.ir import Item, Table, Type
from pg_stepping.ir.types import fresh

_INDENT = "    "
_TRUE = exp.Boolean(this=True)


@dataclass(frozen=True, slots=True)
class Held:
    """A statement that writes the rows of the touched keys, in their order; it gives a row if there are any.

    `relation` is the CTE that writes, `check` what reads it.
    """

    relation: str
    check: str

    def query(self, with_: str = "") -> str:
        """The statement; `with_` is the WITH clause that the touched keys may read from."""
        before = f"{with_.rstrip()}," if with_ else "WITH"
        return f"{before} {self.text}"

    @property
    def text(self) -> str:
        return f"{self.relation}\n{self.check}"


@dataclass(frozen=True, slots=True)
class Keys:
    """The table of a stage's keys: their columns, and how often each was written."""

    stage: Stage

    @property
    def table(self) -> Table:
        return Table(SCHEMA, f"{self.stage.name}__keys")

    @property
    def columns(self) -> tuple[Item, ...]:
        """The key; a stage without one is held as a whole."""
        by = {k.name: k for k in self.stage.keys}
        return tuple(by[name] for name in self.stage.by) or (Item("touched", _TRUE, Type.of("boolean")),)

    @property
    def writes(self) -> str:
        return quote_name(fresh("writes", {c.name for c in self.columns}))

    @property
    def unique_by(self) -> list[str]:
        return unique_names(self.columns)

    @property
    def fill(self) -> str:
        """The keys of the tables as they are; those of the state, filled before, if that shows them all."""
        into = f"INSERT INTO {quote_table(self.table)} ({self._names}, {self.writes})"
        if not self.stage.by:
            return f"{into}\nVALUES (true, 1)"
        if self.stage.shows_every_key:
            return f"{into}\nSELECT DISTINCT {self._names}, 1\nFROM {quote_table(self.stage.table)}"
        listed = ", ".join(named(c.expression, c.name) for c in self.columns)
        return f"{into}\nSELECT DISTINCT {listed}, 1\n" + "\n".join(whole(self.stage.core))

    def emptied(self, steps: Sequence[str]) -> tuple[str, ...]:
        """The steps that empty the stage, with those that go with them here."""
        table = quote_table(self.table)
        if not self.stage.by:
            return f"UPDATE {table} SET {self.writes} = {self.writes} + 1", *steps
        return *steps, f"DELETE FROM {table}", self.fill

    def held(self, touched: str) -> Held:
        """The lock on the keys that the query `touched` gives."""
        table, rows = quote_table(self.table), indent(touched, _INDENT)
        by = ", ".join(self.unique_by)
        write = (
            f"INSERT INTO {table} AS held ({self._names}, {self.writes})\n"
            f"SELECT {self._names}, 1\nFROM (\n{rows}\n) AS touched\nORDER BY {by}\n"
            f"ON CONFLICT ({by}) DO UPDATE SET {self.writes} = held.{self.writes} + 1\nRETURNING held.*"
        )
        there = f"SELECT FROM {table} AS before WHERE {self._same('before', 'held')}"
        check = (
            f"SELECT count(*)\nFROM held\nWHERE {self.writes} > 1 OR NOT EXISTS ({there})\n"
            f"{_INDENT}OR stepping.refuse_key({quote_text(self.stage.name)})\nHAVING count(*) > 0"
        )
        return Held(f"held AS (\n{indent(write, _INDENT)}\n)", check)

    @property
    def released(self) -> tuple[tuple[str, str], ...]:
        """The relation that takes away the rows of the keys of `delta` that have no rows any more."""
        if not self.stage.by or not self.stage.shows_every_key:
            return ()
        # as arrays: in them NULLs are equal, and they can be hashed
        arrays = (f"ARRAY[fresh.{n}] = ARRAY[delta.{n}]" for n in map(quote_name, self.stage.by))
        table, same = quote_table(self.table), self._same("held", "delta")
        gone = (
            f"DELETE FROM {table} AS held\nUSING delta\nWHERE {same}\n"
            f"{_INDENT}AND NOT EXISTS (SELECT FROM fresh WHERE {' AND '.join(arrays)})"
        )
        return (("released AS", gone),)

    @property
    def _names(self) -> str:
        return ", ".join(quote_name(c.name) for c in self.columns)

    def _same(self, a: str, b: str) -> str:
        names = ((quote_name(c.name), c.type) for c in self.columns)
        return " AND ".join(same(f"{a}.{name}", f"{b}.{name}", type_) for name, type_ in names)
