"""Folds with an inverse: aggregates in Python whose state takes rows in and gives rows back.

The state is JSON, {"state": ..., "changes": [[arguments, weight], ...]}, of which either may be missing: a
change of the state is one without a state. Law: inverse(step(state, row), row) is state, and the order of
rows does not matter; so the state after a change is the state before with the rows that came stepped and
those that went inverted (Gray et al., Data Mining and Knowledge Discovery 1(1), 1997: algebraic functions).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

NOTHING = "'{}'::jsonb"


@dataclass(frozen=True, slots=True)
class Fold:
    """The functions in schema stepping that `merge` two states and `finish` one, and how a row's arguments
    become JSON: `texts` tells which do by their text, `required` which a row must have to count."""

    merge: str
    finish: str
    texts: tuple[bool, ...]
    required: tuple[bool, ...]

    def row(self, arguments: Sequence[exp.Expression]) -> exp.Expression:
        """The arguments as a JSON array."""
        given = [_text(a) if text else a.copy() for a, text in zip(arguments, self.texts, strict=True)]
        return exp.Anonymous(this="jsonb_build_array", expressions=given)

    def present(self, arguments: Sequence[exp.Expression]) -> list[exp.Expression]:
        """The conditions that a row counts."""
        needed = [a for a, required in zip(arguments, self.required, strict=True) if required]
        return [exp.Not(this=exp.Is(this=exp.Paren(this=a.copy()), expression=exp.Null())) for a in needed]

    def merged(self, old: exp.Expression, new: exp.Expression) -> exp.Expression:
        return _call(self.merge, old, new)

    def finished(self, state: exp.Expression) -> exp.Expression:
        return _call(self.finish, state)


def _call(name: str, *arguments: exp.Expression) -> exp.Expression:
    function = exp.Anonymous(this=name, expressions=list(arguments))
    return exp.Dot(this=exp.to_identifier("stepping"), expression=function)


def _text(argument: exp.Expression) -> exp.Expression:
    to = exp.DataType.build("text", dialect="postgres")
    return exp.Cast(this=exp.Paren(this=argument.copy()), to=to)
