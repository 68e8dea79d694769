"""Rows as parameters of one statement: a column each, taken apart again by unnest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any

from pg_stepping.frontend.dialect import quote_name
from pg_stepping.frontend.python.arrays import array_writer, checker
from pg_stepping.frontend.python.rows import flattened, is_data, part_name, parts
from pg_stepping.frontend.python.types import FieldType

Columns = Sequence[tuple[str, FieldType]]


def relation(columns: Columns, ordinality: str = "", marks: Iterable[str] = ()) -> str:
    """A FROM item of these columns, for `values` as parameters; `ordinality` also counts the rows from 1.

    `marks` are where the parameters stand; by default each is `%s`.
    """
    names = [quote_name(name) for name, _ in columns]
    placed = list(marks) or ["%s"] * len(columns)
    arrays = ", ".join(f"{mark}::{_sent_as(kind)}[]" for mark, (_, kind) in zip(placed, columns, strict=True))
    listed = ", ".join(
        f"u.{name}::{kind.sql} AS {name}" if _sent_as(kind) != kind.sql else f"u.{name}"
        for name, (_, kind) in zip(names, columns, strict=True)
    )
    more, number = (f", u.{ordinality}", f", {ordinality}") if ordinality else ("", "")
    with_ = " WITH ORDINALITY" if ordinality else ""
    return f"(SELECT {listed}{more} FROM unnest({arrays}){with_} AS u ({', '.join(names)}{number}))"


def values(columns: Columns, rows: Iterable[Sequence[object]]) -> list[str]:
    """The parameters: checked values of each row, column by column."""
    listed = list(rows)
    return [array_writer(kind)([row[place] for row in listed]) for place, (_, kind) in enumerate(columns)]


def sender(like: Any, columns: Columns) -> Callable[[Sequence[Any]], list[str]]:
    """A function from rows of the user's own types, like the row of stand-ins `like`, to the parameters.

    It raises TypeError or ValueError if a row does not fit.
    """
    name = like.__name__ if isinstance(like, type) else type(like).__name__
    row_type, fields = type(like), [field for field, _ in columns]
    simple = is_data(row_type) and fields == [field for field, _ in parts(like)]
    read = [
        (attrgetter(field), checker(kind, part_name(like, field, name)), array_writer(kind))
        for field, kind in (columns if simple else ())
    ]

    def send(rows: Sequence[Any]) -> list[str]:
        if simple and all(type(row) is row_type for row in rows):
            return [write(check([get(row) for row in rows])) for get, check, write in read]
        return values(columns, [list(flattened(like, row, name)) for row in rows])

    return send


def matches(left: str, right: str, columns: Columns) -> str:
    """Rows of two relations are equal."""
    return " AND ".join(
        f"{left}.{quote_name(n)} {'IS NOT DISTINCT FROM' if kind.nullable else '='} {right}.{quote_name(n)}"
        for n, kind in columns
    )


def _sent_as(kind: FieldType) -> str:
    """unnest would take apart arrays of arrays: an array is sent as its text."""
    return "text" if kind.element is not None else kind.sql
