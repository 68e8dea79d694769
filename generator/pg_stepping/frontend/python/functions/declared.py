"""`@function`: Python functions that SQL queries call by name: scalar, table-valued, and folds."""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
import types
import typing
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from textwrap import indent
from typing import Any, TypeVar

from pg_stepping.errors import UnsupportedQuery
from pg_stepping.frontend.database_functions import DECLARED, Shipped, called_in
from pg_stepping.frontend.dialect import quote_name, to_sql
from pg_stepping.frontend.python.data import Data, resolved
from pg_stepping.frontend.python.functions.program import Program, identifier
from pg_stepping.frontend.python.functions.rows import compile_row_function
from pg_stepping.frontend.python.functions.ship import _converter, _file, _in, _out, converters
from pg_stepping.frontend.python.functions.source import NoSource, source_of
from pg_stepping.frontend.python.rows import row_of
from pg_stepping.frontend.python.scalar import Scalar
from pg_stepping.frontend.python.tracing import column
from pg_stepping.frontend.python.types import FieldType, field_type

F = TypeVar("F", bound=Callable[..., Any])
_SETS = (list, Iterable, Iterator, Generator, tuple, frozenset, set)


def function(declared: F) -> F:
    """Let SQL queries call a typed, pure Python function by its name; it stays what it is.

    - Scalar: `def slug(title: str) -> str`. A parameter that is not `| None` gives NULL for NULL, uncalled.
    - Table-valued: it returns `list[T]` or `Iterator[T]`, T a type of a column or a Data class whose fields
      are the columns: `FROM posts CROSS JOIN LATERAL words(posts.body) AS w (word)`.
    - Fold: a class with static methods `step(state, value: T) -> state`, `zero() -> state` and
      `finish(state) -> R`: an aggregate over T, R its type. Values come in ascending order, None last. Its
      result is computed anew for touched keys.

    Raises UnsupportedQuery, when a query calls it, for what is not typed, not pure, or not to be shipped.
    """
    frame = dict(sys._getframe(1).f_locals)
    name = declared.__name__.lower()
    made: list[Shipped] = []

    def shipped() -> Shipped:
        if not made:
            made.append(_fold(declared, frame) if isinstance(declared, type) else _called(declared, frame))
        return made[0]

    DECLARED[name] = shipped
    return declared


def _types(declared: Any, frame: Mapping[str, Any]) -> dict[str, Any]:
    """The annotations of the parameters and of the result."""
    source = _source(declared)
    missing = [p for p in inspect.signature(declared).parameters if p not in declared.__annotations__]
    if missing or "return" not in declared.__annotations__:
        what = f"the parameter {missing[0]}" if missing else "the result"
        raise UnsupportedQuery(
            f"{source.name}(), in which {what} has no type, at {source.place()}", hint="annotate it"
        )
    return resolved(declared.__annotations__, {**frame, **source.names}, declared.__module__)


def _source(declared: Any) -> Any:
    try:
        return source_of(declared)
    except NoSource as reason:
        raise UnsupportedQuery(f"a function of which {reason}", hint="write it in a file") from None


def _called(declared: Any, frame: Mapping[str, Any]) -> Shipped:
    annotations = _types(declared, frame)
    result = annotations.pop("return")
    source = _source(declared)
    arguments = {n: field_type(a, f"{source.name}.{n}") for n, a in annotations.items()}
    origin = typing.get_origin(result)
    if origin in _SETS:
        return _table(declared, arguments, typing.get_args(result)[0])
    kind = field_type(result, f"the result of {source.name}")
    return _as_sql(declared, arguments, kind) or _scalar(declared, arguments, kind)


