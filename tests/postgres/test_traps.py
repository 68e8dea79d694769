"""The traps that engines of this kind have fallen into, by the numbers of the design's section 11.

`assert_maintained` compares each view with its query, run anew, after creation and after every step; each view
must have rows and must change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
import pytest
from psycopg import errors
from test_cases import assert_maintained, assert_right
from test_work import WORK

import pg_stepping

Connection = psycopg.Connection[Any]

SCHEMA = """
CREATE TABLE users (id integer PRIMARY KEY, name text);
CREATE TABLE meters (id integer PRIMARY KEY, user_id integer REFERENCES users ON DELETE CASCADE, kind text);
CREATE TABLE reads (meter_id integer, value integer);
CREATE INDEX ON meters (user_id);
CREATE INDEX ON reads (meter_id);
INSERT INTO users VALUES (1, 'ada'), (2, 'bob');
INSERT INTO meters VALUES (1, 1, 'gas'), (2, 1, 'power'), (3, 2, 'gas'), (4, NULL, NULL);
INSERT INTO reads VALUES (1, 5), (1, 5), (2, 7), (3, 7), (3, 2), (4, 1), (NULL, 3);
"""
JOINED = "SELECT m.kind, r.value FROM meters AS m JOIN reads AS r ON r.meter_id = m.id"
GROUPED = """
    SELECT u.name, count(*) AS n, sum(r.value) AS total
    FROM users AS u JOIN meters AS m ON m.user_id = u.id JOIN reads AS r ON r.meter_id = m.id GROUP BY u.name"""


def check(conn: Connection, language: str, views: Sequence[str], steps: Sequence[str]) -> None:
    """The views, each called v and its number, are right after every step."""
    conn.execute(SCHEMA)
    assert_maintained(conn, [(f"v{i}", v) for i, v in enumerate(views)], [(s, s) for s in steps], language)


def make(conn: Connection, language: str, query: str) -> None:
    """The view v over the tables of SCHEMA."""
    conn.execute(SCHEMA)
    pg_stepping.create_view(conn, "v", query, language=language)


def right(conn: Connection, query: str, after: str) -> None:
    """The view v is that of its query, and not empty."""
    assert assert_right(conn, "v", query, after)
    assert pg_stepping.verify(conn, "v") == []


def work(conn: Connection, statement: str) -> int:
    """How many rows of tables a statement reads and writes."""
    before = conn.execute(WORK).fetchone()
    conn.execute(statement)  # type: ignore[call-overload]
    after = conn.execute(WORK).fetchone()
    assert before is not None and after is not None
    return int(sum(after) - sum(before))


def test_oracle_trap_01_both_join_sides_change_in_one_statement(conn: Connection, language: str) -> None:
    steps = [
        "WITH m AS (INSERT INTO meters VALUES (5, 1, 'gas')) INSERT INTO reads VALUES (5, 9), (1, 9)",
        "WITH m AS (UPDATE meters SET kind = 'new', user_id = 2 WHERE id = 1) UPDATE reads SET value = 6 WHERE meter_id = 1",
        "WITH r AS (DELETE FROM reads WHERE meter_id = 3) UPDATE meters SET kind = 'old' WHERE id = 3",
        """WITH m AS (INSERT INTO meters VALUES (1, 1, 'up'), (6, 2, 'up') ON CONFLICT (id) DO UPDATE SET kind = 'up')
           INSERT INTO reads VALUES (6, 1), (1, 1)""",
    ]
    check(conn, language, [JOINED, GROUPED], steps)


def test_oracle_trap_02_both_partners_are_deleted_or_the_join_key_is_updated(
    conn: Connection, language: str
) -> None:
    steps = [
        "WITH m AS (DELETE FROM meters WHERE id = 1) DELETE FROM reads WHERE meter_id = 1",
        "DELETE FROM users WHERE id = 1",
        "INSERT INTO meters VALUES (7, 2, 'late')",
        "UPDATE reads SET meter_id = 7 WHERE meter_id = 3",
        "UPDATE meters SET id = id + 10",
        "WITH m AS (UPDATE meters SET id = id - 10) UPDATE reads SET meter_id = 3 WHERE meter_id = 7",
    ]
    check(conn, language, [JOINED, GROUPED], steps)


def test_oracle_trap_03_a_key_that_is_not_in_the_output_and_duplicates_without_a_key(
    conn: Connection, language: str
) -> None:
    views = [JOINED, "SELECT value FROM reads", "SELECT sum(value) AS total FROM reads GROUP BY meter_id"]
    steps = [
        "DELETE FROM reads WHERE ctid = (SELECT min(ctid) FROM reads WHERE meter_id = 1)",  # one of two
        "INSERT INTO reads VALUES (1, 5), (1, 5), (2, 5)",
        "UPDATE reads SET value = 7 WHERE ctid = (SELECT min(ctid) FROM reads WHERE meter_id = 1)",
    ]
    check(conn, language, views, steps)


def test_oracle_trap_04_null_keys_and_an_update_to_null(conn: Connection, language: str) -> None:
    views = [
        "SELECT meter_id, count(*) AS n FROM reads GROUP BY meter_id",
        "SELECT kind, user_id, count(*) AS n FROM meters GROUP BY kind, user_id",
        JOINED,
        "SELECT m.id, r.value FROM meters AS m LEFT JOIN reads AS r ON r.meter_id = m.id",
        "SELECT a.id, b.id AS other FROM meters AS a JOIN meters AS b ON a.user_id IS NOT DISTINCT FROM b.user_id",
    ]
    steps = [
        "UPDATE reads SET meter_id = NULL WHERE value = 5; UPDATE meters SET user_id = NULL, kind = NULL WHERE id = 1",
        "UPDATE reads SET meter_id = 2 WHERE meter_id IS NULL AND value = 5; UPDATE meters SET user_id = 2 WHERE id = 4",
        "INSERT INTO reads VALUES (NULL, NULL), (NULL, 3), (2, NULL); INSERT INTO meters VALUES (9, NULL, NULL)",
        "DELETE FROM reads WHERE meter_id IS NULL AND value = 3; DELETE FROM meters WHERE user_id IS NULL",
    ]
    check(conn, language, views, steps)


def test_oracle_trap_05_a_group_crosses_having_both_ways(conn: Connection, language: str) -> None:
    having = "SELECT meter_id, sum(value) AS total FROM reads GROUP BY meter_id HAVING sum(value) > 8 AND count(*) > 1"
    make(conn, language, having)
    for statement, there in [
        ("INSERT INTO reads VALUES (2, 2)", [1, 2, 3]),
        ("UPDATE reads SET value = 1 WHERE meter_id = 2 AND value = 2", [1, 3]),
        ("UPDATE reads SET value = 8 WHERE meter_id = 2 AND value = 1", [1, 2, 3]),
        ("DELETE FROM reads WHERE meter_id = 2 AND value = 7", [1, 3]),
    ]:
        conn.execute(statement)  # type: ignore[arg-type]
        right(conn, having, statement)
        assert conn.execute("SELECT array_agg(meter_id ORDER BY meter_id) FROM v").fetchone() == (there,)


def test_oracle_trap_06_the_extreme_leaves_with_ties(conn: Connection, language: str) -> None:
    views = [
        "SELECT meter_id, min(value) AS least, max(value) AS most FROM reads GROUP BY meter_id",
        "SELECT m.kind, max(r.value) AS most FROM meters AS m JOIN reads AS r ON r.meter_id = m.id GROUP BY m.kind",
        "SELECT min(value) AS least, max(value) AS most FROM reads",
    ]
    steps = [
        "INSERT INTO reads VALUES (1, 9), (1, 9), (3, 9), (2, 0), (2, 0)",
        "DELETE FROM reads WHERE ctid = (SELECT min(ctid) FROM reads WHERE value = 9)",  # one of the ties
        "DELETE FROM reads WHERE meter_id = 1 AND value = 9",
        "UPDATE reads SET value = 4 WHERE value = 0",
        "UPDATE reads SET value = -value WHERE meter_id = 3",
        "DELETE FROM reads WHERE meter_id = 3",
    ]
    check(conn, language, views, steps)


def test_oracle_trap_07_sums_over_an_outer_join(conn: Connection, language: str) -> None:
    views = [
        """SELECT m.kind, sum(CASE WHEN r.value > 4 THEN r.value END) AS high, avg(r.value) AS mean,
               coalesce(sum(r.value), 0) AS total, count(r.value) AS n, count(*) AS all
           FROM meters AS m LEFT JOIN reads AS r ON r.meter_id = m.id GROUP BY m.kind""",
        "SELECT m.id, coalesce(sum(r.value), -1) AS s FROM reads AS r RIGHT JOIN meters AS m ON r.meter_id = m.id GROUP BY m.id",
    ]
    steps = [
        "DELETE FROM reads WHERE meter_id = 2",  # its last one: the sum becomes NULL
        "UPDATE reads SET value = NULL WHERE meter_id = 3",
        "INSERT INTO reads VALUES (2, 4), (2, 5)",
        "INSERT INTO meters VALUES (5, 1, 'none')",
        "WITH r AS (DELETE FROM reads WHERE meter_id = 2) INSERT INTO reads VALUES (5, 8)",
        "DELETE FROM meters WHERE id = 1",
    ]
    check(conn, language, views, steps)


def test_oracle_trap_08_a_scalar_subquery_changes_rows_that_no_change_touches(
    conn: Connection, language: str
) -> None:
    views = [
        "SELECT meter_id, value FROM reads WHERE value > (SELECT avg(value) FROM reads)",
        "SELECT id, (SELECT max(value) FROM reads) AS most FROM meters",
        "SELECT id, (SELECT sum(value) FROM reads AS r WHERE r.meter_id = m.id) AS total FROM meters AS m",
        "SELECT meter_id, value - (SELECT min(value) FROM reads) AS above FROM reads",
    ]
    steps = [
        "INSERT INTO reads VALUES (4, 30)",
        "UPDATE reads SET value = -30 WHERE value = 30",
        "DELETE FROM reads WHERE value < 0",
    ]
    check(conn, language, views, steps)


def test_oracle_trap_09_exists_and_in_with_nulls_under_or_correlated_and_nested(
    conn: Connection, language: str
) -> None:
    views = [
        "SELECT id FROM meters AS m WHERE EXISTS (SELECT FROM reads AS r WHERE r.meter_id = m.id AND r.value > 4)",
        "SELECT id FROM meters AS m WHERE NOT EXISTS (SELECT FROM reads AS r WHERE r.meter_id = m.id AND r.value > 4)",
        "SELECT id FROM meters WHERE id IN (SELECT meter_id FROM reads WHERE value > 4)",
        "SELECT id FROM meters WHERE id NOT IN (SELECT meter_id FROM reads WHERE value > 4)",
        "SELECT id FROM meters WHERE user_id NOT IN (SELECT value FROM reads WHERE meter_id = 3)",
        "SELECT id FROM meters AS m WHERE kind IS NULL OR EXISTS (SELECT FROM reads AS r WHERE r.meter_id = m.id AND r.value > 6)",
        """SELECT name FROM users AS u WHERE NOT EXISTS (
               SELECT FROM meters AS m WHERE m.user_id = u.id AND NOT EXISTS (SELECT FROM reads AS r WHERE r.meter_id = m.id))""",
        "SELECT id, id IN (SELECT meter_id FROM reads WHERE value > 4) AS high FROM meters",
    ]
    steps = [
        "DELETE FROM reads WHERE meter_id IN (2, 3)",
        "INSERT INTO reads VALUES (NULL, 9)",  # NOT IN is true of no row now
        "UPDATE reads SET meter_id = 3, value = 1 WHERE value = 9",
        "INSERT INTO reads VALUES (2, 7), (2, 7), (3, NULL), (4, 8)",
        "UPDATE meters SET user_id = NULL WHERE id = 1",
        "DELETE FROM reads WHERE value = 7",
        "DELETE FROM reads WHERE value IS NULL",
    ]
    check(conn, language, views, steps)


def test_oracle_trap_10_window_ties_and_several_windows(conn: Connection, language: str) -> None:
    views = [
        """SELECT meter_id, value, rank() OVER w AS place, dense_rank() OVER w AS dense, count(*) OVER w AS up_to,
               sum(value) OVER (PARTITION BY meter_id) AS total, max(value) OVER (PARTITION BY value % 2) AS most
           FROM reads WINDOW w AS (PARTITION BY meter_id ORDER BY value)""",
        "SELECT kind, rank() OVER (ORDER BY kind) AS place FROM meters",
    ]
    steps = [
        "INSERT INTO reads VALUES (1, 5), (1, 4), (3, 7)",  # a third of a tie, one below it, and a new tie
        "DELETE FROM reads WHERE ctid = (SELECT min(ctid) FROM reads WHERE meter_id = 1 AND value = 5)",
        "UPDATE reads SET meter_id = 3 WHERE meter_id = 2; INSERT INTO meters VALUES (5, 1, 'gas')",
        "UPDATE reads SET value = 7 WHERE meter_id = 3",
    ]
    check(conn, language, views, steps)


def test_oracle_trap_10_what_sql_leaves_open_among_ties_is_decided(conn: Connection, language: str) -> None:
    """By `verify` as by the view: neither the order of the rows on disk nor the plan is to be seen."""
    conn.execute("CREATE TABLE t (id integer, k integer, v integer, f float8, p point)")
    conn.execute(
        "INSERT INTO t SELECT g, mod(g, 2), mod(g, 4), mod(g, 2), point(g, g) FROM generate_series(1, 20) AS g"
    )
    views = [
        "SELECT id, p, row_number() OVER (PARTITION BY k ORDER BY v) AS r, lag(v) OVER (PARTITION BY k ORDER BY f) AS l FROM t",
        "SELECT v, row_number() OVER (PARTITION BY k) AS r, last_value(id) OVER (PARTITION BY k) AS x FROM t",
        "SELECT id, first_value(p) OVER w AS x, ntile(3) OVER w AS n, rank() OVER w AS r FROM t WINDOW w AS (PARTITION BY k ORDER BY f)",
        "SELECT k, sum(v) OVER (ORDER BY k ROWS 1 PRECEDING) AS s, array_agg(id) OVER (PARTITION BY k) AS a FROM t",
        "SELECT k, count(*) AS n, row_number() OVER (ORDER BY count(*)) AS r FROM t GROUP BY k, v",
        "SELECT k, (SELECT u.v FROM t AS u WHERE u.k = t.k ORDER BY u.f LIMIT 1) AS x FROM t",
        "SELECT id FROM t WHERE v IN (SELECT v FROM t AS u ORDER BY f LIMIT 3)",
    ]
    for i, query in enumerate(views):
        pg_stepping.create_view(conn, f"v{i}", query, language=language)
    for step in [
        "INSERT INTO t SELECT 50 - g, mod(g, 2), mod(g, 3), 1, point(g, 0) FROM generate_series(1, 9) AS g",
        "UPDATE t SET v = 1 WHERE id > 15",
        "DELETE FROM t WHERE id < 4; CREATE INDEX ON t (k, id DESC); SET LOCAL enable_seqscan = off",
    ]:
        conn.execute(step)  # type: ignore[call-overload]
        for i, query in enumerate(views):
            assert pg_stepping.verify(conn, f"v{i}") == [], (query, step)
            assert conn.execute(f"SELECT FROM v{i}").rowcount > 2  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "operator", [f"{o}{all_}" for o in ("UNION", "INTERSECT", "EXCEPT") for all_ in ("", " ALL")]
)
def test_oracle_trap_11_multiplicities_of_set_operations(
    conn: Connection, language: str, operator: str
) -> None:
    view = f"SELECT meter_id AS x FROM reads {operator} SELECT user_id FROM meters"
    steps = [
        "INSERT INTO reads VALUES (1, 0), (2, 0), (2, 0), (9, 0), (9, 0), (NULL, 0)",
        "DELETE FROM reads WHERE ctid = (SELECT min(ctid) FROM reads WHERE meter_id = 1)",
        "UPDATE meters SET user_id = 2 WHERE user_id = 1",
        "DELETE FROM meters WHERE id IN (2, 4)",
        "WITH r AS (DELETE FROM reads WHERE meter_id IN (1, 9)) INSERT INTO meters VALUES (6, 1, 'x'), (7, 1, 'x')",
        "DELETE FROM reads WHERE meter_id IS NULL; INSERT INTO reads VALUES (8, 1)",
    ]
    check(conn, language, [view], steps)


def test_oracle_trap_12_an_update_reaches_a_view_over_a_view_and_a_diamond(
    conn: Connection, language: str
) -> None:
    conn.execute(SCHEMA)
    views = [
        ("totals", "SELECT meter_id, sum(value) AS total FROM reads GROUP BY meter_id"),
        ("sizes", "SELECT meter_id, count(*) AS n FROM reads GROUP BY meter_id"),
        ("of_totals", "SELECT total, count(*) AS meters FROM totals GROUP BY total"),
        (
            "diamond",
            "SELECT t.meter_id, t.total, s.n FROM totals AS t JOIN sizes AS s ON s.meter_id = t.meter_id",
        ),
        ("above", "SELECT sum(total) AS total, sum(n) AS n FROM diamond"),
    ]
    steps = [
        "UPDATE reads SET value = value + 1 WHERE meter_id = 1",
        "UPDATE reads SET meter_id = 2 WHERE meter_id = 1",
        "INSERT INTO reads VALUES (1, 1), (3, 1)",
        "DELETE FROM reads WHERE meter_id = 3",
        "WITH r AS (DELETE FROM reads WHERE meter_id = 2) INSERT INTO reads VALUES (2, 7), (5, 5)",
    ]
    assert_maintained(conn, views, [(s, s) for s in steps], language)


def test_oracle_trap_13_truncate(conn: Connection, language: str) -> None:
    left = "SELECT m.id, r.value FROM meters AS m LEFT JOIN reads AS r ON r.meter_id = m.id"
    count = "SELECT count(*) AS n, sum(value) AS total FROM reads"
    check(
        conn,
        language,
        [JOINED, left, count],
        ["TRUNCATE reads", "INSERT INTO reads VALUES (1, 2)", "TRUNCATE reads, meters"],
    )


def test_oracle_trap_13_truncate_beside_matches_that_are_still_to_change(
    conn: Connection, language: str
) -> None:
    """The stages that an outer join looks its partners up in have their turn before it is filled again."""
    conn.execute(SCHEMA)
    conn.execute(
        """CREATE FUNCTION more() RETURNS trigger LANGUAGE plpgsql AS
               $$BEGIN INSERT INTO meters VALUES (9, 2, 'late') ON CONFLICT DO NOTHING; RETURN NULL; END$$;
           CREATE TRIGGER more AFTER TRUNCATE ON reads FOR EACH STATEMENT EXECUTE FUNCTION more()"""
    )
    views = [
        ("n", "SELECT meter_id, max(value) AS m FROM reads GROUP BY meter_id"),
        ("k", "SELECT kind, count(*) AS n FROM meters GROUP BY kind"),
        ("o", "SELECT m.id, n.m, r.value FROM meters AS m LEFT JOIN n ON n.meter_id = m.id LEFT JOIN reads AS r ON r.meter_id = m.id"),
        ("f", "SELECT m.kind, count(*) AS n FROM meters AS m FULL JOIN reads AS r ON m.id = r.meter_id AND r.value > m.user_id GROUP BY m.kind"),
    ]  # fmt: skip
    steps = [
        "TRUNCATE reads",
        "INSERT INTO reads VALUES (1, 5), (9, 1), (NULL, 2)",
        "SAVEPOINT s; TRUNCATE reads; ROLLBACK TO s; DELETE FROM reads WHERE meter_id = 1",
        "TRUNCATE meters, reads",
        "INSERT INTO reads VALUES (1, 5); WITH m AS (INSERT INTO meters VALUES (1, 1, 'x')) DELETE FROM reads",
    ]
    assert_maintained(conn, views, [(s, s) for s in steps], language)


def test_oracle_trap_13_copy(conn: Connection, language: str) -> None:
    make(conn, language, GROUPED)
    with conn.cursor().copy("COPY reads FROM STDIN") as copy:
        for row in [(1, 5), (3, None), (None, 4), (3, 8)]:
            copy.write_row(row)
    right(conn, GROUPED, "COPY")
    assert conn.execute("SELECT n, total FROM v WHERE name = 'bob'").fetchone() == (4, 17)


def test_oracle_trap_13_ddl_on_a_source(conn: Connection, language: str) -> None:
    """What leaves the view's columns as they are is followed; what does not is refused."""
    make(conn, language, GROUPED)
    conn.commit()
    for ddl in [
        "ALTER TABLE reads ADD COLUMN note text DEFAULT 'none'",
        "ALTER TABLE reads ALTER COLUMN note TYPE varchar(10)",
        "ALTER TABLE reads RENAME COLUMN note TO remark",
        "ALTER TABLE reads DROP COLUMN remark",
        "CREATE INDEX ON reads (value)",
        "ALTER TABLE reads SET LOGGED",
    ]:
        conn.execute(ddl)  # type: ignore[arg-type]
        conn.execute("INSERT INTO reads VALUES (1, 1); UPDATE reads SET value = 3 WHERE value = 1")
        right(conn, GROUPED, ddl)
    for ddl in [
        "ALTER TABLE reads RENAME COLUMN value TO amount",
        "ALTER TABLE reads DROP COLUMN meter_id",
        "ALTER TABLE reads ALTER value TYPE bigint",
        "ALTER TABLE reads ALTER value TYPE integer USING value * 2",
    ]:
        by_us_or_postgres = (errors.DependentObjectsStillExist, errors.FeatureNotSupported)
        with pytest.raises(by_us_or_postgres, match=r"reads"), conn.transaction():
            conn.execute(ddl)  # type: ignore[arg-type]
        conn.execute("DELETE FROM reads WHERE value = 5")
        right(conn, GROUPED, ddl)


