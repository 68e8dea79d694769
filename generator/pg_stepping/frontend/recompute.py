"""The query as a view is compared with: its text, with sums of floats in the exact arithmetic of the view."""

from __future__ import annotations

from collections.abc import Iterable

from sqlglot import exp

from pg_stepping.frontend.dialect import cast_to, to_sql
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
    inner = call.this if isinstance(call, exp.Filter) else call
    argument: exp.Expression = exp.Paren(this=inner.expressions[0].copy())
    result = type_.base if inner.name == "sum" else "double precision"

    def aggregate(name: str, value: exp.Expression) -> exp.Expression:
        made = exp.Anonymous(this=name, expressions=[value])
        return exp.Filter(this=made, expression=call.expression.copy()) if call is not inner else made

    if inner.name == "avg":  # adds doubles, also for reals
        argument = cast_to(argument, "double precision")
    exact = cast_to(exp.Paren(this=aggregate("sum", cast_to(cast_to(argument, "text"), "numeric"))), result)
    if inner.name == "sum":
        return exact
    count = aggregate("count", inner.expressions[0].copy())
    divisor = exp.Anonymous(this="nullif", expressions=[count, exp.Literal.number(0)])
    return exp.Paren(this=exp.Div(this=exact, expression=cast_to(divisor, "double precision")))
