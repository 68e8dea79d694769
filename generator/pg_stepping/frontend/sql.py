"""The SQL front end: the text of a query becomes a plan.

Postgres resolves the names and gives the types (postgres.py); sqlglot gives the structure of the canonical
text that Postgres prints. That sqlglot has read it rightly is not assumed: its own printing must come back
from Postgres as the very same canonical text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sqlglot import exp
from sqlglot.errors import SqlglotError

from pg_stepping.errors import SteppingError
from pg_stepping.frontend.dialect import parse, to_sql
from pg_stepping.frontend.postgres import (
    Connection,
    Described,
    Output,
    Relation,
    describe,
    execute,
    qualified_names,
    relation,
)
from pg_stepping.frontend.purity import PINNED_SETTINGS, check_functions
from pg_stepping.frontend.recompute import recomputed
from pg_stepping.frontend.refuse import Source
from pg_stepping.frontend.support import (
    AGGREGATES,
    check_expression,
    check_functions_kind,
    check_join,
    check_relation,
    check_select,
)
from pg_stepping.ir import Aggregate, Call, Column, Filter, Item, Join, Plan, Project, Scan, Table, Type
from pg_stepping.ir.types import reference

Scope = dict[str, dict[str, exp.Expression]]


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
            again = describe(conn, to_sql(ast))
        same = _squeeze(again.text) == _squeeze(described.text) and again.functions == described.functions
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
    while (with_ := ast.find(exp.With)) is not None:
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

    def _fresh(self, name: str) -> str:
        return fresh(name, self._names)

    # --- FROM -------------------------------------------------------------------------------------

    def _from(self, select: exp.Select) -> tuple[Plan, Scope]:
        from_ = select.args.get("from_")
        if from_ is None:
            raise self.source.unsupported("a SELECT without FROM", "select", hint="read from a table")
        return self._joined(from_.this, select.args.get("joins") or [])

    def _joined(self, first: exp.Expression, joins: Iterable[exp.Join]) -> tuple[Plan, Scope]:
        plan, scope = self._item(first)
        for join in joins:
            check_join(join, self.source)
            if self._published and isinstance(join.this.this, exp.Anonymous):
                assert isinstance(plan, Scan)  # the published view of a bag: generate_series(1, n)
                count = join.this.this.expressions[1]
                plan = Scan(plan.table, plan.relation, plan.fields, copies=count.name)
                continue
            right, more = self._item(join.this)
            conditions = [self._resolve(c, {**scope, **more}) for c in self._conditions(join, scope, more)]
            scope.update(more)
            plan = Join((plan, right), tuple(conditions))
        return plan, scope

    def _conditions(self, join: exp.Join, left: Scope, right: Scope) -> list[exp.Expression]:
        on = join.args.get("on")
        if on is not None:
            check_expression(on, self.source)
            return conjuncts(on)
        equalities: list[exp.Expression] = []
        for name in join.args.get("using") or []:
            sides = [next(a for a, fields in s.items() if name.name in fields) for s in (left, right)]
            a, b = (reference(alias, name.name) for alias in sides)
            equalities.append(exp.EQ(this=a, expression=b))
        return equalities

    def _item(self, item: exp.Expression) -> tuple[Plan, Scope]:
        if isinstance(item, exp.Subquery) and isinstance(item.this, exp.Table | exp.Subquery):
            if item.this.args.get("joins"):
                joins = item.this.args["joins"]
                plan, scope = self._joined(_without_joins(item.this), joins)
            else:
                plan, scope = self._item(item.this)
            return self._more_joins(plan, scope, item)
        if isinstance(item, exp.Subquery) and isinstance(item.this, exp.Query):
            project = self.select(item.this)
            return project, self._scope(item, project.relation, [c.name for c in project.columns])
        if isinstance(item, exp.Table) and isinstance(item.this, exp.Identifier):
            return self._table(item)
        word = item.this.name if isinstance(item, exp.Table) else type(item).__name__
        name = f"the function {word}() in FROM" if isinstance(item, exp.Table) else f"{word.upper()} in FROM"
        raise self.source.unsupported(name, word, hint="put its rows into a table and join that")

    def _more_joins(self, plan: Plan, scope: Scope, item: exp.Expression) -> tuple[Plan, Scope]:
        for join in item.args.get("joins") or []:
            check_join(join, self.source)
            right, more = self._item(join.this)
            conditions = [self._resolve(c, {**scope, **more}) for c in self._conditions(join, scope, more)]
            scope.update(more)
            plan = Join((plan, right), tuple(conditions))
        return plan, scope

    def _scope(self, item: exp.Expression, relation_: str, names: list[str]) -> Scope:
        alias = item.args.get("alias")
        renamed = [c.name for c in (alias.args.get("columns") or [])] if alias is not None else []
        seen = renamed + names[len(renamed) :]
        read = {s: reference(relation_, n) for s, n in zip(seen, names, strict=True)}
        return {item.alias_or_name: dict(read)}

    def _table(self, item: exp.Table) -> tuple[Plan, Scope]:
        if item.args.get("sample") or item.find(exp.TableSample):
            raise self.source.unsupported("TABLESAMPLE", "tablesample", hint="filter on a column instead")
        table = Table(item.db or "pg_catalog", item.name)
        found = self.tables.get(table) or relation(self.conn, table)
        if found.kind == "v" and self._is_maintained(table):
            return self._maintained_view(item, table)
        if not self._published:
            check_relation(
                found.kind, found.persistence, found.inherits, table.schema, table.name, self.source
            )
        self.tables[table] = found
        name = self._fresh(item.alias_or_name)
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
        with qualified_names(self.conn):
            outputs = describe(self.conn, to_sql(_without_duplicates(select))).outputs
        plan, scope = self._from(select)
        where = select.args.get("where")
        if where is not None:
            plan = Filter(plan, tuple(self._resolve(c, scope) for c in conjuncts(where.this)))
        items = [self._resolve(_unaliased(e), scope) for e in _without_duplicates(select).expressions]
        having = select.args.get("having")
        conditions = [self._resolve(c, scope) for c in conjuncts(having.this)] if having is not None else []
        if select.args.get("group") is not None or any(_calls(e) for e in (*items, *conditions)) or having:
            plan, rewrite = self._aggregate(select, plan, scope, items, conditions, outputs)
            items = [rewrite(e) for e in items]
            if conditions:
                plan = Filter(plan, tuple(rewrite(c) for c in conditions))
        named = tuple(Item(o.name, e, o.type) for o, e in zip(outputs, items, strict=True))
        return Project(plan, self._fresh("result"), named)

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

        return _without_percent(_without_parentheses(_bare(expression.copy().transform(one))))

    # --- GROUP BY ---------------------------------------------------------------------------------

    def _aggregate(
        self,
        select: exp.Select,
        plan: Plan,
        scope: Scope,
        items: list[exp.Expression],
        conditions: list[exp.Expression],
        outputs: tuple[Output, ...],
    ) -> tuple[Aggregate, Callable[[exp.Expression], exp.Expression]]:
        group = select.args.get("group")
        original = list(group.expressions) if group is not None else []
        keys = {self._resolve(k, scope): k for k in original}
        calls = {c: None for e in (*items, *conditions) for c in _calls(e)}
        # A column that the keys determine (by a primary key) may be read ungrouped: it is one more key.
        for expression in (*items, *conditions):
            for column in _ungrouped(expression, keys):
                keys[column] = column
        kinds = self._types(select, scope, keys, calls)
        self._note_sums(select, scope, kinds)
        relation_, taken = self._fresh("grouped"), set[str]()
        labels = {e: o.name for e, o in reversed(list(zip(items, outputs, strict=True)))}
        named_keys = {k: self._key(k, labels, kinds, taken) for k in keys}
        named_calls = {c: self._call(c, kinds, taken) for c in calls}
        aggregate = Aggregate(plan, relation_, tuple(named_keys.values()), tuple(named_calls.values()))
        outputs_of = {e: n.name for e, n in (*named_calls.items(), *named_keys.items())}

        def rewrite(expression: exp.Expression) -> exp.Expression:
            return _replace(expression, outputs_of, relation_)

        return aggregate, rewrite

    def _note_sums(
        self, select: exp.Select, scope: Scope, kinds: dict[exp.Expression, Output]
    ) -> None:
        having = select.args.get("having")
        for part in (*select.expressions, *([having] if having is not None else [])):
            for call in _calls(part):
                if _called(call).name != "count" and not self._published:
                    self.sums.append((call, kinds[self._resolve(call, scope)].type))

    def _types(
        self,
        select: exp.Select,
        scope: Scope,
        keys: Iterable[exp.Expression],
        calls: Iterable[exp.Expression],
    ) -> dict[exp.Expression, Output]:
        """The exact types of grouping keys, aggregates and their arguments."""
        back = {read: reference(a, name) for a, fields in scope.items() for name, read in fields.items()}

        def ask(expressions: list[exp.Expression], grouped: bool) -> dict[exp.Expression, Output]:
            if not expressions:
                return {}
            probe = select.copy()
            for clause in ("having", "group", "where"):
                probe.set(clause, None)
            original = [e.transform(lambda n: back[n].copy() if n in back else n) for e in expressions]
            probe.set("expressions", [exp.alias_(e, f"c{i}", quoted=True) for i, e in enumerate(original)])
            with qualified_names(self.conn):
                return dict(zip(expressions, describe(self.conn, to_sql(probe)).outputs, strict=True))

        arguments = [a for a in map(_argument, calls) if a is not None]
        return {**ask([*keys, *arguments], False), **ask(list(calls), True)}

    def _key(
        self,
        key: exp.Expression,
        labels: dict[exp.Expression, str],
        kinds: dict[exp.Expression, Output],
        taken: set[str],
    ) -> Item:
        name = labels.get(key) or (key.name if isinstance(key, exp.Column) else "key")
        return Item(fresh(name, taken), key, kinds[key].type)

    def _call(self, call: exp.Expression, kinds: dict[exp.Expression, Output], taken: set[str]) -> Call:
        condition = _bare(call.expression.this) if isinstance(call, exp.Filter) else None
        function = _called(call).name
        argument = _argument(call)
        name = f"{function}_{argument.name}" if isinstance(argument, exp.Column) else function
        return Call(
            name=fresh(name, taken),
            function=function,
            argument=argument,
            argument_type=kinds[argument].type if argument is not None else None,
            condition=condition,
            type=kinds[call].type,
        )


def fresh(name: str, taken: set[str]) -> str:
    """`name`, or `name_2`, `name_3` ...: the first that is not in `taken`, to which it is added."""
    candidate, i = name[:60], 1
    while candidate in taken:
        i += 1
        candidate = f"{name[:56]}_{i}"
    taken.add(candidate)
    return candidate


def conjuncts(expression: exp.Expression) -> list[exp.Expression]:
    """The conditions that `expression` joins by AND, without outer parentheses."""
    bare = _bare(expression)
    if isinstance(bare, exp.And):
        return [*conjuncts(bare.this), *conjuncts(bare.expression)]
    return [bare]


def _bare(expression: exp.Expression) -> exp.Expression:
    while isinstance(expression, exp.Paren):
        expression = expression.this
    return expression


def _without_parentheses(expression: exp.Expression) -> exp.Expression:
    """The expression without the parentheses that Postgres prints around names, constants and calls."""
    for node in list(expression.find_all(exp.Paren)):
        atomic = isinstance(node.this, exp.Column | exp.Literal | exp.Anonymous | exp.Paren)
        if atomic and node.parent is not None and not isinstance(node.parent, exp.Dot | exp.Bracket):
            node.replace(node.this)
    return expression


def _without_percent(expression: exp.Expression) -> exp.Expression:
    """`a % b` as mod(a, b): a percent sign in a migration is a placeholder to many tools."""
    for node in reversed(list(expression.find_all(exp.Mod))):
        call = exp.Anonymous(this="mod", expressions=[_bare(node.this), _bare(node.expression)])
        expression = call if node is expression else expression
        node.replace(call)
    return expression


def _unaliased(expression: exp.Expression) -> exp.Expression:
    return expression.this if isinstance(expression, exp.Alias) else expression


def _without_joins(item: exp.Expression) -> exp.Expression:
    copy = item.copy()
    copy.set("joins", None)
    return copy


def _without_duplicates(select: exp.Select) -> exp.Select:
    """The SELECT without outputs whose name an earlier one has: a subquery's reader cannot name those."""
    seen: set[str] = set()
    kept = [e for e in select.expressions if not (e.alias_or_name in seen or seen.add(e.alias_or_name))]  # type: ignore[func-returns-value]
    copy = select.copy()
    copy.set("expressions", [e.copy() for e in kept])
    return copy


