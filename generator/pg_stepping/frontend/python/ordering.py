"""Postgres's order of values in Python: None last, NaN above all numbers, text by code point.

What is stored as jsonb is ordered by its text.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from functools import total_ordering
from typing import Any

from pg_stepping.frontend.python.encoding import encode, in_jsonb_order
from pg_stepping.frontend.python.rows import flattened, leaves
from pg_stepping.frontend.python.types import FieldType, stored


@total_ordering
class _Ordered:
    """A value by rank (0 a value, 1 NaN, 2 None) and then by itself; reversed if descending."""

    __slots__ = ("ascending", "place")

    def __init__(self, value: Any, kind: FieldType, ascending: bool) -> None:
        self.ascending = ascending
        if value is None:
            self.place: tuple[Any, ...] = (2,)
        elif isinstance(value, float | Decimal) and value != value:
            self.place = (1,)
        else:
            self.place = (0, _plain(value, kind))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Ordered) and self.place == other.place

    def __hash__(self) -> int:
        return hash(self.place)

    def __lt__(self, other: _Ordered) -> bool:
        return self.place < other.place if self.ascending else other.place < self.place


def _plain(value: Any, kind: FieldType) -> Any:
    if isinstance(value, Enum):
        return stored(value)
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    if kind.element is not None:
        return tuple(_Ordered(v, kind.element, True) for v in kind.in_order(value))
    return _json_text(in_jsonb_order(encode(kind.python, value))) if kind.sql == "jsonb" else value


def _json_text(value: Any) -> str:
    """The text of a jsonb, whose numbers are numerics."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_json_text(k)}: {_json_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_json_text, value)) + "]"
    if isinstance(value, float):
        return format(Decimal(repr(value)) + 0, "f")
    return json.dumps(value, ensure_ascii=False)


def ordered(value: object, kind: FieldType, ascending: bool = True) -> _Ordered:
    """What to sort a value of this type by."""
    return _Ordered(value, kind, ascending)


def ordered_row(row: object, like: object) -> tuple[_Ordered, ...]:
    """What to sort rows by, leaf by leaf; they are like the row of stand-ins `like`."""
    kinds = (leaf.type for _, leaf in leaves(like))
    return tuple(_Ordered(v, kind, True) for v, kind in zip(flattened(like, row), kinds, strict=True))
