"""Variances, covariances and regressions by the sums that they follow from.

With n rows and the sums of x, y and their products, n times the sum of (x - mean of x) * (y - mean of y) is
n * sum(x * y) - sum(x) * sum(y): sums are linear, and in exact arithmetic nothing is lost by the difference
(Chan, Golub, LeVeque, The American Statistician 37, 1983, where floats would lose it).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlglot import exp

from pg_stepping.ir.nodes import Expression

# What each aggregate is computed by: a function of schema stepping (sql/12_statistics.sql), and the sums
# that it takes after the number of rows: of x, of y, or of a product of two. The arguments are (x) or (y, x).
_OF_ONE = {
    "var_pop": ("var_pop", "x xx"),
    "var_samp": ("var_samp", "x xx"),
    "variance": ("var_samp", "x xx"),
    "stddev_pop": ("stddev_pop", "x xx"),
    "stddev_samp": ("stddev_samp", "x xx"),
    "stddev": ("stddev_samp", "x xx"),
}
_OF_TWO = {
    "regr_count": ("", ""),
    "regr_avgx": ("regr_mean", "x"),
    "regr_avgy": ("regr_mean", "y"),
    "regr_sxx": ("regr_sum", "x x xx"),
    "regr_syy": ("regr_sum", "y y yy"),
    "regr_sxy": ("regr_sum", "x y xy"),
    "covar_pop": ("covar_pop", "x y xy"),
    "covar_samp": ("covar_samp", "x y xy"),
    "corr": ("corr", "x y xx yy xy"),
    "regr_r2": ("regr_r2", "x y xx yy xy"),
    "regr_slope": ("regr_slope", "x y xx xy"),
    "regr_intercept": ("regr_intercept", "x y xx xy"),
}
OF_ONE, OF_TWO = tuple(_OF_ONE), tuple(_OF_TWO)
STATISTICS = (*OF_ONE, *OF_TWO)


def statistic(
    function: str,
    arguments: Sequence[Expression],
    count: Expression,
    total: Callable[[tuple[Expression, ...]], Expression],
    *,
    floats: bool,
) -> Expression:
    """The value of an aggregate; `total` gives the sum of a product of one or two arguments."""
    name, sums = (_OF_ONE | _OF_TWO)[function]
    if not name:
        return count
    named = dict(zip("yx" if len(arguments) == 2 else "x", arguments, strict=True))
    # a deviation of floats has more digits as the root of a variance than a numeric one shows
    root = floats and name.startswith("stddev")
    name = name.replace("stddev", "var") if root else name
    values = [count, *(total(tuple(named[v] for v in s)) for s in sums.split())]
    value: Expression = _own(name, *values)
    value = exp.Anonymous(this="sqrt", expressions=[value]) if root else value
    return _own("nearest", value) if floats and function in OF_ONE else value


def _own(name: str, *arguments: Expression) -> exp.Dot:
    call = exp.Anonymous(this=name, expressions=[a.copy() for a in arguments])
    return exp.Dot(this=exp.to_identifier("stepping"), expression=call)
