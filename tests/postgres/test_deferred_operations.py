"""Deferred mode lives through what immediate mode does: partitions, TRUNCATE, DDL, a dump, a killed server; and tells of itself."""

import time
from contextlib import suppress

import psycopg
import pytest
from psycopg import errors
from test_cases import assert_right, rows
from test_deferred import assert_applied, logged
from test_dump_and_restore import copy
from test_sources import METERS, QUERIES, TREES, WRITES, write, wrong

import pg_stepping
from conftest import Databases, unavailable
from pg_stepping import devserver
from pg_stepping.errors import InvalidQuery
from pg_stepping.logs import vacuum

READS = """
CREATE TABLE meters (id integer PRIMARY KEY, owner varchar(10));
CREATE TABLE reads (meter_id integer, value numeric(10, 2), spare text);
CREATE INDEX ON reads (meter_id);
INSERT INTO meters SELECT i, 'owner ' || i % 3 FROM generate_series(1, 30) AS i;
INSERT INTO reads SELECT 1 + i % 30, i FROM generate_series(1, 90) AS i;
"""
USAGE = "SELECT m.owner, sum(r.value) AS value, count(*) AS n FROM reads AS r JOIN meters AS m ON m.id = r.meter_id GROUP BY m.owner"


def deferred(conn, language, views):
    for name, query in views.items():
        pg_stepping.create_view(conn, name, query, language=language, mode="deferred")
        assert rows(conn, name), name


@pytest.fixture
def usage(conn, language):
    conn.execute(READS)
    deferred(conn, language, {"usage": USAGE})
    conn.commit()
    return conn


@pytest.mark.parametrize(("tree", "language"), [("lists", "plpgsql"), ("children", "plpython3u")])
def test_oracle_writes_to_any_table_of_a_family(conn, language, tree):
    conn.execute(TREES[tree] + METERS)
    deferred(conn, language, QUERIES)
    done = 0
    for number, statement in enumerate(WRITES):
        done += write(conn, statement)
        assert wrong(conn) == [], statement
        if number % 5 == 4:
            assert pg_stepping.apply(conn, "daily") > 0
    assert done > len(WRITES) - 4
    for name, query in QUERIES.items():
        assert_applied(conn, name, query)


@pytest.mark.parametrize("language", ["plpgsql"])
def test_oracle_partitions_come_and_go(conn, language):
    conn.execute(TREES["lists"] + METERS)
    conn.execute("DELETE FROM reads_rest; DROP TABLE reads_rest")
    deferred(conn, language, QUERIES)
    for statement in (
        "CREATE TABLE new (day date, value integer, id integer, meter integer, CHECK (meter = 7))",
        "INSERT INTO new SELECT '2024-01-01', 5, 100 + i, 7 FROM generate_series(1, 9) AS i",
        "INSERT INTO meters VALUES (7, 'cy')",
        "ALTER TABLE reads ATTACH PARTITION new FOR VALUES IN (7)",
        "UPDATE new SET value = 6 WHERE id = 101",
        "ALTER TABLE reads DETACH PARTITION new",
        "UPDATE new SET value = 70",
        "ALTER TABLE reads ATTACH PARTITION new FOR VALUES IN (7)",
        "TRUNCATE new",
        "ALTER TABLE reads DETACH PARTITION reads_1",
        "ALTER TABLE meters ADD note text",
    ):
        conn.execute(statement)
        assert wrong(conn) == [], statement
    for name, query in QUERIES.items():
        pg_stepping.apply(conn, name)
        assert_right(conn, name, query, "apply")


