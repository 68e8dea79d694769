"""A probe over values: those of every built-in type that play tricks, wherever a query may compare them.

A trial takes one type, some of the queries that it allows, and random statements: after each of them every
view has the rows of its query. Where SQL leaves open which of equal values is shown (`open`, below) rows are
compared as Postgres compares them, and else as texts: 1.0 is not 1.00 there.
"""

import random
import re
from collections import Counter
from dataclasses import dataclass

import psycopg
from fuzzing import Outcome

import pg_stepping

# What a type is told by: its name, and its values, each as SQL reads it in quotes. `=` types have equality,
# `<` types an order, `+` types sums, too.
TYPES = r"""
boolean < | t | f
smallint + | 0 | 1 | -1 | 32767
integer + | 0 | 1 | -2147483648 | 2147483647 | 2
bigint + | 0 | 1 | -1 | 9007199254740993 | 9007199254740992
real + | 0 | -0 | NaN | Infinity | 1.1 | 1e-30
double precision + | 0 | -0 | NaN | -Infinity | 0.1 | 1e15 | 0.30000000000000004
numeric + | 0 | 1 | 1.0 | 1.00 | NaN | Infinity | -2.50 | -2.5
numeric(6,2) + | 0 | 1 | 1.5 | -2.50 | NaN
money + | 0 | 1 | -2.5 | 1000
text < | | a | A | a_ | ' | \ | z
text COLLATE "C" < | | a | A | b
text COLLATE nocase < | | a | A | b | B
varchar(5) < | | a | A | a_
bpchar < | | a | a_ | A | a__
char(3) < | | a | a_ | A
name < | a | A | b
"char" < | | a | b
citext < | | a | A | b | B
bytea < | | \x00 | \x61 | \x6161
date < | 2024-01-01 | 2024-02-29 | infinity | -infinity | 4713-01-01 BC
time < | 00:00 | 24:00 | 10:30
timetz < | 10:00+00 | 11:00+01 | 24:00+00 | 00:00-02
timestamp < | 2024-01-01 | infinity | 2024-01-01 10:00 | 0044-03-15 BC
timestamptz < | 2024-01-01 10:00+00 | 2024-01-01 11:00+01 | -infinity | 1800-01-01 00:00+00
interval + | 1 mon | 30 days | 24:00 | 1 day | 0 | -1 day | 720:00:00
uuid < | 00000000-0000-0000-0000-000000000000 | a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11
inet < | 10.0.0.1 | 10.0.0.1/32 | 10.0.0.1/8 | 10.0.0.0/8 | ::1
cidr < | 10.0.0.0/8 | 10.0.0.0/9 | ::/0
macaddr < | 08:00:2b:01:02:03 | 00:00:00:00:00:00
macaddr8 < | 08:00:2b:01:02:03:04:05 | 08:00:2b:01:02:03
bit(3) < | 000 | 101 | 111
varbit < | | 0 | 00 | 101 | 1
jsonb < | 1 | 1.0 | 1.00 | {"a": 1, "b": 2} | {"b": 2.0, "a": 1.0} | null | [] | "1"
oid < | 0 | 1 | 4294967295
pg_lsn < | 0/0 | 16/B374D848
int4range < | empty | [1,3) | [1,2] | (,) | [3,)
numrange < | empty | [1,3) | [1.0,3.0) | (,)
daterange < | empty | [2024-01-01,2024-01-05] | [2024-01-01,2024-01-06) | (,infinity)
int4multirange < | {} | {[1,3)} | {[1,2],[5,6]} | {[1,3),[5,7)}
nummultirange < | {} | {[1,3)} | {[1.0,3.00)}
integer[] < | {} | {1,2} | {NULL} | {{1,2}} | [0:1]={1,2}
text[] < | {} | {a} | {A} | {""} | {NULL}
numeric[] < | {} | {1} | {1.0} | {1.00,NULL} | {1,NULL}
double precision[] < | {0} | {-0} | {NaN} | {}
mood < | sad | ok | glad
price + | 1 | 1.0 | 2.50
word < | a | A | b
pair < | (1,1.0) | (1,1.00) | (,) | (1,) | (,1)
spans < | ("1 mon",a) | ("30 days","a ") | (,)
integer[][] < | {{1},{2}} | {1,2} | {}
pair[] < | {} | {"(1,1.0)"} | {"(1,1.00)"} | {"(,)"} | {NULL}
tsvector < | | a:1 | 'a' 'b' | a:2
tsquery < | a | a & b | b
xid8 < | 0 | 1 | 18446744073709551615
json . | 1 | 1.0 | {"a":1} | {"a": 1} | null
xml . | <a/> | <a></a> | b
point . | (0,0) | (-0,0) | (1e-9,5) | (0,1)
box . | (1,1),(0,0) | (0,0),(1,1) | (2,1),(0,0)
circle . | <(0,0),1> | <(5,5),1> | <(0,0),2>
path . | [(0,0),(1,1)] | ((0,0),(1,1)) | [(0,0),(2,2)]
polygon . | ((0,0),(1,1),(1,0)) | ((1,1),(1,0),(0,0))
json[] . | {1} | {1.0} | {NULL}
spot . | (1,"(0,1)") | (,)
jsonpath . | $.a | $
"""