def test_oracle_trap_13_session_replication_role(conn: Connection, language: str) -> None:
    """As `replica` no trigger fires, ours neither; `verify` shows what the view then lacks."""
    make(conn, language, GROUPED)
    conn.execute("SET session_replication_role = local; INSERT INTO reads VALUES (1, 1)")
    right(conn, GROUPED, "an insert as local")
    conn.execute("SET session_replication_role = replica; INSERT INTO reads VALUES (1, 100)")
    assert len(pg_stepping.verify(conn, "v")) == 2  # the row as it is, and as it should be
    conn.execute("DELETE FROM reads WHERE value = 100")
    right(conn, GROUPED, "taken back in the same way")
    conn.execute("SET session_replication_role = origin; INSERT INTO reads VALUES (1, 1)")
    right(conn, GROUPED, "an insert as origin")


def test_oracle_trap_14_caches_survive_neither_a_savepoint_nor_ddl(connect: Any, language: str) -> None:
    with connect() as maker:
        make(maker, language, GROUPED)
    conn = connect()
    both = "WITH m AS (INSERT INTO meters VALUES (8, 1, 'x')) INSERT INTO reads VALUES (8, 1), (1, 1)"
    for statement in (both, "INSERT INTO reads VALUES (1, 1)"):  # the session's first ones
        with conn.transaction(force_rollback=True):
            conn.execute(statement)
            right(conn, GROUPED, statement)
        right(conn, GROUPED, "ROLLBACK TO SAVEPOINT")
    with pytest.raises(errors.DivisionByZero), conn.transaction():
        conn.execute(both + "; SELECT 1 / 0")
    conn.execute(both)
    right(conn, GROUPED, "the same, again")
    conn.commit()
    conn.execute(
        "DROP INDEX reads_meter_id_idx; ALTER TABLE reads ADD note text; ALTER TABLE users ADD x int"
    )
    conn.execute("INSERT INTO reads VALUES (1, 2)")
    right(conn, GROUPED, "an index dropped, columns added")
    pg_stepping.drop_view(conn, "v")
    pg_stepping.create_view(conn, "v", JOINED, language=language)  # another view of the same name
    conn.execute("DELETE FROM reads WHERE value = 5")
    right(conn, JOINED, "the name has another query")


