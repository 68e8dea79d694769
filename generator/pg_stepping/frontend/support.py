"""What of SELECT is maintained now: every other construct is refused here, by name and place."""

from __future__ import annotations

from sqlglot import exp

from pg_stepping.errors import UnsupportedQuery
from pg_stepping.frontend.postgres import Described, Function, Relation
from pg_stepping.frontend.refuse import Source

AGGREGATES = ("count", "sum", "avg")

_READ = "maintain the query without it and apply it where you read the view"
_GROUP = "group by the same columns instead"


def check_functions_kind(described: Described, source: Source) -> None:
    """Refuse aggregates other than count, sum and avg, window functions and set-returning functions."""
    for function in sorted(described.functions, key=lambda f: (f.schema, f.name)):
        refusal = _refused_function(function, source)
        if refusal is not None:
            raise refusal


def _refused_function(function: Function, source: Source) -> UnsupportedQuery | None:
    name, places = function.name, function.places()
    if function.kind == "w":
        return source.unsupported(f"the window function {name}()", *places, hint=_READ)
    if function.returns_set:
        return source.unsupported(f"the set-returning function {name}()", *places, hint=_READ)
    if function.kind == "a" and not (function.schema == "pg_catalog" and name in AGGREGATES):
        only = "only count, sum and avg are maintained now; compute the others where you read the view"
        return source.unsupported(f"the aggregate {name}()", *places, hint=only)
    return None


def check_select(select: exp.Expression, source: Source) -> exp.Select:
    """Refuse what `select`, without its subqueries, has that cannot be maintained; return it."""
    if isinstance(select, exp.SetOperation):
        word = {exp.Union: "UNION", exp.Except: "EXCEPT", exp.Intersect: "INTERSECT"}[type(select)]
        raise source.unsupported(word, word, hint="maintain each side as a view of its own and combine them")
    if not isinstance(select, exp.Select):
        name = type(select).__name__.upper()
        raise source.unsupported(name, name, hint="write a SELECT from tables")
    args = select.args
    clauses: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
        ("limit", "LIMIT", ("limit", "fetch"), _READ),
        ("offset", "OFFSET", ("offset",), _READ),
        ("order", "ORDER BY", ("order by",), "a view has no order: write ORDER BY where you read it"),
        ("locks", "a locking clause", ("for update", "for share", "for no key", "for key"), "leave it out"),
        ("windows", "WINDOW", ("window",), _READ),
    )
    for key, name, words, hint in clauses:
        if args.get(key):
            raise source.unsupported(name, *words, hint=hint)
    distinct = args.get("distinct")
    if distinct is not None:
        name = "DISTINCT ON" if distinct.args.get("on") else "SELECT DISTINCT"
        raise source.unsupported(name, "select →distinct", hint=_GROUP)
    _check_group(args.get("group"), source)
    for part in (*select.expressions, args.get("where"), args.get("having"), args.get("group")):
        if part is not None:
            check_expression(part, source)
    return select


def _check_group(group: exp.Expression | None, source: Source) -> None:
    if group is None:
        return
    for kind, name in ((exp.Rollup, "ROLLUP"), (exp.Cube, "CUBE"), (exp.GroupingSets, "GROUPING SETS")):
        if group.find(kind):
            raise source.unsupported(name, name, hint="write one view for each grouping")
    for key in group.expressions:
        if isinstance(key, exp.Tuple) and not key.expressions:
            raise source.unsupported("GROUP BY ()", "group by", hint="leave GROUP BY out: one row for all")


def check_expression(expression: exp.Expression, source: Source) -> None:
    """Refuse subqueries, windows, whole-row references and aggregate modifiers inside an expression."""
    for node in expression.walk():
        if isinstance(node, exp.Window):
            raise source.unsupported("a window function", ") →over", "over", hint=_READ)
        if isinstance(node, exp.Exists):
            raise source.unsupported("EXISTS", "exists", hint="write the semijoin as an inner join")
        if isinstance(node, exp.Query) or (isinstance(node, exp.In) and node.args.get("query")):
            word = "in" if isinstance(node, exp.In) or node.find_ancestor(exp.In) else "select"
            raise source.unsupported(
                "a subquery inside an expression", f"{word} ( select", "( select", hint="write it as a join"
            )
        if isinstance(node, exp.WithinGroup):
            raise source.unsupported("WITHIN GROUP", "within group", hint=_READ)
        if isinstance(node, exp.Distinct):
            raise source.unsupported("DISTINCT in an aggregate", "( →distinct", hint=_GROUP)
        if isinstance(node, exp.Order):
            raise source.unsupported(
                "ORDER BY in an aggregate", "order by", hint="leave it out: no result depends on it"
            )
        if isinstance(node, exp.Column) and isinstance(node.this, exp.Star):
            raise source.unsupported(
                f"the whole row of {node.table}", node.table, hint="name the columns that you need"
            )


def check_clock_words(tree: exp.Expression, source: Source) -> None:
    """Refuse 'now' and its like where they are read at run time: `'now'::text::timestamptz`."""
    for literal in tree.find_all(exp.Literal):
        if literal.is_string and literal.name.strip().lower() in ("now", "today", "tomorrow", "yesterday"):
            casts = literal.find_ancestor(exp.Cast)
            outer = casts.find_ancestor(exp.Cast) if casts is not None else None
            if outer is not None and outer.to.is_type(*exp.DataType.TEMPORAL_TYPES):
                hint = "leave it out here and filter where you read the view"
                raise source.unsupported(f"the clock, by a cast of '{literal.name}'", "(", hint=hint)


def check_join(join: exp.Join, source: Source) -> None:
    """Refuse outer joins and LATERAL."""
    if join.side:
        raise source.unsupported(
            f"{join.side} JOIN", f"natural {join.side}", f"{join.side} outer join", f"{join.side} join",
            hint="use an inner join here, and the outer join where you read the view",
        )  # fmt: skip


def check_relation(relation: Relation, source: Source) -> None:
    """Refuse relations that row changes cannot be followed on."""
    schema, name = relation.table.schema, relation.table.name

    def refuse(what: str, hint: str) -> UnsupportedQuery:
        places = (f"{before} →{name}" for before in (f"{schema} .", "from", "only", "join"))
        return source.unsupported(f"the {what} {schema}.{name}", *places, name, hint=hint)

    if schema in ("pg_catalog", "information_schema", "pg_toast"):
        raise refuse("system catalog", "read it where you read the view")
    if relation.persistence == "t":
        raise refuse("temporary table", "use an ordinary table: a view outlives the session")
    if relation.persistence == "u":
        raise refuse("unlogged table", "ALTER TABLE ... SET LOGGED: a crash would empty it behind the view")
    kinds = {
        "v": ("ordinary view", "write its query as a subquery or CTE, or maintain it as a view of its own"),
        "m": ("materialized view", "maintain its query as a view with create_view"),
        "f": ("foreign table", "copy it into an ordinary table"),
        "p": ("partitioned table", "maintain a view over each partition"),
    }
    if relation.kind in kinds:
        raise refuse(*kinds[relation.kind])
    if relation.kind != "r":
        raise refuse("relation", "use an ordinary table")
    if relation.inherits:
        raise refuse("table with inheritance", "use a table without parents and children")
