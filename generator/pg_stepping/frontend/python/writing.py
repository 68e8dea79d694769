"""The statements by which rows get into a source table and out of it, and their effect is read back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from pg_stepping.frontend.dialect import quote_name
from pg_stepping.frontend.postgres import Connection, savepoint
from pg_stepping.frontend.python import given
from pg_stepping.frontend.python.actions import not_found
from pg_stepping.frontend.python.capture import setting
from pg_stepping.frontend.python.graph import Kept
from pg_stepping.frontend.python.render import weight_name
from pg_stepping.frontend.python.rows import named_leaves, reader, stored_columns
from pg_stepping.frontend.python.tables import SourceTable
from pg_stepping.frontend.python.zset import ZSet, ZSetPython


def run(conn: Connection, sql: str, params: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    """The rows of a statement, as tuples whatever the connection's row factory."""
    cursor = conn.cursor(row_factory=tuple_row)
    cursor.execute(sql.encode(), params)
    return cursor.fetchall() if cursor.description else []


class Writer:
    """Writes rows of one source table, each call by one statement."""

    def __init__(self, conn: Connection, table: SourceTable) -> None:
        self._conn, self._table, self._row = conn, table, table.source.row
        self._columns = stored_columns(self._row)
        self._names = ", ".join(quote_name(name) for name, _ in self._columns)
        self._sql = table.sql.replace("%", "%%")

    def insert(self, rows: Sequence[Any]) -> None:
        if not rows:
            return
        source = given.relation(self._columns)
        run(
            self._conn,
            f"INSERT INTO {self._sql} ({self._names}) SELECT * FROM {source} AS given",
            self._params(rows),
        )

    def remove(self, rows: Sequence[Any]) -> None:
        if not rows:
            return
        with savepoint(self._conn):
            deleted = {place for (place,) in run(self._conn, self._delete, self._params(rows))}
            missing = next((row for place, row in enumerate(rows, 1) if place not in deleted), None)
            if missing is not None:
                raise not_found(str(self._table), missing, rows.count(missing))

    def replace(self, old: Any, new: Any) -> None:
        source, table = given.relation(self._columns), self._sql
        matches = given.matches("t", "g", self._columns)
        changed = run(
            self._conn,
            f"""UPDATE {table} SET ({self._names}) = (SELECT * FROM {source} AS n)
                WHERE ctid = (SELECT t.ctid FROM {table} AS t JOIN {source} AS g ON {matches} LIMIT 1)
                RETURNING 1""",
            [*self._params([new]), *self._params([old])],
        )
        if not changed:
            raise not_found(str(self._table), old, 1)

    def _params(self, rows: Sequence[Any]) -> list[list[object]]:
        return given.of_rows(self._row, rows)

    @property
    def _delete(self) -> str:
        """Number the copies of equal rows, given and stored alike, and delete those that pair up."""
        names, source = self._names, given.relation(self._columns, "stepping_place")
        return f"""
            WITH given AS (
                SELECT *, min(stepping_place) OVER (PARTITION BY {names}) AS stepping_kind,
                       row_number() OVER (PARTITION BY {names} ORDER BY stepping_place) AS stepping_copy
                FROM {source} AS g
            ), stored AS (
                SELECT t.ctid AS place, g.stepping_kind,
                       row_number() OVER (PARTITION BY g.stepping_kind ORDER BY t.ctid) AS stepping_copy
                FROM {self._sql} AS t
                JOIN (SELECT DISTINCT {names}, stepping_kind FROM given) AS g
                  ON {given.matches("t", "g", self._columns)}
            )
            DELETE FROM {self._sql} AS d
            USING stored AS s JOIN given AS g USING (stepping_kind, stepping_copy)
            WHERE d.ctid = s.place
            RETURNING g.stepping_place"""


class Captured:
    """What changes in some views while something is written."""

    def __init__(
        self,
        conn: Connection,
        schema: str,
        views: Sequence[Kept],
        told: Sequence[str],
        whole: Callable[[Kept], ZSet[Any]],
    ) -> None:
        self._conn, self._schema, self._whole = conn, schema, whole
        self._views = [kept for kept in dict.fromkeys(views) if kept.name in told]
        self._untold = [kept for kept in dict.fromkeys(views) if kept.name not in told]
        self.changed: dict[str, ZSetPython[Any]] = {}

    @contextmanager
    def during(self) -> Iterator[None]:
        """Gather what is changed inside; in autocommit the whole of it is one transaction."""
        if not self._views and not self._untold:
            yield
            return
        with savepoint(self._conn) if self._conn.autocommit else nullcontext():
            before = {kept: self._whole(kept).to_python() for kept in self._untold}
            if self._views:
                self._set("[")
            try:
                yield
            except BaseException:
                with suppress(psycopg.Error):  # a rollback empties it, too
                    self._stop()
                raise
            for kept in self._views:
                self.changed[kept.name] = self._taken(kept)
            for kept, rows in before.items():
                self.changed[kept.name] = self._whole(kept).to_python() - rows

    def _stop(self) -> None:
        if self._views:
            self._set("")

    def _set(self, value: str) -> None:
        listed = ", ".join(f"set_config(%s, '{value}', true)" for _ in self._views)
        run(self._conn, f"SELECT {listed}", [setting(self._schema, k.name) for k in self._views])

    def _taken(self, kept: Kept) -> ZSetPython[Any]:
        """What was gathered of a view; its setting is empty again."""
        name = setting(self._schema, kept.name)
        columns = ", ".join(f"p.{quote_name(n)}" for n, _ in named_leaves(kept.operator.row))
        signed = kept.operator.signed
        weight = f" * p.{quote_name(weight_name(kept.operator))}" if signed else ""
        view = f"{quote_name(self._schema)}.{quote_name(kept.name)}".replace("%", "%%")
        rows = run(
            self._conn,
            f"""WITH t AS MATERIALIZED (SELECT concat(rtrim(current_setting(%s), ','), ']')::json AS changes),
                     e AS MATERIALIZED (SELECT set_config(%s, '', true) FROM t)
                SELECT {columns}, (c ->> 'count')::bigint{weight}
                FROM t, e, json_array_elements(t.changes) AS c,
                     LATERAL json_populate_record(NULL::{view}, c -> 'row') AS p""",
            [name, name],
        )
        read: Callable[[Sequence[Any]], Any] = reader(kept.operator.row)
        return ZSetPython((read(values), count) for *values, count in rows)
