"""Columns of values, whole: checked, and as the text of a Postgres array.

A text is quick to make, and means the same whatever adapters and settings the user's connection has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from pg_stepping.frontend.python.encoding import canonical_json, encode, interval_text
from pg_stepping.frontend.python.types import AwareDatetime, FieldType, is_enum, stored


def checker(kind: FieldType, name: str) -> Callable[[list[Any]], list[Any]]:
    """A function that gives values as the field `name` has them; it raises TypeError or ValueError for one
    that does not fit."""
    fits, only = _FIT.get(kind.python), {kind.python}

    def check(values: list[Any]) -> list[Any]:
        if fits is not None and set(map(type, values)) == only and fits(values):
            return values
        return [kind.value(value, name) for value in values]

    return check


def array_writer(kind: FieldType) -> Callable[[Sequence[Any]], str]:
    """A function from checked values to an array's text; a value that is an array is an element's text."""
    write = _writer(kind)
    return lambda values: "{" + ",".join(["NULL" if v is None else write(v) for v in values]) + "}"


def _writer(kind: FieldType) -> Callable[[Any], str]:
    """How a value is an element in the text of an array."""
    if is_enum(kind.python):
        return lambda value: _quoted(str(stored(value)))
    if kind.element is not None:
        return lambda value: _quoted(_elements(encode(kind.python, value)))
    if kind.sql == "jsonb":
        return lambda value: _quoted(canonical_json(encode(kind.python, value)))
    return _WRITERS[kind.python]


def _elements(items: Sequence[Any]) -> str:
    """An array of values in JSON (encoding.py)."""
    return "{" + ",".join("NULL" if item is None else _quoted(_text(item)) for item in items) + "}"


def _text(item: object) -> str:
    return str(item).lower() if isinstance(item, bool) else str(item)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_WRITERS: dict[Any, Callable[[Any], str]] = {
    int: str,
    float: repr,
    str: _quoted,
    bool: str,
    Decimal: lambda value: "NaN" if value.is_nan() else str(value),
    UUID: lambda value: value.hex,
    date: date.isoformat,
    datetime: datetime.isoformat,
    AwareDatetime: datetime.isoformat,
    time: time.isoformat,
    timedelta: lambda value: _quoted(interval_text(value)),
    bytes: lambda value: f'"\\\\x{value.hex()}"',
}


def _naive(values: list[Any]) -> bool:
    return all(value.tzinfo is None for value in values)


def _any(values: list[Any]) -> bool:
    return True


# Whether values, all of the very type, are such as a column takes.
_FIT: dict[Any, Callable[[list[Any]], bool]] = {
    int: lambda values: min(values) >= -(2**63) and max(values) < 2**63,
    float: _any,
    str: lambda values: not any("\0" in value for value in values),
    bool: _any,
    Decimal: _any,
    UUID: _any,
    date: _any,
    datetime: _naive,
    time: _naive,
    timedelta: _any,
    bytes: _any,
}
