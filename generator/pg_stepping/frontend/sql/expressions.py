"""Expressions: every column is read from the plan's relations, and subqueries are joined to the plan."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import cast

from sqlglot import exp

from pg_stepping.frontend.dialect import to_sql
from pg_stepping.frontend.grouping import Scope
from pg_stepping.frontend.sql.known import Known
from pg_stepping.frontend.subqueries import Subquery
from pg_stepping.frontend.trees import (
    Pending,
    bare,
    calls_in,
    is_call,
    is_row,
    name_of,
    unaliased,
    without_parentheses,
    without_percent,
)
from pg_stepping.ir import Aggregate, Column, Filter, Plan, Project
from pg_stepping.ir.nodes import columns_read

WHOLE = "*"  # in a scope: the whole row, where that is read
MERGED = ""  # in a scope: the columns that FULL JOIN ... USING makes of two, which no table has


class Expressions(Known, ABC):
    """Reads expressions, and the subqueries in them."""

    @abstractmethod
    def query(self, ast: exp.Expression) -> Project:
        """The plan of a SELECT, of several combined, or of VALUES."""

    def _filter(self, plan: Plan, condition: exp.Expression) -> Plan:
        """The rows for which a condition, perhaps with subqueries, is true."""
        inner, negated = bare(condition), False
        if isinstance(inner, exp.Not):
            inner, negated = bare(inner.this), True
        if isinstance(inner, Pending):
            subquery = self._pending[inner.this]
            if subquery.kind == "in" or (subquery.kind == "exists" and not _is_total(subquery.plan)):
                plan, subquery = self._ready(plan, inner)
                return self._unnest.filtered(plan, subquery, negated=negated)
        plan, (joined,) = self._joined_subqueries(plan, [condition])
        return Filter(plan, (joined,))

    def _joined_subqueries(
        self, plan: Plan, expressions: list[exp.Expression], within: frozenset[str] | None = None
    ) -> tuple[Plan, list[exp.Expression]]:
        """The plan with the subqueries of some expressions joined to it, and the expressions that read them;
        with `within`, only the subqueries inside the calls of these aggregates."""
        values: dict[int, exp.Expression] = {}
        for expression in expressions:
            places = [expression] if within is None else calls_in(expression, within)
            for pending in [p for e in places for p in e.find_all(Pending)]:
                if pending.this not in values:
                    plan, subquery = self._ready(plan, pending)
                    plan, values[pending.this] = self._unnest.value(plan, subquery)
                    self._know(plan.columns)

        def put(node: exp.Expression) -> exp.Expression:
            return values[node.this].copy() if isinstance(node, Pending) and node.this in values else node

        return plan, [e.transform(put) if values else e for e in expressions]

    def _ready(self, plan: Plan, pending: Pending) -> tuple[Plan, Subquery]:
        """A subquery, and the plan with those joined to it that stand in what it is compared with."""
        subquery = self._pending[pending.this]
        plan, left = self._joined_subqueries(plan, list(subquery.left))
        return plan, replace(subquery, left=tuple(left))

    def _pending_in(self, expressions: Iterable[exp.Expression]) -> list[Subquery]:
        found = [self._pending[p.this] for e in expressions for p in e.find_all(Pending)]
        return found + [p for s in found for p in self._pending_in(s.left)]

    def _resolve(self, expression: exp.Expression, scope: Scope) -> exp.Expression:
        """The expression with every column read from the plan's relations, ready to be printed anywhere."""

        def one(node: exp.Expression) -> exp.Expression:
            if isinstance(node, exp.Column):
                return self._column(node, scope)
            subquery = self._subquery(node, scope)
            return node if subquery is None else self._put_off(subquery, to_sql(_unwrapped(node)))

        copy = expression.copy()
        pairs = zip(expression.walk(), copy.walk(), strict=True)
        nodes = (
            [cast(tuple[exp.Expression, exp.Expression], p) for p in pairs] if copy.find(exp.Query) else []
        )
        before = len(self.decided)
        resolved = without_percent(without_parentheses(bare(copy.transform(one, copy=False))))
        originals = {id(of_copy): mine for mine, of_copy in nodes}
        self.decided[before:] = [(originals.get(id(c), c), d) for c, d in self.decided[before:]]
        for mine, of_copy in nodes:
            if isinstance(mine, exp.Query):
                keep_order(mine, cast(exp.Query, of_copy))
        return self._collated(resolved, ())

    def _column(self, column: exp.Column, scope: Scope) -> exp.Expression:
        for scope_ in (scope, *reversed(self._outer)):
            for alias in [column.table] if column.table else sorted(scope_, key=lambda a: a != MERGED):
                if column.name in scope_.get(alias, {}):
                    return scope_[alias][column.name].copy()
        if column.name == WHOLE:
            hint = "name the columns that you need"
            raise self.source.unsupported(f"the whole row of {column.table}", column.table, hint=hint)
        hint = "a system column does not follow its row"
        raise self.source.unsupported(f"the column {column.name}", column.name, hint=hint)

    def _put_off(self, subquery: Subquery, text: str) -> Pending:
        self._pending.append(subquery)
        return Pending(this=len(self._pending) - 1, text=text)

    def _subquery(self, node: exp.Expression, scope: Scope) -> Subquery | None:
        """The subquery that an expression's node is, if it is one."""
        if (
            isinstance(node, exp.Anonymous)
            and node.name == "ARRAY"
            and isinstance(node.expressions[0], exp.Query)
        ):
            return Subquery("array", self._inner(_gathered(cast(exp.Expression, node.expressions[0])), scope))
        if isinstance(node, exp.Exists):
            return Subquery("exists", self._inner(node.this, scope))
        if isinstance(node, exp.In) and node.args.get("query"):
            return Subquery("in", self._inner(node.args["query"], scope), self._row(node.this, scope))
        if isinstance(node, exp.Binary) and isinstance(node.expression, exp.Any | exp.All):
            inner = bare(node.expression.this)
            if isinstance(inner, exp.Query):
                kind = "any" if isinstance(node.expression, exp.Any) else "all"
                return Subquery(kind, self._inner(inner, scope), self._row(node.this, scope), _operator(node))
        if isinstance(node, exp.Binary) and is_row(node.this) and isinstance(node.expression, exp.Subquery):
            compared = self._inner(node.expression, scope)
            return Subquery("row", compared, self._row(node.this, scope), _operator(node))
        if isinstance(node, exp.Subquery) or (isinstance(node, exp.Select) and node.parent is not None):
            return Subquery("scalar", self._inner(node, scope))
        return None

    def _row(self, expression: exp.Expression, scope: Scope) -> tuple[exp.Expression, ...]:
        inner = bare(expression)
        parts = inner.expressions if is_row(inner) else [inner]
        return tuple(self._resolve(p, scope) for p in parts)

    def _inner(self, query: exp.Expression, scope: Scope) -> Project:
        """The plan of a subquery, which may read the columns of the queries around it."""
        self._outer.append(scope)
        try:
            return self.query(bare(query))
        finally:
            self._outer.pop()

    def _check_level(self, expressions: Iterable[exp.Expression], columns: Iterable[Column]) -> None:
        """Refuse aggregates of which all arguments are of queries around this one: they are of those."""
        there = {(c.relation, c.name) for c in columns}
        for call in (c for e in expressions for c in calls_in(e, self._aggregates)):
            read = set(columns_read(call))
            if read and not read & there:
                hint = "compute it in a subquery in FROM, and read its column"
                name = name_of(call)
                raise self.source.unsupported(
                    "an aggregate of the outer query in a subquery", f"( select →{name}", name, hint=hint
                )

    def _sets_in(self, expression: exp.Expression) -> list[exp.Expression]:
        """The calls of set-returning functions in an expression, without those in their arguments."""
        if self._is_set(expression):
            return [expression]
        return [n for child in expression.iter_expressions() for n in self._sets_in(child)]

    def _depth(self, call: exp.Expression) -> int:
        """How many set-returning functions deep a call of one is."""
        inner = (n for child in call.iter_expressions() for n in self._sets_in(child))
        return 1 + max(map(self._depth, inner), default=0)

    def _is_set(self, node: exp.Expression) -> bool:
        sets = {
            f.name if f.schema == "pg_catalog" else f"{f.schema}.{f.name}"
            for f in self._functions
            if f.returns_set
        }
        return is_call(node, sets)


