"""The Python types that a field may have, and the Postgres type of each."""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlglot import exp

from pg_stepping.errors import UnsupportedQuery

POSTGRES_TYPES: dict[type, str] = {
    int: "bigint",
    float: "double precision",
    str: "text",
    bool: "boolean",
    date: "date",
    datetime: "timestamp without time zone",
    UUID: "uuid",
    Decimal: "numeric",
    bytes: "bytea",
}

_KNOWN = ", ".join(t.__name__ for t in POSTGRES_TYPES)


@dataclass(frozen=True, slots=True)
class FieldType:
    """A key of POSTGRES_TYPES, and whether None (NULL) may take its place."""

    python: type
    nullable: bool = False

    def __str__(self) -> str:
        return f"{self.python.__name__} | None" if self.nullable else self.python.__name__

    @property
    def sql(self) -> str:
        """The type as Postgres prints it (format_type)."""
        return POSTGRES_TYPES[self.python]

    def takes(self, other: FieldType) -> bool:
        """Whether a value of `other` may stand here; an int may stand for a float, as for type checkers."""
        same = other.python is self.python or (self.python is float and other.python is int)
        return same and (self.nullable or not other.nullable)

    def value(self, value: object, name: str) -> object:
        """`value` as it is stored in the field `name`; raises TypeError if it is of another type."""
        if value is None and self.nullable:
            return None
        if self.python is float and type(value) is int:
            return float(value)
        subclass = {int: bool, date: datetime}.get(self.python, ())
        if not isinstance(value, self.python) or isinstance(value, subclass):
            raise TypeError(f"{name} is {self}, not {type(value).__name__}: {value!r}")
        if isinstance(value, datetime) and value.tzinfo is not None:
            raise TypeError(f"{name} is a datetime without a time zone, not {value!r}")
        return value

    def literal(self, value: object) -> exp.Expression:
        """A value of this type as SQL."""
        if value is None:
            return self.cast(exp.null())
        if isinstance(value, bool):
            return exp.true() if value else exp.false()
        if isinstance(value, bytes):
            return self.cast(exp.Literal.string(f"\\x{value.hex()}"))
        text = repr(value) if isinstance(value, float) else str(value)
        return self.cast(exp.Literal.string(text))

    def cast(self, expression: exp.Expression) -> exp.Expression:
        """`expression` as a value of this type."""
        return exp.Cast(this=operand(expression), to=exp.DataType.build(self.sql, dialect="postgres"))


# What needs no parentheses. (A call with its schema is a Dot.)
_ALONE = (
    exp.Column,
    exp.Literal,
    exp.Anonymous,
    exp.Dot,
    exp.Paren,
    exp.Cast,
    exp.Case,
    exp.Boolean,
    exp.Identifier,
)


def operand(expression: exp.Expression) -> exp.Expression:
    """`expression` as it may stand beside an operator or before a cast."""
    return expression if isinstance(expression, _ALONE) else exp.Paren(this=expression)


def field_type(annotation: object, name: str) -> FieldType:
    """The type that the annotation of the field `name` says; raises UnsupportedQuery for any other."""
    inner, nullable = annotation, False
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        members = [a for a in typing.get_args(annotation) if a is not types.NoneType]
        if len(members) == 1:
            inner, nullable = members[0], True
    if isinstance(inner, type) and inner in POSTGRES_TYPES:
        return FieldType(inner, nullable)
    if isinstance(annotation, str):
        raise UnsupportedQuery(
            f"the field {name} of the unknown type {annotation!r}",
            hint="define or import the type where the class is defined, before it",
        )
    shown = inner.__name__ if isinstance(inner, type) else str(inner)
    raise UnsupportedQuery(
        f"the field {name} of type {shown}", hint=f"a field is one of {_KNOWN}, or one of them | None"
    )
