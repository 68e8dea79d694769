"""Which texts are equal: that is for the collation of a comparison to say, not for those of its two sides.

Subqueries and outer joins are computed with one row for each value of one side. Where that side alone would
take texts for different that the comparison takes for equal, a row of the other side would find several.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlglot import exp

from pg_stepping.frontend.dialect import parse
from pg_stepping.frontend.trees import Pending
from pg_stepping.ir import Type
from pg_stepping.ir.nodes import Expression

TypesOf = Callable[[Sequence[Expression]], list[Type]]


def with_one_collation(expression: Expression, types_of: TypesOf) -> Expression:
    """The expression with the collation of each equality at both of its sides, where theirs are different.

    a.name = (b.name COLLATE "ci")  ->  (a.name COLLATE "ci") = (b.name COLLATE "ci")
    """
    found = [e for e in expression.find_all(exp.EQ) if not e.find(Pending, exp.Tuple, exp.Any, exp.All)]
    for equal in found:  # each side by itself: one may be an aggregate, the other one its key
        (left,), (right,) = types_of([equal.this]), types_of([equal.expression])
        if left.collation == right.collation:
            continue
        sides = ((equal.this, left), (equal.expression, right))
        explicit = [type_.collation for side, type_ in sides if side.find(exp.Collate)]
        collation = explicit[0] if explicit else left.collation or right.collation
        collation = collation or 'pg_catalog."default"'
        equal.set("this", _collated(equal.this, collation))
        equal.set("expression", _collated(equal.expression, collation))
    return expression


def _collated(side: Expression, collation: str) -> Expression:
    collate = parse(f"SELECT NULL COLLATE {collation}").expressions[0]
    collate.set("this", exp.Paren(this=side.copy()))
    return exp.Paren(this=collate)
