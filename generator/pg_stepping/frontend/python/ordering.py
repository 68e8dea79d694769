"""Postgres's order of values in Python: None last, NaN above all numbers, text by code point."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from enum import Enum
from functools import total_ordering
from typing import Any

from pg_stepping.frontend.python.data import Empty
from pg_stepping.frontend.python.encoding import canonical_json
from pg_stepping.frontend.python.types import stored
from pg_stepping.frontend.python.zset import ZSetPython


@total_ordering
class _Ordered:
    """A value by rank (0 a value, 1 NaN, 2 None) and then by itself; reversed if descending."""

    __slots__ = ("ascending", "place")

    def __init__(self, value: Any, ascending: bool) -> None:
        self.ascending = ascending
        if value is None:
            self.place: tuple[Any, ...] = (2,)
        elif isinstance(value, float) and value != value:
            self.place = (1,)
        else:
            self.place = (0, _plain(value))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Ordered) and self.place == other.place

    def __lt__(self, other: _Ordered) -> bool:
        return self.place < other.place if self.ascending else other.place < self.place


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return stored(value)
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.timestamp()
    if isinstance(value, list | tuple):
        return tuple(_Ordered(v, True) for v in value)
    if isinstance(value, frozenset | set | dict | ZSetPython):
        return canonical_json(repr(value))
    return value


def ordered(value: object, ascending: bool = True) -> _Ordered:
    """What to sort a value by."""
    return _Ordered(value, ascending)


def ordered_row(row: Any) -> tuple[_Ordered, ...]:
    """What to sort rows of one type by, column by column."""
    if isinstance(row, Empty):
        return (_Ordered(None, True),)
    if dataclasses.is_dataclass(row):
        values = [getattr(row, f.name) for f in dataclasses.fields(row)]
    elif isinstance(row, tuple):
        values = list(row)
    else:
        return (_Ordered(row, True),)
    return tuple(o for value in values for o in ordered_row(value))
