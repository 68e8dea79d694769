"""A plan is cut into stages: each one stateful operator over joined tables, with a table for its state.

A stage reads base tables and the state tables of earlier stages. Since a state table is a table, the change
of one stage reaches the next by the same triggers that follow a base table: the rows that a statement really
replaced, not those of some snapshot.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace

from sqlglot import exp

from pg_stepping.delta.state import BIGINT, SUMMABLE, ResultColumn, State, StateColumn, Stored, state_of
from pg_stepping.errors import UnsupportedQuery
from pg_stepping.frontend.postgres import Relation
from pg_stepping.ir import Aggregate, Column, Filter, Item, Join, Plan, Project, Scan, Table, Type
from pg_stepping.ir.nodes import Expression, columns_read
from pg_stepping.ir.rewrite import rebuild, substitute
from pg_stepping.ir.types import fresh, reference
from pg_stepping.passes.prune_columns import prune

SCHEMA = "stepping"
_TRUE = exp.Boolean(this=True)
_ZERO = exp.Literal.number(0)


@dataclass(frozen=True, slots=True)
class Stage:
    """A stateful operator with its state table.

    `kind` is `groups` (one row a group), `total` (no keys: always one row) or `rows` (a bag: one row for
    each distinct row, found by `row_key`, a SHA-256 of its text). `state[0]` counts the input rows;
    `results` are computed from it and stored beside it.
    `unique`: a primary key proves that no row of the bag occurs twice.
    """

    name: str
    kind: str
    core: Plan
    keys: tuple[Item, ...]
    state: tuple[StateColumn, ...]
    row_key: str
    weight: str
    results: tuple[ResultColumn, ...] = ()
    unique: bool = False

    @property
    def table(self) -> Table:
        return Table(SCHEMA, self.name)

    @property
    def scans(self) -> tuple[Scan, ...]:
        """The relations that the stage joins, in the order of the plan."""
        parts = self.core.inputs if isinstance(self.core, Join | Filter) else (self.core,)
        assert all(isinstance(p, Scan) for p in parts)
        return parts  # type: ignore[return-value]

    @property
    def conditions(self) -> tuple[Expression, ...]:
        return self.core.conditions if isinstance(self.core, Join | Filter) else ()

    @property
    def joins(self) -> bool:
        """Whether a row of the result comes from more than one row of its tables."""
        return len(self.scans) > 1

    @property
    def count(self) -> StateColumn:
        return self.state[0]


@dataclass(frozen=True, slots=True)
class Published:
    """The query over the last stage's state table that readers see."""

    items: tuple[Item, ...]
    conditions: tuple[Expression, ...]
    relation: str
    stage: Stage


def object_name(view: Table) -> str:
    """The name of a view's state table: plain lower-case, the schema in it unless that is `public`.

    Where letters were changed or left out, a hash of the full name keeps two views apart.
    """
    full = view.name if view.schema == "public" else f"{view.schema}__{view.name}"
    plain = re.sub(r"[^a-z0-9_]", "_", full.lower())
    plain = plain if plain[0].isalpha() else f"v_{plain}"
    ambiguous = "__" in view.name or "__" in view.schema
    if plain == full and len(plain) <= 40 and not ambiguous:
        return plain
    digest = hashlib.sha256(f"{view.schema}\0{view.name}".encode()).hexdigest()[:8]
    return f"{plain[:31]}_{digest}"


def cut_stages(
    plan: Project, view: Table, tables: dict[Table, Relation]
) -> tuple[tuple[Stage, ...], Published]:
    """The stages of a plan, each after those that it reads, and what is published of the last."""
    cutter = _Cutter(object_name(view), tables)
    below = cutter.cut(plan.input)
    items = tuple(replace(i, expression=substitute(i.expression, cutter.results)) for i in plan.items)
    scan = below.input if isinstance(below, Filter) else below
    if not (isinstance(scan, Scan) and scan.table.schema == SCHEMA and scan.relation in cutter.grouped):
        items, below = cutter.rows(below, items)
        scan = below.input if isinstance(below, Filter) else below
    assert isinstance(scan, Scan)
    last = cutter.stages[-1] = replace(cutter.stages[-1], name=cutter.name)
    conditions = below.conditions if isinstance(below, Filter) else ()
    return tuple(cutter.stages), Published(items, conditions, scan.relation, last)


