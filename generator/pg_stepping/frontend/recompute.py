"""The query as a view is compared with: its text, with sums of floats in the exact arithmetic of the view."""

from __future__ import annotations

from collections.abc import Iterable

from sqlglot import exp

from pg_stepping.frontend.dialect import parse_expression, to_sql
from pg_stepping.ir import Type

_FLOATS = ("real", "double precision")


def recomputed(tree: exp.Expression, calls: Iterable[tuple[exp.Expression, Type]]) -> str:
    """The SQL of `tree`; `calls` are its sum and avg calls (with their FILTER, if any) and result types.

    Only those that give a float are changed, so all else is checked against Postgres's own aggregates.
    """
    for call, type_ in calls:
        if type_.base in _FLOATS:
            call.replace(_exact(call, type_))
    return to_sql(tree)


def _exact(call: exp.Expression, type_: Type) -> exp.Expression:
    condition = f" FILTER (WHERE {to_sql(call.expression.this)})" if isinstance(call, exp.Filter) else ""
    inner = call.this if isinstance(call, exp.Filter) else call
    argument = to_sql(inner.expressions[0])
    if inner.name == "sum":
        exact = f"(sum(({argument})::text::numeric){condition})::{type_.base}"
    else:
        total = f"(sum(({argument})::double precision::text::numeric){condition})::double precision"
        exact = f"({total} / nullif(count({argument}){condition}, 0)::double precision)"
    return parse_expression(f"({exact})")