def test_oracle_trap_15_search_path_and_names_that_must_be_quoted(conn: Connection, language: str) -> None:
    long = "ü" * 31 + "y"  # 63 bytes
    conn.execute(
        f"""CREATE SCHEMA "My Schema"; CREATE SCHEMA decoy;
            CREATE TABLE "My Schema"."select" ("Group" integer, "a""b" integer, "{long}" integer);
            CREATE TABLE decoy."select" ("Group" integer, "a""b" integer, "{long}" integer);
            CREATE TABLE "My Schema"."{long}" ("Group" integer PRIMARY KEY, "order" text);
            CREATE FUNCTION decoy.sum(integer) RETURNS integer LANGUAGE sql AS 'SELECT 0';
            CREATE FUNCTION decoy.concat(text, text) RETURNS text LANGUAGE sql AS 'SELECT ''decoy''';
            INSERT INTO "My Schema"."select" VALUES (1, 2, 3), (1, 4, 5), (NULL, 6, 7);
            INSERT INTO "My Schema"."{long}" VALUES (1, 'one'), (2, 'two');
            SET search_path = "My Schema", public"""
    )
    query = f"""
        SELECT t."order", s."Group", sum(s."a""b") AS "{long}", max(s."{long}") AS "User"
        FROM "My Schema"."select" AS s JOIN "My Schema"."{long}" AS t ON t."Group" = s."Group" GROUP BY 1, 2"""
    name = "View of " + "x" * 55
    pg_stepping.create_view(conn, name, query, language=language)
    conn.execute('SET search_path = decoy, public, pg_catalog, "My Schema"')
    for statement in [
        'INSERT INTO "My Schema"."select" VALUES (2, 1, 1), (1, 1, 9)',
        f"""WITH t AS (UPDATE "My Schema"."{long}" SET "order" = 'uno' WHERE "Group" = 1)
            DELETE FROM "My Schema"."select" WHERE "a""b" = 4""",
        'INSERT INTO decoy."select" VALUES (1, 100, 100)',
    ]:
        conn.execute(statement)  # type: ignore[arg-type]
        conn.execute("SET search_path = public")
        assert len(assert_right(conn, f'"My Schema"."{name}"', query, statement)) >= 1
        assert pg_stepping.verify(conn, name, schema="My Schema") == []
        conn.execute('SET search_path = decoy, public, pg_catalog, "My Schema"')
    assert conn.execute(f'SELECT "{long}" FROM "My Schema"."{name}" WHERE "Group" = 1').fetchone() == (3,)


