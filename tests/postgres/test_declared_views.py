"""Views declared in pyproject.toml: diff, generate and generate --check, in every format."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

import pg_stepping
from pg_stepping.cli import main
from pg_stepping.errors import InvalidDeclaration, UnsupportedQuery
from pg_stepping.frontend.database_functions import DECLARED
from pg_stepping.migrate import FORMATS, in_migrations, read_declaration, wanted

SCHEMA = """
CREATE TABLE meters (meter_id integer PRIMARY KEY, user_id integer);
CREATE TABLE reads (meter_id integer, day date, value float8);
INSERT INTO meters VALUES (1, 7), (2, 7);
INSERT INTO reads VALUES (1, '2024-01-01', 1.5), (2, '2024-01-01', 2), (2, '2024-01-02', 4);
CREATE SCHEMA "odd % :name";
"""
DAILY = "SELECT meter_id, day, sum(value) AS value FROM reads GROUP BY meter_id, day"
BY_USER = (
    "SELECT m.user_id, sum(d.value) AS value, count(*) AS days FROM daily_usage AS d JOIN meters AS m USING (meter_id)"
    " GROUP BY m.user_id"
)
HOSTILE = r"""SELECT 'a:b %s ${x} {{y}} \: -- migrate:down' AS "od:d %", count(*) AS n, '
-- pg_stepping: end 0123
' AS lines FROM reads"""
ODD = 'a.b "%s" :x ${y} {{z}} -- migrate:down'

PYPROJECT = f"""
[tool.pg_stepping]
language = "plpgsql"
output = "migrations"
format = "FORMAT"

[tool.pg_stepping.views.usage_by_user]   # before the one that it reads
query = "views/by_user.sql"

[tool.pg_stepping.views.daily_usage]
query = "views/daily.sql"
indexes = [["day"], ["day", "meter_id"]]

[tool.pg_stepping.views.'{ODD}']
schema = "odd % :name"
query = "views/hostile.sql"
"""

AROUND = """
CREATE VIEW report AS SELECT d.day, u.value FROM daily_usage AS d CROSS JOIN usage_by_user AS u;
CREATE VIEW later WITH (security_barrier) AS SELECT * FROM report WHERE day > '2024-01-01';
COMMENT ON VIEW daily_usage IS 'Each day'; COMMENT ON COLUMN report.day IS 'That day';
GRANT SELECT ON daily_usage, later TO PUBLIC;
"""
SAID = """
SELECT relname, relacl::text, reloptions, obj_description(oid, 'pg_class'), col_description(oid, 1)
FROM pg_class WHERE relname IN ('daily_usage', 'report', 'later') AND relkind = 'v' ORDER BY 1"""

Run = Callable[..., Result]