def test_truncate_waits_like_any_change_and_goes_with_its_transaction(usage):
    usage.execute("INSERT INTO reads VALUES (1, 5)")
    with suppress(ZeroDivisionError), usage.transaction():
        usage.execute("TRUNCATE reads")
        assert rows(usage, "usage") == []
        raise ZeroDivisionError
    assert assert_right(usage, "usage", USAGE, "rollback")
    usage.execute("TRUNCATE reads")
    assert logged(usage, "usage") == 1 + 91
    usage.execute("INSERT INTO reads VALUES (2, 7)")
    assert rows(usage, "usage_as_applied") != rows(usage, "usage") == ['("owner 2",7.00,1)']
    assert_applied(usage, "usage", USAGE)


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_truncate_under_an_old_snapshot_fails_only_where_it_may_not_see_all_rows(usage, level):
    usage.autocommit = True
    with psycopg.connect(usage.info.dsn) as beside, psycopg.connect(usage.info.dsn, autocommit=True) as other:
        beside.execute("CREATE TABLE unread ()")
        for end in ("ROLLBACK", "COMMIT"):  # what goes on, or was undone, has left no rows
            while True:  # whatever the server does by itself may be committed just then
                usage.execute(f"BEGIN ISOLATION LEVEL {level}; SELECT FROM usage")
                other.execute("BEGIN; INSERT INTO reads VALUES (2, 7); ROLLBACK")
                try:
                    usage.execute("TRUNCATE reads")
                except psycopg.errors.SerializationFailure:
                    usage.execute("ROLLBACK")
                else:
                    break
            assert rows(usage, "usage") == []
            usage.execute(end)
            assert bool(assert_right(usage, "usage", USAGE, end)) is (end == "ROLLBACK")
        usage.execute(f"BEGIN ISOLATION LEVEL {level}; SELECT FROM usage")
        other.execute("INSERT INTO reads VALUES (2, 7)")
        with pytest.raises(psycopg.errors.SerializationFailure, match=r"cannot TRUNCATE public\.reads"):
            usage.execute("TRUNCATE reads")
        usage.execute("ROLLBACK")
        assert_applied(usage, "usage", USAGE)
        usage.execute(f"BEGIN ISOLATION LEVEL {level}; LOCK TABLE reads; TRUNCATE reads; COMMIT")
        assert rows(usage, "usage") == []


@pytest.mark.parametrize(
    "statement",
    ["ALTER TABLE reads DROP COLUMN value", "ALTER TABLE reads ALTER value TYPE text", "DROP TABLE meters CASCADE",
     "ALTER TABLE meters RENAME TO counters", "ALTER TABLE reads RENAME value TO amount"],
)  # fmt: skip
@pytest.mark.parametrize("language", ["plpgsql"])
def test_ddl_that_would_make_it_wrong_is_refused(usage, statement):
    usage.execute("INSERT INTO reads VALUES (1, 5)")
    usage.commit()
    with pytest.raises((psycopg.errors.DependentObjectsStillExist, psycopg.errors.FeatureNotSupported)):
        usage.execute(statement)
    usage.rollback()
    usage.execute("ALTER TABLE reads ADD note text, DROP spare")
    usage.execute("UPDATE reads SET value = value + 1, note = 'x' WHERE meter_id < 4")
    assert usage.execute("SELECT in_step FROM stepping.views").fetchone() == (True,)
    assert_applied(usage, "usage", USAGE)


def test_a_restored_database_has_what_waits(server, database, language):
    before, after = database(language), database()
    with psycopg.connect(before) as conn:
        conn.execute(READS)
        deferred(
            conn,
            language,
            {"usage": USAGE, "most": "SELECT meter_id, max(value) AS value FROM reads GROUP BY meter_id"},
        )
        conn.execute("INSERT INTO reads VALUES (1, 500), (2, 7)")
        conn.execute("UPDATE meters SET owner = 'eve' WHERE id = 5")
        pg_stepping.apply(conn, "most")
        conn.execute("DELETE FROM reads WHERE value > 80")
        waiting = {name: logged(conn, name) for name in ("usage", "most")}
        expected, applied = rows(conn, "usage"), rows(conn, "usage_as_applied")
    copy(server, before, after)
    with psycopg.connect(after) as conn:
        assert {name: logged(conn, name) for name in waiting} == waiting
        assert (rows(conn, "usage"), rows(conn, "usage_as_applied")) == (expected, applied)
        assert wrong(conn) == []
        conn.execute("INSERT INTO reads VALUES (3, 9)")
        assert wrong(conn) == []
        assert_applied(conn, "usage", USAGE)
        assert pg_stepping.apply(conn, "most") == waiting["most"] + 1
        assert wrong(conn) == []


