"""A dump restored elsewhere has the views, right, and maintained from then on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from test_sources import METERS, QUERIES, TREES, create, wrong

from pg_stepping import devserver
from pg_stepping.devserver import machine

Connection = psycopg.Connection[Any]


def copy(server: devserver.Server, source: str, target: str) -> None:
    """pg_dump a database, and let psql restore it into another."""
    programs = machine.server_programs()
    if programs is None or programs.major < int(server.version.split(".")[0]):
        pytest.skip("pg_dump of the server's version is not on this machine")
    environment = {**os.environ, "PGOPTIONS": "-c client_min_messages=warning"}
    dump = subprocess.run(
        [programs.folder / "pg_dump", source], env=environment, capture_output=True, check=True
    )
    psql = [programs.folder / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", target]
    restored = subprocess.run(psql, input=dump.stdout, env=environment, capture_output=True, check=False)
    assert restored.returncode == 0, restored.stderr.decode()


@pytest.mark.parametrize("tree", ["lists", "children"])
def test_oracle_a_restored_database_keeps_its_views(
    server: devserver.Server, database: Callable[..., str], language: str, tree: str
) -> None:
    before, after = database(language), database()
    with psycopg.connect(before) as conn:
        conn.execute(TREES[tree] + METERS)  # type: ignore[call-overload]
        create(conn, language)
    copy(server, before, after)
    with psycopg.connect(after) as conn:
        assert wrong(conn) == []
        for name in QUERIES:
            assert conn.execute(f"SELECT count(*) > 0 FROM {name}").fetchone() == (True,)  # type: ignore[call-overload]
        for statement in (
            "INSERT INTO reads VALUES (5, 1, '2024-01-02', 3), (6, 2, '2024-01-02', 4)",
            "UPDATE reads_1 SET value = 4",
            "WITH m AS (INSERT INTO meters VALUES (9, 'eve')) UPDATE reads SET day = '2024-01-05'",
            "TRUNCATE reads_2",
            "ALTER TABLE reads DETACH PARTITION reads_1"
            if tree == "lists"
            else "ALTER TABLE reads_1 NO INHERIT reads",
        ):
            conn.execute(statement)  # type: ignore[call-overload]
            assert wrong(conn) == [], statement
