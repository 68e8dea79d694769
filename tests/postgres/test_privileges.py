"""Who may do what: a writer of a source table keeps the view right and can touch nothing else of ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import errors

import pg_stepping

SCHEMA = """
CREATE TABLE meters (id integer PRIMARY KEY, owner text);
CREATE TABLE reads (meter_id integer, value numeric);
INSERT INTO meters VALUES (1, 'oli'), (2, 'ann');
"""
QUERY = (
    "SELECT m.owner, sum(r.value) AS value FROM reads r JOIN meters m ON m.id = r.meter_id GROUP BY m.owner"
)


@pytest.fixture
def writer(conn: psycopg.Connection[Any], language: str) -> Iterator[psycopg.Connection[Any]]:
    """A session as a role that may only INSERT into reads, beside a view `usage` that reads it."""
    conn.execute(SCHEMA)
    pg_stepping.create_view(conn, "usage", QUERY, language=language)
    conn.execute("CREATE ROLE stepping_writer; GRANT INSERT ON reads TO stepping_writer")
    conn.execute("GRANT CREATE, USAGE ON SCHEMA public TO stepping_writer")
    conn.commit()
    conn.execute("SET SESSION AUTHORIZATION stepping_writer")
    try:
        yield conn
    finally:
        conn.rollback()
        conn.execute("RESET SESSION AUTHORIZATION")
        conn.execute("DROP OWNED BY stepping_writer; DROP ROLE stepping_writer")
        conn.commit()


def right(conn: psycopg.Connection[Any], value: int) -> None:
    conn.execute("RESET SESSION AUTHORIZATION")
    assert pg_stepping.verify(conn, "usage") == []
    assert conn.execute("SELECT sum(value) FROM usage").fetchone() == (value,)


def test_oracle_a_role_that_may_only_insert_keeps_the_view_right(writer: psycopg.Connection[Any]) -> None:
    writer.execute("INSERT INTO reads VALUES (1, 2), (2, 3), (9, 100)")
    right(writer, 5)


def test_oracle_such_a_role_may_change_several_tables_at_once(writer: psycopg.Connection[Any]) -> None:
    writer.execute(
        "RESET SESSION AUTHORIZATION; GRANT INSERT ON meters TO stepping_writer; SET SESSION AUTHORIZATION stepping_writer"
    )
    writer.execute("WITH m AS (INSERT INTO meters VALUES (9, 'eve')) INSERT INTO reads VALUES (9, 2), (1, 3)")
    right(writer, 5)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM usage",
        "SELECT * FROM stepping.usage",
        "UPDATE stepping.usage SET n = 7",
        "INSERT INTO stepping.waiting VALUES ('usage')",
        "SELECT * FROM stepping.maintained_view",
        "INSERT INTO stepping.usage__aside_1 VALUES (1, 'x', 1)",
        "SELECT stepping.drop_view('public', 'usage')",
        "CREATE TABLE mine (id integer, owner text);"
        "CREATE TRIGGER t AFTER INSERT ON mine REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT"
        " EXECUTE FUNCTION stepping.usage__maintain('meters')",
    ],
)
def test_and_can_touch_nothing_else(writer: psycopg.Connection[Any], statement: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        writer.execute(statement)  # type: ignore[call-overload]


def test_oracle_a_hijacked_search_path_changes_nothing(writer: psycopg.Connection[Any]) -> None:
    writer.execute(
        """CREATE FUNCTION public.sum(numeric) RETURNS numeric LANGUAGE sql AS 'SELECT 666::numeric';
           CREATE FUNCTION public.coalesce(numeric, integer) RETURNS numeric LANGUAGE sql AS 'SELECT 666::numeric';
           CREATE FUNCTION public.times(integer, numeric) RETURNS numeric LANGUAGE sql AS 'SELECT 666::numeric';
           CREATE OPERATOR public.* (LEFTARG = integer, RIGHTARG = numeric, FUNCTION = public.times);
           CREATE TEMPORARY TABLE meters (id integer, owner text);
           CREATE TEMPORARY TABLE inserted (meter_id integer, value numeric);
           INSERT INTO meters VALUES (1, 'mallory');
           SET search_path = pg_temp, public, pg_catalog"""
    )
    writer.execute("INSERT INTO public.reads VALUES (1, 2)")
    writer.execute("RESET search_path; DROP TABLE pg_temp.meters, pg_temp.inserted")
    right(writer, 2)


def test_a_forged_count_cannot_lose_a_change(writer: psycopg.Connection[Any]) -> None:
    """Whoever tampers with the settings fails at commit; the view stays right."""
    for constraints in ("DEFERRED", "IMMEDIATE"):
        writer.execute(f"SET CONSTRAINTS ALL {constraints}")  # type: ignore[call-overload]
        writer.execute("SELECT set_config('stepping.open', '5', true)")
        writer.execute("INSERT INTO reads VALUES (1, 2)")
        with pytest.raises(errors.InternalError_, match="never applied"):
            writer.commit()
        writer.rollback()
    writer.execute("INSERT INTO reads VALUES (1, 3)")
    right(writer, 3)


def test_a_reader_needs_the_view_only(writer: psycopg.Connection[Any]) -> None:
    writer.execute("RESET SESSION AUTHORIZATION")
    writer.execute("GRANT SELECT ON usage TO stepping_writer; SET SESSION AUTHORIZATION stepping_writer")
    assert writer.execute("SELECT * FROM usage").fetchall() == []


def test_oracle_an_ordinary_owner_makes_views_in_plpgsql(conn: psycopg.Connection[Any]) -> None:
    conn.execute("CREATE ROLE stepping_owner; GRANT CREATE, USAGE ON SCHEMA public TO stepping_owner")
    conn.execute("GRANT USAGE, CREATE ON SCHEMA stepping TO stepping_owner")
    conn.execute("GRANT SELECT, INSERT, DELETE ON stepping.maintained_view TO stepping_owner")
    conn.execute("GRANT INSERT, SELECT ON stepping.waiting TO stepping_owner")
    conn.execute("SET ROLE stepping_owner")
    conn.execute(SCHEMA)  # type: ignore[call-overload]
    pg_stepping.create_view(conn, "usage", QUERY)
    found = pg_stepping.installed(conn, "usage")
    assert found is not None
    assert found.language == "plpgsql"
    conn.execute("WITH m AS (INSERT INTO meters VALUES (3, 'eve')) INSERT INTO reads VALUES (3, 4), (1, 1)")
    assert pg_stepping.verify(conn, "usage") == []
    assert conn.execute("SELECT sum(value) FROM usage").fetchone() == (5,)
    pg_stepping.drop_view(conn, "usage")
    conn.rollback()


@pytest.mark.parametrize("how", ["trigger", "condition", "rule"])
@pytest.mark.parametrize("language", ["plpgsql"])
def test_an_owner_of_a_view_gets_no_rights_of_the_catalogs_owner(
    conn: psycopg.Connection[Any], how: str
) -> None:
    """What he hangs on his own tables in schema stepping does not run as the superuser who made the catalog."""
    conn.execute(
        "CREATE ROLE stepping_owner; GRANT CREATE, USAGE ON SCHEMA public, stepping TO stepping_owner"
    )
    conn.execute("GRANT SELECT, INSERT, DELETE ON stepping.maintained_view TO stepping_owner")
    conn.execute("GRANT INSERT, SELECT ON stepping.waiting TO stepping_owner; SET ROLE stepping_owner")
    conn.execute(SCHEMA)  # type: ignore[call-overload]
    pg_stepping.create_view(conn, "usage", QUERY)
    conn.execute(
        """CREATE FUNCTION public.evil() RETURNS trigger LANGUAGE plpgsql AS
               'BEGIN ALTER ROLE stepping_owner SUPERUSER; RETURN NULL; END';
           CREATE FUNCTION public.yes() RETURNS boolean LANGUAGE plpgsql AS
               'BEGIN ALTER ROLE stepping_owner SUPERUSER; RETURN true; END';
           CREATE FUNCTION public.tame() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN RETURN NULL; END'"""
    )
    on = "ON stepping.usage__aside_1"
    hang = {
        "trigger": f"CREATE TRIGGER t BEFORE UPDATE {on} FOR EACH STATEMENT EXECUTE FUNCTION public.evil()",
        "condition": f"CREATE TRIGGER t BEFORE UPDATE {on} FOR EACH STATEMENT WHEN (public.yes()) EXECUTE FUNCTION public.tame()",
        "rule": "CREATE RULE r AS ON UPDATE TO stepping.usage__aside_1 DO ALSO SELECT public.yes()",
    }
    conn.execute(hang[how])  # type: ignore[call-overload]
    with pytest.raises(errors.InsufficientPrivilege, match="would run with the rights"), conn.transaction():
        conn.execute(
            "WITH m AS (INSERT INTO meters VALUES (3, 'eve')) INSERT INTO reads VALUES (3, 4), (1, 1)"
        )
    assert conn.execute("SELECT rolsuper FROM pg_roles WHERE rolname = 'stepping_owner'").fetchone() == (
        False,
    )
    conn.rollback()


