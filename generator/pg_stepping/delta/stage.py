"""What a stage is: one stateful operator over joined tables, with a table for its state."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from pg_stepping.delta.state import ResultColumn, StateColumn
from pg_stepping.delta.terms import Core, core_of
from pg_stepping.frontend.dialect import quote_name, to_sql
from pg_stepping.ir import Item, Partition, Plan, Recursive, Scan, Table
from pg_stepping.shipped import catalog_relations

SCHEMA = "stepping"


@dataclass(frozen=True, slots=True)
class Stage:
    """A stateful operator with its state table.

    `kind` is `groups` (one row a group), `total` (no keys: always one row), `rows` (a bag: one row for
    each distinct row, found by `row_key`, a SHA-256 of its text) or `partition` (a bag that is computed anew
    for each touched value of the columns `by`, as `partition` says). `state[0]` counts the input rows;
    `results` are computed from it and stored beside it.
    `unique`: a primary key proves that no row of the bag occurs twice; `hashed`: equal keys have equal
    hashes; `looked_up`: columns by which the stage finds its own rows.
    `stripes`: over how many rows, told apart by the column `stripe`, a group is spread; 0: over none.
    """

    name: str
    kind: str
    input: Plan
    keys: tuple[Item, ...]
    state: tuple[StateColumn, ...]
    row_key: str
    weight: str
    results: tuple[ResultColumn, ...] = ()
    unique: bool = False
    by: tuple[str, ...] = ()
    hashed: bool = False
    partition: Partition | None = None
    looked_up: tuple[tuple[str, ...], ...] = ()
    stripes: int = 0
    stripe: str = ""

    @property
    def table(self) -> Table:
        return Table(SCHEMA, self.name)

    @property
    def core(self) -> Core:
        """What the stage joins."""
        return core_of(self.input)

    @property
    def scans(self) -> tuple[Scan, ...]:
        """Every place where the stage reads a table, in the order of the plan."""
        return self.core.scans

    @property
    def is_bag(self) -> bool:
        """Whether the state has a row for each distinct row of the result, with its number."""
        return self.kind in ("rows", "partition")

    @property
    def kept_by(self) -> str:
        """How it is maintained: by `delta`, by computing its `touched keys` anew, or the whole `stage`."""
        if self.kind != "partition":
            return "delta"
        if self.is_set:
            return "delta, derived again where rows go"
        if self.is_followed:
            return "delta, or stage where rows come and go"
        return "touched keys" if self.by else "stage"

    @property
    def unique_by(self) -> list[str]:
        """What the state table has one row for each value of, as SQL."""
        return [*self.ordered_by, *([quote_name(self.stripe)] if self.stripes else [])]

    @property
    def ordered_by(self) -> list[str]:
        """The order in which rows are written, as SQL."""
        return [quote_name(self.row_key)] if self.is_bag else unique_names(self.keys)

    @property
    def is_sorted(self) -> bool:
        """Whether an index on columns alone can find its rows."""
        return self.is_bag or all(k.type.sorts for k in self.keys)

    @property
    def is_recursive(self) -> bool:
        return self.recursive is not None

    @property
    def recursive(self) -> Recursive | None:
        node = self.partition.input if self.partition is not None else None
        return node if isinstance(node, Recursive) else None

    @property
    def is_followed(self) -> bool:
        """Whether it is a recursion that is kept by delta."""
        return self.recursive is not None and self.recursive.followed

    @property
    def empties(self) -> bool:
        """Whether nothing is left of it, but for the row of a total, when one of its tables is empty."""
        all_rows = self.partition is not None and self.partition.group == ()
        return self.core.is_inner and not all_rows

    @property
    def shows_every_key(self) -> bool:
        """Whether a partition has a row for each key that its input has."""
        conditions = self.partition.conditions if self.partition is not None else ()
        first = (isinstance(c, exp.LTE) and to_sql(c.expression) != "0" for c in conditions)
        return all(first)

    @property
    def is_set(self) -> bool:
        """Whether it is such a recursion of distinct rows."""
        return self.recursive is not None and self.recursive.followed and self.recursive.distinct

    @property
    def one_for(self) -> set[str] | None:
        """The columns of which each value has at most one row in the state table, None if there are none."""
        if self.kind in ("groups", "total"):
            return {k.name for k in self.keys} if self.kind == "groups" else set()
        grouped = self.partition is not None and len(self.partition.group or ()) == len(self.partition.keys)
        return set(self.by) if grouped and self.partition and self.partition.group is not None else None

    @property
    def count(self) -> StateColumn:
        return self.state[0]


@dataclass(frozen=True, slots=True)
class Published:
    """The query over the last stage's state table, and what may stand beside it, that readers see."""

    items: tuple[Item, ...]
    input: Plan
    stage: Stage

    @property
    def core(self) -> Core:
        return core_of(self.input)


def unique_names(keys: Sequence[Item]) -> list[str]:
    """What a unique index is on, so that it has one row for each value of the keys."""
    named = ((quote_name(k.name), k.type) for k in keys)
    return [name if type_.sorts else f"({name}::text)" for name, type_ in named]


def object_name(view: Table) -> str:
    """The name of a view's state table: plain lower-case, the schema in it unless that is `public`.

    Where letters were changed or left out, or the catalog has it, a hash of the full name keeps two apart.
    """
    full = view.name if view.schema == "public" else f"{view.schema}__{view.name}"
    plain = re.sub(r"[^a-z0-9_]", "_", full.lower())
    plain = plain if plain[0].isalpha() else f"v_{plain}"
    ambiguous = "__" in view.name or "__" in view.schema
    ambiguous |= plain in catalog_relations()
    if plain == full and len(plain) <= 40 and not ambiguous:
        return plain
    digest = hashlib.sha256(f"{view.schema}\0{view.name}".encode()).hexdigest()[:8]
    return f"{plain[:31]}_{digest}"
