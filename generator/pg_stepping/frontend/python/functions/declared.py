"""`@function`: Python functions that SQL queries call by name: scalar, table-valued, and folds."""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from pg_stepping.errors import UnsupportedQuery
from pg_stepping.frontend.database_functions import Shipped, called_in, declare
from pg_stepping.frontend.dialect import quote_name, to_sql
from pg_stepping.frontend.python.data import Data, resolved
from pg_stepping.frontend.python.encoding import is_collection
from pg_stepping.frontend.python.functions.folds import fold
from pg_stepping.frontend.python.functions.program import Program, identifier
from pg_stepping.frontend.python.functions.routine import declared_source, digest_name, parameter, routine
from pg_stepping.frontend.python.functions.rows import compile_row_function
from pg_stepping.frontend.python.functions.ship import from_sql, in_file, into_sql
from pg_stepping.frontend.python.rows import named_leaves, row_of
from pg_stepping.frontend.python.scalar import Scalar
from pg_stepping.frontend.python.tracing import column
from pg_stepping.frontend.python.types import FieldType, field_type

F = TypeVar("F", bound=Callable[..., Any])
_STREAMS = (Iterable, Iterator, Generator)


def function(declared: F) -> F:
    """Let SQL queries call a typed, pure Python function by its name; it stays what it is.

    - Scalar: `def slug(title: str) -> str`. A parameter that is not `| None` gives NULL for NULL, uncalled.
    - Table-valued: it returns `list[T]` or `Iterator[T]`, T a type of a column or a Data class whose fields
      are the columns: `FROM posts CROSS JOIN LATERAL words(posts.body) AS w (word)`.
    - Fold: a class with static methods `zero() -> S`, `step(state: S, value: T, ...) -> S` and, if the result
      is not the state, `finish(state: S) -> R`: an aggregate over T, ... of type R. Values come in ascending
      order, None last, and a key whose rows change is folded anew. With `inverse(state: S, value: T, ...) ->
      S`, which takes a row back, the state is kept instead: then the order of rows must not matter.

    A query knows the functions that its caller's modules and functions have by this name, then any other
    that is declared in the process. Raises UnsupportedQuery, when a query calls it, for what is not typed,
    not pure, or not to be shipped, and for a name that the database has, too.
    """
    frame = dict(sys._getframe(1).f_locals)
    made: list[Shipped] = []

    def shipped() -> Shipped:
        if not made:
            made.append(fold(declared, frame) if isinstance(declared, type) else _called(declared, frame))
        return made[0]

    declare(declared, shipped)
    return declared


def _types(declared: Any, frame: Mapping[str, Any]) -> dict[str, Any]:
    """The annotations of the parameters and of the result."""
    source = declared_source(declared)
    missing = [p for p in inspect.signature(declared).parameters if p not in declared.__annotations__]
    if missing or "return" not in declared.__annotations__:
        what = f"the parameter {missing[0]}" if missing else "the result"
        raise UnsupportedQuery(
            f"{source.name}(), in which {what} has no type, at {source.place()}", hint="annotate it"
        )
    return resolved(declared.__annotations__, {**frame, **source.names}, declared.__module__)


def _called(declared: Any, frame: Mapping[str, Any]) -> Shipped:
    annotations = _types(declared, frame)
    result = annotations.pop("return")
    source = declared_source(declared)
    arguments = {n: field_type(a, f"{source.name}.{n}") for n, a in annotations.items()}
    if typing.get_origin(result) in _STREAMS or is_collection(result):
        made = _table(declared, arguments, typing.get_args(result)[0])
    else:
        kind = field_type(result, f"the result of {source.name}")
        made = _as_sql(declared, arguments, kind) or _scalar(declared, arguments, kind)
    return _with_defaults(made, declared, arguments)


def _with_defaults(made: Shipped, declared: Any, arguments: Mapping[str, FieldType]) -> Shipped:
    """The function with the defaults of its parameters, which are part of its name."""
    values = inspect.signature(declared).parameters.values()
    given = [(p.name, p.default) for p in values if p.default is not inspect.Parameter.empty]
    texts = tuple(to_sql(arguments[n].literal(arguments[n].value(v, n))) for n, v in given)
    name = digest_name(made.name.rpartition("_")[0], made.name, texts) if texts else made.name
    return replace(made, name=name, defaults=texts)


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
    source = declared_source(declared)
    says = f"pg_stepping: {source.name} is SQL of the same meaning"
    listed = tuple((n, k.sql) for n, k in arguments.items())
    name = digest_name(source.name, body, listed, kind.sql)
    return Shipped(name, listed, kind.sql, body, says, in_file(source.place()), language="sql")


def _scalar(declared: Any, arguments: Mapping[str, FieldType], kind: FieldType) -> Shipped:
    source = declared_source(declared)
    program, call = _program(declared, arguments)
    out = into_sql("result", kind, f"{source.name}()", program)
    lines = [f"result = {call}", f"return {out}"]
    return routine(source, program, arguments, lines, kind.sql)


def _table(declared: Any, arguments: Mapping[str, FieldType], element: Any) -> Shipped:
    source = declared_source(declared)
    program, call = _program(declared, arguments)
    row = row_of(element)
    if isinstance(element, type) and issubclass(element, Data):
        kinds = {name: leaf.type for name, leaf in named_leaves(row)}
        if len(kinds) != len(vars(row)) or set(kinds) != set(vars(row)):
            raise UnsupportedQuery(
                f"{source.name}(), whose rows have rows in them, at {source.place()}",
                hint="return rows of plain fields",
            )
        parts = [into_sql(f"row.{n}", k, f"{source.name}().{n}", program) for n, k in kinds.items()]
        lines = [f"return [({', '.join(parts)},) for row in {call}]"]
        returns = f"TABLE ({', '.join(f'{quote_name(n)} {k.sql}' for n, k in kinds.items())})"
        if len(kinds) == 1:
            lines = [f"return [{parts[0]} for row in {call}]"]
    else:
        kinds = {"value": field_type(element, f"the rows of {source.name}")}
        lines = [f"return [{into_sql('row', kinds['value'], f'{source.name}()', program)} for row in {call}]"]
        returns = f"SETOF {kinds['value'].sql}"
    return routine(source, program, arguments, lines, returns)


def _program(declared: Any, arguments: Mapping[str, FieldType]) -> tuple[Program, str]:
    source = declared_source(declared)
    program = Program(f"{source.name} at {source.place()}")
    bound = program.bind(identifier(source.name), declared, source.place())
    read = {n: from_sql(parameter(n), k, program, source.place()) for n, k in arguments.items()}
    given = ", ".join(f"{name}={value}" for name, value in read.items())
    return program, f"{bound}({given})"
