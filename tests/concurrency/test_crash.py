"""Sessions are terminated and the server is killed in mid-load: every view is right, and nothing stays locked."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psycopg
import pytest
from load import MIXED, make, run_writers, wrong_views
from locking import locks_off
from test_stress import write

from conftest import Databases, unavailable
from pg_stepping import devserver

WRITERS = 4
ROUNDS = 30  # of load without locks, until there are wrong rows; there are after the first, as a rule
NEGATIVE = ("XX001",)  # a count below zero, which is a find too


@pytest.fixture
def own(language: str) -> Iterator[tuple[devserver.Server, Databases]]:
    """A server that is only this test's, to be killed."""
    try:
        with devserver.start(
            variables=(), kinds=[devserver.cluster.start], settings={"fsync": "off"}
        ) as server:
            if language == "plpython3u" and not server.plpython:
                unavailable(f"{server} These tests need plpython3u.")
            yield server, Databases(server.dsn)
    except devserver.NoServer as reason:
        unavailable(str(reason))


def advisory_locks(conn: psycopg.Connection) -> int:
    """How many locks of this database are held or waited for, of the kind that our triggers take."""
    row = conn.execute(
        """SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
    ).fetchone()
    assert row is not None
    return int(row[0])


def check(dsn: str, language: str) -> None:
    """All is right, nothing is locked, and it goes on."""
    assert wrong_views(dsn) == []
    with psycopg.connect(dsn) as conn:
        assert advisory_locks(conn) == 0
    assert run_writers(dsn, [write] * WRITERS, 1.0)["done"] > 10
    assert wrong_views(dsn) == []


def terminate(conn: psycopg.Connection, *_: object) -> None:
    """End some session that is at work."""
    conn.execute(
        """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
           WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'
           ORDER BY random() LIMIT 1"""
    )
    time.sleep(0.05)


def test_oracle_sessions_are_terminated(database: Callable[..., str], language: str) -> None:
    dsn = database(language)
    make(dsn, language, MIXED)
    counts = run_writers(dsn, [*[write] * WRITERS, terminate], 3.0, survive=True)
    assert counts["lost"] > 10 and counts["done"] > 10, counts
    check(dsn, language)


@pytest.mark.parametrize("language", ["plpgsql"])
def test_without_locks_terminated_sessions_leave_wrong_rows(
    database: Callable[..., str], language: str
) -> None:
    dsn = database(language)
    with locks_off():
        make(dsn, language, MIXED)
    counts: Counter[str] = Counter()
    for _ in range(ROUNDS):
        counts += run_writers(dsn, [*[write] * WRITERS, terminate], 1.0, survive=True, ignore=NEGATIVE)
        if counts["lost"] > 10 and wrong_views(dsn):
            return
    pytest.fail(f"all were right: {counts}")


def crash(server: devserver.Server, dsn: str, victim: str, pause: float) -> None:
    """Twice, after a pause each, kill the server or one of its sessions."""
    assert server.cluster is not None
    for _ in range(2):
        time.sleep(pause)
        if victim == "postmaster":
            server.cluster.kill()
            server.cluster.start()
        else:
            with suppress(psycopg.OperationalError, ProcessLookupError):
                os.kill(busy_session(dsn), signal.SIGKILL)


def write_and_crash(
    server: devserver.Server, dsn: str, victim: str, seconds: float, ignore: Collection[str] = ()
) -> Counter[str]:
    """What the writers did, among crashes; the server is back."""
    with ThreadPoolExecutor(1) as thread:
        crashing = thread.submit(crash, server, dsn, victim, seconds / 5)
        counts = run_writers(dsn, [write] * WRITERS, seconds, survive=True, ignore=ignore)
        crashing.result()
    wait_for(dsn)
    return counts


@pytest.mark.parametrize("victim", ["postmaster", "session"])
def test_oracle_the_server_is_killed(
    own: tuple[devserver.Server, Databases], language: str, victim: str
) -> None:
    """A session that is killed takes all others with it: the server starts anew from its log."""
    server, databases = own
    dsn = databases.dsn(databases.create(databases.template(language)))
    make(dsn, language, MIXED)
    counts = write_and_crash(server, dsn, victim, 3.5)
    assert counts["lost"] >= WRITERS and counts["done"] > 10, counts
    check(dsn, language)


@pytest.mark.parametrize("language", ["plpgsql"])
def test_without_locks_a_killed_server_comes_back_with_wrong_rows(
    own: tuple[devserver.Server, Databases], language: str
) -> None:
    server, databases = own
    dsn = databases.dsn(databases.create(databases.template(language)))
    with locks_off():
        make(dsn, language, MIXED)
    counts: Counter[str] = Counter()
    for _ in range(ROUNDS):
        counts += write_and_crash(server, dsn, "postmaster", 2.0, NEGATIVE)
        if counts["lost"] >= WRITERS and wrong_views(dsn):
            return
    pytest.fail(f"all were right: {counts}")


def busy_session(dsn: str) -> int:
    """The process of some writer."""
    with psycopg.connect(dsn) as conn:
        row = conn.execute(
            """SELECT pid FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
               ORDER BY state = 'active' DESC LIMIT 1"""
        ).fetchone()
    assert row is not None
    return int(row[0])


def wait_for(dsn: str) -> None:
    """Return when the server takes connections."""
    for _ in range(300):
        with suppress(psycopg.OperationalError):
            psycopg.connect(dsn).close()
            return
        time.sleep(0.1)
    pytest.fail("the server did not come back")


@pytest.mark.parametrize("end", ["commit", "rollback", "savepoint", "terminated", "gone"])
def test_nothing_is_left_locked(
    database: Callable[..., str],
    connect: Callable[..., psycopg.Connection],
    dsn: str,
    language: str,
    end: str,
) -> None:
    make(dsn, language, MIXED)
    observer, writer = connect(autocommit=True), connect()
    assert advisory_locks(observer) == 0
    writer.execute("SAVEPOINT before")
    writer.execute("UPDATE meters SET user_id = 1 WHERE id IN (1, 2)")
    assert advisory_locks(observer) > 0
    match end:
        case "commit":
            writer.commit()
        case "rollback":
            writer.rollback()
        case "savepoint":
            writer.execute("ROLLBACK TO before")
        case "terminated":
            observer.execute("SELECT pg_terminate_backend(%s)", [writer.info.backend_pid])
        case "gone":  # without a goodbye
            os.close(os.dup2(os.open(os.devnull, os.O_RDWR), writer.fileno()))
            writer.close()
    for _ in range(100):
        if advisory_locks(observer) == 0:
            break
        time.sleep(0.05)
    assert advisory_locks(observer) == 0
    assert wrong_views(dsn) == []