@pytest.mark.parametrize("language", ["plpgsql"])
def test_oracle_a_killed_server_has_lost_nothing(language):
    """Killed while rows wait, while a writer is under way, and right after an apply."""
    try:
        with devserver.start(
            variables=(), kinds=[devserver.cluster.start], settings={"fsync": "off"}
        ) as server:
            databases = Databases(server.dsn)
            dsn = databases.dsn(databases.create(databases.template(language)))
            with psycopg.connect(dsn) as conn:
                conn.execute(READS)
                deferred(conn, language, {"usage": USAGE})
            waiting = 0
            for round_ in range(3):
                with suppress(psycopg.OperationalError), psycopg.connect(dsn) as conn:
                    conn.execute("INSERT INTO reads SELECT i, %s FROM generate_series(1, 9) AS i", [round_])
                    conn.commit()
                    if round_ == 1:
                        assert pg_stepping.apply(conn, "usage") == waiting + 9
                        conn.commit()
                    waiting = 0 if round_ == 1 else waiting + 9
                    conn.execute("DELETE FROM reads WHERE meter_id = 3")  # is not committed
                    if round_ == 2:
                        pg_stepping.apply(conn, "usage")  # nor is this
                    server.cluster.kill()
                    while True:  # until it is dead
                        conn.execute("SELECT")
                server.cluster.start()
                with psycopg.connect(dsn) as conn:
                    assert logged(conn, "usage") == waiting
                    assert assert_right(conn, "usage", USAGE, "kill")
                    assert pg_stepping.verify(conn, "usage") == []
            with psycopg.connect(dsn) as conn:
                assert_applied(conn, "usage", USAGE)
    except devserver.NoServer as reason:
        unavailable(str(reason))


def test_verify_finds_what_is_wrong_in_the_state_and_in_the_log(usage):
    usage.execute("INSERT INTO reads VALUES (1, 5)")
    assert pg_stepping.verify(usage, "usage") == []
    for damage in (
        "UPDATE stepping.usage SET n = n + 1 WHERE owner = 'owner 2'",
        "INSERT INTO stepping.usage__log_2 SELECT * FROM stepping.usage__log_2",
        "DELETE FROM stepping.usage__log_2",
    ):
        with usage.transaction(force_rollback=True):
            assert usage.execute(damage).rowcount == 1
            assert pg_stepping.verify(usage, "usage"), damage


def test_the_statistics_tell_what_waits(usage):
    def told(columns):
        usage.commit()
        return usage.execute(f"SELECT {columns} FROM stepping.stat_views").fetchone()

    waits = "pending, pending_age > '0.2 s'::interval, applied_at IS NULL, apply_calls, apply_rows, apply_time > 0"
    assert told(waits) == (0, None, True, None, None, None)
    usage.execute("INSERT INTO reads VALUES (1, 5), (2, 6)")
    usage.commit()
    time.sleep(0.3)
    assert told(waits) == (2, True, True, None, None, None)
    usage.execute("INSERT INTO reads VALUES (3, 5)")
    usage.execute("SELECT stepping.apply('usage')")
    assert told(waits) == (0, None, False, 1, 3, True)
    assert usage.execute(
        "SELECT pending, changes, times, seconds > 0 FROM stepping.deferred_view"
    ).fetchone() == (0, 3, 1, True)
    pg_stepping.create_view(usage, "at_once", USAGE)
    usage.execute("DROP ROLE IF EXISTS stepping_watcher; CREATE ROLE stepping_watcher")
    usage.execute("GRANT USAGE ON SCHEMA stepping TO stepping_watcher")
    usage.execute("GRANT SELECT ON ALL TABLES IN SCHEMA stepping TO stepping_watcher")
    usage.execute("REVOKE SELECT ON stepping.usage__log_1, stepping.usage__log_2 FROM stepping_watcher")
    usage.execute("SET LOCAL ROLE stepping_watcher")
    both = usage.execute("SELECT view_name, pending FROM stepping.stat_views ORDER BY 1").fetchall()
    assert both == [("at_once", None), ("usage", None)]
    usage.rollback()


