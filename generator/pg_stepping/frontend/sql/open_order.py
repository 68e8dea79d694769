"""Orders that a query does not state where its result depends on them, decided in its tree.

An aggregate without ORDER BY over one subquery in FROM takes the rows in the order of that subquery
(PostgreSQL documentation, section 9.21); ARRAY(query) without any takes them in the order of their values.
"""

from __future__ import annotations

from typing import cast

from sqlglot import exp

from pg_stepping.frontend.dialect import to_sql
from pg_stepping.frontend.refuse import Source
from pg_stepping.frontend.sql.expressions import order_of, reordered
from pg_stepping.frontend.trees import bare, calls_of, invoked, unaliased
from pg_stepping.ir.types import fresh

# Aggregates of which the result depends on the order of the rows.
_GATHERING = frozenset(
    "array_agg string_agg json_agg jsonb_agg json_object_agg jsonb_object_agg xmlagg".split()
)


def decide_order(ast: exp.Expression, source: Source) -> None:
    """Write the orders into the aggregates and arrays of a tree, where they have none."""
    for select in list(ast.find_all(exp.Select)):
        calls = [c for c in calls_of(select, _GATHERING) if _is_open(c)]
        parent = select.parent
        array = isinstance(parent, exp.Anonymous) and parent.name == "ARRAY" and not order_of(select)
        if not calls and not array:
            continue
        order = _order_below(select, source)
        for call in calls if order else ():
            last = invoked(call).expressions[-1]
            last.replace(exp.Order(this=last.copy(), expressions=[o.copy() for o in order]))
        if array:
            value = exp.Ordered(this=unaliased(select.expressions[0]).copy(), desc=False, nulls_first=False)
            select.set("order", exp.Order(expressions=order or [value]))


def _is_open(call: exp.Expression) -> bool:
    """Whether it takes all rows, in no order of its own."""
    return not any(isinstance(a, exp.Order | exp.Distinct) for a in invoked(call).expressions)


def _order_below(select: exp.Select, source: Source) -> list[exp.Ordered]:
    """The order of the rows that a SELECT reads from one ordered subquery, by columns of that; else none."""
    from_ = select.args.get("from_")
    item = from_.this if from_ is not None else None
    if not isinstance(item, exp.Subquery) or any(
        part.args.get(key) for part in (select, item) for key in ("joins", "laterals")
    ):
        return []
    query = item.this
    while isinstance(query, exp.Subquery | exp.Paren):
        query = query.this
    keys = order_of(query) if isinstance(query, exp.Select | exp.SetOperation) else []
    if not keys:
        return []
    names = [e.alias_or_name for e in cast(list[exp.Expression], cast(exp.Query, query).selects)]
    given = [c.name for c in (item.args.get("alias") or exp.TableAlias()).args.get("columns") or []]
    order, taken = [], {*names, *given}
    for key in keys:
        place = _output(key.this, query)
        if place is None:
            _check_hidden(select, item, query, source)
            place = len(names)
            names.append(fresh("ordered_by", taken))
            query.append("expressions", exp.alias_(key.this.copy(), names[place], quoted=True))
        name = given[place] if place < len(given) else names[place]
        order.append(reordered(key, exp.column(name, table=item.alias, quoted=True)))
    return order


def _output(key: exp.Expression, query: exp.Expression) -> int | None:
    """The place of the output that a key of ORDER BY stands for."""
    outputs = cast(list[exp.Expression], cast(exp.Query, query).selects)
    inner = bare(key)
    if isinstance(inner, exp.Literal) and not inner.is_string:
        return int(inner.name) - 1
    texts = [to_sql(bare(unaliased(o))) for o in outputs]
    if isinstance(inner, exp.Column) and not inner.table:
        texts = [*(o.alias_or_name for o in outputs), *texts]
        found = inner.name if inner.name in texts else to_sql(inner)
    else:
        found = to_sql(inner)
    return texts.index(found) % len(outputs) if found in texts else None


def _check_hidden(select: exp.Select, item: exp.Subquery, query: exp.Expression, source: Source) -> None:
    """One more column of the subquery must not show."""
    whole = any(isinstance(c.this, exp.Star) and c.table == item.alias for c in select.find_all(exp.Column))
    if whole or not isinstance(query, exp.Select):
        raise source.unsupported(
            "an aggregate in the order of a subquery, by what is none of its columns",
            "order by",
            hint="write that order into the aggregate: array_agg(x ORDER BY y)",
        )
