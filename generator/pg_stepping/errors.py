"""What can go wrong, one class a cause; each says what was wrong and what to do."""

from __future__ import annotations


class SteppingError(Exception):
    """Base of all errors of this package.

    `sqlstate` is the SQLSTATE that Postgres itself gives, or would give, for the same mistake;
    `hint` says what to do about it and is part of the message.
    """

    sqlstate = "XX000"

    def __init__(self, message: str, *, hint: str | None = None, sqlstate: str | None = None) -> None:
        super().__init__(f"{message}\nHINT: {hint}" if hint else message)
        self.message = message
        self.hint = hint
        if sqlstate is not None:
            self.sqlstate = sqlstate


class UnsupportedQuery(SteppingError):
    """The query is good SQL that cannot be maintained (yet); names the construct and its place.

    `line` and `column` count from 1 in the text that was given; None where the text has no such place.
    """

    sqlstate = "0A000"

    def __init__(
        self,
        construct: str,
        *,
        hint: str,
        line: int | None = None,
        column: int | None = None,
        near: str | None = None,
    ) -> None:
        place = f" at line {line}, column {column}" if line is not None else ""
        text = f" (near {near!r})" if near else ""
        super().__init__(f"cannot maintain a query with {construct}{place}{text}", hint=hint)
        self.construct = construct
        self.line = line
        self.column = column

    def locate(self, place: str) -> None:
        """Say where it came about, too."""
        before, hint, after = str(self).partition("\nHINT: ")
        self.message = f"{self.message}{place}"
        self.args = (f"{before}{place}{hint}{after}",)


class InvalidQuery(SteppingError):
    """Postgres refuses the query; carries its message, its SQLSTATE and the place in the given text."""

    sqlstate = "42601"


class InvalidDeclaration(SteppingError):
    """What pyproject.toml says of views, or a folder of migrations, cannot be understood; names the
    key or the file.
    """

    sqlstate = "F0000"


class NameTaken(SteppingError):
    """An object with the name of the new view, or of one of its tables, is there already."""

    sqlstate = "42P07"


class ViewNotFound(SteppingError):
    """There is no maintained view of this name."""

    sqlstate = "42P01"


class ViewInUse(SteppingError):
    """Another maintained view reads this one, so it cannot be dropped."""

    sqlstate = "2BP01"


class NotDeferred(SteppingError):
    """The view is in immediate mode: it has no logs to apply."""

    sqlstate = "42809"


class PositionGone(SteppingError):
    """The position is of a feed of changes that went when its view was made anew."""

    sqlstate = "55000"


class ViewDiffers(SteppingError):
    """What is in the database is not what the query needs; the message lists the differences."""

    sqlstate = "55000"


class NoLineage(SteppingError):
    """A result row is not made of source rows of its own, so `why` has no answer."""

    sqlstate = "0A000"


class UnsupportedServer(SteppingError):
    """The server is older than PostgreSQL 15, or lacks the language that was asked for."""

    sqlstate = "0A000"


class InsufficientPrivilege(SteppingError):
    """The role may not do what creating the view needs."""

    sqlstate = "42501"


class ConnectionUnusable(SteppingError):
    """The connection is closed, lost or busy, or its transaction has failed or may not write."""

    sqlstate = "08003"
