"""What rows are joined, grouped, ordered and looked up by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

from sqlglot import exp

from pg_stepping.errors import UnsupportedQuery
from pg_stepping.frontend.python.functions import compile_row_function
from pg_stepping.frontend.python.places import at_users_line
from pg_stepping.frontend.python.rows import is_data, is_row, leaves, row_of
from pg_stepping.frontend.python.scalar import Scalar
from pg_stepping.frontend.python.types import type_name

T = TypeVar("T")
K = TypeVar("K")

_row_of = cache(row_of)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Index(Generic[T, K]):
    """A key K of a row T: `columns`, in order, each ascending or descending.

    A key of several columns is a tuple. Two indexes are equal if they have the same columns in one order.
    """

    row_type: type[T]
    f: Callable[[T], K]
    columns: tuple[Scalar, ...]
    is_tuple: bool
    ascending: tuple[bool, ...]

    @classmethod
    def pick(cls, t: type[T], f: Callable[[T], K], ascending: bool | tuple[bool, ...] = True) -> Index[T, K]:
        """The key that `f` picks from a row: a field, an expression, or a tuple of them.

        `ascending` is one bool, or one for each element of the tuple. Raises UnsupportedQuery if `f` cannot
        run in the database, or what it picks has no order.
        """
        index = cls._made(t, f, ascending)
        with at_users_line():
            if not any(column.expression.find(exp.Column) for column in index.columns):
                raise UnsupportedQuery(
                    f"an index of {type_name(t)} that picks no field",
                    hint="pick a field, an expression over fields, or a tuple of them",
                )
        return index

    @classmethod
    def atom(
        cls, name: str, t: type[T], k: type[K], f: Callable[[T], K], ascending: bool = True
    ) -> Index[T, K]:
        """The key, one value of type `k`, that `f` makes of a row; it may be a constant."""
        return cls._made(t, f, ascending)

    @classmethod
    def composite(
        cls,
        names: tuple[str, ...],
        t: type[T],
        k: Any,
        f: Callable[[T], K],
        ascendings: tuple[bool, ...] | None = None,
    ) -> Index[T, K]:
        """The key, a tuple, that `f` makes of a row."""
        return cls._made(t, f, True if ascendings is None else ascendings)

    @classmethod
    def identity(cls, t: type[K], ascending: bool = True) -> Index[K, K]:
        """Rows that are single values, by themselves."""
        made: Any = Index._made(t, lambda row: row, ascending)
        return made  # type: ignore[no-any-return]

    @classmethod
    def _made(cls, row_type: type[T], f: Callable[[T], K], ascending: bool | tuple[bool, ...]) -> Index[T, K]:
        with at_users_line():
            return cls._checked(row_type, f, ascending)

    @classmethod
    def _checked(
        cls, row_type: type[T], f: Callable[[T], K], ascending: bool | tuple[bool, ...]
    ) -> Index[T, K]:
        key = compile_row_function(f, row_of(row_type))
        picked = key if type(key) is tuple else (key,)
        if not picked or any(is_row(column) or type(column) is not Scalar for column in picked):
            raise UnsupportedQuery(
                f"an index of {type_name(row_type)} that picks a row",
                hint="pick a field, an expression over fields, or a tuple of them",
            )
        order = (ascending,) * len(picked) if isinstance(ascending, bool) else tuple(ascending)
        if len(order) != len(picked):
            raise ValueError(f"ascending has {len(order)} elements, the key {len(picked)}")
        return cls(row_type, f, picked, type(key) is tuple, order)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Index) and self._told == other._told

    def __hash__(self) -> int:
        return hash(self._told)

    def __repr__(self) -> str:
        columns = zip(self.columns, self.ascending, strict=True)
        listed = ", ".join(f"{c.expression.sql()} {'ASC' if up else 'DESC'}" for c, up in columns)
        return f"<Index of {type_name(self.row_type)} by {listed}>"

    @property
    def _told(self) -> tuple[object, ...]:
        columns = tuple((column.expression.sql(), column.type) for column in self.columns)
        return self.row_type, columns, self.is_tuple, self.ascending

    def fits(self, row: object) -> bool:
        """Whether the rows of a ZSet have all that the index's row type has."""
        there = {path: leaf.type for path, leaf in leaves(row)}
        return all(there.get(path) == leaf.type for path, leaf in leaves(row_of(self.row_type)))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the fields that are picked; an expression has none that is of use."""
        return tuple(column.expression.name for column in self.columns)

    def elements(self, key: object) -> tuple[object, ...]:
        """A key as a tuple of its columns' values; raises TypeError if it is none of this index."""
        values = key if self.is_tuple else (key,)
        if not isinstance(values, tuple) or len(values) != len(self.columns):
            raise TypeError(f"a key of this index is a tuple of {len(self.columns)}: {key!r}")
        return values

    def checked(self, key: object) -> tuple[object, ...]:
        """The same, each value as its column has it; raises TypeError or ValueError if one does not fit."""
        return self._fitting(self.elements(key))

    def checked_prefix(self, prefix: tuple[object, ...]) -> tuple[object, ...]:
        """What keys begin with, in the same way."""
        if not isinstance(prefix, tuple) or len(prefix) > len(self.columns):
            raise TypeError(
                f"keys of this index begin with a tuple of at most {len(self.columns)}: {prefix!r}"
            )
        return self._fitting(prefix)

    def _fitting(self, values: tuple[object, ...]) -> tuple[object, ...]:
        named = zip(values, self.columns, self.names, strict=False)
        return tuple(column.type.value(value, f"the key {name}") for value, column, name in named)

    def placed(self, values: tuple[object, ...]) -> tuple[object, ...]:
        """Values of the first columns, so that those are equal that are equal in Postgres."""
        from pg_stepping.frontend.python.ordering import ordered

        return tuple(ordered(v, column.type) for v, column in zip(values, self.columns, strict=False))

    def compared(self, values: tuple[object, ...], bound: tuple[object, ...]) -> int | None:
        """-1, 0 or 1, whatever the index's directions; None if a value that decides is None."""
        from pg_stepping.frontend.python.ordering import ordered

        for value, other, column in zip(values, bound, self.columns, strict=True):
            if value is None or other is None:
                return None
            placed, limit = ordered(value, column.type), ordered(other, column.type)
            if placed != limit:
                return -1 if placed < limit else 1
        return 0

    def order(self, key: object, row: object) -> tuple[object, ...]:
        """What to sort by in Python for the order that Postgres has: by the key, then by the whole row."""
        from pg_stepping.frontend.python.ordering import ordered, ordered_row

        values = zip(self.elements(key), self.columns, self.ascending, strict=True)
        by_key = tuple(ordered(v, column.type, ascending) for v, column, ascending in values)
        row_type: Any = type(row) if is_data(type(row)) else self.row_type
        return *by_key, *ordered_row(row, _row_of(row_type))
