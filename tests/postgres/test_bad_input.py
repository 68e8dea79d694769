"""Bad input: one clear error each, and the database, and the caller's transaction, as they were before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

import pg_stepping
from pg_stepping.errors import (
    ConnectionUnusable,
    InsufficientPrivilege,
    InvalidQuery,
    NameTaken,
    SteppingError,
    UnsupportedServer,
    ViewInUse,
    ViewNotFound,
)

SCHEMA = """
CREATE TABLE reads (meter_id integer, value float8);
CREATE VIEW taken AS SELECT 1 AS one;
CREATE INDEX index_taken ON reads (meter_id);
INSERT INTO reads VALUES (1, 2.5);
"""
GOOD = "SELECT meter_id, sum(value) AS value FROM reads GROUP BY meter_id"

BAD: list[tuple[str, str, dict[str, Any], type[SteppingError], str, str]] = [
    ("v", "SELECT 1 FROM nowhere", {}, InvalidQuery, "42P01", "line 1, column 15"),
    ("v", "SELECT meter_id,\n  nothing FROM reads", {}, InvalidQuery, "42703", "line 2, column 3"),
    ("v", "SELECT meter_id, value FROM reads GROUP BY meter_id", {}, InvalidQuery, "42803", "column 18"),
    ("v", "SELECT value, value FROM reads", {}, InvalidQuery, "42701", "specified more than once"),
    ("v", "SELECT FROM WHERE", {}, InvalidQuery, "42601", "syntax error"),
    ("v", f"{GOOD}; {GOOD}", {}, InvalidQuery, "42601", "several statements"),
    ("v", "", {}, InvalidQuery, "42601", "empty"),
    ("v", "-- nothing but this\n;", {}, InvalidQuery, "42601", "empty"),
    ("v", "SELECT 'open FROM reads", {}, InvalidQuery, "42601", "quote"),
    ("v", "DELETE FROM reads", {}, InvalidQuery, "42601", "syntax error"),
    ("v", GOOD, {"indexes": [["nothing"]]}, InvalidQuery, "42703", "its columns are meter_id, value"),
    ("v", GOOD, {"schema": "nowhere"}, InvalidQuery, "3F000", "nowhere"),
    ("v" * 64, GOOD, {}, InvalidQuery, "42602", "63 bytes"),
    ("", GOOD, {}, InvalidQuery, "42602", "63 bytes"),
    ("reads", GOOD, {}, NameTaken, "42P07", "public.reads is taken"),
    ("taken", GOOD, {}, NameTaken, "42P07", "public.taken is taken"),
    ("index_taken", GOOD, {}, NameTaken, "42P07", "is taken"),
    ("v", GOOD, {"language": "plperl"}, UnsupportedServer, "0A000", "plpython3u, plpgsql"),
]


def everything(conn: psycopg.Connection[Any]) -> list[Any]:
    """All relations, functions and triggers of the database."""
    return conn.execute(
        """SELECT 'c', oid::text FROM pg_class UNION ALL SELECT 'p', oid::text FROM pg_proc
           UNION ALL SELECT 't', oid::text FROM pg_trigger UNION ALL SELECT 'n', oid::text FROM pg_namespace
           ORDER BY 1, 2"""
    ).fetchall()


@pytest.fixture
def prepared(conn: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    conn.execute(SCHEMA)
    conn.commit()
    return conn


@pytest.mark.parametrize("make", [pg_stepping.create_view, pg_stepping.generate])
@pytest.mark.parametrize(
    ("name", "query", "options", "error", "sqlstate", "says"), BAD, ids=[f"{b[5]}: {b[1][:20]}" for b in BAD]
)
def test_bad_input_changes_nothing(
    prepared: psycopg.Connection[Any],
    make: Callable[..., Any],
    name: str,
    query: str,
    options: dict[str, Any],
    error: type[SteppingError],
    sqlstate: str,
    says: str,
) -> None:
    if make is pg_stepping.generate and (error is NameTaken or sqlstate == "3F000"):
        pytest.skip("a migration may be written before its name is free")
    prepared.execute("INSERT INTO reads VALUES (2, 3.5)")  # the caller's own work, not committed yet
    before = everything(prepared)
    with pytest.raises(error) as raised:
        make(prepared, name, query, **options)
    assert says in str(raised.value)
    assert raised.value.sqlstate == sqlstate
    assert everything(prepared) == before
    assert prepared.execute("SELECT count(*) FROM reads").fetchone() == (2,)


def test_the_language_must_be_there(connect: Any, language: str, prepared: psycopg.Connection[Any]) -> None:
    if language == "plpython3u":
        pytest.skip("this database has both")
    with pytest.raises(UnsupportedServer, match="does not have the language plpython3u") as raised:
        pg_stepping.create_view(prepared, "v", GOOD, language="plpython3u")
    assert raised.value.sqlstate == "42704"


def test_a_connection_that_cannot_be_used(prepared: psycopg.Connection[Any], connect: Any) -> None:
    closed = connect()
    closed.close()
    with pytest.raises(ConnectionUnusable, match="closed"):
        pg_stepping.create_view(closed, "v", GOOD)
    with pytest.raises(psycopg.Error):
        prepared.execute("SELECT 1/0")
    with pytest.raises(ConnectionUnusable, match="rollback"):
        pg_stepping.create_view(prepared, "v", GOOD)


def test_an_old_server_is_refused(prepared: psycopg.Connection[Any], monkeypatch: Any) -> None:
    monkeypatch.setattr(psycopg.ConnectionInfo, "server_version", 140010)
    with pytest.raises(UnsupportedServer, match="PostgreSQL 14, older than 15"):
        pg_stepping.create_view(prepared, "v", GOOD)


def test_a_role_without_rights(prepared: psycopg.Connection[Any], language: str) -> None:
    prepared.execute("CREATE ROLE nobody_special; SET ROLE nobody_special")
    try:
        with pytest.raises(InsufficientPrivilege) as raised:
            pg_stepping.create_view(prepared, "v", GOOD)
        assert raised.value.sqlstate == "42501"
    finally:
        prepared.rollback()


def test_views_that_are_not_there_or_in_use(prepared: psycopg.Connection[Any]) -> None:
    for call in (pg_stepping.drop_view, pg_stepping.verify, pg_stepping.explain):
        with pytest.raises(ViewNotFound, match="no maintained view 'v'"):
            call(prepared, "v")
    pg_stepping.create_view(prepared, "v", GOOD)
    pg_stepping.create_view(prepared, "w", "SELECT count(*) AS meters FROM v")
    with pytest.raises(ViewInUse, match=r"public\.w reads public\.v"):
        pg_stepping.drop_view(prepared, "v")
    prepared.execute("CREATE VIEW plain AS SELECT * FROM w")
    with pytest.raises(ViewInUse, match="plain"):
        pg_stepping.drop_view(prepared, "w")
    prepared.execute("DROP VIEW plain")
    pg_stepping.drop_view(prepared, "w")
    pg_stepping.drop_view(prepared, "v")
    assert pg_stepping.list_views(prepared) == []


def test_the_published_view_cannot_be_written(prepared: psycopg.Connection[Any]) -> None:
    pg_stepping.create_view(prepared, "v", GOOD)
    for statement in ("INSERT INTO v VALUES (1, 1)", "UPDATE v SET value = 0", "DELETE FROM v"):
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="maintained"), prepared.transaction():
            prepared.execute(statement)
    assert pg_stepping.verify(prepared, "v") == []


def test_any_row_factory_and_autocommit(prepared: psycopg.Connection[Any], connect: Any) -> None:
    for options in ({"row_factory": dict_row}, {"autocommit": True}, {"prepare_threshold": 0}):
        with connect(**options) as other:
            pg_stepping.create_view(other, "v", GOOD)
            assert pg_stepping.verify(other, "v") == []
            pg_stepping.drop_view(other, "v")
