"""A subquery's tie to the query around it: which rows of the two belong together.

Where a subquery only compares columns of the query around it for equality, what it compares them to becomes
a key of its result; else it is joined with their distinct values first, which become its keys (Neumann,
Kemper, Unnesting Arbitrary Queries, BTW 2015).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from sqlglot import exp

from pg_stepping.frontend.database_functions import over_no_rows
from pg_stepping.frontend.dialect import cast_to, image_of, parse, quote_name, to_sql
from pg_stepping.frontend.refuse import Source
from pg_stepping.frontend.trees import name_of
from pg_stepping.ir import (
    Aggregate,
    Call,
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
    Type,
    Union,
)
from pg_stepping.ir.nodes import Expression, columns_read, is_equality
from pg_stepping.ir.rewrite import is_own, outside, rebuild, renamed, rows_in, substitute
from pg_stepping.ir.types import fresh, reference
from pg_stepping.passes.flatten_joins import flatten_joins
from pg_stepping.passes.inline_projections import inline_projections

BOOLEAN = Type.of("boolean")
TRUE = exp.Boolean(this=True)
_TEXT = Type("text", "text", 'pg_catalog."C"', "value")
Collated = Callable[[Expression, Sequence[Column]], Expression]
TypeOf = Callable[[Sequence[Column], Sequence[Expression]], list[Type]]
OfNone = Callable[[Sequence[Column], Expression], str | None]  # the text of an aggregate's value over no rows


class Key(NamedTuple):
    """What is equal where rows of the outer query and the subquery belong together; `alike`: or both NULL."""

    outer: Expression
    inner: Expression
    alike: bool = False

    @property
    def link(self) -> Expression:
        if not self.alike:
            return exp.EQ(this=self.outer.copy(), expression=self.inner.copy())
        different = exp.NullSafeNEQ(this=self.outer.copy(), expression=self.inner.copy())
        return exp.Not(this=exp.Paren(this=different))


class _CannotLift(Exception):
    """The subquery does more with the outer query's columns than compare them for equality."""


