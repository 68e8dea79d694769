"""The Django app, with Django itself on psycopg 3: makemigrations, sqlmigrate, forwards and backwards."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

import pg_stepping

SETTINGS = """
SECRET_KEY = "x"
INSTALLED_APPS = ["pg_stepping.django", "people", "usage"]
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", %s}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
"""
PEOPLE = """
from django.db import models

class Meter(models.Model):
    user_id = models.IntegerField()
"""
USAGE = """
from django.db import models

class Read(models.Model):
    meter = models.ForeignKey("people.Meter", on_delete=models.CASCADE)
    day = models.DateField()
    value = models.FloatField()
"""
ODD = 'odd: :name %s ${x} {{y}} "z"'
PYPROJECT = f"""
[tool.pg_stepping]
language = "LANGUAGE"
app = "usage"
[tool.pg_stepping.views.by_user]
query = "by_user.sql"
[tool.pg_stepping.views.'{ODD}']
query = "odd.sql"
[tool.pg_stepping.views.daily]
query = "daily.sql"
indexes = [["day"]]
"""
DAILY = "SELECT meter_id, day, sum(value) AS value FROM usage_read GROUP BY meter_id, day"
BY_USER = "SELECT user_id, sum(value) AS value FROM daily JOIN people_meter AS m ON m.id = daily.meter_id GROUP BY user_id"
ODD_QUERY = (
    r"""SELECT 'a:b \: %(x)s ${x} {{y}} {% z %}' || E'\t\\:q' AS "a:b %", count(*) AS n FROM usage_read"""
)

Manage = Callable[..., str]


@pytest.fixture(params=["plpython3u"])
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def dsn(database: Callable[..., str], language: str) -> str:
    empty = database()
    with psycopg.connect(empty) as conn:
        conn.execute(f"CREATE EXTENSION {language}")  # type: ignore[call-overload]
    return empty


@pytest.fixture
def project(tmp_path: Path, dsn: str, language: str) -> Path:
    keys = {"user": "USER", "dbname": "NAME", "host": "HOST", "port": "PORT", "password": "PASSWORD"}
    settings = ", ".join(f'"{keys[k]}": {v!r}' for k, v in conninfo_to_dict(dsn).items() if k in keys and v)
    (tmp_path / "settings.py").write_text(SETTINGS % settings)
    for app, models in (("people", PEOPLE), ("usage", USAGE)):
        (tmp_path / app / "migrations").mkdir(parents=True)
        (tmp_path / app / "__init__.py").touch()
        (tmp_path / app / "migrations/__init__.py").touch()
        (tmp_path / app / "models.py").write_text(models)
    (tmp_path / "pyproject.toml").write_text(PYPROJECT.replace("LANGUAGE", language))
    (tmp_path / "daily.sql").write_text(DAILY)
    (tmp_path / "by_user.sql").write_text(BY_USER)
    (tmp_path / "odd.sql").write_text(ODD_QUERY)
    return tmp_path


@pytest.fixture
def manage(project: Path) -> Manage:
    def run(*arguments: str, status: int = 0) -> str:
        command = [sys.executable, "-m", "django", *arguments, "--settings=settings", "--pythonpath=."]
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def names(conn: psycopg.Connection[Any]) -> list[str]:
    return [v.name for v in pg_stepping.list_views(conn)]


def test_from_an_empty_project_and_back(project: Path, manage: Manage, conn: psycopg.Connection[Any]) -> None:
    conn.autocommit = True
    manage("makemigrations", "--check", status=1)
    told = manage("makemigrations")  # models and views over them at once
    assert "Maintained views: create odd_name_s_x_y_z, create daily, create by_user" in told
    assert conn.execute("SELECT to_regclass('usage_read'), to_regnamespace('stepping')").fetchone() == (
        None,
        None,
    )
    (migration,) = (project / "usage/migrations").glob("0002_*.py")
    assert migration.name.startswith("0002_create_odd_name_s_x_y_z_and_2_more")
    text = migration.read_text()
    assert "pg_stepping.django.operations.MaintainedViews(" in text
    assert max(map(len, text.splitlines())) < 2000  # a line of SQL is a line
    assert manage("makemigrations", "--check").startswith("No changes")
    assert "CREATE VIEW public.daily AS" in manage("sqlmigrate", "usage", "0002")
    manage("migrate")
    assert "No changes" in manage("makemigrations", "--check")
    assert names(conn) == ["by_user", "daily", ODD]
    conn.execute("INSERT INTO people_meter (user_id) VALUES (7)")
    conn.execute("INSERT INTO usage_read (meter_id, day, value) VALUES (1, '2024-01-01', 2.5)")
    assert conn.execute("SELECT * FROM by_user").fetchall() == [(7, 2.5)]
    odd = conn.execute("SELECT * FROM " + psycopg.sql.Identifier(ODD).as_string()).fetchall()  # type: ignore[arg-type]
    assert odd == [("a:b \\: %(x)s ${x} {{y}} {% z %}\t\\:q", 1)]

    (project / "daily.sql").write_text(DAILY.replace("GROUP", "WHERE value < 100 GROUP"))
    text = (project / "pyproject.toml").read_text()
    (project / "pyproject.toml").write_text(
        text.replace(f"[tool.pg_stepping.views.'{ODD}']\nquery = \"odd.sql\"\n", "")
    )
    manage("makemigrations", "--check", status=1)
    manage("makemigrations", "usage", "--name", "smaller")
    manage("migrate")
    assert names(conn) == ["by_user", "daily"]
    conn.execute(
        "INSERT INTO usage_read (meter_id, day, value) VALUES (1, '2024-01-01', 7), (1, '2024-01-01', 100)"
    )
    assert conn.execute("SELECT * FROM by_user").fetchall() == [(7, 9.5)]
    manage("migrate", "usage", "0002")
    assert names(conn) == ["by_user", "daily", ODD]
    assert conn.execute("SELECT * FROM by_user").fetchall() == [(7, 109.5)]
    assert [pg_stepping.verify(conn, n) for n in names(conn)] == [[], [], []]
    manage("migrate")

    # A field that the views read goes: they are dropped before, and made anew after, in one migration.
    conn.execute("CREATE VIEW report AS SELECT day FROM daily; COMMENT ON VIEW daily IS 'mine'")
    amount = USAGE.replace("value = models.FloatField()", "amount = models.FloatField(default=0)")
    (project / "usage/models.py").write_text(amount)
    (project / "daily.sql").write_text(DAILY.replace("sum(value)", "sum(amount)"))
    manage("makemigrations", "usage", "--name", "amount", "--noinput")
    assert "No changes" in manage("makemigrations", "--check")
    manage("migrate")
    conn.execute("INSERT INTO usage_read (meter_id, day, amount) VALUES (1, '2024-01-01', 2)")
    assert conn.execute("SELECT * FROM by_user").fetchall() == [(7, 2)]
    conn.execute("DELETE FROM usage_read")  # or Django could not give its rows a value
    manage("migrate", "usage", "0003")
    conn.execute("INSERT INTO usage_read (meter_id, day, value) VALUES (1, '2024-01-01', 3)")
    told = conn.execute("SELECT count(*), obj_description('daily'::regclass) FROM report").fetchone()
    assert told == (1, "mine")
    assert [pg_stepping.verify(conn, n) for n in names(conn)] == [[], []]
    conn.execute("DROP VIEW report")
    manage("migrate", "usage", "zero")
    assert names(conn) == []
    manage("migrate")
    assert names(conn) == ["by_user", "daily"]
    assert "stepping.drop_view('public', 'by_user')" in manage("sqlmigrate", "usage", "0002", "--backwards")


def test_a_view_that_cannot_be_is_one_clear_error(project: Path, manage: Manage) -> None:
    (project / "daily.sql").write_text("SELECT random() AS value, meter_id, day FROM usage_read")
    assert "view public.daily: cannot maintain a query with" in manage("makemigrations", status=1)
    assert not list((project / "usage/migrations").glob("0*"))


def test_an_app_said_for_a_view_alone_is_known_when_it_is_dropped(
    project: Path, manage: Manage, conn: psycopg.Connection[Any]
) -> None:
    alone = '[tool.pg_stepping.views.daily]\nquery = "daily.sql"\napp = "usage"\nlanguage = "plpgsql"\n'
    (project / "pyproject.toml").write_text(alone)
    manage("makemigrations")
    manage("migrate")
    (project / "pyproject.toml").write_text("[tool.pg_stepping]\n")
    told = manage("migrate")
    assert "not yet reflected in a migration" in told and "CommandError" not in told
    assert names(conn) == ["daily"]
    conn.rollback()
    manage("makemigrations")
    assert [p.name for p in (project / "usage/migrations").glob("0003*")] == ["0003_drop_daily.py"]
    manage("migrate")
    (project / "pyproject.toml").write_text(alone)
    (project / "daily.sql").write_text("SELECT random() AS value FROM usage_read")
    assert "cannot maintain a query with" in manage("migrate")  # which is told, and no error of its own
    assert names(conn) == []
