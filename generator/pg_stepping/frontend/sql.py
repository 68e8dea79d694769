"""The SQL front end: the text of a query becomes a plan.

Postgres resolves the names and gives the types (postgres.py); sqlglot gives the structure of the canonical
text that Postgres prints. That sqlglot has read it rightly is not assumed: its own printing must come back
from Postgres as the very same canonical text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import cast

from sqlglot import exp
from sqlglot.errors import SqlglotError

from pg_stepping.errors import SteppingError
from pg_stepping.frontend.dialect import parse, to_sql
from pg_stepping.frontend.grouping import Grouping, Scope, grouping_of, is_grouped
from pg_stepping.frontend.postgres import (
    Connection,
    Described,
    Output,
    Relation,
    describe,
    execute,
    implicit_schema,
    qualified_names,
    relation,
)
from pg_stepping.frontend.purity import PINNED_SETTINGS, check_functions
from pg_stepping.frontend.recompute import recomputed
from pg_stepping.frontend.refuse import Source
from pg_stepping.frontend.support import (
    check_clock_words,
    check_expression,
    check_functions_kind,
    check_join,
    check_relation,
    check_select,
)
from pg_stepping.frontend.trees import (
    bare,
    called,
    calls_in,
    conjuncts,
    unaliased,
    with_unique_names,
    without_joins,
    without_parentheses,
    without_percent,
)
from pg_stepping.ir import Column, Filter, Item, Join, Plan, Project, Scan, Table, Type
from pg_stepping.ir.types import fresh, reference

Side = tuple[exp.Select, Scope]  # of a join: the items in it, to be selected from, and their columns


@dataclass(frozen=True, slots=True)
class Query:
    """A query that can be maintained.

    `text` is its canonical SQL, independent of any search_path; `recompute` the same with float sums in
    exact arithmetic; `settings` are the session settings on
    which its result depends, with their values now; `tables` describes each table that it reads, and
    `views` names the maintained views among them.
    """

    text: str
    recompute: str
    outputs: tuple[Output, ...]
    plan: Project
    tables: dict[Table, Relation]
    views: tuple[Table, ...]
    settings: tuple[tuple[str, str], ...]


def read_query(conn: Connection, text: str) -> Query:
    """Read the SELECT in `text`, its names resolved by the connection's search_path.

    Raises InvalidQuery if Postgres does not accept it, UnsupportedQuery if it cannot be maintained.
    Changes nothing in the database and commits nothing.
    """
    source = Source(text)
    described = describe(conn, source.single_statement())
    depends = check_functions(described, source)
    ast = _faithful(conn, described, source)
    _inline_ctes(ast, source)
    check_clock_words(ast, source)
    reader = _Reader(conn, source)
    plan = reader.select(ast)
    check_functions_kind(described, source)
    if not reader.tables:
        raise source.unsupported("no table", "select", hint="a query without tables never changes")
    return Query(
        text=described.text,
        recompute=recomputed(ast, reader.sums),
        outputs=described.outputs,
        plan=plan,
        tables=reader.tables,
        views=tuple(sorted(reader.views)),
        settings=_settings(conn) if depends else (),
    )


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
        with qualified_names(conn):
            before, again = describe(conn, described.text), describe(conn, to_sql(ast))
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
    return " ".join(text.split()).replace("IS UNKNOWN", "IS NULL").replace("IS NOT UNKNOWN", "IS NOT NULL")


def _inline_ctes(ast: exp.Expression, source: Source) -> None:
    """Put each CTE in the places where it is read: a query's result does not depend on how often it runs."""
    for with_ in reversed(list(ast.find_all(exp.With))):  # the innermost first: its names hide outer ones
        if with_.args.get("recursive"):
            raise source.unsupported("WITH RECURSIVE", "recursive", hint="write the levels as joins")
        body = with_.parent
        assert body is not None
        with_.pop()
        ctes = list(with_.expressions)
        for i, cte in enumerate(ctes):
            for reader in (*ctes[i + 1 :], body):
                _replace_table(reader, cte)


def _replace_table(reader: exp.Expression, cte: exp.Expression) -> None:
    for table in list(reader.find_all(exp.Table)):
        if table.db or table.name != cte.alias:
            continue
        columns = (table.args.get("alias") or exp.TableAlias()).args.get("columns")
        columns = columns or (cte.args.get("alias") or exp.TableAlias()).args.get("columns")
        alias = exp.TableAlias(this=exp.to_identifier(table.alias_or_name, quoted=True), columns=columns)
        table.replace(exp.Subquery(this=cte.this.copy(), alias=alias, joins=table.args.get("joins")))


