"""The Python types that a field may have, and the Postgres type of each."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, cast
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlglot import exp

from pg_stepping.errors import UnsupportedQuery
from pg_stepping.frontend.python.encoding import (
    as_numeric,
    canonical_json,
    decode,
    encode,
    in_jsonb_order,
    interval_text,
    is_collection,
    refuse_unencodable,
)

# A datetime with a time zone: an instant. A plain datetime has none. Rows that are read have it in UTC.
if TYPE_CHECKING:
    AwareDatetime = datetime
else:
    AwareDatetime = Annotated[datetime, UTC]

POSTGRES_TYPES: dict[Any, str] = {
    int: "bigint",
    float: "double precision",
    str: "text",
    bool: "boolean",
    date: "date",
    datetime: "timestamp without time zone",
    time: "time without time zone",
    timedelta: "interval",
    UUID: "uuid",
    Decimal: "numeric",
    bytes: "bytea",
}
_TIMESTAMPTZ = "timestamp with time zone"
_KNOWN = ", ".join(t.__name__ for t in POSTGRES_TYPES)
_NAN = float("nan")  # one object: a tuple of it equals itself


@dataclass(frozen=True, slots=True)
class FieldType:
    """A type of one column, and whether None (NULL) may take its place.

    `python` is a key of POSTGRES_TYPES, AwareDatetime, an Enum, or a collection or union such as list[int]:
    an array where its elements have a Postgres type, else jsonb.
    """

    python: Any
    nullable: bool = False

    def __str__(self) -> str:
        return f"{type_name(self.python)} | None" if self.nullable else type_name(self.python)

    @property
    def sql(self) -> str:
        """The type as Postgres prints it (format_type)."""
        if self.python in POSTGRES_TYPES:
            return POSTGRES_TYPES[self.python]
        if self.python == AwareDatetime:
            return _TIMESTAMPTZ
        if is_enum(self.python):
            return POSTGRES_TYPES[stored_as(self.python)]
        element = self.element
        return f"{element.sql}[]" if element is not None else "jsonb"

    @property
    def element(self) -> FieldType | None:
        """The type of an array's elements; None for what is no array."""
        arguments = typing.get_args(self.python)
        if not is_collection(self.python) or not arguments:
            return None
        inner, nullable = without_none(arguments[0])
        return FieldType(inner, nullable) if _is_plain(inner) else None

    def in_order(self, values: Any) -> list[Any]:
        """The elements of an array as they are stored: those of a set are sorted by their JSON."""
        of = typing.get_args(self.python)[0]
        if not is_set(self.python):
            return list(values)
        return sorted(values, key=lambda value: canonical_json(encode(of, value)))

    def takes(self, other: FieldType) -> bool:
        """Whether a value of `other` may stand here; an int may stand for a float, as for type checkers."""
        same = other.python == self.python or (self.python is float and other.python is int)
        return same and (self.nullable or not other.nullable)

    def value(self, value: object, name: str) -> object:
        """`value` as the field `name` has it; raises TypeError or ValueError if it cannot be stored there."""
        if value is None and self.nullable:
            return None
        check = _CHECKS.get(self.python, _check_plain)
        if self.python in POSTGRES_TYPES or self.python == AwareDatetime:
            return check(self, value, name)
        if is_enum(self.python):
            return self._of_class(value, self.python, name)
        try:
            encode(self.python, value)
        except (TypeError, ValueError, AttributeError) as error:
            raise TypeError(f"{name} is {self}, not {value!r}: {error}") from None
        element = self.element
        if element is None:
            return value
        made_of: Any = typing.get_origin(self.python)
        return made_of(element.value(v, name) for v in cast(Iterable[object], value))

    def _of_class(self, value: object, wanted: type, name: str, but: type | tuple[()] = ()) -> object:
        if not isinstance(value, wanted) or isinstance(value, but):
            raise TypeError(f"{name} is {self}, not {type(value).__name__}: {value!r}")
        return value

    def dump(self, value: Any) -> object:
        """A checked value as psycopg sends it."""
        if value is None:
            return None
        if is_enum(self.python):
            return stored(value)
        element = self.element
        if element is not None:
            return [element.dump(v) for v in self.in_order(value)]
        return Jsonb(encode(self.python, value)) if self.sql == "jsonb" else value

    def kept(self, value: Any) -> Any:
        """A checked value as it comes back from jsonb: dicts in the order of their keys there."""
        if self.sql != "jsonb" or value is None:
            return value
        return decode(self.python, in_jsonb_order(encode(self.python, value)))

    def load(self, value: Any) -> Any:
        """What psycopg read as the Python value."""
        if value is None:
            return None
        if self.python is float:
            return _NAN if value != value else value
        if self.python is Decimal:
            return as_numeric(value) if value.is_nan() else value
        if self.python == AwareDatetime:
            return value.astimezone(UTC)
        if is_enum(self.python):
            return from_stored(self.python, value)
        element = self.element
        if element is not None:
            return (typing.get_origin(self.python) or self.python)(map(element.load, value))
        return decode(self.python, value) if self.sql == "jsonb" else value

    def literal(self, value: Any) -> exp.Expression:
        """A value of this type as SQL."""
        if value is None:
            return self.cast(exp.null())
        if is_enum(self.python):
            value = stored(value)
        if isinstance(value, bool):
            return exp.true() if value else exp.false()
        if isinstance(value, bytes):
            return self.cast(exp.Literal.string(f"\\x{value.hex()}"))
        if isinstance(value, timedelta):
            return self.cast(exp.Literal.string(interval_text(value)))
        element = self.element
        if element is not None:
            return self.cast(exp.Array(expressions=[element.literal(v) for v in self.in_order(value)]))
        if self.sql == "jsonb":
            return self.cast(exp.Literal.string(canonical_json(encode(self.python, value))))
        text = repr(value) if isinstance(value, float) else str(value)
        return self.cast(exp.Literal.string(text))

    def cast(self, expression: exp.Expression) -> exp.Expression:
        """`expression` as a value of this type."""
        return exp.Cast(this=operand(expression), to=exp.DataType.build(self.sql, dialect="postgres"))


