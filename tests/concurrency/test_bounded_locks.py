"""However many keys a statement touches, it takes no more locks than there are buckets."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from load import SCHEMA, VIEWS
from test_crash import advisory_locks

import pg_stepping
from pg_stepping.delta.locks import BUCKETS, MOST

MANY = 1_000_000
EDGES = 1

JOIN = """
SELECT m.kind, count(*) AS n, sum(r.value) AS total
FROM meters AS m JOIN reads AS r ON r.meter_id = m.id GROUP BY m.kind"""


@pytest.fixture
def joined(conn: psycopg.Connection[Any], language: str) -> psycopg.Connection[Any]:
    """A session in a database with a view that joins; not committed."""
    conn.execute(SCHEMA)  # type: ignore[arg-type]
    conn.execute("DELETE FROM reads; DELETE FROM meters")
    pg_stepping.create_view(conn, "totals", JOIN, language=language)
    conn.commit()
    found = conn.execute("SELECT setting, boot_val FROM pg_settings WHERE name = 'max_locks_per_transaction'")
    assert len(set(found.fetchone() or ())) == 1, "not the default"
    return conn


def test_oracle_a_million_keys(joined: psycopg.Connection[Any]) -> None:
    """Of facts in one statement, then of dimensions in one statement."""
    held = []
    for statement in (
        f"INSERT INTO reads (meter_id, value) SELECT i, 1 FROM generate_series(1, {MANY}) AS i",
        f"INSERT INTO meters SELECT i, 1, 'kind ' || i % 7 FROM generate_series(1, {MANY}) AS i",
    ):
        joined.execute(statement)  # type: ignore[arg-type]
        held.append(advisory_locks(joined))
    assert held[0] == BUCKETS * EDGES, "every bucket, once"
    assert held[1] <= 2 * BUCKETS * EDGES, "shared and exclusive"
    assert joined.execute("SELECT count(*), sum(n) FROM totals").fetchone() == (7, MANY)
    assert pg_stepping.verify(joined, "totals") == []
    joined.rollback()
    assert advisory_locks(joined) == 0


def test_a_row_takes_a_lock_and_an_unseen_change_takes_none(joined: psycopg.Connection[Any]) -> None:
    joined.execute("INSERT INTO users VALUES (77, 'eve')")
    assert advisory_locks(joined) == 0
    joined.execute("INSERT INTO reads (meter_id, value) VALUES (1, 1), (1, 2)")
    assert advisory_locks(joined) == EDGES
    joined.commit()
    joined.execute("UPDATE reads SET day = '2024-01-01'")
    assert advisory_locks(joined) == 0


@pytest.mark.parametrize("name", ["sums", "total", "sizes"])
def test_a_view_over_one_table_takes_no_lock(conn: psycopg.Connection[Any], language: str, name: str) -> None:
    conn.execute(SCHEMA)  # type: ignore[arg-type]
    pg_stepping.create_view(conn, name, VIEWS[name], language=language)
    conn.commit()
    for statement in (
        "INSERT INTO reads (meter_id, value) VALUES (1, 1)",
        "UPDATE reads SET value = value + 1, meter_id = meter_id % 2",
        "DELETE FROM reads",
        "TRUNCATE reads",
    ):
        conn.execute(statement)  # type: ignore[arg-type]
        assert advisory_locks(conn) == 0


def test_lock_numbers_begin_at_that_of_the_stage(joined: psycopg.Connection[Any]) -> None:
    """docs/concurrency.md says how a DBA computes it."""
    joined.execute("INSERT INTO reads (meter_id, value) VALUES (1, 1), (2, 1), (3, 1)")
    held = joined.execute(
        """SELECT (classid::bigint << 32) + objid::bigint - lock_number FROM pg_locks, (
               SELECT (left(right(encode(sha256('pg_stepping totals'), 'hex'), 64), 16)) AS digits) AS d,
               LATERAL (SELECT ((('x' || digits)::bit(64) >> 17) << 16)::bigint AS lock_number) AS l
           WHERE locktype = 'advisory' AND pid = pg_backend_pid()"""
    ).fetchall()
    assert held
    assert all(0 <= row[0] < EDGES * BUCKETS for row in held)


@pytest.mark.parametrize("language", ["plpgsql"])
def test_oracle_a_view_of_many_tables_has_fewer_buckets_an_edge(conn: psycopg.Connection[Any]) -> None:
    dimensions = range(17)
    columns = ", ".join(f"d{i} integer" for i in dimensions)
    conn.execute(f"CREATE TABLE f (id integer PRIMARY KEY, {columns})")  # type: ignore[call-overload]
    for i in dimensions:
        conn.execute(f"CREATE TABLE t{i} (id integer PRIMARY KEY, g integer)")  # type: ignore[call-overload]
        conn.execute(f"INSERT INTO t{i} SELECT n, n % 3 FROM generate_series(0, 199) AS n")  # type: ignore[call-overload]
    joins = " ".join(f"JOIN t{i} ON t{i}.id = f.d{i}" for i in dimensions)
    pg_stepping.create_view(conn, "v", f"SELECT t0.g, sum(t16.g) AS s FROM f {joins} GROUP BY t0.g")
    conn.commit()
    keys = ", ".join(f"(n + {i}) % 200" for i in dimensions)
    conn.execute(f"INSERT INTO f SELECT n, {keys} FROM generate_series(1, 300) AS n")  # type: ignore[call-overload]
    assert MOST // 2 < advisory_locks(conn) == len(dimensions) * BUCKETS // 2 <= MOST
    conn.execute("UPDATE t0 SET g = g + 1")
    assert advisory_locks(conn) <= MOST
    assert pg_stepping.verify(conn, "v") == []
    assert conn.execute("SELECT count(*) FROM v").fetchone() == (3,)