@pytest.mark.parametrize("language", ["plpgsql"])
def test_trigger_functions_of_the_catalog_run_nothing_of_whoever_uses_them(
    conn: psycopg.Connection[Any], language: str
) -> None:
    """Neither what he says in a trigger's arguments, nor a cast of a type of his in their place."""
    conn.execute(
        """CREATE ROLE stepping_owner; GRANT CREATE, USAGE ON SCHEMA public, stepping TO stepping_owner;
           SET SESSION AUTHORIZATION stepping_owner; CREATE TABLE mine (stage text); CREATE TABLE told (n integer, who text)"""
    )
    for function in ("note_used", "refuse_leftovers", "apply_overdue"):
        with pytest.raises(errors.InsufficientPrivilege, match=function), conn.transaction():
            conn.execute(
                f"CREATE TRIGGER t AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION stepping.{function}()"  # type: ignore[call-overload]
            )
    conn.execute(
        """CREATE TRIGGER t AFTER INSERT ON mine FOR EACH STATEMENT
           EXECUTE FUNCTION stepping.record_changes('public.told', 'x', 'SELECT current_user');
           INSERT INTO mine VALUES ('x')"""
    )
    assert conn.execute("SELECT who FROM told").fetchall() == [("stepping_owner",)]
    conn.rollback()


