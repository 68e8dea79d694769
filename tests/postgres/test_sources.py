"""Sources of every kind: tables with partitions or children, without keys, with columns of every type."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from psycopg import errors

import pg_stepping

Connection = psycopg.Connection[Any]

TREES = {
    "lists": """
        CREATE TABLE reads (id integer, meter integer, day date, value integer) PARTITION BY LIST (meter);
        CREATE TABLE reads_1 PARTITION OF reads FOR VALUES IN (1);
        CREATE TABLE reads_2 (value integer, gone integer, day date, meter integer, id integer);
        ALTER TABLE reads_2 DROP gone;
        ALTER TABLE reads ATTACH PARTITION reads_2 FOR VALUES IN (2);
        CREATE TABLE reads_rest PARTITION OF reads DEFAULT;""",
    "ranges of lists": """
        CREATE TABLE reads (id integer, meter integer, day date, value integer, PRIMARY KEY (id, meter, day))
            PARTITION BY RANGE (meter);
        CREATE TABLE reads_1 PARTITION OF reads FOR VALUES FROM (0) TO (2) PARTITION BY LIST (day);
        CREATE TABLE reads_1_1 PARTITION OF reads_1 FOR VALUES IN ('2024-01-01');
        CREATE TABLE reads_1_2 PARTITION OF reads_1 DEFAULT;
        CREATE TABLE reads_2 PARTITION OF reads FOR VALUES FROM (2) TO (9);""",
    "hashes": """
        CREATE TABLE reads (id integer, meter integer, day date, value integer) PARTITION BY HASH (meter);
        CREATE TABLE reads_1 PARTITION OF reads FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE reads_2 PARTITION OF reads FOR VALUES WITH (MODULUS 2, REMAINDER 1);""",
    "children": """
        CREATE TABLE reads (id integer PRIMARY KEY, meter integer, day date, value integer);
        CREATE TABLE reads_1 (note text) INHERITS (reads);
        CREATE TABLE reads_2 () INHERITS (reads);
        CREATE TABLE reads_3 (more text) INHERITS (reads_2);""",
}
METERS = """
CREATE TABLE meters (meter integer PRIMARY KEY, owner text);
INSERT INTO meters VALUES (1, 'ann'), (2, 'bob'), (3, 'ann');
INSERT INTO reads VALUES (1, 1, '2024-01-01', 5), (2, 1, '2024-01-02', 7), (3, 2, '2024-01-01', 9), (4, 3, '2024-01-01', 2);
"""
QUERIES = {
    "daily": "SELECT meter, day, sum(value) AS value, count(*) AS n FROM reads GROUP BY meter, day",
    "owned": "SELECT m.owner, r.id, r.value FROM meters AS m LEFT JOIN reads AS r ON r.meter = m.meter",
    "pairs": "SELECT a.id, b.id AS other FROM reads AS a JOIN reads AS b ON b.day = a.day AND b.id > a.id",
    "running": "SELECT id, sum(value) OVER (PARTITION BY day ORDER BY id, meter) AS total FROM reads",
    "known": "SELECT meter FROM meters WHERE meter NOT IN (SELECT meter FROM reads WHERE value > 6)",
    "whole": "SELECT count(*) AS n, max(value) AS most FROM reads",
}
WRITES = [
    "INSERT INTO reads VALUES (5, 1, '2024-01-02', 3), (6, 2, '2024-01-02', 4)",
    "INSERT INTO reads_1 (id, meter, day, value) SELECT 7, meter, '2024-01-01', 6 FROM reads_1 WHERE meter IN (1, 2, 3) LIMIT 1",
    "INSERT INTO reads_2 (id, meter, day, value) SELECT 8, meter, day, NULL FROM reads_2 WHERE id < 5 LIMIT 1",
    "UPDATE reads SET meter = 3 - meter, value = value + 1 WHERE meter IN (1, 2)",
    "UPDATE reads SET day = '2024-01-05' WHERE meter = 1 AND id < 4",
    "UPDATE reads_2 SET value = value * 2",
    "WITH moved AS (UPDATE reads SET meter = 1 WHERE meter = 2 RETURNING id) INSERT INTO reads_2 (id, meter, day, value) SELECT 20, 2, '2024-01-09', count(*) FROM moved",
    "DELETE FROM reads_1 WHERE value > 8",
    "DELETE FROM reads WHERE day = '2024-01-02'",
    "TRUNCATE reads_2",
    "INSERT INTO reads VALUES (9, 2, '2024-01-02', 1), (10, 1, '2024-01-02', 8)",
    "TRUNCATE reads_1, meters",
    "INSERT INTO meters VALUES (1, 'ann'), (2, NULL)",
    "INSERT INTO reads VALUES (11, 2, '2024-01-02', 1), (12, 1, '2024-01-02', 8)",
    "TRUNCATE reads",
    "INSERT INTO reads VALUES (13, 1, '2024-01-01', 1)",
]


def wrong(conn: Connection) -> list[str]:
    """The maintained views that are not what they should be."""
    return [v.name for v in pg_stepping.list_views(conn) if pg_stepping.verify(conn, v.name)]


def write(conn: Connection, statement: str) -> bool:
    """Whether the statement could be run at all: a hash says no to some partitions."""
    try:
        with conn.transaction():
            conn.execute(statement)  # type: ignore[call-overload]
    except errors.CheckViolation:
        return False
    return True


def create(conn: Connection, language: str, *names: str) -> None:
    for name in names or QUERIES:
        pg_stepping.create_view(conn, name, QUERIES[name], language=language)
        assert conn.execute(f"SELECT count(*) > 0 FROM {name}").fetchone() == (True,), name  # type: ignore[call-overload]


@pytest.mark.parametrize("tree", TREES)
def test_oracle_writes_to_any_table_of_a_family(conn: Connection, language: str, tree: str) -> None:
    conn.execute(TREES[tree] + METERS)  # type: ignore[call-overload]
    create(conn, language)
    done = 0
    for statement in WRITES:
        done += write(conn, statement)
        assert wrong(conn) == [], statement
    assert done > len(WRITES) - 4
    with conn.cursor().copy("COPY reads FROM STDIN") as copy:
        copy.write("14\t1\t2024-01-01\t5\n15\t2\t2024-01-02\t6\n")
    assert wrong(conn) == []


@pytest.mark.parametrize("tree", ["lists", "ranges of lists"])
def test_oracle_partitions_come_and_go(conn: Connection, language: str, tree: str) -> None:
    conn.execute(TREES[tree] + METERS)  # type: ignore[call-overload]
    if tree == "lists":
        conn.execute("DELETE FROM reads_rest; DROP TABLE reads_rest")
    create(conn, language)
    bounds = {"lists": "IN (7)", "ranges of lists": "FROM (9) TO (12)"}[tree]
    for statement in (
        "CREATE TABLE new (day date, value integer, id integer, meter integer, CHECK (meter = 7 OR meter = 9))",
        "ALTER TABLE new ALTER id SET NOT NULL, ALTER day SET NOT NULL, ALTER meter SET NOT NULL",
        f"INSERT INTO new SELECT '2024-01-01', 5, 100 + i, {7 if tree == 'lists' else 9} FROM generate_series(1, 9) AS i",
        "INSERT INTO meters VALUES (7, 'cy'), (9, 'cy')",
        f"ALTER TABLE reads ATTACH PARTITION new FOR VALUES {bounds}",
        "UPDATE new SET value = 6 WHERE id = 101",
        "INSERT INTO reads SELECT 200, meter, day, value FROM new LIMIT 1",
        "ALTER TABLE reads DETACH PARTITION new",
        "UPDATE new SET value = 70",
        f"ALTER TABLE reads ATTACH PARTITION new FOR VALUES {bounds}",
        "TRUNCATE new",
        "ALTER TABLE reads DETACH PARTITION reads_1",
        "ALTER TABLE reads DETACH PARTITION new",
        "DROP TABLE new",
        f"CREATE TABLE newer PARTITION OF reads FOR VALUES {bounds}",
        f"INSERT INTO newer SELECT 300, {7 if tree == 'lists' else 9}, '2024-01-01', 1",
        "ALTER TABLE meters ADD note text",
    ):
        conn.execute(statement)  # type: ignore[call-overload]
        assert wrong(conn) == [], statement
    left = conn.execute(
        "SELECT tgname FROM pg_trigger WHERE tgrelid = 'reads_1'::regclass AND tgname ~ 'stepping'"
    )
    assert left.fetchall() == []
    for name in QUERIES:
        pg_stepping.drop_view(conn, name)
    left = conn.execute(
        "SELECT tgname FROM pg_trigger WHERE tgname ~ 'stepping_' AND NOT tgrelid::regclass::text ~ 'stepping'"
    )
    assert left.fetchall() == []
    assert conn.execute("SELECT count(*) FROM pg_rewrite WHERE rulename ~ 'stepping'").fetchone() == (0,)
    conn.execute("DROP TABLE newer")


def test_oracle_children_come_and_go(conn: Connection, language: str) -> None:
    conn.execute(TREES["children"] + METERS)
    create(conn, language)
    for statement in (
        "INSERT INTO reads_3 VALUES (1, 1, '2024-01-01', 5, 'as in its parent'), (1, 1, '2024-01-01', 5, 'twice')",
        "UPDATE ONLY reads SET value = 0",
        "DELETE FROM ONLY reads WHERE id = 1",
        "TRUNCATE ONLY reads_2",
        "CREATE TABLE reads_4 () INHERITS (reads_3)",
        "INSERT INTO reads_4 VALUES (5, 2, '2024-01-01', 6, NULL)",
        "ALTER TABLE reads_3 NO INHERIT reads_2",
        "INSERT INTO reads_4 VALUES (6, 2, '2024-01-01', 6, NULL)",
        "ALTER TABLE reads_3 INHERIT reads",
        "INSERT INTO reads_4 VALUES (7, 2, '2024-01-01', 6, NULL)",
        "ALTER TABLE reads_4 NO INHERIT reads_3, INHERIT reads",
        "UPDATE reads SET value = value + 1",
        "ALTER TABLE reads_4 NO INHERIT reads",
        "DROP TABLE reads_4",
    ):
        conn.execute(statement)  # type: ignore[call-overload]
        assert wrong(conn) == [], statement


def test_oracle_what_is_rolled_back_leaves_the_family_as_it_was(conn: Connection, language: str) -> None:
    conn.execute(TREES["lists"] + METERS)
    create(conn, language)
    with conn.transaction(force_rollback=True):
        conn.execute("ALTER TABLE reads DETACH PARTITION reads_1")
        conn.execute("INSERT INTO reads VALUES (50, 2, '2024-01-01', 1)")
        assert wrong(conn) == []
    assert wrong(conn) == []
    conn.execute("INSERT INTO reads_1 VALUES (51, 1, '2024-01-01', 1)")
    assert wrong(conn) == []


REFUSED_DDL = [
    ("ALTER TABLE reads_1 RENAME TO r1; DROP TABLE r1", "2BP01", "cannot drop"),
    ("CREATE TABLE child () INHERITS (meters)", "0A000", "cannot become part of"),
    ("CREATE TABLE above (LIKE meters); ALTER TABLE meters INHERIT above", "0A000", "cannot become part of"),
    ("CREATE UNLOGGED TABLE new PARTITION OF reads FOR VALUES IN (7)", "0A000", "unlogged"),
    (
        "MERGE INTO reads AS r USING (VALUES (1, 2)) AS s (id, meter) ON r.id = s.id WHEN MATCHED THEN UPDATE SET meter = s.meter",
        "0A000",
        "MERGE",
    ),
    ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; TRUNCATE reads_1", "0A000", "REPEATABLE READ"),
    (
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; ALTER TABLE reads DETACH PARTITION reads_1",
        "0A000",
        "REPEATABLE READ",
    ),
]


@pytest.mark.parametrize(
    ("statement", "sqlstate", "words"), REFUSED_DDL, ids=[r[0][:60] for r in REFUSED_DDL]
)
def test_what_could_not_be_followed_is_refused(
    conn: Connection, language: str, statement: str, sqlstate: str, words: str
) -> None:
    conn.execute(TREES["lists"].replace("DEFAULT;", "FOR VALUES IN (3);") + METERS)  # type: ignore[call-overload]
    create(conn, language)
    conn.commit()
    with pytest.raises(psycopg.Error) as refusal:
        conn.execute(statement)  # type: ignore[call-overload]
    assert refusal.value.sqlstate == sqlstate
    assert words in str(refusal.value)
    conn.rollback()
    assert wrong(conn) == []
    conn.execute("DELETE FROM reads WHERE id = 1")
    assert wrong(conn) == []


def test_the_rule_that_keeps_merge_off_is_enabled_and_changes_no_delete(
    conn: Connection, language: str
) -> None:
    """From PostgreSQL 17 on, a rule that is disabled lets MERGE pass."""
    enabled = "SELECT ev_enabled FROM pg_rewrite WHERE rulename = 'stepping_no_merge'"
    conn.execute(TREES["lists"] + METERS)  # type: ignore[call-overload]
    create(conn, language)
    assert {*conn.execute(enabled)} == {("A",)}
    conn.execute("ALTER TABLE reads DISABLE RULE stepping_no_merge")
    pg_stepping.init(conn)
    assert {*conn.execute(enabled)} == {("A",)}
    conn.execute("WITH d AS (DELETE FROM reads WHERE id = 1 RETURNING id) SELECT id FROM d")
    conn.execute("WITH d AS (DELETE FROM reads WHERE id = 2 RETURNING *) INSERT INTO reads SELECT * FROM d")
    assert conn.execute("DELETE FROM reads WHERE id = 3 RETURNING id").fetchall() == [(3,)]
    conn.execute("INSERT INTO reads VALUES (4, 1, '2024-01-01', 1)")
    conn.execute("CREATE VIEW of_reads AS SELECT * FROM reads; DELETE FROM of_reads WHERE id = 4")
    conn.execute("PREPARE gone AS DELETE FROM reads WHERE id = $1; EXECUTE gone (5)")
    assert wrong(conn) == []


def test_detach_concurrently_is_refused(connect: Callable[..., Connection], language: str) -> None:
    conn = connect(autocommit=True)
    conn.execute(TREES["ranges of lists"] + METERS)
    create(conn, language)
    with pytest.raises(errors.FeatureNotSupported, match="CONCURRENTLY"):
        conn.execute("/* now */ -- or never\n ALTER TABLE reads DETACH PARTITION reads_2 CONCURRENTLY")
    assert conn.execute(
        "SELECT count(*) FROM pg_inherits WHERE inhparent = 'reads'::regclass"
    ).fetchone() == (2,)


def test_the_first_view_of_a_database_may_be_over_partitions(database: Callable[..., str]) -> None:
    """It comes with the catalog, whose own text has the words by which that is refused."""
    with psycopg.connect(database()) as conn:
        conn.execute(TREES["lists"] + METERS)  # type: ignore[call-overload]
        create(conn, "plpgsql")
        assert wrong(conn) == []


def test_an_owner_without_rights_on_the_view_can_attach_and_detach(
    connect: Callable[..., Connection], language: str
) -> None:
    conn = connect()
    conn.execute(TREES["lists"] + METERS)
    create(conn, language)
    role = "role_of_the_owner_of_partitions"
    conn.execute(
        f"CREATE ROLE {role}; GRANT CREATE ON SCHEMA public TO {role}; ALTER TABLE reads OWNER TO {role}"
    )  # type: ignore[call-overload]
    conn.execute(f"ALTER TABLE reads_1 OWNER TO {role}; SET LOCAL ROLE {role}")  # type: ignore[call-overload]
    for statement in (
        "ALTER TABLE reads DETACH PARTITION reads_1",
        "CREATE TABLE alone (n integer)",
        "DROP TABLE alone",
        "ALTER TABLE reads ATTACH PARTITION reads_1 FOR VALUES IN (1)",
        "TRUNCATE reads_1",
        "INSERT INTO reads_1 VALUES (1, 1, '2024-01-01', 5)",
    ):
        conn.execute(statement)  # type: ignore[call-overload]
    conn.execute("RESET ROLE")
    assert wrong(conn) == []
    assert conn.execute("SELECT count(*) FROM daily WHERE meter = 1").fetchone() == (1,)


@pytest.mark.parametrize("statement", ["DISABLE", "DROP"])
def test_without_event_triggers_a_view_of_a_family_is_refused(
    conn: Connection, language: str, statement: str
) -> None:
    conn.execute(TREES["lists"] + METERS)
    if statement == "DROP":
        conn.execute("DROP EVENT TRIGGER stepping_parts_change")
    else:
        conn.execute("ALTER EVENT TRIGGER stepping_parts_change DISABLE")
    with pytest.raises(pg_stepping.errors.SteppingError, match="event triggers"):
        pg_stepping.create_view(conn, "daily", QUERIES["daily"], language=language)
    pg_stepping.create_view(conn, "owners", "SELECT owner FROM meters", language=language)


COLUMNS = """
CREATE TYPE mood AS ENUM ('low', 'high');
CREATE DOMAIN amount AS numeric(8, 2) CHECK (VALUE >= 0);
CREATE TYPE pair AS (a integer, b text);
CREATE TABLE odd (
    gone integer,
    id integer GENERATED ALWAYS AS IDENTITY,
    k integer,
    twice integer GENERATED ALWAYS AS (k * 2) STORED,
    mood mood, amount amount, tags text[], span int4range, spans int4multirange, doc jsonb, raw json, pair pair,
    spot point, net inet, bits bit(3), code "char", words tsvector, took interval, at timestamptz, blob bytea, xid xid
);
ALTER TABLE odd DROP gone;
"""
ROW = """
INSERT INTO odd (k, mood, amount, tags, span, spans, doc, raw, pair, spot, net, bits, code, words, took, at, blob, xid)
SELECT i % 3, (ARRAY['low', 'high', NULL])[i % 3 + 1]::mood, i * 1.5, ARRAY['a', NULL, i::text], int4range(1, i), '{[1,2]}',
    '{"a": 1.0, "b": [null]}', '{"x": 1}', ROW(i % 2, NULL)::pair, '(1,2)', '10.0.0.1/8', B'101', 'c', 'fat cat', '1 mon', '2024-01-01', '\\x00', '7'
