"""The user's line by which an error came about."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pg_stepping.errors import UnsupportedQuery

_OURS = str(Path(__file__).parents[2])
_PLACE = re.compile(r"\.\w+:\d+")


@contextmanager
def at_users_line() -> Iterator[None]:
    """What is refused inside says at which line of the user's, unless it names one already."""
    try:
        yield
    except UnsupportedQuery as error:
        if not _PLACE.search(error.message):
            place = _place(error)
            error.locate(f" at {place}" if place else "")
        raise


def _place(error: UnsupportedQuery) -> str | None:
    """The innermost line that is not ours: below this block, else above it."""
    below = [(f.f_code.co_filename, line) for f, line in traceback.walk_tb(error.__traceback__)]
    above = [(f.f_code.co_filename, line) for f, line in traceback.walk_stack(sys._getframe(2))]
    users = [place for place in (*reversed(below), *above) if _is_users(place[0])]
    return f"{users[0][0]}:{users[0][1]}" if users else None


def _is_users(file: str) -> bool:
    return not file.startswith((_OURS, "<frozen")) and not file.endswith(("/contextlib.py", "/functools.py"))
