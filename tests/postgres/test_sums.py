"""Sums never drift: what is inserted and deleted again leaves no trace, whatever the type and the value."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

import pg_stepping

# A type, values that go in and out, and values that stay.
TYPES = [
    (
        "float8",
        ["0.1", "1e300", "-1e-300", "0.30000000000000004", "NaN", "Infinity", "-Infinity"],
        ["0.2", "0.7"],
    ),
    ("real", ["0.1", "3e38", "NaN", "Infinity"], ["0.2", "16777216", "1"]),
    ("numeric", ["1.5", "2.50", "1e-20", "NaN", "Infinity", "-Infinity"], ["3.5", "7"]),
    ("numeric(10,2)", ["1.5", "99999999.99", "NaN"], ["3.50", "0.01"]),
    ("smallint", ["-32768", "32767"], ["5"]),
    ("integer", ["-2147483648", "2147483647"], ["5"]),
    ("bigint", ["-9223372036854775808", "9223372036854775807"], ["5"]),
    ("interval", ["1 mon", "-30 days", "01:02:03.456789"], ["2 days"]),
    ("money", ["12.34", "-0.01"], ["5"]),
]
AVERAGES = {"money"}


def shown(conn: psycopg.Connection[Any]) -> list[Any]:
    return conn.execute("SELECT v::text FROM (SELECT * FROM v ORDER BY k) AS v").fetchall()


@pytest.mark.parametrize(("type_", "passing", "staying"), TYPES, ids=[t[0] for t in TYPES])
def test_oracle_values_that_come_and_go_leave_no_trace(
    conn: psycopg.Connection[Any], language: str, type_: str, passing: list[str], staying: list[str]
) -> None:
    average = "" if type_ in AVERAGES else ", avg(x) AS a, avg(x) FILTER (WHERE k > 1) AS af"
    conn.execute(f"CREATE TABLE t (k integer, x {type_})")  # type: ignore[call-overload]
    for k, value in [(1, s) for s in staying] + [(2, staying[0]), (3, None)]:
        conn.execute("INSERT INTO t VALUES (%s, %s)", [k, value])
    query = f"SELECT k, count(x) AS c, sum(x) AS s{average} FROM t GROUP BY k"
    pg_stepping.create_view(conn, "v", query, language=language)
    before = shown(conn)
    assert len(before) == 3
    state = conn.execute("SELECT * FROM stepping.v ORDER BY k").fetchall()
    for value in passing:
        for k in (1, 4):
            conn.execute("INSERT INTO t VALUES (%s, %s), (%s, NULL)", [k, value, k])
            assert pg_stepping.verify(conn, "v") == []
        conn.execute("UPDATE t SET k = 5 WHERE k = 4")
        assert pg_stepping.verify(conn, "v") == []
        conn.execute(f"DELETE FROM t WHERE k = 5 OR (k = 1 AND (x = %s::{type_} OR x IS NULL))", [value])  # type: ignore[call-overload]
        assert pg_stepping.verify(conn, "v") == []
        assert shown(conn) == before
        assert conn.execute("SELECT * FROM stepping.v ORDER BY k").fetchall() == state
    conn.execute("DELETE FROM t")
    assert conn.execute("SELECT count(*) FROM stepping.v").fetchone() == (0,)


def test_oracle_the_digits_shown_are_those_of_the_rows_there(
    conn: psycopg.Connection[Any], language: str
) -> None:
    conn.execute("CREATE TABLE t (k integer, x numeric); INSERT INTO t VALUES (1, 2.5), (1, 1)")
    query = "SELECT k, sum(x)::text AS s, (sum(x) / 3)::text AS third, avg(x)::text AS a FROM t GROUP BY k"
    pg_stepping.create_view(conn, "v", query, language=language)
    for statement in (
        "INSERT INTO t VALUES (1, 1.000)",
        "UPDATE t SET x = 1.00 WHERE x = 1 AND scale(x) = 0",
        "DELETE FROM t WHERE scale(x) = 3",
        "UPDATE t SET x = 1 WHERE scale(x) = 2",
    ):
        conn.execute(statement)
        assert pg_stepping.verify(conn, "v") == []
        assert conn.execute("SELECT count(*) FROM v").fetchone() == (1,)


def test_a_sum_in_any_order_is_the_exact_one(conn: psycopg.Connection[Any], language: str) -> None:
    conn.execute("CREATE TABLE t (x float8)")
    pg_stepping.create_view(conn, "v", "SELECT sum(x) AS s FROM t", language=language)
    conn.execute("INSERT INTO t SELECT 0.1 FROM generate_series(1, 1000)")
    conn.execute("INSERT INTO t VALUES (1e16), (-1e16)")
    conn.execute("SET extra_float_digits = -5")  # the session's taste changes nothing
    conn.execute("INSERT INTO t VALUES (0.12345678901234567)")
    conn.execute("RESET extra_float_digits")
    assert conn.execute("SELECT s FROM v").fetchone() == (100.12345678901235,)


def test_the_types_are_those_of_the_query(conn: psycopg.Connection[Any], language: str) -> None:
    conn.execute(
        """CREATE DOMAIN kwh AS numeric(10, 3);
           CREATE TABLE t (k varchar(7) COLLATE "C", i2 smallint, i4 integer, i8 bigint, r real, f float8,
                           n numeric, m numeric(8, 2), d kwh, v interval, c money)"""
    )
    columns = "i2 i4 i8 r f n m d v".split()
    sums = ", ".join(f"sum({c}) AS sum_{c}, avg({c}) AS avg_{c}" for c in columns)
    query = f"SELECT k, {sums}, sum(c) AS sum_c, count(*) AS n, m FROM t GROUP BY k, m"
    pg_stepping.create_view(conn, "v", query, language=language)
    conn.execute(f"CREATE VIEW plain AS {query}")  # type: ignore[call-overload]
    types = """SELECT attname, format_type(atttypid, atttypmod), attcollation FROM pg_attribute
               WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum"""
    found = conn.execute(types, ["v"]).fetchall()
    assert len(found) == 22
    assert found == conn.execute(types, ["plain"]).fetchall()
