"""How these tests make views that take no locks, to see that they find the wrong rows which come of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock


@contextmanager
def locks_off() -> Iterator[None]:
    """A block in which views are created without any locks."""
    with mock.patch("pg_stepping.delta.StageProgram.locks", return_value=()):
        yield
