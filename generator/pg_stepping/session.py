"""How we work in the caller's session: in savepoints of his transaction, with our errors for Postgres's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from pg_stepping.errors import (
    ConnectionUnusable,
    InsufficientPrivilege,
    InvalidQuery,
    NameTaken,
    NotDeferred,
    SteppingError,
    ViewInUse,
)
from pg_stepping.frontend.postgres import Connection, savepoint

# What Postgres may say, by SQLSTATE or its class: our error, and what to do unless Postgres itself says it.
_RIGHTS = "the role must own the query's tables and may need rights on schema stepping"
_NAME = "choose another name for the view"
_ROWS = "the message is Postgres's own: the query fails on the rows that are there now"
_ERRORS: dict[str, tuple[type[SteppingError], str]] = {
    "42501": (InsufficientPrivilege, _RIGHTS),
    "42P07": (NameTaken, _NAME),
    "42710": (NameTaken, _NAME),
    "42723": (NameTaken, _NAME),
    "23505": (NameTaken, _NAME),  # another session took it while we waited
    "3F000": (InvalidQuery, "create the schema first"),
    "55006": (
        ConnectionUnusable,
        "end this transaction, or SET CONSTRAINTS ALL IMMEDIATE, first",
    ),
    "2BP01": (ViewInUse, "drop what depends on it first"),
    "42809": (NotDeferred, "`pg-stepping list` shows the views in deferred mode"),
    "25006": (ConnectionUnusable, "use a transaction that may write, on a server that is no standby"),
    "22": (InvalidQuery, _ROWS),
    "23": (InvalidQuery, _ROWS),
    "54": (InvalidQuery, "the message is Postgres's own: make the query or the index smaller"),
}
_OTHER = (SteppingError, "the message is Postgres's own")


# What else people have at hand, by the first name of its module: how they come to a connection.
_INSTEAD = {
    "builtins": "open one with psycopg.connect()",
    "psycopg": "open one with psycopg.connect(); of a cursor it is cursor.connection",
    "psycopg2": "open one with psycopg.connect(), of the package psycopg",
    "psycopg_pool": "take one `with pool.connection() as conn`",
    "sqlalchemy": "with postgresql+psycopg it is connection.connection.driver_connection",
    "django": "with psycopg 3 it is connection.connection, after connection.ensure_connection()",
}


def check_connection(conn: object, *, alone: str | None = None) -> None:
    """Raises TypeError where this is no connection. It tells the type only: a conninfo string may hold a
    password. `alone` is what needs transactions of its own: ConnectionUnusable without autocommit, or within
    a transaction.
    """
    if not isinstance(conn, psycopg.Connection):
        kind = type(conn)
        hint = _INSTEAD.get(kind.__module__.partition(".")[0], _INSTEAD["builtins"])
        name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
        raise TypeError(f"a connection of psycopg 3 is wanted, not {name}\nHINT: {hint}")
    if alone is None or conn.closed:
        return
    if not conn.autocommit or conn.info.transaction_status == TransactionStatus.INTRANS:
        hint = "use a connection with autocommit=True, and no transaction()"
        raise ConnectionUnusable(f"{alone} in several transactions", hint=hint)


@contextmanager
def guarded(conn: Connection, *, undo: bool = False) -> Iterator[None]:
    """A savepoint: what fails in it leaves the database, and the caller's transaction, as they were.

    Rows are tuples in it, whatever the caller has set. With `undo` what succeeds is taken back, too.
    """
    check_connection(conn)
    before = conn.row_factory, conn.cursor_factory
    conn.row_factory, conn.cursor_factory = tuple_row, psycopg.Cursor
    try:
        with savepoint(conn, undo=undo):
            yield
    except psycopg.Error as error:
        raise _translated(conn, error) from error
    except UnicodeEncodeError as error:
        hint = "SET client_encoding to UTF8, and use characters that the database's encoding has"
        raise InvalidQuery(f"a text cannot be sent: {error}", hint=hint, sqlstate="22021") from error
    finally:
        conn.row_factory, conn.cursor_factory = before


def _translated(conn: Connection, error: psycopg.Error) -> Exception:
    """Our error for Postgres's; its own where trying again may help: timeouts, deadlocks, want of memory."""
    diag = error.diag
    if conn.closed or diag.severity_nonlocalized == "FATAL":
        return ConnectionUnusable(
            f"the connection was lost: {str(error).strip()}",
            hint="open a new one with psycopg.connect()",
            sqlstate="08006",
        )
    state = error.sqlstate or ""
    kind, hint = _ERRORS.get(state) or _ERRORS.get(state[:2]) or _OTHER
    if isinstance(error, psycopg.OperationalError) and kind is SteppingError:
        return error
    message = ": ".join(filter(None, (diag.message_primary or str(error), diag.message_detail)))
    return kind(message, hint=diag.message_hint or hint, sqlstate=error.sqlstate)
