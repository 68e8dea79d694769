"""Views come and go while writers run; each is right from the moment that it is there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg
from load import VIEWS, Load, differences, rows_left, set_up
from psycopg import errors as pg

import pg_stepping

LOCKED_OUT = (pg.DeadlockDetected, pg.LockNotAvailable)


def test_oracle_views_are_created_and_dropped_under_load(dsn: str, language: str) -> None:
    set_up(dsn, language, {"by_meter": VIEWS["by_meter"]})
    made = 0
    with Load(dsn, sessions=4) as load, psycopg.connect(dsn) as conn:
        for _ in range(4):
            for name in ("daily", "share"):
                made += attempt(
                    conn, partial(pg_stepping.create_view, conn, name, VIEWS[name], language=language)
                )
            load.wait(0.3, transactions=20)
            found = {name: pg_stepping.verify(conn, name) for name in there(conn)}
            conn.commit()
            assert not any(found.values()), found
            for name in there(conn) - {"by_meter"}:
                attempt(conn, partial(pg_stepping.drop_view, conn, name))
    assert not load.errors, load.errors[0]
    assert made >= 4
    assert differences(dsn, {"by_meter": ""}) == {}
    assert rows_left(dsn) == 0


def there(conn: psycopg.Connection[Any]) -> set[str]:
    names = {row[0] for row in conn.execute("SELECT view_name FROM stepping.maintained_view")}
    conn.commit()
    return names


def attempt(conn: psycopg.Connection[Any], act: Callable[[], object]) -> int:
    """Try until no deadlock with the writers, who lock several tables in any order, ends it."""
    for _ in range(20):
        try:
            with conn.transaction():
                act()
            return 1
        except LOCKED_OUT:
            continue
    return 0
