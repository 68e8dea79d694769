"""An ordinary view stands for its query, wherever a maintained view reads it."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg import errors

import pg_stepping
from pg_stepping.errors import ViewDiffers

Connection = psycopg.Connection[Any]

SCHEMA = """
CREATE SCHEMA "my views";
CREATE TABLE meters (meter_id integer PRIMARY KEY, owner text);
CREATE TABLE reads (meter_id integer, day date, value numeric);
CREATE VIEW daily AS SELECT meter_id, day, sum(value) AS value, count(*) AS n FROM reads GROUP BY 1, 2;
CREATE VIEW owned (name, meter, used) WITH (security_barrier) AS
    SELECT m.owner, m.meter_id, d.value FROM meters AS m LEFT JOIN daily AS d USING (meter_id);
CREATE VIEW "my views"."Best" AS
    WITH best AS (SELECT meter, max(used) AS used FROM owned GROUP BY meter)
    SELECT o.* FROM owned AS o JOIN best USING (meter, used);
INSERT INTO meters VALUES (1, 'ann'), (2, 'bob'), (3, NULL);
INSERT INTO reads VALUES (1, '2024-01-01', 0.1), (1, '2024-01-01', 0.2), (1, '2024-01-02', 3), (2, '2024-01-01', 5);
"""
QUERIES = {
    "a view": "SELECT * FROM daily",
    "an alias with columns": "SELECT d.a, d.c FROM daily AS d (a, b, c) WHERE d.b > '2024-01-01'",
    "a view of views": 'SELECT name, used FROM "my views"."Best"',
    "a view twice": "SELECT a.name, b.used FROM owned AS a JOIN owned AS b ON b.meter = a.meter + 1",
    "a view in a subquery": "SELECT owner FROM meters WHERE meter_id NOT IN (SELECT meter_id FROM daily WHERE value > 4)",
    "a view in a CTE of its name": "WITH daily AS (SELECT * FROM daily WHERE n > 0) SELECT meter_id, max(value) AS most FROM daily GROUP BY 1",
    "a view in a recursion": """
        WITH RECURSIVE up AS (
            SELECT meter FROM owned WHERE meter = 1 UNION SELECT d.meter_id + 1 FROM up JOIN daily AS d ON d.meter_id = up.meter
        ) SELECT meter FROM up""",
}
STATEMENTS = [
    "INSERT INTO reads VALUES (2, '2024-01-02', 7), (3, '2024-01-05', 9), (9, '2024-01-05', 1)",
    "UPDATE reads SET value = value * 2 WHERE meter_id = 1",
    "UPDATE reads SET meter_id = 3 WHERE meter_id = 1 AND day = '2024-01-01'",
    "INSERT INTO meters VALUES (9, 'eve')",
    "DELETE FROM meters WHERE meter_id = 2",
    "DELETE FROM reads WHERE value > 6",
]


def differences(conn: Connection, query: str) -> list[Any]:
    return conn.execute(
        f"(TABLE v EXCEPT ALL ({query})) UNION ALL (({query}) EXCEPT ALL TABLE v)"  # type: ignore[call-overload]
    ).fetchall()


@pytest.mark.parametrize("name", QUERIES)
def test_oracle_views_over_views(conn: Connection, language: str, name: str) -> None:
    conn.execute(SCHEMA)
    pg_stepping.create_view(conn, "v", QUERIES[name], language=language)
    assert conn.execute("SELECT count(*) > 0 FROM v").fetchone() == (True,)
    for statement in STATEMENTS:
        conn.execute(statement)  # type: ignore[call-overload]
        assert differences(conn, QUERIES[name]) == []
        assert pg_stepping.verify(conn, "v") == []


REPLACED = "CREATE OR REPLACE VIEW daily AS SELECT meter_id, day, sum(-value) AS value, count(*) AS n FROM reads GROUP BY 1, 2"


@pytest.mark.parametrize(
    "statement", [REPLACED, "ALTER VIEW owned RENAME used TO spent", "ALTER TABLE owned RENAME used TO spent"]
)
def test_a_view_that_is_read_cannot_become_another(conn: Connection, language: str, statement: str) -> None:
    conn.execute(SCHEMA)
    pg_stepping.create_view(conn, "v", "SELECT name, used FROM owned", language=language)
    with (
        pytest.raises(errors.DependentObjectsStillExist, match=r"maintained view public\.v"),
        conn.transaction(),
    ):
        conn.execute(statement)  # type: ignore[call-overload]
    conn.execute(
        "CREATE OR REPLACE VIEW daily AS SELECT meter_id, day, sum(value) AS value, count(*) AS n FROM reads GROUP BY 1, 2"
    )
    pg_stepping.drop_view(conn, "v")
    conn.execute(statement)  # type: ignore[call-overload]


def test_without_event_triggers_verify_tells_of_it(conn: Connection, language: str) -> None:
    conn.execute(SCHEMA)
    conn.execute("DROP EVENT TRIGGER stepping_views_change")
    pg_stepping.create_view(conn, "v", "SELECT name, used FROM owned", language=language)
    conn.execute(REPLACED)
    with pytest.raises(ViewDiffers, match=r"public\.daily was changed"):
        pg_stepping.verify(conn, "v")