def _as_sql(declared: Any, arguments: Mapping[str, FieldType], kind: FieldType) -> Shipped | None:
    """A function in SQL, if all of it has SQL of the same meaning."""
    given = [column((n,), FieldType(k.python, k.nullable)) for n, k in arguments.items()]
    try:
        compiled = compile_row_function(declared, *given, returns=kind.python)
    except UnsupportedQuery:
        return None
    if type(compiled) is not Scalar or not kind.takes(compiled.type):
        return None
    body = to_sql(
        compiled.expression if compiled.type.python == kind.python else kind.cast(compiled.expression)
    )
    if called_in(body):
        return None
    required = [quote_name(n) for n, k in arguments.items() if not k.nullable]
    if required:
        missing = " OR ".join(f"{n} IS NULL" for n in required)
        body = f"CASE WHEN {missing} THEN NULL::{kind.sql} ELSE {body} END"
    source = _source(declared)
    says = f"pg_stepping: {source.name} is SQL of the same meaning"
    listed = tuple((n, k.sql) for n, k in arguments.items())
    name = _named(source.name, body, listed, kind.sql)
    return Shipped(name, listed, kind.sql, body, says, _file(source.place()), language="sql")


def _named(name: str, *told: Any) -> str:
    return f"{identifier(name).lower()[:40]}_{hashlib.sha256(repr(told).encode()).hexdigest()[:12]}"


def _scalar(declared: Any, arguments: Mapping[str, FieldType], kind: FieldType) -> Shipped:
    source = _source(declared)
    program, call = _program(declared, arguments)
    out = _out("result", kind, f"{source.name}()", program)
    lines = [f"result = {call}", f"return {out}"]
    return _shipped(source, program, arguments, (kind,), lines, kind.sql)


def _table(declared: Any, arguments: Mapping[str, FieldType], element: Any) -> Shipped:
    source = _source(declared)
    program, call = _program(declared, arguments)
    row = row_of(element)
    if isinstance(element, type) and issubclass(element, Data):
        kinds = {name: getattr(row, name).type for name in vars(row)}
        parts = [_out(f"row.{n}", k, f"{source.name}().{n}", program) for n, k in kinds.items()]
        lines = [f"return [({', '.join(parts)},) for row in {call}]"]
        returns = f"TABLE ({', '.join(f'{quote_name(n)} {k.sql}' for n, k in kinds.items())})"
        if len(kinds) == 1:
            lines = [f"return [{parts[0]} for row in {call}]"]
    else:
        kinds = {"value": field_type(element, f"the rows of {source.name}")}
        lines = [f"return [{_out('row', kinds['value'], f'{source.name}()', program)} for row in {call}]"]
        returns = f"SETOF {kinds['value'].sql}"
    return _shipped(source, program, arguments, tuple(kinds.values()), lines, returns)


def _program(declared: Any, arguments: Mapping[str, FieldType]) -> tuple[Program, str]:
    source = _source(declared)
    program = Program(f"{source.name} at {source.place()}")
    bound = program.bind(identifier(source.name), declared, source.place())
    given = ", ".join(f"{n}={_in(_safe(n), k, program, source.place())}" for n, k in arguments.items())
    return program, f"{bound}({given})"


def _safe(name: str) -> str:
    return f"{name}_"


def _shipped(
    source: Any,
    program: Program,
    arguments: Mapping[str, FieldType],
    results: tuple[FieldType, ...],
    lines: list[str],
    returns: str,
    why: str = "it has no SQL of the same meaning",
) -> Shipped:
    required = [_safe(n) for n, k in arguments.items() if not k.nullable]
    strict = len(required) == len(arguments) and bool(required)
    if required and not strict:
        none = "[]" if returns.startswith(("SETOF", "TABLE")) else "None"
        lines = [f"if {' or '.join(f'{n} is None' for n in required)}:", f"    return {none}", *lines]
    kinds = [(k, "in") for k in arguments.values()] + [(k, "out") for k in results]
    wanted = {f"_{c}_{way}" for k, way in kinds for c in [_converter(k)] if c} | {"_checked", "_text_out"}
    listed = ", ".join(_safe(n) for n in arguments)
    defs = f"{program.text}\n{converters(wanted)}".strip("\n")
    defs += f"\n\ndef call({listed}):\n" + indent("\n".join(lines), "    ")
    body = (
        f"# {source.name} of {_file(source.place())}\n"
        'call = SD.get("call")\nif call is None:\n    def load():\n'
        + indent(f"{defs}\nreturn call", "        ")
        + f'\n    call = SD["call"] = load()\nreturn call({listed})'
    )
    typed = tuple((_safe(n), k.sql) for n, k in arguments.items())
    name = _named(source.name, body.partition("\n")[2], typed, returns)
    says = f"pg_stepping: {source.name} runs as Python, since {why}"
    requires = tuple(sorted(program.requires))
    return Shipped(name, typed, returns, body, says, _file(source.place()), requires, strict)


