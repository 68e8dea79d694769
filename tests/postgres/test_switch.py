"""A view goes from immediate to deferred mode and back, and its state stays as it is."""

import threading

import psycopg
import pytest
from click.testing import CliRunner
from psycopg import IsolationLevel
from test_cases import CASES, assert_right, rows, steps_of, views_of
from test_deferred_mode import QUERY, SCHEMA

import pg_stepping
from pg_stepping import errors
from pg_stepping.cli import main

CHOSEN = [
    ("aggregate_over_aggregate", "plpgsql"),
    ("bag_with_duplicates", "plpython3u"),
    ("joins_of_every_syntax", "plpython3u"),
    ("one_row_over_an_empty_table", "plpgsql"),
]
OBJECTS = """
SELECT 'table', relname, relkind::text FROM pg_class WHERE relname ~ 'daily'
UNION ALL SELECT 'function', proname, pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'stepping'::regnamespace AND proname ~ 'daily'
UNION ALL SELECT 'trigger', tgrelid::regclass::text, pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname ~ '^stepping'
UNION ALL SELECT 'view', relname, pg_get_viewdef(oid) FROM pg_class WHERE relname ~ 'daily' AND relkind = 'v'
UNION ALL SELECT 'catalog', view_name, mode FROM stepping.maintained_view
ORDER BY 1, 2, 3"""


def objects(conn):
    return conn.execute(OBJECTS).fetchall()


@pytest.fixture
def daily(conn, language):
    conn.execute(SCHEMA)
    pg_stepping.create_view(conn, "daily", QUERY, language=language, indexes=[["date"]])
    conn.commit()
    return conn


