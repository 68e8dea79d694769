"""What is done with the rows of a SELECT: DISTINCT, ORDER BY, LIMIT, and combining them with others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from sqlglot import exp

from pg_stepping.frontend.dialect import cast_to, quote_name, to_sql
from pg_stepping.frontend.postgres import execute, outputs_of, qualified_names, savepoint
from pg_stepping.frontend.sql.expressions import order_of, reordered
from pg_stepping.frontend.sql.relations import Relations
from pg_stepping.frontend.support import check_set_operation
from pg_stepping.frontend.ties import in_order
from pg_stepping.frontend.trees import bare, unaliased
from pg_stepping.frontend.windows import first_of_each, limited
from pg_stepping.ir import Aggregate, Call, Column, Filter, Item, Join, Plan, Project, Rows, Type, Union
from pg_stepping.ir.rewrite import substitute
from pg_stepping.ir.types import fresh, reference


class Outputs(Relations):
    """Finishes and combines queries."""

    def _combined(self, ast: exp.SetOperation) -> Project:
        """UNION, INTERSECT and EXCEPT: groups of equal rows, by how often each side has them."""
        check_set_operation(ast, self.source)
        left, right = self.query(ast.this), self.query(ast.expression)
        if self._outer or self._found_so_far:
            types = [i.type for i in left.items]
        else:
            plain = ast.copy()
            for key in ("order", "limit", "offset"):
                plain.set(key, None)
            types = [o.type for o in outputs_of(self.conn, to_sql(plain))]
        distinct = bool(ast.args.get("distinct"))
        sides = [aligned(p, left, types) for p in (left, right)]
        relation = fresh("combined", self._names)
        if isinstance(ast, exp.Union):
            below: Plan = Union((sides[0], sides[1]), relation)
            if distinct:
                keys = tuple(Item(c.name, c.ref, c.type) for c in below.columns)
                below = Aggregate(below, fresh("distinct", self._names), keys, ())
        else:
            below = self._counted_sides(ast, sides, relation, distinct=distinct)
        outputs = below.columns[: len(types)]
        if isinstance(below, Filter | Join):
            outputs = tuple(c for c in below.columns if c.name in {i.name for i in left.items})
        items = tuple(Item(c.name, c.ref, c.type) for c in outputs)
        project = Project(below, fresh("result", self._names), items)
        return self._cut_off(ast, project, [])

    def _counted_sides(
        self, ast: exp.SetOperation, sides: list[Project], relation: str, *, distinct: bool
    ) -> Plan:
        taken = {i.name for i in sides[0].items}
        side, first, second = (fresh(n, taken) for n in ("side", "first_side", "second_side"))
        integer, bigint = Type.of("integer"), Type.of("bigint")
        parts = tuple(
            replace(p, items=(*p.items, Item(side, exp.Literal.number(i + 1), integer)))
            for i, p in enumerate(sides)
        )
        both = Union(parts, relation)
        keys = tuple(Item(c.name, c.ref, c.type) for c in both.columns[:-1])
        calls = tuple(
            Call(
                name,
                "count",
                None,
                None,
                exp.EQ(this=reference(relation, side), expression=exp.Literal.number(i + 1)),
                bigint,
            )
            for i, name in enumerate((first, second))
        )
        groups = Aggregate(both, fresh("combined", self._names), keys, calls)
        a, b = (reference(groups.relation, n) for n in (first, second))
        zero = exp.Literal.number(0)
        if distinct:
            there = (
                exp.GT(this=b, expression=zero)
                if isinstance(ast, exp.Intersect)
                else exp.EQ(this=b, expression=zero)
            )
            return Filter(groups, (exp.GT(this=a, expression=zero), there))
        times: exp.Expression = exp.Anonymous(this="LEAST", expressions=[a, b])
        if isinstance(ast, exp.Except):
            times = exp.Sub(this=a, expression=b)
        series = exp.Anonymous(this="generate_series", expressions=[exp.Literal.number(1), times])
        name = fresh("copies", self._names)
        copies = Rows(name, series, "(copy)", (Column(name, fresh("copy", taken), bigint),))
        copies = replace(copies, header=f"({quote_name(copies.fields[0].name)})")
        return Join((groups, copies), ())

    def _finished(
        self,
        select: exp.Select,
        project: Project,
        more: list[exp.Expression],
        ordered: list[exp.Ordered],
        on: int,
    ) -> Project:
        """DISTINCT, ORDER BY and LIMIT, over the projection; `more` are what it orders and is distinct by."""
        outputs = project.items
        by_expression = {i.expression: i for i in reversed(outputs)}
        taken = {i.name for i in outputs}
        new = [e for e in dict.fromkeys(more) if e not in by_expression]
        types = self._types(project.input.columns, new) if new else []
        hidden = [Item(fresh("order", taken), e, t) for e, t in zip(new, types, strict=True)]
        by_expression |= {i.expression: i for i in hidden}
        wide = replace(project, items=(*outputs, *hidden))
        read = [by_expression[e] for e in more]
        order = [reordered(o, reference(wide.relation, i.name)) for o, i in zip(ordered, read, strict=False)]
        distinct = select.args.get("distinct")
        if distinct is not None and not on:
            keys = tuple(Item(i.name, i.expression, i.type) for i in outputs)
            groups = Aggregate(project.input, fresh("distinct", self._names), keys, ())
            project = Project(
                groups,
                fresh("result", self._names),
                tuple(Item(c.name, c.ref, c.type) for c in groups.columns),
            )
            moved = {(wide.relation, i.name): reference(project.relation, i.name) for i in outputs}
            order = [cast(exp.Ordered, substitute(o, moved)) for o in order]
            return self._cut_off(select, project, order)
        if on:
            first = first_of_each(wide, read[len(ordered) :], order, self._names)
            self._decide(select, outputs)
            moved = {(wide.relation, i.name): reference(first.relation, i.name) for i in wide.items}
            order = [cast(exp.Ordered, substitute(o, moved)) for o in order]
            wide = first
        limited_ = self._cut_off(select, wide, order)
        return replace(limited_, items=limited_.items[: len(outputs)])

    def _cut_off(self, ast: exp.Expression, project: Project, order: list[exp.Ordered]) -> Project:
        """LIMIT and OFFSET."""
        limit, offset = ast.args.get("limit"), ast.args.get("offset")
        if limit is None and offset is None:
            return project
        if isinstance(ast, exp.SetOperation):
            names = [i.name for i in project.items]
            order = [
                reordered(o, reference(project.relation, _output_name(o.this, names))) for o in order_of(ast)
            ]
        ties = False
        count: int | None = None
        if isinstance(limit, exp.Fetch):
            ties = bool(limit.args.get("limit_options") and limit.args["limit_options"].args.get("with_ties"))
            count = self._whole_number(limit.args.get("count") or exp.Literal.number(1))
        elif limit is not None and not _is_all(limit.expression):
            count = self._whole_number(limit.expression)
        skipped = self._whole_number(offset.expression) if offset is not None else None
        if not ties:
            self._decide(ast, project.items)
        return limited(project, order, count, skipped, self._names, ties=ties)

    def _whole_number(self, expression: exp.Expression) -> int | None:
        """The value of a constant expression, as LIMIT takes it; None is no limit, and an offset of none."""
        value = None
        constant = not expression.find(exp.Column, exp.Query)
        if constant:
            with savepoint(self.conn), qualified_names(self.conn):
                row = execute(self.conn, f"SELECT ({to_sql(expression)})::bigint").fetchone()
            value = row[0] if row is not None else None
        if not constant or (value is not None and value < 0):
            hint = "write the number itself"
            raise self.source.unsupported(
                "a LIMIT or OFFSET that is no number", "limit", "fetch", "offset", hint=hint
            )
        return value

    def _decide(self, ast: exp.Expression, outputs: Sequence[Item]) -> None:
        """Order the rows of the query's own text by all their columns: it takes the same as the view."""
        if self._published:
            return
        selects = cast(list[exp.Expression], cast(exp.Query, ast).selects)
        order = ast.args.get("order")
        listed = list(order.expressions) if order is not None else []
        there = {to_sql(o.this) for o in listed}
        distinct = isinstance(ast, exp.Select) and ast.args.get("distinct")
        for place, (select, output) in enumerate(zip(selects, outputs, strict=False), 1):
            if isinstance(ast, exp.SetOperation):  # which orders by its columns alone
                value: exp.Expression = exp.Literal.number(place)
                if not output.type.sorts:
                    raise self.source.unsupported(
                        f"LIMIT of a UNION with a column that has no order ({output.name})",
                        "limit", "fetch", "offset",
                        hint="put the UNION into a subquery in FROM",
                    )  # fmt: skip
                more = [exp.Ordered(this=value, desc=False, nulls_first=False)]
            else:
                value = unaliased(select).copy()
                more = in_order(value, output.type)
                if isinstance(value, exp.Literal | exp.Boolean | exp.Null):
                    continue
                if distinct and not distinct.args.get("on"):  # equal rows are one
                    more = more[:1]
            listed += [o for o in more if to_sql(o.this) not in there]
        if listed:
            ast.set("order", exp.Order(expressions=listed))


def aligned(project: Project, like: Project, types: Sequence[Type]) -> Project:
    """The projection with the column names of another, and the types that both have in common."""
    items = tuple(
        Item(name.name, i.expression if i.type == t else cast_to(exp.Paren(this=i.expression), t.name), t)
        for i, name, t in zip(project.items, like.items, types, strict=True)
    )
    return replace(project, items=items)


def _output_name(expression: exp.Expression, names: Sequence[str]) -> str:
    inner = bare(expression)
    return names[int(inner.name) - 1] if isinstance(inner, exp.Literal) else str(inner.name)


def _is_all(limit: exp.Expression | None) -> bool:
    inner = bare(limit) if limit is not None else None
    inner = inner.this if isinstance(inner, exp.Cast) else inner
    return inner is None or isinstance(inner, exp.Null) or inner.name.upper() == "ALL"
