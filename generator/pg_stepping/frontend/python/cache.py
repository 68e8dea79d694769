"""Caches: the results of a query that are kept, each as a view of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from psycopg.rows import tuple_row

from pg_stepping.frontend.dialect import quote_name
from pg_stepping.frontend.python.data import columns
from pg_stepping.frontend.python.index import Index
from pg_stepping.frontend.python.operators import Integrated, ZSet

if TYPE_CHECKING:
    from pg_stepping.frontend.python.store import StorePostgres

T = TypeVar("T")
K = TypeVar("K")


class Cache(Generic[T]):
    """A kept result, rows of Data class T; a query fills it, a store reads it.

    `name` is the view's; without one it is the class's in snake case (`daily_usage` for `DailyUsage`).
    """

    def __init__(self, name: str | None = None) -> None:
        self.name = name

    def __getitem__(self, zset: ZSet[T]) -> Callable[[Callable[[ZSet[T]], Integrated[T]]], ZSet[T]]:
        """Inside of a query: keep `zset` here, as the function that is passed next says."""

        def keep(how: Callable[[ZSet[T]], Integrated[T]]) -> ZSet[T]:
            integrated = how(zset)
            zset.kept.append((self, integrated))
            return integrated.zset

        return keep

    def zset(self, store: StorePostgres) -> CachedZSet[T]:
        """What the store has of this cache; raises LookupError if the store's query does not fill it."""
        return CachedZSet(self, store)


class CachedZSet(Generic[T]):
    """The rows of a cache in Postgres, read afresh by each call, as the transaction sees them."""

    def __init__(self, cache: Cache[T], store: StorePostgres) -> None:
        self._conn = store.conn
        self._kept = kept = store.kept(cache)
        self._view = f"{quote_name(store.schema)}.{quote_name(kept.name)}"
        self._columns = [f"view.{quote_name(name)}" for name in columns(kept.row_type)]

    def iter(self) -> Iterator[tuple[T, int]]:
        """Every row with its count, in no order."""
        rows = self._rows("", "", ())
        return ((self._row(values), count) for *values, count in rows)

    def iter_by_index(self, index: Index[T, K], keys: frozenset[K]) -> Iterator[tuple[K, T, int]]:
        """(key, row, count) for the rows whose key is among `keys`, in the index's order.

        Raises LookupError if the cache is not kept by this index, TypeError if a key is not of its type.
        """
        names = index.names
        if names not in self._kept.indexes:
            raise LookupError(f"the view {self._kept.name} is not indexed by {', '.join(names)}")
        arrays = _arrays(index, keys)
        key_names = [f"key_{number}" for number, _ in enumerate(names, 1)]
        types = [f"%s::{column.type.sql}[]" for column in index.columns]
        conditions = [
            f"view.{quote_name(name)} {'IS NOT DISTINCT FROM' if None in array else '='} keys.{key}"
            for name, key, array in zip(names, key_names, arrays, strict=True)
        ]
        unnested = f"unnest({', '.join(types)}) AS keys ({', '.join(key_names)})"
        order = [f"view.{quote_name(n)}" for n in names]
        rest = [c for c in self._columns if c not in order]
        rows = self._rows(
            f"JOIN {unnested} ON {' AND '.join(conditions)}", f"ORDER BY {', '.join((*order, *rest))}", arrays
        )
        return (self._keyed(index, values, count) for *values, count in rows)

    def _rows(self, join: str, order: str, params: Sequence[object]) -> list[tuple[Any, ...]]:
        listed = ", ".join(self._columns)
        sql = f"SELECT {listed}, count(*) FROM {self._view} AS view {join} GROUP BY {listed} {order}"
        cursor = self._conn.cursor(row_factory=tuple_row)
        return cursor.execute(sql, params).fetchall()

    def _row(self, values: Sequence[object]) -> T:
        row = self._kept.row_type(**dict(zip(columns(self._kept.row_type), values, strict=True)))
        return cast(T, row)

    def _keyed(self, index: Index[T, K], values: Sequence[object], count: int) -> tuple[K, T, int]:
        row = self._row(values)
        key = tuple(getattr(row, name) for name in index.names)
        return cast(K, key if index.is_tuple else key[0]), row, count


def _arrays(index: Index[T, K], keys: frozenset[K]) -> list[list[object]]:
    """The keys column by column."""
    tuples = [cast(tuple[object, ...], key) if index.is_tuple else (key,) for key in keys]
    for key in tuples:
        if not isinstance(key, tuple) or len(key) != len(index.columns):
            raise TypeError(f"a key of this index is a tuple of {len(index.columns)}: {key!r}")
    return [
        [column.type.value(key[place], f"the key {index.names[place]}") for key in tuples]
        for place, column in enumerate(index.columns)
    ]
