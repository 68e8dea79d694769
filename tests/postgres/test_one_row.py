"""One inserted row that joins with at most one of each other table is added to its group without gathering."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg import errors

import pg_stepping

Connection = psycopg.Connection[Any]

SCHEMA = """
CREATE TABLE shops (id integer PRIMARY KEY, city text);
CREATE TABLE goods (id integer PRIMARY KEY, kind text);
CREATE TABLE sales (shop integer, good integer, amount numeric, weight real, took interval, mask integer, paid boolean);
INSERT INTO shops VALUES (1, 'Ulm'), (2, 'Bonn'), (3, NULL);
INSERT INTO goods VALUES (1, 'tea'), (2, NULL);
"""
QUERY = """
SELECT city, kind, count(*) AS n, count(amount) AS amounts, count(*) FILTER (WHERE amount > 1) AS large,
    sum(amount) AS total, sum(amount) FILTER (WHERE paid) AS paid, avg(amount) AS mean, sum(weight) AS weight,
    sum(took) AS took, min(amount) AS least, max(amount) FILTER (WHERE paid) AS most, bit_xor(mask) AS mask,
    bit_and(mask) AS both, bool_or(paid) AS some, stddev(amount) AS spread
FROM sales JOIN shops ON shops.id = shop JOIN goods ON goods.id = good WHERE shop < 9 GROUP BY city, kind
"""
ROWS = [
    "(1, 1, 1.50, 0.1, '1 mon', 6, true)",
    "(1, 1, NULL, NULL, NULL, NULL, NULL)",
    "(2, 2, -3, 'NaN', '-1 day 25:00', 3, false)",
    "(3, 1, 2.125, 1e10, '0', 0, NULL)",
    "(3, 2, 'NaN', 'Infinity', '1 year', -1, true)",
    "(1, 1, 1e20, 0.2, '00:00:00.000001', 5, false)",
    "(7, 1, 1, 1, '1 day', 1, true)",
    "(NULL, 1, 1, 1, '1 day', 1, true)",
    "(2, 1, 0, '-0', '0', 0, true)",
]


def test_oracle_each_aggregate_of_one_row(conn: Connection, language: str) -> None:
    conn.execute(SCHEMA)  # type: ignore[arg-type]
    pg_stepping.create_view(conn, "v", QUERY, language=language)
    for row in ROWS * 2:
        conn.execute(f"INSERT INTO sales VALUES {row}")  # type: ignore[call-overload]
        assert pg_stepping.verify(conn, "v") == [], row
    zero = "SELECT weight::text FROM v WHERE city = 'Bonn' AND kind = 'tea'"
    assert conn.execute(zero).fetchone() == ("0",)  # not -0, which verify takes for equal
    conn.execute(f"INSERT INTO sales VALUES {', '.join(ROWS)}")  # type: ignore[call-overload]
    conn.execute("DELETE FROM sales WHERE ctid IN (SELECT max(ctid) FROM sales GROUP BY shop, good)")
    assert pg_stepping.verify(conn, "v") == []
    assert conn.execute("SELECT count(*) FROM v").fetchone() == (5,)


def test_a_key_that_is_dropped_makes_a_statement_fail(conn: Connection, language: str) -> None:
    """It would count a row twice for its group; nothing is left of it."""
    conn.execute(SCHEMA)  # type: ignore[arg-type]
    pg_stepping.create_view(conn, "v", QUERY, language=language)
    conn.execute("INSERT INTO sales VALUES (1, 1, 1)")
    drop = "ALTER TABLE shops DROP CONSTRAINT shops_pkey"
    with pytest.raises(errors.DependentObjectsStillExist), conn.transaction():
        conn.execute(drop)
    conn.execute("ALTER EVENT TRIGGER stepping_watch DISABLE")  # as where no superuser could make it
    conn.execute(drop)
    conn.execute("INSERT INTO shops VALUES (1, 'Ulm')")
    assert pg_stepping.verify(conn, "v") == []
    with pytest.raises(errors.CardinalityViolation), conn.transaction():
        conn.execute("INSERT INTO sales VALUES (1, 1, 1)")
    conn.execute("INSERT INTO sales VALUES (1, 1, 1), (1, 1, 2)")
    assert pg_stepping.verify(conn, "v") == []
    assert conn.execute("SELECT n FROM v").fetchone() == (6,)
