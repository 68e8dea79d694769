"""Caches: the results of a query that are kept, each as a view of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import psycopg
from psycopg.rows import tuple_row
from sqlglot import exp

from pg_stepping.frontend.dialect import parse, quote_name, to_sql
from pg_stepping.frontend.postgres import Connection
from pg_stepping.frontend.python import given
from pg_stepping.frontend.python.index import Index
from pg_stepping.frontend.python.language import Integrated
from pg_stepping.frontend.python.render import weight_name
from pg_stepping.frontend.python.rows import named_leaves, reader, stored_columns
from pg_stepping.frontend.python.types import FieldType
from pg_stepping.frontend.python.zset import MATCH_ALL, MatchAll, ZSet

if TYPE_CHECKING:
    from pg_stepping.frontend.python.graph import Kept

T = TypeVar("T")
K = TypeVar("K")

_NUMBERS = count(1)


class Store(Protocol):
    """What keeps the rows of a graph: StorePostgres or StorePython."""

    def zset(self, cache: Cache[Any]) -> ZSet[Any]: ...


class Cache(Generic[T]):
    """A kept result, rows of type T; a query fills it, a store reads it.

    `name` is the view's; without one it is the class's in snake case (`daily_usage` for `DailyUsage`), and of
    rows that are no Data the query's with `_cache`.
    """

    def __init__(self, name: str | None = None) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Cache({'' if self.name is None else f'name={self.name!r}'})"

    def __getitem__(self, zset: ZSet[T]) -> Callable[[Callable[[ZSet[T]], ZSet[T]]], ZSet[T]]:
        """Inside of a query: keep `zset` here, as the function that is passed next says.

        That is integrate(a), or integrate_indexed(a, indexes=...).
        """

        def keep(how: Callable[[ZSet[T]], ZSet[T]]) -> ZSet[T]:
            integrated = how(zset)
            if not isinstance(integrated, Integrated) or integrated.delayed:
                raise TypeError("a cache keeps what is integrated: cache[a](lambda a: st.integrate(a))")
            integrated.zset.kept.append((self, integrated))
            return integrated

        return keep

    def zset(self, store: Store) -> ZSet[T]:
        """What the store has of this cache; raises LookupError if the store's query does not fill it."""
        return store.zset(self)


