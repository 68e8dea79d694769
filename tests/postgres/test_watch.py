"""How a view stands: what changes of its sources are refused or noticed, and what operators see."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from psycopg import errors

import pg_stepping
from pg_stepping.cli import main

Connection = psycopg.Connection[Any]

SCHEMA = """
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE FUNCTION place(integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT $1 / 10';
CREATE FUNCTION added(integer, integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT $1 + $2';
CREATE OPERATOR @+ (LEFTARG = integer, RIGHTARG = integer, FUNCTION = added);
CREATE TABLE meters (id integer PRIMARY KEY, owner varchar(10), spare text NOT NULL UNIQUE DEFAULT gen_random_uuid());
CREATE UNIQUE INDEX id_again ON meters (id);
CREATE TABLE reads (meter_id integer, value numeric(10, 2), mood mood, spare integer);
INSERT INTO meters SELECT i, 'owner ' || i % 3 FROM generate_series(1, 30) AS i;
INSERT INTO reads SELECT 1 + i % 30, i, 'good' FROM generate_series(1, 90) AS i;
"""
QUERY = """SELECT m.owner, r.mood, place(m.id) AS place, sum(r.value) AS value, count(*) FILTER (WHERE m.id @+ 1 > 3) AS n
FROM reads r JOIN meters m ON m.id = r.meter_id GROUP BY m.owner, r.mood, place(m.id)"""


@pytest.fixture
def usage(conn: Connection, language: str) -> Connection:
    conn.execute(SCHEMA)  # type: ignore[call-overload]
    pg_stepping.create_view(conn, "usage", QUERY, language=language)
    conn.commit()
    return conn


def stands(conn: Connection) -> tuple[Any, ...]:
    row = conn.execute("SELECT in_step, problem FROM stepping.views").fetchone()
    assert row is not None
    return row


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("ALTER TABLE reads RENAME COLUMN value TO amount", r"column r.value does not exist"),
        ("ALTER TABLE reads DROP COLUMN value", r"stepping.usage__reads_\d depends on column value of table reads"),
        ("ALTER TABLE reads DROP COLUMN value CASCADE", r"column r.value does not exist"),
        ("ALTER TABLE reads DROP COLUMN value CASCADE, ADD COLUMN value numeric(10, 2)", r"cannot drop public.reads.value"),
        ("ALTER TABLE meters RENAME id TO x; ALTER TABLE meters ADD id integer; UPDATE meters SET id = x; ALTER TABLE meters ADD UNIQUE (id)", r"stepping.usage__reads_\d reads is not as it was|column m.id does not exist"),
        ("ALTER TABLE reads ALTER COLUMN value TYPE numeric", r"stepping.usage__reads_\d depends on column .value"),
        ("ALTER TABLE meters ALTER COLUMN owner TYPE text", r"stepping.usage__reads_\d depends on column .owner"),
        ("ALTER TABLE reads ALTER COLUMN value TYPE numeric(10, 2) USING value * 2", r"stepping.usage__reads_\d depends on column .value"),
        ("ALTER TABLE reads RENAME TO readings", r"cannot rename"),
        ("DROP TABLE reads", r"stepping.usage__reads_\d depends on table reads"),
        ("DROP TABLE reads CASCADE", r"cannot drop public.reads: .* public.usage reads it .*SELECT stepping.drop_view\('public', 'usage'\)"),
        ("DROP TABLE reads, meters CASCADE", r"cannot drop public.meters"),
        ("CREATE OR REPLACE FUNCTION place(integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT $1'", r"function public.place\(integer\) is not as it was"),
        ("ALTER FUNCTION place(integer) RENAME TO elsewhere", r"public.place\(integer\) does not exist"),
        ("ALTER FUNCTION place(integer) SET SCHEMA stepping", r"public.place\(integer\) does not exist"),
        ("ALTER TYPE mood RENAME TO humour", r"enum public.mood is not as it was"),
        ("ALTER FUNCTION place(integer) VOLATILE", r"function public.place\(integer\) is not as it was"),
        ("CREATE OR REPLACE FUNCTION added(integer, integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 0'", r"function public.added"),
        ("DROP FUNCTION place(integer)", r"cannot drop public.place\(integer\)"),
        ("ALTER TYPE mood RENAME VALUE 'good' TO 'fine'", r"enum public.mood is not as it was"),
        ("DROP INDEX id_again; ALTER TABLE meters DROP CONSTRAINT meters_pkey", r"the unique key \(id\) of public.meters is not as it was"),
        ("ALTER TABLE meters DROP CONSTRAINT meters_pkey; DROP INDEX id_again", r"cannot drop public.id_again"),
        ("ALTER TABLE meters DROP CONSTRAINT meters_pkey, ALTER COLUMN id DROP NOT NULL", r"NOT NULL of \(id\) of public.meters is not as it was"),
    ],
)  # fmt: skip
def test_ddl_that_would_make_it_wrong_is_refused(usage: Connection, statement: str, message: str) -> None:
    with pytest.raises((errors.DependentObjectsStillExist, errors.FeatureNotSupported)) as refused:
        usage.execute(statement)  # type: ignore[call-overload]
    usage.rollback()
    diag = refused.value.diag
    told = f"{diag.message_primary} {diag.message_detail} {diag.message_hint}"
    assert re.search(message, told), told
    usage.execute("INSERT INTO reads VALUES (1, 5, 'bad')")
    assert pg_stepping.verify(usage, "usage") == []
    assert stands(usage) == (True, None)


WITHOUT_A_SUPERUSER = {
    "ALTER TABLE reads RENAME meter_id TO x; ALTER TABLE reads RENAME spare TO meter_id; ALTER TABLE reads RENAME x TO spare":
        r"what stepping.usage__reads_\d reads is not as it was",
    "ALTER TABLE reads DROP COLUMN value CASCADE, ADD COLUMN value numeric(10, 2) DEFAULT 3": r"what stepping.usage__reads_\d reads",
    "CREATE TABLE more () INHERITS (reads); INSERT INTO more (meter_id, value, mood) VALUES (1, 2, 'good')": "public.reads has got children",
    "CREATE TABLE all_reads (LIKE reads); ALTER TABLE reads INHERIT all_reads; UPDATE all_reads SET value = 1": "become part of another",
    "ALTER TABLE reads RENAME TO x; CREATE TABLE reads AS SELECT * FROM x LIMIT 3": "its triggers on public.reads are gone",
    "CREATE OR REPLACE FUNCTION second(integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 8'": r"function public.second",
    "CREATE OR REPLACE FUNCTION larger(integer, integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT $1'": r"function public.larger",
    "ALTER TYPE pair DROP ATTRIBUTE a": "row public.pair is not as it was",
    "ALTER TYPE mood RENAME VALUE 'good' TO 'fine'": "enum public.mood is not as it was",
    "CREATE OR REPLACE VIEW usage AS SELECT NULL::text AS word, NULL::pair AS of, 0 AS second, 0 AS most, 0.0 AS value":
        "the published view was replaced",
}  # fmt: skip


@pytest.mark.parametrize("mode", ["immediate", "deferred"])
@pytest.mark.parametrize("language", ["plpgsql"])
def test_without_event_triggers_it_is_told(conn: Connection, language: str, mode: str) -> None:
    for (name,) in conn.execute(
        "SELECT evtname FROM pg_event_trigger WHERE evtname ~ '^stepping_'"
    ).fetchall():
        conn.execute(f"DROP EVENT TRIGGER {name}")
    conn.execute(SCHEMA)  # type: ignore[call-overload]
    conn.execute("""CREATE FUNCTION first(integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 1';
        CREATE FUNCTION second(integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN public.first ($1); END';
        CREATE FUNCTION larger(integer, integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT greatest($1, $2)';
        CREATE AGGREGATE largest(integer) (SFUNC = larger, STYPE = integer, INITCOND = '0');
        CREATE TYPE pair AS (a integer, b integer);
        ALTER TABLE reads ADD COLUMN pair pair;
        UPDATE reads SET pair = ROW(meter_id, 1), spare = value""")
    query = """SELECT mood::text AS word, pair AS of, second(meter_id) AS second, largest(meter_id) AS most, sum(value) AS value
        FROM reads GROUP BY mood::text, pair, second(meter_id)"""
    pg_stepping.create_view(conn, "usage", query, language=language, mode=mode)
    assert stands(conn) == (True, None)
    statements = WITHOUT_A_SUPERUSER | {
        "CREATE OR REPLACE FUNCTION first(integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 8'": r"function public.first",
    }
    for statement, problem in statements.items():
        conn.execute("SAVEPOINT as_it_was")
        conn.execute(statement)  # type: ignore[call-overload]
        in_step, told = stands(conn)
        assert in_step is False and re.search(problem.replace("reads_", "(reads|logged)_"), told), (
            statement,
            told,
        )
        conn.execute("ROLLBACK TO as_it_was")
        assert stands(conn) == (True, None)
    with pytest.raises(errors.FeatureNotSupported, match="used by a view"):
        conn.execute("ALTER TABLE reads ALTER COLUMN value TYPE numeric(10, 2) USING value * 2")


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE reads ADD COLUMN more text DEFAULT 'x'",
        "ALTER TABLE reads DROP COLUMN spare; ALTER TABLE meters DROP COLUMN spare",
        "ALTER TABLE reads RENAME COLUMN spare TO other",
        "ALTER TABLE reads ALTER COLUMN spare TYPE bigint",
        "ALTER TABLE meters DROP CONSTRAINT meters_spare_key, ALTER COLUMN spare DROP NOT NULL",
        "ALTER TABLE meters DROP CONSTRAINT meters_pkey, ADD CONSTRAINT id_key PRIMARY KEY USING INDEX id_again",
        "ALTER TABLE reads ADD CHECK (value < 1000000); CREATE INDEX ON reads (value)",
        "CREATE OR REPLACE FUNCTION place(integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT $1 / 10'",
        "ALTER TYPE mood ADD VALUE 'so so' BEFORE 'bad'",
        "CREATE FUNCTION place(text) RETURNS text LANGUAGE sql AS 'SELECT $1'",
    ],
)
def test_oracle_other_ddl_goes_on_right(usage: Connection, statement: str) -> None:
    usage.execute(statement)  # type: ignore[call-overload]
    usage.commit()
    assert stands(usage) == (True, None)
    usage.execute(
        "INSERT INTO reads (meter_id, value, mood) VALUES (1, 5, 'bad'); DELETE FROM meters WHERE id = 3"
    )
    assert pg_stepping.verify(usage, "usage") == []
    assert usage.execute("SELECT count(*) > 3 FROM usage").fetchone() == (True,)


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("SET LOCAL session_replication_role = replica; INSERT INTO reads VALUES (1, 5, 'bad'); SET LOCAL session_replication_role = origin", "public.reads was written"),
        ("ALTER TABLE reads DISABLE TRIGGER USER; INSERT INTO reads VALUES (1, 5, 'bad'); ALTER TABLE reads ENABLE TRIGGER USER", "public.reads had its triggers disabled"),
    ],
)  # fmt: skip
def test_writes_that_pass_the_triggers_by_are_noticed(
    usage: Connection, statement: str, problem: str
) -> None:
    usage.execute(statement)  # type: ignore[call-overload]
    in_step, told = stands(usage)
    assert in_step is False and told.startswith(problem)
    assert pg_stepping.verify(usage, "usage") != []
    assert pg_stepping.repair(usage, "usage") == 1
    assert stands(usage) == (True, None)
    assert pg_stepping.verify(usage, "usage") == []


def test_status_top_and_statistics(usage: Connection, dsn: str) -> None:
    def run(*arguments: str, fails: int = 0) -> str:
        done = CliRunner().invoke(main, ["--dsn", dsn, *arguments])
        assert done.exit_code == fails, done.stderr
        return done.stdout

    usage.execute("SET track_functions = 'all'")
    usage.execute("INSERT INTO reads VALUES (1, 5, 'bad'), (2, 6, 'good')")
    usage.execute("UPDATE meters SET owner = 'owner 9' WHERE id = 2")
    usage.commit()
    usage.execute("SELECT pg_stat_force_next_flush()")
    usage.commit()
    row = usage.execute(
        "SELECT calls, delta_rows_in, delta_rows_out, total_time > 0, last_error, lock_waits FROM stepping.stat_views"
    ).fetchone()
    assert row is not None
    assert row[0] == 2 and row[1] >= 3 and row[2] >= 2 and row[3:] == (True, None, 0)
    views = usage.execute(
        "SELECT view_name, state, language, size > 0, rows > 0, age > '0'::interval, in_step FROM stepping.views"
    ).fetchone()
    assert views is not None and views[:2] == ("usage", "in step") and views[3:] == (True, True, True, True)
    usage.commit()
    assert "public.usage" in run("status") and "in step" in run("status")
    assert run("top").splitlines()[0].split()[:3] == ["view", "calls", "rows"]
    usage.execute("ALTER TABLE reads DISABLE TRIGGER ALL")
    usage.commit()
    assert "out of step" in run("status", fails=1)
    usage.execute("ALTER TABLE reads ENABLE TRIGGER ALL")
    usage.commit()
    shown = run("explain", "--analyze", "INSERT INTO reads VALUES (1, 7, 'bad')")
    assert "stepping_" in shown and "rolled back" in shown and "stepping.usage" in shown
    assert usage.execute("SELECT count(*) FROM reads WHERE value = 7 AND mood = 'bad'").fetchone() == (0,)
    run("explain", fails=2)


def test_a_trigger_that_is_gone_is_told(usage: Connection) -> None:
    rows = usage.execute(
        """SELECT quote_ident(tgname) FROM pg_trigger WHERE tgrelid = 'reads'::regclass
           AND tgname ~ '^stepping_([0-9]{6}_|open$|close$)'"""
    ).fetchall()
    assert len(rows) == 6
    for (trigger,) in rows:
        with usage.transaction(force_rollback=True):
            usage.execute(f"DROP TRIGGER {trigger} ON reads")  # type: ignore[call-overload]
            problem = usage.execute("SELECT problem FROM stepping.views").fetchone()
            assert problem == ("some of its triggers on public.reads are gone",)


def test_explain_analyze_shows_each_step(usage: Connection) -> None:
    analysis = pg_stepping.explain_analyze(usage, "INSERT INTO reads VALUES (1, 7, 'bad'), (2, 8, 'bad')")
    by_table = {s.on: s.rows for s in analysis.steps if s.what == "rows changed"}
    assert by_table["public.reads"] == 2 and by_table["stepping.usage"] == 2
    assert 0 < analysis.maintenance <= analysis.time
    assert any(s.what.startswith("stepping_") and s.on == "reads" for s in analysis.steps)
    assert any(s.time is not None and not s.what.startswith("stepping_") for s in analysis.steps)
    with pytest.raises(pg_stepping.SteppingError, match="does not exist"):
        pg_stepping.explain_analyze(usage, "INSERT INTO nowhere VALUES (1)")
    with pytest.raises(pg_stepping.SteppingError, match="multiple commands"):
        pg_stepping.explain_analyze(usage, "DELETE FROM reads; COMMIT")
    assert not [step for step in analysis.steps if "pg_stat" in step.what or "n_tup" in step.what]
