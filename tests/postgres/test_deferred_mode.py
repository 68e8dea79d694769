"""Deferred mode beside its queries: apply, its errors, what stands on such a view, how readers find their rows."""

import re

import pytest
from click.testing import CliRunner
from psycopg import IsolationLevel
from psycopg import errors as pg
from test_cases import assert_right, columns, columns_of_query, rows
from test_deferred import assert_applied, logged

import pg_stepping
from pg_stepping import errors
from pg_stepping.cli import main

SCHEMA = """
CREATE TABLE users (user_id bigint PRIMARY KEY, name text);
CREATE TABLE meters (meter_id integer PRIMARY KEY, user_id bigint);
CREATE TABLE reads (meter_id integer, read_at timestamp, value numeric, unread text);
CREATE INDEX ON meters (user_id);
CREATE INDEX ON reads (meter_id);
INSERT INTO users SELECT i, 'user ' || i FROM generate_series(1, 20) AS i;
INSERT INTO meters SELECT i, 1 + i % 20 FROM generate_series(1, 200) AS i;
INSERT INTO reads SELECT 1 + i % 200, '2024-01-01'::timestamp + i * interval '1 hour', i / 10.0
FROM generate_series(1, 4000) AS i;
"""
QUERY = """
SELECT m.user_id, m.meter_id, r.read_at::date AS date, sum(r.value) AS value
FROM meters AS m JOIN reads AS r USING (meter_id) JOIN users AS u USING (user_id)
GROUP BY m.user_id, m.meter_id, r.read_at::date"""


@pytest.fixture
def daily(conn, language):
    conn.execute(SCHEMA)
    pg_stepping.create_view(
        conn, "daily", QUERY, language=language, mode="deferred", indexes=[["date"], ["meter_id"]]
    )
    conn.execute("ANALYZE")
    conn.commit()
    return conn


def test_a_change_waits_in_the_log_and_readers_see_it(daily):
    before = rows(daily, "daily_as_applied")
    daily.execute("INSERT INTO reads VALUES (1, '2024-01-02', 100), (2, '2030-01-01', 1)")
    daily.execute("DELETE FROM reads WHERE meter_id = 3")
    daily.execute("UPDATE reads SET unread = 'x' WHERE meter_id = 4")  # is not read: nothing to log
    assert logged(daily, "daily") == 2 + 20
    assert rows(daily, "daily_as_applied") == before
    assert_applied(daily, "daily", QUERY)
    assert rows(daily, "daily_as_applied") != before
    assert daily.execute("SELECT stepping.apply('daily')").fetchone() == (0,)


def test_only_the_columns_that_are_read_are_logged(daily):
    logs = [name for i in (1, 2, 3) for name, *_ in columns(daily, f"stepping.daily__log_{i}")]
    assert "unread" not in logs
    assert "name" not in logs
    assert "value" in logs


def test_the_command_line_creates_and_applies(daily, dsn, tmp_path):
    query = tmp_path / "query.sql"
    query.write_text("SELECT user_id, count(*) AS n FROM meters GROUP BY user_id")
    run = CliRunner().invoke
    assert run(main, ["--dsn", dsn, "create", "counts", str(query), "--mode", "deferred"]).exit_code == 0
    daily.execute("DELETE FROM meters WHERE meter_id = 7")
    daily.commit()
    applied = run(main, ["--dsn", dsn, "apply", "counts"])
    assert (applied.exit_code, "1 changes applied" in applied.output) == (0, True)
    assert rows(daily, "counts")
    assert_right(daily, "counts_as_applied", query.read_text(), "apply")
    pg_stepping.create_view(daily, "at_once", query.read_text())
    with pytest.raises(errors.NotDeferred, match="at_once is not a maintained view in deferred mode"):
        pg_stepping.apply(daily, "at_once")
    with pytest.raises(errors.ViewNotFound):
        pg_stepping.apply(daily, "nothing")


