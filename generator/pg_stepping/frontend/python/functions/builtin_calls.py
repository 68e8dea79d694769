"""Calls of Python's built-in functions with values that SQL computes."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

from pg_stepping.frontend.python.functions.operations import (
    FLOAT,
    INT,
    TEXT,
    arithmetic,
    certain,
    choice,
    compare,
    is_scalar,
    lift,
    negative,
    truth,
)
from pg_stepping.frontend.python.functions.templates import sql
from pg_stepping.frontend.python.scalar import NotTraceable, Scalar
from pg_stepping.frontend.python.types import FieldType

# Pure for every argument, so that a call with constants is a constant.
PURE: frozenset[Any] = frozenset(
    (abs, all, any, bool, bytes, chr, date, datetime, Decimal, dict, divmod, float, frozenset, int, len,
     list, max, min, ord, pow, range, repr, round, sorted, str, sum, time, timedelta, timezone, tuple, UUID,
     zip, enumerate, math.ceil, math.floor, math.sqrt, math.isnan, datetime.fromisoformat,
     date.fromisoformat, datetime.combine)
)  # fmt: skip
IMMUTABLE = (
    bool,
    bytes,
    date,
    datetime,
    Decimal,
    float,
    frozenset,
    int,
    range,
    str,
    time,
    timedelta,
    tuple,
    UUID,
)


def text_of(value: Any, spec: str = "") -> Any:
    """`str(value)`, and what an f-string makes of it."""
    if not is_scalar(value):
        return format(value, spec)
    kind = value.type.python
    if spec not in ("", "s", "d") or (spec == "s" and kind is not str) or (spec == "d" and kind is not int):
        return _padded(value, spec)
    if kind is str and not value.type.nullable:
        return value
    templates = {int: "{x}::text", bool: "CASE WHEN {x} THEN 'True' ELSE 'False' END", UUID: "{x}::text",
                 date: "to_char({x}::timestamp, 'YYYY-MM-DD')", str: "{x}"}  # fmt: skip
    if kind not in templates:
        raise NotTraceable(f"text made of a value of type {value.type}")
    result = sql(templates[kind], x=value.expression)
    if value.type.nullable:
        result = sql("CASE WHEN {x} IS NULL THEN 'None' ELSE {t} END", x=value.expression, t=result)
    return Scalar(result, TEXT)


def _padded(value: Scalar, spec: str) -> Scalar:
    """An int with leading zeros: `02d`, `05`."""
    certain(value, "text made of")
    width = spec.removesuffix("d")
    if value.type != INT or not (width.isdecimal() and width.startswith("0") and 0 < int(width) < 20):
        raise NotTraceable(f"text made of a value of type {value.type} by the format {spec!r}")
    # The sign counts, and stands before the zeros.
    template = (
        f"CASE WHEN {{x}} < 0 THEN '-' || lpad(substr({{x}}::text, 2), greatest({int(width) - 1},"
        f" length({{x}}::text) - 1), '0')"
        f" ELSE lpad({{x}}::text, greatest({int(width)}, length({{x}}::text)), '0') END"
    )
    return Scalar(sql(template, x=value.expression), TEXT)


def joined(separator: Any, parts: Any) -> Any:
    """`separator.join(parts)`, of a tuple or list."""
    if not isinstance(parts, tuple | list):
        raise NotTraceable("join() of what is no tuple or list")
    result: Any = None
    for part in parts:
        if not (type(part) is str or (is_scalar(part) and part.type == TEXT)):
            raise NotTraceable("join() of what is not text")
        result = part if result is None else concatenated(concatenated(result, separator), part)
    return "" if result is None else result


def concatenated(left: Any, right: Any) -> Any:
    for one, other in ((left, right), (right, left)):
        if type(one) is str and not one:
            return other
    return arithmetic("+", left, right) if is_scalar(left) or is_scalar(right) else left + right


def _abs(value: Any) -> Scalar:
    a = certain(lift(value), "abs() of")
    if a.type.python in (int, float):
        return Scalar(sql("abs({x})", x=a.expression), a.type)
    if a.type.python is Decimal:
        return Scalar(sql("stepping.decimal(abs({x}))", x=a.expression), a.type)
    raise NotTraceable(f"abs() of a value of type {a.type}")


def _round(value: Any, digits: Any = None) -> Scalar:
    a = certain(lift(value), "round() of")
    if a.type.python is int and digits is None:
        return a
    if a.type.python is float and digits is None:  # rint(), half to even as in Python
        return Scalar(sql("round({x})::bigint", x=a.expression), INT)
    raise NotTraceable(f"round() of a value of type {a.type}" + ("" if digits is None else " to some digits"))


def _int(value: Any) -> Scalar:
    a = certain(lift(value), "int() of")
    templates = {
        int: "{x}",
        bool: "{x}::integer::bigint",
        float: "trunc({x})::bigint",
        Decimal: "trunc({x})::bigint",
    }
    if a.type.python not in templates:
        raise NotTraceable(f"int() of a value of type {a.type}")
    return Scalar(sql(templates[a.type.python], x=a.expression), INT)


def _float(value: Any) -> Scalar:
    a = certain(lift(value), "float() of")
    if a.type.python is float:
        return a
    if a.type.python in (int, Decimal):
        return Scalar(FLOAT.cast(a.expression), FLOAT)
    raise NotTraceable(f"float() of a value of type {a.type}")


def _decimal(value: Any) -> Scalar:
    a = certain(lift(value), "Decimal() of")
    if a.type.python is Decimal:
        return a
    if a.type.python is int:
        return Scalar(FieldType(Decimal).cast(a.expression), FieldType(Decimal))
    raise NotTraceable(f"Decimal() of a value of type {a.type}")


def _len(value: Any) -> Any:
    if not is_scalar(value):
        return len(value)
    a = certain(value, "len() of")
    if a.type.python in (str, bytes):
        return Scalar(sql("length({x})::bigint", x=a.expression), INT)
    raise NotTraceable(f"len() of a value of type {a.type}")


def _extreme(symbol: str) -> Callable[..., Any]:
    def extreme(*values: Any) -> Any:
        """As in Python: the first of equals, and NaN wherever it stood."""
        if len(values) == 1:
            if not isinstance(values[0], tuple | list):
                raise NotTraceable("the least or greatest of what is no tuple or list")
            values = tuple(values[0])
        best = values[0]
        for value in values[1:]:
            if not is_scalar(best) and not is_scalar(value):
                best = value if (value < best if symbol == "<" else value > best) else best
                continue
            a, b = lift(best), lift(value)
            if a.type == b.type and a.type.python in (int, date, datetime):
                name = "least" if symbol == "<" else "greatest"
                best = Scalar(sql(f"{name}({{a}}, {{b}})", a=a.expression, b=b.expression), a.type)
            else:
                test = compare(symbol, value, best)
                best = choice(lift(test), value, best)
        return best

    return extreme


def _isinstance(value: Any, kinds: Any) -> Any:
    if not is_scalar(value):
        return isinstance(value, kinds)
    listed = listed_kinds(kinds)
    holds, of_none = (issubclass(kind, listed) for kind in (value.type.python, type(None)))
    if holds is of_none:
        return holds
    return compare("!=" if holds else "==", value, None)


def listed_kinds(kinds: Any) -> tuple[type, ...]:
    """The classes that `isinstance(value, kinds)` asks for, as in `int | None`, `(int, str)`."""
    if isinstance(kinds, types.UnionType):
        kinds = typing.get_args(kinds)
    listed = tuple(k for kind in kinds for k in listed_kinds(kind)) if isinstance(kinds, tuple) else (kinds,)
    if not all(isinstance(kind, type) for kind in listed):
        raise NotTraceable("isinstance() of what is no class")
    return listed


def _sum(values: Any, start: Any = 0) -> Any:
    if not isinstance(values, tuple | list):
        raise NotTraceable("the sum of what is no tuple or list")
    total = start
    for value in values:
        total = arithmetic("+", total, value) if is_scalar(total) or is_scalar(value) else total + value
    return total


def _fields(row: Any) -> dict[str, Any]:
    """dataclasses.asdict(): of rows within the row, too."""
    return {f.name: _fields(v) if dataclasses.is_dataclass(v := getattr(row, f.name)) else v
            for f in dataclasses.fields(row)}  # fmt: skip


HANDLERS: dict[Any, Callable[..., Any]] = {
    abs: _abs, round: _round, int: _int, float: _float, Decimal: _decimal, len: _len,
    str: lambda value: text_of(value),
    bool: truth, min: _extreme("<"), max: _extreme(">"), isinstance: _isinstance, sum: _sum,
    dataclasses.asdict: _fields, dataclasses.replace: lambda row, **fields: type(row)(
        **{**{f.name: getattr(row, f.name) for f in dataclasses.fields(row)}, **fields}
    ),
}  # fmt: skip

__all__ = ["HANDLERS", "IMMUTABLE", "PURE", "concatenated", "joined", "negative", "text_of"]
