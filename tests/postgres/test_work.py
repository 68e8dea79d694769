"""The work of a statement is in what it changes: rows read and written do not grow with the tables."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

import pg_stepping

SCHEMA = """
CREATE TABLE users (user_id integer PRIMARY KEY, name text);
CREATE TABLE meters (meter_id integer PRIMARY KEY, user_id integer, note text);
CREATE TABLE reads (meter_id integer, at timestamp, value double precision);
CREATE INDEX ON meters (user_id);
CREATE INDEX ON reads (meter_id);
"""
FILL = """
INSERT INTO users SELECT i, 'user ' || i FROM generate_series(1, {size} / 4) AS i;
INSERT INTO meters SELECT i, i % ({size} / 4) + 1 FROM generate_series(1, {size}) AS i;
INSERT INTO reads SELECT i % {size} + 1, timestamp '2024-01-01' + i / {size} * interval '12 hours', i
    FROM generate_series(0, 5 * {size} - 1) AS i;
"""
VIEWS = {
    "daily": """
        SELECT u.name, m.meter_id, r.at::date AS day, sum(r.value) AS value, avg(r.value) AS mean
        FROM users AS u JOIN meters AS m USING (user_id) JOIN reads AS r USING (meter_id) GROUP BY 1, 2, 3""",
    "owners": "SELECT u.name, m.meter_id FROM users AS u JOIN meters AS m USING (user_id)",
    "sizes": """
        SELECT user_id, max_n, count(*) AS meters
        FROM (SELECT user_id, meter_id, count(*) AS max_n
              FROM meters JOIN reads USING (meter_id) GROUP BY 1, 2) AS q GROUP BY 1, 2""",
}
STATEMENTS = {
    "insert": "INSERT INTO reads VALUES (7, '2024-01-01', 5)",
    "insert ten": "INSERT INTO reads SELECT i, '2024-02-01', 5 FROM generate_series(1, 10) AS i",
    "update": "UPDATE reads SET value = value + 1 WHERE meter_id = 7",
    "delete": "DELETE FROM reads WHERE meter_id = 7",
    "move": "UPDATE meters SET user_id = 9 WHERE meter_id = 7",
    "new meter": "INSERT INTO meters VALUES (-1, 9)",
    "rename": "UPDATE users SET name = 'eve' WHERE user_id = 8",
    "two tables": "WITH m AS (INSERT INTO meters VALUES (-2, 9)) INSERT INTO reads VALUES (-2, '2024-01-01', 1)",
}
WORK = """
SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0), coalesce(sum(seq_tup_read + idx_tup_fetch), 0)
FROM pg_stat_xact_user_tables WHERE schemaname IN ('public', 'stepping')"""


def work(conn: psycopg.Connection[Any], statement: str) -> tuple[int, int]:
    """Rows written to and rows read from all tables by a statement, in a transaction that is rolled back."""
    conn.execute(statement)  # type: ignore[call-overload]
    row = conn.execute(WORK).fetchone()
    conn.rollback()
    assert row is not None
    return int(row[0]), int(row[1])


@pytest.mark.parametrize("view", VIEWS)
def test_work_stays_flat_when_the_tables_grow_tenfold(connect: Any, language: str, view: str) -> None:
    conn = connect()
    conn.execute(SCHEMA)
    pg_stepping.create_view(conn, view, VIEWS[view], language=language)
    done: dict[int, dict[str, tuple[int, int]]] = {}
    for size in (2000, 20_000):
        conn.execute("TRUNCATE users, meters, reads")
        conn.execute(FILL.format(size=size))
        conn.commit()
        with connect(autocommit=True) as maintenance:
            maintenance.execute("VACUUM ANALYZE")
        assert pg_stepping.verify(conn, view) == []
        conn.commit()
        with connect() as fresh:  # a session whose plans were made for tables of this size
            done[size] = {name: work(fresh, statement) for name, statement in STATEMENTS.items()}
    small, large = done.values()
    assert {name for name, (written, _) in small.items() if written == 0} == set()
    assert {name: written for name, (written, _) in large.items()} == {
        name: written for name, (written, _) in small.items()
    }
    grown = {name: (small[name][1], large[name][1]) for name in small if large[name][1] > small[name][1] + 20}
    assert grown == {}


def test_an_update_of_what_the_view_does_not_use_writes_nothing_of_ours(connect: Any, language: str) -> None:
    conn = connect()
    conn.execute(SCHEMA + FILL.format(size=2000))
    for view, query in VIEWS.items():
        pg_stepping.create_view(conn, view, query, language=language)
    conn.commit()
    with connect() as fresh:
        written, _ = work(fresh, "UPDATE meters SET note = 'x' WHERE meter_id < 100")
    assert written == 99


def test_work_grows_with_the_changes_where_a_trigger_changes_one_row_again_and_again(
    conn: psycopg.Connection[Any], language: str
) -> None:
    """Set aside and joined with each other, n changes of a meter and n reads of it would make n * n rows."""
    conn.execute(
        """CREATE TABLE meters (id integer PRIMARY KEY, total integer);
           CREATE TABLE reads (meter_id integer, value integer);
           CREATE INDEX ON reads (meter_id);
           INSERT INTO meters VALUES (1, 0);
           CREATE FUNCTION add() RETURNS trigger LANGUAGE plpgsql AS $$
           BEGIN
               UPDATE meters SET total = total + NEW.value WHERE id = NEW.meter_id;
               RETURN NULL;
           END $$;
           CREATE TRIGGER add AFTER INSERT ON reads FOR EACH ROW EXECUTE FUNCTION add()"""
    )
    query = "SELECT m.total, sum(r.value) AS s FROM meters AS m JOIN reads AS r ON r.meter_id = m.id GROUP BY m.total"
    pg_stepping.create_view(conn, "v", query, language=language)
    conn.execute("SET LOCAL statement_timeout = '10s'")  # n * n rows take more than 30 s
    conn.execute("INSERT INTO reads SELECT 1, 1 FROM generate_series(1, 3000)")
    assert pg_stepping.verify(conn, "v") == []
    assert conn.execute("SELECT total, s FROM v").fetchall() == [(3000, 3000)]


def test_settling_reads_no_catalog_as_a_whole(connect: Any, language: str) -> None:
    """It was planned for as many stages as the pages of stepping.waiting, which others leave behind, could hold."""
    conn = connect()
    conn.execute(SCHEMA + FILL.format(size=200))
    pg_stepping.create_view(conn, "sizes", VIEWS["sizes"], language=language)
    conn.execute("INSERT INTO stepping.waiting SELECT 'x', 1 FROM generate_series(1, 5000)")
    conn.execute("DELETE FROM stepping.waiting")
    conn.commit()
    scans = """SELECT sum(seq_tup_read) FROM pg_stat_xact_sys_tables
        WHERE relname IN ('pg_attribute', 'pg_class', 'pg_proc')"""
    with connect() as fresh:
        before = fresh.execute(scans).fetchone()
        fresh.execute(STATEMENTS["insert"])
        fresh.execute(STATEMENTS["delete"])
        assert fresh.execute(scans).fetchone() == before
