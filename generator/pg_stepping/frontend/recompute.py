"""The query as a view is compared with: its text, with what Postgres leaves open decided as the view does.

A sum of floats depends on the order of its rows: it is taken in the exact arithmetic of the view. Other
aggregates of floats, and arrays or texts that are gathered in no order, are taken in the order of their
values; LIMIT and DISTINCT ON among equals take the rows that come first by all their columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlglot import exp

from pg_stepping.frontend.database_functions import IN_ORDER, is_fold
from pg_stepping.frontend.dialect import cast_to, to_sql
from pg_stepping.frontend.ties import in_order
from pg_stepping.frontend.trees import called, invoked, name_of
from pg_stepping.ir import Type
from pg_stepping.ir.statistics import STATISTICS, statistic

_FLOATS = ("real", "double precision")
_UNKNOWN = Type("", "", None, "text")
# Aggregates of which the order of the rows cannot change the result, by themselves or for lack of floats.
_ORDERLESS = frozenset(
    """count sum avg min max bool_and bool_or every bit_and bit_or bit_xor mode percentile_cont
    percentile_disc rank dense_rank percent_rank cume_dist range_agg range_intersect_agg regr_count""".split()
)


def recomputed(tree: exp.Expression, calls: Iterable[tuple[exp.Expression, exp.Expression]]) -> str:
    """The SQL of `tree`, in which each call is replaced by its decided form."""
    for call, decided in calls:
        if call is not decided:
            call.replace(decided)
    return to_sql(tree)


def determined(
    call: exp.Expression, types: Mapping[exp.Expression, Type], arguments: list[Type] | None = None
) -> exp.Expression:
    """An aggregate call (with its FILTER, if any) in a form that gives one result for a bag of rows."""
    name, type_ = name_of(call), types[call]
    if is_fold(name):
        return _in_the_calls_order(call, types)
    if name in ("sum", "avg"):
        return _exact(call, type_) if type_.base in _FLOATS else call
    if name in _ORDERLESS or isinstance(called(call), exp.WithinGroup):
        return call
    if name in STATISTICS and type_.base not in _FLOATS:
        return call
    if name in STATISTICS and not isinstance(called(call).expressions[0], exp.Distinct):
        return _exact_statistic(call)
    return _ordered(call, types)


def _in_the_calls_order(call: exp.Expression, types: Mapping[exp.Expression, Type]) -> exp.Expression:
    """A fold: one that orders its values itself, unless the call has an ORDER BY."""
    if not any(isinstance(a, exp.Order) for a in invoked(call).expressions):
        return call
    copy = _ordered(call, types).copy()
    inner = invoked(copy)
    inner.set("this", f"{IN_ORDER}{inner.name}")
    return copy


def _ordered(call: exp.Expression, types: Mapping[exp.Expression, Type]) -> exp.Expression:
    """The call with all its arguments as the last of its ORDER BY."""
    copy = call.copy()
    inner = invoked(copy)
    arguments = list(inner.expressions)
    first = arguments[0] if arguments else exp.Star()
    if isinstance(first.this if isinstance(first, exp.Order) else first, exp.Distinct | exp.Star):
        return call
    order: list[exp.Expression] = []
    last = arguments[-1]
    if isinstance(last, exp.Order):
        order = list(last.expressions)
        arguments[-1] = last.this
    listed = {to_sql(o.this) for o in order}
    for argument in arguments:
        if not isinstance(argument, exp.Literal):
            by = in_order(argument, types.get(argument, _UNKNOWN))
            order += [o for o in by if to_sql(o.this) not in listed]
    if order:
        arguments[-1] = exp.Order(this=arguments[-1], expressions=order)
    inner.set("expressions", arguments)
    return copy


def _exact(call: exp.Expression, type_: Type) -> exp.Expression:
    inner = called(call)
    argument = inner.expressions[0]
    distinct = isinstance(argument, exp.Distinct)
    if distinct:
        argument = argument.expressions[0]
    value: exp.Expression = exp.Paren(this=argument.copy())
    result = type_.base if inner.name == "sum" else "double precision"

    def aggregate(name: str, value: exp.Expression) -> exp.Expression:
        value = exp.Distinct(expressions=[value]) if distinct else value
        made = exp.Anonymous(this=name, expressions=[value])
        return exp.Filter(this=made, expression=call.expression.copy()) if call is not inner else made

    if inner.name == "avg":  # adds doubles, also for reals
        value = cast_to(value, "double precision")
    exact = cast_to(exp.Paren(this=aggregate("sum", cast_to(cast_to(value, "text"), "numeric"))), result)
    if inner.name == "sum":
        return exact
    count = aggregate("count", argument.copy())
    divisor = exp.Anonymous(this="nullif", expressions=[count, exp.Literal.number(0)])
    return exp.Paren(this=exp.Div(this=exact, expression=cast_to(divisor, "double precision")))


def _exact_statistic(call: exp.Expression) -> exp.Expression:
    """A variance, correlation or regression of floats, by exact sums of the rows that have all arguments."""
    inner = called(call)
    given = [a.this if isinstance(a, exp.Order) else a for a in inner.expressions]
    arguments: list[exp.Expression] = [exp.Paren(this=a.copy()) for a in given]
    present = [exp.Not(this=exp.Is(this=a.copy(), expression=exp.Null())) for a in arguments]
    own = [exp.Paren(this=call.expression.this.copy())] if call is not inner else []
    rows = exp.Where(this=exp.and_(*own, *present, copy=False))

    def aggregate(name: str, value: exp.Expression) -> exp.Expression:
        return exp.Filter(this=exp.Anonymous(this=name, expressions=[value]), expression=rows.copy())

    def total(factors: tuple[exp.Expression, ...]) -> exp.Expression:
        exact = [cast_to(cast_to(cast_to(f, "double precision"), "text"), "numeric") for f in factors]
        product = exact[0] if len(exact) == 1 else exp.Mul(this=exact[0], expression=exact[1])
        return aggregate("sum", product)

    count = aggregate("count", exp.Star())
    return exp.Paren(this=statistic(inner.name, arguments, count, total, floats=True))
