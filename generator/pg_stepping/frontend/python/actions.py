"""Writing to the source tables: one statement a call, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar, cast

from psycopg.rows import tuple_row

from pg_stepping.errors import SteppingError
from pg_stepping.frontend.dialect import quote_name
from pg_stepping.frontend.postgres import savepoint
from pg_stepping.frontend.python.data import Data, columns
from pg_stepping.frontend.python.graph import Graph
from pg_stepping.frontend.python.operators import Source
from pg_stepping.frontend.python.store import StorePostgres

T = TypeVar("T", bound=Data)
ActionsT = TypeVar("ActionsT")


class RowNotFound(SteppingError, LookupError):
    """A row that is to be removed or replaced is not in its table."""

    sqlstate = "P0002"


def actions(store: StorePostgres, graph: Graph[ActionsT]) -> ActionsT:
    """An `Action` for each parameter of the query, in order.

    Raises ValueError if the store is of another graph.
    """
    if graph is not store.graph:
        raise ValueError("the store was made from another graph")
    made: Any = tuple(Action(store, source) for source in graph.sources)
    return cast(ActionsT, made)


class Action(Generic[T]):
    """Inserts, removes and replaces rows of one source table."""

    def __init__(self, store: StorePostgres, source: Source) -> None:
        self._conn = store.conn
        self._table = store.table(source)
        self._fields = columns(source.row_type)
        self._names = [quote_name(name) for name in self._fields]

    def insert(self, *rows: T) -> None:
        """Insert the rows; raises TypeError if a value is not of its field's type."""
        if rows:
            names = ", ".join(self._names)
            sql = f"INSERT INTO {self._table.sql} ({names}) SELECT * FROM {self._given}"
            self._run(sql, self._arrays(rows))

    def remove(self, *rows: T) -> None:
        """Delete one copy for each given row, by one statement.

        Raises RowNotFound, which names the row, with nothing changed, if one is not there.
        """
        if not rows:
            return
        with savepoint(self._conn):
            deleted = {place for (place,) in self._run(self._delete, self._arrays(rows))}
            missing = next((row for place, row in enumerate(rows, 1) if place not in deleted), None)
            if missing is not None:
                raise self._not_found(missing, rows.count(missing))

    def replace(self, old: T, new: T) -> None:
        """Change one copy of `old` into `new`; raises RowNotFound if there is none."""
        names, table = ", ".join(self._names), self._table.sql
        changed = self._run(
            f"""UPDATE {table} SET ({names}) = (SELECT * FROM {self._given})
                WHERE ctid = (SELECT t.ctid FROM {table} AS t
                              JOIN {self._given} AS g ({names}) ON {self._matches} LIMIT 1)
                RETURNING 1""",
            [*self._arrays([new]), *self._arrays([old])],
        )
        if not changed:
            raise self._not_found(old, 1)

    @property
    def _given(self) -> str:
        arrays = ", ".join(f"%s::{kind.sql}[]" for kind in self._fields.values())
        return f"unnest({arrays})"

    @property
    def _matches(self) -> str:
        """A stored row `t` equals a given row `g`."""
        return " AND ".join(
            f"t.{name} {'IS NOT DISTINCT FROM' if kind.nullable else '='} g.{name}"
            for name, kind in zip(self._names, self._fields.values(), strict=True)
        )

    @property
    def _delete(self) -> str:
        """Number the copies of equal rows, given and stored alike, and delete those that pair up."""
        names = ", ".join(self._names)
        return f"""
            WITH given AS (
                SELECT *, min(stepping_place) OVER (PARTITION BY {names}) AS stepping_kind,
                       row_number() OVER (PARTITION BY {names} ORDER BY stepping_place) AS stepping_copy
                FROM {self._given} WITH ORDINALITY AS g ({names}, stepping_place)
            ), stored AS (
                SELECT t.ctid AS place, g.stepping_kind,
                       row_number() OVER (PARTITION BY g.stepping_kind ORDER BY t.ctid) AS stepping_copy
                FROM {self._table.sql} AS t
                JOIN (SELECT DISTINCT {names}, stepping_kind FROM given) AS g ON {self._matches}
            )
            DELETE FROM {self._table.sql} AS d
            USING stored AS s JOIN given AS g USING (stepping_kind, stepping_copy)
            WHERE d.ctid = s.place
            RETURNING g.stepping_place"""

    def _arrays(self, rows: Sequence[T]) -> list[list[object]]:
        """The rows column by column."""
        return [
            [kind.value(getattr(row, name), f"{type(row).__name__}.{name}") for row in rows]
            for name, kind in self._fields.items()
        ]

    def _run(self, sql: str, params: Sequence[object]) -> list[tuple[Any, ...]]:
        cursor = self._conn.cursor(row_factory=tuple_row)
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else []

    def _not_found(self, row: T, copies: int) -> RowNotFound:
        often = f" {copies} copies of" if copies > 1 else ""
        table = f"{self._table.schema}.{self._table.name}"
        return RowNotFound(f"{table} does not have{often} {row!r}", hint="compare it with what the table has")