def _check_plain(kind: FieldType, value: object, name: str) -> object:
    return kind._of_class(value, kind.python, name)


def _check_int(kind: FieldType, value: Any, name: str) -> object:
    kind._of_class(value, int, name, but=bool)
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{name} is a bigint, which cannot hold {value}")
    return int(value)


def _check_float(kind: FieldType, value: Any, name: str) -> object:
    if type(value) is int:
        return float(value)
    kind._of_class(value, float, name)
    return _NAN if value != value else value


def _check_decimal(kind: FieldType, value: Any, name: str) -> object:
    kind._of_class(value, Decimal, name)
    return as_numeric(value)


def _check_text(kind: FieldType, value: Any, name: str) -> object:
    kind._of_class(value, str, name)
    if "\0" in value:
        raise ValueError(f"{name} cannot hold a NUL character: {value!r}")
    if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
        raise ValueError(f"{name} cannot hold half a character (a surrogate): {value!r}")
    return value


def _check_date(kind: FieldType, value: object, name: str) -> object:
    return kind._of_class(value, date, name, but=datetime)


def _check_naive(kind: FieldType, value: Any, name: str) -> object:
    kind._of_class(value, kind.python, name)
    if value.tzinfo is not None:
        hint = "" if kind.python is time else "; annotate the field st.AwareDatetime to store instants"
        raise TypeError(f"{name} is a {type_name(kind.python)} without a time zone, not {value!r}{hint}")
    return value


def _check_aware(kind: FieldType, value: Any, name: str) -> object:
    kind._of_class(value, datetime, name)
    if value.utcoffset() is None:
        raise TypeError(f"{name} is a datetime with a time zone, not {value!r}")
    return value.astimezone(UTC)


_CHECKS: dict[Any, Callable[[FieldType, Any, str], object]] = {
    int: _check_int,
    float: _check_float,
    Decimal: _check_decimal,
    str: _check_text,
    date: _check_date,
    datetime: _check_naive,
    time: _check_naive,
    AwareDatetime: _check_aware,
}


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


def type_name(python: Any) -> str:
    """A type as messages name it."""
    if python == AwareDatetime and python is not datetime:
        return "AwareDatetime"
    return python.__name__ if isinstance(python, type) and not typing.get_args(python) else str(python)


def is_enum(python: Any) -> bool:
    return isinstance(python, type) and issubclass(python, Enum)


def stored_as(enum: type[Enum]) -> type:
    """An Enum is stored by its values if these are all text, or all ints; else by its names."""
    for python in (str, int):
        if all(isinstance(m.value, python) and not isinstance(m.value, bool) for m in enum):
            return python
    return str


def stored_by_value(enum: type[Enum]) -> bool:
    return stored_as(enum) is int or all(isinstance(m.value, str) for m in enum)


def stored(member: Enum) -> object:
    """A member as its column has it."""
    return member.value if stored_by_value(type(member)) else member.name


def from_stored(enum: type[Enum], value: Any) -> Enum:
    """The member of a column's value; raises ValueError if the Enum has none."""
    for member in enum:
        if stored(member) == value:
            return member
    raise ValueError(f"{enum.__name__} has no member that is stored as {value!r}")


def without_none(annotation: Any) -> tuple[Any, bool]:
    """The annotation without `| None`, and whether it had it."""
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return annotation, False
    members = typing.get_args(annotation)
    rest = tuple(m for m in members if m is not types.NoneType)
    return (rest[0] if len(rest) == 1 else typing.Union[rest]), len(rest) < len(members)  # noqa: UP007


def field_type(annotation: Any, name: str) -> FieldType:
    """The type that the annotation of the field `name` says; raises UnsupportedQuery for any other."""
    inner, nullable = without_none(annotation)
    if isinstance(annotation, str):
        raise UnsupportedQuery(
            f"the field {name} of the unknown type {annotation!r}",
            hint="define or import the type where the class is defined, before it",
        )
    if typing.get_origin(inner) is Annotated:
        base, *notes = typing.get_args(inner)
        aware = base is datetime and any(note is UTC for note in notes)
        inner = AwareDatetime if aware else base
    if _is_plain(inner):
        return FieldType(inner, nullable)
    reason = refuse_unencodable(inner)
    if reason is None:
        return FieldType(inner, nullable)
    raise UnsupportedQuery(
        f"the field {name} of type {type_name(inner)}{reason}",
        hint=f"a field is one of {_KNOWN}, an Enum, a Data class, a tuple, list, frozenset or dict of these,"
        " or one of them | None",
    )


def _is_plain(python: Any) -> bool:
    return (
        python == AwareDatetime or is_enum(python) or (isinstance(python, type) and python in POSTGRES_TYPES)
    )


def is_set(python: Any) -> bool:
    """Whether a type is one of sets."""
    return (typing.get_origin(python) or python) in (frozenset, set)
