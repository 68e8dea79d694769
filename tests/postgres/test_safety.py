"""Row security, ownership, hostile names and forged settings: what docs/security.md says, tested."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from psycopg import errors

import pg_stepping
from pg_stepping.migrate import Declaration, Migration, View, migrate

Connection = psycopg.Connection[Any]

SCHEMA = """
CREATE TABLE meters (id integer PRIMARY KEY, owner text);
CREATE TABLE reads (meter_id integer, value integer);
INSERT INTO meters VALUES (1, 'ann'), (2, 'bob');
INSERT INTO reads VALUES (1, 5), (2, 7);
"""
QUERY = (
    "SELECT m.owner, sum(r.value) AS value FROM reads r JOIN meters m ON m.id = r.meter_id GROUP BY m.owner"
)


@pytest.fixture
def usage(conn: Connection, language: str) -> Iterator[Connection]:
    """A view, and a role `stepping_someone` that may read and write the tables, and read the view."""
    conn.execute(SCHEMA)  # type: ignore[call-overload]
    pg_stepping.create_view(conn, "usage", QUERY, language=language)
    conn.execute("CREATE ROLE stepping_someone; CREATE ROLE stepping_heir")
    conn.execute(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON meters, reads TO stepping_someone; GRANT SELECT ON usage TO stepping_someone"
    )
    conn.commit()
    try:
        yield conn
    finally:
        conn.rollback()
        conn.execute("RESET ALL; RESET SESSION AUTHORIZATION")
        conn.execute(
            "DROP OWNED BY stepping_someone, stepping_heir; DROP ROLE stepping_someone, stepping_heir"
        )
        conn.commit()


def right(conn: Connection) -> None:
    conn.execute("RESET SESSION AUTHORIZATION")
    assert pg_stepping.verify(conn, "usage") == []
    assert conn.execute("SELECT count(*) > 0 FROM usage").fetchone() == (True,)


def test_oracle_row_security_on_a_source_hides_no_row_from_the_view(usage: Connection) -> None:
    usage.execute(
        """ALTER TABLE reads ENABLE ROW LEVEL SECURITY;
           CREATE POLICY small ON reads TO stepping_someone USING (value < 6) WITH CHECK (value < 100);
           SET SESSION AUTHORIZATION stepping_someone"""
    )
    assert usage.execute("SELECT * FROM reads").fetchall() == [(1, 5)]
    usage.execute(
        "INSERT INTO reads VALUES (1, 50); UPDATE reads SET value = 1; DELETE FROM meters WHERE id = 9"
    )
    assert sorted(usage.execute("SELECT * FROM usage").fetchall()) == [("ann", 51), ("bob", 7)]
    right(usage)


def test_oracle_a_policy_on_the_result(usage: Connection) -> None:
    """Readers see the rows of the state that a policy lets them; the triggers, its owner's, see all."""
    usage.execute(
        """ALTER TABLE stepping.usage ENABLE ROW LEVEL SECURITY;
           CREATE POLICY own ON stepping.usage FOR SELECT TO stepping_someone USING (owner = 'ann');
           ALTER VIEW usage SET (security_invoker = true);
           GRANT SELECT ON stepping.usage TO stepping_someone;
           SET SESSION AUTHORIZATION stepping_someone"""
    )
    usage.execute("INSERT INTO reads VALUES (1, 1), (2, 1)")
    assert usage.execute("SELECT * FROM usage").fetchall() == [("ann", 6)]
    right(usage)
    assert len(usage.execute("SELECT * FROM usage").fetchall()) == 2


@pytest.mark.parametrize("setting", ["stepping.open", "stepping.waiting"])
@pytest.mark.parametrize("value", ["", "+", "++", "1", "999999999", "nonsense"])
def test_oracle_a_forged_setting_never_leaves_a_wrong_view(
    usage: Connection, setting: str, value: str
) -> None:
    """Whoever tampers with our settings harms his own transactions alone: they fail, or they are right."""
    for local in (True, False):
        usage.execute("SET SESSION AUTHORIZATION stepping_someone")
        try:
            usage.execute("SELECT set_config(%s, %s, %s)", [setting, value, local])
            usage.execute("INSERT INTO reads VALUES (1, 3)")
            usage.execute("SELECT set_config(%s, %s, %s)", [setting, value, local])
            usage.execute("WITH m AS (INSERT INTO meters VALUES (3, 'eve')) INSERT INTO reads VALUES (3, 4)")
            usage.execute("DELETE FROM meters WHERE id = 3")
            usage.commit()
        except psycopg.Error:
            usage.rollback()
        right(usage)
        usage.commit()
        usage.execute("RESET ALL")
        usage.commit()
        usage.execute("INSERT INTO reads VALUES (2, 1)")
        right(usage)
        usage.commit()


