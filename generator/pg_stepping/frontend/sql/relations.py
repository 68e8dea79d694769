"""The items of FROM, and how they are joined."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import cast

from sqlglot import exp

from pg_stepping.errors import InvalidQuery
from pg_stepping.frontend.dialect import Record, WithOrdinality, cast_to, null_of, parse, quote_name, to_sql
from pg_stepping.frontend.grouping import Scope
from pg_stepping.frontend.postgres import describe, rows_of
from pg_stepping.frontend.sql.expressions import MERGED, WHOLE, Expressions
from pg_stepping.frontend.subqueries import Subquery
from pg_stepping.frontend.support import check_relation
from pg_stepping.frontend.tables import implicit_schema, is_maintained, relation, view_definition
from pg_stepping.frontend.trees import Pending, bare, conjuncts, unaliased
from pg_stepping.ir import Column, Filter, Item, Join, Outer, Plan, Project, Rows, Scan, Table, Type, Union
from pg_stepping.ir.nodes import columns_read
from pg_stepping.ir.rewrite import rebuild, renamed, substitute
from pg_stepping.ir.types import fresh, reference

_TRUE = exp.Boolean(this=True)
Side = tuple[exp.Select, Scope]  # of a join: the items in it, to be selected from, and their columns


class Relations(Expressions):
    """Reads FROM."""

    def _from(self, select: exp.Select) -> tuple[Plan, Scope]:
        from_ = select.args.get("from_")
        if from_ is None:
            return self._one_row(), {}
        return self._joined(from_.this, select.args.get("joins") or [])

    def _one_row(self) -> Rows:
        row = exp.Values(expressions=[exp.Tuple(expressions=[exp.Boolean(this=True)])])
        name = fresh("one_row", self._names)
        there = Column(name, "there", Type.of("boolean"), True)
        return Rows(name, exp.Paren(this=row), "(there)", (there,))

    def _joined(self, first: exp.Expression, joins: Iterable[exp.Join]) -> tuple[Plan, Scope]:
        plan, scope = self._item(first)
        before = exp.Select(from_=exp.From(this=first.copy()))
        for join in joins:
            if self._published and isinstance(join.this.this, exp.Anonymous):
                plan = _with_copies(plan, join.this.this.expressions[1])
                continue
            plan, scope = self._join(join, before, plan, scope)
            before.append("joins", join.copy())
        return plan, scope

    def _join(self, join: exp.Join, before: exp.Select, plan: Plan, scope: Scope) -> tuple[Plan, Scope]:
        side = join.side or ""
        if side in ("", "LEFT") and _is_lateral(join.this, scope):
            return self._lateral(join, before, plan, scope)
        right, more = self._item(join.this)
        if side in ("LEFT", "FULL"):
            right, more = self._optional(right, more)
        if side in ("RIGHT", "FULL"):
            plan, scope = self._optional(plan, scope)
        sides = ((before, scope), (exp.Select(from_=exp.From(this=join.this.copy())), more))
        both = _beside(more, scope) if side == "RIGHT" else _beside(scope, more)
        conditions = tuple(self._resolve(c, both) for c in self._conditions(join, *sides))
        if side == "FULL":
            for name, c in zip(join.args.get("using") or [], conditions, strict=False):
                either = exp.Anonymous(this="COALESCE", expressions=[c.this.copy(), c.expression.copy()])
                both = _beside({MERGED: {name.name: either}}, both)
            return self._full_join(plan, right, conditions, both)
        if not side:
            plan = Join((plan, right), tuple(c for c in conditions if not c.find(Pending)))
            for condition in conditions:
                plan = self._filter(plan, condition) if condition.find(Pending) else plan
            return plan, both
        outer, optional = (right, plan) if side == "RIGHT" else (plan, right)
        plan, read = self._left_join(outer, optional, conditions)
        return plan, {a: {n: substitute(e, read) for n, e in f.items()} for a, f in both.items()}

    def _left_join(
        self, outer: Plan, optional: Plan, conditions: tuple[exp.Expression, ...]
    ) -> tuple[Plan, dict[tuple[str, str], exp.Expression]]:
        """A left join; returns how the columns of its optional side are read, where that has changed.

        Subqueries in its condition are joined to that side, which then reads the other one like LATERAL.
        """
        if not any(c.find(Pending) for c in conditions):
            return Join((outer,), (), (Outer(optional, conditions),)), {}
        columns = optional.columns
        for condition in sorted(conditions, key=lambda c: c.find(Pending) is not None):
            optional = self._filter(optional, condition)
        taken: set[str] = set()
        items = tuple(Item(fresh(c.name, taken), c.ref, c.type) for c in columns)
        right = Project(optional, fresh("optional", self._names), items)
        joined, read = self._unnest.lateral(outer, right, ())
        self._know(joined.columns)
        return joined, {(c.relation, c.name): r for c, r in zip(columns, read, strict=True)}

    def _full_join(
        self, left: Plan, right: Plan, conditions: tuple[exp.Expression, ...], scope: Scope
    ) -> tuple[Plan, Scope]:
        """A FULL JOIN: the left join, and with it the rows of the right side that have no partner."""
        first, read_first = self._left_join(left, right, conditions)
        (mine, columns), (other, more) = renamed(left, self._names), renamed(right, self._names)
        columns |= more
        self._know((*mine.columns, *other.columns))
        met = mine
        for condition in conditions:
            met = self._filter(met, self._moved(condition, columns))
        there = Project(met, fresh("met", self._names), (Item("present", _TRUE, Type.of("boolean")),))
        alone = self._unnest.filtered(other, Subquery("exists", there), negated=True)
        taken: set[str] = set()
        named = [(c, fresh(c.name, taken)) for c in (*left.columns, *right.columns)]
        both = tuple(Item(n, read_first.get((c.relation, c.name)) or c.ref, c.type) for c, n in named)
        right_only = tuple(
            Item(n, more.get((c.relation, c.name)) or null_of(c.type), c.type) for c, n in named
        )
        relation = fresh("full", self._names)
        parts = (Project(first, fresh("left", self._names), both),
                 Project(alone, fresh("right", self._names), right_only))  # fmt: skip
        read = {(c.relation, c.name): reference(relation, n) for c, n in named}
        moved = {a: {n: substitute(e, read) for n, e in fields.items()} for a, fields in scope.items()}
        union = Union(parts, relation)
        self._know(union.columns)
        return union, moved

    def _moved(
        self, condition: exp.Expression, columns: Mapping[tuple[str, str], exp.Expression]
    ) -> exp.Expression:
        """A condition over copies of what it reads, with copies of its subqueries."""

        def copied(node: exp.Expression) -> exp.Expression:
            if not isinstance(node, Pending):
                return node
            subquery = self._pending[node.this]
            plan, _ = renamed(reading(subquery.plan, columns), self._names)
            left = tuple(self._moved(e, columns) for e in subquery.left)
            return self._put_off(replace(subquery, plan=cast(Project, plan), left=left), node.text("text"))

        return substitute(condition, columns).transform(copied)

    def _lateral(self, join: exp.Join, before: exp.Select, plan: Plan, scope: Scope) -> tuple[Plan, Scope]:
        """A subquery, a join in parentheses or a function's rows, that may read what stands before it."""
        item = join.this
        self._outer.append(scope)
        try:
            right: Plan | None = None
            if _is_rows(item):
                placed, rows, more = self._rows(item, plan)
                plan = placed or plan
            else:
                found, more = self._item(item)
                right, more = self._in_one(found, more)
                if join.side:
                    right, more = self._optional(right, more)
        finally:
            self._outer.pop()
        both = _beside(scope, more)
        sides = ((before, scope), (exp.Select(from_=exp.From(this=item.copy())), more))
        conditions = tuple(self._resolve(c, both) for c in self._conditions(join, *sides))
        if right is None and not join.side:
            plan = Join((plan, rows), tuple(c for c in conditions if not c.find(Pending)))
            for condition in conditions:
                plan = self._filter(plan, condition) if condition.find(Pending) else plan
            return plan, both
        if join.side and (right is None or any(c.find(Pending) for c in conditions)):
            plan, values = self._left_join(plan, rows if right is None else right, conditions)
            return plan, {a: {n: substitute(e, values) for n, e in f.items()} for a, f in both.items()}
        assert isinstance(right, Project)
        plan, read = self._unnest.lateral(plan, right, conditions if join.side else None)
        self._know(plan.columns)
        values = {(right.relation, i.name): e for i, e in zip(right.items, read, strict=True)}
        more = {a: {n: substitute(e, values) for n, e in f.items()} for a, f in more.items()}
        for condition in () if join.side else conditions:
            plan = self._filter(plan, self._moved(condition, values))
        return plan, _beside(scope, more)

    def _in_one(self, plan: Plan, scope: Scope) -> tuple[Project, Scope]:
        """A join in parentheses as one relation."""
        if isinstance(plan, Project):
            return plan, scope
        taken: set[str] = set()
        items = tuple(Item(fresh(c.name, taken), c.ref, c.type) for c in plan.columns)
        project = Project(plan, fresh("joined", self._names), items)
        self._know(project.columns)
        read = {(c.relation, c.name): n.ref for c, n in zip(plan.columns, project.columns, strict=True)}
        return project, {a: {n: substitute(e, read) for n, e in f.items()} for a, f in scope.items()}

    def _first_rows(self, item: exp.Expression) -> tuple[Plan, Scope]:
        """VALUES, or a set-returning function, where nothing stands before it."""
        before, rows, scope = self._rows(item, None)
        return rows if before is None else Join((before, rows), ()), scope

    def _rows(self, item: exp.Expression, before: Plan | None) -> tuple[Plan | None, Rows, Scope]:
        """VALUES, or a set-returning function, as an item of FROM; the subqueries in it are joined to what
        stands before it."""
        source = self._resolve(_source_of_rows(item), {})
        self._check_level([source], ())
        if source.find(Pending):
            before, (source,) = self._joined_subqueries(before or self._one_row(), [source])
        source = exp.Paren(this=source) if isinstance(source, exp.Values) else source
        given = _columns_of_rows(item)
        header = f"({', '.join(map(to_sql, given))})" if given else ""
        read = set(columns_read(source))
        columns = [self._known[key] for key in read]
        fields = rows_of(self.conn, columns, to_sql(source), item.alias or "rows", header)
        names = [f.name for f in fields]
        if not any(isinstance(c, exp.ColumnDef) for c in given):
            header = f"({', '.join(map(quote_name, names))})"
        name = fresh(item.alias or "rows", self._names)
        rows = Rows(name, source, header, tuple(Column(name, f.name, f.type) for f in fields))
        self._know(rows.fields)
        scope = {item.alias_or_name: {n: cast(exp.Expression, reference(name, n)) for n in names}}
        return before, rows, self._with_whole_row(scope, None) if isinstance(item, exp.Values) else scope

    def _conditions(self, join: exp.Join, left: Side, right: Side) -> list[exp.Expression]:
        on = join.args.get("on")
        if on is not None:
            return [c for c in conjuncts(on) if not _is_true(c)]
        names = [name.name for name in join.args.get("using") or []]
        return [exp.EQ(this=self._common(n, *left), expression=self._common(n, *right)) for n in names]

    def _common(self, name: str, items: exp.Select, scope: Scope) -> exp.Expression:
        """The column that `name` is in a join of `items`: one of those that USING has merged there.

        Which one is for Postgres to say: of an integer and a float it is the float, wherever it stands.
        """
        aliases = [alias for alias, fields in scope.items() if name in fields]
        if len(aliases) == 1:
            return reference(aliases[0], name)
        try:
            read = describe(self.conn, to_sql(items.select(exp.column(name, quoted=True))), qualified=True)
        except InvalidQuery as error:  # the items read what stands before them
            hint = "write the inner join with ON, and choose its column"
            what = "USING a merged column of a join that reads what stands before it"
            raise self.source.unsupported(what, f"using ( →{name}", "using", hint=hint) from error
        return unaliased(parse(read.text).expressions[0])

    def _item(self, item: exp.Expression) -> tuple[Plan, Scope]:
        inner = item.args.get("joins")
        if inner:  # a parenthesised join: its parts are joined to its first one, which is no copy: what is
            item.set("joins", None)  # decided of its calls (_note_calls) is so in the query's own tree
            try:
                return self._joined(item, inner)
            finally:
                item.set("joins", inner)
        if isinstance(item, exp.Table) and isinstance(item.this, exp.Lateral | exp.Unnest):
            return self._item(item.this)  # the first one of a join in parentheses
        if isinstance(item, exp.Subquery) and isinstance(item.this, exp.Table | exp.Subquery):
            plan, scope = self._item(item.this)
            return plan, self._renamed_join(item, scope) if item.alias else scope
        inner = item.this if isinstance(item, exp.Lateral) else item
        if isinstance(inner, exp.Subquery) and isinstance(inner.this, exp.Query | exp.Values):
            view: Table | None = inner.this.meta.get("row_type")
            query = cast(exp.Expression, inner.this)
            project = self.query(query) if view is None else self._of_view(query, view)
            self._know(project.columns)
            scope = self._scope(item, project.relation, [c.name for c in project.columns])
            return project, self._with_whole_row(scope, view)
        if isinstance(item, exp.Table) and isinstance(item.this, exp.Identifier):
            return self._table(item)
        return self._first_rows(item)

    def _of_view(self, query: exp.Expression, view: Table) -> Project:
        """A view's query; what it has that is refused is refused where the view is read."""
        before, self.source = self.source, self.source.within(view.schema, view.name)
        try:
            return self.query(query)
        finally:
            self.source = before

    def _renamed_join(self, item: exp.Subquery, scope: Scope) -> Scope:
        """The scope of `(a JOIN b ON ...) AS j (x, y ...)`."""
        if any(join.args.get("using") for join in item.find_all(exp.Join)):
            hint = "write the join with ON, or leave its alias out"
            raise self.source.unsupported("an alias of a join with USING", "using", hint=hint)
        columns = [c for fields in scope.values() for c in fields.items() if c[0] != WHOLE]
        alias = item.args["alias"]
        renamed = [c.name for c in alias.args.get("columns") or []]
        names = renamed + [name for name, _ in columns[len(renamed) :]]
        return {item.alias: dict(zip(names, (read for _, read in columns), strict=True))}

    def _scope(self, item: exp.Expression, relation_: str, names: list[str]) -> Scope:
        alias = item.args.get("alias")
        renamed = [c.name for c in (alias.args.get("columns") or [])] if alias is not None else []
        seen = renamed + names[len(renamed) :]
        read = {s: reference(relation_, n) for s, n in zip(seen, names, strict=True)}
        return {item.alias_or_name: dict(read)}

    def _table(self, item: exp.Table) -> tuple[Plan, Scope]:
        if not item.db and item.name in self._found_so_far:
            return self._own_rows(item)
        if item.args.get("sample") or item.find(exp.TableSample):
            raise self.source.unsupported("TABLESAMPLE", "tablesample", hint="filter on a column instead")
        table = Table(item.db or implicit_schema(self.conn, item.name), item.name)
        found = self.tables.get(table) or relation(self.conn, table)
        if found.kind == "v" and is_maintained(self.conn, table):
            return self._maintained_view(item, table)
        if not self._published:
            check_relation(found, self.source, only=bool(item.args.get("only")))
        self.tables[table] = found
        name = fresh(item.alias_or_name, self._names)
        fields = tuple(Column(name, f.name, f.type, f.not_null) for f in found.fields)
        self._know(fields)
        scan = Scan(table, name, fields)
        there = _has_rows(scan) if self._published else None
        scope = self._scope(item, name, [f.name for f in found.fields])
        if item.alias_or_name in self.read_whole and not self._published:
            self.whole_rows.add(table)
        return scan if there is None else Filter(scan, (there,)), self._with_whole_row(scope, table)

    def _with_whole_row(self, scope: Scope, row_type: Table | None) -> Scope:
        """The columns of a relation, and its whole row among them if that is read."""
        (alias, fields), *_ = scope.items()
        if alias not in self.read_whole or self._published:
            return scope
        whole: exp.Expression = Record(
            expressions=[exp.alias_(e.copy(), n, quoted=True) for n, e in fields.items()]
        )
        if row_type is not None:
            row = exp.Anonymous(this="ROW", expressions=[e.copy() for e in fields.values()])
            whole = cast_to(row, f"{quote_name(row_type.schema)}.{quote_name(row_type.name)}")
        return {alias: {**fields, WHOLE: whole}}

    def _optional(self, plan: Plan, scope: Scope) -> tuple[Plan, Scope]:
        """The side of an outer join that may be missing: a whole row of it is NULL then."""
        if not any(WHOLE in fields for fields in scope.values()):
            return plan, scope
        taken: set[str] = set()
        items = [Item(fresh(c.name, taken), c.ref, c.type) for c in plan.columns]
        present = Item(fresh("present", taken), _TRUE, Type.of("boolean"))
        project = Project(plan, fresh("optional", self._names), (*items, present))
        self._know(project.columns)
        there = exp.Is(this=reference(project.relation, present.name), expression=_TRUE.copy())
        read = {(c.relation, c.name): n.ref for c, n in zip(plan.columns, project.columns, strict=False)}

        def moved(name: str, column: exp.Expression) -> exp.Expression:
            column = substitute(column, read)
            return column if name != WHOLE else exp.Case(ifs=[exp.If(this=there.copy(), true=column)])

        return project, {a: {n: moved(n, e) for n, e in fields.items()} for a, fields in scope.items()}

    def _maintained_view(self, item: exp.Table, view: Table) -> tuple[Plan, Scope]:
        """Read the state table below a maintained view, through the query that publishes it."""
        self.views.add(view)
        before, self._published = self._published, True
        outer, self._outer = self._outer, []
        project = self.query(parse(view_definition(self.conn, view)))
        self._published, self._outer = before, outer
        self._know(project.columns)
        scope = self._scope(item, project.relation, [c.name for c in project.columns])
        return project, self._with_whole_row(scope, view)

    def _own_rows(self, item: exp.Table) -> tuple[Plan, Scope]:
        """The rows that a recursive CTE has found so far."""
        table, seed = self._found_so_far[item.name]
        name = fresh(item.alias_or_name, self._names)
        fields = tuple(Column(name, i.name, i.type) for i in seed.items)
        header = f"({', '.join(quote_name(f.name) for f in fields)})"
        self._know(fields)
        source = exp.Var(this=f"(TABLE {quote_name(table)})")
        return Rows(name, source, header, fields), self._scope(item, name, [f.name for f in fields])