def _is_call(node: exp.Expression) -> bool:
    if not isinstance(node, exp.Anonymous) or isinstance(node.parent, exp.Dot):
        return False
    return isinstance(node.this, str) and node.this in AGGREGATES


def _calls(expression: exp.Expression) -> list[exp.Expression]:
    """The aggregate calls in `expression`, each with its FILTER."""
    found = [n for n in expression.find_all(exp.Anonymous) if _is_call(n)]
    return [n.parent if isinstance(n.parent, exp.Filter) else n for n in found]


def _called(call: exp.Expression) -> exp.Expression:
    """The call without its FILTER."""
    return call.this if isinstance(call, exp.Filter) else call


def _argument(call: exp.Expression) -> exp.Expression | None:
    argument = _called(call).expressions[0]
    return None if isinstance(argument, exp.Star) else _bare(argument)


def _ungrouped(expression: exp.Expression, keys: Iterable[exp.Expression]) -> list[exp.Expression]:
    """The columns that are read outside of aggregates and of grouping keys."""
    whole = set(keys)
    if expression in whole or _is_call(expression):
        return []
    if isinstance(expression, exp.Filter) and _is_call(expression.this):
        return []
    if isinstance(expression, exp.Column):
        return [expression]
    children = [c for c in expression.iter_expressions()]
    return [column for child in children for column in _ungrouped(child, whole)]


def _replace(
    expression: exp.Expression, outputs_of: dict[exp.Expression, str], relation_: str
) -> exp.Expression:
    """The expression over a grouping's input, as one over its output."""
    if expression in outputs_of:
        return reference(relation_, outputs_of[expression])
    copy = expression.copy()
    for child in list(copy.iter_expressions()):
        child.replace(_replace(child, outputs_of, relation_))
    return copy