@pytest.mark.parametrize("language", ["plpgsql"])
def test_what_was_applied_leaves_its_place_to_what_comes(conn, language) -> None:
    conn.execute("CREATE TABLE reads (meter_id integer)")
    conn.commit()
    conn.autocommit = True
    query = "SELECT meter_id, count(*) AS n FROM reads GROUP BY meter_id"
    pg_stepping.create_view(conn, "odd (", query, language=language, mode="deferred")
    view = pg_stepping.installed(conn, "odd (")
    assert view is not None
    conn.execute("INSERT INTO reads SELECT i FROM generate_series(1, 20000) AS i")
    assert pg_stepping.apply(conn, "odd (") == 20000
    size = "SELECT sum(pg_relation_size(oid)) FROM pg_class WHERE relname ~ '__log_1$'"
    before = conn.execute(size).fetchone()
    vacuum(conn, view.stages[-1], shorter=True)
    assert before is not None and before[0] > 500_000
    assert conn.execute(size).fetchone() == (0,)


FAILING = {
    "sums": "SELECT meter_id, sum(10 / value) AS s FROM reads GROUP BY meter_id",
    "bag": "SELECT meter_id, 10 / value AS q FROM reads",
    "highest": "SELECT meter_id, max(10 / value) AS m FROM reads GROUP BY meter_id",
    "ranks": "SELECT meter_id, value, rank() OVER (PARTITION BY meter_id ORDER BY 10 / value) AS r FROM reads",
    "kept": "SELECT meter_id, value::positive AS v FROM reads",
    "joined": "SELECT r.value FROM reads AS r JOIN meters AS m ON m.id = r.meter_id WHERE 10 / r.value > 1",
}


def test_a_row_on_which_the_query_fails_is_mended_in_its_table(conn, language):
    """Readers and who applies get the error while it is there; in parts or at once, nobody meets it afterwards."""
    conn.execute(
        f"{READS}; DELETE FROM reads WHERE value = 0; CREATE DOMAIN positive AS numeric CHECK (VALUE > 0)"
    )
    deferred(conn, language, FAILING)
    shown = {name: rows(conn, f"{name}_as_applied") for name in FAILING}
    for number, mend in enumerate(
        ("UPDATE reads SET value = 2 WHERE value = 0", "DELETE FROM reads WHERE value = 0")
    ):
        conn.execute("INSERT INTO reads VALUES (3, 0)")
        conn.execute("INSERT INTO reads SELECT 1 + i % 30, i FROM generate_series(1, 200) AS i")
        for name in FAILING:
            for use in (
                f"TABLE {name}",
                f"SELECT stepping.apply('{name}')",
                f"SELECT stepping.apply('{name}', 50)",
            ):
                with pytest.raises((errors.DivisionByZero, errors.CheckViolation)), conn.transaction():
                    conn.execute(use)
            assert number or rows(conn, f"{name}_as_applied") == shown[name]
        conn.execute(mend)
        for name, query in FAILING.items():
            assert assert_right(conn, name, query, mend)
            while pg_stepping.apply(conn, name, limit=50):
                assert_right(conn, name, query, "apply")
            assert_applied(conn, name, query)


@pytest.mark.parametrize("language", ["plpgsql"])
def test_a_row_on_which_the_query_fails_passes_by_another_query(usage):
    deferred(
        usage, "plpgsql", {"shares": FAILING["bag"].replace("FROM reads", "FROM reads WHERE value < 95")}
    )
    usage.execute("INSERT INTO reads VALUES (3, 0)")
    with pytest.raises(InvalidQuery, match="division by zero"):
        pg_stepping.apply(usage, "shares")
    assert pg_stepping.apply(usage, "usage") == 1
    query = "SELECT meter_id, 10 / nullif(value, 0) AS q FROM reads"
    pg_stepping.change_view(usage, "shares", query)
    assert assert_right(usage, "shares", query, "change")
    usage.execute("INSERT INTO reads VALUES (4, 0)")
    assert pg_stepping.apply(usage, "shares") == 1
    assert assert_right(usage, "shares", query, "apply")
