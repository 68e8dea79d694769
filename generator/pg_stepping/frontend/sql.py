"""The SQL front end: the text of a query becomes a plan.

Postgres resolves the names and gives the types (postgres.py); sqlglot gives the structure of the canonical
text that Postgres prints. That sqlglot has read it rightly is not assumed: its own printing must come back
from Postgres as the very same canonical text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

from sqlglot import exp
from sqlglot.errors import SqlglotError

from pg_stepping.errors import SteppingError
from pg_stepping.frontend.bodies import check_bodies
from pg_stepping.frontend.collations import with_one_collation
from pg_stepping.frontend.dialect import (
    Record,
    WithOrdinality,
    cast_to,
    null_of,
    parse,
    quote_name,
    to_sql,
)
from pg_stepping.frontend.grouping import Grouping, Scope, grouping_sets, types_of
from pg_stepping.frontend.postgres import (
    Connection,
    Described,
    Function,
    Output,
    Relation,
    describe,
    execute,
    implicit_schema,
    is_maintained,
    of_no_rows,
    ordinary_view,
    outputs_of,
    qualified_names,
    query_in_place,
    relation,
    rows_of,
    savepoint,
    typed,
    view_definition,
)
from pg_stepping.frontend.purity import PINNED_SETTINGS, check_functions
from pg_stepping.frontend.recompute import determined, recomputed
from pg_stepping.frontend.refuse import Source
from pg_stepping.frontend.search_and_cycle import PLAIN, TOGETHER, ordered_by_depth, with_columns
from pg_stepping.frontend.subqueries import Subquery, Unnester
from pg_stepping.frontend.support import (
    check_clock_words,
    check_relation,
    check_select,
    check_set_operation,
)
from pg_stepping.frontend.ties import decide_windows
from pg_stepping.frontend.trees import (
    Pending,
    bare,
    called,
    calls_in,
    conjuncts,
    is_call,
    name_of,
    read_grouped,
    unaliased,
    ungrouped,
    with_unique_names,
    without_joins,
    without_parentheses,
    without_percent,
)
from pg_stepping.frontend.windows import first_of_each, limited, named_windows, windowed
from pg_stepping.ir import (
    Aggregate,
    Call,
    Column,
    Filter,
    Item,
    Join,
    Outer,
    Plan,
    Project,
    Recursive,
    Rows,
    Scan,
    Table,
    Type,
    Union,
)
from pg_stepping.ir.nodes import CORRELATED, columns_read
from pg_stepping.ir.rewrite import outside, rebuild, renamed, substitute
from pg_stepping.ir.types import fresh, reference
from pg_stepping.passes.name_relations import RESERVED

_TRUE = exp.Boolean(this=True)
_SHORT_FRAME = re.compile(
    r"\b(ROWS|RANGE|GROUPS) (?!BETWEEN\b|FROM\b|WITH\b)([^()]+? PRECEDING|CURRENT ROW)\b"
)
_WHOLE = "*"  # in a scope: the whole row, where that is read
_MERGED = ""  # in a scope: the columns that FULL JOIN ... USING makes of two, which no table has
Side = tuple[exp.Select, Scope]  # of a join: the items in it, to be selected from, and their columns


@dataclass(frozen=True, slots=True)
class Query:
    """A query that can be maintained.

    `text` is its canonical SQL, independent of any search_path; `recompute` the same with float sums in
    exact arithmetic; `settings` are the session settings on
    which its result depends, with their values now; `tables` describes each table that it reads, and
    `views` names the maintained views among them; `expands` are the ordinary views that it reads, with their
    definitions; `whole_rows` the tables that it reads whole rows of.
    """

    text: str
    recompute: str
    outputs: tuple[Output, ...]
    plan: Project
    tables: dict[Table, Relation]
    views: tuple[Table, ...]
    expands: tuple[tuple[Table, str], ...]
    settings: tuple[tuple[str, str], ...]
    whole_rows: tuple[Table, ...] = ()


def read_query(conn: Connection, text: str) -> Query:
    """Read the SELECT in `text`, its names resolved by the connection's search_path.

    Raises InvalidQuery if Postgres does not accept it, UnsupportedQuery if it cannot be maintained.
    Changes nothing in the database and commits nothing.
    """
    source = Source(text)
    described = describe(conn, source.single_statement())
    expansion = _Expansion(conn)
    ast = expansion.tree(described, source)
    reader = _Reader(conn, source, frozenset(expansion.functions))
    reader.read_whole = {c.table for c in ast.find_all(exp.Column) if isinstance(c.this, exp.Star)}
    token = CORRELATED.set(True)
    try:
        plan = reader.query(ast)
    finally:
        CORRELATED.reset(token)
    if not reader.tables:
        raise source.unsupported("no table", "select", hint="a query without tables never changes")
    if not described.outputs:
        raise source.unsupported("no column", "select", hint="name a column, or count(*)")
    check_bodies(conn, expansion.functions)
    return Query(
        text=described.text,
        recompute=recomputed(ast, reader.decided),
        outputs=described.outputs,
        plan=plan,
        tables=reader.tables,
        views=tuple(sorted(reader.views | expansion.in_place)),
        expands=tuple(sorted(expansion.views.items())),
        settings=_settings(conn) if expansion.depends else (),
        whole_rows=tuple(sorted(reader.whole_rows)),
    )


class _Expansion:
    """Trees of canonical text, in which ordinary views and CTEs stand as the subqueries that they mean,
    and so do maintained views whose state is not their result: in deferred mode, or in stripes.

    `functions` are all those called, `views` the ordinary views by their definitions, `in_place` the others;
    `depends`: the result depends on session settings.
    """

    def __init__(self, conn: Connection) -> None:
        self.conn = conn
        self.functions: set[Function] = set()
        self.views: dict[Table, str] = {}
        self.in_place: set[Table] = set()
        self.depends = False

    def tree(self, described: Described, source: Source) -> exp.Expression:
        self.depends |= check_functions(described, source)
        self.functions |= described.functions
        ast = _faithful(self.conn, described, source)
        _inline_ctes(ast, source)
        _order_arrays(ast)
        check_clock_words(ast, source)
        for item in list(ast.find_all(exp.Table)):
            if not item.db:
                continue
            view = Table(item.db, item.name)
            query = query_in_place(self.conn, view)
            definition = query or ordinary_view(self.conn, view)
            if query is not None:
                self.in_place.add(view)
            elif definition is not None:
                self.views[view] = definition
            if definition is not None:
                inner = describe(self.conn, definition, qualified=True)
                tree = self.tree(inner, source.within(view.schema, view.name))
                tree.meta["row_type"] = view
                _replace_by(item, tree)
        return ast


def _settings(conn: Connection) -> tuple[tuple[str, str], ...]:
    rows = execute(
        conn,
        "SELECT name, current_setting(name) FROM unnest(%s::text[]) AS name ORDER BY name",
        [list(PINNED_SETTINGS)],
    )
    return tuple((str(name), str(value)) for name, value in rows)


def _faithful(conn: Connection, described: Described, source: Source) -> exp.Expression:
    """The canonical text as a tree, proved to mean what the text means."""
    try:
        ast = parse(described.text)
        before = describe(conn, described.text, qualified=True)
        again = describe(conn, to_sql(ast), qualified=True)
        same = _squeeze(again.text) == _squeeze(before.text) and again.functions == described.functions
    except (SqlglotError, SteppingError):
        same = False
    if not same:
        raise source.unsupported(
            "SQL that cannot be read back faithfully",
            hint="look for unusual operators or syntax and write them as function calls",
        )
    return ast


def _squeeze(text: str) -> str:
    one_line = (
        " ".join(text.split()).replace("IS UNKNOWN", "IS NULL").replace("IS NOT UNKNOWN", "IS NOT NULL")
    )
    return _SHORT_FRAME.sub(r"\1 BETWEEN \2 AND CURRENT ROW", one_line)


def _inline_ctes(ast: exp.Expression, source: Source) -> None:
    """Put each CTE in the places where it is read: a query's result does not depend on how often it runs."""
    for with_ in reversed(list(ast.find_all(exp.With))):  # the innermost first: its names hide outer ones
        body = with_.parent
        assert body is not None
        with_.pop()
        ctes = list(with_.expressions)
        for i, cte in enumerate(ctes):
            search = cte.args.get("search")
            query = _with_recursion(cte, source) if _reads_itself(cte) else cte.this
            for reader in (*ctes[i + 1 :], body):
                ordered_by_depth(reader, cte, search, source)
                _replace_table(reader, cte, query)


