"""Every example in the README and in the pages of docs/ runs, in order, in one database a page."""

import re
import shlex
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
QUERY = re.compile(r'"""\s*(SELECT.*?)"""', re.S)


def blocks(page: str) -> list[tuple[str, str]]:
    return BLOCK.findall((ROOT / page).read_text())


def test_readme_has_an_example_of_each_kind() -> None:
    assert {kind for kind, _ in blocks("README.md")} == {"sql", "python", "console"}


def test_the_readme_runs_as_it_stands(conn: psycopg.Connection, dsn: str, tmp_path: Path) -> None:
    names: dict[str, object] = {"conn": conn, "__name__": "readme"}
    for kind, text in blocks("README.md"):
        if kind == "sql":
            conn.execute(text)  # type: ignore[call-overload]
        elif kind == "python":
            exec(compile(text, "README.md", "exec", dont_inherit=True), names)
            found = QUERY.search(text)
            if found:
                (tmp_path / "query.sql").write_text(found[1])
        else:
            conn.commit()
            for line in text.splitlines():
                run_console(line.removeprefix("$ "), dsn, tmp_path)
    assert "CREATE VIEW" in (tmp_path / "0007_daily_usage.sql").read_text()
    assert "stepping.drop_view" in (tmp_path / "0007_daily_usage_down.sql").read_text()
    [(count,)] = conn.execute("SELECT count(*) FROM owner_usage").fetchall()
    assert count == 1


def test_the_sixty_seconds_run(conn: psycopg.Connection, dsn: str, tmp_path: Path) -> None:
    conn.execute("CREATE TABLE orders (order_id bigint, customer_id bigint, total numeric)")
    conn.commit()
    lines = re.findall(r"^    \$ (.*)$", (ROOT / "README.md").read_text(), re.M)
    assert len(lines) == 3
    for line in lines:
        shell(
            line.replace("--dsn postgresql://localhost/shop ", "").replace("psql shop", "psql"), dsn, tmp_path
        )
    assert conn.execute("SELECT * FROM customer_totals").fetchall() == [(7, 1, Decimal("19.90"))]


def run_console(line: str, dsn: str, folder: Path) -> None:
    command, _, target = line.partition(" > ")
    program, *arguments = shlex.split(command)
    assert program == "pg-stepping"
    run = [sys.executable, "-m", "pg_stepping.cli", "--dsn", dsn, *arguments]
    done = subprocess.run(run, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (folder / target).write_text(done.stdout)


TITLED = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.M | re.S)
PAGES = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md"))
OWN_TESTS = ("docs/sql-coverage.md",)  # see test_sql_coverage.py
RUN = [
    p
    for p in PAGES
    if p not in OWN_TESTS and set(re.findall(r"^```(\w+)", (ROOT / p).read_text(), re.M)) - {"text"}
]


def test_the_pages_with_examples_are_found() -> None:
    assert {"docs/tutorial.md", "docs/how-to/migrations.md", "docs/which-language.md"} <= set(RUN)


@pytest.mark.parametrize("page", RUN)
@pytest.mark.parametrize("language", ["plpgsql"])
def test_a_page_runs_as_it_stands(page: str, conn: psycopg.Connection, dsn: str, tmp_path: Path) -> None:
    """A block with a title is a file; SQL and Python run; of a console each line does. `text` is only shown."""
    names: dict[str, object] = {"conn": conn, "__name__": page}
    for kind, title, text in TITLED.findall((ROOT / page).read_text()):
        if title:
            (tmp_path / title).parent.mkdir(exist_ok=True)
            (tmp_path / title).write_text(text)
        elif kind == "sql":
            conn.execute(text)
        elif kind == "python":
            exec(compile(text, page, "exec", dont_inherit=True), names)
        elif kind == "console":
            conn.commit()
            for line in text.splitlines():
                shell(line.removeprefix("$ "), dsn, tmp_path)
        else:
            assert kind == "text", kind
        conn.commit()


def shell(line: str, dsn: str, folder: Path) -> None:
    stepping = f"{sys.executable} -m pg_stepping.cli --dsn {shlex.quote(dsn)}"
    command = re.sub(r"^pg-stepping", stepping, re.sub(r"^psql", f"psql -d {shlex.quote(dsn)}", line))
    done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (line, done.stdout, done.stderr)


@pytest.mark.parametrize("page", ["README.md", *PAGES])
def test_links_between_the_pages_lead_somewhere(page: str) -> None:
    folder = (ROOT / page).parent
    for target in re.findall(r"\]\(([^)#\s]+)\)", BLOCK.sub("", (ROOT / page).read_text())):
        assert target.startswith("http") or (folder / target).exists(), target


def test_the_page_on_python_runs_as_it_stands(conn: psycopg.Connection) -> None:
    names: dict[str, object] = {"conn": conn, "__name__": "python_page"}
    for kind, text in blocks("docs/python.md"):
        assert kind == "python"
        exec(compile(text, "docs/python.md", "exec", dont_inherit=True), names)
    assert conn.execute("SELECT count(*) FROM owner").fetchone() == (2,)
