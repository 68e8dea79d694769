"""Random statements over all tables, several in a transaction, some rolled back: the views stay right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import pg_stepping

SCHEMA = """
CREATE TABLE users (id integer, name text);
CREATE TABLE meters (id integer, user_id integer);
CREATE TABLE reads (meter_id integer, day integer, value float8, level numeric);
"""
VIEWS = {
    "daily": """SELECT m.user_id, m.id AS meter, r.day, sum(r.value) AS value, count(*) AS n FROM users u
                JOIN meters m ON m.user_id = u.id JOIN reads r ON r.meter_id = m.id GROUP BY 1, 2, 3""",
    "levels": "SELECT day, sum(level) AS level, avg(value) AS value FROM reads GROUP BY day HAVING count(*) > 1",
    "everything": "SELECT count(*) AS n, sum(value) AS value, count(level) AS levels FROM reads",
    "bag": "SELECT m.user_id, r.value FROM meters m JOIN reads r ON m.id = r.meter_id WHERE r.day > 0",
    "pairs": "SELECT a.day, count(*) AS n FROM reads a JOIN reads b ON a.meter_id < b.meter_id GROUP BY a.day",
    "sizes": "SELECT n, count(*) AS days FROM (SELECT day, count(*) AS n FROM reads GROUP BY day) q GROUP BY n",
    "owners": "SELECT u.name, sum(d.value) AS value FROM daily d JOIN users u ON u.id = d.user_id GROUP BY u.name",
}

number = st.one_of(st.none(), st.integers(0, 3))
value = st.sampled_from(["NULL", "0", "0.1", "0.2", "-1.50", "2.5", "2.50", "'NaN'", "'Infinity'"])


def shown(n: int | None) -> str:
    return "NULL" if n is None else str(n)


def is_(column: str, n: int | None) -> str:
    return f"{column} IS NOT DISTINCT FROM {shown(n)}"


read_row = st.builds(lambda m, d, v, w: f"({shown(m)}, {shown(d)}, {v}, {w})", number, number, value, value)
pair_row = st.builds(lambda a, b: f"({shown(a)}, {shown(b)})", number, number)
inserts = st.one_of(
    st.builds(
        lambda r: f"INSERT INTO reads VALUES {', '.join(r)}", st.lists(read_row, min_size=1, max_size=4)
    ),
    st.builds(
        lambda r: f"INSERT INTO meters VALUES {', '.join(r)}", st.lists(pair_row, min_size=1, max_size=2)
    ),
    st.builds(
        lambda r: f"INSERT INTO users VALUES {', '.join(r)}", st.lists(pair_row, min_size=1, max_size=2)
    ),
)
updates = st.one_of(
    st.builds(lambda v, d: f"UPDATE reads SET value = {v} WHERE {is_('day', d)}", value, number),
    st.builds(lambda m, d: f"UPDATE reads SET meter_id = {shown(m)} WHERE {is_('day', d)}", number, number),
    st.builds(
        lambda d, m: f"UPDATE reads SET day = {shown(d)}, level = level WHERE {is_('meter_id', m)}",
        number,
        number,
    ),
    st.builds(lambda u, m: f"UPDATE meters SET user_id = {shown(u)} WHERE {is_('id', m)}", number, number),
    st.builds(lambda a, b: f"UPDATE users SET id = {shown(a)} WHERE {is_('id', b)}", number, number),
    st.just("UPDATE users SET name = name"),
)
deletes = st.one_of(
    st.builds(lambda d: f"DELETE FROM reads WHERE {is_('day', d)}", number),
    st.builds(lambda m: f"DELETE FROM meters WHERE {is_('id', m)}", number),
    st.builds(lambda u: f"DELETE FROM users WHERE {is_('id', u)}", number),
    st.sampled_from(["TRUNCATE reads", "TRUNCATE users, meters", "DELETE FROM reads WHERE value = 'NaN'"]),
)
single = st.one_of(inserts, inserts, updates, deletes)
writing = st.one_of(inserts, updates, deletes.filter(lambda s: not s.startswith("TRUNCATE")))
together = st.builds(lambda a, b, c: f"WITH a AS ({a}), b AS ({b}) {c}", writing, writing, writing)
statements = st.lists(st.tuples(st.one_of(single, single, together), st.booleans()), min_size=1, max_size=8)


@pytest.fixture(scope="module", params=["plpython3u", "plpgsql"])
def world(request: pytest.FixtureRequest, databases: Any) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(databases.dsn(databases.create(databases.template(request.param)))) as conn:
        conn.execute(SCHEMA)
        conn.execute("INSERT INTO users VALUES (1, 'a'), (2, 'b')")
        conn.execute("INSERT INTO meters VALUES (1, 1), (2, 2), (3, 2)")
        conn.execute(
            "INSERT INTO reads SELECT i % 4, i % 3, i * 0.1, i * 0.50 FROM generate_series(1, 12) AS i"
        )
        for name, query in VIEWS.items():
            pg_stepping.create_view(conn, name, query, language=request.param)
        conn.commit()
        yield conn


@settings(
    max_examples=40, deadline=None, derandomize=True, database=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(history=statements)
def test_oracle_random_statements(world: psycopg.Connection[Any], history: list[tuple[str, bool]]) -> None:
    try:
        assert world.execute("SELECT count(*) > 0 FROM daily").fetchone() == (True,)
        for statement, kept in history:
            world.execute("SAVEPOINT before")
            world.execute(statement)  # type: ignore[call-overload]
            check(world, statement)
            if not kept:
                world.execute("ROLLBACK TO before")
                check(world, f"rollback of {statement}")
        world.execute("SET CONSTRAINTS ALL IMMEDIATE")
    finally:
        world.rollback()


def check(world: psycopg.Connection[Any], what: str) -> None:
    for name in VIEWS:
        assert pg_stepping.verify(world, name) == [], f"{name} after {what}"
    left = (
        "SELECT (SELECT count(*) FROM stepping.waiting) + (SELECT count(*) FROM stepping.levels WHERE n < 1)"
    )
    assert world.execute(left).fetchone() == (0,)
