"""Queries: a SELECT, its groups, recursion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import cast

from sqlglot import exp

from pg_stepping.frontend.dialect import cast_to, image_of, quote_name, to_sql
from pg_stepping.frontend.grouping import Grouping, Scope, grouping_sets, types_of
from pg_stepping.frontend.postgres import Output, outputs_of
from pg_stepping.frontend.recompute import determined
from pg_stepping.frontend.search_and_cycle import PLAIN, TOGETHER
from pg_stepping.frontend.sql.expressions import WHOLE, by_number, order_of
from pg_stepping.frontend.sql.outputs import Outputs, aligned
from pg_stepping.frontend.sql.relations import reading
from pg_stepping.frontend.support import check_select
from pg_stepping.frontend.ties import decide_windows
from pg_stepping.frontend.trees import (
    Pending,
    bare,
    called,
    calls_in,
    calls_of,
    conjuncts,
    distinct_row,
    invoked,
    is_row,
    read_grouped,
    unaliased,
    ungrouped,
    with_unique_names,
)
from pg_stepping.frontend.windows import named_windows, windowed
from pg_stepping.ir import Column, Item, Join, Plan, Project, Recursive, Rows, Scan, Type
from pg_stepping.ir.nodes import columns_read
from pg_stepping.ir.rewrite import is_own, outside, rows_in
from pg_stepping.ir.types import fresh, reference
from pg_stepping.passes.name_relations import RESERVED


class Reader(Outputs):
    """Builds the plan of one query; gives every relation in it a name of its own."""

    def _types_in(self, select: exp.Select, expressions: Sequence[exp.Expression]) -> list[Type]:
        """The types of expressions where the select list of a SELECT stands."""
        probe = select.copy()
        for key in ("order", "limit", "offset", "distinct"):
            probe.set(key, None)
        probe.set("expressions", [exp.alias_(e.copy(), f"c{i}") for i, e in enumerate(expressions)])
        return [o.type for o in outputs_of(self.conn, to_sql(probe))]

    def query(self, ast: exp.Expression) -> Project:
        """The plan of a SELECT, of several combined, or of VALUES."""
        if isinstance(ast, exp.Subquery):
            return self.query(ast.this)
        if ast.args.get("with_"):
            return self._recursive(ast.args["with_"].expressions[0])
        if isinstance(ast, exp.SetOperation):
            return self._combined(ast)
        if isinstance(ast, exp.Values):
            before, rows, _ = self._rows(ast, None)
            plan = rows if before is None else Join((before, rows), ())
            items = tuple(Item(c.name, c.ref, c.type) for c in rows.fields)
            return Project(plan, fresh("result", self._names), items)
        return self.select(ast)

    def _recursive(self, cte: exp.CTE) -> Project:
        """WITH RECURSIVE: its second part reads the rows found so far, by its own name."""
        ast = cast(exp.Union, cte.this)
        seed = self.query(cast(exp.Expression, ast.this))
        called_ = cte.alias
        given = [c.name for c in cte.args["alias"].args.get("columns") or []]
        names = [*given, *(i.name for i in seed.items[len(given) :])]
        types = dict(zip(names, (i.type for i in seed.items), strict=True))
        distinct = bool(ast.args.get("distinct"))
        together = ast.meta.get(TOGETHER, [])
        for column in together:
            plain = types[column].base.startswith(PLAIN) and not types[column].collation
            if not plain or (distinct and not types[column].exact):
                hint = "name one column, or write the path as a column"
                raise self.source.unsupported(
                    f"CYCLE by several columns, of the type {types[column].name}", "cycle", hint=hint
                )
        for item in seed.items if distinct else ():
            path = together and item.type.base == "jsonb[]"
            if item.type.alike is None and not path:
                hint = 'cast it to what is the same where it is equal, such as text COLLATE "C"'
                raise self.source.unsupported(
                    f"WITH RECURSIVE by UNION over the type {item.type.sql}", "with recursive", hint=hint
                )
        seed = replace(seed, items=tuple(replace(i, name=n) for i, n in zip(seed.items, names, strict=True)))
        name = fresh(f"{called_}_rows" if called_ in RESERVED else called_, self._names)
        before = self._found_so_far.get(called_)
        self._found_so_far[called_] = (name, seed)
        step = self.query(cast(exp.Expression, ast.expression))
        del self._found_so_far[called_]
        if before is not None:
            self._found_so_far[called_] = before
        step = aligned(step, seed, [i.type for i in seed.items])
        recursive = Recursive(seed, step, fresh(called_, self._names), name, distinct)
        if _sets_aside(step, recursive):
            raise self.source.unsupported(
                f"grouping, a window, LIMIT or a subquery over what the recursion {called_} has found so far",
                *(f"{word} →{called_}" for word in ("join", ",", "from")),
                hint="compare with those rows by equality, or group what the recursion gives outside of it",
            )
        self._know(recursive.columns)
        items = tuple(Item(c.name, c.ref, c.type) for c in recursive.columns)
        return Project(recursive, fresh("result", self._names), items)

    def select(self, ast: exp.Expression) -> Project:
        """The plan of one SELECT, with its subqueries."""
        select = check_select(ast, self.source)
        named_windows(select)
        if not self._outer and not self._found_so_far and not self._published:
            decide_windows(select, partial(self._types_in, select), self._is_set)
        kept = with_unique_names(select)
        outputs: tuple[Output, ...] | None = None
        if not self._outer and not self._found_so_far:
            outputs = outputs_of(self.conn, to_sql(kept))
        plan, scope = self._from(select)
        written_out = select  # what is decided of the calls in it is so in the query's own tree
        if any(isinstance(e, exp.Star) for e in kept.expressions):  # of a subquery that was made here
            written_out = kept
            columns = [
                exp.column(n, table=a, quoted=True)
                for a, fields in scope.items()
                for n in fields
                if n != WHOLE
            ]
            kept.set("expressions", columns)
        where, having = select.args.get("where"), select.args.get("having")
        wheres = [self._resolve(c, scope) for c in conjuncts(where.this)] if where is not None else []
        self._check_level(wheres, ())
        # The fewer rows are left, the fewer a correlated subquery is computed for.
        for condition in sorted(wheres, key=lambda c: c.find(Pending) is not None):
            plan = self._filter(plan, condition)
        ordered = order_of(select)
        distinct = select.args.get("distinct")
        on = list(distinct.args["on"].expressions) if distinct is not None and distinct.args.get("on") else []
        names = [e.alias_or_name for e in kept.expressions]
        items = [self._resolve(unaliased(e), scope) for e in written_out.expressions]
        more = [self._resolve(by_number(e, kept), scope) for e in (*(o.this for o in ordered), *on)]
        written = {_as_written(i): i for i in reversed(items)}  # an output, subquery and all
        more = [written.get(_as_written(e), e) for e in more]
        conditions = [self._resolve(c, scope) for c in conjuncts(having.this)] if having is not None else []
        read = [*items, *more, *conditions]
        self._check_level(read, plan.columns)
        group = select.args.get("group")
        grouped = group is not None or having is not None or any(calls_in(e, self._aggregates) for e in read)
        if not grouped and not any(e.find(exp.Window) for e in read):
            plan, read = self._multiplied(plan, read)
        if grouped:
            labels = dict(reversed(list(zip(items, names, strict=True))))
            plan, read = self._grouped(select, plan, scope, read, labels)
            for condition in read[len(items) + len(more) :]:
                plan = self._filter(plan, condition)
            read = read[: len(items) + len(more)]
        plan, read = self._joined_subqueries(plan, read)
        plan, read = windowed(plan, read, self._names, self._types)
        plan, read = self._multiplied(plan, read)
        types = (
            [o.type for o in outputs]
            if outputs is not None
            else self._types(plan.columns, read[: len(items)])
        )
        taken: set[str] = set()
        out_names = (
            [o.name for o in outputs] if outputs is not None else [fresh(n or "column", taken) for n in names]
        )
        named = tuple(Item(n, e, t) for n, e, t in zip(out_names, read, types, strict=False))
        project = Project(plan, fresh("result", self._names), named)
        return self._finished(select, project, read[len(items) :], ordered, len(on))

    def _multiplied(self, plan: Plan, read: list[exp.Expression]) -> tuple[Plan, list[exp.Expression]]:
        """Set-returning functions among the outputs, as rows that are joined: side by side, as long as the
        longest. Those in the arguments of others come first."""
        calls = list(dict.fromkeys(n for e in read for n in self._sets_in(e)))
        if not calls:
            return plan, read
        if any(c.find(Pending) for c in calls):
            plan, read = self._joined_subqueries(plan, read)
            calls = list(dict.fromkeys(n for e in read for n in self._sets_in(e)))
        depths = {self._depth(c) for c in calls}
        if len(depths) > 1 or any(c.find_ancestor(exp.Window) for c in calls):
            hint = "put the function into FROM"
            where = "in a window" if len(depths) == 1 else "beside nested ones"
            raise self.source.unsupported(f"a set-returning function {where}", calls[0].name, hint=hint)
        if depths != {1}:
            given = [a for c in calls for a in c.iter_expressions()]
            plan, moved = self._multiplied(plan, given)
            arguments = dict(zip(given, moved, strict=True))
            read = [read_grouped(e, arguments) for e in read]
            calls = list(dict.fromkeys(n for e in read for n in self._sets_in(e)))
        taken: set[str] = set()
        types = self._types(plan.columns, calls)
        name = fresh("rows", self._names)
        fields = tuple(Column(name, fresh("value", taken), t) for t in types)
        of_calls = [c.copy() for c in calls]
        source = of_calls[0] if len(calls) == 1 else exp.Anonymous(this="ROWS FROM", expressions=of_calls)
        header = f"({', '.join(quote_name(f.name) for f in fields)})"
        self._know(fields)
        outputs = {c: cast(exp.Expression, f.ref) for c, f in zip(calls, fields, strict=True)}
        joined = Join((plan, Rows(name, source, header, fields)), ())
        return joined, [read_grouped(e, outputs) for e in read]

    def _grouped(
        self,
        select: exp.Select,
        plan: Plan,
        scope: Scope,
        read: list[exp.Expression],
        labels: dict[exp.Expression, str],
    ) -> tuple[Plan, list[exp.Expression]]:
        """The groups of a SELECT, and what it reads, over them.

        A column that the keys determine (by a primary key) may be read ungrouped: it becomes one more key.
        """
        aggregates = self._aggregates
        plan, read = self._joined_subqueries(plan, read, within=aggregates)
        group = select.args.get("group")

        def resolve(key: exp.Expression) -> exp.Expression:
            return self._resolve(by_number(key, select), scope)

        sets = grouping_sets(group, resolve) if group is not None else None
        if sets is not None:
            written = [k for s in sets for k in s]
        else:
            written = [resolve(k) for k in group.expressions] if group is not None else []
        rows = list(dict.fromkeys(n for k in written for n in self._sets_in(k)))
        plan, made = self._multiplied(plan, rows)
        of_keys = dict(zip(rows, made, strict=True))
        written = [read_grouped(k, of_keys) for k in written]
        read = [read_grouped(e, of_keys) for e in read]
        sets = sets and [type(s)(read_grouped(k, of_keys) for k in s) for s in sets]
        plan, keys = self._joined_subqueries(plan, written)
        joined = dict(zip(map(_as_written, written), keys, strict=True))
        read = [_with_keys(e, joined) for e in read]
        if sets is not None:
            sets = [type(s)(joined[_as_written(k)] for k in s) for s in sets]
        read = self._by_images(plan, read)
        calls = list(dict.fromkeys(c for e in read for c in calls_in(e, aggregates)))
        asked = list(
            dict.fromkeys(n for e in read for n in e.find_all(exp.Anonymous) if n.name == "GROUPING")
        )
        free: list[exp.Expression] = [
            reference(*c) for p in self._pending_in(read) for c in sorted(outside(p.plan))
        ]
        free += [e for p in self._pending_in(read) for e in p.left]
        there = {(c.relation, c.name) for c in plan.columns}
        determined_by: dict[exp.Expression, None] = dict.fromkeys(keys)
        for expression in (*read, *free):
            for column in ungrouped(expression, {*determined_by, *calls, *asked}):
                if next(columns_read(column)) in there:
                    self._check_determined(column, keys, plan)
                    determined_by[column] = None
        by_text = self._read_from_texts(plan, [k for k in determined_by if k not in keys])
        if by_text:
            read = [read_grouped(e, {**{c: c for c in calls}, **by_text}) for e in read]
        keys = [by_text[k].this if k in by_text else k for k in determined_by]
        arguments = [a for c in calls for a in _arguments(c) if not is_row(a)]
        types = types_of(plan, list(dict.fromkeys([*keys, *arguments])), calls, self._types)
        grouping = Grouping(plan, tuple(keys), tuple(calls), types, self._names, labels)
        self._note_calls(select, scope, types)
        grouped = grouping.by(keys) if sets is None else grouping.by_sets(sets, asked)
        self._know(grouped.plan.columns)
        for place, subquery in enumerate(self._pending):
            if any(p is subquery for p in self._pending_in(read)):
                self._pending[place] = replace(
                    subquery,
                    plan=cast(Project, _over(subquery.plan, grouped.outputs)),
                    left=tuple(map(grouped.read, subquery.left)),
                )
        return grouped.plan, [grouped.read(e) for e in read]

    def _read_from_texts(
        self, plan: Plan, columns: list[exp.Expression]
    ) -> dict[exp.Expression, exp.Expression]:
        """How those columns are read that no group can have for a key, as they have no order: from their
        texts, which stand for them."""
        types = self._types(plan.columns, columns) if columns else []
        pairs = zip(columns, types, strict=True)
        return {c: cast_to(image_of(c), t.name) for c, t in pairs if not t.groups}

    def _by_images(self, plan: Plan, read: list[exp.Expression]) -> list[exp.Expression]:
        """count(DISTINCT (a, b)) by the bytes of these rows, which no column could hold as they are; where
        values that are equal can differ, so can their bytes: such a call is left."""
        images: dict[exp.Expression, exp.Expression] = {}
        for call in (c for e in read for c in calls_in(e, self._aggregates)):
            row = distinct_row(call)
            if row is not None and all(t.exact for t in self._types(plan.columns, bare(row).expressions)):
                images[call] = call.copy()
                image = exp.Anonymous(this="record_send", expressions=[row.copy()])
                invoked(images[call]).expressions[0].set("expressions", [image])
        return [read_grouped(e, images) for e in read] if images else read

    def _check_determined(self, column: exp.Expression, keys: list[exp.Expression], plan: Plan) -> None:
        """Refuse an ungrouped column that is not one of a table whose key is grouped by."""
        relation_ = column.args["table"].name
        grouped = {k.name for k in keys if isinstance(k, exp.Column) and k.table == relation_}
        tables = [s.table for s in _scans(plan) if s.relation == relation_]
        if not any(grouped >= set(key) for t in tables for key in self.tables[t].keys):
            hint = "write the subquery that reads it in FROM, and group by its column"
            raise self.source.unsupported(
                "a key of GROUP BY that is written in two ways", "group by", hint=hint
            )

    def _note_calls(self, select: exp.Select, scope: Scope, types: dict[exp.Expression, Type]) -> None:
        """Remember how the calls of the query's own text are decided, to recompute it."""
        if self._published:
            return
        for call in calls_of(select, self._aggregates):
            resolved = self._resolve(call, scope)
            if resolved not in types:
                continue
            own = {
                a: types[self._resolve(a, scope)]
                for a in _arguments(call)
                if self._resolve(a, scope) in types
            }
            self.decided.append((call, determined(call, own | {call: types[resolved]})))


