"""What cannot be maintained now is refused: by name, at its place, with a hint, and nothing is changed."""

import psycopg
import pytest

import pg_stepping
from pg_stepping import UnsupportedQuery
from pg_stepping.errors import InvalidQuery

SCHEMA = """
CREATE TABLE t (id integer PRIMARY KEY, g text, x integer, at timestamptz, j jsonb, a integer[]);
CREATE TABLE u (id integer PRIMARY KEY, x integer, "limit" integer, now integer, rank integer, "distinct" text);
CREATE UNLOGGED TABLE fast (id integer);
CREATE TEMPORARY TABLE brief (id integer);
CREATE TABLE parted (id integer) PARTITION BY RANGE (id);
CREATE TABLE part_1 PARTITION OF parted FOR VALUES FROM (0) TO (9);
CREATE TABLE parent (id integer);
CREATE TABLE child () INHERITS (parent);
CREATE VIEW dated AS SELECT id, now() AS seen FROM t;
CREATE VIEW over_dated AS SELECT id FROM dated;
CREATE VIEW versions AS SELECT id, xmin AS version FROM t;
CREATE VIEW over_versions AS SELECT id FROM versions;
CREATE VIEW of_child AS SELECT id FROM child;
CREATE MATERIALIZED VIEW stale AS SELECT * FROM t;
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER far FOREIGN DATA WRAPPER nowhere;
CREATE FOREIGN TABLE abroad (id integer) SERVER far;
CREATE TABLE scattered (id integer) PARTITION BY RANGE (id);
CREATE FOREIGN TABLE far_away PARTITION OF scattered FOR VALUES FROM (0) TO (9) SERVER far;
CREATE FUNCTION settled(integer) RETURNS integer STABLE LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION wild(integer) RETURNS integer LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION many(integer) RETURNS SETOF integer IMMUTABLE LANGUAGE sql AS 'SELECT generate_series(1, $1)';
CREATE FUNCTION wild_op(integer, integer) RETURNS boolean LANGUAGE sql AS 'SELECT $1 > $2';
CREATE OPERATOR ~> (LEFTARG = integer, RIGHTARG = integer, FUNCTION = wild_op);
CREATE AGGREGATE product(integer) (SFUNC = int4mul, STYPE = integer, INITCOND = 1);
CREATE SCHEMA mine;
CREATE AGGREGATE mine.sum(text) (SFUNC = textcat, STYPE = text);
"""