def _reads_itself(cte: exp.CTE) -> bool:
    return any(not t.db and t.name == cte.alias for t in cte.this.find_all(exp.Table))


def _with_recursion(cte: exp.CTE, source: Source) -> exp.Expression:
    """A recursive CTE as a query of its own."""
    with_columns(cte, source)
    own = exp.Table(this=exp.to_identifier(cte.alias, quoted=True))
    alone = exp.With(expressions=[cte.copy()], recursive=True)
    return exp.Select(expressions=[exp.Star()], from_=exp.From(this=own), with_=alone)


def _order_arrays(ast: exp.Expression) -> None:
    """Give ARRAY(SELECT ...) without an order that of its values: Postgres leaves it open."""
    for array in ast.find_all(exp.Anonymous):
        query = array.expressions[0] if array.name == "ARRAY" and array.expressions else None
        if isinstance(query, exp.Select) and not query.args.get("order"):
            value = exp.Ordered(this=unaliased(query.expressions[0]).copy(), desc=False, nulls_first=False)
            query.set("order", exp.Order(expressions=[value]))


def _replace_table(reader: exp.Expression, cte: exp.Expression, query: exp.Expression) -> None:
    for table in list(reader.find_all(exp.Table)):
        if table.db or table.name != cte.alias:
            continue
        _replace_by(table, query.copy(), (cte.args.get("alias") or exp.TableAlias()).args.get("columns"))


