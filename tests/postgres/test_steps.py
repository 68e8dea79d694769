"""Logs that are applied in parts: whichever part is taken first, readers see the same, and at last all is applied."""

import random

import psycopg
import pytest
from test_cases import CASES, NAMES, assert_right, rows, steps_of, views_of
from test_deferred import logged

import pg_stepping

LOGS = (
    "SELECT relname FROM pg_class WHERE relnamespace = 'stepping'::regnamespace AND relname ~ %s ORDER BY 1"
)
STEPPED = "SELECT to_regproc(concat('stepping.', stages[cardinality(stages)], '__step')) FROM stepping.maintained_view WHERE view_name = %s"

REFUSED = ["expressions_over_aggregates"]  # sums of numerics, of which rows go: they are read again


def shuffled(conn, view):
    """Put the rows of a view's logs into another order: that in which other sessions might have written them."""
    for (log,) in conn.execute(LOGS, [f"^{view}__log_[0-9]+$"]).fetchall():
        conn.execute(
            f"CREATE TEMP TABLE kept ON COMMIT DROP AS SELECT * FROM stepping.{log};"
            f"TRUNCATE stepping.{log}; INSERT INTO stepping.{log} SELECT * FROM kept ORDER BY random(); DROP TABLE kept"
        )


def drain(conn, view, query, limit):
    """Apply by parts; returns how many changes each took."""
    parts = []
    while logged(conn, view):
        parts.append(pg_stepping.apply(conn, view, limit=limit))
        assert parts[-1] > 0
        expected = assert_right(conn, view, query, f"parts of {parts}")
    assert pg_stepping.apply(conn, view, limit=limit) == 0
    assert rows(conn, f"{view}_as_applied") == expected
    return parts


@pytest.mark.parametrize("case", NAMES)
def test_oracle_any_part_of_the_logs_may_be_applied(database, case):
    with psycopg.connect(database("plpgsql")) as conn:
        tables, _, data = (CASES / case / "schema.sql").read_text().partition("-- data\n")
        conn.execute(tables)
        conn.execute("SELECT setseed(0.5)")
        views = views_of(case)
        for name, query in views:
            pg_stepping.create_view(conn, name, query, language="plpgsql", mode="deferred")
        dice, several = random.Random(case), 0
        steps = [data, *(sql for _, sql in steps_of(case))]
        half = 1 + len(steps) // 2
        for i in (0, half):
            for sql in steps[i : i + half]:
                conn.execute(sql)
            for name, query in views:
                if not logged(conn, name):
                    continue
                shuffled(conn, name)
                waiting = logged(conn, name)
                limit = max(1, waiting // dice.choice((2, 3, 4)))
                parts = drain(conn, name, query, limit)
                assert sum(parts) == waiting
                if conn.execute(STEPPED, [name]).fetchone() == (None,):
                    assert len(parts) == 1
                several += len(parts) > 1
                assert pg_stepping.verify(conn, name) == []
        stepped = [conn.execute(STEPPED, [name]).fetchone() != (None,) for name, _ in views]
        assert several or not any(stepped) or case in REFUSED