@pytest.mark.parametrize("level", [IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE])
def test_writers_at_every_isolation_level_and_apply_at_read_committed_only(daily, connect, level):
    writer = connect()
    writer.isolation_level = level
    writer.execute("INSERT INTO reads VALUES (1, '2024-01-02', 100)")
    writer.execute("UPDATE meters SET user_id = 3 WHERE meter_id = 1")
    assert_right(writer, "daily", QUERY, level)
    with pytest.raises(errors.SteppingError, match="READ COMMITTED"):
        pg_stepping.apply(writer, "daily")
    writer.commit()
    assert_applied(daily, "daily", QUERY)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO reads VALUES (999, '2024-01-02', 1) RETURNING stepping.apply('daily')",
        "WITH written AS (INSERT INTO reads VALUES (999, '2024-01-02', 1) RETURNING 1) SELECT stepping.apply('daily') FROM written",
        "DELETE FROM meters WHERE meter_id = 999 RETURNING stepping.apply('daily')",
        "UPDATE reads SET value = 1 FROM (VALUES (999), (1)) AS m (id) WHERE m.id = meter_id AND stepping.apply('daily') >= 0",
    ],
)
def test_it_is_not_applied_within_a_statement_that_writes(daily, statement):
    """Its rows are in the table, and in the log at its end: they would be counted twice."""
    daily.execute("INSERT INTO meters VALUES (999, 1)")
    daily.execute("INSERT INTO reads VALUES (999, '2024-01-01', 1)")
    daily.commit()
    with pytest.raises(
        pg.ObjectNotInPrerequisiteState, match="while a statement or a cursor of this session"
    ):
        daily.execute(statement)
    daily.rollback()
    assert_applied(daily, "daily", QUERY)


def test_it_is_applied_after_statements_that_write(daily):
    """In their transaction, whatever is checked at its end, and within a statement that writes elsewhere."""
    daily.execute(
        "ALTER TABLE reads ADD FOREIGN KEY (meter_id) REFERENCES meters DEFERRABLE INITIALLY DEFERRED;"
        "CREATE TABLE elsewhere (n bigint)"
    )
    daily.execute("INSERT INTO reads VALUES (999, '2024-01-02', 1)")
    daily.execute("INSERT INTO meters VALUES (999, 1)")
    assert daily.execute("INSERT INTO elsewhere SELECT stepping.apply('daily') RETURNING n").fetchone() == (
        2,
    )
    daily.execute("DELETE FROM reads WHERE meter_id = 999")
    assert_applied(daily, "daily", QUERY)


def test_a_view_over_a_deferred_one_reads_what_that_one_reads(daily, language):
    over = "SELECT user_id, sum(value) AS value, count(*) AS n FROM daily GROUP BY user_id"
    stale = "SELECT user_id, count(*) AS n FROM daily_as_applied GROUP BY user_id"
    pg_stepping.create_view(daily, "later", over, language=language, mode="deferred")
    pg_stepping.create_view(daily, "at_once", over, language=language)
    pg_stepping.create_view(daily, "stale", stale, language=language)
    daily.execute("INSERT INTO reads VALUES (1, '2024-01-02', 100), (2, '2030-01-01', 1)")
    daily.execute("DELETE FROM meters WHERE meter_id = 9")
    for view, query in (("later", over), ("at_once", over), ("stale", stale)):
        assert assert_right(daily, view, query, "writes")
        assert pg_stepping.verify(daily, view) == []
    pg_stepping.apply(daily, "daily")
    assert_right(daily, "stale", stale, "apply")
    assert_right(daily, "later", over, "apply of what it stands on")
    assert_applied(daily, "later", over)
    with pytest.raises(errors.ViewInUse):
        pg_stepping.drop_view(daily, "daily")


def test_columns_keep_their_lengths(conn, language):
    conn.execute(
        "CREATE TABLE t (a char(3), b varchar(5), c numeric(5, 2), d timestamp(0), e bit(4), f interval day)"
    )
    for name, query in (
        ("v", "TABLE t"),
        ("w", "SELECT a, b, c, d, e, f, count(*) AS n FROM t GROUP BY a, b, c, d, e, f"),
    ):
        pg_stepping.create_view(conn, name, query, language=language, mode="deferred")
        assert columns(conn, name) == columns_of_query(conn, query)
        conn.execute("INSERT INTO t VALUES ('a', 'b', 1.5, '2024-01-01 00:00:00', '0101', '3 days')")
        assert assert_right(conn, name, query, "insert")
        assert_applied(conn, name, query)


def test_a_name_must_leave_room_for_the_second_view(conn):
    conn.execute("CREATE TABLE t (x integer)")
    with pytest.raises(errors.SteppingError, match="leaves no room"):
        pg_stepping.create_view(conn, "v" * 53, "SELECT x FROM t", mode="deferred")
    conn.execute("CREATE VIEW v_as_applied AS SELECT 1")
    with pytest.raises(errors.NameTaken, match="v_as_applied"):
        pg_stepping.create_view(conn, "v", "SELECT x FROM t", mode="deferred")
    with pytest.raises(errors.SteppingError, match="no such mode"):
        pg_stepping.create_view(conn, "v", "SELECT x FROM t", mode="lazy")


