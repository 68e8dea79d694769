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
from pg_stepping.frontend.python.actions import RowNotFound, not_found
from pg_stepping.frontend.python.capture import gather_name, gathered, setting
from pg_stepping.frontend.python.graph import Kept
from pg_stepping.frontend.python.rows import reader, stored_columns
from pg_stepping.frontend.python.tables import SourceTable
from pg_stepping.frontend.python.write_functions import bodies, each_gathered, statements, write_function
from pg_stepping.frontend.python.zset import ZSet, ZSetLater, ZSetPython


def run(conn: Connection, sql: str, params: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    """The rows of a statement, as tuples, whatever the connection's own cursors are."""
    cursor = psycopg.Cursor(conn, row_factory=tuple_row)
    cursor.execute(sql.encode(), params)
    return cursor.fetchall() if cursor.description else []


class Writer:
    """Writes rows of one source table: by statements, or by functions that tell what these change."""

    def __init__(self, conn: Connection, table: SourceTable) -> None:
        self._conn, self._table = conn, table
        row = table.source.row
        columns = stored_columns(row)
        self._statements = statements(table.sql, columns)
        self._params = given.sender(row, columns)
        self._columns = columns

    def insert(self, rows: Sequence[Any]) -> None:
        if rows:
            run(self._conn, self._statements.insert, self._params(rows))

    def remove(self, rows: Sequence[Any]) -> None:
        if not rows:
            return
        with savepoint(self._conn):
            [(missing,)] = run(self._conn, self._statements.delete, self._params(rows))
            if missing is not None:
                raise self.not_found(rows, missing)

    def replace(self, old: Any, new: Any) -> None:
        statement = f"{self._statements.update} RETURNING 1"
        if not run(self._conn, statement, self._params([new]) + self._params([old])):
            raise self.not_found([old], 1)

    def not_found(self, rows: Sequence[Any], place: int) -> RowNotFound:
        """The error for the row at a place, from 1, that the table has not as often as it is there."""
        missing = rows[place - 1]
        return not_found(str(self._table), missing, rows.count(missing))

    def functions(self, state: str, settings: Sequence[str], *, create: bool) -> Iterator[tuple[str, bytes]]:
        """The calls of the functions that are there, by what they do; with `create` all are made."""
        for what, body in bodies(self._table.sql, self._columns, settings).items():
            function = write_function(self._conn, state, what, body, create=create)
            if function is not None:
                marks = ["%s"] * len(self._columns) * (2 if what == "replace" else 1)
                name = function.replace("%", "%%")
                yield what, f"SELECT {name}(ARRAY[{', '.join(marks)}]::text[])".encode()

    def by_call(self, call: bytes, *given_rows: Sequence[Any]) -> list[str]:
        """Write by the call of a function, whose last rows are to go; what each setting gathers.

        Raises RowNotFound if one of these is not there.
        """
        cursor = psycopg.Cursor(self._conn, row_factory=tuple_row)
        params = self._params(given_rows[0])
        for rows in given_rows[1:]:
            params += self._params(rows)
        try:
            cursor.execute(call, params)
        except psycopg.errors.UndefinedFunction as error:
            if call.decode().partition("(")[0].removeprefix("SELECT ") not in str(error).replace("%", "%%"):
                raise  # one that a trigger calls
            raise _other_view(f" for {self._table}") from error
        [told] = cursor.fetchone() or [""]
        gathered = each_gathered(told)
        if isinstance(gathered, int):
            raise self.not_found(given_rows[-1], gathered)
        return gathered


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

        self._calls: dict[tuple[Writer, str], bytes] = {}
        for writer, state in product(writers, list(told.values())[:1]):
            calls = writer.functions(state, self._settings, create=create)
            self._calls.update(((writer, what), call) for what, call in calls)

    def insert(self, writer: Writer, rows: Sequence[Any]) -> dict[Kept, ZSetPython[Any]]:
        """Insert rows, and tell what that changes in each view: one statement, if triggers tell it."""
        return self._write(writer, "insert", [rows], lambda: writer.insert(rows))

    def remove(self, writer: Writer, rows: Sequence[Any]) -> dict[Kept, ZSetPython[Any]]:
        """Remove rows likewise; raises RowNotFound, with nothing changed, if one is not there."""
        return self._write(writer, "remove", [rows], lambda: writer.remove(rows))

    def replace(self, writer: Writer, old: Any, new: Any) -> dict[Kept, ZSetPython[Any]]:
        """Replace a row likewise; raises RowNotFound, with nothing changed, if it is not there."""
        return self._write(writer, "replace", [[new], [old]], lambda: writer.replace(old, new))

    def _write(
        self, writer: Writer, what: str, given_rows: Sequence[Sequence[Any]], otherwise: Callable[[], object]
    ) -> dict[Kept, ZSetPython[Any]]:
        call = self._calls.get((writer, what))
        if call is None or not given_rows[0]:
            return self.by(otherwise)
        several = bool(self._untold)
        return self._changes(lambda: writer.by_call(call, *given_rows), several=several)

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
