"""Row functions become SQL: a function is called once, with a row whose leaves are stand-ins.

Such a row is a real one (rows.py), so attributes, unpacking and constructors are Python's own; only its
leaves are `Scalar`. The function must be pure: what it reads besides its argument is read once, when it is
traced.
"""

from __future__ import annotations

import copy
import dataclasses
import dis
import functools
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType
from typing import TypeVar

from pg_stepping.errors import UnsupportedQuery
from pg_stepping.frontend.python.rows import column, leaves, normal, read, row_of
from pg_stepping.frontend.python.scalar import STRAIGHT, NotTraceable

__all__ = ["column", "leaves", "normal", "read", "row_of", "trace"]

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
