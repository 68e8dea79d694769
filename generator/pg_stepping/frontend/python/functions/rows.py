"""From a row function to the expressions of its result: SQL where that is the same, else shipped calls."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import linecache
import math
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from pg_stepping.errors import UnsupportedQuery
from pg_stepping.frontend.postgres import Connection, execute
from pg_stepping.frontend.python.data import Data, resolved
from pg_stepping.frontend.python.functions.interpreter import Unknown, interpret
from pg_stepping.frontend.python.functions.operations import TRUE, is_scalar, lift, truth
from pg_stepping.frontend.python.functions.origin import is_users
from pg_stepping.frontend.python.functions.ship import Shipping, shipping
from pg_stepping.frontend.python.functions.source import NoSource, Source, bound, source_of
from pg_stepping.frontend.python.functions.values import is_symbolic
from pg_stepping.frontend.python.rows import (
    Maybe,
    array,
    conforming,
    constant,
    is_row,
    normal,
    parts,
    rebuilt,
    row_of,
)
from pg_stepping.frontend.python.scalar import NotTraceable, Scalar
from pg_stepping.frontend.python.tracing import trace
from pg_stepping.frontend.python.types import FieldType


@dataclass(frozen=True, slots=True)
class Note:
    """How a function of a query runs: as `SQL` or as `Python`, and `why`; `place` is file and line."""

    name: str
    place: str
    runs: str
    why: str


_NOTES: ContextVar[list[Note] | None] = ContextVar("notes", default=None)


@contextmanager
def recording() -> Iterator[list[Note]]:
    """Collect a note of each function that is compiled meanwhile."""
    notes: list[Note] = []
    token = _NOTES.set(notes)
    try:
        yield notes
    finally:
        _NOTES.reset(token)


def compile_row_function(function: Callable[..., object], *rows: Any, returns: Any = None) -> Any:
    """What `function` returns for `rows`: a row whose leaves are SQL over the leaves of the arguments.

    Each argument is a row of stand-ins (rows.row_of): Data, Pair, tuple or a single Scalar, and so is the
    result. What cannot be said in SQL becomes calls of a PL/Python function, one for each such leaf; these
    are expressions like any other. `returns` is the type of the result where the caller knows it (`bool` for
    a filter, the type of `zero` for a sum, a Data class, Pair[...], tuple[...]); without it the function's
    own annotation says it, if it must be known.

    Raises UnsupportedQuery, with the function and the user's file and line, for what has no SQL and may not
    be shipped.
    """
    function = _with_source(function)
    try:
        value = interpret(function, rows)
    except NoSource:
        return _traced(function, rows, returns)
    except NotTraceable as reason:
        value = Unknown(reason)
    compiled = _Compiled(function, rows, returns)
    try:
        result = compiled.finished(value)
    except NotTraceable as reason:
        raise compiled.refused(reason) from None
    _note(compiled)
    return result


@functools.cache
def _lambda(text: str) -> Callable[..., object]:
    filename = f"<{text}>"
    linecache.cache[filename] = (len(text), None, [text], filename)
    made: Callable[..., object] = eval(
        compile(text, filename, "eval"), {"__name__": "__main__", "math": math}
    )
    return made


def _with_source(function: Callable[..., object]) -> Callable[..., object]:
    """A function of Python's own, such as str, len, str.strip or math.floor, as a lambda that calls it."""
    if isinstance(function, types.MethodDescriptorType):
        return _lambda(f"lambda value: value.{function.__name__}()")
    if isinstance(function, type | types.BuiltinFunctionType):
        name, module = function.__qualname__, function.__module__
        if module in ("builtins", "math") and not isinstance(getattr(function, "__self__", None), str):
            return _lambda(f"lambda value: {name if module == 'builtins' else f'math.{name}'}(value)")
    return function


def _traced(function: Callable[..., object], rows: tuple[Any, ...], returns: Any) -> Any:
    """The same for a function whose source is not at hand: it is called, and must be straight-line code."""
    made = (
        trace(lambda row: function(*row), rows, normal)
        if len(rows) != 1
        else trace(function, rows[0], normal)
    )
    return lift(truth(made)) if returns is bool else made