# What is refused, its query, and words of the message. The arrow marks the place, and is taken out.
REFUSED = [
    ("VALUES", "VALUES (1), (2)", "no table|VALUES"),
    ("a LIMIT that is computed", "SELECT id FROM t →LIMIT (SELECT count(*) FROM u)", "LIMIT"),
    ("set-returning functions at two depths", "SELECT →generate_series(1, 2) AS p, generate_series(1, generate_series(1, x)) AS q FROM t", "set-returning"),
    ("an aggregate of the outer query in a subquery", "SELECT (SELECT →count(t.id) FROM u WHERE u.id = 1) FROM t", "aggregate of the outer query"),
    ("an aggregate of the outer query in a condition", "SELECT g, (SELECT u.id FROM u WHERE u.x > →sum(t.x)) FROM t GROUP BY g", "aggregate of the outer query"),
    ("the whole row of a function", "SELECT row_to_json(→e) FROM t, jsonb_each(j) AS e", "whole row"),
    ("ORDER BY a row that has no type", "SELECT id FROM t ORDER BY (id, x) LIMIT 1", "row .a, b. that has no type"),
    ("USING a merged column of a join that reads what stands before it", "SELECT t.id, x FROM t LEFT JOIN (u JOIN LATERAL (SELECT t.id AS k, v.x FROM u AS v) AS l USING (→x)) USING (x)", "USING a merged column"),
    ("whole rows in an order of which they do not tell", "SELECT json_agg(q) FROM (SELECT id, x FROM t →ORDER BY g) AS q", "in the order of a subquery"),
    ("TABLESAMPLE", "SELECT id FROM t →TABLESAMPLE BERNOULLI (10)", "TABLESAMPLE"),
    ("FOR UPDATE", "SELECT id FROM t →FOR UPDATE", "locking"),
    ("FOR SHARE", "SELECT id FROM t\n  →FOR SHARE OF t", "locking"),
    ("SEARCH DEPTH by several columns", "WITH RECURSIVE r AS (SELECT 1 AS n, 2 AS m UNION ALL SELECT n + 1, m FROM r, t WHERE n < 5) →SEARCH DEPTH FIRST BY n, m SET o SELECT n FROM r ORDER BY o", "several columns"),
    ("the column of SEARCH BREADTH in an expression", "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r, t WHERE n < 5) SEARCH BREADTH FIRST BY n SET →depth SELECT n FROM r WHERE depth IS NOT NULL", "SEARCH BREADTH"),
    ("CYCLE by columns that JSON would not tell apart", "WITH RECURSIVE r AS (SELECT 1 AS n, j FROM t UNION ALL SELECT n + 1, t.j FROM r, t WHERE n < 5) →CYCLE n, j SET c USING p SELECT n FROM r", "several columns"),
    ("CYCLE with texts for marks, which Postgres prints as it cannot read them", "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r, t WHERE n < 5) CYCLE n SET c TO 'y' DEFAULT 'n' USING p SELECT n, c FROM r", "faithfully"),
    ("UNION of rows that may be equal and different", "→WITH RECURSIVE r AS (SELECT id, j FROM t UNION SELECT t.id, r.j FROM r JOIN t ON t.x = r.id) SELECT id, j FROM r", "type jsonb"),
    ("CYCLE by numbers that may be equal and different", "WITH RECURSIVE r AS (SELECT id, 1.0 AS p FROM t UNION SELECT t.id, r.p * 1.0 FROM r JOIN t ON t.x = r.id) →CYCLE id, p SET c USING q SELECT id FROM r", "type numeric"),
    ("DISTINCT over the rows of a recursion", "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT t.x FROM (SELECT DISTINCT n FROM →r) q JOIN t ON t.id = q.n) SELECT n FROM r", "recursion r"),
    ("a subquery that orders the rows of a recursion", "WITH RECURSIVE r AS (SELECT 1 AS n UNION SELECT t.x FROM t JOIN →r ON t.id = r.n WHERE NOT EXISTS (SELECT FROM u WHERE u.id > r.n)) SELECT n FROM r", "recursion r"),
    ("a data-modifying CTE", "WITH gone AS (\n  →DELETE FROM t RETURNING id\n) SELECT id FROM gone", "data-modifying"),
    ("an UPDATE in a CTE", "WITH u AS (SELECT 1), n AS MATERIALIZED (→UPDATE t SET x = 1 RETURNING id) SELECT id FROM n", "data-modifying"),
    ("SELECT INTO", "SELECT id →INTO copy FROM t", "INTO"),
    ("a system column", "SELECT id, →ctid FROM t", "ctid"),
    ("another system column", "SELECT t.→xmin FROM t JOIN u USING (id)", "xmin"),
    ("tableoid", "SELECT count(*) FROM t GROUP BY →tableoid", "tableoid"),
    ("random", "SELECT id, →random() FROM t", "volatile function random"),
    ("nextval", "SELECT →nextval('s') FROM t", "nextval"),
    ("gen_random_uuid", "SELECT id, →gen_random_uuid() FROM t", "gen_random_uuid"),
    ("clock_timestamp", "SELECT id FROM t WHERE at < →clock_timestamp()", "clock_timestamp"),
    ("now", "SELECT id FROM t WHERE at > →now() - interval '1 day'", "now"),
    ("now beside a column of its name", "SELECT u.now FROM u, t WHERE at > →now()", "now"),
    ("transaction_timestamp", "SELECT id, →transaction_timestamp() FROM t", "transaction_timestamp"),
    ("CURRENT_DATE", "SELECT id FROM t\nWHERE at::date = →CURRENT_DATE", "changes by itself"),
    ("CURRENT_TIMESTAMP", "SELECT id, →CURRENT_TIMESTAMP FROM t", "changes by itself"),
    ("LOCALTIME", "SELECT id, →LOCALTIME(0) FROM t", "changes by itself"),
    ("CURRENT_USER", "SELECT id FROM t WHERE g = →CURRENT_USER", "changes by itself"),
    ("SESSION_USER after a text", "SELECT 'current_user', →SESSION_USER FROM t", "changes by itself"),
    ("CURRENT_SCHEMA", "SELECT id, →CURRENT_SCHEMA FROM t", "changes by itself|current_schema"),
    ("age to today", "SELECT →age(at) FROM t", "age"),
    ("the clock through a cast", "SELECT id FROM t WHERE at > →('now'::text)::timestamptz", "now|clock|cast"),
    ("current_setting", "SELECT id, →current_setting('work_mem') FROM t", "current_setting"),
    ("pg_typeof", "SELECT →pg_typeof(x)::text FROM t", "pg_typeof"),
    ("to_regclass", "SELECT →to_regclass(g)::oid FROM t", "to_regclass"),
    ("a volatile function of one's own", "SELECT id FROM t WHERE →wild(x) > 1", "volatile function wild"),
    ("a stable function of one's own", "SELECT →settled(x) FROM t", "stable function settled"),
    ("a volatile operator", "SELECT id FROM t WHERE x →~> 1", "operator ~>.*wild_op"),
    ("a volatile operator with its schema", "SELECT id FROM t WHERE x > 1 AND x →OPERATOR(public.~>) 1", "operator ~>.*wild_op"),
    ("a temporary table", "SELECT id FROM →brief", "temporary table"),
    ("an unlogged table", "SELECT t.id FROM t JOIN →fast USING (id)", "unlogged table"),
    ("a foreign table", "SELECT id FROM →abroad", "foreign table"),
    ("a partition", "SELECT id FROM →part_1", "partition or child"),
    ("a child table", "SELECT id FROM →child", "partition or child"),
    ("ONLY a parent table", "SELECT id FROM ONLY →parent", "ONLY of the table"),
    ("a system column in a view", "SELECT u.x FROM u JOIN →versions AS v USING (id)", "xmin in the view public.versions"),
    ("a system column in a view of a view", "SELECT u.x FROM u JOIN LATERAL (SELECT * FROM →over_versions) AS v USING (id)", "xmin in the view public.over_versions"),
    ("a child table in a view", "SELECT id FROM →of_child", "child public.child in the view public.of_child"),
    ("a partitioned table with a foreign partition", "SELECT id FROM →scattered", "part public.far_away"),
    ("the clock in an ordinary view", "SELECT id\n  FROM →dated", r"now\(\) in the view public\.dated"),
    ("the clock in a view of a view", "SELECT id FROM public.→over_dated", r"now\(\) in the view public\.over_dated"),
    ("a view whose name is a column too", "SELECT t.x AS stale, s.id FROM t JOIN →stale AS s USING (id)", "materialized view"),
    ("a system catalog", "SELECT relname FROM →pg_class", "system catalog"),
    ("the information schema", "SELECT table_name::text FROM information_schema.→tables", "system catalog"),
    ("SELECT without FROM", "→SELECT 1", "no table|without FROM"),
]  # fmt: skip

