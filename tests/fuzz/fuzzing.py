"""Runs random queries as maintained views, compares after each statement, and shrinks what fails."""

import contextlib
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import sqlglot
from sqlglot import exp

import pg_stepping

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "postgres")]

from query_generator import Generator  # noqa: E402
from select_queries import SCHEMA  # noqa: E402
from test_select import Writer, rows, sweep  # noqa: E402

__all__ = ["SCHEMA", "Generator", "Outcome", "alike", "attempt", "shrink", "sweep", "trial"]
MAX_ROWS = 3000


@dataclass
class Outcome:
    """What became of one query. kind: right, refused, invalid, error, wrong or verify."""

    kind: str
    query: str
    language: str
    mode: str = "immediate"
    message: str = ""
    ran: list = field(default_factory=list)
    sizes: list = field(default_factory=list)

    @property
    def failed(self):
        return self.kind in ("error", "wrong", "verify", "unstable")

    def __str__(self):
        ran = "".join(f"\n  {s};" for s in self.ran)
        return f"{self.kind} in {self.language}, {self.mode}: {self.query}\n after:{ran}\n {self.message}"


def difference(session, query, view="v"):
    """What the view has that the query has not, and the other way round."""
    here, there = rows(session, f"SELECT * FROM {view}"), rows(session, query)
    return (here, there - here, here - there) if here != there else (here, None, None)


def stable(session, query, tables="abc"):
    """Whether the query itself has one answer: with other plans, and the rows in another order."""
    expected = rows(session, query)
    for off in ("hashjoin", "nestloop", "hashagg", "sort", "memoize", "indexscan"):
        session.execute(f"SET LOCAL enable_{off} = off")
        if rows(session, query) != expected:
            return False
    session.execute("SET LOCAL session_replication_role = replica")
    for table in tables:
        session.execute(f"CREATE TEMP TABLE kept AS SELECT * FROM {table} ORDER BY y DESC, x, id DESC")
        session.execute(f"DELETE FROM {table}")
        session.execute(f"INSERT INTO {table} SELECT * FROM kept")
        session.execute("DROP TABLE kept")
    return rows(session, query) == expected


class Plain:
    """The tables as they are in SCHEMA, and random statements over them; `World` has more kinds of both."""

    tables = {t: t for t in "abc"}  # noqa: RUF012
    maintained = ()

    def __init__(self, seed):
        writer = Writer(seed)
        self.insert, self.statement, self.random = writer.insert, writer.statement, writer.random

    def set_up(self, session):
        return []


def attempt(
    session, query, seed, statements=10, language="plpgsql", timeout=8000, mode="immediate", world=Plain
):
    """Maintain the query over random statements in `world(seed)`; the session is rolled back."""
    outcome = Outcome("right", query, language, mode)
    try:
        return _attempt(session, outcome, world(seed), statements, timeout)
    except psycopg.errors.QueryCanceled as error:
        outcome.kind, outcome.message = "slow", str(error)
    except psycopg.Error as error:
        outcome.kind, outcome.message = "error", f"{type(error).__name__}: {str(error)[:300]}"
    finally:
        session.rollback()
    return outcome


def _attempt(session, outcome, world, statements, timeout):
    query = outcome.query
    session.execute(f"SET LOCAL statement_timeout = {timeout}; SET LOCAL jit = off")
    views = world.set_up(session)
    outcome.ran = [f"-- {name}: {under}" for name, under in views]
    for table in "abcab":
        outcome.ran.append(world.insert(table, 4))
        session.execute(outcome.ran[-1])
    try:
        if sum(rows(session, query).values()) > MAX_ROWS:
            outcome.kind, outcome.message = "invalid", "too many rows"
            return outcome
    except psycopg.Error as error:
        outcome.kind, outcome.message = "invalid", str(error)
        return outcome
    try:
        pg_stepping.create_view(session, "v", query, language=outcome.language, mode=outcome.mode)
    except pg_stepping.UnsupportedQuery as error:
        outcome.kind, outcome.message = "refused", str(error)
        return outcome
    except psycopg.errors.QueryCanceled:
        raise
    except Exception as error:
        outcome.kind, outcome.message = "error", f"create_view: {type(error).__name__}: {str(error)[:300]}"
        return outcome
    views = [("v", query), *((n, q) for n, q in views if n in world.maintained)]
    for _ in range(statements + 1):
        for name, under in views:
            here, missing, extra = difference(session, under, name)
            if name == "v":
                outcome.sizes.append(sum(here.values()))
            if missing is not None:
                outcome.kind = "wrong" if stable(session, under, world.tables.values()) else "unstable"
                outcome.message = (
                    f"{name}: missing {sorted(missing.items())[:5]} extra {sorted(extra.items())[:5]}"
                )
                return outcome
        if len(outcome.sizes) <= statements:
            outcome.ran.append(world.statement())
            session.execute(outcome.ran[-1])
            if outcome.mode == "deferred" and world.random.random() < 0.3:
                outcome.ran.append("-- apply")
                pg_stepping.apply(session, "v", limit=world.random.choice([None, 1]))
    for name, _ in views:
        found = pg_stepping.verify(session, name)
        if found:
            outcome.kind, outcome.message = "verify", f"{name}: {str(found)[:500]}"
    return outcome


