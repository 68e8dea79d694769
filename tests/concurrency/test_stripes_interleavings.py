"""Groups in stripes: right in every order of the steps of two writers, who do not wait for each other's groups."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import psycopg
import pytest
from interleavings import RC, RR, SERIALIZABLE, all_schedules, orders, sample, stage
from load import SCHEMA, VIEWS, run_writers, wrong_views
from scenarios import SHAPES
from test_stress import write

import pg_stepping

LEVELS = list(product((RC, RR, SERIALIZABLE), repeat=2))
STRIPES = 64  # the two sessions' process numbers differ, modulo this


@pytest.mark.parametrize("name", ["one_table", "seed"])
def test_oracle_schedules_in_stripes(database: Callable[..., str], language: str, name: str) -> None:
    shape = SHAPES[name]
    levels = LEVELS if name == "one_table" else [(RC, RC)]
    with stage(database(language), shape, language, stripes=STRIPES) as on:
        tally = on.run(sample(all_schedules(shape, levels), 150))
    assert not tally.wrong, f"{len(tally.wrong)} of {tally.schedules} are wrong, as {tally.wrong[:3]}"
    assert not tally.failed, f"{len(tally.failed)} of {tally.schedules} failed, as {tally.failed[:3]}"
    assert not tally.avoidable, tally.avoidable[:3]
    assert tally.schedules == 150 and tally.refused == 0


def test_oracle_random_writers_in_few_stripes(database: Callable[..., str]) -> None:
    """Eight sessions share three stripes, and a view reads one that is in stripes."""
    dsn = database("plpgsql")
    with psycopg.connect(dsn) as conn:
        conn.execute(SCHEMA)  # type: ignore[arg-type]
        for name in ("daily", "sums", "total", "sizes", "kinds"):
            pg_stepping.create_view(conn, name, VIEWS[name], language="plpgsql", stripes=3)
    counts = run_writers(dsn, [write] * 8, 2.5)
    assert wrong_views(dsn) == []
    assert counts["done"] > 50, counts
    with psycopg.connect(dsn) as conn:
        assert conn.execute("SELECT count(*) > 1 FROM stepping.total").fetchone() == (True,)


def test_writers_of_one_group_do_not_wait(database: Callable[..., str], language: str) -> None:
    """They do where they write the same row of a table, or the whole of it."""
    shape = SHAPES["one_table"]
    free = ("insert", "insert new", "insert two", "move back", "delete last")
    with stage(database(language), shape, language, stripes=STRIPES) as on:
        for names in (("insert", "insert"), *(("insert", other) for other in free[1:])):
            tally = on.run(
                type(schedule)(names, order, schedule.levels)
                for schedule in all_schedules(shape)[:1]
                for order in orders(shape, names)
            )
            assert (tally.waits, tally.wrong, tally.failed) == (0, [], []), names
            assert tally.schedules > 2