@dataclass(slots=True)
class _Compiled:
    """A function's result on its way to expressions."""

    function: Callable[..., object]
    rows: tuple[Any, ...]
    returns: Any
    why: NotTraceable | None = None
    _shipping: Shipping | None = None

    def finished(self, value: Any) -> Any:
        if self.returns is bool:
            if isinstance(value, Unknown):
                return self._shipped(value, FieldType(bool), ())
            made = value if not is_row(value) else True
            return TRUE if made is True else lift(truth(made))
        return normal(self._without_unknowns(value, self._annotation, ()))

    def _without_unknowns(self, value: Any, annotation: Any, path: tuple[str, ...]) -> Any:
        """The value with calls of shipped functions for what has no SQL."""
        if isinstance(value, Unknown):
            if annotation is None:
                raise value.reason
            return self._all_shipped(value, row_of(annotation), path)
        wanted = _row_of(annotation)
        if is_scalar(wanted) and _is_put_together(value, wanted.type):
            return self._put_together(value, wanted.type, path)
        if value is None and type(wanted) is Maybe:
            return conforming(None, annotation, self._name)
        if not is_row(value) or is_scalar(value):
            return value
        made = [
            (
                name,
                self._without_unknowns(part, _part(annotation, value, name), (*path, name) if name else path),
            )
            for name, part in parts(value)
        ]
        return rebuilt(value, made)

    def _put_together(self, value: Any, kind: FieldType, path: tuple[str, ...]) -> Any:
        """None, a collection or a member of a union: a constant, an array of what has SQL, or shipped."""
        if not is_symbolic(value):
            return constant(value, kind, self._name)
        try:
            return array(value, kind, self._name)
        except NotTraceable as reason:
            reason.place = self._place
            return self._shipped(Unknown(reason), kind, path)

    def _all_shipped(self, unknown: Unknown, row: Any, path: tuple[str, ...], optional: bool = False) -> Any:
        if is_scalar(row):
            return self._shipped(unknown, row.type, path, optional=optional)
        within = optional or type(row) is Maybe
        made = [(n, self._all_shipped(unknown, p, (*path, n) if n else path, within)) for n, p in parts(row)]
        return rebuilt(row, made)

    def _shipped(
        self, unknown: Unknown, kind: FieldType, path: tuple[str, ...], *, optional: bool = False
    ) -> Scalar:
        if self._shipping is None:
            self.why = unknown.reason
            self._shipping = shipping(self.function, self.rows, f"{unknown.reason.construct} has no SQL")
        return self._shipping.leaf(path, kind, as_truth=self.returns is bool, optional=optional)

    @property
    def _annotation(self) -> Any:
        """The type of the result: told by the caller, the function or its text; None if unknown."""
        if self.returns is not None:
            return self.returns
        inner = bound(self.function)[0]
        return _annotated(inner) if isinstance(inner, types.FunctionType) else None

    @property
    def _name(self) -> str:
        inner = bound(self.function)[0]
        return str(getattr(inner, "__qualname__", repr(inner)).rsplit("<locals>.")[-1])

    @property
    def _place(self) -> str:
        inner = bound(self.function)[0]
        code = inner.__code__ if isinstance(inner, types.FunctionType) else None
        return f"{code.co_filename}:{code.co_firstlineno}" if code else ""

    def refused(self, reason: NotTraceable) -> UnsupportedQuery:
        name, place = self._name, reason.place or self._place
        hint = reason.hint
        if reason.place is not None and self._annotation is None:
            hint = "annotate what the function returns: then it can run as Python in the database"
        return UnsupportedQuery(f"{reason.construct} in {name} at {place}", hint=hint)


def _row_of(annotation: Any) -> Any:
    """The row of stand-ins for what is annotated; None if that is not known, or no row."""
    try:
        return None if annotation is None else row_of(annotation)
    except UnsupportedQuery:
        return None


def _is_put_together(value: Any, kind: FieldType) -> bool:
    """Whether a value of this type is another thing in Python than in SQL."""
    if is_scalar(value):
        return kind.sql == "jsonb" and value.type.python != kind.python
    return value is None or is_row(value) or isinstance(value, list | set | frozenset | dict)


def _part(annotation: Any, row: Any, name: str) -> Any:
    """The type of a part of a row."""
    if isinstance(row, Data):
        known = getattr(type(row), "field_types", None)
        return known()[name] if known else {f.name: f.type for f in dataclasses.fields(row)}[name]  # type: ignore[arg-type]
    arguments = typing.get_args(annotation)
    if type(row) is Maybe:  # all of its leaves are known
        return None
    if isinstance(row, tuple):
        return arguments[int(name)] if len(arguments) == len(row) else None
    return arguments[("left", "right").index(name)] if len(arguments) == 2 else None


def _annotated(function: types.FunctionType) -> Any:
    """What a function says that it returns; of a lambda, what its text leaves no doubt of."""
    if "return" in function.__annotations__:
        source = source_of(function)
        known = {**vars(typing), **source.names, **_cells(function)}
        found = resolved({"return": function.__annotations__["return"]}, known, function.__module__)["return"]
        return None if isinstance(found, str) or found is None else found
    source = source_of(function)
    return _plain_type(source.tree.body, source) if isinstance(source.tree, ast.Lambda) else None


def _cells(function: types.FunctionType) -> dict[str, Any]:
    return dict(inspect.getclosurevars(function).nonlocals) if function.__closure__ else {}


_OF_TEXT = frozenset(
    """
    upper lower title capitalize casefold swapcase zfill ljust rjust center format hexdigest strftime
    expandtabs
    """.split()
)


def _plain_type(node: ast.expr, source: Source) -> Any:
    match node:
        case ast.JoinedStr():
            return str
        case ast.Compare() | ast.UnaryOp(op=ast.Not()):
            return bool
        case ast.Call(func=ast.Name(id=name)):
            called = source.names.get(name)
            if called in (int, float, str, bool, len):
                return int if called is len else called
            if isinstance(called, type) and issubclass(called, Data):
                return called
            if isinstance(called, types.FunctionType) and is_users(called):
                return _annotated(called)
            called = called.func if isinstance(called, functools.partial) else called
        case ast.Call(func=ast.Attribute(attr=name)) if name in _OF_TEXT:
            return str
    return None


def _note(compiled: _Compiled) -> None:
    notes = _NOTES.get()
    inner = bound(compiled.function)[0]
    if notes is None or not isinstance(inner, types.FunctionType):
        return
    code = inner.__code__
    place = f"{code.co_filename.rpartition('/')[2]}, line {code.co_firstlineno}"
    name = inner.__qualname__.rsplit("<locals>.")[-1]
    if compiled.why is None:
        note = Note(name, place, "SQL", "all of it has SQL of the same meaning")
    else:
        line = (compiled.why.place or "").rpartition(":")[2]
        note = Note(
            name, place, "Python", f"{compiled.why.construct} (line {line}) has no SQL of the same meaning"
        )
    if note not in notes:
        notes.append(note)


def keep_notes(conn: Connection, schema: str, view: str, notes: Sequence[Note]) -> None:
    """Keep the notes of a view's functions where `explain` finds them."""
    for note in notes:
        execute(
            conn,
            "INSERT INTO stepping.view_function VALUES (%s, %s, %s, %s, %s, %s)",
            [schema, view, note.name, note.place, note.runs, note.why],
        )