def test_what_only_appends_is_in_plpgsql_unless_asked_for(conn):
    conn.execute("CREATE TABLE t (x integer)")
    for name, asked in (("a", None), ("b", "plpython3u")):
        if (
            asked is None
            or conn.execute("SELECT FROM pg_language WHERE lanname = %s", [asked]).fetchone() is not None
        ):
            pg_stepping.create_view(conn, name, "SELECT x FROM t", language=asked, mode="deferred")
            assert pg_stepping.installed(conn, name).language == (asked or "plpgsql")
    conn.execute("INSERT INTO t VALUES (1)")
    assert_applied(conn, "a", "SELECT x FROM t")


def test_drop_leaves_nothing(daily):
    pg_stepping.drop_view(daily, "daily")
    left = """SELECT relname FROM pg_class WHERE relname ~ 'daily' UNION ALL SELECT proname FROM pg_proc WHERE proname ~ 'daily'
              UNION ALL SELECT tgname FROM pg_trigger WHERE tgname ~ 'stepping' AND tgrelid IN ('reads'::regclass, 'meters'::regclass)"""
    assert daily.execute(left).fetchall() == []


def plan(conn, query):
    return "\n".join(row[0] for row in conn.execute(f"EXPLAIN (COSTS OFF) {query}").fetchall())


@pytest.mark.parametrize("pending", [0, 1, 500])
@pytest.mark.parametrize(
    "where",
    ["date = '2024-02-01'", "meter_id = 7", "user_id = 11 AND meter_id = 150 AND date = '2024-02-01'"],
)
def test_a_predicate_reaches_the_index_of_the_state(daily, pending, where):
    daily.execute("INSERT INTO reads SELECT i, '2024-02-01', i FROM generate_series(1, %s) AS i", [pending])
    daily.execute("INSERT INTO reads SELECT 300, '2024-02-01', i FROM generate_series(1, 50000) AS i")
    pg_stepping.apply(daily, "daily")
    daily.execute("ANALYZE")
    daily.execute("INSERT INTO reads SELECT i, '2024-02-01', i FROM generate_series(1, %s) AS i", [pending])
    query = f"SELECT * FROM daily WHERE {where}"
    explained = plan(daily, query)
    assert "Index" in explained
    assert not re.search(r"Seq Scan on daily\b", explained)
    expected = rows(daily, f"(SELECT * FROM ({QUERY}) AS q WHERE {where})")
    assert rows(daily, f"({query})") == expected
    assert expected


KEY = "user_id = 11 AND meter_id = 150 AND date = '2024-01-07'"


def test_nothing_is_computed_while_nothing_waits(daily):
    calls = "SELECT coalesce(sum(calls), 0) FROM pg_stat_xact_user_functions WHERE funcname ~ '^daily__(kept|pending)$'"

    def called():
        [(before,)] = daily.execute(calls).fetchall()
        assert rows(daily, f"(SELECT * FROM daily WHERE {KEY})")
        return daily.execute(calls).fetchone()[0] - before

    daily.execute("SET track_functions = 'pl'")
    assert called() == 0
    daily.execute("INSERT INTO reads VALUES (1, '2024-01-02', 100)")
    assert called() == 3  # the rows, and once for all the places of those that they replace
    pg_stepping.apply(daily, "daily")
    assert called() == 0


def test_what_waits_is_computed_without_reading_the_whole_state(daily):
    daily.execute("INSERT INTO reads SELECT 300, '2024-02-01', i FROM generate_series(1, 50000) AS i")
    daily.execute(
        "INSERT INTO reads SELECT 1 + i % 200, '2024-01-01'::timestamp + i * interval '1 day', i FROM generate_series(1, 9000) AS i"
    )
    pg_stepping.apply(daily, "daily")
    daily.commit()
    daily.execute("ANALYZE")
    daily.execute("INSERT INTO reads SELECT 1 + i % 200, '2024-01-07', i FROM generate_series(1, 300) AS i")
    scans = "SELECT seq_scan, idx_scan FROM pg_stat_xact_user_tables WHERE relid = 'stepping.daily'::regclass"
    before = daily.execute(scans).fetchone() or (0, 0)  # what was not told the statistics yet is among these
    assert_right(
        daily, f"(SELECT * FROM daily WHERE {KEY})", f"SELECT * FROM ({QUERY}) AS q WHERE {KEY}", "insert"
    )
    after = daily.execute(scans).fetchone()
    assert (after[0] - before[0], after[1] - before[1] > 300) == (0, True)


