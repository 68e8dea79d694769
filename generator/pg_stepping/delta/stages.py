"""A plan is cut into stages: each one stateful operator over joined tables, with a table for its state.

A stage reads base tables and the state tables of earlier stages. Since a state table is a table, the change
of one stage reaches the next by the same triggers that follow a base table: the rows that a statement really
replaced, not those of some snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import cast

from sqlglot import exp

from pg_stepping.delta.partition import query_of
from pg_stepping.delta.stage import SCHEMA, Published, Stage
from pg_stepping.delta.state import BIGINT, SUMMABLE, State, StateColumn, Stored, state_of, summed
from pg_stepping.delta.terms import core_of, named, recursion_of, whole
from pg_stepping.errors import UnsupportedQuery
from pg_stepping.frontend.dialect import image_of, quote_name, to_sql
from pg_stepping.frontend.tables import Relation
from pg_stepping.ir import (
    Aggregate,
    Column,
    Filter,
    Item,
    Join,
    Outer,
    Partition,
    Plan,
    Project,
    Recursive,
    Rows,
    Scan,
    Table,
    Type,
    Union,
)
from pg_stepping.ir.nodes import Expression, columns_read, is_equality
from pg_stepping.ir.rewrite import identity, is_own, outside, rebuild, renamed, rows_in, substitute
from pg_stepping.ir.types import fresh, reference
from pg_stepping.passes.flatten_joins import flatten
from pg_stepping.passes.prune_columns import prune

Typed = Callable[[Sequence[Column], Sequence[Expression]], list[Type]]

_TRUE = exp.Boolean(this=True)
_ZERO = exp.Literal.number(0)


def cut_stages(
    plan: Project, name: str, tables: dict[Table, Relation], typed: Typed
) -> tuple[tuple[Stage, ...], Published]:
    """The stages of a plan, each after those that it reads, and what is published of the last, called `name`.

    `typed` gives the types of expressions over some columns.
    """
    cutter = _Cutter(name, tables, typed, set(_relations(plan)))
    below = cutter.cut(plan.input)
    main = cutter.main(below)
    if any(s.table.name == main for stage in cutter.stages for s in stage.scans):
        # what is published comes last: what others read of it, they read of a stage of their own
        cutter = _Cutter(name, tables, typed, set(_relations(plan)))
        below = cutter.cut(plan.input, apart=True)
    items = tuple(replace(i, expression=substitute(i.expression, cutter.results)) for i in plan.items)
    if cutter.main(below) is None:
        items, below = cutter.rows(below, items)
    main = cutter.main(below)
    assert main is not None
    stages = tuple(s for s in cutter.stages if s.name != main)
    last = replace(next(s for s in cutter.stages if s.name == main), name=cutter.name)
    stages = (*stages, last)
    published = _moved(below, main, last.table)
    published = _settled(published, last) if last.kind == "groups" else published
    return _renamed(stages, main, last), Published(items, published, last)


def _settled(plan: Plan, last: Stage) -> Plan:
    """The published plan without the condition that a group has rows: only stages meet one that has none,
    while a statement is under way (a view that reads this one asks for it again, see frontend/sql)."""
    if isinstance(plan, Join):
        return replace(plan, parts=tuple(_settled(p, last) for p in plan.parts))
    if not isinstance(plan, Filter):
        return plan
    conditions = tuple(
        c for c in plan.conditions
        if not (isinstance(c, exp.NEQ) and c.expression == _ZERO and c.this.name == last.count.name)
    )  # fmt: skip
    inner = _settled(plan.input, last)
    return Filter(inner, conditions) if conditions else inner


def _relations(plan: Plan) -> Iterator[str]:
    yield from (c.relation for c in plan.columns)
    for node in plan.inputs:
        yield from _relations(node)


def _renamed(stages: tuple[Stage, ...], old: str, last: Stage) -> tuple[Stage, ...]:
    return tuple(replace(s, input=_moved(s.input, old, last.table)) for s in stages)


def _moved(plan: Plan, old: str, table: Table) -> Plan:
    """The plan with the state table `old` under its final name."""
    if isinstance(plan, Scan) and plan.table == Table(SCHEMA, old):
        return replace(plan, table=table)
    return rebuild(plan, tuple(_moved(i, old, table) for i in plan.inputs), lambda e: e)


def _looked_up(recursive: Recursive) -> tuple[tuple[str, ...], ...]:
    """The columns of a recursion's rows by which the other relations of the step find them, for each; and
    those that the step hands on, by which the rows are found that one may be derived from."""
    core = core_of(recursive.step.input)
    own = {c.relation for p in core.parts if is_own(p, recursive) for c in p.columns}
    found: dict[str, list[str]] = {}
    for condition in (c for c in core.conditions if isinstance(c, exp.EQ)):
        for mine, other in ((condition.this, condition.expression), (condition.expression, condition.this)):
            relations = {relation for relation, _ in columns_read(other)}
            if isinstance(mine, exp.Column) and mine.table in own and len(relations - own) == 1:
                found.setdefault(min(relations - own), []).append(mine.name)
    names = [i.name for i in recursive.seed.items]
    handed = [
        name
        for name, item in zip(names, recursive.step.items, strict=True)
        if isinstance(e := item.expression, exp.Column) and e.table in own and e.name == name
    ]
    if recursive.distinct and handed:
        found["itself"] = handed
    return tuple(dict.fromkeys(tuple(dict.fromkeys(columns)) for columns in found.values()))


class _Cutter:
    def __init__(self, name: str, tables: dict[Table, Relation], typed: Typed, names: set[str]) -> None:
        self.name = name
        self.tables = tables
        self.typed = typed
        self.names = names
        self.stages: list[Stage] = []
        self.results: dict[tuple[str, str], Expression] = {}
        self.made: dict[str, Stage] = {}  # by the operator that it computes
        self.recursive: list[Recursive] = []  # those in whose steps we are

    def main(self, below: Plan) -> str | None:
        """The stage that is published, if what is below needs no further one: its state, filtered or beside
        single rows."""
        core = core_of(below)
        kinds = {s.name: s.kind for s in self.stages}
        scans = [p for p in (*core.parts, *(o.input for o in core.outers)) if isinstance(p, Scan)]
        ours = all(p.table.schema == SCHEMA and p.table.name in kinds for p in scans)
        if not ours or len(scans) < len(core.parts) + len(core.outers) or any(o.match for o in core.outers):
            return None
        many = [p.table.name for p in scans if kinds[p.table.name] != "total"]
        outer = [o.input for o in core.outers]
        if len(many) > 1 or any(o.table.name in many for o in outer if isinstance(o, Scan)):
            return None
        return many[0] if many else scans[0].table.name

    def cut(self, node: Plan, *, apart: bool = False) -> Plan:
        """The node with each stateful operator below it replaced by a scan of its state table. What is
        computed twice has one stage; but `apart` from it, the uppermost operators have their own."""
        if isinstance(node, Recursive):
            self.recursive.append(node)
        below = apart and not node.stateful
        inputs = tuple(self.cut(i, apart=below) for i in node.inputs)
        node = rebuild(node, inputs, lambda e: substitute(e, self.results))
        if isinstance(node, Aggregate):
            return self._aggregate(node, apart)
        if isinstance(node, Partition):
            return self._partition(node, apart)
        if isinstance(node, Recursive):
            return self._recursive(node, apart)
        node = flat(node)
        return self._matched(node) if isinstance(node, Join) else node

    def _aggregate(self, node: Aggregate, apart: bool) -> Plan:
        _check_types(node)
        _check_keys(node.keys)
        core = prune(node.input, set(columns_read(*node.expressions)))
        relation = node.relation
        if not core_of(core).scans:
            return _constant(node)
        state: State = state_of(node, relation)
        self.results.update({(relation, call): read for call, read in state.results.items()})
        kind = "groups" if node.keys else "total"
        stored: tuple[Stored, ...] = (*state.columns, *state.stored)
        singleton = fresh("singleton", {c.name for c in stored})
        keys = node.keys or (Item(singleton, _TRUE, Type.of("boolean")),)
        computed = "" if apart else identity(replace(node, input=core))
        stage = self.made.get(computed)
        if stage is None:
            stage = self._stage(kind, core, keys, state.columns)
            stage = self._keep(replace(stage, results=state.stored), computed)
        fields = (
            *(Column(relation, k.name, k.type) for k in keys),
            *(Column(relation, c.name, c.type) for c in stored),
        )
        scan = Scan(stage.table, relation, fields)
        return scan if kind == "total" else _present(scan, state.columns[0])

    def _partition(self, node: Partition, apart: bool) -> Plan:
        _check_keys(node.keys)
        core = prune(node.input, set(columns_read(*node.expressions)))
        if not core_of(core).scans:
            return _never_changing(node.relation, query_of(node, core_of(core)), node.columns)
        taken = {i.name for i in (*node.items, *node.ranks)}
        stored = {i.expression: i.name for i in reversed(node.items)}
        hidden = tuple(
            Item(fresh("key", taken), k.expression, k.type) for k in node.keys if k.expression not in stored
        )
        named = stored | {k.expression: k.name for k in hidden}
        count = StateColumn(fresh("n", taken), BIGINT, "rows")
        computed = "" if apart else identity(replace(node, input=core))
        stage = self.made.get(computed)
        if stage is None:
            by = tuple(dict.fromkeys(named[k.expression] for k in node.keys))
            grouped = node.group is not None and len(node.group) == len(node.keys)
            stage = self._stage("partition", core, (*node.items, *hidden), (count,))
            stage = replace(
                stage,
                row_key=fresh("row_key", taken),
                by=by,
                looked_up=(by,) if by else (),
                partition=replace(node, input=core, items=(*node.items, *hidden)),
                unique=grouped or (node.group is None and _is_unique(stage, self.tables)),
            )
            stage = self._keep(stage, computed)
        fields = tuple(Column(node.relation, i.name, i.type) for i in node.items)
        scan = Scan(stage.table, node.relation, (*fields, Column(node.relation, count.name, BIGINT)))
        return scan if stage.unique else replace(scan, copies=count.name)

    def _recursive(self, node: Recursive, apart: bool) -> Plan:
        """A stage that is computed anew as a whole when one of its tables loses rows."""
        self.recursive.pop()
        node = cast(Recursive, prune(node, set()))
        node = replace(node, followed=not any(map(self._is_unmatched, core_of(node.step.input).outers)))
        touched = Item("touched", _TRUE, Type.of("boolean"))
        scans = [s for part in (node.seed, node.step) for s in core_of(part.input).scans]
        if not scans:  # it never changes
            return _never_changing(node.relation, recursion_of(node), node.columns)
        parts = tuple(Project(s, fresh("touched", self.names), (touched,)) for s in scans)
        items = tuple(Item(i.name, reference(node.relation, i.name), i.type) for i in node.seed.items)
        taken = {i.name for i in items}
        count = StateColumn(fresh("n", taken), BIGINT, "rows")
        core = Union(parts, fresh("changes", self.names))
        partition = Partition(node, node.relation, (), items)
        computed = "" if apart else identity(node)
        stage = self.made.get(computed)
        if stage is None:
            stage = replace(
                self._stage("partition", core, items, (count,)),
                row_key=fresh("row_key", taken),
                unique=node.distinct,
                partition=partition,
                looked_up=_looked_up(node) if node.followed else (),
            )
            stage = self._keep(stage, computed)
        fields = (*node.columns, Column(node.relation, count.name, BIGINT))
        return Scan(stage.table, node.relation, fields, copies=None if node.distinct else count.name)

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
        names = {f.name for s in core_of(core).scans for f in s.fields}
        names |= {c.name for c in core.columns} | {k.name for k in keys} | {c.name for c in state}
        name = f"{self.name}__stage_{len(self.stages) + 1}"
        stage = Stage(name, kind, core, keys, state, row_key="", weight=fresh("weight", names))
        self.stages.append(stage)
        return stage

    def _keep(self, stage: Stage, computed: str) -> Stage:
        """The last stage as it is now known, for all that are computed in this way."""
        self.stages[-1] = stage
        if computed:
            self.made[computed] = stage
        return stage

    # --- outer joins ------------------------------------------------------------------------------

    def _matched(self, join: Join) -> Join:
        """The join with a match for each of its outers that can have several partners for a row."""
        for i, outer in enumerate(join.outers):
            if self._is_unmatched(outer):
                outers = list(join.outers)
                outers[i] = self._match(join, i)
                join = replace(join, outers=tuple(outers))
        return join

    def _is_unmatched(self, outer: Outer) -> bool:
        return outer.match is None and not isinstance(outer.input, Rows) and not self._is_single(outer)

    def _is_single(self, outer: Outer) -> bool:
        """Whether a key of the optional relation is equated to what it is joined to."""
        scan = outer.input
        if not isinstance(scan, Scan) or scan.copies:
            return False
        pairs, _ = _sorted_conditions(outer, scan.relation)
        equated = {e.name for _, e in pairs if isinstance(e, exp.Column)}
        stage = next((s for s in self.stages if s.table == scan.table), None)
        if stage is not None:
            return stage.one_for is not None and equated >= stage.one_for
        return any(equated >= set(key) for key in self.tables[scan.table].keys)

    def _match(self, join: Join, place: int) -> Outer:
        """A stage with one row for each value that has partners: of the equated expressions, or, where other
        conditions compare the two sides, of all columns that these read of the other one. A recursion's own
        rows are in no stage: without a match where the conditions read them."""
        outer = join.outers[place]
        relation = outer.input.columns[0].relation if outer.input.columns else ""
        pairs, rest = _sorted_conditions(outer, relation)
        types = self.typed(outer.input.columns, [inner for _, inner in pairs]) if pairs else []
        if not all(type_.equated for type_ in types):
            pairs, rest = [], list(outer.conditions)
        across = [c for c in rest if len({r == relation for r, _ in columns_read(c)}) > 1]
        own = [c for c in rest if c not in across and any(r == relation for r, _ in columns_read(c))]
        others = [c for c in rest if c not in across and c not in own]
        copy, columns = renamed(outer.input, self.names)
        if not across:
            values = [substitute(inner, columns) for _, inner in pairs]
            below = Filter(copy, tuple(substitute(c, columns) for c in own)) if own else copy
            match, keys = self._distinct(below, values)
            equal = (exp.EQ(this=left, expression=key) for (left, _), key in zip(pairs, keys, strict=True))
            return replace(outer, match=match[0], match_conditions=(*equal, *others, *match[1]))
        before = join.outers[:place]
        optional = {c.relation for o in join.outers[place:] for c in o.input.columns}
        found = self._own(join)
        if found & {r for r, _ in columns_read(*outer.conditions)}:
            return outer
        before = tuple(o for o in before if found.isdisjoint(c.relation for c in o.input.columns))
        parts = tuple(
            p
            for p in join.parts
            if not self._has_own(p)
            and found.isdisjoint(c.relation for c in p.columns)
            and optional.isdisjoint(r for r, _ in outside(p))
        )
        there = {c.relation for p in (*parts, *(o.input for o in before)) for c in p.columns}
        ready = tuple(c for c in join.conditions if {r for r, _ in columns_read(c)} <= there)
        left: Plan = parts[0]
        if len(parts) + len(before) > 1:
            left = Join(parts, ready, before)
        elif ready:
            left = Filter(left, ready)
        mine, left_columns = renamed(left, self.names)
        columns |= left_columns
        both = Join((mine, copy), tuple(substitute(c, columns) for c in outer.conditions))
        type_of = {
            (c.relation, c.name): c.type for p in (*join.parts, *(o.input for o in before)) for c in p.columns
        }
        read = dict.fromkeys(c for c in columns_read(*outer.conditions) if c[0] != relation)
        by: list[Expression] = []
        for c in read:  # equal values need not be the same in the conditions
            by += [reference(*c)] if type_of[c].equated else []
            by += [] if type_of[c].exact else [image_of(reference(*c))]
        match, keys = self._distinct(both, [substitute(e, columns) for e in by])
        sure = {(c.relation, c.name) for p in join.parts for c in p.columns if c.not_null}
        same = (_same(e, key, sure=set(columns_read(e)) <= sure) for e, key in zip(by, keys, strict=True))
        return replace(outer, match=match[0], match_conditions=(*same, *match[1]), mutual=True)

    def _has_own(self, plan: Plan) -> bool:
        """Whether the rows that a recursion has found so far are read there."""
        return any(is_own(r, node) for r in rows_in(plan) for node in self.recursive)

    def _own(self, join: Join) -> set[str]:
        """The relations of a join that are made of such rows."""
        own: set[str] = set()
        of_outers = ((o.input, {r for r, _ in columns_read(*o.conditions)}) for o in join.outers)
        for plan, reads in (*((p, set[str]()) for p in join.parts), *of_outers):
            if self._has_own(plan) or own & (reads | {r for r, _ in outside(plan)}):
                own |= {c.relation for c in plan.columns}
        return own

    def _distinct(
        self, below: Plan, values: list[Expression]
    ) -> tuple[tuple[Plan, tuple[Expression, ...]], list[Expression]]:
        """A stage for the distinct values of some expressions: what reads it, under which conditions, and
        its columns."""
        if isinstance(below, Project):
            columns = {(below.relation, i.name): i.expression for i in below.items}
            below, values = below.input, [substitute(v, columns) for v in values]
        relation = fresh("matches", self.names)
        types = self.typed(below.columns, values) if values else [Type.of("boolean")]
        taken: set[str] = set()
        keys = tuple(
            Item(fresh(v.name if isinstance(v, exp.Column) else "key", taken), v, t)
            for v, t in zip(values or [_TRUE], types, strict=True)
        )
        scan = self.cut(Aggregate(flatten(below), relation, keys, ()))
        match = (scan.input, scan.conditions) if isinstance(scan, Filter) else (scan, ())
        return match, [reference(relation, k.name) for k in keys] if values else []


def _constant(node: Aggregate) -> Rows:
    """Groups of rows that never change."""
    items = [named(k.expression, k.name) for k in node.keys]
    for call in node.calls:
        argument = ", ".join(map(to_sql, call.arguments)) or "*"
        distinct = "DISTINCT " if call.distinct else ""
        where = f" FILTER (WHERE {to_sql(call.condition)})" if call.condition is not None else ""
        items.append(f"{call.function}({distinct}{argument}){where} AS {quote_name(call.name)}")
    by = ", ".join(str(i + 1) for i in range(len(node.keys)))
    query = f"SELECT {', '.join(items)}\n" + "\n".join(whole(core_of(node.input)))
    query += f"\nGROUP BY {by}" if by else ""
    columns = node.columns
    if not columns:  # one row
        columns, query = (Column(node.relation, "there", Type.of("boolean"), True),), "VALUES (true)"
    return _never_changing(node.relation, query, columns)


def _never_changing(relation: str, query: str, columns: tuple[Column, ...]) -> Rows:
    """The rows of a query that reads no table."""
    header = f"({', '.join(quote_name(c.name) for c in columns)})"
    return Rows(relation, exp.Paren(this=exp.Var(this=query)), header, columns)


def _sorted_conditions(
    outer: Outer, relation: str
) -> tuple[list[tuple[Expression, Expression]], list[Expression]]:
    """The equalities of an expression of other relations with one of `relation`, and the other conditions."""
    pairs, rest = [], []
    for condition in outer.conditions:
        sides = (condition.args.get("this"), condition.args.get("expression"))
        if is_equality(condition):
            mine = [{r == relation for r, _ in columns_read(side)} for side in sides]
            if mine == [{False}, {True}]:
                pairs.append((condition.this, condition.expression))
                continue
            if mine == [{True}, {False}]:
                pairs.append((condition.expression, condition.this))
                continue
        rest.append(condition)
    return pairs, rest


def _same(a: Expression, b: Expression, *, sure: bool) -> Expression:
    return (
        exp.EQ(this=a, expression=b)
        if sure
        else exp.Not(this=exp.Paren(this=exp.NullSafeNEQ(this=a, expression=b)))
    )


def _present(scan: Scan, count: StateColumn) -> Filter:
    """The rows of a state table that are there: one whose count came to zero is deleted a moment later."""
    return Filter(scan, (exp.NEQ(this=reference(scan.relation, count.name), expression=_ZERO),))


def flat(node: Plan) -> Plan:
    """A join or filter with the filters of its inputs (the HAVING of a grouping) among its conditions."""
    if not isinstance(node, Join | Filter):
        return node
    parts: list[Plan] = []
    conditions = list(node.conditions)
    for part in node.parts if isinstance(node, Join) else (node.input,):
        while isinstance(part, Filter):
            conditions.extend(part.conditions)
            part = part.input
        parts.append(part)
    outers = tuple(map(_flat_outer, node.outers)) if isinstance(node, Join) else ()
    if len(parts) + len(outers) > 1:
        return Join(tuple(parts), tuple(conditions), outers)
    if isinstance(parts[0], Join):
        return replace(parts[0], conditions=(*parts[0].conditions, *conditions))
    return Filter(parts[0], tuple(conditions))


def _flat_outer(outer: Outer) -> Outer:
    conditions, input_ = list(outer.conditions), outer.input
    while isinstance(input_, Filter):
        conditions.extend(input_.conditions)
        input_ = input_.input
    return replace(outer, input=input_, conditions=tuple(conditions))


def _check_keys(keys: Sequence[Item]) -> None:
    for key in keys:
        if not key.type.groups:
            raise UnsupportedQuery(
                f"groups or partitions by a type that has no order ({key.type.name})",
                hint="group by a form of it that has one, such as its text",
            )


def _check_types(node: Aggregate) -> None:
    for call in node.calls:
        if call.function not in ("sum", "avg") or call.argument_type is None:
            continue
        base = summed(call.argument_type.base)
        if base not in SUMMABLE:
            raise UnsupportedQuery(
                f"{call.function}({base})", hint=f"sum and avg are maintained over {', '.join(SUMMABLE)}"
            )


def _is_unique(stage: Stage, tables: dict[Table, Relation]) -> bool:
    """Whether the outputs hold a key of every table, directly or through the join's equalities."""
    core = stage.core
    if core.outers or not core.is_inner or any(isinstance(p, Rows) for p in core.parts):
        return False
    known = {(c.table, c.name) for k in stage.keys if isinstance(c := k.expression, exp.Column)}
    equal = [
        ((c.this.table, c.this.name), (c.expression.table, c.expression.name))
        for c in core.conditions
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