STATE = """
    SELECT 'class', oid::bigint, relname::text FROM pg_class WHERE relpersistence <> 't'
    UNION ALL SELECT 'proc', oid, proname FROM pg_proc UNION ALL SELECT 'trigger', oid, tgname FROM pg_trigger
    UNION ALL SELECT 'type', oid, typname FROM pg_type WHERE typnamespace::regnamespace::text !~ '^pg_t'
    UNION ALL SELECT 'schema', oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_t'
    UNION ALL SELECT 'view', 0, view_name FROM stepping.maintained_view
    UNION ALL SELECT 'setting', 0, name || '=' || setting FROM pg_settings WHERE name !~ 'transaction_isolation|[.]'
    ORDER BY 1, 2, 3"""


def place(marked):
    """The query without its arrow, and the arrow's line and column."""
    before, _, after = marked.partition("→")
    return before + after, before.count("\n") + 1, len(before) - before.rfind("\n")


@pytest.fixture(scope="module")
def refusing(databases, server):
    """A session in a database with one table of every kind; nothing that a test does there stays."""
    name = databases.create(databases.template("plpgsql"))
    with psycopg.connect(databases.dsn(name)) as session:
        session.execute(SCHEMA + "CREATE SEQUENCE s;")
        session.commit()
        yield session
    databases.drop(name)


@pytest.fixture(autouse=True)
def _clean(refusing):
    yield
    refusing.rollback()


@pytest.mark.parametrize(("what", "marked", "words"), REFUSED, ids=[r[0] for r in REFUSED])
def test_is_refused_by_name(refusing, what, marked, words):
    query = marked.replace("→", "")
    before = refusing.execute(STATE).fetchall()
    with pytest.raises(UnsupportedQuery, match=f"(?i){words}") as refusal:
        pg_stepping.create_view(refusing, "v", query)
    assert refusal.value.sqlstate == "0A000"
    assert refusal.value.hint
    assert refusal.value.hint in str(refusal.value)
    assert refusing.execute(STATE).fetchall() == before


PLACED = [r for r in REFUSED if "→" in r[1]]


@pytest.mark.parametrize(("what", "marked", "words"), PLACED, ids=[r[0] for r in PLACED])
def test_is_refused_at_its_place(refusing, what, marked, words):
    query, line, column = place(marked)
    with pytest.raises(UnsupportedQuery) as refusal:
        pg_stepping.generate(refusing, "v", query)
    assert (refusal.value.line, refusal.value.column) == (line, column), str(refusal.value)
    assert f"line {line}, column {column}" in str(refusal.value)


def test_a_place_is_counted_in_the_text_as_given(refusing):
    """Tabs and wide letters count one, a carriage return belongs to its line end, leading lines count."""
    query = "\r\n-- Ünïcødé 😀\r\nSELECT\t'😀' AS x,\r\n\trandom() FROM t"
    with pytest.raises(UnsupportedQuery) as refusal:
        pg_stepping.generate(refusing, "v", query)
    assert (refusal.value.line, refusal.value.column) == (4, 2)


def test_sum_of_other_types_is_refused_by_postgres_itself(refusing):
    with pytest.raises(InvalidQuery, match=r"sum\(text\).*line 1, column 8"):
        pg_stepping.generate(refusing, "v", "SELECT sum(g) FROM t")
