"""A throwaway server: which one is taken, what is said if there is none, and that nothing stays behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from pg_stepping import devserver
from pg_stepping.devserver import cluster, machine, wheel


def absent(why):
    @contextmanager
    def start(settings) -> Iterator[devserver.Server]:
        raise devserver.NoServer(why)
        yield

    return start


def present(place):
    @contextmanager
    def start(settings) -> Iterator[devserver.Server]:
        yield devserver.Server("", place, "17.0", plpython=False)

    return start


@pytest.fixture
def no_variable(monkeypatch):
    monkeypatch.delenv("PG_STEPPING_DSN", raising=False)


@pytest.mark.usefixtures("no_variable")
def test_the_first_kind_that_starts_is_taken():
    kinds = [absent("not me"), present("here"), present("there")]
    with devserver.start(kinds=kinds) as server:
        assert str(server) == "PostgreSQL 17.0, here, without plpython3u, so PL/pgSQL only."


@pytest.mark.usefixtures("no_variable")
def test_no_server_is_one_sentence_with_the_reasons():
    with (
        pytest.raises(devserver.NoServer) as raised,
        devserver.start(kinds=[absent("no disk"), absent("no luck")]),
    ):
        pass
    assert str(raised.value).startswith("No PostgreSQL server to work on (no disk; no luck): install")


def test_a_named_server_that_does_not_answer_is_not_replaced(monkeypatch):
    monkeypatch.setenv("PG_STEPPING_DSN", "host=127.0.0.1 port=1")
    with (
        pytest.raises(devserver.NoServer, match="PG_STEPPING_DSN names a server that cannot be used"),
        devserver.start(kinds=[present("here")]),
    ):
        pass


def test_a_named_server_is_used(monkeypatch, server_dsn):
    monkeypatch.setenv("PG_STEPPING_DSN", server_dsn)
    with devserver.start(kinds=[]) as server:
        assert server.dsn == server_dsn
        assert server.cluster is None


def test_the_wheel_is_an_extra(monkeypatch):
    monkeypatch.setattr(wheel, "find_spec", lambda name: None)
    with pytest.raises(devserver.NoServer, match="wheel-server is not installed"), wheel.start({}):
        pass


def test_old_and_broken_server_programs_are_passed_over(tmp_path):
    for name, says in {"14": "(PostgreSQL) 14.9", "16": "(PostgreSQL) 16.2", "broken": "no"}.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "initdb").touch()
        (folder / "postgres").write_text(f"#!/bin/sh\necho 'postgres {says}'\n")
        (folder / "postgres").chmod(0o755)
    assert machine.newest(tmp_path.iterdir()) == (16, tmp_path / "16")
    assert machine.newest([tmp_path / "14", tmp_path / "broken", tmp_path / "absent"]) is None


@pytest.fixture
def programs():
    found = machine.server_programs()
    if found is None:
        pytest.skip("a private cluster needs server programs, and this machine has none")
    return found.folder


def test_a_killed_cluster_starts_again_with_what_was_committed(programs):
    with cluster.serve(programs, {}, "a cluster") as server:
        assert server.cluster is not None
        with psycopg.connect(server.dsn) as conn:
            conn.execute("CREATE TABLE kept AS SELECT 1 AS x")
        session = psycopg.connect(server.dsn)
        session.execute("INSERT INTO kept VALUES (2)")
        server.cluster.kill()
        with pytest.raises(psycopg.OperationalError):
            for _ in range(300):  # a backend of a busy machine may answer before it learns of it
                session.execute("SELECT pg_sleep(0.1)")
        session.close()

        server.cluster.start()
        with psycopg.connect(server.dsn) as conn:
            assert conn.execute("SELECT x FROM kept").fetchall() == [(1,)]


def test_tcp_asks_for_the_password(programs):
    with cluster.serve(programs, {"work_mem": "5MB"}, "a cluster") as server:
        assert server.cluster is not None
        with psycopg.connect(server.cluster.tcp_dsn) as conn:
            assert conn.execute("SHOW work_mem").fetchone() == ("5MB",)
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(server.cluster.tcp_dsn, password="wrong")


HOLD = """
from pg_stepping import devserver
from pg_stepping.devserver import cluster
with devserver.start(variables=[], kinds=[cluster.start]) as server:
    print(server.cluster.folder, flush=True)
    input()
"""


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_nothing_behind(how):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with holder:
        assert holder.stdout is not None
        folder = Path(holder.stdout.readline().decode().strip())
        postmaster = int((folder / "data" / "postmaster.pid").read_text().split()[0])
        holder.send_signal(how)
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(postmaster, 0)