@pytest.mark.parametrize(("case", "language"), CHOSEN)
def test_oracle_steps_in_one_mode_and_the_other(database, case, language):
    """A part of the steps in each mode, in turn."""
    with psycopg.connect(database(language)) as conn:
        tables, _, data = (CASES / case / "schema.sql").read_text().partition("-- data\n")
        conn.execute(tables)
        conn.execute(data)
        for name, query in views_of(case):
            pg_stepping.create_view(conn, name, query, language=language)
        steps, seen = steps_of(case), set()
        third = 1 + len(steps) // 3
        for number, (after, sql) in enumerate(steps):
            if number % third == 0:
                pg_stepping.switch_view(conn, name, mode=("deferred", "immediate")[number // third % 2])
                assert_right(conn, name, query, f"switched before {after}")
            conn.execute(sql)
            seen.add(str(assert_right(conn, name, query, after)))
        assert pg_stepping.verify(conn, name) == []
        assert len(seen) > 1


@pytest.mark.parametrize("language", ["plpgsql"])
def test_oracle_stages_that_read_different_tables(conn, language):
    conn.execute(
        """CREATE TABLE t (k integer, v integer);
           CREATE TABLE u (k integer PRIMARY KEY, name text);
           INSERT INTO t SELECT i % 5, i FROM generate_series(1, 40) AS i;
           INSERT INTO u SELECT i, 'u' || i % 2 FROM generate_series(0, 3) AS i"""
    )
    query = (
        "SELECT q.k, u.name, q.n FROM (SELECT k, count(*) AS n FROM t GROUP BY k) AS q JOIN u ON u.k = q.k"
    )
    pg_stepping.create_view(conn, "v", query, language=language, mode="deferred")
    for mode in ("immediate", "deferred", "immediate"):
        conn.execute("INSERT INTO t VALUES (1, 1), (4, 2); UPDATE u SET name = name || 'x' WHERE k = 2")
        pg_stepping.switch_view(conn, "v", mode=mode)
        assert assert_right(conn, "v", query, mode)
    conn.execute("INSERT INTO t VALUES (1, 1); INSERT INTO u VALUES (4, 'u')")
    assert_right(conn, "v", query, "at last")


def test_it_leaves_what_create_view_makes(daily, language):
    first = objects(daily)
    pg_stepping.switch_view(daily, "daily", mode="deferred")
    deferred = objects(daily)
    pg_stepping.switch_view(daily, "daily", mode="deferred")  # changes nothing
    assert objects(daily) == deferred != first
    daily.execute("INSERT INTO reads VALUES (1, '2030-01-02', 100)")
    pg_stepping.switch_view(daily, "daily", mode="immediate")
    assert [o[:2] for o in objects(daily)] == [o[:2] for o in first]
    assert_right(daily, "daily", QUERY, "the way back")
    daily.rollback()
    assert objects(daily) == first
    pg_stepping.drop_view(daily, "daily")
    pg_stepping.create_view(daily, "daily", QUERY, language=language, indexes=[["date"]], mode="deferred")
    assert [o[:2] for o in objects(daily)] == [o[:2] for o in deferred]


def test_the_state_grants_and_readers_stay(daily, dsn):
    daily.execute(
        "CREATE VIEW reader AS SELECT sum(value) FROM daily; GRANT SELECT ON daily TO PUBLIC;"
        "COMMENT ON VIEW daily IS 'mine'; COMMENT ON COLUMN daily.date IS 'day';"
        "ALTER VIEW daily SET (security_barrier = true)"
    )
    daily.commit()
    said = """SELECT relacl::text, reloptions, obj_description(oid), col_description(oid, 3)
              FROM pg_class WHERE oid = 'daily'::regclass"""
    state = daily.execute("SELECT ctid, xmin::text FROM stepping.daily ORDER BY 1").fetchall()
    before = daily.execute(said).fetchall()
    daily.commit()
    run = CliRunner().invoke
    assert run(main, ["--dsn", dsn, "switch", "daily", "--mode", "deferred"]).exit_code == 0
    daily.execute("INSERT INTO reads VALUES (1, '2030-01-02', 100)")
    assert_right(daily, "daily", QUERY, "a write")
    assert len(rows(daily, "daily_as_applied")) == len(rows(daily, "daily")) - 1
    assert daily.execute(said).fetchall() == before
    daily.commit()
    result = run(main, ["--dsn", dsn, "switch", "daily", "--mode", "immediate"])
    assert (result.exit_code, result.output) == (0, "view daily is in immediate mode\n")
    after = daily.execute("SELECT ctid, xmin::text FROM stepping.daily ORDER BY 1").fetchall()
    assert len(after) == len(state) + 1
    assert set(state) < set(after)
    daily.execute("DELETE FROM reads WHERE meter_id = 1")
    assert_right(daily, "daily", QUERY, "a write")
    assert daily.execute(said).fetchall() == before
    assert (
        daily.execute("SELECT * FROM reader").fetchone()
        == daily.execute("SELECT sum(value) FROM reads").fetchone()
    )


def test_who_stands_in_the_way_is_named(daily, language):
    pg_stepping.create_view(daily, "total", "SELECT sum(value) AS value FROM daily", language=language)
    with pytest.raises(errors.ViewInUse, match=r"stepping\.total"):
        pg_stepping.switch_view(daily, "daily", mode="deferred")
    pg_stepping.switch_view(daily, "total", mode="deferred")
    daily.execute("INSERT INTO reads VALUES (1, '2030-01-02', 100)")
    assert pg_stepping.verify(daily, "total") == []
    pg_stepping.drop_view(daily, "total")
    pg_stepping.switch_view(daily, "daily", mode="deferred")
    daily.execute("CREATE VIEW stale AS SELECT * FROM daily_as_applied")
    before = objects(daily)
    with pytest.raises(errors.ViewInUse, match=r"public\.stale reads public\.daily_as_applied"):
        pg_stepping.switch_view(daily, "daily", mode="immediate")
    assert objects(daily) == before
    with pytest.raises(errors.SteppingError, match="no such mode"):
        pg_stepping.switch_view(daily, "daily", mode="lazy")
    with pytest.raises(errors.ViewNotFound):
        pg_stepping.switch_view(daily, "nothing", mode="deferred")
    daily.rollback()
    daily.execute("CREATE TABLE daily_as_applied ()")
    pg_stepping.create_view(daily, "striped", "SELECT user_id, count(*) FROM meters GROUP BY 1", stripes=4)
    with pytest.raises(errors.SteppingError, match="in stripes cannot be brought to deferred mode"):
        pg_stepping.switch_view(daily, "striped", mode="deferred")
    with pytest.raises(errors.NameTaken, match="daily_as_applied"):
        pg_stepping.switch_view(daily, "daily", mode="deferred")


def test_oracle_it_switches_while_writers_run(daily, connect):
    """Both ways, while others write and read at all levels; every read is right."""
    done = threading.Event()
    failed, written, read = [], [0, 0], 0

    def write(number):
        try:
            with connect(autocommit=True) as session:
                while not done.is_set():
                    for statement in (
                        "INSERT INTO reads VALUES (%s, '2031-01-01', 1), (%s, '2031-01-02', 2)",
                        "UPDATE meters SET user_id = 1 + (user_id + 1) %% 20 WHERE meter_id IN (%s, %s)",
                        "DELETE FROM reads WHERE read_at > '2030-01-01' AND meter_id IN (%s, %s)",
                    ):
                        key = number * 100 + written[number] % 99
                        session.execute(statement, [key, key + 1])
                    written[number] += 1
                    done.wait(0.01)
        except psycopg.Error as error:
            failed.append(error)

    writers = [threading.Thread(target=write, args=[i]) for i in range(2)]
    for writer in writers:
        writer.start()
    switcher, reader = connect(autocommit=True), connect()
    reader.isolation_level = IsolationLevel.REPEATABLE_READ
    try:
        for number in range(2):
            turn = threading.Thread(
                target=pg_stepping.switch_view,
                args=[switcher, "daily"],
                kwargs={"mode": ("deferred", "immediate")[number % 2]},
            )
            turn.start()
            while turn.is_alive():
                reader.execute("SELECT")  # its snapshot; the view is read later
                turn.join(0.3)
                assert_right(reader, "daily", QUERY, f"switch {number}")
                reader.commit()
                read += 1
            mode = daily.execute("SELECT mode FROM stepping.maintained_view").fetchone()
            assert mode == (("deferred", "immediate")[number % 2],)
            daily.commit()
    finally:
        done.set()
        for writer in writers:
            writer.join()
    assert failed == []
    assert min(written) > 0
    assert read >= 2
    assert pg_stepping.verify(daily, "daily") == []
    assert_right(daily, "daily", QUERY, "the end")


def test_a_snapshot_from_before_reads_what_waited_then(daily, connect):
    """The logs stay until nobody can need them; interrupted in between, the same command goes on."""
    pg_stepping.switch_view(daily, "daily", mode="deferred")
    daily.execute("INSERT INTO reads VALUES (1, '2030-01-02', 100)")
    daily.commit()
    old = connect()
    old.isolation_level = IsolationLevel.REPEATABLE_READ
    old.execute("SELECT")
    switcher = connect(autocommit=True)
    turn = threading.Thread(
        target=pg_stepping.switch_view, args=[switcher, "daily"], kwargs={"mode": "immediate"}
    )
    turn.start()
    turn.join(1)
    assert turn.is_alive()
    daily.execute("INSERT INTO reads VALUES (2, '2030-01-02', 100)")
    assert_right(daily, "daily", QUERY, "a write while both are there")
    assert rows(daily, "daily") == rows(daily, "daily_as_applied")
    daily.execute("SAVEPOINT here")
    pg_stepping.drop_view(daily, "daily")
    daily.execute("ROLLBACK TO here")
    pg_stepping.switch_view(daily, "daily", mode="deferred")  # finishes, and begins
    assert_right(daily, "daily", QUERY, "both switches")
    daily.rollback()
    assert_right(old, "daily", QUERY, "the switch")
    old.rollback()
    turn.join(10)
    assert not turn.is_alive()
    left = daily.execute("SELECT relname FROM pg_class WHERE relname ~ '__log_|_as_applied'").fetchall()
    assert left == []
    assert_right(daily, "daily", QUERY, "the end")


@pytest.mark.parametrize("language", ["plpgsql"])
@pytest.mark.parametrize("limit", [None, 10])
def test_who_waits_to_apply_learns_of_the_switch(daily, connect, limit):
    pg_stepping.switch_view(daily, "daily", mode="deferred")
    daily.execute("INSERT INTO reads VALUES (1, '2024-01-02', 100)")
    daily.commit()
    other, said = connect(), []

    def apply():
        with pytest.raises(errors.NotDeferred, match="daily is not a maintained view in deferred mode"):
            pg_stepping.apply(other, "daily", limit=limit)
        said.append(True)

    pg_stepping.switch_view(daily, "daily", mode="immediate")  # not committed: it has the lock of who applies
    applying = threading.Thread(target=apply)
    applying.start()
    waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND pid = %s"
    while daily.execute(waits, [other.info.backend_pid]).fetchone() == (0,):
        assert applying.is_alive()
    daily.commit()
    applying.join(20)
    assert said == [True]
    assert_right(daily, "daily", QUERY, "switched")


def test_create_or_replace_in_another_mode(daily, dsn, tmp_path):
    """Only a mode that is given is another one."""
    query = tmp_path / "query.sql"
    query.write_text(QUERY)
    create = ["--dsn", dsn, "create", "daily", str(query), "--or-replace", "--index", "date"]
    mode = "SELECT mode FROM stepping.maintained_view"
    for options, expected in ((["--mode", "deferred"], "deferred"), ([], "deferred")):
        assert CliRunner().invoke(main, [*create, *options]).exit_code == 0
        assert daily.execute(mode).fetchone() == (expected,)
        daily.commit()