SCHEMA = """
CREATE EXTENSION IF NOT EXISTS citext;
CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TYPE mood AS ENUM ('sad', 'ok', 'glad');
CREATE DOMAIN price AS numeric CHECK (value < 1000);
CREATE DOMAIN word AS text COLLATE nocase;
CREATE TYPE pair AS (a integer, b numeric);
CREATE TYPE spans AS (a interval, b bpchar);
CREATE TYPE spot AS (a integer, b point);
"""

# Queries over p (id, v, w, k), with a key, and q (v, n), without one. `!`: which of equal values is shown is open.
ANY = """
SELECT id, v, w FROM p
SELECT v, n FROM q WHERE n IS DISTINCT FROM 2
SELECT p.id, p.w, q.v FROM p LEFT JOIN q ON q.n = p.k
SELECT p.id, p.v, q.v AS x, q.n FROM p FULL JOIN q ON q.n = p.k
SELECT v, k FROM p UNION ALL SELECT v, n FROM q
SELECT id, lag(v) OVER (PARTITION BY k ORDER BY id) AS x, last_value(w) OVER (PARTITION BY k ORDER BY id) AS y FROM p
SELECT k, array_agg(v ORDER BY id) AS x, count(v) AS n, count(*) AS c FROM p GROUP BY k
SELECT k, json_agg(v ORDER BY id) AS x, string_agg(w::text, ',' ORDER BY id) FILTER (WHERE v IS NOT NULL) AS y FROM p GROUP BY k
SELECT DISTINCT ON (k) k, v, id FROM p ORDER BY k, id DESC
SELECT id, (SELECT i.v FROM p AS i WHERE i.k = p.k ORDER BY i.id DESC LIMIT 1) AS x FROM p
SELECT id, CASE WHEN v IS NULL THEN w ELSE v END AS x, coalesce(w, v) AS y FROM p
SELECT p AS x, row_to_json(p)::text AS y, p IS NULL AS n FROM p
SELECT id, v FROM p WHERE EXISTS (SELECT FROM q WHERE q.n = p.k AND q.v IS NOT NULL)
SELECT id, EXISTS (SELECT FROM q WHERE q.n < p.k AND q.v::text > p.v::text) AS x FROM p
SELECT id, (SELECT count(*) FROM q WHERE q.v::text = p.v::text) AS x FROM p
SELECT p.id, l.v, l.n FROM p LEFT JOIN LATERAL (SELECT q.v, q.n FROM q WHERE q.n = p.k ORDER BY q.v::text LIMIT 2) AS l ON true
SELECT p.id, u.x, u.o FROM p, unnest(ARRAY[v, w]) WITH ORDINALITY AS u (x, o)
SELECT k, count(*) AS c FROM (SELECT v, k FROM p ORDER BY id LIMIT 4) AS s GROUP BY k
SELECT id, v, w FROM p ORDER BY k, id LIMIT 3
SELECT v::text COLLATE "C" AS x, count(*) AS c, max(k) AS m FROM p GROUP BY 1
SELECT v IS NULL AS x, array_agg(w ORDER BY id) AS y FROM p GROUP BY v IS NULL
"""
EQUAL = """
! SELECT v, count(*) AS c, sum(n) AS s FROM q GROUP BY v
! SELECT v, max(n) AS m, array_agg(n ORDER BY n) AS a FROM q GROUP BY v
! SELECT DISTINCT v FROM q
! SELECT DISTINCT v, w FROM p
! SELECT v FROM q UNION SELECT w FROM p
! SELECT v FROM q INTERSECT SELECT w FROM p
! SELECT v FROM q EXCEPT SELECT w FROM p
! SELECT v, n FROM q INTERSECT ALL SELECT w, k FROM p
! SELECT v FROM q EXCEPT ALL SELECT w FROM p
! SELECT v, k, count(*) AS c, grouping(v, k) AS g FROM p GROUP BY ROLLUP (v, k)
! SELECT v, w, count(*) AS c FROM p GROUP BY CUBE (v, w)
! SELECT v, w, count(*) AS c FROM p GROUP BY v, w HAVING count(*) > 1
! SELECT v, k, min(w::text) AS c FROM p GROUP BY GROUPING SETS ((v), (k), (v, k), ())
! SELECT g.v, (SELECT count(*) FROM q WHERE q.v = g.v) AS n FROM (SELECT v FROM p GROUP BY v) AS g
! SELECT g.v, g.c, p.id FROM (SELECT v, count(*) AS c FROM q GROUP BY v) AS g JOIN p ON p.v = g.v
! SELECT g.v, h.w, g.c, h.d FROM (SELECT v, count(*) AS c FROM q GROUP BY v) AS g FULL JOIN (SELECT w, sum(k) AS d FROM p GROUP BY w) AS h ON h.w = g.v
! SELECT v, count(*) OVER (PARTITION BY c) AS n FROM (SELECT v, count(*) AS c FROM q GROUP BY v) AS g
! SELECT v, sum(c) AS s FROM (SELECT v, n, count(*) AS c FROM q GROUP BY v, n) AS g GROUP BY v
! WITH g AS (SELECT DISTINCT v FROM q) SELECT g.v, (SELECT count(*) FROM g AS h WHERE h.v IS NOT NULL) AS n FROM g WHERE g.v IN (SELECT w FROM p)
! SELECT k, array_agg(DISTINCT v) AS a FROM p GROUP BY k
! WITH RECURSIVE r AS (SELECT v, w FROM p WHERE k = 1 UNION SELECT r.v, p.w FROM r JOIN p ON p.v = r.w) SELECT v, w FROM r
! WITH RECURSIVE r AS (SELECT w FROM p WHERE k = 1 UNION SELECT p.w FROM r JOIN p ON p.v = r.w) SELECT w, count(*) AS n FROM r GROUP BY w
SELECT c, count(*) AS n FROM (SELECT v, count(*) AS c FROM q GROUP BY v) AS g GROUP BY c
SELECT count(DISTINCT v) AS a, count(DISTINCT (v, w)) AS b, count(DISTINCT w) FILTER (WHERE k > 0) AS c FROM p
SELECT k, count(DISTINCT v) AS a, count(DISTINCT (v, w)) AS b FROM p GROUP BY k
SELECT p.id, q.v, q.n FROM p JOIN q ON p.v = q.v
SELECT p.id, p.v, q.v AS x FROM p LEFT JOIN q ON p.v = q.v
SELECT p.id, p.v, q.v AS x, q.n FROM p FULL JOIN q ON p.v = q.v
SELECT p.id, q.v AS x, q.n FROM p RIGHT JOIN q ON p.v IS NOT DISTINCT FROM q.v
SELECT a.id, b.id AS other, b.v FROM p AS a LEFT JOIN p AS b ON a.v = b.w AND a.k < b.k
SELECT p.id, sum(q.n) AS s, count(q.v) AS c FROM p LEFT JOIN q ON q.v = p.v GROUP BY p.id
SELECT id, v, p.w, q.n FROM p LEFT JOIN q USING (v)
SELECT v, p.id, q.n FROM p FULL JOIN q USING (v)
SELECT id, v IN (SELECT v FROM q) AS a, w NOT IN (SELECT v FROM q) AS b FROM p
SELECT id FROM p WHERE v IN (SELECT v FROM q WHERE q.n = p.k)
SELECT id, v FROM p WHERE v NOT IN (SELECT v FROM q WHERE q.n = p.k)
SELECT id FROM p WHERE (v, k) IN (SELECT v, n FROM q)
SELECT id FROM p WHERE (v, k) NOT IN (SELECT v, n FROM q)
SELECT id FROM p WHERE EXISTS (SELECT FROM q WHERE q.v = p.v AND q.n > p.k)
SELECT id, v FROM p WHERE NOT EXISTS (SELECT FROM q WHERE q.v = p.v) OR k = 2
SELECT id, (SELECT count(*) FROM q WHERE q.v = p.v) AS a, (SELECT max(n) FROM q WHERE q.v <> p.w) AS b FROM p
SELECT id, (SELECT string_agg(q.v::text || p.v::text, ',' ORDER BY q.v::text, n) FROM q WHERE q.v = p.v) AS s FROM p
SELECT id, v <> ALL (SELECT i.w FROM p AS i WHERE i.k = p.k) AS a FROM p
SELECT id, sum(k) OVER (PARTITION BY v) AS a, row_number() OVER (PARTITION BY v, w ORDER BY id) AS b FROM p
SELECT id, lag(v) OVER (PARTITION BY w ORDER BY id) AS a FROM p
SELECT id, nullif(v, w) AS a, v = w AS b, v IS DISTINCT FROM w AS c, CASE v WHEN w THEN id END AS d FROM p
SELECT id, g.c FROM p LEFT JOIN (SELECT v, count(*) AS c FROM q GROUP BY v) AS g ON g.v = p.v
SELECT k, mode() WITHIN GROUP (ORDER BY v) IS NULL AS a FROM p GROUP BY k
SELECT a.id, b.n FROM p AS a JOIN (SELECT w, max(id) AS n FROM p GROUP BY w) AS b ON b.w = a.v AND a.id < b.n
SELECT id, (SELECT count(*) FROM q AS a WHERE a.v = p.v AND EXISTS (SELECT FROM q AS b WHERE b.v = a.v AND b.n = p.k)) AS c FROM p
SELECT p.id, l.c FROM p CROSS JOIN LATERAL (SELECT count(*) AS c FROM q WHERE q.v = p.v AND q.n <> p.k) AS l
SELECT id FROM p WHERE CASE WHEN v IN (SELECT v FROM q) THEN k > 0 ELSE w IN (SELECT v FROM q) END
"""
SORTED = """
! SELECT k, min(v) AS a, max(v) AS b, max(w) FILTER (WHERE v IS NOT NULL) AS c FROM p GROUP BY k
! SELECT min(v) AS a, max(w) AS b FROM p
! SELECT id, first_value(v) OVER (PARTITION BY k ORDER BY v) AS a, max(v) OVER (PARTITION BY k) AS b FROM p
! SELECT k, percentile_disc(0.5) WITHIN GROUP (ORDER BY v) AS a FROM p GROUP BY k
! SELECT m, count(*) AS c FROM (SELECT k, max(v) AS m FROM p GROUP BY k) AS g GROUP BY m
! SELECT g.a, q.n FROM (SELECT k, min(v) AS a FROM p GROUP BY k) AS g LEFT JOIN q ON q.v = g.a
! SELECT v, count(*) AS c FROM q GROUP BY v ORDER BY v LIMIT 3
SELECT k, string_agg(v::text, ',' ORDER BY v DESC, v::text) AS a FROM p GROUP BY k
SELECT id, rank() OVER (PARTITION BY k ORDER BY v) AS a, dense_rank() OVER (ORDER BY v DESC NULLS LAST) AS b FROM p
SELECT id, sum(k) OVER (ORDER BY v) AS a, count(*) OVER (PARTITION BY k ORDER BY v RANGE UNBOUNDED PRECEDING) AS b FROM p
SELECT id, count(*) OVER (PARTITION BY k ORDER BY v GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING EXCLUDE TIES) AS a FROM p
SELECT id, v FROM p ORDER BY v DESC, id LIMIT 3
SELECT id, v FROM p ORDER BY v NULLS FIRST FETCH FIRST 2 ROWS WITH TIES
SELECT v, n FROM q ORDER BY v, n FETCH FIRST 2 ROWS WITH TIES
SELECT DISTINCT ON (k) k, id, v FROM p ORDER BY k, v DESC, id
SELECT DISTINCT ON (v) v, id, w FROM p ORDER BY v, id
SELECT id, v > ALL (SELECT v FROM q WHERE n = k) AS a, v <= ANY (SELECT v FROM q) AS b FROM p
SELECT id, v < (SELECT max(v) FROM q) AS a FROM p
SELECT id, (SELECT count(*) FROM q WHERE q.v < p.v) AS a FROM p
SELECT id FROM p WHERE NOT EXISTS (SELECT FROM q WHERE q.v > p.v AND q.n = p.k)
SELECT p.id, q.v, q.n FROM p LEFT JOIN q ON p.v < q.v
SELECT p.id, q.v, q.n FROM p LEFT JOIN q ON q.v BETWEEN p.v AND p.w
SELECT id, greatest(v, w) AS a, least(w, v) AS b FROM p
SELECT p.id, l.v FROM p LEFT JOIN LATERAL (SELECT q.v FROM q WHERE q.v >= p.v ORDER BY q.v, q.v::text LIMIT 1) AS l ON true
SELECT id, (SELECT i.id FROM p AS i WHERE i.v > p.v ORDER BY i.v, i.id LIMIT 1) AS a FROM p
SELECT id, (v, w) < (SELECT q.v, q.v FROM q ORDER BY q.v, q.v::text LIMIT 1) AS a FROM p
SELECT k, rank(3) WITHIN GROUP (ORDER BY id) AS a, count(*) AS c FROM p WHERE v >= w GROUP BY k
"""
SUMMED = """
! SELECT k, sum(v) AS s, avg(v) AS a, count(v) AS c FROM p GROUP BY k
! SELECT v, sum(v) AS s, sum(n) AS t FROM q GROUP BY v
! SELECT sum(v) AS s, avg(w) AS a FROM p
! SELECT k, sum(DISTINCT v) AS s FROM p GROUP BY k
! SELECT id, sum(v) OVER (PARTITION BY k ORDER BY id ROWS 1 PRECEDING) AS a FROM p
! SELECT p.id, sum(q.v) AS s FROM p LEFT JOIN q ON q.n = p.k GROUP BY p.id
! SELECT id, (SELECT sum(q.v) FROM q WHERE q.n = p.k) AS s FROM p
! SELECT k, sum(v) FILTER (WHERE w IS NOT NULL) AS a, -v AS b FROM p GROUP BY k, v
SELECT id, v + w AS a, v - w AS b, - v AS c FROM p
SELECT k, sum(v) > avg(w) AS a, sum(v) IS NULL AS b FROM p GROUP BY k
"""


