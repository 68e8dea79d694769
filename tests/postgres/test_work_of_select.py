"""The work of a statement stays flat for every construct of SELECT that has a delta or a key."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from test_work import FILL, SCHEMA, WORK

import pg_stepping

VIEWS = {
    "left join": "SELECT m.meter_id, r.value FROM meters m LEFT JOIN reads r ON r.meter_id = m.meter_id",
    "left join of groups": """
        SELECT m.user_id, count(r.value) AS n, sum(r.value) AS total
        FROM meters m LEFT JOIN reads r ON r.meter_id = m.meter_id GROUP BY m.user_id""",
    "left join to a key": "SELECT r.value, m.user_id FROM reads r LEFT JOIN meters m ON m.meter_id = r.meter_id",
    "full join": "SELECT m.meter_id, r.value FROM meters m FULL JOIN reads r ON r.meter_id = m.meter_id",
    "exists": "SELECT meter_id FROM meters m WHERE EXISTS (SELECT FROM reads r WHERE r.meter_id = m.meter_id)",
    "not exists": "SELECT meter_id FROM meters m WHERE NOT EXISTS (SELECT FROM reads r WHERE r.meter_id = m.meter_id)",
    "in": "SELECT value FROM reads WHERE meter_id IN (SELECT meter_id FROM meters WHERE user_id < 100)",
    "not in": "SELECT meter_id FROM meters WHERE meter_id NOT IN (SELECT user_id FROM users)",
    "or exists": """
        SELECT meter_id FROM meters m
        WHERE m.user_id = 3 OR EXISTS (SELECT FROM reads r WHERE r.meter_id = m.meter_id)""",
    "scalar subquery": """
        SELECT meter_id, (SELECT max(r.value) FROM reads r WHERE r.meter_id = m.meter_id) AS most,
            (SELECT count(*) FROM reads r WHERE r.meter_id = m.meter_id) AS n FROM meters m""",
    "min and max": "SELECT meter_id, min(value) AS least, max(at) AS latest FROM reads GROUP BY meter_id",
    "min of a join": """
        SELECT m.user_id, min(r.value) AS least FROM meters m JOIN reads r ON r.meter_id = m.meter_id GROUP BY 1""",
    "variance": "SELECT meter_id, stddev(value) AS s, corr(value, meter_id) AS c, bit_xor(meter_id) AS x FROM reads GROUP BY 1",
    "bit_or": "SELECT meter_id, bit_or(value::integer) AS o FROM reads GROUP BY meter_id",
    "count distinct": "SELECT meter_id, count(DISTINCT at) AS n, count(*) AS k FROM reads GROUP BY meter_id",
    "array_agg": "SELECT meter_id, array_agg(value ORDER BY at, value) AS a FROM reads GROUP BY meter_id",
    "percentile": "SELECT meter_id, percentile_cont(0.5) WITHIN GROUP (ORDER BY value) AS p FROM reads GROUP BY meter_id",
    "distinct": "SELECT DISTINCT meter_id, at::date AS day FROM reads",
    "distinct on": "SELECT DISTINCT ON (meter_id) meter_id, at, value FROM reads ORDER BY meter_id, at DESC, value",
    "union": "SELECT meter_id FROM reads UNION SELECT user_id FROM meters",
    "except": "SELECT meter_id FROM meters EXCEPT ALL SELECT meter_id FROM reads",
    "intersect": "SELECT meter_id FROM meters INTERSECT SELECT meter_id FROM reads",
    "grouping sets": "SELECT meter_id, at::date AS day, count(*) AS n FROM reads GROUP BY GROUPING SETS ((1), (2), (1, 2))",
    "window": "SELECT meter_id, at, value, sum(value) OVER (PARTITION BY meter_id ORDER BY at, value) AS s FROM reads",
    "window of a join": """
        SELECT m.meter_id, rank() OVER (PARTITION BY m.user_id ORDER BY m.meter_id) AS place
        FROM meters m JOIN users u ON u.user_id = m.user_id""",
    "top n of each": """
        SELECT meter_id, value FROM
            (SELECT meter_id, value, row_number() OVER (PARTITION BY meter_id ORDER BY value DESC) AS n FROM reads) q
        WHERE n <= 2""",
    "lateral": """
        SELECT m.meter_id, l.value FROM meters m
        LEFT JOIN LATERAL (SELECT r.value FROM reads r WHERE r.meter_id = m.meter_id ORDER BY r.value LIMIT 1) l ON true""",
    "function": "SELECT m.meter_id, g FROM meters m, generate_series(1, m.user_id % 3) g",
    "aggregate of groups": """
        SELECT n, count(*) AS meters, max(most) AS most
        FROM (SELECT meter_id, count(*) AS n, max(value) AS most FROM reads GROUP BY meter_id) q GROUP BY n""",
    "cte used twice": """
        WITH q AS (SELECT meter_id, count(*) AS n FROM reads GROUP BY meter_id)
        SELECT a.meter_id, b.n FROM q AS a JOIN q AS b ON b.meter_id = a.meter_id""",
    "recursion": """
        WITH RECURSIVE chain AS (
            SELECT meter_id, user_id, CASE WHEN meter_id % 4 <> 0 THEN meter_id + 1 END AS next FROM meters
            UNION SELECT c.meter_id, m.user_id, CASE WHEN m.meter_id % 4 <> 0 THEN m.meter_id + 1 END
            FROM chain AS c JOIN meters AS m ON m.meter_id = c.next
        ) SELECT meter_id, user_id, next FROM chain""",
    "recursion that counts": """
        WITH RECURSIVE chain AS (
            SELECT meter_id, user_id, CASE WHEN meter_id % 4 <> 0 THEN meter_id + 1 END AS next FROM meters
            UNION ALL SELECT c.meter_id, m.user_id, CASE WHEN m.meter_id % 4 <> 0 THEN m.meter_id + 1 END
            FROM chain AS c JOIN meters AS m ON m.meter_id = c.next
        ) SELECT meter_id, user_id, next FROM chain""",
}
# UNION ALL is computed anew where a statement takes rows and adds some
ONLY = {"recursion that counts": ("INSERT", "DELETE")}
ANALYZE = """
DO $$
DECLARE name text;
BEGIN
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'stepping' LOOP
        EXECUTE 'ANALYZE stepping.' || quote_ident(name);
    END LOOP;