def test_oracle_trap_16_text_that_printers_of_sql_change(conn: Connection, language: str) -> None:
    views = [
        "SELECT @ (value - 6) AS gap, |/ value AS root, value # 3 AS mixed, ~ value AS flipped, value ^ 2 AS square FROM reads",
        "SELECT kind, kind ~* '^G' AS g, kind !~~ 'p%' AS not_p, kind || E'\\n' || U&'\\0061' AS text FROM meters",
        "SELECT value, - (- value) AS same, value / 2 * 2 AS whole, value % 4 - (1 - value) AS rest FROM reads",
        "SELECT value::numeric(4, 1)::text AS t, ARRAY[value, 1] @> ARRAY[5] AS has, (value, 1) < (6, 0) AS less FROM reads",
    ]
    steps = [
        "INSERT INTO reads VALUES (1, 12), (2, 6)",
        "UPDATE reads SET value = value + 1; UPDATE meters SET kind = 'Gas' WHERE id = 2",
        "DELETE FROM reads WHERE value > 8",
    ]
    check(conn, language, views, steps)


FLAT = {
    "join": JOINED,
    "groups of a join": GROUPED,
    "min": "SELECT meter_id, min(value) AS least FROM reads GROUP BY meter_id",
    "left join": "SELECT m.id, r.value FROM meters AS m LEFT JOIN reads AS r ON r.meter_id = m.id",
    "not exists": "SELECT id FROM meters AS m WHERE NOT EXISTS (SELECT FROM reads AS r WHERE r.meter_id = m.id)",
    "window": "SELECT meter_id, value, rank() OVER (PARTITION BY meter_id ORDER BY value) AS place FROM reads",
}


