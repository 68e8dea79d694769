"""The reference pages have every public name and command, each with its description; the site builds."""

import os
import re
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

import pg_stepping
from pg_stepping.cli import main

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = spec_from_file_location("reference", ROOT / ".ci/reference.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_public_name_is_described(reference: ModuleType) -> None:
    page = reference.python_page()
    for name in pg_stepping.__all__:
        assert f"### {name}\n" in page
        assert not callable(getattr(pg_stepping, name)) or getattr(pg_stepping, name).__doc__, name


def test_every_command_and_option_is_described(reference: ModuleType) -> None:
    page = reference.cli_page()
    for name, command in main.commands.items():
        assert f"\n## {name}\n" in page
        assert command.help, name
        for parameter in command.params:
            assert max(parameter.opts, key=len).strip("_") in page or parameter.human_readable_name in page


def test_every_table_and_column_of_the_catalog_is_described(reference: ModuleType) -> None:
    page = reference.sql_page()
    assert "## stepping.maintained_view" in page
    assert "- `stepping.drop_view(schema_name text, view_name text)` Drops a maintained view" in page
    assert len(re.findall(r"^- `fingerprint`: SHA-256", page, re.M)) == 1


def test_the_site_builds_strictly(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for page in ("tutorial", "how-to/alembic", "reference/python", "reference/cli", "reference/sql"):
        assert (tmp_path / page / "index.html").stat().st_size > 1000
