"""Subqueries become joins.

A subquery in an expression, or after LATERAL, may read columns of the query around it. It is brought to a
form that is computed once for all rows of that query, with what it read there as keys of its result (see
correlation.py), and joined back by these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from pg_stepping.frontend.correlation import BOOLEAN, TRUE, Correlation, Key, links, of_all_rows
from pg_stepping.frontend.dialect import cast_to, null_of, to_sql
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
    Type,
)
from pg_stepping.ir.nodes import Expression
from pg_stepping.ir.rewrite import outside, renamed, substitute
from pg_stepping.ir.types import fresh, reference


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


class Unnester(Correlation):
    """Joins subqueries to the plan of the query that they stand in."""

    def filtered(self, plan: Plan, subquery: Subquery, *, negated: bool) -> Plan:
        """The rows of the plan for which an EXISTS or IN is true, or, `negated`, for which it is false."""
        if subquery.kind == "in" and _global(subquery.plan) is not None:
            plan, value = self._of_one_row(plan, subquery)
            return Filter(plan, (exp.Not(this=exp.Paren(this=value)) if negated else value,))
        if not negated:
            match, keys = self._match(plan, self._compared(subquery))
            return Join((plan, match), links(keys)) if keys else Join((plan, match), ())
        if subquery.kind == "in" and not self._is_sure(plan, subquery):
            plan, value = self.value(plan, subquery)
            return Filter(plan, (exp.Not(this=exp.Paren(this=value)),))
        plan, found = self._found(plan, self._compared(subquery))
        return Filter(plan, (exp.Not(this=found),))

    def value(self, plan: Plan, subquery: Subquery) -> tuple[Plan, Expression]:
        """The plan with the subquery joined to it, and the expression that is its value."""
        if subquery.kind == "exists":
            if isinstance(subquery.plan.input, Aggregate) and not subquery.plan.input.keys:
                return plan, TRUE
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
        tied = links(keys)
        if on is None:
            return Join((plan, below), tied), read
        there = {(right.relation, n): r for n, r in zip(names, read, strict=True)}
        conditions = tuple(substitute(c, there) for c in on)
        return Join((plan,), (), (Outer(below, (*tied, *conditions)),)), read

    def row(self, plan: Plan, subquery: Project) -> tuple[Plan, list[Expression]]:
        """The plan joined with the one row of a subquery, of NULLs where it has none; returns its values."""
        aggregate = _global(subquery)
        if aggregate is not None:
            self._compensated.add(aggregate.relation)
        below, keys = self._bound(subquery, plan)
        read: list[Expression] = [reference(below.relation, i.name) for i in subquery.items]
        if aggregate is None:
            return Join((plan,), (), (Outer(below, links(keys)),)), read
        if not keys:  # what it may read belongs to a query further out, whose keys may have no rows here
            self._compensated.discard(aggregate.relation)
            return Join((plan, below), ()), read
        columns = {(below.relation, i.name): i.expression for i in below.items}
        keys = [k._replace(inner=substitute(k.inner, columns)) for k in keys]
        groups = below.input
        strict = _telling(keys, groups.columns)
        if strict is None:
            assert isinstance(groups, Aggregate | Partition)
            present = Item(fresh("present", {c.name for c in groups.columns}), TRUE, BOOLEAN)
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
        return Join((plan,), (), (Outer(groups, links(keys)),)), values

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
        ) or (Item("present", TRUE, BOOLEAN),)
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
                present = Item(fresh("present", {i.name for i in match.keys}), TRUE, BOOLEAN)
                match = replace(match, keys=(*match.keys, present))
            test = reference(match.relation, present.name)
        else:
            test = strict.inner.copy()
        plan = Join((plan,), (), (Outer(match, links(keys)),))
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
            exp.If(this=is_in, true=TRUE.copy()),
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

    def _compared(self, subquery: Subquery) -> Plan:
        """The rows of a subquery that are equal to what is compared with them."""
        if not subquery.left:
            return subquery.plan
        pairs = zip(subquery.left, subquery.plan.columns, strict=True)
        equal = (exp.EQ(this=left.copy(), expression=c.ref) for left, c in pairs)
        return Filter(subquery.plan, tuple(self.collated(e, subquery.plan.columns) for e in equal))


def _global(subquery: Project, *, filtered: bool = False) -> Aggregate | Partition | None:
    """The aggregate over all rows that a subquery's one row comes from; `filtered`: even where HAVING may
    leave it out."""
    node = subquery.input
    while filtered and isinstance(node, Filter):
        node = node.input
    return node if isinstance(node, Aggregate | Partition) and of_all_rows(node) else None


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
