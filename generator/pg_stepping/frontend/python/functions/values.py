"""What a row function's variables stand for: constants, SQL, rows of these, and one or the other of two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pg_stepping.frontend.python.data import Data, Pair
from pg_stepping.frontend.python.functions.methods import Method, Pieces
from pg_stepping.frontend.python.functions.operations import choice, invert, is_scalar
from pg_stepping.frontend.python.rows import Maybe
from pg_stepping.frontend.python.scalar import NotTraceable, Scalar
from pg_stepping.frontend.python.types import is_enum


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that has no SQL, and why."""

    reason: NotTraceable


def are_of_one_enum(*values: Any) -> bool:
    """Whether all are members of an Enum, each of which is one object."""
    kinds = {v.type.python if is_scalar(v) else type(v) for v in values}
    return len(kinds) == 1 and is_enum(kinds.pop())


def facts_of_presence(value: Maybe, there: bool) -> frozenset[str]:
    present = value.present.expression.sql()
    return frozenset((present if there else f"not {present}",))


def presence(value: Maybe, never_none: bool, wanted: bool) -> Any:
    """`value is not None`, or the contrary."""
    if never_none:
        return wanted
    return value.present if wanted else invert(value.present)


def key_of(value: Any) -> frozenset[str]:
    return frozenset((value.expression.sql(),)) if is_scalar(value) else frozenset()


def is_rows(value: Any) -> bool:
    return type(value) is Maybe or (
        not is_scalar(value)
        and (isinstance(value, Data | Pair) or (isinstance(value, tuple) and is_symbolic(value)))
    )


def is_bool(value: Any) -> bool:
    return type(value) is bool or (is_scalar(value) and value.type.python is bool and not value.type.nullable)


def is_symbolic(value: Any) -> bool:
    """Whether anything in a value depends on the row."""
    if isinstance(value, Unknown | Method | Pieces | Maybe) or is_scalar(value):
        return True
    if isinstance(value, tuple | list | set | frozenset):
        return any(map(is_symbolic, value))
    if isinstance(value, Data | Pair):
        return any(map(is_symbolic, vars(value).values()))
    return False


def merged_or_unknown(test: Scalar, yes: Any, no: Any) -> Any:
    try:
        return merged(test, yes, no)
    except NotTraceable as reason:
        return Unknown(reason)


def merged(test: Scalar, yes: Any, no: Any) -> Any:
    """One value or the other, leaf by leaf."""
    for value in (yes, no):
        if isinstance(value, Unknown):
            return value
    if yes is no:
        return yes
    if type(yes) is type(no) and isinstance(yes, Data | Pair):
        parts = {name: merged_or_unknown(test, value, getattr(no, name)) for name, value in vars(yes).items()}
        row = object.__new__(type(yes))
        for name, value in parts.items():
            object.__setattr__(row, name, value)
        return row
    if type(yes) is type(no) and isinstance(yes, tuple) and len(yes) == len(no):
        return tuple(merged_or_unknown(test, a, b) for a, b in zip(yes, no, strict=True))
    for value in (yes, no):
        if value is not None and not is_scalar(value) and isinstance(value, Data | Pair | tuple | list):
            raise NotTraceable("a value that is a row or something else")
    return choice(test, yes, no)