def _replace_by(table: exp.Table, query: exp.Expression, columns: list[exp.Expression] | None = None) -> None:
    """Put a query in the place of a table in FROM, under its name; `columns` are names for its outputs."""
    columns = (table.args.get("alias") or exp.TableAlias()).args.get("columns") or columns
    alias = exp.TableAlias(this=exp.to_identifier(table.alias_or_name, quoted=True), columns=columns)
    table.replace(exp.Subquery(this=query, alias=alias, joins=table.args.get("joins")))


class _Reader:
    """Builds the plan of one query; gives every relation in it a name of its own."""

    def __init__(self, conn: Connection, source: Source, functions: frozenset[Function]) -> None:
        self.conn = conn
        self.source = source
        self.tables: dict[Table, Relation] = {}
        self.views: set[Table] = set()
        self.decided: list[tuple[exp.Expression, exp.Expression]] = []
        self.read_whole: set[str] = set()  # the aliases of relations of which whole rows are read
        self.whole_rows: set[Table] = set()
        self._names: set[str] = set()
        self._published = False
        self._known: dict[tuple[str, str], Column] = {}
        self._outer: list[Scope] = []
        self._pending: list[Subquery] = []
        self._found_so_far: dict[str, tuple[str, Project]] = {}
        self._functions = functions
        self._unnest = Unnester(self._names, self._types, self._collated, self._of_none, source)

    @property
    def _aggregates(self) -> frozenset[str]:
        """The names of the aggregates that the query calls, and of the one that ARRAY(...) stands for."""
        return frozenset(("array_agg", *(f.called for f in self._functions if f.kind == "a")))

    def _types(self, columns: Sequence[Column], expressions: Sequence[exp.Expression]) -> list[Type]:
        """The types of expressions over these columns and those of the queries around."""
        there = self._known | {(c.relation, c.name): c for c in columns}
        read = dict.fromkeys(columns_read(*expressions))
        return typed(self.conn, [there[key] for key in read], expressions)

    def _of_none(self, columns: Sequence[Column], aggregate: exp.Expression) -> str | None:
        """The text of an aggregate's value over no rows of these columns."""
        there = self._known | {(c.relation, c.name): c for c in columns}
        return of_no_rows(
            self.conn, [there[key] for key in dict.fromkeys(columns_read(aggregate))], aggregate
        )

    def _types_in(self, select: exp.Select, expressions: Sequence[exp.Expression]) -> list[Type]:
        """The types of expressions where the select list of a SELECT stands."""
        probe = select.copy()
        for key in ("order", "limit", "offset", "distinct"):
            probe.set(key, None)
        probe.set("expressions", [exp.alias_(e.copy(), f"c{i}") for i, e in enumerate(expressions)])
        return [o.type for o in outputs_of(self.conn, to_sql(probe))]

    def _know(self, columns: Iterable[Column]) -> None:
        self._known |= {(c.relation, c.name): c for c in columns}

    # --- FROM -------------------------------------------------------------------------------------

    def _from(self, select: exp.Select) -> tuple[Plan, Scope]:
        from_ = select.args.get("from_")
        if from_ is None:
            row = exp.Values(expressions=[exp.Tuple(expressions=[exp.Boolean(this=True)])])
            name = fresh("one_row", self._names)
            one = Rows(
                name, exp.Paren(this=row), "(there)", (Column(name, "there", Type.of("boolean"), True),)
            )
            return one, {}
        return self._joined(from_.this, select.args.get("joins") or [])

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
        if _is_lateral(join.this):
            return self._lateral(join, plan, scope)
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
                both = _beside({_MERGED: {name.name: either}}, both)
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
            plan, _ = renamed(_reading(subquery.plan, columns), self._names)
            left = tuple(substitute(e, columns) for e in subquery.left)
            return self._put_off(replace(subquery, plan=cast(Project, plan), left=left), node.text("text"))

        return substitute(condition, columns).transform(copied)

    def _lateral(self, join: exp.Join, plan: Plan, scope: Scope) -> tuple[Plan, Scope]:
        """A subquery, or a set-returning function, that may read what stands before it."""
        item = join.this
        on = (
            [c for c in conjuncts(join.args["on"]) if to_sql(c).lower() != "true"]
            if join.args.get("on")
            else []
        )
        if join.side not in ("", "LEFT"):
            raise self.source.unsupported(
                f"{join.side} JOIN LATERAL", "lateral", hint="use LEFT JOIN LATERAL"
            )
        self._outer.append(scope)
        try:
            inner = item.this if isinstance(item, exp.Lateral) else item
            if isinstance(inner, exp.Subquery):
                right = self.query(cast(exp.Expression, inner.this))
                self._know(right.columns)
                more = self._scope(item, right.relation, [c.name for c in right.columns])
                more = self._with_whole_row(more, None)
                if join.side:
                    optional, more = self._optional(right, more)
                    right = cast(Project, optional)
            else:
                rows, more = self._rows(item)
                right = None
        finally:
            self._outer.pop()
        both = {**scope, **more}
        conditions = tuple(self._resolve(c, both) for c in on)
        if right is None and not join.side:
            plan = Join((plan, rows), tuple(c for c in conditions if not c.find(Pending)))
            for condition in conditions:
                plan = self._filter(plan, condition) if condition.find(Pending) else plan
            return plan, both
        if join.side and (right is None or any(c.find(Pending) for c in conditions)):
            plan, values = self._left_join(plan, rows if right is None else right, conditions)
            return plan, {a: {n: substitute(e, values) for n, e in f.items()} for a, f in both.items()}
        assert right is not None
        plan, read = self._unnest.lateral(plan, right, conditions if join.side else None)
        values = {(right.relation, i.name): e for i, e in zip(right.items, read, strict=True)}
        more = {a: {n: substitute(e, values) for n, e in f.items()} for a, f in more.items()}
        for condition in () if join.side else conditions:
            plan = self._filter(plan, self._moved(condition, values))
        return plan, {**scope, **more}

    def _rows(self, item: exp.Expression) -> tuple[Rows, Scope]:
        """VALUES, or a set-returning function, as an item of FROM."""
        source = self._resolve(_source_of_rows(item), {})
        self._check_level([source], ())
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
        return rows, self._with_whole_row(scope, None) if isinstance(item, exp.Values) else scope

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
        read = describe(self.conn, to_sql(items.select(exp.column(name, quoted=True))), qualified=True)
        return unaliased(parse(read.text).expressions[0])

    def _item(self, item: exp.Expression) -> tuple[Plan, Scope]:
        inner = item.args.get("joins")
        if inner:  # a parenthesised join: its parts are joined to its first one
            return self._joined(without_joins(item), inner)
        if isinstance(item, exp.Subquery) and isinstance(item.this, exp.Table | exp.Subquery):
            plan, scope = self._item(item.this)
            return plan, self._renamed_join(item, scope) if item.alias else scope
        if isinstance(item, exp.Subquery) and isinstance(item.this, exp.Query):
            project = self.query(cast(exp.Expression, item.this))
            self._know(project.columns)
            scope = self._scope(item, project.relation, [c.name for c in project.columns])
            return project, self._with_whole_row(scope, item.this.meta.get("row_type"))
        if isinstance(item, exp.Table) and isinstance(item.this, exp.Identifier):
            return self._table(item)
        return self._rows(item)

    def _renamed_join(self, item: exp.Subquery, scope: Scope) -> Scope:
        """The scope of `(a JOIN b ON ...) AS j (x, y ...)`."""
        if any(join.args.get("using") for join in item.find_all(exp.Join)):
            hint = "write the join with ON, or leave its alias out"
            raise self.source.unsupported("an alias of a join with USING", "using", hint=hint)
        columns = [c for fields in scope.values() for c in fields.items() if c[0] != _WHOLE]
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
        return {alias: {**fields, _WHOLE: whole}}

    def _optional(self, plan: Plan, scope: Scope) -> tuple[Plan, Scope]:
        """The side of an outer join that may be missing: a whole row of it is NULL then."""
        if not any(_WHOLE in fields for fields in scope.values()):
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
            return column if name != _WHOLE else exp.Case(ifs=[exp.If(this=there.copy(), true=column)])

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

    # --- SELECT -----------------------------------------------------------------------------------

    def query(self, ast: exp.Expression) -> Project:
        """The plan of a SELECT, of several combined, or of VALUES."""
        if isinstance(ast, exp.Subquery):
            return self.query(ast.this)
        if ast.args.get("with_"):
            return self._recursive(ast.args["with_"].expressions[0])
        if isinstance(ast, exp.SetOperation):
            return self._combined(ast)
        if isinstance(ast, exp.Values):
            rows, _ = self._rows(ast)
            items = tuple(Item(c.name, c.ref, c.type) for c in rows.fields)
            return Project(rows, fresh("result", self._names), items)
        return self.select(ast)

    def _recursive(self, cte: exp.CTE) -> Project:
        """WITH RECURSIVE: its second part reads the rows found so far, by its own name."""
        ast = cast(exp.Union, cte.this)
        seed = self.query(cast(exp.Expression, ast.this))
        called_ = cte.alias
        given = [c.name for c in cte.args["alias"].args.get("columns") or []]
        names = [*given, *(i.name for i in seed.items[len(given) :])]
        types = dict(zip(names, (i.type for i in seed.items), strict=True))
        for column in ast.meta.get(TOGETHER, []):
            if not types[column].base.startswith(PLAIN) or types[column].collation:
                hint = "name one column, or write the path as a column"
                raise self.source.unsupported(
                    f"CYCLE by several columns, of the type {types[column].name}", "cycle", hint=hint
                )
        seed = replace(seed, items=tuple(replace(i, name=n) for i, n in zip(seed.items, names, strict=True)))
        name = fresh(f"{called_}_rows" if called_ in RESERVED else called_, self._names)
        before = self._found_so_far.get(called_)
        self._found_so_far[called_] = (name, seed)
        step = self.query(cast(exp.Expression, ast.expression))
        del self._found_so_far[called_]
        if before is not None:
            self._found_so_far[called_] = before
        step = _aligned(step, seed, [i.type for i in seed.items])
        recursive = Recursive(seed, step, fresh(called_, self._names), name, bool(ast.args.get("distinct")))
        self._know(recursive.columns)
        items = tuple(Item(c.name, c.ref, c.type) for c in recursive.columns)
        return Project(recursive, fresh("result", self._names), items)

    def _own_rows(self, item: exp.Table) -> tuple[Plan, Scope]:
        """The rows that a recursive CTE has found so far."""
        table, seed = self._found_so_far[item.name]
        name = fresh(item.alias_or_name, self._names)
        fields = tuple(Column(name, i.name, i.type) for i in seed.items)
        header = f"({', '.join(quote_name(f.name) for f in fields)})"
        self._know(fields)
        source = exp.Var(this=f"(TABLE {quote_name(table)})")
        return Rows(name, source, header, fields), self._scope(item, name, [f.name for f in fields])

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
        sides = [_aligned(p, left, types) for p in (left, right)]
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
        if any(isinstance(e, exp.Star) for e in kept.expressions):  # of a subquery that was made here
            columns = [
                exp.column(n, table=a, quoted=True)
                for a, fields in scope.items()
                for n in fields
                if n != _WHOLE
            ]
            kept.set("expressions", columns)
        where, having = select.args.get("where"), select.args.get("having")
        wheres = [self._resolve(c, scope) for c in conjuncts(where.this)] if where is not None else []
        self._check_level(wheres, ())
        # The fewer rows are left, the fewer a correlated subquery is computed for.
        for condition in sorted(wheres, key=lambda c: c.find(Pending) is not None):
            plan = self._filter(plan, condition)
        ordered = _order_of(select)
        distinct = select.args.get("distinct")
        on = list(distinct.args["on"].expressions) if distinct is not None and distinct.args.get("on") else []
        names = [e.alias_or_name for e in kept.expressions]
        items = [self._resolve(unaliased(e), scope) for e in kept.expressions]
        for mine, copy in zip(select.expressions, kept.expressions, strict=False):
            _keep_orders(mine, copy)
        more = [self._resolve(_by_number(e, kept), scope) for e in (*(o.this for o in ordered), *on)]
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

    def _multiplied(self, plan: Plan, read: list[exp.Expression]) -> tuple[Plan, list[exp.Expression]]:
        """Set-returning functions among the outputs, as rows that are joined: side by side, as long as the
        longest. Those in the arguments of others come first."""
        calls = list(dict.fromkeys(n for e in read for n in self._sets_in(e)))
        if not calls:
            return plan, read
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
        order = [_reordered(o, reference(wide.relation, i.name)) for o, i in zip(ordered, read, strict=False)]
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
            self._decide(select)
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
                _reordered(o, reference(project.relation, _output_name(o.this, names)))
                for o in _order_of(ast)
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
            self._decide(ast)
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

    def _decide(self, ast: exp.Expression) -> None:
        """Order the rows of the query's own text by all their columns: it takes the same as the view."""
        if self._published:
            return
        selects = cast(list[exp.Expression], cast(exp.Query, ast).selects)
        order = ast.args.get("order")
        listed = list(order.expressions) if order is not None else []
        there = {to_sql(o.this) for o in listed}
        for place, select in enumerate(selects, 1):
            if isinstance(ast, exp.Select):
                value = unaliased(select).copy()
                if isinstance(value, exp.Literal | exp.Boolean | exp.Null):
                    continue
            else:
                value = exp.Literal.number(place)
            if to_sql(value) not in there:
                listed.append(exp.Ordered(this=value, desc=False, nulls_first=False))
        ast.set("order", exp.Order(expressions=listed))

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
            return self._resolve(_by_number(key, select), scope)

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
        keys = list(determined_by)
        arguments = [a for c in calls for a in _arguments(c)]
        types = types_of(plan, list(dict.fromkeys([*keys, *arguments])), calls, self._types)
        grouping = Grouping(plan, tuple(keys), tuple(calls), types, self._names, labels)
        self._note_calls(select, scope, types)
        grouped = grouping.by(keys) if sets is None else grouping.by_sets(sets, asked)
        for place, subquery in enumerate(self._pending):
            if any(p is subquery for p in self._pending_in(read)):
                self._pending[place] = replace(
                    subquery,
                    plan=cast(Project, _over(subquery.plan, grouped.outputs)),
                    left=tuple(map(grouped.read, subquery.left)),
                )
        return grouped.plan, [grouped.read(e) for e in read]

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
        parts = [*select.expressions, *(select.args[k] for k in ("having", "order") if select.args.get(k))]
        for part in parts:
            for call in calls_in(part, self._aggregates):
                if call.find_ancestor(exp.Select) is not select:  # a subquery notes its own
                    continue
                resolved = self._resolve(call, scope)
                if resolved not in types:
                    continue
                own = {
                    a: types[self._resolve(a, scope)]
                    for a in _arguments(call)
                    if self._resolve(a, scope) in types
                }
                self.decided.append((call, determined(call, own | {call: types[resolved]})))

    # --- subqueries in expressions ----------------------------------------------------------------

    def _filter(self, plan: Plan, condition: exp.Expression) -> Plan:
        """The rows for which a condition, perhaps with subqueries, is true."""
        inner, negated = bare(condition), False
        if isinstance(inner, exp.Not):
            inner, negated = bare(inner.this), True
        if isinstance(inner, Pending):
            subquery = self._pending[inner.this]
            if subquery.kind == "in" or (subquery.kind == "exists" and not _is_total(subquery.plan)):
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
                    plan, values[pending.this] = self._unnest.value(plan, self._pending[pending.this])

        def put(node: exp.Expression) -> exp.Expression:
            return values[node.this].copy() if isinstance(node, Pending) and node.this in values else node

        return plan, [e.transform(put) if values else e for e in expressions]

    def _pending_in(self, expressions: Iterable[exp.Expression]) -> list[Subquery]:
        return [self._pending[p.this] for e in expressions for p in e.find_all(Pending)]

    def _resolve(self, expression: exp.Expression, scope: Scope) -> exp.Expression:
        """The expression with every column read from the plan's relations, ready to be printed anywhere."""

        def one(node: exp.Expression) -> exp.Expression:
            if isinstance(node, exp.Column):
                return self._column(node, scope)
            subquery = self._subquery(node, scope)
            return node if subquery is None else self._put_off(subquery, to_sql(_unwrapped(node)))

        copy = expression.copy()
        subqueries = list(zip(expression.find_all(exp.Query), copy.find_all(exp.Query), strict=True))
        resolved = without_percent(without_parentheses(bare(copy.transform(one, copy=False))))
        for mine, of_copy in subqueries:
            _keep_order(mine, of_copy)
        return self._collated(resolved, ())

    def _collated(self, expression: exp.Expression, columns: Sequence[Column]) -> exp.Expression:
        """The expression, over these columns and all that are known, with one collation for each equality."""
        there = (*columns, *self._known.values())
        if not expression.find(exp.Collate) and not any(c.type.collation for c in there):
            return expression
        return with_one_collation(expression, partial(self._types, columns))

    def _column(self, column: exp.Column, scope: Scope) -> exp.Expression:
        for scope_ in (scope, *reversed(self._outer)):
            for alias in [column.table] if column.table else sorted(scope_, key=lambda a: a != _MERGED):
                if column.name in scope_.get(alias, {}):
                    return scope_[alias][column.name].copy()
        if column.name == _WHOLE:
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
                return Subquery(kind, self._inner(inner, scope), self._row(node.this, scope), type(node))
        if isinstance(node, exp.Binary) and _is_row(node.this) and isinstance(node.expression, exp.Subquery):
            compared = self._inner(node.expression, scope)
            return Subquery("row", compared, self._row(node.this, scope), type(node))
        if isinstance(node, exp.Subquery) or (isinstance(node, exp.Select) and node.parent is not None):
            return Subquery("scalar", self._inner(node, scope))
        return None

    def _row(self, expression: exp.Expression, scope: Scope) -> tuple[exp.Expression, ...]:
        inner = bare(expression)
        parts = inner.expressions if _is_row(inner) else [inner]
        return tuple(self._resolve(p, scope) for p in parts)

    def _inner(self, query: exp.Expression, scope: Scope) -> Project:
        """The plan of a subquery, which may read the columns of the queries around it."""
        self._outer.append(scope)
        try:
            return self.query(bare(query))
        finally:
            self._outer.pop()