# --- folds ----------------------------------------------------------------------------------------


def _fold(declared: type, frame: Mapping[str, Any]) -> Shipped:
    """An aggregate that gathers the values of a group and folds them in one call of Python."""
    methods = {n: getattr(v, "__func__", v) for n, v in vars(declared).items()}
    lacking = [n for n in ("zero", "step", "finish") if not isinstance(methods.get(n), types.FunctionType)]
    if lacking:
        raise UnsupportedQuery(
            f"the fold {declared.__name__}, which has no {lacking[0]}()",
            hint="a fold has static methods zero(), step(state, value) and finish(state)",
        )
    step, finish, zero = (methods[n] for n in ("step", "finish", "zero"))
    source = _source(step)
    parameters = list(inspect.signature(step).parameters)
    annotations = resolved(step.__annotations__, {**frame, **source.names}, step.__module__)
    if len(parameters) != 2 or parameters[1] not in annotations or "return" not in finish.__annotations__:
        raise UnsupportedQuery(
            f"the fold {declared.__name__}, whose types are not known, at {source.place()}",
            hint="write step(state, value: T) and finish(state) -> R, with the types of columns",
        )
    element = field_type(annotations[parameters[1]], f"{declared.__name__}.{parameters[1]}")
    found = resolved(finish.__annotations__, {**frame, **_source(finish).names}, finish.__module__)["return"]
    kind = field_type(found, f"the result of {declared.__name__}")
    program = Program(f"{declared.__name__} at {source.place()}")
    for name, value in (("zero", zero), ("step", step), ("finish", finish)):
        program.bind(f"fold_{name}", value, source.place())
    skips = "" if element.nullable else " if value is not None"
    lines = [
        f"values = [{_in('value', element, program, source.place())} for value in values_{skips}]",
        "values.sort(key=lambda value: (value is None, value if value is not None else 0))",
        "state = fold_zero()",
        "for value in values:",
        "    state = fold_step(state, value)",
        "result = fold_finish(state)",
        f"return {_out('result', kind, f'{declared.__name__}.finish()', program)}",
    ]
    array = FieldType(element.python, True)
    final = _shipped(
        _Named(source, declared.__name__),
        program,
        {"values": array},
        (kind,),
        lines,
        kind.sql,
        "it is a fold",
    )
    typed = (("values_", f"{element.sql}[]"),)
    name = _named(declared.__name__, final.body.partition("\n")[2], typed, kind.sql)
    aggregate = f"stepping.{quote_name(name)}({element.sql})"
    after = (
        f"\nCREATE OR REPLACE AGGREGATE {aggregate} (\n"
        f"    SFUNC = pg_catalog.array_append, STYPE = {element.sql}[], INITCOND = '{{}}',"
        f" FINALFUNC = stepping.{quote_name(f'fold_{name}')}\n);\n"
        f"COMMENT ON AGGREGATE {aggregate} IS 'pg_stepping: folds in Python';"
    )
    return Shipped(
        f"fold_{name}",
        typed,
        kind.sql,
        final.body,
        final.says,
        final.place,
        final.requires,
        False,
        after,
        name,
    )


class _Named:
    """The place of a source under another name."""

    def __init__(self, source: Any, name: str) -> None:
        self.name = name
        self._source = source

    def place(self, node: ast.AST | None = None) -> str:
        place: str = self._source.place(node)
        return place
