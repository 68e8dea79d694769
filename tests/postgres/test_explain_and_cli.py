"""explain, and the command line from end to end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

import pg_stepping

SCHEMA = """
CREATE TABLE users (user_id integer PRIMARY KEY, name text);
CREATE TABLE meters (meter_id integer PRIMARY KEY, user_id integer);
CREATE TABLE reads (meter_id integer, day date, value float8);
CREATE INDEX reads_by_meter ON reads (meter_id);
INSERT INTO users VALUES (1, 'oli');
INSERT INTO meters VALUES (7, 1);
INSERT INTO reads VALUES (7, '2024-01-01', 1.5);
"""
QUERY = """SELECT m.user_id, r.day, sum(r.value) AS value
FROM users u JOIN meters m USING (user_id) JOIN reads r USING (meter_id) GROUP BY m.user_id, r.day"""


@pytest.fixture
def prepared(conn: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    conn.execute(SCHEMA)
    conn.commit()
    return conn


def test_explain_names_plan_statements_and_indexes(prepared: psycopg.Connection[Any], language: str) -> None:
    pg_stepping.create_view(prepared, "usage", QUERY, language=language)
    told = pg_stepping.explain(prepared, "usage")
    for line in (
        f"View public.usage, maintained in {language}",
        "      Join meters.meter_id = reads.meter_id and meters.user_id = users.user_id",
        "        Scan public.reads (meter_id integer, day date, value double precision)",
        "When public.reads changes (columns meter_id, day, value)",
        "  joins public.meters by index public.meters_pkey (meter_id)",
        "  joins public.reads by index public.reads_by_meter (meter_id)",
        "  writes stepping.usage by index usage_key",
    ):
        assert line in told, told
    assert "CREATE INDEX ON public.meters (user_id);" in told  # a change of users has to find its meters
    prepared.execute("CREATE INDEX ON meters (user_id)")
    assert "Missing indexes" not in pg_stepping.explain(prepared, "usage")


def test_explain_names_the_index_that_a_touched_key_needs(prepared: psycopg.Connection[Any]) -> None:
    pg_stepping.create_view(prepared, "peaks", "SELECT day, max(value) AS most FROM reads GROUP BY day")
    pg_stepping.create_view(prepared, "lists", "SELECT day, array_agg(value) AS all FROM reads GROUP BY day")
    for name in ("peaks", "lists"):
        told = pg_stepping.explain(prepared, name)
        assert "    finds the rows of a key by reading all: WARNING, no index on public.reads (day)" in told
        assert "Missing indexes\n  CREATE INDEX ON public.reads (day);" in told
    assert (
        "computed afresh for a touched group where it may be that of a row that is gone"
        in pg_stepping.explain(prepared, "peaks")
    )
    prepared.execute("CREATE INDEX reads_by_day ON reads (day)")
    for name in ("peaks", "lists"):
        told = pg_stepping.explain(prepared, name)
        assert "    finds the rows of a key by index public.reads_by_day" in told
        assert "Missing indexes" not in told


def test_the_indexes_that_explain_names_are_used(
    prepared: psycopg.Connection[Any], connect: Any, language: str
) -> None:
    pg_stepping.create_view(prepared, "usage", QUERY, language=language)
    prepared.execute(
        """INSERT INTO users SELECT i, 'u' FROM generate_series(2, 2000) AS i;
           INSERT INTO meters SELECT i, i % 2000 FROM generate_series(10, 6000) AS i;
           INSERT INTO reads SELECT i % 6000, '2024-01-01', 1 FROM generate_series(1, 30000) AS i"""
    )
    prepared.commit()
    prepared.autocommit = True
    prepared.execute("ANALYZE")
    prepared.autocommit = False
    counts = """SELECT coalesce(sum(seq_tup_read), 0), coalesce(sum(idx_tup_fetch), 0)
                FROM pg_stat_xact_user_tables WHERE relname IN ('users', 'meters', 'reads', 'usage')"""
    fresh = connect()  # whose statistics hold nothing of what was done before
    fresh.execute("INSERT INTO reads VALUES (17, '2024-01-02', 1)")
    found = fresh.execute(counts).fetchone()
    assert found is not None
    assert found[0] == 0
    assert found[1] < 20
    assert pg_stepping.verify(fresh, "usage") == []


def test_mermaid(prepared: psycopg.Connection[Any], language: str) -> None:
    pg_stepping.create_view(prepared, "usage", QUERY, language=language)
    drawn = pg_stepping.explain(prepared, "usage", format="mermaid")
    assert drawn.startswith("flowchart LR\n")
    assert 'view(["public.usage"])' in drawn
    assert drawn.count("-->") == 6


def test_the_command_line(prepared: psycopg.Connection[Any], dsn: str, language: str, tmp_path: Path) -> None:
    (tmp_path / "query.sql").write_text(QUERY)

    def run(*arguments: str, fails: int = 0) -> tuple[str, str]:
        command = [sys.executable, "-m", "pg_stepping.cli", "--dsn", dsn, *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == fails, done.stderr
        return done.stdout, done.stderr

    up, messages = run("generate", "usage", "query.sql", "--language", language)
    assert up.startswith("-- public.usage: a maintained view")
    assert messages == ""
    assert run("generate", "usage", "query.sql", "--language", language)[0] == up
    assert "drop_view('public', 'usage')" in run("generate", "--down", "usage", "query.sql")[0]
    assert run("list") == ("", "0 maintained views\n")
    assert run("create", "usage", "query.sql", "--index", "day,user_id", "--language", language)[0] == ""
    assert run("list")[0].startswith(f"public.usage\t{language}\t")
    assert run("verify", "usage") == ("", "view usage: is right\n")
    prepared.execute("UPDATE stepping.usage SET n = n + 1, sum_value = 9")
    prepared.commit()
    shown, told = run("verify", "usage", fails=1)
    assert shown.split()[:4] == ["+/-", "user_id", "day", "value"]
    assert [line.split()[:2] for line in shown.splitlines()[2:]] == [["-1", "1"], ["+1", "1"]]
    assert "2 rows differ" in told
    assert "When public.reads changes" in run("explain", "usage")[0]
    assert run("drop", "usage") == ("", "view usage is gone\n")
    assert "no maintained view 'usage'" in run("drop", "usage", fails=2)[1]
    assert run("init", "--print")[0].startswith("CREATE SCHEMA IF NOT EXISTS stepping;")
