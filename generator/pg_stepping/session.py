"""How we work in the caller's session: in savepoints of his transaction, with our errors for Postgres's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import errors as pg
from psycopg.rows import tuple_row

from pg_stepping.errors import InsufficientPrivilege, InvalidQuery, NameTaken, ViewInUse
from pg_stepping.frontend.postgres import Connection, begin, savepoint


@contextmanager
def plain_rows(conn: Connection) -> Iterator[None]:
    """A checked connection that gives tuples for rows, whatever row factory the caller has set."""
    begin(conn)
    before, conn.row_factory = conn.row_factory, tuple_row
    try:
        yield
    finally:
        conn.row_factory = before


@contextmanager
def guarded(conn: Connection) -> Iterator[None]:
    """A savepoint: what fails in it leaves the database, and the caller's transaction, as they were."""
    with plain_rows(conn):
        try:
            with savepoint(conn):
                yield
        except pg.InsufficientPrivilege as error:
            hint = "the role must own the query's tables and may need rights on schema stepping"
            message = error.diag.message_primary or str(error)
            raise InsufficientPrivilege(message, hint=error.diag.message_hint or hint) from error
        except (pg.DuplicateTable, pg.DuplicateFunction, pg.DuplicateObject) as error:
            message = error.diag.message_primary or str(error)
            raise NameTaken(message, hint="choose another name for the view") from error
        except pg.InvalidSchemaName as error:
            message = error.diag.message_primary or str(error)
            raise InvalidQuery(message, hint="create the schema first", sqlstate="3F000") from error
        except pg.DependentObjectsStillExist as error:
            message = error.diag.message_detail or error.diag.message_primary or str(error)
            raise ViewInUse(message, hint=error.diag.message_hint) from error