END
$$"""
STATEMENTS = {
    "insert": "INSERT INTO reads VALUES (7, '2024-01-01', 0.5)",
    "update": "UPDATE reads SET value = value + 1 WHERE meter_id = 7",
    "delete": "DELETE FROM reads WHERE meter_id = 7",
    "delete one": "DELETE FROM reads WHERE meter_id = 8 AND at = '2024-01-01'",
    "move": "UPDATE meters SET user_id = 9 WHERE meter_id = 7",
    "new meter": "INSERT INTO meters VALUES (-1, 9)",
    "delete meter": "DELETE FROM meters WHERE meter_id = 11",
    "new user": "INSERT INTO users VALUES (-1, 'eve')",
}


def works(
    conn: psycopg.Connection[Any], query: str, language: str, statements: dict[str, str]
) -> dict[str, tuple[int, int]]:
    """Rows written and read by each statement with a view over the tables as they are; nothing stays."""
    found = {}
    pg_stepping.create_view(conn, "v", query, language=language)
    conn.execute(ANALYZE)
    for name, statement in statements.items():
        row = conn.execute(WORK).fetchone()
        assert row is not None
        with conn.transaction(force_rollback=True):
            conn.execute(statement)  # type: ignore[call-overload]
            after = conn.execute(WORK).fetchone()
            assert after is not None
            found[name] = (int(after[0] - row[0]), int(after[1] - row[1]))
    conn.rollback()
    return found


@pytest.fixture(scope="module")
def sizes(databases: Any) -> Any:
    """Sessions in two databases, the tables of the second ten times as large."""
    sessions, names = [], []
    for size in (2000, 20_000):
        name = databases.create(databases.template("plpython3u"))
        session = psycopg.connect(databases.dsn(name), autocommit=True)
        session.execute(SCHEMA + FILL.format(size=size))  # type: ignore[arg-type]
        session.execute("VACUUM ANALYZE")
        session.autocommit = False
        sessions.append(session)
        names.append(name)
    yield sessions
    for session, name in zip(sessions, names, strict=True):
        session.close()
        databases.drop(name)


@pytest.mark.parametrize("name", VIEWS)
def test_work_stays_flat_when_the_tables_grow_tenfold(sizes: Any, name: str) -> None:
    language = ("plpgsql", "plpython3u")[list(VIEWS).index(name) % 2]
    only = {n: s for n, s in STATEMENTS.items() if s.startswith(ONLY.get(name, ""))}
    small, large = (works(session, VIEWS[name], language, only) for session in sizes)
    assert any(written > 1 for written, _ in small.values())
    for statement, (written, read) in large.items():
        assert written <= small[statement][0] + 5, statement
        assert read <= small[statement][1] + 30, statement