def _beside(first: Scope, second: Scope) -> Scope:
    """The columns of both; of two merged ones of one name, those of the first."""
    merged = {**second.get(MERGED, {}), **first.get(MERGED, {})}
    return {**first, **second, **({MERGED: merged} if merged else {})}


def _with_copies(plan: Plan, count: exp.Expression) -> Plan:
    """The scan of a published bag: each row as often as one of its columns says."""
    assert isinstance(plan, Scan)
    return replace(plan, copies=count.name)


def _is_rows(item: exp.Expression) -> bool:
    """Whether a FROM item is the rows of a function."""
    if isinstance(item, exp.Lateral):
        return not isinstance(item.this, exp.Subquery)
    function = isinstance(item, exp.Table) and not isinstance(item.this, exp.Identifier)
    return function or isinstance(item, exp.Unnest)


def _is_lateral(item: exp.Expression, scope: Scope) -> bool:
    """Whether a FROM item may read what stands before it; of a join in parentheses, whether a part does."""
    if isinstance(item, exp.Lateral) or _is_rows(item):
        return True
    if not isinstance(item, exp.Subquery) or not isinstance(item.this, exp.Table | exp.Subquery):
        return False
    parts = item.find_all(exp.Lateral, exp.Table, exp.Unnest)
    reading = (c for p in parts if isinstance(p, exp.Lateral) or _is_rows(p) for c in p.find_all(exp.Column))
    return any(c.table in scope for c in reading)


