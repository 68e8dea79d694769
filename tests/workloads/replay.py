"""Runs a stream of statements under a view of a benchmark's query, and compares the view with the query."""

from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

import pg_stepping

HERE = Path(__file__).parent
LANGUAGES = ("plpgsql", "plpython3u")
SINGLE_ROWS = 40
EACH = 2  # statements, then a comparison


def queries(folder):
    """The queries of a folder by name, as the parameters of a test; the languages alternate."""
    files = sorted((HERE / folder).glob("q*.sql"))
    return [pytest.param(f.read_text(), LANGUAGES[i % 2], id=f.stem) for i, f in enumerate(files)]


def rows(session, query):
    """The rows of a query; floats to nine digits, as their sums depend on the order of the rows."""
    found = session.execute(query).fetchall()
    return Counter(tuple(f"{v:.9g}" if isinstance(v, float) else str(v) for v in row) for row in found)


def insert(session, table, rows):
    """One statement that inserts all the rows; one whose key is taken is left out."""
    row = sql.SQL("({})").format(sql.SQL(", ").join([sql.Placeholder()] * len(rows[0])))
    statement = sql.SQL("INSERT INTO {} VALUES {} ON CONFLICT DO NOTHING").format(
        sql.Identifier(table), sql.SQL(", ").join([row] * len(rows))
    )
    session.execute(statement, [value for row in rows for value in row])
    return f"INSERT INTO {table} VALUES {', '.join(map(str, rows))}"


@contextmanager
def loaded(databases, folder, tables):
    """A session in a database with the schema of the folder and these rows."""
    name = databases.create(databases.template("plpython3u"))
    with psycopg.connect(databases.dsn(name)) as session:
        session.execute((HERE / folder / "schema.sql").read_text())
        for table, its_rows in tables.items():
            insert(session, table, its_rows)
        session.execute("ANALYZE")
        session.commit()
        yield session
    databases.drop(name)


class SingleRows:
    """Random statements, each of one row of any of the tables; `row` makes a row of a table."""

    def __init__(self, session, random, keys, row):
        self.session, self.random, self.keys, self.row = session, random, keys, row
        self.tables = [*keys, *list(keys)[:2]]  # the first, where the facts are, twice as often
        self.columns = {
            table: [c.name for c in session.execute(f"SELECT * FROM {table} LIMIT 0").description]
            for table in keys
        }

    def run(self, place):
        """Run the statement of this place in the stream, and return its text."""
        table = self.tables[place % len(self.tables)]
        kind = self.random.choice(["insert", "update", "update", "delete"])
        if kind == "insert":
            return insert(self.session, table, [self.row(table)])
        (number,) = self.session.execute(f"SELECT count(*) FROM {table}").fetchone()
        place = self.random.randrange(max(number, 1))
        found = self.session.execute(
            f"SELECT ctid::text, t.* FROM {table} AS t ORDER BY t OFFSET {place} LIMIT 1"
        ).fetchone()
        if not found:
            return ""
        where = f"WHERE ctid = '{found[0]}'  -- was {found[1:]}"
        if kind == "delete":
            statement, values = f"DELETE FROM {table} {where}", []
        else:
            columns = self.columns[table]
            others = range(self.keys[table], len(columns))
            changed = self.random.sample(others, min(len(others), self.random.choice([1, 2, len(others)])))
            new = self.row(table)
            values = [new[c] for c in changed]
            assignments = ", ".join(f"{columns[c]} = %s" for c in changed)
            statement = f"UPDATE {table} SET {assignments} {where.replace('%', '%%')}"
        try:
            with self.session.transaction():
                self.session.execute(statement, values or None)
        except psycopg.errors.UniqueViolation:
            return "-- A moved key that is taken: the statement is taken back."
        return f"{statement} {values or ''}"


class Watched:
    """The view of a query, compared with the query when asked."""

    def __init__(self, session, query, language):
        self.session, self.query, self.ran = session, query, []
        self.seen = rows(session, query)
        assert self.seen, "the query has no result, so this tests nothing"
        pg_stepping.create_view(session, "watched", query, language=language)
        self.changes = 0
        self.check()

    def insert(self, table, rows):
        self.ran.append(insert(self.session, table, rows))

    def run(self, statement):
        self.session.execute(statement)
        self.ran.append(statement)

    def run_single_rows(self, writer):
        for place in range(SINGLE_ROWS):
            self.ran.append(writer.run(place))
            if place % EACH == EACH - 1:
                self.check()

    def check(self):
        right, kept = rows(self.session, self.query), rows(self.session, "SELECT * FROM watched")
        assert kept == right, "\n".join(
            ["too many:", *map(str, kept - right), "missing:", *map(str, right - kept), "after:", *self.ran]
        )
        self.changes += right != self.seen
        self.seen = right
        self.ran = []

    def end(self):
        self.check()
        assert pg_stepping.verify(self.session, "watched") == []
        assert self.changes, "the result never changed, so this tests nothing"
