"""Every folder of tests/cases is a story: tables, queries, and steps that change the tables.

schema.sql   tables and their first rows
query.sql    one query, or several, each after a line `-- view: name`; a view may read those before it
steps.sql    the changes; each step begins with a comment line that says what it is

After every step every view must have the very rows, as text, that its query gives when it is run.
"""

import re
from pathlib import Path

import psycopg
import pytest

import pg_stepping

CASES = Path(__file__).parents[1] / "cases"
NAMES = sorted(p.name for p in CASES.iterdir() if p.is_dir())

COLUMNS = """
    SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attcollation::regcollation::text
    FROM pg_attribute AS a WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 ORDER BY a.attnum"""


def title(case):
    """What the case covers: the comment that its query begins with."""
    return (CASES / case / "query.sql").read_text().splitlines()[0].removeprefix("-- ")


def views_of(case):
    """The (name, query) pairs of a case."""
    text = (CASES / case / "query.sql").read_text()
    parts = re.split(r"^-- view: (\w+)\n", text, flags=re.M)
    if len(parts) == 1:
        return [("result", text)]
    return list(zip(parts[1::2], parts[2::2], strict=True))


def steps_of(case):
    """The (comment, SQL) pairs of a case."""
    text = (CASES / case / "steps.sql").read_text()
    parts = re.split(r"^-- (.+)\n", text, flags=re.M)
    return list(zip(parts[1::2], parts[2::2], strict=True))


def rows(conn, source):
    """The rows of a relation or of a query in parentheses, as sorted text: 1.0 is not 1.00 here."""
    with conn.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
        found = cursor.execute(f"SELECT ROW(q.*)::text FROM {source} AS q").fetchall()
    return sorted(row[0] for row in found)


def columns(conn, name):
    with conn.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
        return cursor.execute(COLUMNS, [name]).fetchall()


def columns_of_query(conn, query):
    """Names, types and collations of the columns of a query, as Postgres itself gives them to a view."""
    with conn.transaction(force_rollback=True):
        conn.execute(f"CREATE TEMPORARY VIEW stepping_expected AS\n{query}")
        return columns(conn, "pg_temp.stepping_expected")


def assert_right(conn, view, query, after):
    """The view has the rows of its query, by recomputation and by `verify`; returns them."""
    expected = rows(conn, f"(\n{query}\n)")
    assert rows(conn, view) == expected, f"{view} differs after: {after}"
    return expected


def assert_settled(conn):
    """No change is left waiting: what is checked at commit."""
    conn.execute("SET CONSTRAINTS ALL IMMEDIATE")
    conn.execute("SET CONSTRAINTS ALL DEFERRED")
    with conn.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
        assert cursor.execute("SELECT count(*) FROM stepping.waiting").fetchone() == (0,)


def assert_maintained(conn, views, steps, language=None):
    """Create the views, run the steps, and compare after each; every view must have rows at some time, and
    must change, or the test shows nothing."""
    seen = {name: set() for name, _ in views}
    for name, query in views:
        pg_stepping.create_view(conn, name, query, language=language)
        assert columns(conn, name) == columns_of_query(conn, query)
    for after, sql in [("creation", None), *steps]:
        if sql is not None:
            conn.execute(sql)
        assert_settled(conn)
        for name, query in views:
            seen[name].add(tuple(assert_right(conn, name, query, after)))
            assert pg_stepping.verify(conn, name) == []
    assert all(any(contents) for contents in seen.values()), seen
    assert not steps or all(len(contents) > 1 for contents in seen.values()), seen


@pytest.mark.parametrize("case", NAMES)
def test_oracle_every_case_is_right_after_each_step(conn, language, case):
    """In PL/Python the views are made over filled tables; in PL/pgSQL over empty ones, filled afterwards."""
    tables, _, data = (CASES / case / "schema.sql").read_text().partition("-- data\n")
    assert data, "schema.sql has its rows after a line `-- data`"
    steps = steps_of(case)
    assert len(steps) >= 3
    conn.execute(tables)
    if language == "plpgsql":
        steps = [("first rows", data), *steps]
    else:
        conn.execute(data)
    assert_maintained(conn, views_of(case), steps, language)