def keep_order(query: exp.Query, copy: exp.Query) -> None:
    order = copy.args.get("order")
    if order is not None and order != query.args.get("order"):
        query.set("order", order.copy())


def _gathered(query: exp.Expression) -> exp.Select:
    """ARRAY(query) as an aggregate over the query; without a LIMIT its ORDER BY goes into the aggregate."""
    inner = query.copy()
    selects = cast(list[exp.Expression], cast(exp.Query, inner).selects)
    name = selects[0].alias_or_name or "value"
    value: exp.Expression = exp.column(name, table="gathered", quoted=True)
    if not isinstance(inner, exp.Select):
        hidden: list[exp.Ordered] = []
    else:
        hidden = list(order_of(inner))
        inner.set("expressions", [exp.alias_(unaliased(selects[0]), name, quoted=True)])
        for i, ordered in enumerate(hidden):
            inner.append(
                "expressions", exp.alias_(by_number(ordered.this, inner).copy(), f"order_{i}", quoted=True)
            )
    if hidden:
        order = [
            reordered(o, exp.column(f"order_{i}", table="gathered", quoted=True))
            for i, o in enumerate(hidden)
        ]
        value = exp.Order(this=value, expressions=order)
    call = exp.Anonymous(this="array_agg", expressions=[value])
    alias = exp.TableAlias(this=exp.to_identifier("gathered", quoted=True))
    return exp.Select(expressions=[call], from_=exp.From(this=exp.Subquery(this=inner, alias=alias)))


def _operator(node: exp.Binary) -> Callable[..., exp.Expression]:
    """What compares as a node does."""
    name = node.args.get("operator")
    if name is None:
        return cast("type[exp.Expression]", type(node))
    return partial(exp.Operator, operator=name)


def _unwrapped(node: exp.Expression) -> exp.Expression:
    """A subquery without the parentheses around it."""
    while isinstance(node, exp.Paren | exp.Subquery) and isinstance(node.this, exp.Expression):
        node = node.this
    return node


def _is_total(project: Project) -> bool:
    """Whether a query has one row, whatever its tables hold."""
    return isinstance(project.input, Aggregate) and not project.input.keys


def order_of(ast: exp.Expression) -> list[exp.Ordered]:
    order = ast.args.get("order")
    return list(order.expressions) if order is not None else []


def by_number(expression: exp.Expression, select: exp.Select) -> exp.Expression:
    """The output that a number in ORDER BY or GROUP BY stands for."""
    inner = bare(expression)
    if isinstance(inner, exp.Literal) and not inner.is_string and str(inner.name).isdigit():
        return unaliased(select.expressions[int(inner.name) - 1])
    return expression


def reordered(ordered: exp.Ordered, by: exp.Expression) -> exp.Ordered:
    copy = ordered.copy()
    copy.set("this", by)
    return copy