def _keep_orders(expression: exp.Expression, copy: exp.Expression) -> None:
    """Give the subqueries of an expression, in the query's own text, the order that those of its copy got."""
    for mine, of_copy in zip(expression.find_all(exp.Query), copy.find_all(exp.Query), strict=False):
        _keep_order(mine, of_copy)


def _keep_order(query: exp.Query, copy: exp.Query) -> None:
    order = copy.args.get("order")
    if order is not None and order != query.args.get("order"):
        query.set("order", order.copy())


def _beside(first: Scope, second: Scope) -> Scope:
    """The columns of both; of two merged ones of one name, those of the first."""
    merged = {**second.get(_MERGED, {}), **first.get(_MERGED, {})}
    return {**first, **second, **({_MERGED: merged} if merged else {})}


def _gathered(query: exp.Expression) -> exp.Select:
    """ARRAY(query) as an aggregate over the query; without a LIMIT its ORDER BY goes into the aggregate."""
    inner = query.copy()
    selects = cast(list[exp.Expression], cast(exp.Query, inner).selects)
    name = selects[0].alias_or_name or "value"
    value: exp.Expression = exp.column(name, table="gathered", quoted=True)
    if not isinstance(inner, exp.Select):
        hidden: list[exp.Ordered] = []
    else:
        hidden = list(_order_of(inner))
        inner.set("expressions", [exp.alias_(unaliased(selects[0]), name, quoted=True)])
        for i, ordered in enumerate(hidden):
            inner.append(
                "expressions", exp.alias_(_by_number(ordered.this, inner).copy(), f"order_{i}", quoted=True)
            )
    if hidden:
        order = [
            _reordered(o, exp.column(f"order_{i}", table="gathered", quoted=True))
            for i, o in enumerate(hidden)
        ]
        value = exp.Order(this=value, expressions=order)
    call = exp.Anonymous(this="array_agg", expressions=[value])
    alias = exp.TableAlias(this=exp.to_identifier("gathered", quoted=True))
    return exp.Select(expressions=[call], from_=exp.From(this=exp.Subquery(this=inner, alias=alias)))


