"""Clients and the server are killed in the middle of it; afterwards each view equals its query."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from time import sleep

import psycopg
import pytest
from load import Load, differences, rows_left, set_up
from psycopg import errors as pg

import pg_stepping
from pg_stepping import devserver
from pg_stepping.devserver import cluster, machine

LOST = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.Rollback)


@contextmanager
def killer(dsn: str) -> Iterator[list[int]]:
    """Ends a session of this database every few milliseconds, and counts them."""
    stopped, count = Event(), [0]

    def run() -> None:
        query = """
            SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM (
                SELECT pid FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
                ORDER BY random() LIMIT 1) AS victim"""
        with psycopg.connect(dsn, autocommit=True) as conn:
            while not stopped.is_set():
                row = conn.execute(query).fetchone()
                count[0] += row[0] if row else 0
                sleep(random.uniform(0.01, 0.06))

    thread = Thread(target=run)
    thread.start()
    yield count
    stopped.set()
    thread.join()


def test_oracle_sessions_are_killed(dsn: str, language: str) -> None:
    set_up(dsn, language)
    with Load(dsn, lost=LOST) as load, killer(dsn) as killed:
        load.wait(4, transactions=150)
    assert not load.errors, load.errors[0]
    assert killed[0] > 20
    assert differences(dsn) == {}
    assert rows_left(dsn) == 0


@pytest.mark.usefixtures("server")  # which tells if there can be none
def test_oracle_the_server_is_killed() -> None:
    programs = machine.server_programs()
    if programs is None:
        pytest.skip("the server of these tests is not ours to kill")
    with cluster.serve(programs.folder, {}, "killed by a test") as server:
        languages = ("plpgsql", "plpython3u") if server.plpython else ("plpgsql",)
        for language in languages:
            with psycopg.connect(server.dsn, autocommit=True) as conn:
                conn.execute(f"CREATE DATABASE {language}")  # type: ignore[arg-type]
        databases = {name: psycopg.conninfo.make_conninfo(server.dsn, dbname=name) for name in languages}
        for language, dsn in databases.items():
            with psycopg.connect(dsn) as conn:
                if language == "plpython3u":
                    conn.execute("CREATE EXTENSION plpython3u")
                pg_stepping.init(conn)
            set_up(dsn, language)
        for _ in range(3):
            crash(server, databases)


def crash(server: devserver.Server, databases: dict[str, str]) -> None:
    assert server.cluster is not None
    loads = [Load(dsn, sessions=4, lost=(*LOST, pg.AdminShutdown)) for dsn in databases.values()]
    for load in loads:
        load.__enter__()
    for load in loads:
        load.wait(1, transactions=50)
    server.cluster.kill()
    for load in loads:
        load.__exit__()
        assert not load.errors, load.errors[0]
    server.cluster.start()
    for dsn in databases.values():
        assert differences(dsn) == {}
        assert rows_left(dsn) == 0