class Correlation:
    """Binds subqueries to the plan of the query that they stand in by keys."""

    def __init__(
        self, names: set[str], type_of: TypeOf, collated: Collated, of_none: OfNone, source: Source
    ) -> None:
        self.names = names
        self.type_of = type_of
        self.collated = collated
        self.of_none = of_none
        self.source = source
        self._texts: dict[tuple[str, str], Expression] = {}  # as if they were columns
        self._compensated: set[str] = set()  # aggregates whose one row is made up for where there is no group

    def _bound(self, subquery: Plan, plan: Plan) -> tuple[Project, list[Key]]:
        """The subquery without columns of the plan; its rows belong to those with equal keys."""
        if not isinstance(subquery, Project):
            items = tuple(Item(c.name, c.ref, c.type) for c in subquery.columns)
            relation = fresh("result", self.names)
            subquery = Project(subquery, relation, items)
        mine = {(c.relation, c.name) for c in plan.columns}
        if not outside(subquery):
            return subquery, []
        subquery = flatten_joins(inline_projections(subquery))
        try:
            below, keys = self._lifted(subquery)
        except _CannotLift:
            free = sorted(outside(subquery) & mine)
            if not free:  # what it reads belongs to a query further out
                return subquery, []
            below, keys = self._bound_by_domain(subquery, plan, free)
        assert isinstance(below, Project)
        return below, keys

    def _bound_by_domain(
        self, subquery: Plan, plan: Plan, free: list[tuple[str, str]]
    ) -> tuple[Plan, list[Key]]:
        """The subquery for each of the values of `free`.

        Values that are equal and yet differ have different texts; what has no order is read from its text.
        """
        columns = {(c.relation, c.name): c for c in plan.columns}
        by, unsorted = [], dict[tuple[str, str], Expression]()
        for c in free:
            text = (c[0], f"{c[1]} as text")
            self._texts[text] = image_of(reference(*c))
            if columns[c].type.equated:
                by.append(c)
            else:
                unsorted[c] = cast_to(reference(*text), columns[c].type.name)
            by += [] if columns[c].type.exact else [text]
        below, refs = self._with_domain(_read_from(subquery, unsorted), plan, by)
        sure = {c for c in columns if columns[c].not_null}
        keys = []
        for c, ref in zip(by, refs, strict=True):
            outer = self._texts.get(c, reference(*c))
            keys.append(Key(outer, ref, alike=not set(columns_read(outer)) <= sure))
        return below, keys

    def _lifted(self, node: Plan) -> tuple[Plan, list[Key]]:
        """The node without its comparisons to outer columns, which are returned as keys."""
        if not outside(node):
            return node, []
        if isinstance(node, Union):
            return self._lifted_union(node)
        if isinstance(node, Scan | Rows | Recursive):
            raise _CannotLift
        if isinstance(node, Join):
            return self._lifted_join(node)
        if isinstance(node, Filter):
            below, keys = self._lifted(node.input)
            kept, more = _split(node.conditions, below.columns)
            return (Filter(below, kept) if kept else below), [*keys, *more]
        below, keys = self._lifted(node.input)
        there = {(c.relation, c.name) for c in below.columns}
        if set(columns_read(*node.expressions)) - there:
            raise _CannotLift
        keyed, refs = self._keyed(rebuild(node, (below,), lambda e: e), [k.inner for k in keys])
        return keyed, [k._replace(inner=r) for k, r in zip(keys, refs, strict=True)]

    def _lifted_join(self, node: Join) -> tuple[Plan, list[Key]]:
        there = {(c.relation, c.name) for c in node.columns}
        of_outers = [c for o in node.outers for c in o.conditions]
        sources = [p.source for p in node.inputs if isinstance(p, Rows)]
        if any(outside(o.input) for o in node.outers) or set(columns_read(*of_outers, *sources)) - there:
            raise _CannotLift
        parts: list[Plan] = []
        keys: list[Key] = []
        for part in node.parts:
            below, more = (part, []) if isinstance(part, Rows) else self._lifted(part)
            parts.append(below)
            keys += more
        kept, more = _split(node.conditions, node.columns)
        return Join(tuple(parts), kept, node.outers), [*keys, *more]

    def _lifted_union(self, node: Union) -> tuple[Plan, list[Key]]:
        lifted = [self._lifted(p) for p in node.parts]
        outer = [[to_sql(k.outer) for k in keys] for _, keys in lifted]
        types = [self.type_of(p.columns, [k.inner for k in keys]) for p, keys in lifted]
        if any(o != outer[0] for o in outer) or any(t != types[0] for t in types):
            raise _CannotLift
        taken = {i.name for p in node.parts for i in p.items}
        names = [fresh("key", taken) for _ in outer[0]]
        parts = []
        for (part, keys), of_part in zip(lifted, types, strict=True):
            assert isinstance(part, Project)
            own = {(part.relation, i.name): i.expression for i in part.items}
            own_items = part.items[: len(node.parts[0].items)]
            more = (
                Item(n, substitute(k.inner, own), t) for n, k, t in zip(names, keys, of_part, strict=True)
            )
            parts.append(replace(part, items=(*own_items, *more)))
        read = [reference(node.relation, n) for n in names]
        return Union(tuple(parts), node.relation), [
            k._replace(inner=r) for k, r in zip(lifted[0][1], read, strict=True)
        ]

    def _keyed(self, node: Plan, inner: list[Expression]) -> tuple[Plan, list[Expression]]:
        """The node with more keys, expressions over its input; returns how they are read."""
        if not inner:
            return node, []
        assert isinstance(node, Project | Aggregate | Partition)
        if isinstance(node, Aggregate | Partition) and self._is_open(node):
            raise _CannotLift
        taken = {c.name for c in node.columns}
        taken |= {k.name for k in node.keys} if isinstance(node, Aggregate | Partition) else set()
        types = self.type_of(node.input.columns, inner)
        items = tuple(
            Item(fresh(k.name if isinstance(k, exp.Column) else "key", taken), k, t)
            for k, t in zip(inner, types, strict=True)
        )
        if not all(t.groups for t in types):
            raise _CannotLift
        refs: list[Expression] = [reference(node.relation, i.name) for i in items]
        match node:
            case Project():
                return replace(node, items=(*node.items, *items)), refs
            case Aggregate():
                return replace(node, keys=(*node.keys, *items)), refs
        by = [i.expression for i in items]
        return replace(
            node,
            keys=(*node.keys, *items),
            items=(*(_partitioned(i, by) for i in node.items), *items),
            group=None if node.group is None else (*node.group, *by),
            ranks=tuple(_partitioned(r, by) for r in node.ranks),
        ), refs

    def _with_domain(
        self, node: Plan, plan: Plan, free: list[tuple[str, str]]
    ) -> tuple[Plan, list[Expression]]:
        """The node joined with the distinct values of the columns `free` of the plan."""
        if isinstance(node, Union):
            return self._union_with_domain(node, plan, free)
        if isinstance(node, Recursive) and outside(node) & set(free):
            return self._recursive_with_domain(node, plan, free)
        if isinstance(node, Aggregate | Partition) and not outside(node) & set(free):
            domain, refs = self._domain(plan, free)
            return Join((node, domain), ()), refs
        if isinstance(node, Scan | Rows | Join | Recursive):
            domain, refs = self._domain(plan, free)
            if not isinstance(node, Join):
                node = Join((node, domain), ())
            else:
                node = self._join_with_domain(node, domain, refs, plan, free)
            columns = dict(zip(free, refs, strict=True))
            return rebuild(node, node.inputs, lambda e: substitute(e, columns)), refs
        below, refs = self._with_domain(node.input, plan, free)
        columns = dict(zip(free, refs, strict=True))
        node = rebuild(node, (below,), lambda e: substitute(e, columns))
        if isinstance(node, Filter):
            return node, refs
        if isinstance(node, Aggregate | Partition) and self._is_open(node):
            return self._row_for_each(node, refs, plan, free)
        return self._keyed(node, refs)

    def _is_open(self, node: Aggregate | Partition) -> bool:
        """Whether it has a row even where nothing belongs to its keys, and nobody makes that up."""
        return of_all_rows(node) and node.relation not in self._compensated

    def _row_for_each(
        self, node: Aggregate | Partition, refs: list[Expression], plan: Plan, free: list[tuple[str, str]]
    ) -> tuple[Plan, list[Expression]]:
        """An aggregate over all rows, for each of the distinct values of `free`; some may have no rows."""
        groups = replace(node, relation=fresh(node.relation, self.names))
        self._compensated.add(groups.relation)
        present = Item(fresh("present", {c.name for c in node.columns}), TRUE, BOOLEAN)
        keyed, (test, *inner) = self._keyed(groups, [present.expression, *refs])
        domain, outer = self._domain(plan, free)
        conditions = links([Key(o, i, alike=True) for o, i in zip(outer, inner, strict=True)])
        missing = exp.Is(this=test, expression=exp.Null())
        of_none = self._of_no_rows(node)
        items = []
        for c in node.columns:
            ifs = [exp.If(this=missing.copy(), true=of_none[c.relation, c.name])]
            value = exp.Case(ifs=ifs, default=reference(groups.relation, c.name))
            items.append(Item(c.name, exp.Paren(this=value), c.type))
        taken = {i.name for i in items}
        keys = [Item(fresh(k.name, taken), o, k.type) for k, o in zip(domain.columns, outer, strict=True)]
        joined = Join((domain,), (), (Outer(keyed, conditions),))
        each = Project(joined, node.relation, (*items, *keys))
        return each, [reference(each.relation, k.name) for k in keys]

    def _join_with_domain(
        self, node: Join, domain: Plan, refs: list[Expression], plan: Plan, free: list[tuple[str, str]]
    ) -> Join:
        """The join with the domain; each of its relations that is correlated itself is bound to that."""

        def bound(part: Plan) -> tuple[Plan, tuple[Expression, ...]]:
            if isinstance(part, Rows) or not outside(part) & set(free):
                return part, ()
            below, own = self._with_domain(part, plan, free)
            return below, tuple(Key(r, o, alike=True).link for r, o in zip(refs, own, strict=True))

        if any(o.match is not None for o in node.outers):
            raise self._refused("a correlated subquery inside a subquery of an outer join")
        parts = [bound(p) for p in node.parts]
        inputs = [bound(o.input) for o in node.outers]
        outers = (
            replace(o, input=i, conditions=(*o.conditions, *more))
            for o, (i, more) in zip(node.outers, inputs, strict=True)
        )
        conditions = (*node.conditions, *(c for _, more in parts for c in more))
        return Join((*(p for p, _ in parts), domain), conditions, tuple(outers))

    def _recursive_with_domain(
        self, node: Recursive, plan: Plan, free: list[tuple[str, str]]
    ) -> tuple[Plan, list[Expression]]:
        """A recursion for each of the values of `free`: each row that it finds has those it belongs to."""
        seed, refs = self._with_domain(node.seed, plan, free)
        assert isinstance(seed, Project)
        added = {r.name: i for r in refs for i in seed.items if i.name == r.name}
        own = [r for r in rows_in(node.step) if is_own(r, node)]
        if len(own) != 1:
            raise self._refused("a correlated recursion whose second part does not read the first")
        fields = [Column(own[0].relation, name, i.type) for name, i in added.items()]
        columns = dict(zip(free, (f.ref for f in fields), strict=True))

        def widened(p: Plan) -> Plan:
            if isinstance(p, Rows):
                if p is not own[0]:
                    return replace(p, source=substitute(p.source, columns))
                all_ = (*p.fields, *fields)
                return replace(p, fields=all_, header=f"({', '.join(quote_name(f.name) for f in all_)})")
            return rebuild(p, tuple(map(widened, p.inputs)), lambda e: substitute(e, columns))

        step = widened(node.step)
        assert isinstance(step, Project)
        step = replace(step, items=(*step.items, *(Item(f.name, f.ref, f.type) for f in fields)))
        if outside(step) & {(f.relation, f.name) for f in fields}:
            raise self._refused("a correlated subquery inside a correlated recursion")
        found = replace(node, seed=seed, step=step)
        return found, [reference(node.relation, f.name) for f in fields]

    def _union_with_domain(
        self, node: Union, plan: Plan, free: list[tuple[str, str]]
    ) -> tuple[Plan, list[Expression]]:
        parts = [self._with_domain(p, plan, free) for p in node.parts]
        taken = {i.name for p in node.parts for i in p.items}
        names = [fresh("key", taken) for _ in free]
        renamed_: list[Project] = []
        for part, refs in parts:
            assert isinstance(part, Project)
            keys = {r.name: n for r, n in zip(refs, names, strict=True)}
            items = (replace(i, name=keys.get(i.name, i.name)) for i in part.items)
            renamed_.append(replace(part, items=tuple(items)))
        return Union(tuple(renamed_), node.relation), [reference(node.relation, n) for n in names]

    def _domain(self, plan: Plan, free: list[tuple[str, str]]) -> tuple[Plan, list[Expression]]:
        types = {(c.relation, c.name): c.type for c in plan.columns}
        taken: set[str] = set()
        items = tuple(
            Item(fresh(c[1], taken), self._texts.get(c, reference(*c)), types.get(c, _TEXT)) for c in free
        )
        domain, columns = renamed(Aggregate(plan, fresh("domain", self.names), items, ()), self.names)
        assert isinstance(domain, Aggregate)
        del columns
        return domain, [reference(domain.relation, i.name) for i in items]

    def _of_no_rows(self, aggregate: Aggregate | Partition) -> dict[tuple[str, str], Expression]:
        """What the aggregates are over no rows."""
        found: dict[tuple[str, str], Expression] = {}
        for item in aggregate.calls if isinstance(aggregate, Aggregate) else aggregate.items:
            fold = over_no_rows(item.function if isinstance(item, Call) else name_of(item.expression))
            if fold is not None:
                empty: Expression = parse(f"SELECT {fold}").expressions[0]
            elif isinstance(item, Call):
                counts = item.function in ("count", "regr_count")
                empty = exp.Literal.number(0) if counts else exp.Null()
            else:
                text = self.of_none(aggregate.input.columns, item.expression)
                empty = exp.Null() if text is None else exp.Literal.string(text)
            found[aggregate.relation, item.name] = cast_to(empty, item.type.name)
        return found

    def _refused(self, what: str) -> Exception:
        return self.source.unsupported(what, "( select", "select", hint="write it as a join")


