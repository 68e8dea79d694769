"""How these tests make views without what protects them, to see that they find the wrong rows which come of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from pg_stepping.backend import script


@contextmanager
def locks_off() -> Iterator[None]:
    """A block in which views are created without any locks."""
    with mock.patch("pg_stepping.delta.StageProgram.locks", return_value=()):
        yield


@contextmanager
def filled_beside_writers() -> Iterator[None]:
    """A block in which a view that is created does not wait for the writers of its tables before it is filled,
    and gives them time to write before it follows them."""
    fill = script._fill_and_follow

    def without_lock(*arguments: Any, **named: Any) -> str:
        unlocked = re.sub(r"LOCK TABLE [^;]*;", "", fill(*arguments, **named))
        return unlocked.replace(
            "PERFORM stepping.follow(", "PERFORM pg_sleep(0.02); PERFORM stepping.follow(", 1
        )

    with mock.patch.object(script, "_fill_and_follow", without_lock):
        yield