def test_repair_puts_right_what_was_applied_wrongly_and_what_waits(daily):
    daily.execute("UPDATE stepping.daily SET sum_value = sum_value + 1 WHERE meter_id = 7")
    daily.execute("INSERT INTO reads VALUES (7, '2024-01-02', 100), (8, '2030-01-01', 1)")
    assert pg_stepping.verify(daily, "daily")
    assert pg_stepping.repair(daily, "daily") > 0
    assert pg_stepping.verify(daily, "daily") == []
    assert_applied(daily, "daily", QUERY)


def test_explain_and_list_show_what_waits(daily, dsn):
    daily.execute("INSERT INTO reads VALUES (1, '2024-01-02', 100)")
    explained = pg_stepping.explain(daily, "daily")
    assert "appends the changed rows, with their weights, to stepping.daily__log_2" in explained
    assert "1 changes, the oldest for" in explained
    assert "applied last: never" in explained
    pg_stepping.apply(daily, "daily")
    explained = pg_stepping.explain(daily, "daily")
    assert "0 changes\n" in explained
    assert "1 changes in " in explained
    daily.execute("INSERT INTO reads VALUES (1, '2024-01-02', 100), (1, '2024-01-02', 200)")
    daily.commit()
    assert "deferred\t2 pending" in CliRunner().invoke(main, ["--dsn", dsn, "list"]).output


@pytest.mark.parametrize("online", [False, True])
def test_another_query_for_a_view_in_deferred_mode(daily, connect, online):
    """What waits is in the new version from the begin; readers and grants stay."""
    daily.execute("CREATE VIEW reader AS SELECT user_id FROM daily; GRANT SELECT ON daily TO PUBLIC")
    daily.execute("INSERT INTO reads VALUES (1, '2024-01-02', 100), (2, '2030-01-01', 1)")
    daily.commit()
    conn = connect(autocommit=True)
    for query in (
        QUERY.replace("sum(r.value) AS value", "sum(r.value) AS value, max(r.value) AS most"),
        QUERY.replace("sum(r.value) AS value", "sum(r.value) + 1 AS value"),
    ):
        assert pg_stepping.change_view(conn, "daily", query, online=online).kind == "new version"
        assert_right(daily, "daily", query, "the change")
        assert rows(daily, "daily_as_applied") == rows(daily, "daily")
        daily.execute("INSERT INTO reads VALUES (3, '2024-01-02', 100)")
        assert_right(daily, "daily", query, "a write")
        assert pg_stepping.apply(daily, "daily") == 1
        assert_right(daily, "daily_as_applied", query, "apply")
        daily.commit()
    assert daily.execute("SELECT has_table_privilege('public', 'daily', 'SELECT')").fetchone() == (True,)
    assert rows(daily, "reader")
    assert daily.execute("SELECT count(*) FROM pg_class WHERE relname ~ '__log_[0-9]+$'").fetchone() == (3,)


def test_extremes_that_go_are_found_for_all_groups_in_one_pass(conn):
    conn.execute("CREATE TABLE t (k integer, v integer)")
    conn.execute("INSERT INTO t SELECT nullif(i % 50, 0), i FROM generate_series(1, 1000) AS i")
    query = "SELECT k, min(v) AS least, max(v) AS most, count(*) AS n FROM t GROUP BY k"
    pg_stepping.create_view(conn, "v", query, mode="deferred")
    scans = "SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relid = 't'::regclass"
    for gone in ("v = 7", "v <= 50 OR v > 950 OR k = 3"):  # planned for one row, then for many
        conn.execute(f"DELETE FROM t WHERE {gone}")
        before = conn.execute(scans).fetchone()[0]
        found = conn.execute("SELECT count(*), count(*) FILTER (WHERE k IS NULL) FROM v").fetchone()
        assert conn.execute(scans).fetchone()[0] - before <= 4
    assert found == (49, 1)
    assert_right(conn, "v", query, "the extremes are gone")
    assert_applied(conn, "v", query)


def test_columns_named_as_plpgsql_names_parameters(conn):
    """Immediate mode takes them; deferred mode says what is wrong, also where a script is only written."""
    conn.execute('CREATE TABLE t ("$1" integer, x integer)')
    query = 'SELECT "$1", sum(x) AS total FROM t GROUP BY "$1"'
    for call in (pg_stepping.create_view, pg_stepping.generate):
        with pytest.raises(pg_stepping.UnsupportedQuery, match=r'a column named "\$1" in deferred mode'):
            call(conn, "v", query, mode="deferred")
    pg_stepping.create_view(conn, "v", query)
    conn.execute("INSERT INTO t VALUES (1, 2), (1, 3)")
    assert conn.execute("SELECT * FROM v").fetchall() == [(1, 5)]
