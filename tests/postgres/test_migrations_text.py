"""The generated migration: deterministic, whole in any tool, and gone without a trace when it is undone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

import pg_stepping

SCHEMA = """
CREATE SCHEMA "odd % :name";
CREATE TABLE "odd % :name"."Reads ${x} {{y}}" (
    "select" integer PRIMARY KEY, "a:b" text, n integer, "back\\slash" float8
);
INSERT INTO "odd % :name"."Reads ${x} {{y}}" VALUES (1, '100%', 7, 1.5), (2, 'x:y ${z} {{w}}', 8, 0.1);
"""
NASTY = r"""
SELECT "a:b", n % 5 AS "mod:ulo", sum("back\slash") AS s, count(*) FILTER (WHERE "a:b" LIKE '%\%%') AS percents
FROM "odd % :name"."Reads ${x} {{y}}"
WHERE "a:b" <> ':bind %s %(x)s ${env} {{jinja}} {% if %}' AND "a:b" <> E'line\nbreak \\ ''quote'''
GROUP BY "a:b", n % 5
"""
PLACEHOLDER = re.compile(r"%|(?<!:):(?!:)\w|\$\{|\{\{|\{%")


@pytest.fixture
def prepared(conn: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    conn.execute(SCHEMA)
    conn.commit()
    return conn


def objects(conn: psycopg.Connection[Any]) -> list[Any]:
    return conn.execute(
        """SELECT n.nspname, c.relname, c.relkind::text FROM pg_class AS c
           JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname !~ '^pg_'
           UNION ALL SELECT n.nspname, p.proname, 'function' FROM pg_proc AS p
           JOIN pg_namespace AS n ON n.oid = p.pronamespace WHERE n.nspname !~ '^pg_'
           UNION ALL SELECT tgrelid::regclass::text, tgname, 'trigger' FROM pg_trigger
           ORDER BY 1, 2, 3"""
    ).fetchall()


@pytest.mark.parametrize("mode", ["immediate", "deferred"])
def test_no_tool_finds_a_placeholder(prepared: psycopg.Connection[Any], language: str, mode: str) -> None:
    prepared.execute("DROP SCHEMA stepping CASCADE")  # so that the script brings the catalog, too
    script = pg_stepping.generate(prepared, "odd:view %", NASTY, language=language, mode=mode)
    assert ("log_class" in script.up) == (mode == "deferred")  # what applies a part by keys, too
    assert "CREATE TABLE IF NOT EXISTS stepping.maintained_view" in script.up
    for text in (script.up, script.down):
        assert PLACEHOLDER.findall(text) == []
    prepared.execute(script.up)  # type: ignore[call-overload]
    assert pg_stepping.verify(prepared, "odd:view %") == []
    prepared.execute("""INSERT INTO "odd % :name"."Reads ${x} {{y}}" VALUES (3, '5%', 12, 2)""")
    assert pg_stepping.verify(prepared, "odd:view %") == []
    assert prepared.execute('SELECT sum(percents) FROM "odd:view %"').fetchone() == (2,)


def test_up_and_down_by_psql(
    prepared: psycopg.Connection[Any], dsn: str, language: str, tmp_path: Path
) -> None:
    script = pg_stepping.generate(prepared, "v", NASTY, language=language)
    prepared.commit()
    before = objects(prepared)
    for flags in ([], ["-1"]):
        for text in (script.up, script.down):
            (tmp_path / "script.sql").write_text(text)
            command = [
                "psql",
                "-X",
                "-q",
                "-v",
                "ON_ERROR_STOP=1",
                *flags,
                "-f",
                str(tmp_path / "script.sql"),
            ]
            done = subprocess.run([*command, dsn], capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, "")
            prepared.rollback()
            if text is script.up:
                assert pg_stepping.verify(prepared, "v") == []
                assert prepared.execute("SELECT count(*) FROM v").fetchone() == (2,)
                prepared.commit()
        assert objects(prepared) == before


def test_equal_text_in_another_process(prepared: psycopg.Connection[Any], dsn: str, language: str) -> None:
    prepared.commit()
    run = (
        "import sys, psycopg, pg_stepping\n"
        "with psycopg.connect(sys.argv[1]) as conn:\n"
        "    script = pg_stepping.generate(conn, 'v', sys.argv[2], language=sys.argv[3])\n"
        "    sys.stdout.write(script.up + script.down + script.fingerprint)\n"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", run, dsn, NASTY, language],
            env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(texts) == 1
    assert "CREATE VIEW" in texts.pop()


def test_nothing_is_committed_behind_the_callers_back(
    prepared: psycopg.Connection[Any], connect: Any, language: str
) -> None:
    prepared.commit()
    before = objects(prepared)
    pg_stepping.create_view(prepared, "v", NASTY, language=language)
    assert connect().execute("SELECT to_regclass('v')").fetchone() == (None,)
    prepared.rollback()
    assert objects(prepared) == before


def test_settings_of_the_session_stay_as_they_were(conn: psycopg.Connection[Any], language: str) -> None:
    conn.execute("SET extra_float_digits = 0; SET timezone = 'Asia/Tokyo'")
    conn.execute("CREATE TABLE t (at timestamptz, x float8); INSERT INTO t VALUES (now(), 0.1)")
    query = "SELECT at::date AS day, sum(x) AS x FROM t GROUP BY at::date"
    pg_stepping.create_view(conn, "v", query, language=language)
    shown = conn.execute(
        "SELECT current_setting('extra_float_digits'), current_setting('timezone')"
    ).fetchone()
    assert shown == ("0", "Asia/Tokyo")
    conn.execute("SET timezone = 'UTC'")  # the view goes on with the settings it was made with
    conn.execute("INSERT INTO t VALUES ('2024-01-01 20:00+00', 0.30000000000000004)")
    assert pg_stepping.verify(conn, "v") == []
    found = conn.execute("SELECT day::text FROM v WHERE day < '2024-02-01'").fetchall()
    assert found == [("2024-01-02",)]
