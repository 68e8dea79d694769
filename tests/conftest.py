"""The server the tests run on, and a fresh database for each test.

def test_something(conn): ...           a database with pg_stepping, once for each language
def test_between(connect): ...          more sessions in that same database
def test_alone(database): ...           `database("plpgsql")`, or `database()` for one with nothing in it
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from typing import Any, NoReturn

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

import pg_stepping
from pg_stepping import devserver
from pg_stepping.frontend.database_functions import DECLARED

LANGUAGES = ("plpython3u", "plpgsql")


def unavailable(reason: str) -> NoReturn:
    """Skip for want of a server; on machines that must have one (.ci/run, CI) fail."""
    if os.environ.get("PG_STEPPING_REQUIRE_SERVER") or os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(autouse=True)
def _declared_functions() -> Iterator[None]:
    """What a test declares by @st.function is known to no other."""
    before = dict(DECLARED)
    yield
    DECLARED.clear()
    DECLARED.update(before)


@pytest.fixture(scope="session")
def server() -> Iterator[devserver.Server]:
    """The server of this session; the one from a wheel lacks plpython3u and is not for tests."""
    with ExitStack() as stack:
        try:
            running = stack.enter_context(
                devserver.start(
                    variables=("PG_STEPPING_TEST_DSN", "PG_STEPPING_DSN"),
                    kinds=devserver.KINDS[:2],
                    settings={"fsync": "off", "jit": "off"},
                )
            )
        except devserver.NoServer as reason:
            unavailable(str(reason))
        yield running


@pytest.fixture(scope="session")
def server_dsn(server: devserver.Server) -> str:
    """The conninfo string of the server's own database, for work on databases and roles."""
    return server.dsn


class Databases:
    """Makes and drops the databases of one session of tests."""

    def __init__(self, server_dsn: str) -> None:
        self._dsn = server_dsn
        self._names = (f"pg_stepping_test_{os.getpid()}_{number}" for number in count())
        self._templates: dict[str, str] = {}

    def dsn(self, name: str) -> str:
        return make_conninfo(self._dsn, dbname=name)

    def create(self, template: str) -> str:
        name = next(self._names)
        # Copying files is three times as fast as WAL_LOG, the default, for databases as small as these.
        self._run("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY", name, template)
        return name

    def drop(self, name: str) -> None:
        self._run("DROP DATABASE {} WITH (FORCE)", name)

    def template(self, language: str) -> str:
        """The database with pg_stepping in it, and with plpython3u or without."""
        if language not in self._templates:
            name = self._templates[language] = self.create("template0")
            with psycopg.connect(self.dsn(name)) as conn:
                if language == "plpython3u":
                    conn.execute("CREATE EXTENSION plpython3u")
                pg_stepping.init(conn)
        return self._templates[language]

    def drop_templates(self) -> None:
        for name in self._templates.values():
            self.drop(name)

    def _run(self, statement: str, *names: str) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as conn:
            conn.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@pytest.fixture(scope="session")
def databases(server_dsn: str) -> Iterator[Databases]:
    session = Databases(server_dsn)
    yield session
    session.drop_templates()


@pytest.fixture
def database(databases: Databases, server: devserver.Server) -> Iterator[Callable[..., str]]:
    """Makes databases that live as long as the test, and returns their conninfo strings.

    `database(language)` has pg_stepping in it, and plpython3u if that is the language; `database()` is empty.
    """
    made = []

    def create(language: str | None = None) -> str:
        if language == "plpython3u" and not server.plpython:
            unavailable(f"{server} These tests need plpython3u.")
        made.append(databases.create(databases.template(language) if language else "template0"))
        return databases.dsn(made[-1])

    yield create
    for name in made:
        databases.drop(name)


@pytest.fixture(params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> str:
    """The language of the trigger functions; a test that has it, or `conn`, runs once for each."""
    return str(request.param)


@pytest.fixture
def dsn(database: Callable[..., str], language: str) -> str:
    """The conninfo string of this test's database."""
    return database(language)


@pytest.fixture
def connect(dsn: str) -> Iterator[Callable[..., psycopg.Connection[Any]]]:
    """Opens sessions in this test's database, with any options of `psycopg.connect`; closed at the end."""
    with ExitStack() as stack:

        def connect(**options: Any) -> psycopg.Connection[Any]:
            session = psycopg.connect(dsn, **options)
            stack.callback(session.close)
            return session

        yield connect


@pytest.fixture
def conn(connect: Callable[..., psycopg.Connection[Any]]) -> psycopg.Connection[Any]:
    """A session in this test's database, in a transaction that only the test commits."""
    return connect()