def test_a_forger_cannot_run_code_as_the_owner(usage: Connection) -> None:
    usage.execute("SET SESSION AUTHORIZATION stepping_someone")
    for value in ("'; DROP TABLE reads; --", "public.reads", "1); DELETE FROM meters; --"):
        for setting in ("stepping.open", "stepping.waiting"):
            try:
                usage.execute("SELECT set_config(%s, %s, true)", [setting, value])
                usage.execute("INSERT INTO reads VALUES (1, 3)")
                usage.execute("SELECT count(*) FROM reads")
                usage.commit()
            except psycopg.Error:
                usage.rollback()
            usage.execute("SET SESSION AUTHORIZATION stepping_someone")
    usage.commit()
    right(usage)


def test_oracle_hostile_names_and_values(conn: Connection, language: str) -> None:
    name, column = "x'; DROP TABLE t; -- \" $body$ % :n {{", "a\"b'c $python$ %s ${x} \\"
    quoted = ", ".join('"' + c.replace('"', '""') + '"' for c in (name, column))
    table, col = quoted.split(", ", 1)
    conn.execute(f"CREATE TABLE {table} ({col} text, n integer)".replace("%", "%"))  # type: ignore[call-overload]
    conn.execute("CREATE TABLE t (id integer)")
    pg_stepping.create_view(
        conn, name + "v", f"SELECT {col}, sum(n) AS n FROM {table} GROUP BY {col}", language=language
    )
    for value in ("'; DROP TABLE t; --", "$body$", "\\", '"', "%s", None, "\n\t", "'||(SELECT 1)||'"):
        conn.execute(f"INSERT INTO {table.replace('%', '%%')} VALUES (%s, 1), (%s, 2)", [value, value])  # type: ignore[call-overload]
    assert pg_stepping.verify(conn, name + "v") == []
    assert len(pg_stepping.verify(conn, name + "v", keys=[{column: "$body$"}])) == 0
    assert conn.execute("SELECT count(*) FROM stepping.views WHERE in_step").fetchone() == (1,)
    conn.execute(f"DELETE FROM {table}")  # type: ignore[call-overload]
    assert pg_stepping.verify(conn, name + "v") == []


@pytest.mark.parametrize("language", ["plpgsql"])
def test_oracle_an_owner_from_whom_row_security_hides_rows_is_refused(
    conn: Connection, language: str
) -> None:
    conn.execute(SCHEMA)  # type: ignore[call-overload]
    conn.execute(
        """CREATE ROLE stepping_someone; GRANT CREATE, USAGE ON SCHEMA public, stepping TO stepping_someone;
           GRANT SELECT, INSERT, DELETE ON ALL TABLES IN SCHEMA stepping TO stepping_someone;
           ALTER TABLE reads OWNER TO stepping_someone; ALTER TABLE meters OWNER TO stepping_someone;
           ALTER TABLE meters ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
           CREATE POLICY one ON meters USING (id = 1); SET SESSION AUTHORIZATION stepping_someone"""
    )
    with pytest.raises(pg_stepping.SteppingError, match="row security of") as refused:
        pg_stepping.create_view(conn, "usage", QUERY, language=language)
    assert "BYPASSRLS" in str(refused.value)
    conn.execute("ALTER TABLE meters NO FORCE ROW LEVEL SECURITY")
    pg_stepping.create_view(conn, "usage", QUERY, language=language)
    assert conn.execute("SELECT problem FROM stepping.views").fetchone() == (None,)
    with pytest.raises(errors.DependentObjectsStillExist, match="maintained view"), conn.transaction():
        conn.execute("ALTER TABLE meters FORCE ROW LEVEL SECURITY")
    conn.execute("INSERT INTO reads VALUES (2, 1)")
    right(conn)
    conn.rollback()


