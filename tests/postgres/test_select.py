"""All of SELECT is right after every statement of a random stream, in both languages.

`python tests/postgres/test_select.py DSN > docs/sql-coverage.md` writes the list for readers.
"""

import random
import sys
from collections import Counter
from itertools import count
from pathlib import Path

import psycopg
import pytest
from select_queries import CASES, SCHEMA
from test_sql_coverage import document

import pg_stepping
from pg_stepping.compiler import compile_query
from pg_stepping.ir import Table

DOCUMENT = Path(__file__).parents[2] / "docs" / "sql-coverage.md"
STATEMENTS = 14


def literal(value):
    return "NULL" if value is None else repr(value)


class Writer:
    """Random statements: duplicates, NULLs, moved keys, conflicts, several tables at once, TRUNCATE."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def value(self):
        return literal(self.random.choice([None, 0, 1, 1, 2, 2, 3, -1]))

    def text(self):
        return literal(self.random.choice(["p", "q", "", None]))

    def row(self, table):
        r = self.random
        key = r.randint(1, 12)
        if table == "a":
            array = r.choice(["'{1,2}'", "NULL", "'{}'", "'{3,NULL}'"])
            return key, f"({key}, {self.value()}, {self.value()}, {self.text()}, {array})"
        if table == "b":
            return key, f"({key}, {self.value()}, {self.value()}, {self.value()}, {self.text()})"
        real = literal(r.choice([0.1, 0.2, 1e10, -5.5, None]))
        return key, f"({key}, {self.value()}, {r.randint(0, 3)}, {real})"

    def insert(self, table, size):
        rows = dict(self.row(table) for _ in range(size))
        end = self.random.choice(["NOTHING", "UPDATE SET x = excluded.x"])
        end = "" if table == "c" else f" ON CONFLICT (id) DO {end}"
        return f"INSERT INTO {table} VALUES {', '.join(rows.values())}{end}"

    def statement(self):
        r = self.random
        kind, table, key = r.random(), r.choice("aabbc"), r.randint(1, 9)
        if kind < 0.45:
            return self.insert(table, r.randint(1, 3))
        where = r.choice([f"id = {key}", f"x = {r.randint(0, 3)}", f"id < {r.randint(1, 5)}", "x IS NULL"])
        if kind < 0.65:
            return f"DELETE FROM {table} WHERE {where}"
        if kind < 0.92:
            column = r.choice({"a": ["x", "y"], "b": ["a_id", "x", "y"], "c": ["x", "f"]}[table])
            return f"UPDATE {table} SET {column} = {self.value()} WHERE {where}"
        if kind < 0.94:
            return f"TRUNCATE {table}"
        gone = f"WITH d AS (DELETE FROM b WHERE a_id = {key % 4} RETURNING x)"
        return f"{gone} UPDATE a SET x = {self.value()} WHERE id = {key}"


def rows(session, query):
    """The rows of a query; floats to nine digits, as their sums depend on the order of the rows."""
    found = session.execute(query).fetchall()
    return Counter(tuple(f"{v:.9g}" if isinstance(v, float) else str(v) for v in row) for row in found)


@pytest.fixture(autouse=True)
def _clean(session):
    yield
    session.rollback()


@pytest.fixture(scope="module")
def session(databases):
    """A session in a database with the tables; what a test does there is rolled back."""
    name = databases.create(databases.template("plpython3u"))
    with psycopg.connect(databases.dsn(name)) as session:
        session.execute(SCHEMA)
        session.commit()
        yield session
    databases.drop(name)


def sweep(session):
    """Take away what views that were rolled back left in the catalogs: else each takes longer than the last."""
    session.autocommit = True
    session.execute(
        "VACUUM pg_class, pg_attribute, pg_type, pg_depend, pg_rewrite, pg_proc, pg_trigger, pg_index"
    )
    session.autocommit = False


TURNS = count()


def filled(session, query):
    """A writer that has filled the tables so that the query finds something, if it can; and what it found."""
    if next(TURNS) % 16 == 0:
        sweep(session)
    sizes = []
    for seed in range(100):
        session.execute("TRUNCATE a, b, c")
        writer = Writer(f"{query} {seed}")
        for table in "abc" * 4:
            session.execute(writer.insert(table, 4 - seed % 4))
        sizes.append(sum(rows(session, query).values()))
        if any(sizes):
            break
    return writer, sizes


@pytest.mark.parametrize(("place", "section", "query"), [(i, *c) for i, c in enumerate(CASES)],
                         ids=[f"{s}: {q}" for s, q in CASES])  # fmt: skip
def test_oracle_is_right_after_every_statement(session, place, section, query):
    del section
    writer, sizes = filled(session, query)
    ran = []
    language = ("plpgsql", "plpython3u")[place % 2]
    pg_stepping.create_view(session, "v", query, language=language)
    for _ in range(STATEMENTS):
        assert rows(session, "SELECT * FROM v") == rows(session, query), "\n".join(ran)
        ran.append(writer.statement())
        session.execute(ran[-1])
        sizes.append(session.execute("SELECT count(*) FROM v").fetchone()[0])
    assert pg_stepping.verify(session, "v") == []
    assert any(sizes), "the view was empty all the time"


MANY = [c for s in ("outer joins", "semijoins and antijoins", "subqueries") for c in CASES if c[0] == s][
    2::16
]


@pytest.mark.parametrize(("section", "query"), MANY, ids=[q for _, q in MANY])
def test_oracle_parts_of_outer_joins_are_looked_up(session, section, query, monkeypatch):
    """As it is done where there are many of them."""
    monkeypatch.setattr("pg_stepping.delta.terms._SPLIT", 0)
    test_oracle_is_right_after_every_statement(session, 0, section, query)


def test_many_outer_joins_do_not_make_products(session):
    """Each is a table that may change with all others, which would be 3 to the power of 7 terms."""
    session.execute("".join(f"CREATE TABLE d{i} (id integer PRIMARY KEY, v integer);" for i in range(7)))
    joins = " ".join(f"LEFT JOIN d{i} ON d{i}.id = a.x + {i}" for i in range(7))
    query = f"SELECT a.id, d0.v, d6.v AS w FROM a {joins} WHERE coalesce(d5.v, 0) < 9"
    session.execute(
        "TRUNCATE a, b, c; INSERT INTO a VALUES (1, 1, 1), (2, 2, 2); INSERT INTO d5 VALUES (6, 9)"
    )
    pg_stepping.create_view(session, "v", query, language="plpgsql")
    session.execute(
        """WITH e AS (INSERT INTO d0 VALUES (1, 5), (2, 6)), f AS (INSERT INTO d6 VALUES (7, 7)),
                g AS (UPDATE d5 SET v = 8), h AS (INSERT INTO a VALUES (3, 2, 2), (4, NULL, 4))
           DELETE FROM a WHERE id = 2"""
    )
    assert rows(session, "SELECT * FROM v") == rows(session, query) == {
        ("1", "5", "7"): 1, ("3", "6", "None"): 1, ("4", "None", "None"): 1
    }  # fmt: skip
    size = session.execute("SELECT length(prosrc) FROM pg_proc WHERE proname = 'v__maintain'").fetchone()[0]
    assert size < 400_000, size


def written(session):
    """The page for readers: what is maintained, by construct, and how its stages are kept."""
    lines = [
        "## SELECT",
        "",
        "*delta*: a change is added to the state; *touched keys*: the groups or partitions that it touches are",
        "computed anew; *stage*: all of it is, for want of a key (`strict=True` refuses these).",
    ]
    for i, (section, query) in enumerate(CASES):
        if i == 0 or section != CASES[i - 1][0]:
            lines += ["", f"### {section.capitalize()}", "", "| query | kept by |", "|---|---|"]
        programs = compile_query(session, Table("public", "v"), query, language="plpgsql").programs
        how = ", ".join(dict.fromkeys(p.stage.kept_by for p in programs))
        lines.append(f"| `{query}` | {how} |")
    return document(lines)


def test_the_document_is_up_to_date(database):
    with psycopg.connect(database("plpython3u")) as fresh:
        fresh.execute(SCHEMA)
        assert DOCUMENT.read_text() == written(fresh)


def test_a_row_that_is_read_as_a_whole_keeps_its_columns(session):
    """Else the view would go on without a column that its query has from now on."""
    pg_stepping.create_view(session, "v", "SELECT a.id, row_to_json(c) AS j FROM a JOIN c ON c.x = a.x")
    with pytest.raises(psycopg.errors.DependentObjectsStillExist, match="reads it"), session.transaction():
        session.execute("ALTER TABLE c ADD COLUMN more integer")
    session.execute("ALTER TABLE a ADD COLUMN more integer")
    pg_stepping.drop_view(session, "v")
    session.execute("ALTER TABLE c ADD COLUMN more integer")


def test_strict_refuses_what_computes_a_whole_stage(session):
    with pytest.raises(pg_stepping.UnsupportedQuery, match="as a whole"):
        pg_stepping.create_view(session, "v", "SELECT id, rank() OVER (ORDER BY y) AS r FROM a", strict=True)
    pg_stepping.create_view(
        session, "v", "SELECT id, rank() OVER (PARTITION BY x ORDER BY y) AS r FROM a", strict=True
    )


@pytest.mark.parametrize(
    ("query", "stages"),
    [
        ("WITH q AS (SELECT x, sum(y) AS s FROM a GROUP BY x) SELECT b.id, p.s, q.s FROM b LEFT JOIN q p ON p.x = b.x LEFT JOIN q ON q.x = b.a_id", 2),
        ("WITH q AS (SELECT x, sum(y) AS s, count(*) AS n FROM a GROUP BY x) SELECT p.s, q.n FROM q p JOIN q ON q.x = p.n", 2),
        ("SELECT p.s FROM (SELECT x, sum(y) AS s FROM a GROUP BY x) p JOIN (SELECT x, max(y) AS s FROM a GROUP BY x) q USING (x)", 3),
        ("WITH q AS (SELECT x, sum(y) AS s FROM a GROUP BY x) SELECT x, s FROM q WHERE s >= (SELECT avg(s) FROM q)", 3),
    ],
)  # fmt: skip
def test_what_is_computed_twice_has_one_stage(session, query, stages):
    """Unless it is what is published: that comes last, and no stage reads it."""
    pg_stepping.create_view(session, "v", query.replace("p.s, q.s", "p.s, q.s AS t"))
    (found,) = session.execute("SELECT stages FROM stepping.maintained_view").fetchone()
    assert len(found) == stages
    assert found[-1] == "v"


def test_what_is_published_is_the_last_stage(session):
    """Also where it was not cut last."""
    query = "SELECT q.x, q.s, t.m FROM (SELECT x, sum(y) AS s FROM a GROUP BY x) q CROSS JOIN (SELECT max(x) AS m FROM b) t"
    pg_stepping.create_view(session, "v", query)
    (found,) = session.execute("SELECT stages FROM stepping.maintained_view").fetchone()
    assert len(found) == 2
    assert found[-1] == "v"


def test_sums_of_floats_are_exact_wherever_verify_computes_them(session):
    """Also on the left of a join in parentheses: a sum in the order of the rows may differ in its last digit."""
    query = "WITH q AS (SELECT x, avg(f) AS m FROM c GROUP BY x) SELECT p.x, q.m FROM (q p LEFT JOIN q ON q.m = p.m) JOIN a ON a.x = p.x"
    pg_stepping.create_view(session, "v", query)
    (compared,) = session.execute("SELECT recompute FROM stepping.maintained_view").fetchone()
    assert compared.count("::text::decimal") == 2


def test_what_subqueries_leave_open_is_decided_where_verify_computes_them(session):
    of_b = (
        "SELECT array_agg(b.x) FROM b WHERE b.a_id = a.x AND b.x > (SELECT min(c.f) FROM c WHERE c.x < a.x)"
    )
    query = f"SELECT a.id, (SELECT sum(c.f) FROM c WHERE c.x = a.x) AS s, ({of_b}) AS xs FROM a"
    pg_stepping.create_view(session, "v", query)
    (compared,) = session.execute("SELECT recompute FROM stepping.maintained_view").fetchone()
    assert "(sum((c.f)::text::decimal))::double precision" in compared
    assert "array_agg(b.x ORDER BY b.x ASC)" in compared
    assert pg_stepping.verify(session, "v") == []


if __name__ == "__main__":
    with psycopg.connect(sys.argv[1]) as there:
        there.execute(SCHEMA)
        print(written(there), end="")
        there.rollback()
