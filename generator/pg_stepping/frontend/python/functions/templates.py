"""SQL expressions from templates: `sql("left({text}, {n})", text=a, n=b)`."""

from __future__ import annotations

from functools import cache
from string import Formatter

from sqlglot import exp

from pg_stepping.frontend.dialect import parse
from pg_stepping.frontend.python.types import operand

# Parents in which an operand stands alone, and needs no parentheses.
_LISTS = (exp.Anonymous, exp.Paren, exp.If, exp.Case, exp.Alias, exp.Select)
# What can neither fail nor be NULL for operands that are not NULL.
_SAFE = (
    exp.Column, exp.Identifier, exp.Literal, exp.Boolean, exp.Null, exp.Paren, exp.EQ, exp.NEQ, exp.LT,
    exp.LTE, exp.GT, exp.GTE, exp.And, exp.Or, exp.Not, exp.Is, exp.In, exp.NullSafeEQ, exp.NullSafeNEQ,
    exp.Case, exp.If, exp.Collate, exp.DataType, exp.DPipe, exp.DataTypeParam,
)  # fmt: skip
_SAFE_CALLS = {"left", "right", "length", "btrim", "ltrim", "rtrim", "replace", "strpos", "starts_with"}


@cache
def _parsed(template: str) -> exp.Expression:
    names = {name: f'"?{name}"' for _, name, _, _ in Formatter().parse(template) if name}
    parsed: exp.Expression = parse(f"SELECT {template.format(**names)}").expressions[0]
    return parsed


def sql(template: str, **parts: exp.Expression) -> exp.Expression:
    """The template with each `{name}` replaced; in parentheses where it must be."""

    def one(node: exp.Expression) -> exp.Expression:
        if not isinstance(node, exp.Column) or not node.name.startswith("?"):
            return node
        return within(node, parts[node.name[1:]].copy())

    made: exp.Expression = _parsed(template).copy().transform(one)
    return made


def within(place: exp.Expression, expression: exp.Expression) -> exp.Expression:
    """`expression` as it may stand where `place` does."""
    alone = place.parent is None or isinstance(place.parent, _LISTS)
    return expression if alone else operand(expression)


def may_fail(expression: exp.Expression) -> bool:
    """Whether computing it may raise an error."""
    for node in expression.walk():
        if isinstance(node, _SAFE) or (isinstance(node, exp.Anonymous) and node.name in _SAFE_CALLS):
            continue
        if isinstance(node, exp.Cast) and isinstance(
            node.this, exp.Literal | exp.Null | exp.Paren | exp.Boolean
        ):
            inner = node.this.unnest()
            if isinstance(inner, exp.Literal | exp.Null | exp.Boolean):
                continue
        return True
    return False
