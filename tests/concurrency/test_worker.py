"""`pg-stepping worker` applies views in the background: one worker a view, through a lost connection, until SIGTERM."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress

import psycopg
import pytest

import pg_stepping
from conftest import unavailable
from pg_stepping import devserver

QUERY = "SELECT k, count(*) AS n, sum(v) AS total FROM t GROUP BY k"


@pytest.fixture
def counted(conn, language):
    conn.execute("CREATE TABLE t (k integer, v integer)")
    pg_stepping.create_view(conn, "v", QUERY, language=language, mode="deferred")
    conn.commit()
    conn.autocommit = True
    return conn


def start(dsn, *options):
    command = [sys.executable, "-m", "pg_stepping.cli", "--dsn", dsn, "worker", *options]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def pending(conn):
    return conn.execute("SELECT pending FROM stepping.deferred_view").fetchone()[0]


def wait_until(test, seconds=20):
    until = time.monotonic() + seconds
    while not test():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)


def stopped(worker):
    worker.send_signal(signal.SIGTERM)
    _, said = worker.communicate(timeout=20)
    assert worker.returncode == 0, said
    return said


def test_it_applies_reconnects_and_stops(counted, dsn):
    worker = start(dsn, "--interval", "0.1")
    counted.execute("INSERT INTO t SELECT i, i FROM generate_series(1, 10) AS i")
    wait_until(lambda: pending(counted) == 0)
    counted.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    counted.execute("INSERT INTO t SELECT i, i FROM generate_series(1, 20) AS i")
    wait_until(lambda: pending(counted) == 0)
    said = stopped(worker)
    assert "v: 10 changes applied" in said and "v: 20 changes applied" in said and said.endswith("stopped\n")
    assert counted.execute("SELECT changes, times, all_changes FROM stepping.applied").fetchone() == (
        20,
        2,
        30,
    )
    assert pg_stepping.verify(counted, "v") == []


def test_it_says_which_views_it_waits_for(counted, dsn):
    worker = start(dsn, "--interval", "0.1", "v", "w")
    counted.execute("INSERT INTO t VALUES (1, 1)")
    wait_until(lambda: pending(counted) == 0)
    said = stopped(worker)
    assert said.count("there is no view w in deferred mode: waiting for it") == 1 and "no view v" not in said


@pytest.mark.parametrize("option", ["--interval=-1", "--threshold=0"])
def test_it_refuses_what_would_never_apply(option):
    worker = start("", option)
    _, said = worker.communicate(timeout=20)
    assert worker.returncode == 2 and "is not in the range" in said


def test_two_workers_share_and_one_takes_over(counted, dsn):
    workers = [start(dsn, "--interval", "0.05") for _ in range(2)]
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    wait_until(lambda: counted.execute(others).fetchone()[0] >= 2)
    for _ in range(10):
        counted.execute("INSERT INTO t VALUES (1, 1)")
        time.sleep(0.1)
    wait_until(lambda: pending(counted) == 0)
    holders = "SELECT count(DISTINCT pid) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    assert counted.execute(holders).fetchone() == (1,)
    said = [stopped(workers.pop())]
    counted.execute("INSERT INTO t VALUES (1, 1)")
    wait_until(lambda: pending(counted) == 0)
    said.append(stopped(workers.pop()))
    assert counted.execute("SELECT * FROM v_as_applied").fetchall() == [(1, 11, 11)]


def test_exactly_once_when_appliers_are_killed(counted, connect, dsn):
    """Backends that apply are terminated again and again under load; nothing is lost or applied twice."""
    stop = threading.Event()

    def write(session):
        while not stop.is_set():
            session.execute("INSERT INTO t SELECT i % 7, i FROM generate_series(1, 300) AS i")
            session.execute("DELETE FROM t WHERE ctid IN (SELECT ctid FROM t LIMIT 100)")

    killed, killer = 0, connect(autocommit=True)
    writer = threading.Thread(target=write, args=[connect(autocommit=True)])
    writer.start()
    for number in range(12):
        with psycopg.connect(dsn, autocommit=True) as applier:
            threading.Timer(0.002 * number, lambda pid=applier.info.backend_pid: kill(killer, pid)).start()
            try:
                while True:
                    applier.execute("SELECT stepping.apply('v')")
            except psycopg.OperationalError:
                killed += 1
        assert pg_stepping.verify(counted, "v") == []
    stop.set()
    writer.join()
    assert killed == 12
    assert pg_stepping.apply(counted, "v") >= 0
    expected = counted.execute(f"{QUERY} ORDER BY k").fetchall()
    assert expected
    assert counted.execute("SELECT * FROM v_as_applied ORDER BY k").fetchall() == expected


def kill(conn, pid):
    conn.execute("SELECT pg_terminate_backend(%s)", [pid])


@pytest.mark.parametrize("language", ["plpgsql"])
def test_a_worker_may_be_there_before_the_catalog(conn, dsn):
    """Started before the first migration it waits; `apply` says what it says of any name that is no view."""
    conn.execute("DROP SCHEMA IF EXISTS stepping CASCADE")
    conn.execute("CREATE TABLE t (g integer, x integer)")
    conn.commit()
    conn.autocommit = True
    command = [sys.executable, "-m", "pg_stepping.cli", "--dsn", dsn, "apply", "v"]
    applied = subprocess.run(command, capture_output=True, text=True)
    assert (applied.returncode, applied.stdout) == (2, "")
    assert applied.stderr.startswith("pg-stepping: there is no maintained view 'v'\nHINT: ")
    worker = start(dsn, "v", "--interval", "0.1")
    assert worker.stderr.readline() == "there is no view v in deferred mode: waiting for it\n"
    pg_stepping.create_view(conn, "v", "SELECT g, count(*) FROM t GROUP BY g", mode="deferred")
    conn.execute("INSERT INTO t VALUES (1, 1)")
    conn.execute("NOTIFY stepping")
    wait_until(lambda: pending(conn) == 0)
    stopped(worker)


def test_it_sleeps_until_a_writer_wakes_it(counted, dsn):
    worker = start(dsn, "--interval", "0.1")
    asked = "SELECT query_start FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND query ~ 'count_pending|advisory'"
    holds = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    wait_until(lambda: counted.execute(holds).fetchone() == (2,))  # the view is its own, and it waits
    time.sleep(0.5)
    seen = counted.execute(asked).fetchone()
    time.sleep(0.5)
    assert counted.execute(asked).fetchone() == seen
    began = time.monotonic()
    counted.execute("INSERT INTO t VALUES (1, 1)")
    wait_until(lambda: pending(counted) == 0)
    assert time.monotonic() - began < 3
    assert "v: 1 changes applied" in stopped(worker)


@pytest.mark.parametrize("language", ["plpgsql"])
def test_one_that_was_not_committed_yet_is_not_overlooked(counted, connect, dsn):
    writer = connect()
    writer.execute("INSERT INTO t VALUES (1, 1)")
    worker = start(dsn, "--interval", "0.1")
    holds = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    wait_until(lambda: counted.execute(holds).fetchone() == (2,))
    writer.commit()
    wait_until(lambda: pending(counted) == 0, seconds=4)
    stopped(worker)


@pytest.mark.parametrize("language", ["plpgsql"])
def test_killed_in_a_step_it_leaves_nothing_half_done(counted, dsn):
    """The worker itself is killed, again and again, while it applies a long log."""
    counted.execute("INSERT INTO t SELECT i % 1000, i FROM generate_series(1, 100000) AS i")
    worker = start(dsn)
    time.sleep(0.6)
    for number in range(3):
        worker.kill()
        worker.communicate()
        counted.execute(
            "INSERT INTO t SELECT i % 1000, i FROM generate_series(1, 1000) AS i; DELETE FROM t WHERE v = 7"
        )
        worker = start(dsn)
        time.sleep(0.7 + 0.05 * number)
    wait_until(lambda: pending(counted) == 0)
    stopped(worker)
    assert pg_stepping.verify(counted, "v") == []
    assert sorted(counted.execute("SELECT * FROM v_as_applied")) == sorted(counted.execute(QUERY))


@pytest.mark.parametrize("language", ["plpgsql"])
def test_several_views_past_a_threshold_whatever_the_interval(counted, dsn):
    """One view that cannot be applied does not keep the other from it."""
    pg_stepping.create_view(counted, "w", "SELECT 10 / v AS q FROM t", language="plpgsql", mode="deferred")
    counted.execute("INSERT INTO t VALUES (1, 0)")  # that it can be logged
    worker = start(dsn, "--interval", "60", "--threshold", "50")
    counted.execute("INSERT INTO t SELECT i, i FROM generate_series(1, 20) AS i")
    time.sleep(1)
    assert counted.execute("SELECT min(pending) FROM stepping.deferred_view").fetchone() == (21,)
    counted.execute("INSERT INTO t SELECT i, i FROM generate_series(1, 40) AS i")
    waits = "SELECT pending FROM stepping.deferred_view WHERE view_name = 'v'"
    wait_until(lambda: counted.execute(waits).fetchone() == (0,))
    time.sleep(0.3)
    assert counted.execute("SELECT max(pending) FROM stepping.deferred_view").fetchone() == (61,)
    counted.execute("DELETE FROM t WHERE v = 0; NOTIFY stepping")
    wait_until(lambda: counted.execute("SELECT sum(pending) FROM stepping.deferred_view").fetchone() == (0,))
    stopped(worker)
    assert pg_stepping.verify(counted, "v") == pg_stepping.verify(counted, "w") == []


def test_the_server_is_killed_in_mid_apply_and_the_worker_goes_on():
    """One of its sessions is killed, so that it starts again: all is applied, once."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(
                devserver.start(variables=(), kinds=[devserver.cluster.start], settings={"fsync": "off"})
            )
        except devserver.NoServer as reason:
            unavailable(str(reason))
        with psycopg.connect(server.dsn) as conn:
            pg_stepping.init(conn)
            conn.execute("CREATE TABLE t (k integer, v integer); SET stepping.threshold = 0")
            pg_stepping.create_view(conn, "v", QUERY, language="plpgsql", mode="deferred")
            conn.execute("INSERT INTO t SELECT i % 1000, i FROM generate_series(1, 100000) AS i")
        worker = start(server.dsn)
        with suppress(psycopg.OperationalError), psycopg.connect(server.dsn, autocommit=True) as conn:
            applying = (
                "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query ~ '^SELECT stepping.apply'"
            )
            while not (found := conn.execute(applying).fetchall()):
                time.sleep(0.005)
            time.sleep(0.05)
            os.kill(found[0][0], signal.SIGKILL)
            conn.execute("SELECT pg_sleep(20)")
            pytest.fail("the server did not go down")

        def is_applied():
            with suppress(psycopg.OperationalError), psycopg.connect(server.dsn) as session:
                return pending(session) == 0
            return False

        wait_until(is_applied, seconds=40)
        assert "the server is away" in stopped(worker)
        with psycopg.connect(server.dsn) as conn:
            assert pg_stepping.verify(conn, "v") == []
            assert sorted(conn.execute("SELECT * FROM v_as_applied")) == sorted(conn.execute(QUERY))