def _scans(plan: Plan) -> list[Scan]:
    return [plan] if isinstance(plan, Scan) else [s for i in plan.inputs for s in _scans(i)]


def _as_written(expression: exp.Expression) -> exp.Expression:
    """The expression with the text of each subquery that is not yet joined in its place."""
    return expression.transform(lambda n: exp.Var(this=n.text("text")) if isinstance(n, Pending) else n)


def _with_keys(expression: exp.Expression, keys: Mapping[exp.Expression, exp.Expression]) -> exp.Expression:
    """The expression with grouping keys that hold subqueries in place of what is written like them."""
    if not expression.find(Pending):
        return expression
    key = keys.get(_as_written(expression))
    if key is not None:
        return key.copy()
    copy = expression.copy()
    for child in list(copy.iter_expressions()):
        child.replace(_with_keys(child, keys))
    return copy


def _over(plan: Plan, outputs: Mapping[exp.Expression, exp.Expression]) -> Plan:
    """A subquery's plan that reads groups in place of what was grouped."""
    return reading(plan, {(e.table, e.name): o for e, o in outputs.items() if isinstance(e, exp.Column)})


def _arguments(call: exp.Expression) -> list[exp.Expression]:
    """The arguments of an aggregate call."""
    inner = called(call)
    inner = inner.this if isinstance(inner, exp.WithinGroup) else inner
    while isinstance(inner, exp.Dot):
        inner = inner.expression
    found: list[exp.Expression] = []
    for argument in inner.expressions:
        if isinstance(argument, exp.Order):
            argument = argument.this
        parts = argument.expressions if isinstance(argument, exp.Distinct) else [argument]
        found += [bare(p) for p in parts if not isinstance(p, exp.Star)]
    return found


def _sets_aside(plan: Plan, recursive: Recursive) -> bool:
    """Whether a stage of its own would read the rows that the recursion has found so far."""
    if plan.stateful and any(is_own(r, recursive) for r in rows_in(plan)):
        return True
    return any(_sets_aside(i, recursive) for i in plan.inputs)
