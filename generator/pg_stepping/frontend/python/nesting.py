"""Rows inside of groups: `Pair(row, key)`, and of groups in groups `Pair(Pair(row, inner key), outer key)`.

So an operator within a group is the ordinary one over rows that carry their keys, and a group that is
flattened is the same rows again. `depth` is the number of keys. All of this works on rows and on stand-ins.
"""

from __future__ import annotations

from typing import Any

from pg_stepping.frontend.python.data import Empty, Pair
from pg_stepping.frontend.python.rows import Maybe


def inner(row: Any, depth: int) -> Any:
    """The row without its keys."""
    for _ in range(depth):
        row = row.left
    return row


def inner_or_empty(row: Any, depth: int) -> Any:
    """The same of the right side of an outer join."""
    if type(row) is Maybe:
        return Maybe(row.present, inner(row.row, depth), row.absent)
    return row if isinstance(row, Empty) else inner(row, depth)


def keys(row: Any, depth: int) -> tuple[Any, ...]:
    """The keys, the outermost first."""
    found = []
    for _ in range(depth):
        found.append(row.right)
        row = row.left
    return tuple(found)


def within(value: Any, around: tuple[Any, ...]) -> Any:
    """`value` with these keys around it, the outermost first."""
    for key in reversed(around):
        value = Pair(value, key)
    return value
