"""The stand-in for a field's value while a row function is traced.

It builds SQL from what the function does with it. Whatever could make the function go another way for another
value, or has no SQL of the same meaning, is refused: a trace is one way through the function, for all rows.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any, NoReturn

from sqlglot import exp

from pg_stepping.frontend.python.types import POSTGRES_TYPES, AwareDatetime, FieldType, is_enum, operand

STRAIGHT = "a row function is straight-line code: fields, constants, + - *, .date() and constructors"


class NotTraceable(Exception):
    """A row function does what has no SQL; `construct` and `hint` are for UnsupportedQuery."""

    def __init__(self, construct: str, hint: str = STRAIGHT) -> None:
        super().__init__(construct)
        self.construct = construct
        self.hint = hint
        self.place: str | None = None  # file:line, where the source was read


_COLLECTING: ContextVar[bool] = ContextVar("collecting", default=False)


@contextmanager
def collecting() -> Iterator[None]:
    """Inside, stand-ins may be keys of a ZSetPython: each is a key of its own."""
    token = _COLLECTING.set(True)
    try:
        yield
    finally:
        _COLLECTING.reset(token)


class Scalar:
    """A value of `type` that `expression` computes, over the columns of the input row."""

    __slots__ = ("expression", "type")

    @property  # type: ignore[misc]
    def __class__(self) -> type[Any]:
        """What isinstance() asks for, and would quietly say no; only we and dataclasses may ask."""
        asks = str(sys._getframe(1).f_globals.get("__name__"))
        if asks == dataclasses.__name__ or asks.startswith("pg_stepping."):
            return Scalar
        raise NotTraceable(f"isinstance() (of type {self.type})")

    def __init__(self, expression: exp.Expression, type: FieldType) -> None:
        self.expression = expression
        self.type = type

    def __add__(self, other: object) -> Scalar:
        return _arithmetic(exp.Add, self, other)

    def __radd__(self, other: object) -> Scalar:
        return _arithmetic(exp.Add, other, self)

    def __sub__(self, other: object) -> Scalar:
        return _arithmetic(exp.Sub, self, other)

    def __rsub__(self, other: object) -> Scalar:
        return _arithmetic(exp.Sub, other, self)

    def __mul__(self, other: object) -> Scalar:
        return _arithmetic(exp.Mul, self, other)

    def __rmul__(self, other: object) -> Scalar:
        return _arithmetic(exp.Mul, other, self)

    def __neg__(self) -> Scalar:
        return Scalar(exp.Neg(this=operand(self.expression)), common(self.type, self.type))

    def date(self) -> Scalar:
        """The day of a datetime."""
        if self.type != FieldType(datetime):
            raise NotTraceable(f"the method .date() of a value of type {self.type}")
        return Scalar(FieldType(date).cast(self.expression), FieldType(date))

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)  # copy and others ask for what may be missing
        raise NotTraceable(f"the attribute .{name} of a value of type {self.type}")

    def __hash__(self) -> int:
        if _COLLECTING.get():
            return id(self)
        raise NotTraceable(f"a set or dict of values (of type {self.type})")

    def __copy__(self) -> Scalar:
        return self

    def __deepcopy__(self, memo: object) -> Scalar:
        return self  # dataclasses.asdict() copies


def as_scalar(value: object) -> Scalar:
    """A stand-in as it is, a constant as SQL."""
    if type(value) is Scalar:
        return value
    kind = _type_of(value)
    try:
        return Scalar(kind.literal(kind.value(value, "a constant")), kind)
    except (TypeError, ValueError) as error:
        raise NotTraceable(f"a constant that no column takes ({error})") from None


def _type_of(constant: object) -> FieldType:
    """The type of a constant's column. What is derived from int, str and so on may mean something else."""
    python: Any = type(constant)
    if isinstance(constant, datetime) and isinstance(constant.tzinfo, timezone):
        return FieldType(AwareDatetime)
    if python in POSTGRES_TYPES or is_enum(python):
        return FieldType(python)
    raise NotTraceable(f"a value of type {python.__name__}")


def common(left: FieldType, right: FieldType) -> FieldType:
    """The type of a sum or product: two ints, or a float or Decimal with its like or an int."""
    if left.nullable or right.nullable:
        raise NotTraceable("arithmetic on a value that may be None", "make the field one that is never None")
    for number in (int, float, Decimal):
        if {left.python, right.python} <= {int, number}:
            return FieldType(number)
    raise NotTraceable(f"arithmetic on {left} and {right}", "use two numbers of one type, or one and an int")


def _arithmetic(operator: type[exp.Add | exp.Sub | exp.Mul], left: object, right: object) -> Scalar:
    a, b = as_scalar(left), as_scalar(right)
    kind = common(a.type, b.type)
    return Scalar(operator(this=operand(a.expression), expression=operand(b.expression)), kind)


_REFUSED = {
    "a comparison": "eq ne lt le gt ge",
    "a truth value": "bool",
    "a loop over a value": "iter next reversed",
    "text made of a value": "str repr format bytes",
    "the number behind a value": "int float complex index",
    "a look into a value": "getitem contains len",
    "a change of a value": "setitem delitem",
    "a call of a value": "call",
    "rounding": "round trunc floor ceil",
    "abs()": "abs",
    "the operator +": "pos",
    "the operator /": "truediv rtruediv",
    "the operator //": "floordiv rfloordiv",
    "the operator %": "mod rmod",
    "divmod()": "divmod rdivmod",
    "the operator **": "pow rpow",
    "the operator @": "matmul rmatmul",
    "a bitwise operator": "and rand or ror xor rxor lshift rlshift rshift rrshift invert",
}


def _refuse(construct: str) -> Callable[..., NoReturn]:
    def refuse(self: Scalar, *_: Any) -> NoReturn:
        raise NotTraceable(f"{construct} (of type {self.type})")

    return refuse


for _construct, _names in _REFUSED.items():
    for _name in _names.split():
        setattr(Scalar, f"__{_name}__", _refuse(_construct))
