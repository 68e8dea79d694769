"""Eight sessions write at random to every table; afterwards each view equals its query."""

from __future__ import annotations

from collections.abc import Callable

from load import Load, differences, rows_left, set_up
from locking import locks_off

SECONDS = 6


def test_oracle_eight_writers_of_all_tables(dsn: str, language: str) -> None:
    set_up(dsn, language)
    with Load(dsn) as load:
        load.wait(SECONDS, transactions=300)
    assert not load.errors, load.errors[0]
    assert load.done >= 300
    assert differences(dsn) == {}
    assert rows_left(dsn) == 0


def test_without_locks_they_leave_wrong_rows(database: Callable[..., str]) -> None:
    for _ in range(5):
        dsn = database("plpgsql")
        with locks_off():
            set_up(dsn, "plpgsql")
        with Load(dsn) as load:
            load.wait(SECONDS)
        if load.errors or differences(dsn):  # a count below zero, or rows that are wrong
            return
    raise AssertionError("no wrong rows in five runs")