FROM generate_series(1, 6) AS i"""
KINDS = {
    "rows": "SELECT * FROM odd",
    "duplicates": "SELECT k, twice, mood, tags, doc, pair, raw, spot FROM odd",
    "groups": "SELECT mood, pair, span, doc, tags, count(*) AS n, sum(amount) AS s, min(took) AS t FROM odd GROUP BY 1, 2, 3, 4, 5",
    "distinct": "SELECT DISTINCT net, bits, code, words, at, blob, spans FROM odd",
    "joined": "SELECT a.id, b.id AS other FROM odd AS a JOIN odd AS b ON b.mood = a.mood AND b.twice = a.k AND b.doc = a.doc",
    "of xids": "SELECT xid, k, count(*) AS n FROM odd GROUP BY xid, k",
    "bits by xid": "SELECT xid, bit_or(id) AS ids FROM odd GROUP BY xid",
    "distinct xids": "SELECT DISTINCT xid FROM odd",
    "xids": "SELECT a.id, b.k FROM odd AS a LEFT JOIN odd AS b ON b.xid = a.xid AND b.id = a.id + 1",
}


def test_oracle_columns_of_every_kind(conn: Connection, language: str) -> None:
    conn.execute(COLUMNS)
    conn.execute(ROW)  # type: ignore[call-overload]
    for name, query in KINDS.items():
        pg_stepping.create_view(conn, name, query, language=language)
        assert conn.execute(f'SELECT count(*) > 0 FROM "{name}"').fetchone() == (True,), name  # type: ignore[call-overload]
    for statement in (
        ROW,
        "UPDATE odd SET k = k + 1, mood = 'low' WHERE id % 2 = 0",
        "UPDATE odd SET doc = '{\"a\": 1.00, \"b\": [null]}', tags = tags || 'z'::text, pair.b = 'x' WHERE id < 5",
        "UPDATE odd SET spot = point(2, 1), xid = '8', raw = '[]', spans = NULL WHERE id = 3",
        "DELETE FROM odd WHERE ctid = ANY (ARRAY(SELECT ctid FROM odd ORDER BY id LIMIT 3))",
        "DELETE FROM odd WHERE k = 1",
        "TRUNCATE odd",
        ROW,
    ):
        conn.execute(statement)  # type: ignore[call-overload]
        assert wrong(conn) == [], statement


@pytest.mark.parametrize("name", ["owned", "pairs", "running", "known"])
def test_oracle_a_partition_joins_and_leaves_beside_writers(
    connect: Callable[..., Connection], language: str, name: str
) -> None:
    """Who has read or written the family makes ATTACH and DETACH wait, and who comes later waits for these."""
    conn = connect(autocommit=True)
    conn.execute(TREES["lists"].replace("DEFAULT;", "FOR VALUES IN (3);") + METERS)  # type: ignore[call-overload]
    conn.execute("CREATE TABLE new (LIKE reads, CHECK (meter = 7)); INSERT INTO meters VALUES (8, 'cy')")
    conn.execute("INSERT INTO new SELECT 100 + i, 7, '2024-01-01', i FROM generate_series(1, 5) AS i")
    create(conn, language, name)
    attach = "ALTER TABLE reads ATTACH PARTITION new FOR VALUES IN (7)"
    detach = "ALTER TABLE reads DETACH PARTITION new"
    writes = [
        "INSERT INTO meters VALUES (7, 'di')",
        "INSERT INTO reads_1 VALUES (30, 1, '2024-01-01', 4)",
        "UPDATE reads SET value = 8 WHERE meter = 2",
        "DELETE FROM meters WHERE meter = 7",
    ]
    ddl, writer = connect(), connect()
    for i, change in enumerate((attach, detach, attach, detach)):
        writer.execute(writes[i])  # type: ignore[call-overload]
        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(ddl.execute, change)  # type: ignore[call-overload]
            with suppress(TimeoutError):
                waiting.result(timeout=0.3)
            writer.commit()
            waiting.result(timeout=10)
        with ThreadPoolExecutor(1) as thread:
            late = thread.submit(
                writer.execute, f"UPDATE reads_2 SET value = {i}; UPDATE meters SET owner = 'x{i}'"
            )  # type: ignore[call-overload]
            with suppress(TimeoutError):
                late.result(timeout=0.3)
            ddl.commit()
            late.result(timeout=10)
            writer.commit()
        assert wrong(conn) == [], change
