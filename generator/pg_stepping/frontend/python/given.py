"""Rows as parameters of one statement: a column each, taken apart again by unnest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pg_stepping.frontend.dialect import quote_name
from pg_stepping.frontend.python.encoding import encode
from pg_stepping.frontend.python.rows import flattened, stored_columns
from pg_stepping.frontend.python.types import FieldType

Columns = Sequence[tuple[str, FieldType]]


def relation(columns: Columns, ordinality: str = "") -> str:
    """A FROM item of these columns, for `values` as parameters; `ordinality` also counts the rows from 1."""
    names = [quote_name(name) for name, _ in columns]
    arrays = ", ".join(f"%s::{_sent_as(kind)}[]" for _, kind in columns)
    listed = ", ".join(
        f"u.{name}::{kind.sql} AS {name}" if _sent_as(kind) != kind.sql else f"u.{name}"
        for name, (_, kind) in zip(names, columns, strict=True)
    )
    more, number = (f", u.{ordinality}", f", {ordinality}") if ordinality else ("", "")
    with_ = " WITH ORDINALITY" if ordinality else ""
    return f"(SELECT {listed}{more} FROM unnest({arrays}){with_} AS u ({', '.join(names)}{number}))"


def values(columns: Columns, rows: Iterable[Sequence[object]]) -> list[list[object]]:
    """The parameters: checked values of each row, column by column."""
    listed = list(rows)
    return [[_sent(kind, row[place]) for row in listed] for place, (_, kind) in enumerate(columns)]


def of_rows(like: Any, rows: Iterable[Any]) -> list[list[object]]:
    """The parameters for rows of the user's own types; raises TypeError or ValueError if one does not fit."""
    name = like.__name__ if isinstance(like, type) else type(like).__name__
    return values(stored_columns(like), [list(flattened(like, row, name)) for row in rows])


def matches(left: str, right: str, columns: Columns) -> str:
    """Rows of two relations are equal."""
    return " AND ".join(
        f"{left}.{quote_name(n)} {'IS NOT DISTINCT FROM' if kind.nullable else '='} {right}.{quote_name(n)}"
        for n, kind in columns
    )


def _sent_as(kind: FieldType) -> str:
    """unnest would take apart arrays of arrays: an array is sent as its text."""
    return "text" if kind.element is not None else kind.sql


def _sent(kind: FieldType, value: Any) -> object:
    element = kind.element
    if value is None or element is None:
        return kind.dump(value)
    items = encode(kind.python, value)
    return "{" + ",".join("NULL" if item is None else _quoted(item) for item in items) + "}"


def _quoted(item: object) -> str:
    text = (
        repr(item) if isinstance(item, float) else str(item).lower() if isinstance(item, bool) else str(item)
    )
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