@dataclass
class Kind:
    """A type with its values, all as texts; what can be done with it: . nothing, < ordered, + summed, too."""

    name: str
    rank: str
    values: list

    @property
    def queries(self):
        given = [ANY, EQUAL, SORTED, SUMMED][: {".": 1, "<": 3, "+": 4}[self.rank]]
        return [q for text in given for q in text.strip().splitlines()]


def kinds():
    for line in TYPES.strip().splitlines():
        head, *values = (part.strip(" ") for part in line.split("|"))
        name, rank = head.rsplit(" ", 1)
        values = [
            v
            if name.startswith(("time", "date", "name"))
            else re.sub("(?<=a)_+$", lambda m: " " * len(m[0]), v)
            for v in values
        ]
        yield Kind(name, rank, values)


KINDS = list(kinds())


class Statements:
    """Random statements over p and q."""

    def __init__(self, kind, rng):
        self.kind, self.random, self.next = kind, rng, 100

    def value(self):
        r = self.random
        if r.random() < 0.15:
            return "NULL"
        return "'" + r.choice(self.kind.values).replace("'", "''") + "'"

    def small(self):
        return self.random.choice(["0", "1", "1", "2", "3", "NULL"])

    def row(self, table, key=None):
        if table == "q":
            return f"({self.value()}, {self.small()})"
        return f"({key or self.random.randint(1, 9)}, {self.value()}, {self.value()}, {self.small()})"

    def rows(self, table):
        r = self.random
        keys = r.sample(range(1, 10), r.randint(1, 4))
        return ", ".join(self.row(table, key) for key in keys)

    def where(self, table):
        r = self.random
        own = [f"id = {r.randint(1, 9)}", f"k = {r.randint(0, 3)}", "v IS NULL", f"id < {r.randint(2, 5)}"]
        return r.choice(
            own
            if table == "p"
            else [
                f"n = {r.randint(0, 3)}",
                "n IS NULL",
                "v IS NULL",
                "ctid = (SELECT min(ctid) FROM q)",
                f"v::text = {self.value()}::text",
            ]
        )

    def writing(self, table=None):
        """One INSERT, UPDATE or DELETE."""
        r = self.random
        table = table or r.choice("pppqq")
        roll = r.random()
        if roll < 0.35:
            conflict = "" if table == "q" else r.choice([
                " ON CONFLICT (id) DO NOTHING", " ON CONFLICT (id) DO UPDATE SET v = excluded.v, k = excluded.k",
                " ON CONFLICT (id) DO UPDATE SET w = p.v, v = excluded.w WHERE p.k > 0",
            ])  # fmt: skip
            return f"INSERT INTO {table} VALUES {self.rows(table)}{conflict}"
        if roll < 0.45:
            if table == "q":
                return f"INSERT INTO q SELECT v, n FROM q WHERE {self.where('q')} LIMIT 2"
            return f"INSERT INTO q SELECT w, k FROM p WHERE {self.where('p')}"
        if roll < 0.62:
            return f"DELETE FROM {table} WHERE {self.where(table)}"
        sets = [f"v = {self.value()}", f"v = {self.value()}", "v = v"]
        sets += (
            ["v = w", "w = v, v = w", f"k = {self.small()}", f"w = {self.value()}"]
            if table == "p"
            else [f"n = {self.small()}", "n = n + 1"]
        )
        return f"UPDATE {table} SET {r.choice(sets)} WHERE {self.where(table)}"

    def statement(self):
        """What is run before views are compared."""
        r = self.random
        roll = r.random()
        if roll < 0.6:
            return self.writing()
        if roll < 0.66:
            return f"UPDATE p SET id = id + 10 WHERE id < 10 AND {self.where('p')} AND NOT EXISTS (SELECT FROM p AS o WHERE o.id = p.id + 10)"
        if roll < 0.72:
            matched = r.choice(["UPDATE SET v = s.v, k = s.k", "DELETE", "DO NOTHING"])
            rows = self.rows("p")
            return f"MERGE INTO p USING (SELECT i, v::{self.type}, w::{self.type}, k FROM (VALUES {rows}) AS x (i, v, w, k)) AS s ON p.id = s.i WHEN MATCHED AND s.k > 1 THEN {matched} WHEN MATCHED THEN UPDATE SET w = s.v WHEN NOT MATCHED THEN INSERT VALUES (s.i, s.v, s.w, s.k)"
        if roll < 0.8:
            return f"WITH x AS ({self.writing('q')} RETURNING 1) {self.writing('p')}"
        if roll < 0.86:
            return f"SAVEPOINT one; {self.writing()}; {self.writing()}; ROLLBACK TO one; {self.writing()}"
        if roll < 0.9:
            return f"{self.writing()}; {self.writing()}; {self.writing()}"
        if roll < 0.93:
            return r.choice(["TRUNCATE q", "TRUNCATE p", "TRUNCATE p, q", "DELETE FROM q"])
        if roll < 0.97:
            return "UPDATE p SET v = q.v FROM q WHERE q.n = p.k AND q.ctid = (SELECT min(ctid) FROM q AS o WHERE o.n = q.n)"
        return "UPDATE q SET v = p.w, n = p.k FROM p WHERE p.id = q.n"

    @property
    def type(self):
        return self.kind.name.split(" COLLATE")[0]