def _unwrapped(node: exp.Expression) -> exp.Expression:
    """A subquery without the parentheses around it."""
    while isinstance(node, exp.Paren | exp.Subquery) and isinstance(node.this, exp.Expression):
        node = node.this
    return node


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


def _with_copies(plan: Plan, count: exp.Expression) -> Plan:
    """The scan of a published bag: each row as often as one of its columns says."""
    assert isinstance(plan, Scan)
    return replace(plan, copies=count.name)


def _is_lateral(item: exp.Expression) -> bool:
    """Whether a FROM item is computed from what stands before it, or is a function's rows."""
    function = isinstance(item, exp.Table) and not isinstance(item.this, exp.Identifier)
    return function or isinstance(item, exp.Lateral | exp.Unnest)


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


def _is_row(expression: exp.Expression) -> bool:
    """Whether it is (a, b) or ROW(a, b)."""
    inner = bare(expression)
    return isinstance(inner, exp.Tuple) or (isinstance(inner, exp.Anonymous) and inner.name.upper() == "ROW")


def _is_true(condition: exp.Expression) -> bool:
    inner = bare(condition)
    return isinstance(inner, exp.Boolean) and bool(inner.this)


def _is_total(project: Project) -> bool:
    """Whether a query has one row, whatever its tables hold."""
    return isinstance(project.input, Aggregate) and not project.input.keys