class _Reader:
    """Builds the plan of one query; gives every relation in it a name of its own."""

    def __init__(self, conn: Connection, source: Source) -> None:
        self.conn = conn
        self.source = source
        self.tables: dict[Table, Relation] = {}
        self.views: set[Table] = set()
        self.sums: list[tuple[exp.Expression, Type]] = []
        self._names: set[str] = set()
        self._published = False

    # --- FROM -------------------------------------------------------------------------------------

    def _from(self, select: exp.Select) -> tuple[Plan, Scope]:
        from_ = select.args.get("from_")
        if from_ is None:
            raise self.source.without_from(hint="read from a table")
        return self._joined(from_.this, select.args.get("joins") or [])

    def _joined(self, first: exp.Expression, joins: Iterable[exp.Join]) -> tuple[Plan, Scope]:
        plan, scope = self._item(first)
        before = exp.Select(from_=exp.From(this=first.copy()))
        for join in joins:
            check_join(join, self.source)
            if self._published and isinstance(join.this.this, exp.Anonymous):
                assert isinstance(plan, Scan)  # a published bag: CROSS JOIN generate_series(1, n)
                plan = replace(plan, copies=join.this.this.expressions[1].name)
                continue
            right, more = self._item(join.this)
            sides = ((before, scope), (exp.Select(from_=exp.From(this=join.this.copy())), more))
            scope = {**scope, **more}
            conditions = tuple(self._resolve(c, scope) for c in self._conditions(join, *sides))
            plan = Join((plan, right), conditions)
            before.append("joins", join.copy())
        return plan, scope

    def _conditions(self, join: exp.Join, left: Side, right: Side) -> list[exp.Expression]:
        on = join.args.get("on")
        if on is not None:
            check_expression(on, self.source)
            return conjuncts(on)
        names = [name.name for name in join.args.get("using") or []]
        return [exp.EQ(this=self._common(n, *left), expression=self._common(n, *right)) for n in names]

    def _common(self, name: str, items: exp.Select, scope: Scope) -> exp.Expression:
        """The column that `name` is in a join of `items`: one of those that USING has merged there.

        Which one is for Postgres to say: of an integer and a float it is the float, wherever it stands.
        """
        aliases = [alias for alias, fields in scope.items() if name in fields]
        if len(aliases) == 1:
            return reference(aliases[0], name)
        with qualified_names(self.conn):
            read = describe(self.conn, to_sql(items.select(exp.column(name, quoted=True))))
        return unaliased(parse(read.text).expressions[0])

    def _item(self, item: exp.Expression) -> tuple[Plan, Scope]:
        inner = item.args.get("joins")
        if inner:  # a parenthesised join: its parts are joined to its first one
            return self._joined(without_joins(item), inner)
        if isinstance(item, exp.Subquery) and isinstance(item.this, exp.Table | exp.Subquery):
            plan, scope = self._item(item.this)
            return plan, self._renamed_join(item, scope) if item.alias else scope
        if isinstance(item, exp.Subquery) and isinstance(item.this, exp.Query):
            project = self.select(cast(exp.Expression, item.this))
            return project, self._scope(item, project.relation, [c.name for c in project.columns])
        if isinstance(item, exp.Table) and isinstance(item.this, exp.Identifier):
            return self._table(item)
        call = item.find(exp.Unnest, exp.Anonymous)
        word = type(item).__name__ if call is None else call.name or "unnest"
        name = f"{word.upper()} in FROM" if call is None else f"the function {word}() in FROM"
        raise self.source.unsupported(name, word, "from", hint="put its rows into a table and join that")

    def _renamed_join(self, item: exp.Subquery, scope: Scope) -> Scope:
        """The scope of `(a JOIN b ON ...) AS j (x, y ...)`."""
        if any(join.args.get("using") for join in item.find_all(exp.Join)):
            hint = "write the join with ON, or leave its alias out"
            raise self.source.unsupported("an alias of a join with USING", "using", hint=hint)
        columns = [column for fields in scope.values() for column in fields.items()]
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
        if item.args.get("sample") or item.find(exp.TableSample):
            raise self.source.unsupported("TABLESAMPLE", "tablesample", hint="filter on a column instead")
        table = Table(item.db or implicit_schema(self.conn, item.name), item.name)
        found = self.tables.get(table) or relation(self.conn, table)
        if found.kind == "v" and self._is_maintained(table):
            return self._maintained_view(item, table)
        if not self._published:
            check_relation(found, self.source)
        self.tables[table] = found
        name = fresh(item.alias_or_name, self._names)
        fields = tuple(Column(name, f.name, f.type, f.not_null) for f in found.fields)
        return Scan(table, name, fields), self._scope(item, name, [f.name for f in found.fields])

    def _is_maintained(self, table: Table) -> bool:
        row = execute(self.conn, "SELECT to_regclass('stepping.maintained_view') IS NOT NULL").fetchone()
        if row is None or not row[0]:
            return False
        sql = "SELECT FROM stepping.maintained_view WHERE schema_name = %s AND view_name = %s"
        return execute(self.conn, sql, [table.schema, table.name]).fetchone() is not None

    def _maintained_view(self, item: exp.Table, view: Table) -> tuple[Plan, Scope]:
        """Read the state table below a maintained view, through the query that publishes it."""
        with qualified_names(self.conn):
            row = execute(
                self.conn,
                """SELECT pg_get_viewdef(c.oid) FROM pg_class AS c
                   JOIN pg_namespace AS n ON n.oid = c.relnamespace
                   WHERE n.nspname = %s AND c.relname = %s""",
                [view.schema, view.name],
            ).fetchone()
        assert row is not None
        self.views.add(view)
        before, self._published = self._published, True
        project = self.select(parse(row[0].strip().rstrip(";")))
        self._published = before
        return project, self._scope(item, project.relation, [c.name for c in project.columns])

    # --- SELECT -----------------------------------------------------------------------------------

    def select(self, ast: exp.Expression) -> Project:
        """The plan of one SELECT, with its subqueries."""
        select = check_select(ast, self.source)
        kept = with_unique_names(select)
        with qualified_names(self.conn):
            outputs = describe(self.conn, to_sql(kept)).outputs
        plan, scope = self._from(select)
        where, having = select.args.get("where"), select.args.get("having")
        if where is not None:
            plan = Filter(plan, tuple(self._resolve(c, scope) for c in conjuncts(where.this)))
        items = [self._resolve(unaliased(e), scope) for e in kept.expressions]
        conditions = [self._resolve(c, scope) for c in conjuncts(having.this)] if having is not None else []
        if is_grouped(select, items):
            read = (*items, *conditions)
            grouping = grouping_of(self.conn, select, scope, self._resolve, read)
            self._note_sums(select, scope, grouping)
            labels = {e: o.name for e, o in reversed(list(zip(items, outputs, strict=True)))}
            plan = aggregate = grouping.aggregate(plan, fresh("grouped", self._names), labels)
            over_groups = grouping.reader(aggregate)
            items = [over_groups(e) for e in items]
            if conditions:
                plan = Filter(plan, tuple(over_groups(c) for c in conditions))
        named = tuple(Item(o.name, e, o.type) for o, e in zip(outputs, items, strict=True))
        return Project(plan, fresh("result", self._names), named)

    def _note_sums(self, select: exp.Select, scope: Scope, grouping: Grouping) -> None:
        """Remember the sums and averages of the query's own text, with their types, to recompute it."""
        having = select.args.get("having")
        for part in (*select.expressions, *([having] if having is not None else [])):
            for call in calls_in(part):
                if called(call).name != "count" and not self._published:
                    self.sums.append((call, grouping.types[self._resolve(call, scope)].type))

    def _resolve(self, expression: exp.Expression, scope: Scope) -> exp.Expression:
        """The expression with every column read from the plan's relations, ready to be printed anywhere."""

        def one(node: exp.Expression) -> exp.Expression:
            if isinstance(node, exp.Column):
                aliases = [node.table] if node.table else list(scope)
                for alias in aliases:
                    if node.name in scope.get(alias, {}):
                        return scope[alias][node.name].copy()
                raise self.source.unsupported(
                    f"the column {node.name}", node.name, hint="a system column does not follow its row"
                )
            return node

        return without_percent(without_parentheses(bare(expression.copy().transform(one))))
