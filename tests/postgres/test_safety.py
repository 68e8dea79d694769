"""Row security, ownership, hostile names and forged settings: what docs/security.md says, tested."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from psycopg import errors

import pg_stepping
from pg_stepping.errors import ViewDiffers
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


@pytest.mark.parametrize("language", ["plpgsql"])
def test_oracle_an_owner_who_may_not_read_the_state_is_told(conn: Connection, language: str) -> None:
    """The published view reads the state with its owner's rights; what he was granted stays where it changes."""
    conn.autocommit = True
    conn.execute(SCHEMA)  # type: ignore[call-overload]
    query = "SELECT meter_id, sum(value) AS value FROM reads GROUP BY meter_id"
    pg_stepping.create_view(conn, "usage", query, language=language)
    conn.execute("""CREATE ROLE stepping_heir; CREATE ROLE stepping_granted; GRANT CREATE ON SCHEMA public TO stepping_heir;
        GRANT SELECT ON usage TO stepping_granted WITH GRANT OPTION; ALTER VIEW usage OWNER TO stepping_heir""")
    try:
        (told,) = conn.execute("SELECT problem FROM stepping.views").fetchone() or ("",)
        assert told == "its owner may not read its state: GRANT SELECT ON stepping.usage TO stepping_heir"
        conn.execute(
            "INSERT INTO reads VALUES (1, 1); ALTER TABLE reads ADD COLUMN note text"
        )  # nobody is stopped
        conn.execute(told.partition(": ")[2])
        for step in ("", "min", "max", "deferred", "immediate", "deferred"):
            if step in ("deferred", "immediate"):
                pg_stepping.switch_view(conn, "usage", mode=step)
            elif step:
                changed = query.replace("sum(", f"{step}(")
                pg_stepping.change_view(conn, "usage", changed, online=step == "max")
            conn.execute("INSERT INTO reads VALUES (1, 1)")
            conn.execute("SET SESSION AUTHORIZATION stepping_granted")
            assert len(conn.execute("SELECT * FROM usage").fetchall()) == 2
            conn.execute("RESET SESSION AUTHORIZATION")
            assert pg_stepping.verify(conn, "usage") == []
            assert conn.execute("SELECT problem FROM stepping.views").fetchone() == (None,)
        conn.execute("DROP OWNED BY stepping_granted; DROP ROLE stepping_granted")
        conn.execute("INSERT INTO reads VALUES (2, 1)")
        assert pg_stepping.verify(conn, "usage") == []
        with pytest.raises(errors.DependentObjectsStillExist):
            conn.execute("DROP ROLE stepping_heir")
        conn.execute("DROP VIEW usage")  # the triggers go on, and so does who changes the table
        assert conn.execute("SELECT problem FROM stepping.views").fetchone() == (
            "the published view is gone",
        )
        with pytest.raises(ViewDiffers, match=r"published view public\.usage was dropped or renamed"):
            pg_stepping.verify(conn, "usage")
        conn.execute("INSERT INTO reads VALUES (2, 1); ALTER TABLE reads ADD COLUMN more text")
    finally:
        conn.execute("RESET SESSION AUTHORIZATION; DROP OWNED BY stepping_heir; DROP ROLE stepping_heir")


@pytest.mark.parametrize("language", ["plpgsql"])
@pytest.mark.parametrize("mode", ["immediate", "deferred"])
def test_an_owner_who_may_not_read_a_table_any_more_is_told(
    conn: Connection, language: str, mode: str
) -> None:
    """The triggers run with the rights of the view's owner: without them writers fail, and no view is wrong."""
    pg_stepping.init(conn)
    conn.execute("""CREATE ROLE stepping_owner; CREATE ROLE stepping_heir; CREATE ROLE stepping_writer;
        GRANT CREATE, USAGE ON SCHEMA public, stepping TO stepping_owner, stepping_heir; GRANT USAGE ON SCHEMA public TO stepping_writer;
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA stepping TO stepping_owner;
        SET SESSION AUTHORIZATION stepping_owner""")
    conn.execute(SCHEMA + "GRANT INSERT ON reads TO stepping_writer")  # type: ignore[operator]
    pg_stepping.create_view(conn, "usage", QUERY, language=language, mode=mode)
    conn.execute("RESET SESSION AUTHORIZATION")
    told = "SELECT problem FROM stepping.views"
    for change, grant in (
        ("ALTER TABLE meters OWNER TO stepping_heir", "GRANT SELECT ON public.meters TO stepping_owner"),
        (
            "REVOKE USAGE ON SCHEMA public FROM stepping_owner, PUBLIC",
            "GRANT USAGE ON SCHEMA public TO stepping_owner",
        ),
    ):
        conn.execute(change)
        (problem,) = conn.execute(told).fetchone() or ("",)
        assert problem.endswith(f", so writers fail: {grant}")
        conn.execute(grant)
        assert conn.execute(told).fetchone() == (None,)
        conn.execute("SET SESSION AUTHORIZATION stepping_writer; INSERT INTO public.reads VALUES (1, 1)")
        right(conn)
    conn.rollback()