def shown(session, source):
    return Counter(r[0] for r in session.execute(f"SELECT ROW(q.*)::text FROM {source} AS q").fetchall())


def differs(session, name, query, is_open):
    """A text that says how view and query differ, or None."""
    if is_open:
        for one, other in ((name, f"({query})"), (f"({query})", name)):
            found = session.execute(
                f"SELECT * FROM {one} AS a EXCEPT ALL SELECT * FROM {other} AS b"
            ).fetchall()
            if found:
                return f"only in {one}: {found[:4]}"
        return None
    here, there = shown(session, name), shown(session, f"({query})")
    return (
        None
        if here == there
        else f"view {sorted((here - there).items())[:4]} query {sorted((there - here).items())[:4]}"
    )


def run(session, seed, kind, queries, mode, language, steps=10):
    """What becomes of the views over p and q of this kind, through random statements; rolled back in the end."""
    found = []
    try:
        _run(session, random.Random(seed), kind, queries, mode, language, steps, found)
    except psycopg.Error as error:
        found.append(
            Outcome("error", kind.name, language, mode, f"{type(error).__name__}: {str(error)[:300]}")
        )
    finally:
        session.rollback()
    return found


def _run(session, rng, kind, queries, mode, language, steps, found):
    ran, views = [], []

    def tell(what, query, message):
        found.append(Outcome(what, query, language, mode, f"{kind.name}: {message}", list(ran)))

    statements = Statements(kind, rng)
    session.execute("SET LOCAL jit = off; SET LOCAL statement_timeout = 20000")
    session.execute(f"CREATE TABLE p (id integer PRIMARY KEY, v {kind.name}, w {kind.name}, k integer)")
    session.execute(f"CREATE TABLE q (v {kind.name}, n integer)")
    for table in "pqq":
        ran.append(f"INSERT INTO {table} VALUES {statements.rows(table)}")
        session.execute(ran[-1])
    for i, marked in enumerate(queries):
        query, is_open = marked.removeprefix("! "), marked.startswith("!")
        try:
            with session.transaction():
                session.execute(f"SELECT * FROM ({query}) AS q")
        except psycopg.Error as error:
            tell("invalid", query, error)
            continue
        try:
            pg_stepping.create_view(session, f"v{i}", query, mode=mode, language=language)
            views.append((f"v{i}", query, is_open))
        except pg_stepping.UnsupportedQuery as error:
            tell("refused", query, error)
        except Exception as error:
            tell("error", query, f"create_view: {type(error).__name__}: {str(error)[:300]}")
            return
    for step in range(steps + 1):
        for name, query, is_open in views:
            if difference := differs(session, name, query, is_open):
                tell("wrong", query, difference)
        if step == steps or any(o.failed for o in found):
            break
        ran.append(statements.statement())
        try:
            with session.transaction():
                session.execute(ran[-1])
                session.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
                for _, query, _ in views:  # one that fails now, as array_agg does of NULL, tells nothing
                    session.execute(query)
        except psycopg.Error as error:
            if not fails_without(session, ran[-1], views):
                tell("error", kind.name, f"a write fails: {type(error).__name__}: {str(error)[:300]}")
                return
            ran.pop()
        if mode == "deferred" and rng.random() < 0.4:
            ran.append("-- apply")
            for name, query, _ in views:
                try:
                    pg_stepping.apply(session, name, limit=rng.choice([None, None, 1]))
                except Exception as error:
                    tell("error", query, f"apply: {type(error).__name__}: {str(error)[:300]}")
                    return
    for name, query, _ in views:
        difference = pg_stepping.verify(session, name)
        if difference:
            tell("verify", query, str(difference)[:500])
        elif not any(o.failed and o.query == query for o in found):
            tell("right", query, "")


def fails_without(session, text, views):
    """Whether the statement fails without any view, or a view's own query fails after it."""
    try:
        with session.transaction(force_rollback=True):
            session.execute("SET LOCAL session_replication_role = replica")
            session.execute(text)
            for _, query, _ in views:
                session.execute(f"SELECT * FROM ({query}) AS q")
    except psycopg.Error:
        return True
    return False


def trial(session, seed, size=8, steps=10):
    """What becomes of some views of the type of this seed; if a write fails, each of them is tried alone."""
    rng = random.Random(f"choice {seed}")
    kind = KINDS[seed % len(KINDS)]
    mode = ("immediate", "deferred")[seed // len(KINDS) % 2]
    language = ("plpgsql", "plpgsql", "plpython3u")[seed // len(KINDS) % 3]
    queries = rng.sample(kind.queries, min(size, len(kind.queries)))
    found = run(session, seed, kind, queries, mode, language, steps)
    if any(o.failed and o.query == kind.name for o in found):
        alone = (o for q in queries for o in run(session, seed, kind, [q], mode, language, steps))
        found += [o for o in alone if o.failed]
    return found
