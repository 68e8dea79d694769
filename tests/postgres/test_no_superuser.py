"""Roles that are no superusers: they make the catalog and views in PL/pgSQL; for PL/Python after a superuser's one step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from psycopg import errors, sql

import pg_stepping
from pg_stepping.catalog import superuser_script
from pg_stepping.cli import main

ROLE = 'odd "owner" :x %s'
SCHEMA = """
CREATE TABLE meters (id integer PRIMARY KEY, owner text);
CREATE TABLE reads (meter_id integer, value numeric);
INSERT INTO meters VALUES (1, 'oli'), (2, 'ann');
"""
QUERY = (
    "SELECT m.owner, sum(r.value) AS value FROM reads r JOIN meters m ON m.id = r.meter_id GROUP BY m.owner"
)


@pytest.fixture
def empty(database: Callable[..., str]) -> str:
    return database()


@pytest.fixture
def owner(empty: str) -> Iterator[psycopg.Connection[Any]]:
    """A session as an ordinary role that owns schema public and may create schemas, in a database without a catalog."""
    with psycopg.connect(empty, autocommit=True) as superuser:
        (name,) = superuser.execute("SELECT current_database()").fetchone() or ("",)
        for text in (
            "CREATE ROLE {role}",
            "GRANT CREATE ON DATABASE {name} TO {role}",
            "ALTER SCHEMA public OWNER TO {role}",
        ):
            superuser.execute(sql.SQL(text).format(role=sql.Identifier(ROLE), name=sql.Identifier(name)))
        with psycopg.connect(empty, autocommit=True) as conn:
            conn.execute(sql.SQL("SET SESSION AUTHORIZATION {}").format(sql.Identifier(ROLE)))
            conn.execute(SCHEMA)  # type: ignore[call-overload]
            yield conn
        for text in (
            "ALTER SCHEMA public OWNER TO CURRENT_USER",
            "DROP OWNED BY {role} CASCADE",
            "DROP ROLE {role}",
        ):
            superuser.execute(sql.SQL(text).format(role=sql.Identifier(ROLE)))


def keeps_right(conn: psycopg.Connection[Any], language: str) -> None:
    found = pg_stepping.installed(conn, "usage")
    assert found is not None
    assert found.language == language
    conn.execute("INSERT INTO reads VALUES (1, 2), (2, 3)")
    conn.execute("WITH m AS (INSERT INTO meters VALUES (3, 'eve')) INSERT INTO reads VALUES (3, 4), (1, 1)")
    assert conn.execute("SELECT * FROM usage ORDER BY 1").fetchall() == [("ann", 3), ("eve", 4), ("oli", 3)]
    conn.execute("TRUNCATE reads")
    conn.execute("INSERT INTO reads VALUES (1, 5)")
    assert pg_stepping.verify(conn, "usage") == []
    assert conn.execute("SELECT * FROM usage").fetchall() == [("oli", 5)]


def test_oracle_operating_needs_none_either(owner: psycopg.Connection[Any]) -> None:
    """Deferred mode, change, repair and why, as the owner."""
    pg_stepping.create_view(owner, "late", QUERY, mode="deferred")
    owner.execute("INSERT INTO reads VALUES (1, 2), (2, 3)")
    assert owner.execute("SELECT * FROM late ORDER BY 1").fetchall() == [("ann", 3), ("oli", 2)]
    assert owner.execute("SELECT count(*) FROM stepping.maintained_view").fetchone() == (1,)
    pg_stepping.apply(owner, "late")
    assert pg_stepping.verify(owner, "late") == []
    pg_stepping.create_view(owner, "usage", QUERY)
    pg_stepping.change_view(owner, "usage", QUERY.replace("GROUP", "WHERE r.value > 2 GROUP"))
    assert owner.execute("SELECT * FROM usage").fetchall() == [("ann", 3)]
    stage = (pg_stepping.installed(owner, "usage") or pytest.fail("gone")).stages[-1]
    owner.execute(sql.SQL("UPDATE stepping.{} SET sum_value = 9").format(sql.Identifier(stage)))
    assert len(pg_stepping.verify(owner, "usage")) == 2
    pg_stepping.repair(owner, "usage")
    assert pg_stepping.verify(owner, "usage") == []
    assert owner.execute("SELECT * FROM usage").fetchall() == [("ann", 3)]


@pytest.mark.parametrize("has_plpython", [False, True])
def test_oracle_all_of_it_in_plpgsql(empty: str, owner: psycopg.Connection[Any], has_plpython: bool) -> None:
    if has_plpython:
        with psycopg.connect(empty) as superuser:
            superuser.execute("CREATE EXTENSION plpython3u")
    pg_stepping.init(owner)
    pg_stepping.init(owner)
    script = pg_stepping.generate(owner, "usage", QUERY)
    assert "plpython3u" not in script.up
    pg_stepping.create_view(owner, "usage", QUERY, indexes=[["value"]])
    keeps_right(owner, "plpgsql")
    pg_stepping.create_view(owner, "over", "SELECT count(*) AS n FROM usage")
    assert "usage" in pg_stepping.explain(owner, "over")
    pg_stepping.drop_view(owner, "over")
    pg_stepping.drop_view(owner, "usage")
    owner.execute(script.up)  # type: ignore[call-overload]
    owner.execute(script.down)  # type: ignore[call-overload]
    assert pg_stepping.list_views(owner) == []


def test_the_schema_may_have_been_made_for_the_role(empty: str, owner: psycopg.Connection[Any]) -> None:
    with psycopg.connect(empty) as superuser:
        superuser.execute(sql.SQL("CREATE SCHEMA stepping AUTHORIZATION {}").format(sql.Identifier(ROLE)))
        (name,) = superuser.execute("SELECT current_database()").fetchone() or ("",)
        superuser.execute(
            sql.SQL("REVOKE CREATE ON DATABASE {} FROM {}").format(*map(sql.Identifier, (name, ROLE)))
        )
    pg_stepping.create_view(owner, "usage", QUERY)
    keeps_right(owner, "plpgsql")


def test_what_cannot_be_had_is_refused(empty: str, owner: psycopg.Connection[Any]) -> None:
    owner.execute("CREATE TABLE parted (n integer) PARTITION BY LIST (n)")
    with pytest.raises(pg_stepping.SteppingError, match="as a superuser"):
        pg_stepping.create_view(owner, "v", "SELECT count(*) AS n FROM parted")
    assert pg_stepping.list_views(owner) == []
    with psycopg.connect(empty) as superuser:
        superuser.execute("CREATE EXTENSION plpython3u")
    with pytest.raises(pg_stepping.SteppingError, match="--superuser-script") as refused:
        pg_stepping.create_view(owner, "v", "SELECT count(*) AS n FROM meters", language="plpython3u")
    assert refused.value.sqlstate == "42501"


def test_oracle_plpython_after_the_superusers_one_step(empty: str, owner: psycopg.Connection[Any]) -> None:
    printed = CliRunner().invoke(main, ["init", "--superuser-script", "--role", ROLE])
    assert printed.output == superuser_script(ROLE)
    with psycopg.connect(empty) as superuser:
        superuser.execute(printed.output)  # type: ignore[call-overload]
    pg_stepping.create_view(owner, "usage", QUERY, language="plpython3u")
    keeps_right(owner, "plpython3u")
    owner.execute(
        "CREATE TABLE parted (n integer) PARTITION BY LIST (n); CREATE TABLE p1 PARTITION OF parted FOR VALUES IN (1)"
    )
    pg_stepping.create_view(owner, "v", "SELECT n, count(*) AS c FROM parted GROUP BY n")
    owner.execute("INSERT INTO parted VALUES (1), (1)")
    assert owner.execute("SELECT * FROM v").fetchall() == [(1, 2)]
    assert pg_stepping.verify(owner, "v") == []
    pg_stepping.drop_view(owner, "v")
    pg_stepping.drop_view(owner, "usage")
    with psycopg.connect(empty) as other:
        other.execute("CREATE ROLE stepping_stranger; SET ROLE stepping_stranger")
        with pytest.raises(errors.InsufficientPrivilege):
            other.execute("DO LANGUAGE plpython3u 'pass'")
        other.rollback()
