"""The pytest plug-in, in pytest runs of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

import pg_stepping
from pg_stepping.pytest_plugin import MaintainedViews

TESTS = """
import psycopg
import pytest

@pytest.fixture
def conn():
    with psycopg.connect({dsn!r}) as conn:
        yield conn
        conn.rollback()

def test_right(maintained_views, conn):
    maintained_views.check(conn)
    conn.execute("INSERT INTO t VALUES (1)")

def test_wrong_before_a_commit(maintained_views, conn):
    maintained_views.check(conn, "v")
    conn.execute("INSERT INTO t VALUES (1)")
    conn.execute("UPDATE stepping.v SET n = n + 41")

def test_no_fixture():
    pass

def test_wrong_after_a_commit({more}):
    with psycopg.connect({dsn!r}) as conn:
        conn.execute("UPDATE stepping.v SET n = n + 1")
"""


@pytest.mark.parametrize(
    ("language", "autouse"), [("plpgsql", False), ("plpgsql", True)], indirect=["language"]
)
def test_a_view_out_of_step_fails_the_test(
    conn: psycopg.Connection[Any], dsn: str, tmp_path: Path, autouse: bool
) -> None:
    conn.execute("CREATE TABLE t (n integer); INSERT INTO t VALUES (1)")
    pg_stepping.create_view(conn, "v", "SELECT n AS g, count(*) AS c FROM t GROUP BY n")
    conn.commit()
    (tmp_path / "test_it.py").write_text(TESTS.format(dsn=dsn, more="" if autouse else "maintained_views"))
    (tmp_path / "pytest.ini").write_text(
        f"[pytest]\npg_stepping_dsn = {dsn}\npg_stepping_autouse = {str(autouse).lower()}\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "4 passed, 2 errors" in done.stdout, done.stdout
    assert "maintained view v is out of step" in done.stdout
    assert "+1  g = 1, c = 43" in done.stdout
    assert "-1  g = 1, c = 2" in done.stdout
    assert "maintained view public.v is out of step" in done.stdout


@pytest.mark.parametrize("language", ["plpgsql"])
def test_names_with_dots_are_checked(conn: psycopg.Connection[Any]) -> None:
    conn.execute('CREATE SCHEMA "a.b"; CREATE TABLE "a.b".t (n integer); INSERT INTO "a.b".t VALUES (1)')
    pg_stepping.create_view(conn, "c.d", 'SELECT n FROM "a.b".t', schema="a.b")
    views = MaintainedViews()
    views.check(conn)
    assert views.out_of_step() == ""
    (state,) = conn.execute("SELECT stages[1] FROM stepping.maintained_view").fetchone() or ("",)
    conn.execute(f'DELETE FROM stepping."{state}"')
    assert views.out_of_step().splitlines()[1:] == ["  -1  n = 1"]
