"""Row functions become SQL: a function is called once, with a row whose leaves are stand-ins.

Such a row is a real one (an instance of the Data class, a Pair, a tuple), so attributes, unpacking and
constructors are Python's own; only its leaves are `Scalar`. A leaf is named by its path: `left.user_id`.
The function must be pure: what it reads besides its argument is read once, when it is traced.
"""

from __future__ import annotations

import copy
import dataclasses
import dis
import functools
import traceback
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any, TypeVar, cast

from sqlglot import exp

from pg_stepping.errors import UnsupportedQuery
from pg_stepping.frontend.python.data import Data, Pair, columns
from pg_stepping.frontend.python.scalar import STRAIGHT, NotTraceable, Scalar, as_scalar
from pg_stepping.frontend.python.types import FieldType, field_type

T = TypeVar("T")
U = TypeVar("U")

# Generated code, the standard library's (where dataclasses compare and copy rows), and this package's.
_NOT_THE_USERS = ("<", dataclasses.__file__, copy.__file__, str(Path(__file__).parent))


def trace(function: Callable[[T], object], row: T, result: Callable[[object], U]) -> U:
    """`result` of what `function` returns for `row`.

    Raises UnsupportedQuery, with the function and the file and line, for whatever has no SQL.
    """
    for line, construct in _tests_of_identity(_code(function)):
        raise _unsupported(NotTraceable(construct), function, line)
    try:
        return result(function(row))
    except NotTraceable as refusal:
        raise _unsupported(refusal, function) from None


def row_of(annotation: object, path: tuple[str, ...] = ()) -> Any:
    """The row of stand-ins for a type: a Data class, Pair[...], tuple[...] or the type of a field."""
    arguments = typing.get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Data):
        return _instance(annotation, {n: column((*path, n), t) for n, t in columns(annotation).items()})
    if typing.get_origin(annotation) is Pair:
        return Pair(row_of(arguments[0], (*path, "left")), row_of(arguments[1], (*path, "right")))
    if typing.get_origin(annotation) is tuple and Ellipsis not in arguments:
        return tuple(row_of(a, (*path, str(i))) for i, a in enumerate(arguments))
    return column(path, field_type(annotation, ".".join(path) or "a row"))


def column(path: tuple[str, ...], type: FieldType) -> Scalar:
    """The stand-in that reads the leaf at `path` of the input row."""
    return Scalar(exp.column(exp.to_identifier(".".join(path), quoted=True)), type)


def leaves(row: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Scalar]]:
    """Every leaf of a row, with its path."""
    if type(row) is Scalar:
        yield path, row
        return
    for name, part in _parts(row):
        yield from leaves(part, (*path, name))


def read(row: T, path: tuple[str, ...] = ()) -> T:
    """The row of stand-ins by which the next operator reads `row`."""
    if type(row) is Scalar:
        return cast(T, column(path, cast(Scalar, row).type))
    return _rebuilt(row, [(name, read(part, (*path, name))) for name, part in _parts(row)])


def normal(value: T) -> T:
    """A returned row with all constants made SQL and every field of the type that it says."""
    if type(value) is Scalar or not isinstance(value, Data | Pair | tuple):
        return cast(T, as_scalar(value))
    parts = [(name, part if isinstance(value, Data) else normal(part)) for name, part in _parts(value)]
    if isinstance(value, Data):
        parts = [
            (name, _conforming(part, columns(type(value))[name], f"{type(value).__name__}.{name}"))
            for name, part in parts
        ]
    return _rebuilt(value, parts)


def _conforming(value: object, kind: FieldType, name: str) -> Scalar:
    if type(value) is not Scalar:
        try:
            return Scalar(kind.literal(kind.value(value, name)), kind)
        except TypeError as error:
            raise NotTraceable(f"a value that its field does not take ({error})", "convert it") from None
    if not kind.takes(value.type):
        raise NotTraceable(f"a value of type {value.type} for the field {name} of type {kind}", "convert it")
    expression = value.expression if kind.python is value.type.python else kind.cast(value.expression)
    return Scalar(expression, kind)


def _parts(row: object) -> list[tuple[str, object]]:
    if isinstance(row, tuple):
        return [(str(i), part) for i, part in enumerate(row)]
    names = columns(type(row)) if isinstance(row, Data) else ("left", "right")
    return [(name, getattr(row, name)) for name in names]


def _rebuilt(row: T, parts: list[tuple[str, Any]]) -> T:
    if isinstance(row, tuple):
        return cast(T, tuple(part for _, part in parts))
    return _instance(type(row), dict(parts))


def _instance(row_type: type[T], values: dict[str, object]) -> T:
    row = object.__new__(row_type)  # not by __init__: a __post_init__ of the user's may look at the values
    for name, value in values.items():
        object.__setattr__(row, name, value)
    return row


def _code(function: Callable[..., object]) -> CodeType | None:
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__code__", None)


def _tests_of_identity(code: CodeType | None) -> Iterator[tuple[int | None, str]]:
    """Where the code asks `is`: the one question that a stand-in cannot hear."""
    for instruction in dis.get_instructions(code) if code is not None else ():
        name = instruction.opname
        if name == "IS_OP" or ("JUMP" in name and "NONE" in name):
            yield instruction.positions.lineno if instruction.positions else None, "the test `is`"


def _unsupported(
    refusal: NotTraceable, function: Callable[..., object], line: int | None = None
) -> UnsupportedQuery:
    """The refusal with its place: the last line of the user's that ran, or else where the function begins."""
    code = _code(function)
    ran = [
        f for f in traceback.extract_tb(refusal.__traceback__) if not f.filename.startswith(_NOT_THE_USERS)
    ]
    place = f" at {code.co_filename}:{line or code.co_firstlineno}" if code is not None else ""
    if ran and line is None:
        place = f" at {ran[-1].filename}:{ran[-1].lineno}"
    name = getattr(function, "__qualname__", repr(function)).rsplit("<locals>.")[-1]
    return UnsupportedQuery(f"{refusal.construct} in {name}{place}", hint=refusal.hint or STRAIGHT)