@pytest.mark.parametrize("name", FLAT)
def test_oracle_trap_17_no_silent_recompute_hides_a_wrong_delta(
    conn: Connection, language: str, name: str
) -> None:
    query = FLAT[name]
    conn.execute(SCHEMA)
    conn.execute(
        """INSERT INTO users SELECT i, 'user ' || i FROM generate_series(10, 5000) AS i;
           INSERT INTO meters SELECT i, i, 'kind ' || i FROM generate_series(10, 5000) AS i;
           INSERT INTO reads SELECT i % 4990 + 10, i FROM generate_series(1, 20000) AS i;
           ANALYZE"""
    )
    pg_stepping.create_view(conn, "v", query, language=language)
    for statement in ["INSERT INTO reads VALUES (20, 10000)", "DELETE FROM reads WHERE meter_id = 20"]:
        assert work(conn, statement) < 200  # of 30,000
        right(conn, query, statement)


@pytest.mark.parametrize(
    "query", ["SELECT value FROM reads WHERE value > 100", "SELECT value FROM reads WHERE value = 1"]
)
def test_trap_18_a_view_that_is_empty_or_never_changes_fails_a_test(
    conn: Connection, language: str, query: str
) -> None:
    with pytest.raises(AssertionError):
        check(conn, language, [query], ["INSERT INTO reads VALUES (1, 2)"])