@pytest.fixture
def dsn(database: Callable[..., str]) -> str:
    return database()  # has no catalog yet: the first migration brings it


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "views").mkdir()
    (tmp_path / "views/daily.sql").write_text(DAILY)
    (tmp_path / "views/by_user.sql").write_text(BY_USER)
    (tmp_path / "views/hostile.sql").write_text(HOSTILE)
    (tmp_path / "pyproject.toml").write_text(PYPROJECT.replace("FORMAT", "sql"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(dsn: str) -> Run:
    def run(*arguments: str, status: int = 0) -> Result:
        done = CliRunner().invoke(main, ["--dsn", dsn, *arguments])
        assert done.exit_code == status, (done.output, done.exception)
        return done

    return run


@pytest.fixture
def prepared(conn: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    conn.autocommit = True  # holds no locks while the command line has a look
    conn.execute(SCHEMA)
    return conn


def ups_and_downs(folder: Path, format_: str, known: set[Path]) -> tuple[str, str]:
    """What the tool would run of the files that are new in its folder."""
    new = sorted(p for p in folder.rglob("*.*") if p.is_file() and p not in known)
    known.update(new)
    if format_ == "dbmate":
        (file,) = new
        _, up, down = re.split(r"^-- migrate:(?:up|down)$", file.read_text(), flags=re.M)
        return up, down
    if format_ in ("alembic", "django"):
        (file,) = new
        strings = [n.value for n in ast.walk(ast.parse(file.read_text()))
                   if isinstance(n, ast.Constant) and isinstance(n.value, str) and "-- pg_stepping" in n.value]  # fmt: skip
        up, down = strings
        return up, down
    down_names = {"sql": r"_down\.sql$", "flyway": r"/U\d+__[^/]*$", "sqitch": r"/revert/"}[format_]
    up_names = {"sql": r"/\d+_[^/]*(?<!_down)\.sql$", "flyway": r"/V\d+__[^/]*$", "sqitch": r"/deploy/"}[
        format_
    ]
    (up_file,), (down_file,) = (
        [p for p in new if re.search(names, str(p))] for names in (up_names, down_names)
    )
    return up_file.read_text(), down_file.read_text()


def execute(conn: psycopg.Connection[Any], script: str) -> None:
    with conn.transaction():
        conn.execute(script)  # type: ignore[call-overload]


def names(conn: psycopg.Connection[Any]) -> list[str]:
    return [str(v.table) for v in pg_stepping.list_views(conn)]


def migrate(conn: psycopg.Connection[Any], dsn: str, format_: str, script: str) -> None:
    """Run a script as its tool does: by its driver, or by psql, in one transaction, which Sqitch's has itself."""
    if format_ in ("alembic", "django"):
        execute(conn, script)
        return
    once = [] if format_ == "sqitch" else ["-1"]
    command = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", *once, "-f", "-", dsn]
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("format_", list(FORMATS))
def test_each_format_goes_up_changes_and_goes_down(
    project: Path, prepared: psycopg.Connection[Any], run: Run, format_: str, dsn: str
) -> None:
    conn, folder, known = prepared, project / "migrations", set[Path]()
    (project / "pyproject.toml").write_text(PYPROJECT.replace("FORMAT", format_))
    all_three = [f"odd % :name.{ODD}", "public.daily_usage", "public.usage_by_user"]
    assert run("diff", status=1).stdout.splitlines() == [f"new\t{n}" for n in all_three[1:] + all_three[:1]]
    assert "is stale" in run("generate", "--check", status=1).stderr
    assert not folder.exists()
    assert run("generate").stdout
    run("generate", "--check")
    assert run("generate").stdout == ""  # nothing more to write
    up, down = ups_and_downs(folder, format_, known)
    migrate(conn, dsn, format_, up)
    assert names(conn) == all_three
    for check in folder.glob("verify/*.sql"):
        migrate(conn, dsn, format_, check.read_text())
    assert conn.execute("SELECT * FROM usage_by_user").fetchall() == [(7, 7.5, 3)]
    run("diff")
    run("generate", "--check")

    execute(conn, AROUND)
    said = conn.execute(SAID).fetchall()
    (project / "views/daily.sql").write_text(DAILY.replace("FROM reads", "FROM reads WHERE value > 1.5"))
    text = (project / "pyproject.toml").read_text()
    (project / "pyproject.toml").write_text(text[: text.index("[tool.pg_stepping.views.'")])
    changed = ["dropped\t" + all_three[0], "changed\tpublic.daily_usage", "changed\tpublic.usage_by_user"]
    assert run("diff", status=1).stdout.splitlines() == changed
    assert run("generate", "--check", status=1).stdout.splitlines() == changed
    run("generate")
    run("generate", "--check")
    up_2, down_2 = ups_and_downs(folder, format_, known)
    assert "CREATE TABLE IF NOT EXISTS stepping.maintained_view" not in up_2
    migrate(conn, dsn, format_, up_2)
    for check in folder.glob("verify/*.sql"):  # `sqitch verify` runs those of all changes
        migrate(conn, dsn, format_, check.read_text())
    run("diff")
    assert conn.execute(SAID).fetchall() == said
    assert conn.execute("SELECT count(*) FROM later").fetchone() == (1,)
    assert names(conn) == all_three[1:]
    assert conn.execute("SELECT * FROM usage_by_user").fetchall() == [(7, 6, 2)]
    execute(conn, "INSERT INTO reads VALUES (1, '2024-01-03', 10)")
    migrate(conn, dsn, format_, down_2)
    assert names(conn) == all_three
    assert conn.execute(SAID).fetchall() == said
    execute(conn, "DROP VIEW report CASCADE")
    assert conn.execute("SELECT * FROM usage_by_user").fetchall() == [(7, 17.5, 4)]
    execute(conn, "INSERT INTO reads VALUES (1, '2024-01-04', 1)")
    for view in pg_stepping.list_views(conn):
        assert pg_stepping.verify(conn, view.name, schema=view.schema) == []
    migrate(conn, dsn, format_, down)
    assert names(conn) == []
    migrate(conn, dsn, format_, up)  # and again
    assert names(conn) == all_three


def test_the_text_is_the_same_every_time(project: Path, prepared: psycopg.Connection[Any], run: Run) -> None:
    run("generate")
    files = {p.name: p.read_text() for p in (project / "migrations").iterdir()}
    assert sorted(files) == ["0001_daily_usage_and_2_more.sql", "0001_daily_usage_and_2_more_down.sql"]
    execute(prepared, files["0001_daily_usage_and_2_more.sql"])
    run("generate", "--output", "again")  # but for the catalog, which the database has now
    again = (project / "again/0001_daily_usage_and_2_more.sql").read_text()
    assert files["0001_daily_usage_and_2_more.sql"].endswith(again)
    assert len(in_migrations([again])) == 3


def test_a_file_that_was_edited_is_stale(project: Path, prepared: psycopg.Connection[Any], run: Run) -> None:
    run("generate")
    (file,) = [p for p in (project / "migrations").iterdir() if "down" not in p.name]
    file.write_text(file.read_text().replace("CREATE INDEX ON stepping.daily_usage (day);\n", "", 1))
    assert run("generate", "--check", status=1).stdout.splitlines()[0] == "changed\tpublic.daily_usage"


def test_what_a_migration_tells_of_itself_was_edited(
    project: Path, prepared: psycopg.Connection[Any], run: Run
) -> None:
    run("generate")
    (file,) = [p for p in (project / "migrations").iterdir() if "down" not in p.name]
    text = file.read_text()
    for line, by in (
        ('"fingerprint": "', '"fingerprint: "'),
        ('"fingerprint"', '"print"'),
        ('create ["', 'create [""'),
    ):
        file.write_text(text.replace(line, by, 1))
        said = run("generate", status=2).stderr
        assert "has a line that was edited" in said and "the SQL may be edited, but not these lines" in said


def test_gone_and_ignored_views(project: Path, prepared: psycopg.Connection[Any], run: Run) -> None:
    run("generate")
    execute(prepared, next(p for p in (project / "migrations").iterdir() if "down" not in p.name).read_text())
    pg_stepping.create_view(prepared, "other", "SELECT count(*) AS n FROM meters")
    execute(prepared, 'DROP VIEW "usage_by_user"')
    assert run("diff", status=1).stdout.splitlines() == [
        "dropped\tpublic.other",
        "gone\tpublic.usage_by_user",
    ]
    text = (project / "pyproject.toml").read_text()
    (project / "pyproject.toml").write_text(text.replace("output = ", 'ignore = ["public.oth*"]\noutput = '))
    assert run("diff", status=1).stdout.splitlines() == ["gone\tpublic.usage_by_user"]


def test_one_view_to_stdout_in_each_format(
    project: Path, prepared: psycopg.Connection[Any], run: Run
) -> None:
    for format_ in FORMATS:
        out = run(
            "generate", "daily_usage", "views/daily.sql", "--format", format_, "--language", "plpgsql"
        ).stdout
        assert "CREATE VIEW public.daily_usage AS" in out
        assert "stepping.drop_view('public', 'daily_usage')" in out or format_ == "sql"
    assert "DROP" not in run("generate", "--down", "daily_usage", "views/daily.sql").stdout


def test_modules_that_declare_functions_are_imported(
    project: Path, prepared: psycopg.Connection[Any], run: Run
) -> None:
    (project / "own_functions.py").write_text(
        textwrap.dedent("""
        import pg_stepping as st

        @st.function
        def rounded_down(value: int) -> int:
            return value // 2
        """)
    )
    (project / "views/halves.sql").write_text("SELECT meter_id, rounded_down(meter_id) AS half FROM meters")
    told = run("generate", "halves", "views/halves.sql", "--import", "no_such_module", status=2)
    assert "--import: No module named 'no_such_module'" in told.output
    script = run("generate", "halves", "views/halves.sql", "--import", "own_functions").stdout
    assert "stepping.floor_division" in script
    prepared.execute(script.encode())
    assert prepared.execute("SELECT half FROM halves WHERE meter_id = 2").fetchone() == (1,)
    DECLARED.clear()
    sys.modules.pop("own_functions")
    (project / "pyproject.toml").write_text(
        textwrap.dedent("""
        [tool.pg_stepping]
        output = "migrations"
        imports = ["own_functions"]

        [tool.pg_stepping.views.halves]
        query = "views/halves.sql"
        """)
    )
    assert run("diff").stdout == ""
    sys.modules.pop("own_functions")


def test_a_query_in_python(project: Path, prepared: psycopg.Connection[Any], run: Run) -> None:
    (project / "usage_queries.py").write_text(
        textwrap.dedent("""
        import pg_stepping as st

        class Meter(st.Data):
            meter_id: int
            user_id: int

        meters_kept = st.Cache[Meter]()
        by_user = st.Index.pick(Meter, lambda m: m.user_id)

        def query(meters: st.ZSet[Meter]) -> st.ZSet[Meter]:
            _ = meters_kept[meters](lambda a: st.integrate_indexed(a, indexes=(by_user,)))
            return meters

        text = "SELECT count(*) AS n FROM meters"
        """)
    )
    (project / "pyproject.toml").write_text(
        '[tool.pg_stepping.views.kept]\nquery = "usage_queries:query"\ntables = {meters = "public.meters"}\n'
        '[tool.pg_stepping.views.counted]\nquery = "usage_queries:text"\n'
    )
    kept, counted = read_declaration().views
    assert kept.indexes == (("user_id",),)
    assert counted.query == "SELECT count(*) AS n FROM meters"
    run("generate", "--output", "m")
    execute(prepared, (project / "m/0001_kept_and_1_more.sql").read_text())
    assert prepared.execute("SELECT meter_id FROM kept ORDER BY 1").fetchall() == [(1,), (2,)]
    run("diff")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[tool.pg_stepping\n", "is no TOML"),
        ("[tool.other]\n", "no table"),
        ("[tool.pg_stepping]\noutptu = 'x'\n", "tool.pg_stepping has no key 'outptu'"),
        ("[tool.pg_stepping]\nschema = 3\n", "tool.pg_stepping.schema is 3"),
        ("[tool.pg_stepping]\nmode = 'later'\n", "mode is 'later'"),
        ("[tool.pg_stepping.views.v]\n", "views.v has no query"),
        ("[tool.pg_stepping.views]\nv = 'SELECT 1'\n", "views.v is no table"),
        ("[tool.pg_stepping.views.v]\nquery = 'none.sql'\n", "cannot read"),
        ("[tool.pg_stepping.views.v]\nquery = 'no_such_module:q'\n", "no_such_module"),
        ("[tool.pg_stepping.views.v]\nquery = 'os:nothing'\n", "nothing"),
        ("[tool.pg_stepping.views.v]\nquery = 'a.sql'\nindexes = [[3]]\n", "indexes is"),
    ],
)  # fmt: skip
def test_a_bad_declaration_is_named(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(InvalidDeclaration, match=re.escape(says)):
        read_declaration(tmp_path / "pyproject.toml")


def test_a_view_that_cannot_be_is_named_and_nothing_is_written(
    project: Path, prepared: psycopg.Connection[Any], run: Run
) -> None:
    (project / "views/daily.sql").write_text("SELECT random() AS value, meter_id, day FROM reads")
    with pytest.raises(UnsupportedQuery, match=r"view public\.daily_usage: .*random"):
        wanted(prepared, read_declaration().views)
    run("generate", status=2)
    assert not (project / "migrations").exists()
    (project / "views/daily.sql").write_text(DAILY)
    text = (project / "pyproject.toml").read_text()
    (project / "pyproject.toml").write_text(text.replace("migrations", "m"))
    run("generate")
    execute(prepared, next(p for p in (project / "m").iterdir() if "down" not in p.name).read_text())
    cut = text[: text.index("[tool.pg_stepping.views.daily_usage]")]
    (project / "pyproject.toml").write_text(cut)
    assert "reads public.daily_usage, which is not declared" in run("diff", status=2).stderr


def test_oracle_a_view_in_deferred_mode(project: Path, prepared: psycopg.Connection[Any], run: Run) -> None:
    text = PYPROJECT.replace("FORMAT", "sql").replace(
        'query = "views/daily.sql"', 'query = "views/daily.sql"\nmode = "deferred"'
    )
    text = text[: text.index("[tool.pg_stepping.views.'")].replace(
        "[tool.pg_stepping.views.usage_by_user]", "[tool.pg_stepping.views.other]"
    )
    (project / "views/by_user.sql").write_text("SELECT user_id, count(*) AS n FROM meters GROUP BY user_id")
    (project / "pyproject.toml").write_text(text)
    run("generate")
    execute(prepared, next(p for p in (project / "migrations").iterdir() if "down" not in p.name).read_text())
    assert {v.name: v.mode for v in pg_stepping.list_views(prepared)} == {
        "daily_usage": "deferred",
        "other": "immediate",
    }
    run("diff")
    run("generate", "--check")
    execute(prepared, "INSERT INTO reads VALUES (1, '2024-01-05', 3)")
    assert pg_stepping.verify(prepared, "daily_usage") == []
    assert prepared.execute("SELECT value FROM daily_usage WHERE day = '2024-01-05'").fetchall() == [(3,)]
    (project / "pyproject.toml").write_text(text.replace('"deferred"', '"immediate"'))
    assert run("diff", status=1).stdout == "changed\tpublic.daily_usage\n"
    run("generate")
    (down,) = (project / "migrations").glob("0002*_down.sql")
    execute(prepared, next(p for p in (project / "migrations").glob("0002*") if p != down).read_text())
    run("diff")
    execute(prepared, down.read_text())
    assert {v.name: v.mode for v in pg_stepping.list_views(prepared)} == {
        "daily_usage": "deferred",
        "other": "immediate",
    }
    assert pg_stepping.verify(prepared, "daily_usage") == []
