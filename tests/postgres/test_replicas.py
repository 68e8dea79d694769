"""Servers that follow another: a standby shows the views, a subscriber notices that its own were passed by."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

import pg_stepping
from pg_stepping import devserver
from pg_stepping.devserver import machine
from pg_stepping.devserver.cluster import Cluster
from pg_stepping.errors import ConnectionUnusable

Connection = psycopg.Connection[Any]
SCHEMA = """
CREATE TABLE meters (id integer PRIMARY KEY, owner text);
CREATE TABLE reads (id integer PRIMARY KEY, meter_id integer, value float8);
"""
ROWS = """
INSERT INTO meters SELECT i, 'owner ' || i % 3 FROM generate_series(1, 9) AS i;
INSERT INTO reads SELECT i, 1 + i % 9, i / 7.0 FROM generate_series(1, 100) AS i;
"""
QUERY = (
    "SELECT m.owner, sum(r.value) AS value FROM reads r JOIN meters m ON m.id = r.meter_id GROUP BY m.owner"
)


@pytest.fixture(scope="module")
def primary(server: devserver.Server) -> Iterator[Cluster]:
    """A server of its own, that others may follow in either way."""
    programs = machine.server_programs()
    if programs is None or server.cluster is None:
        pytest.skip("the server of these tests is not on this machine: nothing can follow it")
    cluster = Cluster(programs.folder, {"fsync": "off", "wal_level": "logical", "max_replication_slots": "4"})
    try:
        cluster.create()
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


def until(conn: Connection, query: str) -> None:
    """Wait until a query is true."""
    deadline = time.monotonic() + 30
    while conn.execute(query).fetchone() != (True,):  # type: ignore[call-overload]
        assert time.monotonic() < deadline, query
        time.sleep(0.02)


def test_oracle_a_standby_shows_views_in_either_mode(primary: Cluster) -> None:
    standby = Cluster(primary.programs, primary.settings)
    try:
        if "user" in standby._process:
            os.chown(standby.folder, standby._process["user"], standby._process["group"])
        command = [
            primary.programs / "pg_basebackup",
            "-d",
            primary.dsn,
            "-D",
            standby.folder / "data",
            "-R",
            "-c",
            "fast",
        ]
        with psycopg.connect(primary.dsn, autocommit=True) as conn:
            conn.execute(SCHEMA + ROWS)  # type: ignore[call-overload]
            pg_stepping.init(conn)
            pg_stepping.create_view(conn, "usage", QUERY, language="plpgsql")
            pg_stepping.create_view(conn, "later", QUERY, language="plpgsql", mode="deferred")
            done = subprocess.run(command, capture_output=True, text=True, check=False, **standby._process)
            assert done.returncode == 0, done.stderr
            standby.start()
            conn.execute(
                "INSERT INTO reads VALUES (1000, 1, 5), (1001, 2, 6); UPDATE meters SET owner = 'x' WHERE id = 3"
            )
            pg_stepping.apply(conn, "later")
            conn.execute(
                "DELETE FROM reads WHERE id < 10; INSERT INTO meters VALUES (10, 'new'); INSERT INTO reads VALUES (1002, 10, 1)"
            )
            place = conn.execute("SELECT pg_current_wal_lsn()").fetchone()
            assert place is not None
        with psycopg.connect(standby.dsn) as conn:
            until(conn, f"SELECT pg_last_wal_replay_lsn() >= '{place[0]}'")
            conn.rollback()
            assert conn.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
            for view in ("usage", "later"):
                assert pg_stepping.verify(conn, view) == []
                assert (1.0,) in conn.execute(f"SELECT value FROM {view} WHERE owner = 'new'").fetchall()
            assert conn.execute("SELECT value FROM later_as_applied WHERE owner = 'new'").fetchall() == []
            assert conn.execute("SELECT count(*) FROM stepping.views WHERE in_step").fetchone() == (2,)
            with pytest.raises(ConnectionUnusable):
                pg_stepping.apply(conn, "later")
    finally:
        standby.remove()


@pytest.mark.parametrize("mode", ["immediate", "deferred"])
def test_oracle_what_a_subscriber_applies_is_noticed(primary: Cluster, mode: str) -> None:
    names = f"pub_{mode}", f"sub_{mode}"
    publisher, subscriber = (make_conninfo(primary.dsn, dbname=name) for name in names)
    with psycopg.connect(primary.dsn, autocommit=True) as conn:
        for name in names:
            conn.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
    with (
        psycopg.connect(publisher, autocommit=True) as source,
        psycopg.connect(subscriber, autocommit=True) as target,
    ):
        for conn in (source, target):
            conn.execute(SCHEMA)  # type: ignore[call-overload]
        pg_stepping.init(target)
        pg_stepping.create_view(target, "usage", QUERY, language="plpgsql", mode=mode)
        source.execute(ROWS)  # type: ignore[call-overload]
        source.execute("CREATE PUBLICATION everything FOR TABLE meters, reads")
        source.execute(f"SELECT pg_create_logical_replication_slot('{names[1]}', 'pgoutput')")  # type: ignore[call-overload]
        target.execute(
            f"CREATE SUBSCRIPTION {names[1]} CONNECTION '{publisher}' PUBLICATION everything WITH (create_slot = false)"  # type: ignore[call-overload]
        )
        try:
            until(target, "SELECT count(*) = 100 FROM reads")
            until(target, "SELECT count(*) = 9 FROM meters")
            for change, arrived in (
                ("INSERT INTO reads VALUES (200, 1, 1)", "SELECT EXISTS (SELECT FROM reads WHERE id = 200)"),
                (
                    "UPDATE meters SET owner = 'x' WHERE id = 1",
                    "SELECT EXISTS (SELECT FROM meters WHERE owner = 'x')",
                ),
                ("DELETE FROM reads WHERE id < 50", "SELECT NOT EXISTS (SELECT FROM reads WHERE id < 50)"),
                ("TRUNCATE reads", "SELECT NOT EXISTS (SELECT FROM reads)"),
            ):
                pg_stepping.repair(target, "usage")
                assert target.execute("SELECT in_step FROM stepping.views").fetchone() == (True,)
                assert pg_stepping.verify(target, "usage") == []
                source.execute(change)  # type: ignore[call-overload]
                until(target, arrived)
                row = target.execute("SELECT in_step, problem FROM stepping.views").fetchone()
                assert row is not None and row[0] is False and "logical replication" in row[1], change
                assert pg_stepping.verify(target, "usage") != []
            assert pg_stepping.repair(target, "usage") > 0
            target.execute("INSERT INTO reads VALUES (1, 1, 1)")
            assert pg_stepping.verify(target, "usage") == []
            assert target.execute("SELECT count(*) FROM usage").fetchone() == (1,)
        finally:
            target.execute(f"DROP SUBSCRIPTION {names[1]}")  # type: ignore[call-overload]


def test_a_publication_of_all_tables_stops_no_writer(conn: Connection, language: str) -> None:
    """Rows of a table without a key cannot be changed there, unless it says how they are told apart."""
    conn.execute(SCHEMA + ROWS)
    views = {
        "total": "SELECT owner, sum(value) AS s FROM meters JOIN reads ON meter_id = meters.id GROUP BY owner",
        "counts": "SELECT n, count(*) AS c FROM (SELECT count(*) AS n FROM reads GROUP BY meter_id) AS q GROUP BY n",
        "ranks": "SELECT id, rank() OVER (PARTITION BY meter_id ORDER BY value) AS k FROM reads",
        "bag": "SELECT owner FROM meters JOIN reads ON meter_id = meters.id",
    }
    for name, query in views.items():
        pg_stepping.create_view(conn, name, query, language=language)
        pg_stepping.create_view(conn, f"{name}_later", query, language=language, mode="deferred")
    pg_stepping.create_view(conn, "striped", views["total"], language=language, stripes=2)
    pg_stepping.switch_view(conn, "bag", mode="deferred")
    conn.execute("SET LOCAL client_min_messages = error")
    conn.execute("CREATE PUBLICATION everything FOR ALL TABLES")
    for _ in range(2):
        conn.execute("UPDATE reads SET value = value + 1, meter_id = 1 + meter_id % 9 WHERE id % 3 = 0")
        conn.execute("DELETE FROM reads WHERE id % 5 = 0; DELETE FROM meters WHERE id = 4")
        for name in [*views, "striped", *(f"{name}_later" for name in views)]:
            assert pg_stepping.verify(conn, name) == []
        for name in ("bag", *(f"{name}_later" for name in views)):
            assert pg_stepping.apply(conn, name) > 0
            assert pg_stepping.verify(conn, name) == []
        conn.execute("INSERT INTO reads SELECT i, 1 + i % 9, i FROM generate_series(1000, 1100) AS i")
        conn.execute("INSERT INTO meters VALUES (4, 'owner 1') ON CONFLICT DO NOTHING")
        conn.execute("DELETE FROM reads WHERE id >= 1000")
    for name in (*views, "striped"):
        pg_stepping.drop_view(conn, name)
