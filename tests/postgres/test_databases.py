"""What happens to databases: copies, dumps in every form, and sessions that a pooler shares."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

import pg_stepping
from pg_stepping import devserver
from pg_stepping.devserver import machine
from pg_stepping.devserver.cluster import Cluster, free_port, process_options

Connection = psycopg.Connection[Any]

SCHEMA = """
CREATE TABLE meters (id integer PRIMARY KEY, owner text);
CREATE TABLE reads (meter_id integer, value float8);
INSERT INTO meters SELECT i, 'owner ' || i % 3 FROM generate_series(1, 9) AS i;
INSERT INTO reads SELECT 1 + i % 9, i / 7.0 FROM generate_series(1, 100) AS i;
"""
QUERY = "SELECT m.owner, sum(r.value) AS value, max(r.value) AS most FROM reads r JOIN meters m ON m.id = r.meter_id GROUP BY m.owner"


@pytest.fixture
def filled(dsn: str, language: str) -> str:
    """The conninfo of a database with a view in it, of which nothing is open."""
    with psycopg.connect(dsn) as conn:
        conn.execute(SCHEMA)  # type: ignore[call-overload]
        pg_stepping.create_view(conn, "usage", QUERY, language=language)
    return dsn


def goes_on(dsn: str) -> None:
    with psycopg.connect(dsn) as conn:
        assert conn.execute("SELECT in_step, problem FROM stepping.views").fetchall() == [(True, None)]
        assert pg_stepping.verify(conn, "usage") == []
        conn.execute(
            "WITH m AS (INSERT INTO meters VALUES (99, 'new')) INSERT INTO reads VALUES (99, 1), (1, 2)"
        )
        conn.execute("DELETE FROM reads WHERE value > 10; UPDATE meters SET owner = 'owner 7' WHERE id = 3")
        assert pg_stepping.verify(conn, "usage") == []
        assert conn.execute("SELECT count(*) > 2 FROM usage").fetchone() == (True,)


def program(server: devserver.Server, name: str, *arguments: str | Path) -> None:
    programs = machine.server_programs()
    if programs is None or programs.major < int(server.version.split(".")[0]):
        pytest.skip(f"{name} of the server's version is not on this machine")
    run = [programs.folder / name, *arguments]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_oracle_a_copy_by_template(filled: str, server_dsn: str) -> None:
    source = str(conninfo_to_dict(filled)["dbname"])
    with psycopg.connect(server_dsn, autocommit=True) as conn:
        conn.execute(f'CREATE DATABASE "{source}_copy" TEMPLATE "{source}"')  # type: ignore[call-overload]
        try:
            goes_on(filled.replace(source, f"{source}_copy"))
        finally:
            conn.execute(f'DROP DATABASE "{source}_copy"')  # type: ignore[call-overload]


def test_oracle_a_parallel_restore(
    filled: str, database: Callable[..., str], server: devserver.Server, tmp_path: Path
) -> None:
    target = database()
    program(server, "pg_dump", "-Fd", "-j2", "-f", tmp_path / "dump", filled)
    program(server, "pg_restore", "-j2", "-d", target, tmp_path / "dump")
    goes_on(target)


def test_oracle_schema_and_data_apart(
    filled: str, database: Callable[..., str], server: devserver.Server, tmp_path: Path
) -> None:
    target = database()
    program(server, "pg_dump", "-Fc", "-f", tmp_path / "dump", filled)
    program(server, "pg_restore", "--schema-only", "-d", target, tmp_path / "dump")
    program(server, "pg_restore", "--data-only", "--disable-triggers", "-d", target, tmp_path / "dump")
    with psycopg.connect(target) as conn:
        assert pg_stepping.verify(conn, "usage") == []
        pg_stepping.repair(conn, "usage")  # what the disabled triggers left as a doubt
    goes_on(target)


def test_oracle_a_schema_alone(
    filled: str, database: Callable[..., str], server: devserver.Server, tmp_path: Path
) -> None:
    """Tables and triggers; with the rows of the catalog, which are data, it is known what they are."""
    target = database()
    with psycopg.connect(filled) as conn:
        pg_stepping.create_view(conn, "total", "SELECT count(*) AS n FROM reads")
    program(server, "pg_dump", "-Fc", "-s", "-f", tmp_path / "schema", filled)
    ours = ("-t", "stepping.maintained_view", "-t", "stepping.used")
    program(server, "pg_dump", "-Fc", "-a", *ours, "-f", tmp_path / "catalog", filled)
    for dump in ("schema", "catalog"):
        program(server, "pg_restore", "-d", target, tmp_path / dump)
    with psycopg.connect(target) as conn:
        assert pg_stepping.repair(conn, "total") == 1  # the one row over no rows is data, too
        conn.execute("INSERT INTO meters SELECT i, 'owner ' || i FROM generate_series(1, 9) AS i")
        conn.execute("INSERT INTO reads SELECT i, i FROM generate_series(1, 9) AS i")
        assert pg_stepping.verify(conn, "total") == []
        assert conn.execute("SELECT n FROM total").fetchone() == (9,)
        pg_stepping.drop_view(conn, "total")
    goes_on(target)
    with psycopg.connect(filled) as conn:
        pg_stepping.drop_view(conn, "total")


def test_oracle_the_data_of_one_table_restored_past_the_triggers_is_noticed(
    filled: str, server: devserver.Server, tmp_path: Path
) -> None:
    program(server, "pg_dump", "-Fc", "-f", tmp_path / "dump", filled)
    with psycopg.connect(filled) as conn:
        conn.execute("DELETE FROM reads")
    program(
        server,
        "pg_restore",
        "--data-only",
        "--disable-triggers",
        "-t",
        "reads",
        "-d",
        filled,
        tmp_path / "dump",
    )
    with psycopg.connect(filled) as conn:
        row = conn.execute("SELECT in_step, problem FROM stepping.views").fetchone()
        assert row is not None and row[0] is False and "had its triggers disabled" in row[1]
        assert pg_stepping.verify(conn, "usage") != []
        assert pg_stepping.repair(conn, "usage") > 0
    goes_on(filled)


def test_oracle_sessions_that_a_pooler_shares(filled: str) -> None:
    """PgBouncer in transaction mode: a session serves many clients in turn, and is cleaned, or not, in between."""
    with psycopg.connect(filled, autocommit=True) as a, psycopg.connect(filled, autocommit=True) as b:
        for i in range(12):
            session = (a, b)[i % 2]
            with session.transaction():
                session.execute("INSERT INTO reads VALUES (%s, 1)", [1 + i % 9])
                session.execute(
                    "WITH m AS (UPDATE meters SET owner = 'x' || %s WHERE id = 4) INSERT INTO reads VALUES (4, 2)",
                    [i],
                )
            session.execute(("DISCARD ALL", "DISCARD PLANS", "RESET ALL", "DISCARD SEQUENCES")[i % 4])  # type: ignore[call-overload]
    goes_on(filled)


def test_oracle_writers_behind_pgbouncer_in_transaction_mode(
    filled: str, server: devserver.Server, tmp_path: Path
) -> None:
    """Four clients share two sessions, which nobody cleans; the test above does the same without the program."""
    pooler = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if pooler is None or server.cluster is None:
        pytest.skip("pgbouncer is not on this machine, or the server is elsewhere")
    cluster, port = server.cluster, free_port()
    name = str(conninfo_to_dict(filled)["dbname"])
    folder = cluster.folder / f"pooler-{port}"
    folder.mkdir(mode=0o777)
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\npooled = host={cluster.folder} port={cluster.port} dbname={name} user=postgres\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        "pool_mode = transaction\ndefault_pool_size = 2\nserver_reset_query =\nlogfile = /dev/null\n"
    )
    process = subprocess.Popen(
        [pooler, folder / "pgbouncer.ini"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **process_options(folder),
    )
    dsn = f"host=127.0.0.1 port={port} dbname=pooled user=someone"
    backends = set[int]()

    def write(client: int) -> None:
        with psycopg.connect(dsn, prepare_threshold=None, autocommit=True) as session:
            for i in range(15):
                session.execute("INSERT INTO reads VALUES (%s, %s)", [1 + (client + i) % 9, i])
                session.execute("UPDATE meters SET owner = %s WHERE id = %s", [f"owner {i % 4}", 1 + client])
                with session.transaction():
                    session.execute("DELETE FROM reads WHERE ctid = (SELECT min(ctid) FROM reads)")
                    row = session.execute("SELECT pg_backend_pid()").fetchone()
                    backends.add(row[0] if row else 0)

    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                psycopg.connect(dsn).close()
                break
            except psycopg.OperationalError:
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.05)
        with psycopg.connect(filled, autocommit=True) as conn:
            pg_stepping.create_view(conn, "later", QUERY, mode="deferred")
        with ThreadPoolExecutor(4) as clients:
            list(clients.map(write, range(4)))
        assert 1 <= len(backends) <= 2
        with psycopg.connect(dsn, prepare_threshold=None) as session:
            assert pg_stepping.verify(session, "usage") == []
            assert pg_stepping.verify(session, "later") == []
            session.commit()
            assert pg_stepping.apply(session, "later") > 0
    finally:
        process.terminate()
        process.wait(20)
    with psycopg.connect(filled) as conn:
        pg_stepping.drop_view(conn, "later")
    goes_on(filled)


def test_oracle_pg_upgrade_keeps_views(server: devserver.Server) -> None:
    """From this version to itself, since there may be no other: what it does to a cluster is the same."""
    programs = machine.server_programs()
    if programs is None or server.cluster is None or not (programs.folder / "pg_upgrade").exists():
        pytest.skip("pg_upgrade is not on this machine, or the server is elsewhere")
    old, new = (Cluster(programs.folder, {"fsync": "off"}) for _ in range(2))
    try:
        old.create()
        old.start()
        with psycopg.connect(old.dsn) as conn:
            conn.execute(SCHEMA)  # type: ignore[call-overload]
            if server.plpython:
                conn.execute("CREATE EXTENSION plpython3u")
            pg_stepping.init(conn)
            pg_stepping.create_view(conn, "usage", QUERY)
            pg_stepping.create_view(conn, "later", QUERY, language="plpgsql", mode="deferred")
            conn.execute("INSERT INTO reads VALUES (1, 3)")
        old.stop()
        new.create()
        folders = ["-d", old.folder / "data", "-D", new.folder / "data", "-s", new.folder]
        command = [
            programs.folder / "pg_upgrade",
            "-b",
            programs.folder,
            "-B",
            programs.folder,
            *folders,
            "-U",
            "postgres",
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, **process_options(new.folder)
        )
        assert done.returncode == 0, done.stdout + done.stderr
        new.start()
        with psycopg.connect(new.dsn) as conn:
            assert pg_stepping.verify(conn, "later") == []
            assert pg_stepping.apply(conn, "later") == 1
            assert pg_stepping.verify(conn, "later") == []
            pg_stepping.drop_view(conn, "later")
        goes_on(new.dsn)
    finally:
        old.remove()
        new.remove()
