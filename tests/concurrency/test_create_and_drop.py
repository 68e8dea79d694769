"""Views are created and dropped while writers run; every one is right from its first moment to its last."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager

import psycopg
import pytest
from load import MIXED, Write, make, run_writers, wrong_views
from locking import filled_beside_writers, locks_off
from test_stress import write

import pg_stepping

SECONDS = 5.0


def creator(names: list[str], language: str) -> Write:
    """Creates the views one after the other, then drops them in turn, and so on; looks at them all the time.

    A view over a view comes after it and goes before it, so what is there is always a beginning of `names`.
    """

    def create_or_drop(conn: psycopg.Connection, rng: random.Random, counts: Counter[str]) -> None:
        there = {view.name for view in pg_stepping.list_views(conn)}
        conn.rollback()
        grown = [name in there for name in names].count(True)
        up = counts[f"up {names[0]}"] % 2 == 0
        if up and grown < len(names):
            name = names[grown]
            pg_stepping.create_view(conn, name, MIXED[name], language=language)
            conn.commit()
            counts["created"] += 1
        elif grown > 0:
            pg_stepping.drop_view(conn, names[grown - 1])
            conn.commit()
            counts["dropped"] += 1
            grown -= 1
        if grown == (len(names) if up else 0):
            counts[f"up {names[0]}"] += 1
        for name in names[:grown]:
            assert pg_stepping.verify(conn, name) == [], f"{name} is wrong"
            counts["verified"] += 1

    return create_or_drop


def test_oracle_views_come_and_go_while_writers_run(database: Callable[..., str], language: str) -> None:
    dsn = database(language)
    make(dsn, language, {})
    creators = [creator(["daily", "names"], language), creator(["sums", "kinds", "siblings"], language)]
    counts = run_writers(dsn, [write, write, write, *creators], SECONDS)
    assert counts["created"] > 3 and counts["dropped"] > 1 and counts["verified"] > 5, counts
    with psycopg.connect(dsn) as conn:
        for name in MIXED.keys() - {view.name for view in pg_stepping.list_views(conn)} - {"names", "kinds"}:
            pg_stepping.create_view(conn, name, MIXED[name], language=language)
    run_writers(dsn, [write] * 4, 1.0)
    assert wrong_views(dsn) == []


@pytest.mark.parametrize("unprotected", [filled_beside_writers, locks_off])
@pytest.mark.parametrize("language", ["plpgsql"])
def test_without_locks_the_creator_sees_a_wrong_view(
    database: Callable[..., str], language: str, unprotected: Callable[[], AbstractContextManager[None]]
) -> None:
    """The load ends with the first wrong view that it sees."""
    dsn = database(language)
    make(dsn, language, {})
    with unprotected(), pytest.raises(AssertionError, match="is wrong"):
        run_writers(
            dsn, [write, write, write, creator(["daily", "names"], language)], 120.0, ignore=("XX001",)
        )