SETTINGS = """row_security=off extra_float_digits=-15 TimeZone=Asia/Kathmandu DateStyle=German IntervalStyle=iso_8601
bytea_output=escape standard_conforming_strings=off lc_monetary=C lc_numeric=C search_path=hijack,pg_catalog
default_transaction_deferrable=on jit=on jit_above_cost=0 array_nulls=off quote_all_identifiers=on transform_null_equals=on
plan_cache_mode=force_generic_plan enable_seqscan=off enable_hashagg=off work_mem=64kB force_parallel_mode=on
client_encoding=LATIN1 xmlbinary=hex backslash_quote=on
default_toast_compression=pglz check_function_bodies=off from_collapse_limit=1 geqo_threshold=2 gin_fuzzy_search_limit=1"""


def test_oracle_no_setting_and_no_statement_of_a_writers_makes_a_view_wrong(
    conn: Connection, language: str
) -> None:
    """He sets what he may, makes what shadows our names, and writes by COPY, cursors and savepoints."""
    conn.autocommit = True
    conn.execute("""CREATE TABLE t (id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY, k integer, f float8, at timestamptz,
            span interval, b bytea, price money, note text);
        INSERT INTO t (k, f, at, span, b, price, note) SELECT i % 3, i / 7.0, timestamptz '2024-01-01 00:00Z' + i * interval '5 h',
            i * interval '1 day 1 h', decode('00ff', 'hex'), i::numeric::money, 'n' || i FROM generate_series(1, 20) AS i;
        CREATE ROLE stepping_writer; CREATE SCHEMA hijack AUTHORIZATION stepping_writer;
        GRANT SELECT, INSERT, UPDATE, DELETE ON t TO stepping_writer""")
    shown = "at::text || span::text || b::text || price::text || f::text || note"
    for name, query, mode in (
        ("texts", f"SELECT k, string_agg({shown}, ',' ORDER BY id) AS t, sum(f) AS f FROM t GROUP BY k", "immediate"),
        ("days", "SELECT date_trunc('day', at) AS d, to_char(at, 'HH24') AS h, count(*) AS n FROM t GROUP BY 1, 2", "immediate"),
        ("bag", f"SELECT id, {shown} AS s FROM t WHERE at::text > '2024-01-02'", "immediate"),
        ("later", f"SELECT k, string_agg({shown}, ',' ORDER BY id) AS t, sum(f) AS f FROM t GROUP BY k", "deferred"),
    ):  # fmt: skip
        pg_stepping.create_view(conn, name, query, language=language, mode=mode)
    writes = """INSERT INTO public.t (k, f, at, span, b, price, note) VALUES
            (1, 0.1, '2024-03-01T00:00:00Z', '1 day 02:00:00', decode('ff00', 'hex'), 3.5::numeric::money, 'x');
        UPDATE public.t SET f = f + 0.1, at = at + interval '1 day' WHERE id % 5 = 0;
        DELETE FROM public.t WHERE id = (SELECT min(id) FROM public.t)"""
    try:
        for setting in SETTINGS.split():
            conn.execute("SET SESSION AUTHORIZATION stepping_writer")
            with conn.transaction():
                conn.execute(
                    "SELECT set_config(split_part(%s, '=', 1), split_part(%s, '=', 2), true)", [setting] * 2
                )
                conn.execute(writes)
            conn.execute("RESET SESSION AUTHORIZATION")
        conn.execute("SET SESSION AUTHORIZATION stepping_writer")
        for shadow in (
            *(
                f"CREATE TEMP TABLE {n} (a integer)"
                for n in ("t", "texts", "later", "new_rows", "delta", "pg_class")
            ),
            "CREATE FUNCTION hijack.wrong(integer, integer) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
            "CREATE OPERATOR hijack.= (LEFTARG = integer, RIGHTARG = integer, FUNCTION = hijack.wrong)",
            "CREATE FUNCTION pg_temp.pg_advisory_xact_lock(bigint) RETURNS void LANGUAGE sql AS 'SELECT'",
            "CREATE DOMAIN pg_temp.bigint AS integer; CREATE TYPE pg_temp.tid AS (a integer)",
        ):
            conn.execute(shadow)  # type: ignore[call-overload]
        with conn.transaction():
            conn.execute("SET LOCAL search_path = pg_temp, hijack, pg_catalog")
            conn.execute(writes.partition(";")[0])
        with conn.cursor().copy("COPY public.t (k, f, note) FROM STDIN") as copy:
            for i in range(100):
                copy.write_row((i % 3, i, "copied"))
        with conn.transaction():
            conn.execute("DECLARE c CURSOR FOR SELECT * FROM public.t WHERE f < 50 FOR UPDATE")
            for write in ("UPDATE public.t SET f = f + 1, k = k + 1", "DELETE FROM public.t") * 3:
                conn.execute("FETCH 1 FROM c")
                conn.execute(f"{write} WHERE CURRENT OF c")  # type: ignore[call-overload]
        with conn.transaction():
            for i in range(20):
                with conn.transaction(force_rollback=i % 3 == 0):
                    conn.execute("INSERT INTO public.t (k, f) VALUES (1, 1)")
        conn.execute("DISCARD TEMP; RESET SESSION AUTHORIZATION")
        for view in ("texts", "days", "bag", "later"):
            assert pg_stepping.verify(conn, view) == []
            assert conn.execute(f"SELECT count(*) > 1 FROM public.{view}").fetchone() == (True,)  # type: ignore[call-overload]
        assert pg_stepping.apply(conn, "later") > 0
        assert pg_stepping.verify(conn, "later") == []
    finally:
        conn.execute("RESET SESSION AUTHORIZATION; DROP OWNED BY stepping_writer; DROP ROLE stepping_writer")