def _source_of_rows(item: exp.Expression) -> exp.Expression:
    """VALUES or the call of a function, without alias and LATERAL."""
    inner = item.this if isinstance(item, exp.Lateral | exp.Table) and item.this is not None else item
    source = inner.copy()
    if isinstance(item, exp.Table) and item.args.get("db") is not None:
        source = exp.Dot(this=item.args["db"].copy(), expression=source)
    ordinality = item.args.get("ordinality")
    if isinstance(inner, exp.Unnest):
        ordinality = inner.args.get("offset")
        source = exp.Anonymous(this="unnest", expressions=[e.copy() for e in inner.expressions])
    if item.args.get("rows_from"):
        calls = [_source_of_rows(r) for r in item.args["rows_from"]]
        source = exp.Anonymous(this="ROWS FROM", expressions=calls)
    source.set("alias", None)
    return WithOrdinality(this=source) if ordinality else source


def _columns_of_rows(item: exp.Expression) -> list[exp.Expression]:
    inner = item.this if isinstance(item, exp.Lateral) else item
    offset = inner.args.get("offset") if isinstance(inner, exp.Unnest) else None
    alias = item.args.get("alias")
    named = [*(alias.args.get("columns") or [])] if alias is not None else []
    return [*named, offset] if isinstance(offset, exp.Identifier) else named


def _is_true(condition: exp.Expression) -> bool:
    inner = bare(condition)
    return isinstance(inner, exp.Boolean) and bool(inner.this)


def reading(plan: Plan, columns: Mapping[tuple[str, str], exp.Expression]) -> Plan:
    """The plan with other expressions in place of columns of the query around it."""
    if isinstance(plan, Rows):
        return replace(plan, source=substitute(plan.source, columns))
    inputs = tuple(reading(i, columns) for i in plan.inputs)
    return rebuild(plan, inputs, lambda e: substitute(e, columns))


def _has_rows(state: Scan) -> exp.Expression | None:
    """The condition that a group of a state table has rows: while a statement is under way it may have none.
    The number of them is the first column that cannot be NULL; other state tables begin with a key."""
    count = next((f for f in state.fields if f.not_null), None)
    if count is None or count.type.base != "bigint":
        return None
    return exp.NEQ(this=count.ref, expression=exp.Literal.number(0))