def _read_from(plan: Plan, columns: dict[tuple[str, str], Expression]) -> Plan:
    """The plan with columns of the query around it replaced, wherever it reads them."""
    if not columns:
        return plan
    if isinstance(plan, Rows):
        return replace(plan, source=substitute(plan.source, columns))
    inputs = tuple(_read_from(i, columns) for i in plan.inputs)
    return rebuild(plan, inputs, lambda e: substitute(e, columns))


def _split(
    conditions: tuple[Expression, ...], columns: Sequence[Column]
) -> tuple[tuple[Expression, ...], list[Key]]:
    """The conditions on these columns alone, and those that compare them with others, as keys."""
    there = {(c.relation, c.name) for c in columns}
    kept: list[Expression] = []
    keys: list[Key] = []
    for condition in conditions:
        if set(columns_read(condition)) <= there:
            kept.append(condition)
            continue
        if not is_equality(condition):
            raise _CannotLift
        a, b = condition.this, condition.expression
        mine, other = set(columns_read(a)), set(columns_read(b))
        if mine and mine <= there and other and not other & there:
            keys.append(Key(b, a))
        elif other and other <= there and mine and not mine & there:
            keys.append(Key(a, b))
        else:
            raise _CannotLift
    return tuple(kept), keys


def _partitioned(item: Item, by: list[Expression]) -> Item:
    """The item with its windows parted further."""
    expression = item.expression.copy()
    for window in expression.find_all(exp.Window):
        window.set("partition_by", [*(window.args.get("partition_by") or []), *(b.copy() for b in by)])
    return replace(item, expression=expression)


def of_all_rows(node: Aggregate | Partition) -> bool:
    """Whether it has one row, whatever its input has."""
    return not node.keys and (isinstance(node, Aggregate) or node.group == ())


def links(keys: Sequence[Key]) -> tuple[Expression, ...]:
    return tuple(k.link for k in keys)
