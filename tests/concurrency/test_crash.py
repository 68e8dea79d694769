"""Sessions are terminated and the server is killed in mid-load: every view is right, and nothing stays locked."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psycopg
import pytest
from load import MIXED, make, run_writers, wrong_views
from test_stress import write

from conftest import Databases, unavailable
from pg_stepping import devserver

WRITERS = 4


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


def test_oracle_sessions_are_terminated(database: Callable[..., str], language: str) -> None:
    dsn = database(language)
    make(dsn, language, MIXED)

    def terminate(conn: psycopg.Connection, *_: object) -> None:
        conn.execute(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'
               ORDER BY random() LIMIT 1"""
        )
        time.sleep(0.05)

    counts = run_writers(dsn, [*[write] * WRITERS, terminate], 3.0, survive=True)
    assert counts["lost"] > 10 and counts["done"] > 10, counts
    check(dsn, language)


@pytest.mark.parametrize("victim", ["postmaster", "session"])
def test_oracle_the_server_is_killed(
    own: tuple[devserver.Server, Databases], language: str, victim: str
) -> None:
    """A session that is killed takes all others with it: the server starts anew from its log."""
    server, databases = own
    assert server.cluster is not None
    dsn = databases.dsn(databases.create(databases.template(language)))
    make(dsn, language, MIXED)

    def crash() -> None:
        for _ in range(2):
            time.sleep(0.7)
            if victim == "postmaster":
                server.cluster.kill()
                server.cluster.start()
            else:
                with suppress(psycopg.OperationalError, ProcessLookupError):
                    os.kill(busy_session(dsn), signal.SIGKILL)

    with ThreadPoolExecutor(1) as thread:
        crashing = thread.submit(crash)
        counts = run_writers(dsn, [write] * WRITERS, 3.5, survive=True)
        crashing.result()
    assert counts["lost"] >= WRITERS and counts["done"] > 10, counts
    wait_for(dsn)
    check(dsn, language)


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