class _Cutter:
    def __init__(self, name: str, tables: dict[Table, Relation]) -> None:
        self.name = name
        self.tables = tables
        self.stages: list[Stage] = []
        self.grouped: set[str] = set()
        self.results: dict[tuple[str, str], Expression] = {}

    def cut(self, node: Plan) -> Plan:
        """The node with each aggregate below it replaced by a scan of its state table."""
        inputs = tuple(self.cut(i) for i in node.inputs)
        node = rebuild(node, inputs, lambda e: substitute(e, self.results))
        if not isinstance(node, Aggregate):
            return _flat(node)
        _check_types(node)
        core = prune(node.input, set(columns_read(*node.expressions)))
        relation = node.relation
        state: State = state_of(node, relation)
        self.results.update({(relation, call): read for call, read in state.results.items()})
        kind = "groups" if node.keys else "total"
        stored: tuple[Stored, ...] = (*state.columns, *state.stored)
        singleton = fresh("singleton", {c.name for c in stored})
        keys = node.keys or (Item(singleton, _TRUE, Type.of("boolean")),)
        stage = self._stage(kind, core, keys, state.columns)
        self.stages[-1] = stage = replace(stage, results=state.stored)
        self.grouped.add(relation)
        fields = (
            *(Column(relation, k.name, k.type) for k in keys),
            *(Column(relation, c.name, c.type) for c in stored),
        )
        scan = Scan(stage.table, relation, fields)
        return scan if kind == "total" else _present(scan, state.columns[0])

    def rows(self, core: Plan, items: tuple[Item, ...]) -> tuple[tuple[Item, ...], Plan]:
        """A stage for a bag of rows; returns how its columns are read."""
        core = prune(core, set(columns_read(*(i.expression for i in items))))
        taken = {i.name for i in items}
        count = StateColumn(fresh("n", taken), BIGINT, "rows")
        stage = self._stage("rows", core, items, (count,))
        stage = replace(stage, row_key=fresh("row_key", taken), unique=_is_unique(stage, self.tables))
        self.stages[-1] = stage
        fields = (*(Column("rows", i.name, i.type) for i in items), Column("rows", count.name, BIGINT))
        scan = Scan(stage.table, "rows", fields, copies=None if stage.unique else count.name)
        read = tuple(Item(i.name, Column("rows", i.name, i.type).ref, i.type) for i in items)
        return read, _present(scan, count) if stage.unique else scan

    def _stage(self, kind: str, core: Plan, keys: tuple[Item, ...], state: tuple[StateColumn, ...]) -> Stage:
        names = {c.name for c in core.columns} | {k.name for k in keys} | {c.name for c in state}
        name = f"{self.name}__stage_{len(self.stages) + 1}"
        stage = Stage(name, kind, core, keys, state, row_key="", weight=fresh("weight", names))
        self.stages.append(stage)
        return stage


def _present(scan: Scan, count: StateColumn) -> Filter:
    """The rows of a state table that are there: one whose count came to zero is deleted a moment later."""
    return Filter(scan, (exp.NEQ(this=reference(scan.relation, count.name), expression=_ZERO),))


def _flat(node: Plan) -> Plan:
    """A join or filter with the filters of its inputs (the HAVING of a grouping) among its conditions."""
    if not isinstance(node, Join | Filter):
        return node
    parts: list[Plan] = []
    conditions = list(node.conditions)
    for part in node.inputs:
        while isinstance(part, Filter):
            conditions.extend(part.conditions)
            part = part.input
        parts.append(part)
    return Join(tuple(parts), tuple(conditions)) if len(parts) > 1 else Filter(parts[0], tuple(conditions))


def _check_types(node: Aggregate) -> None:
    for call in node.calls:
        if call.function == "count" or call.argument_type is None:
            continue
        base = call.argument_type.base.split("(")[0]
        if base not in SUMMABLE:
            raise UnsupportedQuery(
                f"{call.function}({base})", hint=f"sum and avg are maintained over {', '.join(SUMMABLE)}"
            )


def _is_unique(stage: Stage, tables: dict[Table, Relation]) -> bool:
    """Whether the outputs hold a key of every table, directly or through the join's equalities."""
    known = {(c.table, c.name) for k in stage.keys if isinstance(c := k.expression, exp.Column)}
    equal = [
        ((c.this.table, c.this.name), (c.expression.table, c.expression.name))
        for c in stage.conditions
        if isinstance(c, exp.EQ) and isinstance(c.this, exp.Column) and isinstance(c.expression, exp.Column)
    ]
    open_ = {s.relation: s for s in stage.scans}
    while True:
        for a, b in equal:
            if a in known or b in known:
                known |= {a, b}
        found = [
            s
            for s in open_.values()
            if s.table in tables
            and not s.copies
            and any(known >= {(s.relation, c) for c in key} for key in tables[s.table].keys)
        ]
        if not found:
            return not open_
        for scan in found:
            del open_[scan.relation]
            known |= {(scan.relation, f.name) for f in scan.fields}
