"""Changed rows that fail the query's conditions on their own table are left alone: no lock, no look-up, no write."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

import pg_stepping

SCHEMA = """
CREATE TABLE meters (meter_id integer PRIMARY KEY, kind text, note text);
CREATE TABLE reads (meter_id integer, at date, value integer, word text);
CREATE INDEX ON reads (meter_id);
INSERT INTO meters SELECT i, CASE WHEN i <= 10 THEN 'gas' ELSE 'water' END FROM generate_series(1, 20) AS i;
INSERT INTO reads SELECT i % 20 + 1, date '2024-01-01' + i, i, 'word' FROM generate_series(1, 100) AS i;
"""
JOIN = """
SELECT m.meter_id, count(*) AS n, sum(r.value) AS value
FROM meters AS m JOIN reads AS r ON r.meter_id = m.meter_id AND m.kind = 'gas'
WHERE r.value > 50 AND r.at < date '2024-01-01' + interval '1 year' AND r.word IN ('word', 'other') AND m.kind LIKE 'g%'
GROUP BY m.meter_id"""
TOP = f"SELECT * FROM ({JOIN}) AS q ORDER BY value DESC, meter_id LIMIT 3"
FAILING = {
    "insert": "INSERT INTO reads VALUES (7, '2024-01-01', 50, 'word')",
    "insert of NULL": "INSERT INTO reads VALUES (7, '2024-01-01', NULL, 'word')",
    "insert ten": "INSERT INTO reads SELECT i, '2025-01-01', 90, 'word' FROM generate_series(1, 10) AS i",
    "update": "UPDATE reads SET value = -value WHERE value <= 50",
    "delete": "DELETE FROM reads WHERE value <= 50",
    "insert of a dimension": "INSERT INTO meters VALUES (21, 'water')",
    "update of a dimension": "UPDATE meters SET kind = 'oil', meter_id = meter_id + 100 WHERE meter_id > 10",
    "delete of a dimension": "DELETE FROM meters WHERE meter_id > 10",
    "several": "WITH m AS (INSERT INTO meters VALUES (22, 'oil')) INSERT INTO reads VALUES (22, '2024-01-01', 1)",
}
PASSING = {
    "insert": "INSERT INTO reads VALUES (7, '2024-01-01', 51, 'word')",
    "insert two": "INSERT INTO reads SELECT 7, '2024-01-01', v, 'word' FROM generate_series(50, 51) AS v",
    "update into": "UPDATE reads SET value = value + 50 WHERE value IN (1, 2)",
    "update out of": "UPDATE reads SET value = -value WHERE value IN (1, 81)",
    "delete": "DELETE FROM reads WHERE value IN (1, 81)",
    "insert of a dimension": "INSERT INTO meters VALUES (21, 'gas')",
    "update of a dimension": "UPDATE meters SET kind = 'gas' WHERE meter_id IN (9, 11)",
    "out of a dimension": "UPDATE meters SET kind = 'oil' WHERE meter_id IN (9, 11)",
    "several": "WITH m AS (INSERT INTO meters VALUES (22, 'gas')) INSERT INTO reads VALUES (22, '2024-01-01', 1)",
}
LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
WORK = """
SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del) FILTER (WHERE schemaname = 'stepping'), 0),
    coalesce(sum(seq_tup_read + idx_tup_fetch) FILTER (WHERE schemaname = 'stepping' OR relname <> %s), 0)