def test_oracle_trap_19_an_update_leaves_rows_as_they_were_beside_others_that_change(
    conn: Connection, language: str
) -> None:
    steps = [
        "UPDATE meters SET kind = CASE id WHEN 1 THEN 'new' ELSE kind END, user_id = user_id",
        """WITH m AS (
               INSERT INTO meters VALUES (1, 1, 'gas'), (7, 2, 'gas')
               ON CONFLICT (id) DO UPDATE SET kind = meters.kind RETURNING id
           ) INSERT INTO reads SELECT id, 20 FROM m""",
        """ALTER TABLE meters ADD COLUMN seen integer;
           CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$
           BEGIN
               UPDATE meters SET seen = NEW.value WHERE id = NEW.meter_id;
               RETURN NULL;
           END $$;
           CREATE TRIGGER see AFTER INSERT OR UPDATE ON reads FOR EACH ROW EXECUTE FUNCTION see();
           INSERT INTO reads VALUES (1, 30), (2, 31), (1, 32)""",
        "WITH m AS (UPDATE meters SET kind = kind) UPDATE reads SET value = value + 1 WHERE meter_id = 1",
    ]
    check(conn, language, [JOINED, GROUPED, "SELECT id, user_id, kind FROM meters"], steps)


def test_oracle_trap_20_a_batch_is_matched_with_groups_by_index(conn: Connection, language: str) -> None:
    """Each of 10,000 reads is of an existing group, whose key may be NULL: not 10,000 * 10,000 comparisons."""
    n = 10_000
    conn.execute("CREATE TABLE facts (a integer, b integer, value integer)")
    query = "SELECT a, b, sum(value) AS total, max(value) AS most FROM facts GROUP BY a, b"
    pg_stepping.create_view(conn, "v", query, language=language)
    batch = f"INSERT INTO facts SELECT nullif(i, 7), nullif(i % 3, 0), i FROM generate_series(1, {n}) AS i"
    conn.execute(batch)  # type: ignore[call-overload]
    conn.execute("SET LOCAL statement_timeout = '20s'")
    assert work(conn, batch) <= 5 * n
    assert work(conn, "DELETE FROM facts WHERE ctid IN (SELECT max(ctid) FROM facts GROUP BY a, b)") <= 8 * n
    right(conn, query, "a batch into groups that are there")
    assert conn.execute("SELECT count(*) FROM v").fetchone() == (n,)