def _aligned(project: Project, like: Project, types: Sequence[Type]) -> Project:
    """The projection with the column names of another, and the types that both have in common."""
    items = tuple(
        Item(name.name, i.expression if i.type == t else cast_to(exp.Paren(this=i.expression), t.name), t)
        for i, name, t in zip(project.items, like.items, types, strict=True)
    )
    return replace(project, items=items)


def _order_of(ast: exp.Expression) -> list[exp.Ordered]:
    order = ast.args.get("order")
    return list(order.expressions) if order is not None else []


def _by_number(expression: exp.Expression, select: exp.Select) -> exp.Expression:
    """The output that a number in ORDER BY or GROUP BY stands for."""
    inner = bare(expression)
    if isinstance(inner, exp.Literal) and not inner.is_string and str(inner.name).isdigit():
        return unaliased(select.expressions[int(inner.name) - 1])
    return expression


def _output_name(expression: exp.Expression, names: Sequence[str]) -> str:
    inner = bare(expression)
    return names[int(inner.name) - 1] if isinstance(inner, exp.Literal) else str(inner.name)


def _reordered(ordered: exp.Ordered, by: exp.Expression) -> exp.Ordered:
    copy = ordered.copy()
    copy.set("this", by)
    return copy


def _is_all(limit: exp.Expression | None) -> bool:
    inner = bare(limit) if limit is not None else None
    inner = inner.this if isinstance(inner, exp.Cast) else inner
    return inner is None or isinstance(inner, exp.Null) or inner.name.upper() == "ALL"


def _over(plan: Plan, outputs: Mapping[exp.Expression, exp.Expression]) -> Plan:
    """A subquery's plan that reads groups in place of what was grouped."""
    return _reading(plan, {(e.table, e.name): o for e, o in outputs.items() if isinstance(e, exp.Column)})


def _reading(plan: Plan, columns: Mapping[tuple[str, str], exp.Expression]) -> Plan:
    """The plan with other expressions in place of columns of the query around it."""
    if isinstance(plan, Rows):
        return replace(plan, source=substitute(plan.source, columns))
    inputs = tuple(_reading(i, columns) for i in plan.inputs)
    return rebuild(plan, inputs, lambda e: substitute(e, columns))


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


def _has_rows(state: Scan) -> exp.Expression | None:
    """The condition that a group of a state table has rows: while a statement is under way it may have none.
    The number of them is the first column that cannot be NULL; other state tables begin with a key."""
    count = next((f for f in state.fields if f.not_null), None)
    if count is None or count.type.base != "bigint":
        return None
    return exp.NEQ(this=count.ref, expression=exp.Literal.number(0))
