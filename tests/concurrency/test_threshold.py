"""Past a threshold a writer applies the logs himself, at the end of his transaction, and never fails of it."""

import threading

import psycopg
import pytest

import pg_stepping

QUERY = "SELECT k, count(*) AS n, sum(v) AS total FROM t GROUP BY k"
MANY = "INSERT INTO t SELECT i % 7, i FROM generate_series(1, 300) AS i"
HOLD = "SELECT pg_advisory_xact_lock(stepping.log_lock('v', 'apply'))"


@pytest.fixture
def counted(conn, language):
    conn.execute("CREATE TABLE t (k integer, v integer)")
    pg_stepping.create_view(conn, "v", QUERY, language=language, mode="deferred")
    conn.commit()
    conn.autocommit = True
    conn.execute("SET stepping.threshold = 200")
    return conn


def waiting(conn):
    return conn.execute("SELECT pending FROM stepping.deferred_view").fetchone()[0]


def test_a_writer_applies_what_has_grown_long(counted, connect):
    counted.execute("INSERT INTO t SELECT i % 7, i FROM generate_series(1, 150) AS i")
    assert waiting(counted) == 150
    counted.execute("SELECT pg_stat_force_next_flush()")
    counted.execute("INSERT INTO t SELECT i % 7, i FROM generate_series(1, 60) AS i")
    assert waiting(counted) < 20  # a part of 200
    assert counted.execute("SELECT times FROM stepping.applied").fetchone() == (1,)
    assert pg_stepping.verify(counted, "v") == []
    with counted.transaction():
        counted.execute(MANY)
        counted.execute("DELETE FROM t WHERE k = 3")
        counted.execute("SELECT 1")
        assert waiting(counted) > 300
    assert waiting(counted) < 200
    assert counted.execute("TABLE stepping.overdue").fetchall() == []
    counted.execute("SET stepping.threshold = 0")
    counted.execute(MANY)
    assert waiting(counted) > 300
    assert pg_stepping.verify(counted, "v") == []


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_not_at_other_levels(counted, level):
    counted.execute(f"SET default_transaction_isolation = '{level}'")
    counted.execute(MANY)
    assert waiting(counted) == 300


@pytest.mark.parametrize("language", ["plpgsql"])
def test_not_while_another_applies(counted, connect):
    other = connect()
    other.execute(HOLD)
    counted.execute(MANY)
    assert waiting(counted) == 300
    other.rollback()


def test_the_writer_does_not_fail_of_it(counted):
    said = []
    counted.add_notice_handler(lambda d: said.append(d.message_primary))
    counted.execute("INSERT INTO t VALUES (1, 1)")
    pg_stepping.apply(counted, "v")
    counted.execute("UPDATE stepping.v SET n = -1000")
    counted.execute(MANY)
    assert counted.execute("SELECT count(*) FROM t").fetchone() == (301,)
    assert waiting(counted) == 300
    assert len(said) == 1
    assert "were not applied: stepping.v is corrupt" in said[0]
    counted.execute("INSERT INTO t VALUES (1, 1)")  # the next one tries a minute later
    assert len(said) == 1
    counted.execute(
        "UPDATE stepping.v SET n = 1; UPDATE stepping.not_applied SET failed_at = failed_at - interval '1 hour'"
    )
    counted.execute(MANY)
    assert waiting(counted) < 500
    assert counted.execute("TABLE stepping.not_applied").fetchall() == []


def test_not_within_a_statement(counted):
    """SET CONSTRAINTS in a function calls it while rows are there that the logs do not have."""
    counted.execute("""
        CREATE FUNCTION hasty(x integer) RETURNS integer LANGUAGE plpgsql AS
        $$ BEGIN SET CONSTRAINTS ALL IMMEDIATE; RETURN x + 1; END $$""")
    with counted.transaction():
        counted.execute(MANY)
        counted.execute("UPDATE t SET v = hasty(v) WHERE k = 2")
        assert waiting(counted) > 300
    assert pg_stepping.verify(counted, "v") == []


@pytest.mark.parametrize("language", ["plpgsql"])
def test_a_writer_without_rights(counted, dsn):
    counted.execute(
        "DROP ROLE IF EXISTS writes_only; CREATE ROLE writes_only; GRANT INSERT ON t TO writes_only"
    )
    try:
        counted.execute("SET ROLE writes_only")
        counted.execute(MANY)
        counted.execute("RESET ROLE")
        assert waiting(counted) < 200
    finally:
        counted.execute("RESET ROLE; DROP OWNED BY writes_only; DROP ROLE writes_only")
    assert pg_stepping.verify(counted, "v") == []


@pytest.mark.parametrize("language", ["plpgsql"])
def test_exactly_once_by_many_writers(counted, connect):
    failed = []

    def write(session):
        try:
            session.execute("SET stepping.threshold = 200")
            for number in range(15):
                session.execute("INSERT INTO t SELECT i % 7, i FROM generate_series(1, 150) AS i")
                session.execute("DELETE FROM t WHERE v = %s", [number])
        except psycopg.Error as error:
            failed.append(error)

    writers = [threading.Thread(target=write, args=[connect(autocommit=True)]) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failed == []
    assert counted.execute("SELECT times > 3 FROM stepping.applied").fetchone() == (True,)
    assert pg_stepping.verify(counted, "v") == []
    pg_stepping.apply(counted, "v")
    assert sorted(counted.execute("SELECT * FROM v_as_applied")) == sorted(counted.execute(QUERY))


@pytest.mark.parametrize("language", ["plpgsql"])
def test_nobody_else_runs_what_a_view_s_owner_put_in_place_of_it(counted):
    """The catalog's owner applies past the threshold: with the rights of the view's owner, or not at all."""
    counted.execute(
        "DROP ROLE IF EXISTS owns_v; CREATE ROLE owns_v; CREATE TABLE seen (by text); GRANT ALL ON seen TO PUBLIC;"
        "ALTER FUNCTION stepping.v__step(bigint) OWNER TO owns_v;"
        "ALTER FUNCTION stepping.v__step(bigint) SECURITY INVOKER"
    )
    said = []
    counted.add_notice_handler(lambda d: said.append(d.message_primary))
    try:
        counted.execute(MANY)
        assert waiting(counted) == 300
        assert "would run with the rights of" in said[0]
    finally:
        counted.execute("REASSIGN OWNED BY owns_v TO CURRENT_USER; DROP ROLE owns_v")