def test_oracle_a_row_of_a_recursion_is_left_with_derivations_from_itself(
    conn: Connection, language: str
) -> None:
    """One statement takes its derivation from the seed and gives it another one, round a cycle: it is gone."""
    conn.execute(
        "CREATE TABLE edges (src integer, dst integer); INSERT INTO edges VALUES (1, 2), (2, 3), (3, 4)"
    )
    query = """
        WITH RECURSIVE reached AS (
            SELECT 1 AS node FROM edges UNION SELECT e.dst FROM reached AS r JOIN edges AS e ON e.src = r.node
        ) SELECT node FROM reached"""
    pg_stepping.create_view(conn, "v", query, language=language, strict=True)
    for statement, nodes in (
        ("UPDATE edges SET src = 3 WHERE src = 1", [1]),
        ("INSERT INTO edges VALUES (1, 3)", [1, 2, 3, 4]),
        ("UPDATE edges SET dst = 3 WHERE dst = 4", [1, 2, 3]),
        ("DELETE FROM edges WHERE src = 1", [1]),
        ("WITH gone AS (DELETE FROM edges WHERE src = 3) INSERT INTO edges VALUES (1, 3), (2, 5)", [1, 3]),
        ("INSERT INTO edges SELECT i, i + 1 FROM generate_series(3, 400) AS i", [1, *range(3, 402)]),
        ("UPDATE edges SET src = 401 WHERE src = 1", [1]),  # more than are looked up one by one
        ("UPDATE edges SET src = 1 WHERE src = 300", [1, *range(301, 402), 3, *range(4, 301)]),
    ):
        conn.execute(statement)  # type: ignore[call-overload]
        right(conn, query, statement)
        assert sorted(n for (n,) in conn.execute("SELECT node FROM v")) == sorted(nodes), statement
