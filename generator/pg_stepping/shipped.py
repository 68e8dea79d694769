"""The SQL and Python texts that go to the server: in the repository they have folders of their own."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent
MAINTAINER = "maintainer_2"  # what PL/Python trigger functions call, of those in sql/20_plpython.sql


@cache
def _folder(kind: str) -> Path:
    installed = _HERE / f"_{kind}"
    return installed if installed.is_dir() else _HERE.parent.parent / kind


@cache
def version() -> str:
    """The version of pg_stepping, from its one place, the extension's control file."""
    control = (_folder("sql") / "pg_stepping.control").read_text()
    found = re.search(r"default_version = '([^']+)'", control)
    assert found is not None
    return found[1]


def _versioned(script: str) -> str:
    return script.replace("@version@", version())


@cache
def catalog_sql() -> str:
    """The script that makes the catalog; running it twice changes nothing."""
    return _versioned("\n".join(part.read_text() for part in sorted(_folder("sql").glob("1*.sql"))))


@cache
def catalog_relations() -> frozenset[str]:
    """The names of its tables and views, which no view's state can have."""
    return frozenset(re.findall(r"^CREATE .*?(?:TABLE|VIEW) .*?stepping\.(\w+)", catalog_sql(), flags=re.M))


@cache
def superuser_sql() -> str:
    """What only a superuser can do for triggers in PL/Python, for a role called `the_role`."""
    return (_folder("sql") / "30_superuser.sql").read_text()


@cache
def plpython_sql() -> str:
    """The script that makes what all PL/Python trigger functions share, if the database has the language."""
    script = (_folder("sql") / "20_plpython.sql").read_text()
    return _versioned(
        script.replace("-- plpython/maintain.py\n", (_folder("plpython") / "maintain.py").read_text())
    )


@cache
def values_py() -> str:
    """How values cross between Postgres and a shipped function, as Python."""
    return (_folder("plpython") / "values.py").read_text()


@cache
def python_sql() -> str:
    """The functions that row functions are compiled to; making them twice changes nothing."""
    return (_folder("sql") / "18_python.sql").read_text()
