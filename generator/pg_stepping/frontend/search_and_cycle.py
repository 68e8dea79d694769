"""SEARCH and CYCLE of a recursive CTE, as the columns that they stand for (PostgreSQL documentation, 7.8.2).

Postgres gives these columns records, which no table can hold; here they are arrays of the values themselves,
which are ordered and compared alike, and a number for the depth. No view can show them; they order rows.
"""

from __future__ import annotations

from sqlglot import exp

from pg_stepping.frontend.dialect import Search
from pg_stepping.frontend.refuse import Source
from pg_stepping.frontend.trees import unaliased

# Types of which values are equal where they are equal in JSON.
PLAIN = (
    "smallint",
    "integer",
    "bigint",
    "numeric",
    "text",
    "character",
    "boolean",
    "date",
    "uuid",
    "timestamp",
)
TOGETHER = "compared_together"  # in the meta of a CTE: the columns of which that must be so


def with_columns(cte: exp.CTE, source: Source) -> None:
    """Write out the SEARCH and CYCLE clauses of a recursive CTE."""
    search, cycle = cte.args.get("search"), cte.args.get("cycle")
    if search is None and cycle is None:
        return
    seed, step = cte.this.this, cte.this.expression
    own = [t for t in step.find_all(exp.Table) if not t.db and t.name == cte.alias]
    plain = isinstance(seed, exp.Select) and isinstance(step, exp.Select)
    if not plain or len(own) != 1 or own[0].find_ancestor(exp.Select) is not step:
        hint = "write the path as a column"
        raise source.unsupported("SEARCH or CYCLE of such a recursion", "search", "cycle", hint=hint)
    alias = own[0].alias_or_name
    given = [c.name for c in cte.args["alias"].args.get("columns") or []]
    names = [*given, *(e.alias_or_name for e in seed.expressions[len(given) :])]

    def of(part: exp.Select, column: exp.Identifier) -> exp.Expression:
        return exp.Paren(this=unaliased(part.expressions[names.index(column.name)]).copy())

    def found(name: str) -> exp.Column:
        return exp.column(exp.to_identifier(name, quoted=True), table=exp.to_identifier(alias, quoted=True))

    columns: list[tuple[str, exp.Expression, exp.Expression]] = []
    if search is not None:
        name, by = search.args["set"].name, search.expressions
        if search.args["kind"] == "BREADTH":
            deeper = exp.Add(this=found(name), expression=exp.Literal.number(1))
            columns.append((name, exp.Literal.number(0), deeper))
        elif len(by) == 1:
            columns.append((name, _array(of(seed, by[0])), _longer(found(name), _array(of(step, by[0])))))
        else:
            hint = "write the path as a column"
            raise source.unsupported("SEARCH DEPTH FIRST by several columns", "search", hint=hint)
    if cycle is not None:
        mark, path, by = cycle.args["mark"].name, cycle.args["path"].name, cycle.expressions
        yes, no = cycle.args.get("to") or exp.true(), cycle.args.get("default") or exp.false()
        first, next_ = (_together([of(part, c) for c in by]) for part in (seed, step))
        place = exp.Anonymous(this="array_position", expressions=[found(path), next_.copy()])
        there = exp.Not(this=exp.Is(this=place, expression=exp.Null()))
        again = exp.Case(ifs=[exp.If(this=there, true=yes.copy())], default=no.copy())
        columns.append((mark, no.copy(), again))
        columns.append((path, _array(first), _longer(found(path), _array(next_))))
        step.where(exp.NEQ(this=found(mark), expression=yes.copy()), copy=False)
        if len(by) > 1:
            cte.this.meta[TOGETHER] = [c.name for c in by]
    for name, first_value, next_value in columns:
        seed.append("expressions", exp.alias_(first_value, name, quoted=True))
        step.append("expressions", exp.alias_(next_value, name, quoted=True))
        if given:
            cte.args["alias"].append("columns", exp.to_identifier(name, quoted=True))
    cte.set("search", None)
    cte.set("cycle", None)


def ordered_by_depth(reader: exp.Expression, cte: exp.CTE, search: Search | None, source: Source) -> None:
    """Where rows are ordered by the column of SEARCH BREADTH, order them by depth and what is searched by."""
    if search is None or search.args["kind"] != "BREADTH":
        return
    for table in [t for t in reader.find_all(exp.Table) if not t.db and t.name == cte.alias]:
        select = table.find_ancestor(exp.Select)
        for column in list(select.find_all(exp.Column)) if select is not None else []:
            if column.name != search.args["set"].name or column.table not in ("", table.alias_or_name):
                continue
            ordered, order = column.parent, column.parent and column.parent.parent
            if not isinstance(ordered, exp.Ordered) or not isinstance(order, exp.Order):
                hint = "use it in ORDER BY alone, or write the depth as a column"
                raise source.unsupported(
                    "the column of SEARCH BREADTH in an expression", column.name, hint=hint
                )
            more = []
            for by in search.expressions:
                copy = ordered.copy()
                copy.set("this", exp.column(by.copy(), table=column.args.get("table")))
                more.append(copy)
            place = order.expressions.index(ordered)
            order.set(
                "expressions", [*order.expressions[: place + 1], *more, *order.expressions[place + 1 :]]
            )


def _array(value: exp.Expression) -> exp.Expression:
    return exp.Anonymous(this="array_append", expressions=[exp.Null(), value])


def _longer(path: exp.Expression, last: exp.Expression) -> exp.Expression:
    return exp.Anonymous(this="array_cat", expressions=[path, last])


def _together(values: list[exp.Expression]) -> exp.Expression:
    return values[0] if len(values) == 1 else exp.Anonymous(this="jsonb_build_array", expressions=values)
