"""What rows are joined, grouped and looked up by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlglot import exp

from pg_stepping.errors import UnsupportedQuery
from pg_stepping.frontend.python.scalar import Scalar
from pg_stepping.frontend.python.tracing import leaves, normal, row_of, trace

T = TypeVar("T")
K = TypeVar("K")


@dataclass(frozen=True, slots=True, eq=False)
class Index(Generic[T, K]):
    """A key K of a row T: `columns`, in order; a key of several columns is a tuple."""

    row_type: type[T]
    columns: tuple[Scalar, ...]
    is_tuple: bool

    @classmethod
    def pick(cls, row_type: type[T], f: Callable[[T], K]) -> Index[T, K]:
        """The key that `f` picks from a row: a field, an expression, or a tuple of them.

        Raises UnsupportedQuery if `f` has no SQL.
        """
        key = trace(f, row_of(row_type), normal)
        picked = key if type(key) is tuple else (key,)
        if not picked or any(type(c) is not Scalar or c.expression.find(exp.Column) is None for c in picked):
            raise UnsupportedQuery(
                f"an index of {row_type} that picks no field",
                hint="pick a field, an expression over fields, or a tuple of them",
            )
        return cls(row_type, picked, type(key) is tuple)

    def fits(self, row: object) -> bool:
        """Whether the rows of a ZSet have all that the index's row type has."""
        there = {path: leaf.type for path, leaf in leaves(row)}
        return all(there.get(path) == leaf.type for path, leaf in leaves(row_of(self.row_type)))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the fields that are picked; an expression has none that is of use."""
        return tuple(column.expression.name for column in self.columns)
