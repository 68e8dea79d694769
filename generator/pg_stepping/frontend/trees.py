"""Small questions about the trees that sqlglot gives, and small changes of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeGuard

from sqlglot import exp

from pg_stepping.frontend.support import AGGREGATES
from pg_stepping.ir.types import fresh, reference

# What needs the parentheses around its operand.
_PARENTHESISED = (exp.Dot, exp.Bracket, exp.Any, exp.All)


def conjuncts(expression: exp.Expression) -> list[exp.Expression]:
    """The conditions that `expression` joins by AND, without outer parentheses."""
    inner = bare(expression)
    if isinstance(inner, exp.And):
        return [*conjuncts(inner.this), *conjuncts(inner.expression)]
    return [inner]


def bare(expression: exp.Expression) -> exp.Expression:
    """The expression without the parentheses around it."""
    while isinstance(expression, exp.Paren):
        expression = expression.this
    return expression


def without_parentheses(expression: exp.Expression) -> exp.Expression:
    """The expression without the parentheses that Postgres prints around names, constants and calls."""
    for node in list(expression.find_all(exp.Paren)):
        atomic = isinstance(node.this, exp.Column | exp.Literal | exp.Anonymous | exp.Paren)
        if atomic and node.parent is not None and not isinstance(node.parent, _PARENTHESISED):
            node.replace(node.this)
    return expression


def without_percent(expression: exp.Expression) -> exp.Expression:
    """`a % b` as mod(a, b): a percent sign in a migration is a placeholder to many tools."""
    for node in reversed(list(expression.find_all(exp.Mod))):
        call = exp.Anonymous(this="mod", expressions=[bare(node.this), bare(node.expression)])
        expression = call if node is expression else expression
        node.replace(call)
    return expression


def without_joins(item: exp.Expression) -> exp.Expression:
    """A FROM item without what is joined to it."""
    copy = item.copy()
    copy.set("joins", None)
    return copy


def with_unique_names(select: exp.Select) -> exp.Select:
    """The SELECT with a new name for an output whose name an earlier one has: none can read it by that."""
    copy = select.copy()
    names = [e.alias_or_name for e in copy.expressions]
    seen: set[str] = set()
    for i, (name, expression) in enumerate(zip(names, list(copy.expressions), strict=True)):
        if name in seen:
            label = fresh(name, {*names, *seen})
            copy.expressions[i].replace(exp.alias_(unaliased(expression).copy(), label, quoted=True))
            seen.add(label)
        seen.add(name)
    return copy


def unaliased(expression: exp.Expression) -> exp.Expression:
    """The expression of a select list's entry."""
    return expression.this if isinstance(expression, exp.Alias) else expression


def is_call(node: exp.Expression) -> TypeGuard[exp.Anonymous]:
    """Whether the node calls one of Postgres's own aggregates (a user's would carry its schema)."""
    if not isinstance(node, exp.Anonymous) or isinstance(node.parent, exp.Dot):
        return False
    return isinstance(node.this, str) and node.this in AGGREGATES


def calls_in(expression: exp.Expression) -> list[exp.Expression]:
    """The aggregate calls in `expression`, each with its FILTER."""
    found = [n for n in expression.find_all(exp.Anonymous) if is_call(n)]
    return [n.parent if isinstance(n.parent, exp.Filter) else n for n in found]


def called(call: exp.Expression) -> exp.Expression:
    """An aggregate call without its FILTER."""
    return call.this if isinstance(call, exp.Filter) else call


def argument_of(call: exp.Expression) -> exp.Expression | None:
    """What is aggregated; None for `count(*)`."""
    argument = called(call).expressions[0]
    return None if isinstance(argument, exp.Star) else bare(argument)


def ungrouped(expression: exp.Expression, keys: Collection[exp.Expression]) -> list[exp.Expression]:
    """The columns that are read outside of aggregates and of grouping keys."""
    if expression in keys or is_call(expression):
        return []
    if isinstance(expression, exp.Filter) and is_call(expression.this):
        return []
    if isinstance(expression, exp.Column):
        return [expression]
    return [column for child in expression.iter_expressions() for column in ungrouped(child, keys)]


def read_grouped(
    expression: exp.Expression, outputs: Mapping[exp.Expression, str], relation: str
) -> exp.Expression:
    """An expression over a grouping's input as one over its output; `outputs` names keys and calls."""
    if expression in outputs:
        return reference(relation, outputs[expression])
    copy = expression.copy()
    for child in list(copy.iter_expressions()):
        child.replace(read_grouped(child, outputs, relation))
    return copy
