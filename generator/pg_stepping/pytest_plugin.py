"""pytest plug-in: a test fails if a maintained view is out of step after it.

    def test_import(maintained_views, conn):      # conn: your own fixture, any psycopg 3 connection
        maintained_views.check(conn)              # verified when the test is over, in the state that it left
        run_the_import(conn)

Or for a whole suite, over a connection of its own, which sees what was committed:

    # pyproject.toml
    [tool.pytest.ini_options]
    pg_stepping_dsn = "postgresql://localhost/test"
    pg_stepping_autouse = true
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

_DSN = "pg_stepping_dsn"
_AUTO = "pg_stepping_autouse"
_ROWS = 20


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(_DSN, "Conninfo of the database whose maintained views tests are checked against.")
    parser.addini(_AUTO, "Check all maintained views of that database after every test.", "bool", False)


@dataclass(slots=True)
class MaintainedViews:
    """The connections whose maintained views are compared with their queries when the test is over."""

    _verified: list[tuple[Any, tuple[str, ...]]] = field(default_factory=list)

    def check(self, conn: Any, *names: str) -> None:
        """Check the views of these names, or all, over a psycopg 3 connection, or a function that opens one.

        A connection is used as the test leaves it: it sees what the test has not committed. One that a
        function opens is closed again.
        """
        self._verified.append((conn, names))

    def out_of_step(self) -> str:
        """What differs, as lines of text; empty if all is right."""
        return "\n".join(line for conn, names in self._verified for line in _checked(conn, names))


@pytest.fixture
def maintained_views(request: pytest.FixtureRequest) -> Iterator[MaintainedViews]:
    """Fails the test if a maintained view is out of step after it.

    Checks what `maintained_views.check(conn)` was called with; if it was not, the database of the setting
    `pg_stepping_dsn`.
    """
    views = MaintainedViews()
    # A test's own connection must be there when it is checked: fixtures go in the reverse order of their
    # coming.
    own = getattr(request.node, "fixturenames", ())
    for name in own if "maintained_views" in own else ():
        if name not in ("request", "maintained_views", "_pg_stepping_checks"):
            request.getfixturevalue(name)
    yield views
    dsn = request.config.getini(_DSN)
    if not views._verified and dsn:
        views.check(_opener(dsn))
    told = views.out_of_step()
    if told:
        pytest.fail(told, pytrace=False)


@pytest.fixture(autouse=True)
def _pg_stepping_checks(request: pytest.FixtureRequest) -> None:
    if request.config.getini(_AUTO) and request.config.getini(_DSN):
        request.getfixturevalue("maintained_views")


def _opener(dsn: str) -> Callable[[], Any]:
    def connect() -> Any:
        import psycopg

        return psycopg.connect(dsn)

    return connect


def _checked(conn: Any, names: tuple[str, ...]) -> Iterator[str]:
    import pg_stepping  # so that a test run that never asks for it does not load it

    opened = conn() if callable(conn) else None
    try:
        used = conn if opened is None else opened
        for name in names:
            yield from _told(name, pg_stepping.verify(used, name))
        for view in () if names else pg_stepping.list_views(used):
            found = pg_stepping.verify(used, view.name, schema=view.schema)
            yield from _told(f"{view.schema}.{view.name}", found)
    finally:
        if opened is not None:
            opened.close()


def _told(name: str, differences: list[Any]) -> Iterator[str]:
    if differences:
        yield f"maintained view {name} is out of step (+1: too many, -1: missing):"
    for difference in differences[:_ROWS]:
        row = ", ".join(f"{column} = {value!r}" for column, value in difference.row.items())
        yield f"  {difference.weight:+d}  {row}"
    if len(differences) > _ROWS:
        yield f"  and {len(differences) - _ROWS} more"
