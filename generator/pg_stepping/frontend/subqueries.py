"""Subqueries become joins.

A subquery in an expression, or after LATERAL, may read columns of the query around it. It is brought to a
form that is computed once for all rows of that query, with what it read there as keys of its result, and
joined back by these (Neumann, Kemper, Unnesting Arbitrary Queries, BTW 2015): where it only compares such
columns for equality, with what it compares them to; else it is joined with their distinct values first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from sqlglot import exp

from pg_stepping.frontend.database_functions import over_no_rows
from pg_stepping.frontend.dialect import cast_to, image_of, null_of, parse, quote_name, to_sql
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
from pg_stepping.ir.nodes import Expression, columns_read
from pg_stepping.ir.rewrite import is_own, outside, rebuild, renamed, rows_in, substitute
from pg_stepping.ir.types import fresh, reference
from pg_stepping.passes.flatten_joins import flatten_joins
from pg_stepping.passes.inline_projections import inline_projections

BOOLEAN = Type.of("boolean")
_TEXT = Type("text", "text", 'pg_catalog."C"', "value")
_TRUE = exp.Boolean(this=True)
Collated = Callable[[Expression, Sequence[Column]], Expression]
TypeOf = Callable[[Sequence[Column], Sequence[Expression]], list[Type]]
OfNone = Callable[[Sequence[Column], Expression], str | None]  # the text of an aggregate's value over no rows


@dataclass(frozen=True, slots=True)
class Subquery:
    """A subquery in an expression.

    `kind` is exists, scalar, array, in, any, all or row (all of its one row is compared); `left` is what is
    compared with its row, by `operator`.
    """

    kind: str
    plan: Project
    left: tuple[Expression, ...] = ()
    operator: Callable[..., Expression] = exp.EQ


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


class Unnester:
    """Joins subqueries to the plan of the query that they stand in."""

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

    # --- what is joined ---------------------------------------------------------------------------

    def filtered(self, plan: Plan, subquery: Subquery, *, negated: bool) -> Plan:
        """The rows of the plan for which an EXISTS or IN is true, or, `negated`, for which it is false."""
        if subquery.kind == "in" and _global(subquery.plan) is not None:
            plan, value = self._of_one_row(plan, subquery)
            return Filter(plan, (exp.Not(this=exp.Paren(this=value)) if negated else value,))
        if not negated:
            match, keys = self._match(plan, self._compared(subquery))
            return Join((plan, match), _links(keys)) if keys else Join((plan, match), ())
        if subquery.kind == "in" and not self._is_sure(plan, subquery):
            plan, value = self.value(plan, subquery)
            return Filter(plan, (exp.Not(this=exp.Paren(this=value)),))
        plan, found = self._found(plan, self._compared(subquery))
        return Filter(plan, (exp.Not(this=found),))

    def value(self, plan: Plan, subquery: Subquery) -> tuple[Plan, Expression]:
        """The plan with the subquery joined to it, and the expression that is its value."""
        if subquery.kind == "exists":
            if isinstance(subquery.plan.input, Aggregate) and not subquery.plan.input.keys:
                return plan, _TRUE
            return self._found(plan, subquery.plan)
        if subquery.kind in ("in", "any", "all") and _global(subquery.plan) is not None:
            return self._of_one_row(plan, subquery)
        if subquery.kind == "in" and len(subquery.left) == 1:
            return self._contained(plan, subquery)
        if subquery.kind in ("in", "any", "all"):
            return self._quantified(plan, subquery)
        if subquery.kind == "row":
            return self._of_one_row(plan, replace(subquery, plan=self._single(subquery.plan)))
        plan, values = self.row(plan, self._single(subquery.plan))
        if subquery.kind == "array":
            empty = cast_to(exp.Literal.string("{}"), subquery.plan.items[0].type.name)
            return plan, exp.Anonymous(this="COALESCE", expressions=[values[0], empty])
        return plan, values[0]

    def lateral(
        self, plan: Plan, right: Project, on: tuple[Expression, ...] | None
    ) -> tuple[Plan, list[Expression]]:
        """The plan joined with a subquery that may read it; `on` is the condition of a left join, or None."""
        if _global(right) is not None and outside(right) and not on:
            return self.row(plan, right)
        below, keys = self._bound(right, plan)
        names = [i.name for i in right.items]
        read: list[Expression] = [reference(below.relation, n) for n in names]
        links = _links(keys)
        if on is None:
            return Join((plan, below), links), read
        there = {(right.relation, n): r for n, r in zip(names, read, strict=True)}
        conditions = tuple(substitute(c, there) for c in on)
        return Join((plan,), (), (Outer(below, (*links, *conditions)),)), read

    def row(self, plan: Plan, subquery: Project) -> tuple[Plan, list[Expression]]:
        """The plan joined with the one row of a subquery, of NULLs where it has none; returns its values."""
        aggregate = _global(subquery)
        if aggregate is not None:
            self._compensated.add(aggregate.relation)
        below, keys = self._bound(subquery, plan)
        read: list[Expression] = [reference(below.relation, i.name) for i in subquery.items]
        if aggregate is None:
            return Join((plan,), (), (Outer(below, _links(keys)),)), read
        if not keys:
            return Join((plan, below), ()), read
        columns = {(below.relation, i.name): i.expression for i in below.items}
        keys = [k._replace(inner=substitute(k.inner, columns)) for k in keys]
        groups = below.input
        strict = _telling(keys, groups.columns)
        if strict is None:
            assert isinstance(groups, Aggregate | Partition)
            present = Item(fresh("present", {c.name for c in groups.columns}), _TRUE, BOOLEAN)
            groups, (test,) = self._keyed(groups, [present.expression])
        else:
            test = strict.inner.copy()
        missing = exp.Is(this=test, expression=exp.Null())
        values: list[Expression] = []
        of_none = self._of_no_rows(aggregate)
        for item in below.items[: len(subquery.items)]:
            empty = substitute(item.expression, of_none)
            if isinstance(item.expression, exp.Column) and isinstance(empty.this, exp.Null):
                values.append(item.expression)  # it is NULL where there is no group
                continue
            ifs = [exp.If(this=missing.copy(), true=empty)]
            values.append(exp.Paren(this=exp.Case(ifs=ifs, default=item.expression.copy())))
        return Join((plan,), (), (Outer(groups, _links(keys)),)), values

    def _of_one_row(self, plan: Plan, subquery: Subquery) -> tuple[Plan, Expression]:
        """A comparison with all rows, or some row, of a subquery that has one."""
        plan, values = self.row(plan, subquery.plan)
        pairs = list(zip(subquery.left, values, strict=True))
        if len(pairs) > 1 and subquery.operator is not exp.EQ:
            left, right = (exp.Tuple(expressions=[p[i].copy() for p in pairs]) for i in (0, 1))
            return plan, exp.Paren(this=subquery.operator(this=left, expression=right))
        tests = [subquery.operator(this=a.copy(), expression=b.copy()) for a, b in pairs]
        return plan, exp.Paren(this=exp.and_(*tests, copy=False) if len(tests) > 1 else tests[0])

    def _match(self, plan: Plan, subquery: Plan) -> tuple[Aggregate, list[Key]]:
        """The distinct values for which a subquery has rows."""
        below, keys = self._bound(subquery, plan)
        inner = [k.inner for k in keys]
        types = self.type_of(below.columns, inner) if inner else []
        taken: set[str] = set()
        items = tuple(
            Item(fresh(k.name if isinstance(k, exp.Column) else "key", taken), k, t)
            for k, t in zip(inner, types, strict=True)
        ) or (Item("present", _TRUE, BOOLEAN),)
        match = Aggregate(below, fresh("matches", self.names), items, ())
        read = [reference(match.relation, i.name) for i in items] if keys else []
        return match, [k._replace(inner=r) for k, r in zip(keys, read, strict=True)]

    def _found(self, plan: Plan, subquery: Plan) -> tuple[Plan, Expression]:
        """The plan with a match, or NULL, for each row, and the expression that tells which."""
        match, keys = self._match(plan, subquery)
        strict = _telling(keys, match.columns)
        test: Expression
        if strict is None:
            present = match.keys[0]
            if keys:
                present = Item(fresh("present", {i.name for i in match.keys}), _TRUE, BOOLEAN)
                match = replace(match, keys=(*match.keys, present))
            test = reference(match.relation, present.name)
        else:
            test = strict.inner.copy()
        plan = Join((plan,), (), (Outer(match, _links(keys)),))
        found = exp.Not(this=exp.Is(this=test, expression=exp.Null()))
        return plan, exp.Paren(this=found)

    def _contained(self, plan: Plan, subquery: Subquery) -> tuple[Plan, Expression]:
        """`left IN (subquery)`: NULL where it is not found, but might be if some NULL were known."""
        left, inner = subquery.left[0], subquery.plan
        found = inner.columns[0].ref
        result, is_in = self._found(plan, self._compared(subquery))
        unknown: list[Expression] = []
        if not _is_not_null(left, plan.columns):
            result, some = self._found(result, self._copy(inner))
            unknown.append(exp.Paren(this=exp.And(this=_is_null(left, plan.columns), expression=some)))
        if not _is_not_null(inner.items[0].expression, inner.input.columns):
            copy, columns = renamed(inner, self.names)
            null = Filter(copy, (_is_null(substitute(found, columns), copy.columns),))
            result, some = self._found(result, null)
            unknown.append(some)
        if not unknown:
            return result, is_in
        either = (
            unknown[0]
            if len(unknown) == 1
            else exp.Paren(this=exp.Or(this=unknown[0], expression=unknown[1]))
        )
        ifs = [
            exp.If(this=is_in, true=_TRUE.copy()),
            exp.If(this=either, true=cast_to(exp.Null(), "boolean")),
        ]
        return result, exp.Paren(this=exp.Case(ifs=ifs, default=exp.Boolean(this=False)))

    def _copy(self, plan: Project) -> Plan:
        return renamed(plan, self.names)[0]

    def _quantified(self, plan: Plan, subquery: Subquery) -> tuple[Plan, Expression]:
        """`left operator ANY (subquery)`, or ALL: decided by one row, else NULL by one, else the other."""
        columns = [c.ref for c in subquery.plan.columns]
        left: Expression = subquery.left[0]
        right: Expression = columns[0]
        if len(subquery.left) > 1:
            left, right = exp.Tuple(expressions=list(subquery.left)), exp.Tuple(expressions=columns)
        test = exp.Paren(this=subquery.operator(this=left.copy(), expression=right))
        every = subquery.kind == "all"
        relation = fresh("compared", self.names)
        function = "bool_and" if every else "bool_or"
        unknown = exp.Paren(this=exp.Is(this=test.copy(), expression=exp.Null()))
        calls = (
            Call("decided", function, test, BOOLEAN, None, BOOLEAN),
            Call("unknown", "bool_or", unknown, BOOLEAN, None, BOOLEAN),
        )
        aggregate = Aggregate(subquery.plan, relation, (), calls)
        items = tuple(Item(c.name, reference(relation, c.name), BOOLEAN) for c in calls)
        plan, (decided, null) = self.row(plan, Project(aggregate, fresh("result", self.names), items))
        strong = exp.Is(this=exp.Paren(this=decided), expression=exp.Boolean(this=not every))
        ifs = [
            exp.If(this=strong, true=exp.Boolean(this=not every)),
            exp.If(this=null, true=cast_to(exp.Null(), "boolean")),
        ]
        return plan, exp.Paren(this=exp.Case(ifs=ifs, default=exp.Boolean(this=every)))

    def _single(self, subquery: Project) -> Project:
        """The subquery as one that has at most one row for each row of the plan, or raises an error."""
        if _global(subquery, filtered=True) is not None or _is_limited(subquery):
            return subquery
        relation = fresh("single", self.names)
        rows = exp.Anonymous(this="count", expressions=[exp.Star()])
        values = tuple(
            Item(f"value_{i}" if i else "value", _first(c.ref), c.type)
            for i, c in enumerate(subquery.columns)
        )
        below = Partition(subquery, relation, (), (*values, Item("n", rows, Type.of("bigint"))), group=())
        checked = exp.Anonymous(this="refuse_rows", expressions=[reference(relation, "n")])
        refused = exp.Dot(this=exp.to_identifier("stepping"), expression=checked)
        many = exp.GT(this=reference(relation, "n"), expression=exp.Literal.number(1))
        test = exp.And(this=many, expression=refused)
        items = []
        for value, item in zip(values, subquery.items, strict=True):
            ifs = [exp.If(this=test.copy(), true=null_of(item.type))]
            case = exp.Case(ifs=ifs, default=reference(relation, value.name))
            items.append(Item(item.name, exp.Paren(this=case), item.type))
        return Project(below, fresh("result", self.names), tuple(items))

    def _is_sure(self, plan: Plan, subquery: Subquery) -> bool:
        """Whether IN can only be true or false."""
        inner = subquery.plan
        return all(
            _is_not_null(left, plan.columns) and _is_not_null(item.expression, inner.input.columns)
            for left, item in zip(subquery.left, inner.items, strict=True)
        )

    # --- correlation ------------------------------------------------------------------------------

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
        return _of_all_rows(node) and node.relation not in self._compensated

    def _row_for_each(
        self, node: Aggregate | Partition, refs: list[Expression], plan: Plan, free: list[tuple[str, str]]
    ) -> tuple[Plan, list[Expression]]:
        """An aggregate over all rows, for each of the distinct values of `free`; some may have no rows."""
        groups = replace(node, relation=fresh(node.relation, self.names))
        self._compensated.add(groups.relation)
        present = Item(fresh("present", {c.name for c in node.columns}), _TRUE, BOOLEAN)
        keyed, (test, *inner) = self._keyed(groups, [present.expression, *refs])
        domain, outer = self._domain(plan, free)
        links = _links([Key(o, i, alike=True) for o, i in zip(outer, inner, strict=True)])
        missing = exp.Is(this=test, expression=exp.Null())
        of_none = self._of_no_rows(node)
        items = []
        for c in node.columns:
            ifs = [exp.If(this=missing.copy(), true=of_none[c.relation, c.name])]
            value = exp.Case(ifs=ifs, default=reference(groups.relation, c.name))
            items.append(Item(c.name, exp.Paren(this=value), c.type))
        taken = {i.name for i in items}
        keys = [Item(fresh(k.name, taken), o, k.type) for k, o in zip(domain.columns, outer, strict=True)]
        joined = Join((domain,), (), (Outer(keyed, links),))
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

    def _compared(self, subquery: Subquery) -> Plan:
        """The rows of a subquery that are equal to what is compared with them."""
        if not subquery.left:
            return subquery.plan
        pairs = zip(subquery.left, subquery.plan.columns, strict=True)
        equal = (exp.EQ(this=left.copy(), expression=c.ref) for left, c in pairs)
        return Filter(subquery.plan, tuple(self.collated(e, subquery.plan.columns) for e in equal))

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
        if not isinstance(condition, exp.EQ):
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


def _links(keys: Sequence[Key]) -> tuple[Expression, ...]:
    return tuple(k.link for k in keys)


def _partitioned(item: Item, by: list[Expression]) -> Item:
    """The item with its windows parted further."""
    expression = item.expression.copy()
    for window in expression.find_all(exp.Window):
        window.set("partition_by", [*(window.args.get("partition_by") or []), *(b.copy() for b in by)])
    return replace(item, expression=expression)


def _global(subquery: Project, *, filtered: bool = False) -> Aggregate | Partition | None:
    """The aggregate over all rows that a subquery's one row comes from; `filtered`: even where HAVING may
    leave it out."""
    node = subquery.input
    while filtered and isinstance(node, Filter):
        node = node.input
    return node if isinstance(node, Aggregate | Partition) and _of_all_rows(node) else None


def _of_all_rows(node: Aggregate | Partition) -> bool:
    """Whether it has one row, whatever its input has."""
    return not node.keys and (isinstance(node, Aggregate) or node.group == ())


def _first(column: Expression) -> Expression:
    """The value of a column in one of all rows."""
    all_ = exp.Anonymous(this="array_agg", expressions=[column.copy()])
    return exp.Bracket(this=exp.Paren(this=all_), expressions=[exp.Literal.number(0)])  # prints [1]


def _is_limited(subquery: Project) -> bool:
    """Whether it ends in LIMIT 1."""
    node = subquery.input
    while isinstance(node, Project):
        node = node.input
    if not isinstance(node, Partition) or node.keys:
        return False
    return any(
        isinstance(c, exp.LTE)
        and to_sql(c.expression) == "1"
        and isinstance(c.this, exp.Column)
        and c.this.name == "place"
        for c in node.conditions
    )


def _row_typed(expression: Expression, columns: Sequence[Column]) -> bool:
    """Whether it is a column of which IS NULL does not tell whether it is NULL."""
    if not isinstance(expression, exp.Column):
        return False
    there = (c for c in columns if (c.relation, c.name) == (expression.table, expression.name))
    return any(c.type.is_row for c in there)


def _telling(keys: Sequence[Key], columns: Sequence[Column]) -> Key | None:
    """A key that IS NULL only where a left join finds nothing."""
    return next((k for k in keys if not k.alike and not _row_typed(k.inner, columns)), None)


def _is_null(expression: Expression, columns: Sequence[Column]) -> Expression:
    if not _row_typed(expression, columns):
        return exp.Is(this=expression.copy(), expression=exp.Null())
    count = exp.Anonymous(this="num_nulls", expressions=[expression.copy()])
    return exp.EQ(this=count, expression=exp.Literal.number(1))


def _is_not_null(expression: Expression, columns: Sequence[Column]) -> bool:
    if isinstance(expression, exp.Literal):
        return True
    if not isinstance(expression, exp.Column):
        return False
    return any((c.relation, c.name) == (expression.table, expression.name) and c.not_null for c in columns)