FROM pg_stat_xact_user_tables"""


def done(conn: psycopg.Connection[Any], statement: str) -> tuple[int, int, int]:
    """The advisory locks that a statement takes, the rows that it writes to tables of ours, and those that it
    reads of all tables but its own; in a transaction that is rolled back."""
    before = conn.execute(WORK, [table_of(statement)]).fetchone()
    conn.execute(statement)  # type: ignore[call-overload]
    after = conn.execute(WORK, [table_of(statement)]).fetchone()
    locks = conn.execute(LOCKS).fetchone()
    conn.rollback()
    assert before is not None
    assert after is not None
    assert locks is not None
    return int(locks[0]), int(after[0] - before[0]), int(after[1] - before[1])


def table_of(statement: str) -> str:
    return "meters" if " meters" in statement and "WITH" not in statement else "reads"


@pytest.mark.parametrize("query", [JOIN, TOP], ids=["join", "top"])
def test_rows_that_fail_a_condition_on_their_table_take_no_lock_and_are_not_looked_up(
    conn: psycopg.Connection[Any], language: str, query: str
) -> None:
    conn.execute(SCHEMA)
    pg_stepping.create_view(conn, "v", query, language=language)
    conn.commit()
    for name, statement in FAILING.items():
        assert (name, *done(conn, statement)) == (name, 0, 0, 0)
    for name, statement in PASSING.items():
        locks, written, read = done(conn, statement)
        assert locks > 0, name
        assert (written > 0 and read > 0) or name in ("insert of a dimension", "several"), name


@pytest.mark.parametrize("query", [JOIN, TOP], ids=["join", "top"])
def test_oracle_rows_that_come_to_pass_and_cease_to(
    conn: psycopg.Connection[Any], language: str, query: str
) -> None:
    conn.execute(SCHEMA)
    pg_stepping.create_view(conn, "v", query, language=language)
    for statement in [*FAILING.values(), *PASSING.values()]:
        conn.execute("SAVEPOINT before")
        conn.execute(statement)  # type: ignore[call-overload]
        assert pg_stepping.verify(conn, "v") == [], statement
        conn.execute("ROLLBACK TO before")
    assert len(conn.execute("SELECT FROM v").fetchall()) >= 3


SEVERAL = {
    "self-join": """
        SELECT a.word, count(*) AS n FROM reads AS a JOIN reads AS b ON a.meter_id = b.meter_id
        WHERE a.value > 80 AND b.value < 20 GROUP BY a.word""",
    "self-join of which one is free": """
        SELECT a.word, count(*) AS n FROM reads AS a JOIN reads AS b ON a.meter_id = b.meter_id
        WHERE a.value > 80 GROUP BY a.word""",
    "left join": """
        SELECT m.meter_id, m.kind, r.value FROM meters AS m
        LEFT JOIN reads AS r ON r.meter_id = m.meter_id AND r.value > 80 WHERE m.kind = 'gas'""",
    "anti-join": """
        SELECT meter_id FROM meters AS m
        WHERE kind = 'gas' AND NOT EXISTS (SELECT FROM reads AS r WHERE r.meter_id = m.meter_id AND value > 95)""",
    "condition on the missing": """
        SELECT m.meter_id, r.value FROM meters AS m LEFT JOIN reads AS r ON r.meter_id = m.meter_id
        WHERE r.value IS NULL OR r.value > 80""",
    "full join": """
        SELECT m.meter_id, r.value FROM (SELECT * FROM meters WHERE kind = 'gas') AS m
        FULL JOIN (SELECT * FROM reads WHERE value > 80) AS r ON r.meter_id = m.meter_id""",
    "union": """
        SELECT word FROM reads WHERE value > 80
        UNION ALL SELECT kind FROM meters JOIN reads USING (meter_id) WHERE value < 20""",
    "window": """
        SELECT r.value, rank() OVER (PARTITION BY m.kind ORDER BY r.value) AS rank
        FROM meters AS m JOIN reads AS r USING (meter_id) WHERE r.value > 80""",
}
CHANGES = (
    "INSERT INTO reads VALUES (7, '2024-01-01', 81, 'a'), (7, '2024-01-01', 19, 'b'), (7, '2024-01-01', 50, 'c')",
    "INSERT INTO reads VALUES (8, '2024-01-01', 81, 'a')",
    "INSERT INTO reads VALUES (8, '2024-01-01', 15, 'a')",
    "INSERT INTO reads VALUES (8, '2024-01-01', 50, 'a')",
    "UPDATE reads SET value = 100 - value WHERE value BETWEEN 10 AND 90",
    "UPDATE reads SET value = NULL WHERE value > 85",
    "UPDATE meters SET kind = CASE WHEN kind = 'gas' THEN 'water' ELSE 'gas' END WHERE meter_id > 5",
    "UPDATE reads SET meter_id = meter_id + 1 WHERE value > 70",
    "DELETE FROM reads WHERE value < 15",
    "WITH m AS (INSERT INTO meters VALUES (31, 'gas')) INSERT INTO reads VALUES (31, '2024-01-01', 90, 'a')",
    "DELETE FROM meters WHERE meter_id < 9",
    "DELETE FROM reads WHERE value > 75",
)


@pytest.mark.parametrize("name", SEVERAL)
def test_oracle_conditions_on_tables_read_several_times_and_on_optional_ones(
    conn: psycopg.Connection[Any], language: str, name: str
) -> None:
    conn.execute(SCHEMA)
    pg_stepping.create_view(conn, "v", SEVERAL[name], language=language)
    assert conn.execute("SELECT FROM v").fetchall() != []
    for statement in CHANGES:
        conn.execute(statement)  # type: ignore[call-overload]
        assert pg_stepping.verify(conn, "v") == [], statement


def test_only_conditions_that_cannot_fail_are_read_early(conn: psycopg.Connection[Any]) -> None:
    conn.execute(SCHEMA + "UPDATE reads SET word = '1'")
    query = "SELECT m.kind, r.value FROM meters AS m JOIN reads AS r USING (meter_id) WHERE {}"

    def early(where: str) -> list[str]:
        pg_stepping.create_view(conn, "v", query.format(where))
        lines = pg_stepping.explain(conn, "v").splitlines()
        pg_stepping.drop_view(conn, "v")
        place = next(i for i, line in enumerate(lines) if line.startswith("When public.reads changes"))
        return [line for line in lines[place + 1 : place + 2] if "only in rows" in line]

    assert early("r.value > 50") == ["  only in rows with value > 50"]
    assert early("NOT (r.word <> 'x' OR r.value IS NULL)") != []
    assert early("r.word NOT LIKE 'x%' AND r.word ILIKE '%1'") != []
    assert early(r"r.word LIKE '1\%'") == []  # of such there are some that fail
    assert early("r.word LIKE r.meter_id::text") == []
    assert early("r.word COLLATE \"C\" LIKE 'x%'") == []
    assert early("r.word::integer > 5") == []
    assert early("100 / r.value > 5") == []
    assert early("r.value + 1 > 5") == []  # of 2147483647
    assert early("r.value > m.meter_id") == []
    assert early("r.value = 3 AND r.word::integer > 5") == ["  only in rows with value = 3"]
    assert early("r.value = 3 OR r.word::integer > 5") == []
    assert early("CASE WHEN r.value > 5 THEN true ELSE r.word::boolean END") == []


def test_a_condition_that_fails_is_not_met_by_rows_that_another_one_leaves_out(
    conn: psycopg.Connection[Any], language: str
) -> None:
    conn.execute(SCHEMA)
    query = "SELECT m.kind, r.word FROM meters AS m JOIN reads AS r USING (meter_id) WHERE r.value = 3 AND r.word::integer > 5"
    conn.execute("UPDATE reads SET word = '7' WHERE value = 3")
    pg_stepping.create_view(conn, "v", query, language=language)
    conn.execute("INSERT INTO reads VALUES (7, '2024-01-01', 4, 'seven')")
    conn.execute("INSERT INTO reads VALUES (7, '2024-01-01', 3, '8'), (7, '2024-01-01', 4, 'eight')")
    conn.execute("UPDATE reads SET word = 'nine' WHERE value = 5")
    assert pg_stepping.verify(conn, "v") == []
    assert conn.execute("SELECT word FROM v ORDER BY word").fetchall() == [("7",), ("8",)]


LOGGED = """SELECT (xpath('/row/n/text()', query_to_xml(format('SELECT count(*) AS n FROM stepping.%I', relname),
    true, true, '')))[1]::text::integer FROM pg_class WHERE relname ~ '^v__log_[0-9]+$'"""


def logged(conn: psycopg.Connection[Any]) -> int:
    return sum(n for (n,) in conn.execute(LOGGED).fetchall())


def test_rows_that_fail_a_condition_on_their_table_are_not_logged(
    conn: psycopg.Connection[Any], language: str
) -> None:
    conn.execute(SCHEMA)
    pg_stepping.create_view(conn, "v", TOP, language=language, mode="deferred")
    conn.commit()
    for statements, expected in ((FAILING, False), (PASSING, True)):
        for name, statement in statements.items():
            conn.execute(statement)  # type: ignore[call-overload]
            assert (name, logged(conn) > 0) == (name, expected)
            assert pg_stepping.verify(conn, "v") == [], name
            conn.execute("SELECT stepping.apply('v')")
            assert pg_stepping.verify(conn, "v") == [], name
            conn.rollback()
    conn.execute("TRUNCATE reads")
    assert logged(conn) == 50
    assert pg_stepping.verify(conn, "v") == []


@pytest.mark.parametrize("name", SEVERAL)
def test_oracle_of_logged_changes(conn: psycopg.Connection[Any], name: str) -> None:
    conn.execute(SCHEMA)
    pg_stepping.create_view(conn, "v", SEVERAL[name], mode="deferred")
    for place, statement in enumerate(CHANGES):
        conn.execute(statement)  # type: ignore[call-overload]
        assert pg_stepping.verify(conn, "v") == [], statement
        if place % 3 == 2:
            conn.execute("SELECT stepping.apply('v', 5)")
            assert pg_stepping.verify(conn, "v") == [], statement


def test_what_is_logged_does_not_depend_on_the_writer_s_settings(conn: psycopg.Connection[Any]) -> None:
    conn.execute(SCHEMA)
    query = """SELECT m.meter_id, r.at FROM meters AS m JOIN reads AS r USING (meter_id)
        WHERE r.at < date '2024-03-02' + interval '1 year' AND r.word <> 'x' AND r.value = ANY (ARRAY[1, 2])
            AND r.word LIKE 'w%'"""
    pg_stepping.create_view(conn, "v", query, mode="deferred")
    conn.execute(
        """CREATE SCHEMA evil;
           CREATE FUNCTION evil.no(date, timestamp) RETURNS boolean LANGUAGE sql AS 'SELECT 1 / 0 = 1';
           CREATE FUNCTION evil.no(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT 1 / 0 = 1';
           CREATE FUNCTION evil.no(integer, integer) RETURNS boolean LANGUAGE sql AS 'SELECT 1 / 0 = 1';
           CREATE FUNCTION evil.plus(date, interval) RETURNS timestamp LANGUAGE sql AS $$ SELECT timestamp '-infinity' $$;
           CREATE OPERATOR evil.< (LEFTARG = date, RIGHTARG = timestamp, FUNCTION = evil.no);
           CREATE OPERATOR evil.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.no);
           CREATE OPERATOR evil.~~ (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.no);
           CREATE OPERATOR evil.= (LEFTARG = integer, RIGHTARG = integer, FUNCTION = evil.no);
           CREATE OPERATOR evil.+ (LEFTARG = date, RIGHTARG = interval, FUNCTION = evil.plus);
           CREATE DOMAIN evil.date AS text; CREATE DOMAIN evil.text AS integer;
           SET LOCAL search_path = evil, public, pg_catalog;
           SET LOCAL DateStyle = 'SQL, DMY';
           SET LOCAL IntervalStyle = 'sql_standard';
           INSERT INTO public.reads VALUES (7, '2025-03-01', 1, 'word'), (7, '2025-03-02', 1, 'word');
           SET LOCAL search_path = public; RESET DateStyle; RESET IntervalStyle"""
    )
    assert logged(conn) == 1
    assert pg_stepping.verify(conn, "v") == []


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ("r.value > 50", "value OPERATOR(pg_catalog.>) 50"),
        ("r.seen > timestamptz '2024-01-01 00:00:00+00'", None),
        ("r.seen > date '2024-01-01'", None),
        ("r.value IS DISTINCT FROM 3", None),
        ("r.word NOT ILIKE 'x'", "word OPERATOR(pg_catalog.!~~*) 'x'::pg_catalog.text"),
        ("r.value IS DISTINCT FROM 3 AND r.word = 'x'", "word OPERATOR(pg_catalog.=) 'x'::pg_catalog.text"),
    ],
)
def test_only_conditions_that_no_setting_changes_are_read_by_who_logs(
    conn: psycopg.Connection[Any], condition: str, says: str | None
) -> None:
    conn.execute(SCHEMA + "ALTER TABLE reads ADD seen timestamptz")
    query = f"SELECT m.kind, r.value FROM meters AS m JOIN reads AS r USING (meter_id) WHERE {condition}"
    pg_stepping.create_view(conn, "v", query, mode="deferred")
    found = [line for line in pg_stepping.explain(conn, "v").splitlines() if "only in rows" in line]
    assert found == ([] if says is None else [f"  only in rows with {says}"])
