"""The Alembic plug-in, with Alembic and SQLAlchemy themselves: autogenerate, check, upgrade, downgrade."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.config import main
from psycopg.conninfo import conninfo_to_dict

import pg_stepping

ENV = """
import runpy

from alembic import context
from sqlalchemy import URL, NullPool, create_engine

import pg_stepping.alembic  # noqa: F401

metadata = runpy.run_path("models.py")["metadata"]

URL_ = URL.create("postgresql+{driver}", **{settings!r})


def run(**options):
    context.configure(target_metadata=metadata, include_schemas=True, **options)
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    run(dialect_name="postgresql")
else:
    with create_engine(URL_, poolclass=NullPool).connect() as connection:
        run(connection=connection)
"""
MODELS = """
from sqlalchemy import *

metadata = MetaData()
Table("meters", metadata, Column("meter_id", Integer, primary_key=True), Column("user_id", Integer))
Table("reads", metadata, Column("meter_id", Integer), Column("day", Date), Column("value", Float))
"""
ODD = 'odd: :name %s ${x} {{y}} "z"'
PYPROJECT = f"""
[tool.pg_stepping]
language = "LANGUAGE"
[tool.pg_stepping.views.by_user]
query = "by_user.sql"
[tool.pg_stepping.views.'{ODD}']
query = "odd.sql"
[tool.pg_stepping.views.daily]
query = "daily.sql"
indexes = [["day"]]
"""
DAILY = "SELECT meter_id, day, sum(value) AS value FROM reads GROUP BY meter_id, day"
BY_USER = "SELECT user_id, sum(value) AS value FROM daily JOIN meters USING (meter_id) GROUP BY user_id"
ODD_QUERY = r"""SELECT 'a:b \: %(x)s ${x} {{y}} {% z %}' || E'\t\\:q' AS "a:b %", count(*) AS n FROM reads"""

DRIVERS = {
    "plpython3u": "psycopg",
    "plpgsql": "psycopg2",
}  # either language with either driver would be all the same

Alembic = Callable[..., str]


@pytest.fixture
def dsn(database: Callable[..., str], language: str) -> str:
    empty = database()
    if language == "plpython3u":
        with psycopg.connect(empty) as conn:
            conn.execute("CREATE EXTENSION plpython3u")
    return empty


@pytest.fixture
def project(tmp_path: Path, dsn: str, language: str) -> Path:
    keys = {"user": "username", "dbname": "database", "host": "host", "port": "port", "password": "password"}
    given = conninfo_to_dict(dsn)
    settings = {keys[k]: int(v) if k == "port" else v for k, v in given.items() if k in keys and v}
    if str(settings.get("host", "")).startswith("/"):
        settings["query"] = {"host": settings.pop("host"), "port": str(settings.pop("port", 5432))}
    (tmp_path / "migrations/versions").mkdir(parents=True)
    (tmp_path / "migrations/env.py").write_text(
        ENV.replace("{driver}", DRIVERS[language]).replace("{settings!r}", repr(settings))
    )
    (tmp_path / "migrations/script.py.mako").write_text(
        '"""${message}"""\n\nfrom alembic import op\nimport sqlalchemy as sa\n\n'
        "revision = ${repr(up_revision)}\ndown_revision = ${repr(down_revision)}\n\n"
        "def upgrade():\n    ${upgrades if upgrades else 'pass'}\n\n"
        "def downgrade():\n    ${downgrades if downgrades else 'pass'}\n"
    )
    (tmp_path / "alembic.ini").write_text(
        "[alembic]\nscript_location = %(here)s/migrations\npath_separator = os\n"
    )
    (tmp_path / "models.py").write_text(MODELS)
    (tmp_path / "pyproject.toml").write_text(PYPROJECT.replace("LANGUAGE", language))
    (tmp_path / "daily.sql").write_text(DAILY)
    (tmp_path / "by_user.sql").write_text(BY_USER)
    (tmp_path / "odd.sql").write_text(ODD_QUERY)
    return tmp_path


@pytest.fixture
def alembic(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Alembic:
    monkeypatch.chdir(project)

    def run(*arguments: str, status: int = 0) -> str:
        failed = False
        try:
            main(argv=list(arguments))
        except SystemExit:
            failed = True
        out, err = capsys.readouterr()
        assert failed == bool(status), out + err
        return out if status == 0 else out + err

    return run


def names(conn: psycopg.Connection[Any]) -> list[str]:
    return [v.name for v in pg_stepping.list_views(conn)]


def test_from_an_empty_database_and_back(
    project: Path, alembic: Alembic, conn: psycopg.Connection[Any], language: str
) -> None:
    conn.autocommit = True
    assert "New upgrade operations detected" in alembic("check", status=1)
    alembic("revision", "--autogenerate", "-m", "first")  # tables and views over them in one revision
    assert "to_regclass" not in str(names(conn))  # nothing was left of the trial
    assert conn.execute("SELECT to_regclass('meters'), to_regclass('stepping.daily')").fetchone() == (
        None,
        None,
    )
    alembic("upgrade", "head")
    assert names(conn) == ["by_user", "daily", ODD]
    assert {v.language for v in pg_stepping.list_views(conn)} == {language}
    alembic("check")
    conn.execute("INSERT INTO meters VALUES (1, 7); INSERT INTO reads VALUES (1, '2024-01-01', 2.5)")
    assert conn.execute("SELECT * FROM by_user").fetchall() == [(7, 2.5)]
    odd = conn.execute("SELECT * FROM " + psycopg.sql.Identifier(ODD).as_string()).fetchall()  # type: ignore[arg-type]
    assert odd == [("a:b \\: %(x)s ${x} {{y}} {% z %}\t\\:q", 1)]

    # A view that another one reads changes, one is dropped, and a table gets a column, all in one revision.
    (project / "daily.sql").write_text(DAILY.replace("GROUP", "WHERE note IS NULL GROUP"))
    (project / "models.py").write_text(
        MODELS.replace('Column("value"', 'Column("note", Text), Column("value"')
    )
    text = (project / "pyproject.toml").read_text()
    (project / "pyproject.toml").write_text(
        text.replace(f"[tool.pg_stepping.views.'{ODD}']\nquery = \"odd.sql\"\n", "")
    )
    told = alembic("check", status=1)
    assert all(f"('{kind}'" in told for kind in ("changed", "dropped"))
    alembic("revision", "--autogenerate", "-m", "second")
    alembic("upgrade", "head")
    alembic("check")
    assert names(conn) == ["by_user", "daily"]
    conn.execute(
        "INSERT INTO reads (meter_id, day, value, note) VALUES (1, '2024-01-01', 7, NULL), (1, '2024-01-01', 100, 'x')"
    )
    assert conn.execute("SELECT * FROM by_user").fetchall() == [(7, 9.5)]
    alembic("downgrade", "-1")
    assert names(conn) == ["by_user", "daily", ODD]
    assert conn.execute("SELECT * FROM by_user").fetchall() == [(7, 109.5)]
    for name in names(conn):
        assert pg_stepping.verify(conn, name) == []
    alembic("downgrade", "base")
    assert names(conn) == []
    assert conn.execute("SELECT to_regclass('meters')").fetchone() == (None,)
    alembic("upgrade", "head")  # and again
    alembic("check")
    assert names(conn) == ["by_user", "daily"]


def test_offline_sql_is_the_same(
    project: Path, alembic: Alembic, conn: psycopg.Connection[Any], dsn: str
) -> None:
    conn.autocommit = True
    alembic("revision", "--autogenerate", "-m", "first")
    script = alembic("upgrade", "head", "--sql")
    conn.execute("DROP TABLE IF EXISTS alembic_version")  # which autogenerate made
    psql = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", dsn]
    done = subprocess.run(psql, input=script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    alembic("check")
    assert names(conn) == ["by_user", "daily", ODD]
    assert [pg_stepping.verify(conn, n) for n in names(conn)] == [[], [], []]


def test_a_declaration_that_cannot_be_is_one_clear_error(project: Path, alembic: Alembic) -> None:
    (project / "daily.sql").write_text("SELECT random() AS value, meter_id, day FROM reads")
    told = alembic("revision", "--autogenerate", "-m", "bad", status=1)
    assert "view public.daily: cannot maintain a query with" in told
    assert not list((project / "migrations/versions").glob("*.py"))
