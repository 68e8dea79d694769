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
CREATE VIEW plain AS SELECT * FROM t;
CREATE MATERIALIZED VIEW stale AS SELECT * FROM t;
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER far FOREIGN DATA WRAPPER nowhere;
CREATE FOREIGN TABLE abroad (id integer) SERVER far;
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
    ("LEFT JOIN", "SELECT t.id\nFROM t\n  →LEFT JOIN u ON t.id = u.id", "LEFT JOIN"),
    ("LEFT OUTER JOIN", "SELECT t.id FROM t →LEFT OUTER JOIN u USING (id)", "LEFT JOIN"),
    ("RIGHT JOIN", "SELECT left(t.g, 1) FROM t\n→RIGHT JOIN u ON t.id = u.id", "RIGHT JOIN"),
    ("FULL JOIN", "SELECT t.id FROM t →FULL JOIN u ON t.id = u.id", "FULL JOIN"),
    ("NATURAL LEFT JOIN", "SELECT g FROM t\n→NATURAL LEFT JOIN u", "LEFT JOIN"),
    ("an outer join in a subquery", "SELECT id FROM (\n  SELECT t.id FROM t →LEFT JOIN u ON t.id = u.id\n) AS q", "LEFT JOIN"),
    ("an outer join in parentheses", "SELECT t.id FROM t JOIN (u →LEFT JOIN t AS w ON w.id = u.id) ON t.id = u.id", "LEFT JOIN"),
    ("DISTINCT", "SELECT\n→DISTINCT g FROM t", "DISTINCT"),
    ("DISTINCT beside IS DISTINCT FROM", "SELECT →DISTINCT x IS DISTINCT FROM 1 FROM t", "DISTINCT"),
    ("DISTINCT in a subquery", "SELECT q.x IS DISTINCT FROM 1 AS y FROM (SELECT →DISTINCT x FROM t) AS q", "DISTINCT"),
    ("DISTINCT ON", "SELECT →DISTINCT ON (g) g, x FROM t", "DISTINCT ON"),
    ("UNION", "SELECT id FROM t\n→UNION SELECT id FROM u", "UNION"),
    ("UNION ALL", "SELECT id FROM t →UNION ALL SELECT id FROM u", "UNION"),
    ("INTERSECT", "SELECT id FROM t →INTERSECT SELECT id FROM u", "INTERSECT"),
    ("EXCEPT", "SELECT id FROM t →EXCEPT ALL SELECT id FROM u", "EXCEPT"),
    ("UNION in a subquery", "SELECT q.id FROM (SELECT id FROM t\n  →UNION SELECT id FROM u) AS q", "UNION"),
    ("LIMIT", "SELECT id FROM t\n→LIMIT 5", "LIMIT"),
    ("LIMIT beside a column of that name", 'SELECT u."limit" FROM u →LIMIT 5', "LIMIT"),
    ("LIMIT beside its name in a text", "SELECT 'limit' FROM u →LIMIT 5", "LIMIT"),
    ("OFFSET", "SELECT id FROM t →OFFSET 5", "OFFSET"),
    ("FETCH FIRST", "SELECT id FROM t →FETCH FIRST 5 ROWS ONLY", "LIMIT"),
    ("ORDER BY", "SELECT 'order by', id\nFROM t -- order by\n→ORDER BY id", "ORDER BY"),
    ("a window function", "SELECT id, row_number() →OVER (ORDER BY id) FROM t", "window"),
    ("a window function in an expression", "SELECT abs(x) AS over, 1 + rank()\n  →OVER (ORDER BY x) FROM t", "window"),
    ("an aggregate as a window function", "SELECT id, sum(x) →OVER (PARTITION BY g) FROM t", "window"),
    ("WINDOW", "SELECT id, sum(x) OVER w FROM t →WINDOW w AS (PARTITION BY g)", "window"),
    ("EXISTS", "SELECT id FROM t WHERE\n→EXISTS (SELECT FROM u WHERE u.id = t.id)", "EXISTS"),
    ("NOT EXISTS", "SELECT id FROM t WHERE NOT →EXISTS (SELECT FROM u WHERE u.id = t.id)", "EXISTS"),
    ("IN (SELECT)", "SELECT id FROM t WHERE id →IN (SELECT id FROM u)", "subquery"),
    ("NOT IN (SELECT)", "SELECT id FROM t WHERE x IN (1, 2) AND id NOT →IN (SELECT id FROM u)", "subquery"),
    ("= ANY (SELECT)", "SELECT id FROM t WHERE id = ANY →(SELECT id FROM u)", "subquery"),
    ("a scalar subquery", "SELECT id, →(SELECT max(x) FROM u) FROM t", "subquery"),
    ("a correlated subquery", "SELECT id, →(SELECT x FROM u WHERE u.id = t.id) AS y FROM t", "subquery"),
    ("ARRAY (SELECT)", "SELECT id, ARRAY→(SELECT x FROM u) AS y FROM t", "subquery"),
    ("a subquery in HAVING", "SELECT g FROM t GROUP BY g HAVING count(*) > →(SELECT count(*) FROM u)", "subquery"),
    ("a subquery in ON", "SELECT t.id FROM t JOIN u ON t.x = →(SELECT 1 FROM t)", "subquery"),
    ("a subquery in GROUP BY", "SELECT count(*) FROM t GROUP BY →(SELECT 1)", "subquery"),
    ("LATERAL", "SELECT t.id FROM t, →LATERAL (SELECT x FROM u WHERE u.id = t.id) AS q", "LATERAL"),
    ("a function in FROM", "SELECT id, n FROM t,\n→generate_series(1, 3) AS n", "generate_series"),
    ("unnest in FROM", "SELECT id, e FROM t, →unnest(a) AS e", "unnest"),
    ("ROWS FROM", "SELECT * FROM ROWS FROM (→generate_series(1, 2), generate_series(1, 3)) AS r (p, q), t", "FROM"),
    ("WITH ORDINALITY", "SELECT id, e, n FROM t, →unnest(a) WITH ORDINALITY AS q (e, n)", "unnest"),
    ("a set-returning function in SELECT", "SELECT id, →unnest(a) FROM t", "unnest"),
    ("a set-returning function of one's own", "SELECT id, →many(x) FROM t", "many"),
    ("jsonb_each", "SELECT id, e.key FROM t, →jsonb_each(j) AS e", "jsonb_each"),
    ("VALUES", "→VALUES (1), (2)", "VALUES"),
    ("VALUES in FROM", "SELECT t.id FROM t, (→VALUES (1)) AS v (one)", "VALUES"),
    ("TABLESAMPLE", "SELECT id FROM t →TABLESAMPLE BERNOULLI (10)", "TABLESAMPLE"),
    ("FOR UPDATE", "SELECT id FROM t →FOR UPDATE", "locking"),
    ("FOR SHARE", "SELECT id FROM t\n  →FOR SHARE OF t", "locking"),
    ("GROUPING SETS", "SELECT g, count(*) FROM t GROUP BY →GROUPING SETS ((g), ())", "GROUPING SETS"),
    ("ROLLUP", "SELECT g, count(*) FROM t GROUP BY\n→ROLLUP (g)", "ROLLUP"),
    ("CUBE", "SELECT g, x, count(*) FROM t GROUP BY →CUBE (g, x)", "CUBE"),
    ("GROUP BY ()", "SELECT count(*) FROM t →GROUP BY ()", "GROUP BY"),
    ("min", "SELECT g, →min(x) FROM t GROUP BY g", "min"),
    ("max beside count", "SELECT g, count(*),\n  →max(x) FROM t GROUP BY g", "max"),
    ("array_agg", "SELECT →array_agg(x) FROM t", "array_agg"),
    ("string_agg", "SELECT →string_agg(g, ',') FROM t", "string_agg"),
    ("bool_and", "SELECT →bool_and(x > 1) FROM t", "bool_and"),
    ("stddev", "SELECT →stddev(x) FROM t", "stddev"),
    ("jsonb_agg", "SELECT →jsonb_agg(x) FROM t", "jsonb_agg"),
    ("an aggregate of one's own", "SELECT →product(x) FROM t", "product"),
    ("one's own aggregate called sum", "SELECT mine.→sum(g) FROM t", "sum"),
    ("one's own aggregate beside Postgres's of its name", "SELECT sum(x) AS n,\n  mine.→sum(g) FROM t", "sum"),
    ("an aggregate in HAVING", "SELECT g FROM t GROUP BY g HAVING →max(x) > 1", "max"),
    ("count(DISTINCT)", "SELECT x IS DISTINCT FROM 1, count(→DISTINCT g) FROM t GROUP BY x", "DISTINCT"),
    ("sum(DISTINCT)", "SELECT sum(→DISTINCT x) FROM t", "DISTINCT"),
    ("ORDER BY in an aggregate", "SELECT sum(x →ORDER BY id) FROM t", "ORDER BY"),
    ("WITHIN GROUP", "SELECT percentile_cont(0.5) →WITHIN GROUP (ORDER BY x) FROM t", "percentile_cont|WITHIN GROUP"),
    ("a hypothetical-set aggregate", "SELECT rank(5) →WITHIN GROUP (ORDER BY x) FROM t", "rank|WITHIN GROUP"),
    ("regression aggregates", "SELECT →corr(x, x) FROM t", "corr"),
    ("WITH RECURSIVE", "WITH →RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT n FROM r, t", "RECURSIVE"),
    ("a data-modifying CTE", "WITH gone AS (\n  →DELETE FROM t RETURNING id\n) SELECT id FROM gone", "data-modifying"),
    ("an UPDATE in a CTE", "WITH u AS (SELECT 1), n AS MATERIALIZED (→UPDATE t SET x = 1 RETURNING id) SELECT id FROM n", "data-modifying"),
    ("SELECT INTO", "SELECT id →INTO copy FROM t", "INTO"),
    ("a system column", "SELECT id, →ctid FROM t", "ctid"),
    ("another system column", "SELECT t.→xmin FROM t JOIN u USING (id)", "xmin"),
    ("tableoid", "SELECT count(*) FROM t GROUP BY →tableoid", "tableoid"),
    ("a whole row", "SELECT →t FROM t", "whole row"),
    ("a whole row in a join", "SELECT →u FROM t JOIN u USING (id)", "whole row"),
    ("a whole row as an argument", "SELECT to_jsonb(→t) FROM t", "whole row"),
    ("a whole row counted", "SELECT count(→t.*) FROM t", "whole row"),
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
    ("a partitioned table", "SELECT id FROM →parted", "partitioned table"),
    ("a partition", "SELECT id FROM →part_1", "inheritance"),
    ("a parent table", "SELECT id FROM →parent", "inheritance"),
    ("a child table", "SELECT id FROM →child", "inheritance"),
    ("ONLY a parent table", "SELECT id FROM ONLY →parent", "inheritance"),
    ("an ordinary view", "SELECT id\n  FROM →plain", "ordinary view"),
    ("a view whose name is a column too", "SELECT t.x AS stale, s.id FROM t JOIN →stale AS s USING (id)", "materialized view"),
    ("a system catalog", "SELECT relname FROM →pg_class", "system catalog"),
    ("the information schema", "SELECT table_name::text FROM information_schema.→tables", "system catalog"),
    ("SELECT without FROM", "→SELECT 1", "no table|without FROM"),
    ("a subquery without FROM", "SELECT t.id FROM t, (→SELECT 1 AS one) AS q", "without FROM"),
    ("a CTE without FROM", "WITH q AS (\n  →SELECT 1 IS DISTINCT FROM 2 AS b\n) SELECT t.id FROM t, q", "without FROM"),
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
    query = "\r\n-- Ünïcødé 😀\r\nSELECT\t'😀' AS x,\r\n\tmax(x) FROM t"
    with pytest.raises(UnsupportedQuery) as refusal:
        pg_stepping.generate(refusing, "v", query)
    assert (refusal.value.line, refusal.value.column) == (4, 2)


def test_sum_of_other_types_is_refused_by_postgres_itself(refusing):
    with pytest.raises(InvalidQuery, match=r"sum\(text\).*line 1, column 8"):
        pg_stepping.generate(refusing, "v", "SELECT sum(g) FROM t")
