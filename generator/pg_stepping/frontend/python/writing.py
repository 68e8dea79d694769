"""The statements by which rows get into a source table and out of it, and their effect is read back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from itertools import product
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from pg_stepping.errors import ViewDiffers
from pg_stepping.frontend.dialect import quote_name, quote_text
from pg_stepping.frontend.postgres import Connection, check_no_pipeline, savepoint
from pg_stepping.frontend.python import given
from pg_stepping.frontend.python.actions import not_found
from pg_stepping.frontend.python.capture import each_gathered, gather_name, gathered, insert_function, setting
from pg_stepping.frontend.python.graph import Kept
from pg_stepping.frontend.python.rows import reader, stored_columns
from pg_stepping.frontend.python.tables import SourceTable
from pg_stepping.frontend.python.zset import ZSet, ZSetLater, ZSetPython


def run(conn: Connection, sql: str, params: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    """The rows of a statement, as tuples, whatever the connection's own cursors are."""
    cursor = psycopg.Cursor(conn, row_factory=tuple_row)
    cursor.execute(sql.encode(), params)
    return cursor.fetchall() if cursor.description else []


class Writer:
    """Writes rows of one source table, each call by one statement."""

    def __init__(self, conn: Connection, table: SourceTable) -> None:
        self._conn, self._table, self._row = conn, table, table.source.row
        self._columns = stored_columns(self._row)
        self._names = ", ".join(quote_name(name) for name, _ in self._columns)
        self._sql = table.sql.replace("%", "%%")
        marks = (f"given[{n}]" for n, _ in enumerate(self._columns, 1))
        #: The statement of an insert function, which has the parameters in an array.
        self.insert_given = self._inserting(table.sql, given.relation(self._columns, marks=marks))
        self._given = f"ARRAY[{', '.join(['%s'] * len(self._columns))}]::text[]"
        self._insert = self._inserting(self._sql, given.relation(self._columns))
        self._params = given.sender(self._row, self._columns)

    def _inserting(self, table: str, source: str) -> str:
        return f"INSERT INTO {table} ({self._names}) SELECT * FROM {source} AS g"

    def insert(self, rows: Sequence[Any]) -> None:
        if rows:
            run(self._conn, self._insert, self._params(rows))

    def call(self, function: str) -> bytes:
        """The statement that calls an insert function."""
        return f"SELECT {function.replace('%', '%%')}({self._given})".encode()

    def insert_by(self, call: bytes, rows: Sequence[Any]) -> str:
        """Insert the rows by such a statement; returns what the function does."""
        cursor = psycopg.Cursor(self._conn, row_factory=tuple_row)
        try:
            cursor.execute(call, self._params(rows))
        except psycopg.errors.UndefinedFunction as error:
            if call.decode().partition("(")[0].removeprefix("SELECT ") not in str(error).replace("%", "%%"):
                raise  # one that a trigger calls
            raise _other_view(f" for {self._table}") from error
        [told] = cursor.fetchone() or [""]
        return str(told)

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


def _other_view(made_for: str = "") -> ViewDiffers:
    return ViewDiffers(
        f"a view of the outputs was changed or dropped since this store was made{made_for}",
        hint="make the store anew, StorePostgres.from_graph(), with the query that the view has now",
    )


class Captured:
    """What changes in some views while something is written.

    `told` has those whose triggers tell it, with their state tables; the others are read `whole`, before and
    after. With `create`, there will be functions that insert and tell it at once.
    """

    def __init__(
        self,
        conn: Connection,
        schema: str,
        views: Sequence[Kept],
        told: Mapping[Kept, str],
        whole: Callable[[Kept], ZSet[Any]],
        writers: Iterable[Writer],
        create: bool,
    ) -> None:
        self._conn, self._whole = conn, whole
        self._views = list(told)
        self._untold = [kept for kept in dict.fromkeys(views) if kept not in told]
        self._settings = [setting(schema, kept.name) for kept in self._views]
        names = [quote_text(name) for name in self._settings]
        begin, end = (", ".join(f"set_config({n}, '{text}', true)" for n in names) for text in ("[", ""))
        read = ", ".join(f"current_setting({n})" for n in names)
        gathering = (quote_text(f"stepping.{quote_name(gather_name(state))}") for state in told.values())
        there = " AND ".join(f"to_regproc({name}) IS NOT NULL" for name in gathering)
        self._begin, self._end = f"SELECT {there}, {begin}", f"SELECT {end}"
        self._take = f"""WITH t AS MATERIALIZED (SELECT {read}), e AS MATERIALIZED (SELECT {end} FROM t)
                         SELECT t.* FROM t, e"""

        self._calls: dict[Writer, bytes] = {}
        for writer, state in product(writers, list(told.values())[:1]):
            function = insert_function(conn, state, writer.insert_given, self._settings, create=create)
            if function is not None:
                self._calls[writer] = writer.call(function)

    def by_insert(self, writer: Writer, rows: Sequence[Any]) -> dict[Kept, ZSetPython[Any]]:
        """Insert rows, and tell what that changes in each view: one statement, if triggers tell it."""
        call = self._calls.get(writer)
        if call is None or not rows:
            return self.by(lambda: writer.insert(rows))
        several = bool(self._untold)
        return self._changes(lambda: each_gathered(writer.insert_by(call, rows)), several=several)

    def by(self, writes: Callable[[], object]) -> dict[Kept, ZSetPython[Any]]:
        """Do what `writes` does, and tell what that changes in each view."""
        return self._changes(lambda: self._written(writes), several=bool(self._views or self._untold))

    def _changes(self, write: Callable[[], Sequence[str]], *, several: bool) -> dict[Kept, ZSetPython[Any]]:
        """If it is several statements, these are one transaction in autocommit, too."""
        check_no_pipeline(self._conn)
        with savepoint(self._conn) if several and self._conn.autocommit else nullcontext():
            before = {kept: self._whole(kept).to_python() for kept in self._untold}
            told = zip(self._views, write(), strict=True)
            changed = {kept: self._whole(kept).to_python() - rows for kept, rows in before.items()}
            return changed | {kept: ZSetLater(partial(_rows, kept, text)) for kept, text in told}

    def _written(self, writes: Callable[[], object]) -> Sequence[str]:
        """Write; what the settings of the views have gathered meanwhile."""
        if not self._views:
            writes()
            return ()
        [(there, *_)] = run(self._conn, self._begin)
        if not there:
            raise _other_view()
        try:
            writes()
        except BaseException:
            with suppress(psycopg.Error):  # a rollback empties them, too
                run(self._conn, self._end)
            raise
        [texts] = run(self._conn, self._take)
        return texts


def _rows(kept: Kept, text: str) -> Iterator[tuple[Any, int]]:
    """The rows in a setting, with their counts."""
    row, signed = kept.operator.row, kept.operator.signed
    read: Callable[[Sequence[Any]], Any] = reader(row)
    kinds = [kind.sql for _, kind in stored_columns(row)]
    for count, values in gathered(text, [*kinds, "bigint"] if signed else kinds):
        yield (read(values[:-1]), count * values[-1]) if signed else (read(values), count)