@pytest.mark.parametrize("language", ["plpgsql"])
def test_nobody_can_put_a_better_match_beside_our_functions(
    conn: psycopg.Connection[Any], language: str
) -> None:
    """Who may create in schema stepping, as owners of views may, could else have one run as the superuser."""
    conn.execute(
        """CREATE TABLE days (day integer, n integer) PARTITION BY LIST (day);
           CREATE TABLE first PARTITION OF days FOR VALUES IN (1)"""
    )
    pg_stepping.create_view(conn, "sums", "SELECT day, sum(n) AS n FROM days GROUP BY day", language=language)
    conn.execute(
        """CREATE ROLE stepping_owner; GRANT CREATE, USAGE ON SCHEMA public, stepping TO stepping_owner;
           SET SESSION AUTHORIZATION stepping_owner"""
    )
    for function in ("followers(oid)", "suspect(oid, text)", "suspect(oid, name)", "change_family(regclass, text)",
                     "set_rows_aside(oid, integer)", "has_logs(name)", "family(oid)"):  # fmt: skip
        conn.execute(
            f"CREATE FUNCTION stepping.{function} RETURNS text LANGUAGE plpgsql"  # type: ignore[call-overload]
            " AS $$BEGIN RAISE EXCEPTION 'run as %', current_user; END$$"
        )
    conn.execute("RESET SESSION AUTHORIZATION")
    conn.execute("CREATE TABLE second PARTITION OF days FOR VALUES IN (2)")
    conn.execute("INSERT INTO days VALUES (1, 1), (2, 2); ALTER TABLE days DETACH PARTITION first")
    conn.execute("ALTER TABLE days ADD COLUMN m integer; INSERT INTO days VALUES (2, 3)")
    assert conn.execute("SELECT * FROM sums").fetchall() == [(2, 5)]
    conn.execute("SET session_replication_role = replica; INSERT INTO second VALUES (2, 4)")
    conn.execute("RESET session_replication_role")
    assert conn.execute("SELECT count(*) FROM stepping.views WHERE NOT in_step").fetchone() == (1,)
    conn.rollback()