@pytest.mark.parametrize("language", ["plpgsql"])
def test_nothing_of_a_query_runs_as_who_looks_whether_it_is_in_step(conn: Connection, language: str) -> None:
    """At DDL a superuser's event trigger looks: it neither plans the query, which would compute its
    constants, nor runs what an owner wrote in its place.
    """
    conn.execute(
        """CREATE ROLE stepping_owner; GRANT CREATE, USAGE ON SCHEMA public, stepping TO stepping_owner;
           GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA stepping TO stepping_owner;
           SET SESSION AUTHORIZATION stepping_owner;
           CREATE TABLE t (a integer, b integer);
           CREATE FUNCTION public.evil(x integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$BEGIN
               IF current_user <> 'stepping_owner' THEN RAISE EXCEPTION 'run as %', current_user; END IF;
               RETURN x;
           END$$"""
    )
    query = "SELECT a, sum(b) AS b FROM t WHERE a <> public.evil(7) GROUP BY a"
    pg_stepping.create_view(conn, "v", query, language=language)
    conn.execute("ALTER TABLE t ADD COLUMN c integer; INSERT INTO t VALUES (1, 2)")
    conn.execute("RESET SESSION AUTHORIZATION")
    assert conn.execute("SELECT problem FROM stepping.views").fetchone() == (None,)
    texts = (
        "SELECT 1; SELECT public.evil(3)",
        "SELECT public.evil(3)",
        "SELECT 1) AS x; SELECT public.evil(3",
    )
    for text in texts:
        conn.execute("SET SESSION AUTHORIZATION stepping_owner")
        conn.execute("UPDATE stepping.maintained_view SET query = %s", [text])
        with suppress(errors.DependentObjectsStillExist), conn.transaction():
            conn.execute("ALTER TABLE t ALTER COLUMN c SET DEFAULT 5")
        conn.execute("RESET SESSION AUTHORIZATION")
        assert conn.execute("SELECT count(*) FROM stepping.views").fetchone() == (1,)
    conn.rollback()


@pytest.mark.parametrize("name", ["new\nline'\"; --", "\\ %s ${x} :n {{y}}", "日" * 17])
def test_oracle_a_hostile_name_all_its_life(conn: Connection, language: str, name: str) -> None:
    """Made, changed, migrated, repaired, deferred, made online and dropped; as a schema, a table and a column."""
    conn.autocommit = True
    quoted = psycopg.sql.Identifier(name).as_string(conn)
    table = f"{quoted}.{quoted}"
    conn.execute(f"CREATE SCHEMA {quoted}")  # type: ignore[call-overload]
    conn.execute(f"CREATE TABLE {table} ({quoted} text, n numeric)")  # type: ignore[call-overload]
    view = name[:16] + "v"
    query = f"SELECT {quoted}, sum(n) AS n, count(*) AS c FROM {table} GROUP BY {quoted}"

    def write() -> None:
        conn.execute(f"INSERT INTO {table} SELECT '$body$' || i % 3, i FROM generate_series(1, 9) AS i")  # type: ignore[call-overload]
        conn.execute(f"DELETE FROM {table} WHERE n = 4; UPDATE {table} SET n = n + 1 WHERE n > 6")  # type: ignore[call-overload]
        assert pg_stepping.verify(conn, view, schema=name) == []
        assert conn.execute("SELECT count(*) FROM stepping.views WHERE in_step").fetchone() == (1,)

    pg_stepping.create_view(conn, view, query, schema=name, language=language, indexes=[[name]])
    write()
    pg_stepping.change_view(conn, view, query.replace("count(*)", "max(n)"), schema=name)
    write()
    pg_stepping.change_view(conn, view, query.replace("count(*)", "min(n)"), schema=name, online=True)
    write()
    declared = View(view, query.replace("count(*)", "count(n)"), schema=name, language=language)
    (change,) = migrate(conn, Declaration((declared,)))
    assert change.up is not None
    for script in (Migration((change,)).up, Migration((change,)).down, Migration((change,)).up):
        with conn.transaction():
            conn.execute(script)  # type: ignore[call-overload]
        write()
    stage = psycopg.sql.Identifier(pg_stepping.list_views(conn)[0].stages[-1])
    conn.execute(psycopg.sql.SQL("UPDATE stepping.{} SET n = n + 1").format(stage))
    assert pg_stepping.repair(conn, view, schema=name) > 0
    pg_stepping.switch_view(conn, view, schema=name, mode="deferred")
    write()
    assert pg_stepping.apply(conn, view, schema=name) > 0
    pg_stepping.drop_view(conn, view, schema=name)
    pg_stepping.create_view_online(conn, view, query, schema=name, language=language)
    write()
    pg_stepping.drop_view(conn, view, schema=name)