def trial(session, seed, place, statements=10):
    """What becomes of the query of this seed; by its place some are deferred, some are read twice."""
    query = Generator(seed).statement()
    if place % 8 == 7:
        query = twice(session, query)
    language, mode = ("plpgsql", "plpython3u")[seed % 2], ("immediate", "deferred")[place % 4 == 2]
    return attempt(session, query, seed, statements, language, mode=mode)


def twice(session, query):
    """The query read in two places, joined; the query itself, if its rows cannot be compared."""
    try:
        with session.transaction():
            names = [c.name for c in session.execute(f"SELECT * FROM ({query}) AS q LIMIT 0").description]
            first, last = names[0], names[-1]
            both = f"WITH q AS ({query}) SELECT p.{first} AS k, q.{last} AS v FROM q AS p LEFT JOIN q ON q.{first} = p.{first}"
            session.execute(f"{both} LIMIT 0")
    except psycopg.Error:
        return query
    return both


def alike(message):
    """An error without its names and numbers, to tell one from another."""
    line = re.sub(r"\[.*?\]|\"[^\"]*\"|'[^']*'|\d+", "_", message.splitlines()[0]) if message else ""
    return re.sub(r"(the column|the table|name) \w+", r"\1 _", line)[:90]


def smaller(tree):
    """Every tree that is one step smaller."""
    text = tree.sql("postgres")
    nodes = list(tree.walk())
    for i, node in enumerate(nodes):
        if isinstance(node, exp.Identifier | exp.TableAlias | exp.Literal | exp.Column):
            continue
        candidates = []
        if node.parent is not None:
            candidates += [("replace", d) for d in node.iter_expressions()
                           if isinstance(d, exp.Condition | exp.Query | exp.Subquery)]  # fmt: skip
            if isinstance(node, exp.Case | exp.Condition) and not isinstance(node, exp.Alias | exp.Star):
                candidates += [("literal", None)]
        if isinstance(node, exp.Select):
            for key in (
                "where",
                "having",
                "limit",
                "offset",
                "joins",
                "group",
                "distinct",
                "order",
                "with_",
                "with",
            ):
                if node.args.get(key):
                    candidates.append(("drop", key))
            for key in ("expressions", "joins"):
                value = node.args.get(key) or []
                if len(value) > 1:
                    candidates += [("pop", (key, j)) for j in range(len(value))]
        if isinstance(node, exp.Filter):
            candidates.append(("replace", node.this))
        if isinstance(node, exp.Group) and len(node.expressions) > 1:
            candidates += [("pop", ("expressions", j)) for j in range(len(node.expressions))]
        if isinstance(node, exp.Join) and node.args.get("side"):
            candidates.append(("drop", "side"))
        for how, what in candidates:
            copy = tree.copy()
            twin = list(copy.walk())[i]
            with contextlib.suppress(Exception):
                if how == "replace":
                    twin.replace(what.copy())
                elif how == "literal":
                    twin.replace(exp.Literal.number(1))
                elif how == "drop":
                    twin.set(what, None)
                else:
                    twin.args[what[0]].pop(what[1])
                found = copy.sql("postgres")
                if len(found) < len(text):
                    yield found


def shrink(session, outcome, seed, budget=120, world=Plain, statements=10):
    """A smaller query that fails in the same way."""
    best = outcome
    tried = set()
    progress = True
    while progress and budget > 0:
        progress = False
        try:
            options = sorted(smaller(sqlglot.parse_one(best.query, read="postgres")), key=len)
        except Exception:
            return best
        for query in options:
            if query in tried or budget <= 0:
                continue
            tried.add(query)
            budget -= 1
            try:
                found = attempt(session, query, seed, statements, outcome.language, 3000, outcome.mode, world)
            except Exception:
                session.rollback()
                continue
            if found.kind == outcome.kind and (
                found.kind != "error" or alike(found.message) == alike(outcome.message)
            ):
                best, progress = found, True
                break
    return best
