"""Logs that are applied in parts: whichever part is taken first, readers see the same, and at last all is applied."""

import random

import psycopg
import pytest
from click.testing import CliRunner
from test_cases import CASES, assert_right, rows, steps_of, views_of
from test_deferred import logged

import pg_stepping
from pg_stepping import errors
from pg_stepping.cli import main

LOGS = (
    "SELECT relname FROM pg_class WHERE relnamespace = 'stepping'::regnamespace AND relname ~ %s ORDER BY 1"
)
STEPPED = "SELECT to_regproc(concat('stepping.', stages[cardinality(stages)], '__step')) FROM stepping.maintained_view WHERE view_name = %s"

CHOSEN = [
    "aggregate_over_aggregate", "bag_of_a_join", "bag_with_duplicates", "common_table_expressions",
    "expressions_over_aggregates", "filtered_aggregates", "having", "join_over_aggregate", "self_joins",
]  # fmt: skip
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


@pytest.mark.parametrize("case", CHOSEN)
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


def test_the_command_line_applies_in_steps(conn, dsn, language):
    query = "SELECT k, count(*) AS n, sum(v) AS total FROM t GROUP BY k"
    conn.execute("CREATE TABLE t (k integer, v integer)")
    pg_stepping.create_view(conn, "v", query, language=language, mode="deferred")
    conn.execute("INSERT INTO t SELECT i % 10, i FROM generate_series(1, 20000) AS i")
    conn.commit()
    run = CliRunner().invoke(main, ["--dsn", dsn, "apply", "v", "--limit", "8000"])
    assert (run.exit_code, run.output.splitlines()[-1]) == (0, "view v: 20000 changes applied")
    assert "apply 40%" in run.output
    assert conn.execute("SELECT pg_relation_size('stepping.v__log_1')").fetchone() == (0,)
    applied = "SELECT times, changes, all_changes FROM stepping.applied"
    assert conn.execute(applied).fetchone() == (3, 4000, 20000)
    assert rows(conn, "v_as_applied") == rows(conn, f"({query})")
    with pytest.raises(errors.InvalidQuery, match="cannot apply 0 changes"):
        pg_stepping.apply(conn, "v", limit=0)
    conn.rollback()
    conn.execute("INSERT INTO t SELECT 1, i FROM generate_series(1, 3) AS i")
    assert conn.execute("SELECT stepping.apply('v', 2)").fetchone() == (2,)
    assert conn.execute("SELECT stepping.apply('v', max_rows => 2)").fetchone() == (1,)


def test_a_step_costs_what_it_takes(conn):
    """However long the log: its rows are found by their places, the state's by its index."""
    conn.execute("CREATE TABLE t (k integer, v integer)")
    pg_stepping.create_view(
        conn,
        "v",
        "SELECT k, count(*) AS n, sum(v) AS total FROM t GROUP BY k",
        language="plpgsql",
        mode="deferred",
    )
    conn.execute("INSERT INTO t SELECT i, i FROM generate_series(1, 20000) AS i")
    pg_stepping.apply(conn, "v")
    conn.execute("INSERT INTO t SELECT i, i FROM generate_series(1, 30000) AS i")
    conn.execute("ANALYZE")
    read = "SELECT seq_tup_read, idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = %s"
    before = [conn.execute(read, [t]).fetchone() for t in ("v__log_1", "v")]
    assert conn.execute("SELECT stepping.apply('v', 100)").fetchone() == (100,)
    after = [conn.execute(read, [t]).fetchone() for t in ("v__log_1", "v")]
    assert after[0][0] - before[0][0] < 300
    assert after[1][0] == before[1][0]
    assert after[1][1] - before[1][1] >= 100


BY_KEYS = {
    "windows": "SELECT k, v, rank() OVER (PARTITION BY k ORDER BY v) AS place FROM t",
    "arrays": "SELECT t.k % 7 AS k, u.name, array_agg(v ORDER BY v) AS vs FROM t JOIN u ON u.k = t.k GROUP BY t.k % 7, u.name",
    "first_of_each": "SELECT DISTINCT ON (k) k, v, id FROM t ORDER BY k, v, id",
    "extremes": "SELECT t.k, u.name, min(v) AS least, max(v) AS most FROM t LEFT JOIN u ON u.k = t.k GROUP BY t.k, u.name",
    "ranks_of_counts": "SELECT k, d, n, rank() OVER (PARTITION BY k ORDER BY n, d) AS place FROM (SELECT k, v % 5 AS d, count(*) AS n FROM t GROUP BY k, v % 5) AS q",
    "distinct_values": "SELECT k, count(DISTINCT v) AS n, sum(v) AS total FROM t GROUP BY k",
    "semijoins": "SELECT id, k FROM t WHERE EXISTS (SELECT FROM u WHERE u.k = t.k)",
    "as_a_whole": "SELECT array_agg(v ORDER BY v, id) AS vs FROM t",
}  # fmt: skip


@pytest.mark.parametrize("name", BY_KEYS)
def test_oracle_what_is_read_again_is_applied_key_by_key(conn, name):
    """All entries of some keys go into a part, and the others stay: readers see the same at each step."""
    conn.execute(
        """CREATE TABLE t (id serial PRIMARY KEY, k integer, v integer);
           CREATE TABLE u (k integer PRIMARY KEY, name text);
           INSERT INTO u SELECT i, 'u' || i % 4 FROM generate_series(1, 30) AS i;
           INSERT INTO t (k, v) SELECT nullif(i % 40, 39), i % 17 FROM generate_series(1, 400) AS i"""
    )
    pg_stepping.create_view(conn, "v", BY_KEYS[name], mode="deferred")
    conn.execute(
        """INSERT INTO t (k, v) SELECT nullif(i % 45, 44), i % 13 FROM generate_series(1, 300) AS i;
           UPDATE t SET v = v + 1 WHERE id % 7 = 3;
           UPDATE t SET k = 5 WHERE k = 6;
           DELETE FROM t WHERE k = 8 OR k IS NULL AND id % 2 = 0 OR v IN (0, 16, 17)"""
    )
    waiting = logged(conn, "v")
    shuffled(conn, "v")
    parts = drain(conn, "v", BY_KEYS[name], 40)
    assert sum(parts) == waiting > 300
    assert (len(parts) > 4) == (name != "as_a_whole")
    _, _, told = pg_stepping.explain(conn, "v").split("When public.t changes")[1].splitlines()[:3]
    assert told.startswith("  which is applied " + ("in parts" if len(parts) > 4 else "ALL at once: "))
    conn.execute(
        "DELETE FROM u WHERE k % 3 = 0; DELETE FROM t WHERE v = 15"
    )  # of two logs that wait: at once
    if name in ("arrays", "extremes"):
        assert len(drain(conn, "v", BY_KEYS[name], 5)) == 1
    assert pg_stepping.verify(conn, "v") == []


def test_a_count_below_zero_is_no_part(conn):
    conn.execute("CREATE TABLE t (k integer, v integer)")
    conn.execute("INSERT INTO t SELECT i % 3, i FROM generate_series(1, 30) AS i")
    pg_stepping.create_view(conn, "v", "SELECT k, max(v) AS most FROM t GROUP BY k", mode="deferred")
    conn.execute("UPDATE stepping.v SET n = 2")
    conn.execute("DELETE FROM t WHERE v > 10")
    with pytest.raises(errors.SteppingError, match="a count fell below zero"):
        pg_stepping.apply(conn, "v", limit=5)