def test_oracle_owners_come_and_go(usage: Connection) -> None:
    usage.execute(
        "ALTER TABLE reads OWNER TO stepping_heir; ALTER TABLE meters OWNER TO stepping_someone; INSERT INTO reads VALUES (2, 3)"
    )
    right(usage)
    usage.execute(
        "REASSIGN OWNED BY stepping_heir TO CURRENT_USER; REASSIGN OWNED BY stepping_someone TO CURRENT_USER"
    )
    usage.execute("DROP OWNED BY stepping_someone")
    usage.execute("INSERT INTO reads VALUES (2, 3)")
    right(usage)
    usage.execute("ALTER VIEW usage OWNER TO stepping_heir")
    with pytest.raises(errors.DependentObjectsStillExist):
        usage.execute("DROP ROLE stepping_heir")
    usage.rollback()
    right(usage)


TRAPS = {
    "trigger": "CREATE TRIGGER trap BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION public.trap_trigger()",
    "rule": "CREATE RULE trap AS ON INSERT TO {} DO ALSO SELECT public.trap()",
    "check": "ALTER TABLE {} ADD CHECK (public.trap())",
    "index": "CREATE INDEX ON {} ((public.trap()))",
    "domain": "ALTER TABLE {} ALTER value TYPE public.trap_domain",
    "generated": "ALTER TABLE {} DROP value, ADD value integer GENERATED ALWAYS AS (public.trap()::integer) STORED",
    "view": "ALTER TABLE {} RENAME TO elsewhere; CREATE VIEW {} AS SELECT * FROM stepping.elsewhere",
}


@pytest.mark.parametrize("language", ["plpgsql"])
@pytest.mark.parametrize("mode", ["immediate", "deferred"])
def test_what_an_owner_hangs_on_his_tables_does_not_run_as_a_superuser(
    conn: Connection, language: str, mode: str
) -> None:
    """An event trigger, a superuser's, puts the rows of a new partition into a table of the view's owner."""
    conn.execute("""CREATE ROLE stepping_mallory; GRANT CREATE, USAGE ON SCHEMA public, stepping TO stepping_mallory;
        GRANT ALL ON ALL TABLES IN SCHEMA stepping TO stepping_mallory;
        CREATE TABLE ran (who text); GRANT ALL ON ran TO PUBLIC; SET ROLE stepping_mallory;
        CREATE TABLE sales (day integer, value integer) PARTITION BY LIST (day);
        CREATE TABLE first PARTITION OF sales FOR VALUES IN (1); CREATE TABLE more (day integer, value integer);
        INSERT INTO sales VALUES (1, 5); INSERT INTO more VALUES (2, 7);
        CREATE FUNCTION note() RETURNS void LANGUAGE plpgsql
            AS 'BEGIN INSERT INTO public.ran SELECT current_user; END';
        CREATE FUNCTION trap() RETURNS boolean IMMUTABLE LANGUAGE plpgsql
            AS 'BEGIN PERFORM public.note(); RETURN true; END';
        CREATE FUNCTION trap_trigger() RETURNS trigger LANGUAGE plpgsql
            AS 'BEGIN INSERT INTO public.ran SELECT current_user; RETURN NEW; END';
        CREATE DOMAIN trap_domain AS integer CHECK (public.trap())""")
    pg_stepping.create_view(
        conn, "sold", "SELECT day, sum(value) AS value FROM sales GROUP BY day", language=language, mode=mode
    )
    table = "stepping.sold__aside_1" if mode == "immediate" else "stepping.sold__log_1"
    for trap in TRAPS.values():
        with suppress(errors.DependentObjectsStillExist), conn.transaction(force_rollback=True):
            conn.execute(trap.replace("{}", table))  # type: ignore[call-overload]
            conn.execute("DELETE FROM ran")
            with pytest.raises(errors.InsufficientPrivilege), conn.transaction():
                conn.execute("ALTER TABLE sales ATTACH PARTITION more FOR VALUES IN (2)")
            assert conn.execute("SELECT * FROM ran WHERE who <> 'stepping_mallory'").fetchall() == []
    column = "padding" if mode == "immediate" else "logged_at"
    conn.execute(f"ALTER TABLE {table} ALTER {column} SET DEFAULT public.trap()::text::timestamptz")  # type: ignore[call-overload]
    conn.execute("ALTER TABLE sales ATTACH PARTITION more FOR VALUES IN (2)")
    assert conn.execute("SELECT * FROM ran").fetchall() == []
    assert sorted(conn.execute("SELECT * FROM sold").fetchall()) == [(1, 5), (2, 7)]
    conn.rollback()