class ZSetPostgres(ZSet[T]):
    """The rows that a store keeps, read afresh by each call, as the transaction sees them.

    Rows are streamed through a cursor of the server; any number may be read at the same time. Outside of a
    transaction (autocommit) the cursor holds the rows itself.
    """

    __slots__ = ("_columns", "_conn", "_counted", "_kept", "_view")

    def __init__(self, kept: Kept, conn: Connection, schema: str) -> None:
        self._kept, self._conn = kept, conn
        self._view = f"{quote_name(schema)}.{quote_name(kept.name)}"
        self._columns = [f"view.{quote_name(name)}" for name, _ in named_leaves(kept.operator.row)]
        signed = kept.operator.signed
        self._counted = (
            f"sum(view.{quote_name(weight_name(kept.operator))})::bigint" if signed else "count(*)"
        )

    def to_sql(self) -> str:
        """A SELECT of the rows, each with its count as the last column, for use in other statements."""
        return self._sql("", "").replace("%%", "%")

    def iter(self, match: frozenset[T] | MatchAll = MATCH_ALL) -> Iterator[tuple[T, int]]:
        if isinstance(match, MatchAll):
            return self._stream(self._sql("", ""), ())
        row = self._kept.operator.row
        columns = stored_columns(row)
        join = f"JOIN {given.relation(columns)} AS given ON {given.matches('view', 'given', columns)}"
        return self._stream(self._sql(join, ""), given.sender(row, columns)(list(match)))

    def iter_by_index(
        self,
        index: Index[T, K],
        match_keys: frozenset[K] | MatchAll = MATCH_ALL,
        *,
        at_least: K | None = None,
        below: K | None = None,
        prefix: tuple[Any, ...] = (),
    ) -> Iterator[tuple[K, T, int]]:
        """The same; raises LookupError if the rows are not kept by this index, TypeError for a key of another
        type."""
        if index not in self._kept.indexes:
            raise LookupError(f"the view {self._kept.name} is not indexed by {', '.join(index.names)}")
        names = {path: f"view.{quote_name(name)}" for path, name in self._kept.columns.items()}
        keys = [_over_view(column.expression, names) for column in index.columns]
        kinds = [column.type for column in index.columns]
        join, where, params = "", [], list[object]()
        if not isinstance(match_keys, MatchAll):
            named = [(f"key_{n}", kind) for n, kind in enumerate(kinds, 1)]
            checked = [index.checked(key) for key in match_keys]
            nulls = [any(key[n] is None for key in checked) for n, _ in enumerate(keys)]
            equal = [
                f"{sql} {'IS NOT DISTINCT FROM' if null else '='} keys.key_{n}"
                for n, (sql, null) in enumerate(zip(keys, nulls, strict=True), 1)
            ]
            join = f"JOIN {given.relation(named)} AS keys ON {' AND '.join(equal)}"
            params += given.values(named, checked)
        ordered = [_collated(sql, kind) for sql, kind in zip(keys, kinds, strict=True)]
        for n, value in enumerate(index.checked_prefix(prefix)):
            where.append(f"{keys[n]} IS NOT DISTINCT FROM %s::{kinds[n].sql}")
            params.append(kinds[n].dump(value))
        for bound, comparison in ((at_least, ">="), (below, "<")):
            if bound is not None:
                marks = ", ".join(_collated(f"%s::{kind.sql}", kind) for kind in kinds)
                where.append(f"({', '.join(ordered)}) {comparison} ({marks})")
                params += [k.dump(v) for k, v in zip(kinds, index.checked(bound), strict=True)]
        order = [f"{sql} {'ASC' if up else 'DESC'}" for sql, up in zip(ordered, index.ascending, strict=True)]
        leaves_ = [leaf for _, leaf in named_leaves(self._kept.operator.row)]
        order += [
            _collated(c, leaf.type) for c, leaf in zip(self._columns, leaves_, strict=True) if c not in keys
        ]
        condition = f"WHERE {' AND '.join(where)}" if where else ""
        rows = self._stream(self._sql(f"{join} {condition}", f"ORDER BY {', '.join(order)}", keys), params)
        return ((index.f(row), row, count) for row, count in rows)

    def _sql(self, join: str, order: str, more: Sequence[str] = ()) -> str:
        listed = ", ".join(self._columns)
        by = ", ".join(dict.fromkeys((*self._columns, *(k for k in more if "view." in k))))
        view = self._view.replace("%", "%%")
        sql = f"SELECT {listed}, {self._counted} FROM {view} AS view {join} GROUP BY {by} {order}"
        return sql.strip()

    def _stream(self, sql: str, params: Sequence[object]) -> Iterator[tuple[T, int]]:
        name, held = f"stepping_{next(_NUMBERS)}", self._conn.autocommit
        cursor = psycopg.ServerCursor(self._conn, name, row_factory=tuple_row, withhold=held)
        cursor.execute(sql.encode(), params)
        return _rows(cursor, reader(self._kept.operator.row))

    def __bool__(self) -> bool:
        """Whether a row is there now."""
        return next(iter(self.iter()), None) is not None

    def __repr__(self) -> str:
        return f"<ZSetPostgres {self._view}>"


def _rows(cursor: Any, read: Callable[[Sequence[Any]], T]) -> Iterator[tuple[T, int]]:
    try:
        for *values, count in cursor:
            yield read(values), count
    finally:
        with suppress(psycopg.Error):
            cursor.close()


def _over_view(expression: exp.Expression, names: dict[str, str]) -> str:
    """An expression over the leaves of the row as one over the view."""

    def one(node: exp.Expression) -> exp.Expression:
        return parse(f"SELECT {names[node.name]}").expressions[0] if isinstance(node, exp.Column) else node

    return to_sql(expression.copy().transform(one)).replace("%", "%%")


def _collated(sql: str, kind: FieldType) -> str:
    """Text by code point, and jsonb by its text."""
    if kind.sql == "jsonb":
        sql = f"{sql}::text"
    return f'{sql} COLLATE "C"' if kind.sql in ("text", "text[]", "jsonb") else sql
