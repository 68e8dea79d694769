"""The measurements: the same statements with no view, with a maintained one and with pg_ivm's, in turn."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

import pg_stepping
from benchmarks.contenders import Connection, create_immv, unlimited
from benchmarks.databases import copy, run
from benchmarks.tpch.changes import KINDS, Changes
from benchmarks.tpch.data import KEYS, load, queries
from pg_stepping import devserver

NONE, OURS, PG_IVM = "none", "pg_stepping", "pg_ivm"
UNLIMITED = "unlimited"  # ours, of a query without its ORDER BY and LIMIT, as pg_ivm is given it
VIEW = "watched"
FACTS = ("lineitem", "orders", "partsupp", "customer")
WARM = 2  # statements of each kind on each table before the clock runs: a session plans what it runs first
BATCHES = 3  # of each kind

# Run inside the server, so that no round trip is in the time.
TIMED = """
CREATE SCHEMA bench;
CREATE FUNCTION bench.timed(statement text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
    start timestamptz := clock_timestamp();
BEGIN
    EXECUTE statement;
    RETURN 1000 * extract(epoch FROM clock_timestamp() - start);
END
$$
"""


@dataclass(slots=True)
class Times:
    """Milliseconds of each statement, by contender."""

    rows: dict[str, list[float]] = field(default_factory=dict)
    others: dict[str, list[float]] = field(default_factory=dict)
    batches: dict[str, list[float]] = field(default_factory=dict)
    recompute: float = math.nan
    batch: str = ""


@dataclass(frozen=True, slots=True)
class Arena:
    """A database for each contender, copies of the same loaded one."""

    scale: float
    databases: dict[str, str]

    @contextmanager
    def connected(self) -> Iterator[dict[str, Connection]]:
        sessions = {name: psycopg.connect(dsn, autocommit=True) for name, dsn in self.databases.items()}
        for session in sessions.values():
            session.execute("SET synchronous_commit = off")
        try:
            yield sessions
        finally:
            for session in sessions.values():
                session.close()


@contextmanager
def arena(server: devserver.Server, scale: float, say: Callable[[str], Any]) -> Iterator[Arena]:
    """The databases of one scale factor; they are dropped at the end."""
    prefix = "pg_stepping_tpch_"
    with psycopg.connect(server.dsn) as conn:
        ivm = conn.execute("SELECT FROM pg_available_extensions WHERE name = 'pg_ivm'").fetchone()
    names = [NONE, OURS, *([PG_IVM, UNLIMITED] if ivm is not None else [])]
    say(f"loading scale factor {scale}")
    try:
        with psycopg.connect(load(server, prefix + "loaded", scale)) as conn:
            conn.execute(TIMED)
        for name in names:
            copy(server, prefix + name, prefix + "loaded")
        yield Arena(scale, {n: make_conninfo(server.dsn, dbname=prefix + n) for n in names})
    finally:
        for name in [*names, "loaded"]:
            run(server, "DROP DATABASE IF EXISTS {} WITH (FORCE)", prefix + name)


def measured(there: Arena, each: int, only: Sequence[str], say: Callable[[str], Any]) -> dict[str, Times]:
    """The times of each query."""
    with there.connected() as sessions:
        changes = Changes(sessions[NONE], 1)
    answers = {}
    for name, text in queries(there.scale).items():
        if not only or name in only:
            answers[name] = _measured(there, text, changes, each)
            medians = {n: f"{statistics.median(t):.3f} ms" for n, t in answers[name].rows.items()}
            say(f"scale factor {there.scale}, {name}: {medians}, recomputed {answers[name].recompute:.1f} ms")
    return answers


def _measured(there: Arena, text: str, changes: Changes, each: int) -> Times:
    tables = [t for t in KEYS if f"{t} " in text.replace(",", " ").replace("\n", " ").replace(")", " ")]
    tables = [t for t in tables if t not in ("nation", "region")]
    facts = [t for t in FACTS[:2] if t in tables] or [t for t in FACTS if t in tables]
    others = [t for t in tables if t not in facts]
    times = Times()
    with there.connected() as sessions:
        changes.conn = sessions[NONE]
        times.recompute = statistics.median(_recomputed(sessions[NONE], text) for _ in range(3))
        for name, session in list(sessions.items()):
            if not _made(name, session, text):
                del sessions[name]
        _singles(sessions, changes, facts, WARM)
        times.rows = _singles(sessions, changes, facts, each)
        _singles(sessions, changes, others, 1)
        times.others = _singles(sessions, changes, others, max(1, each // 3))
        (stored,) = sessions[NONE].execute(f"SELECT count(*) FROM {facts[0]}").fetchone() or (0,)  # type: ignore[arg-type]
        size = max(1, round(stored / 1000))
        times.batch = f"{size} of {facts[0]}"
        for _ in range(BATCHES):
            for kind in KINDS:
                given, statement = changes.batch(facts[0], kind, size)
                for name, session in sessions.items():
                    session.execute(given)  # type: ignore[arg-type]
                    times.batches.setdefault(name, []).append(_timed(session, statement))
        for name, session in sessions.items():
            _taken_away(name, session)
    return times


def _singles(
    sessions: dict[str, Connection], changes: Changes, tables: Sequence[str], each: int
) -> dict[str, list[float]]:
    """Each statement runs in all databases, one after the other, in a transaction of its own."""
    found: dict[str, list[float]] = {name: [] for name in sessions}
    kinds = [(table, kind) for table in tables for kind in KINDS] * each
    changes.random.shuffle(kinds)
    for table, kind in kinds:
        statement = changes.one(table, kind)
        for name, session in sessions.items():
            found[name].append(_timed(session, statement))
    return found


def _timed(session: Connection, statement: str) -> float:
    row = session.execute("SELECT bench.timed(%s)", [statement]).fetchone()
    assert row is not None
    return float(row[0])


def _recomputed(session: Connection, text: str) -> float:
    """The time of the query; without JIT, which would only slow most of them down."""
    with session.transaction():
        session.execute("SET LOCAL jit = off")
        return _timed(session, text)


def _made(name: str, session: Connection, text: str) -> bool:
    """Make the view, if that is what the contender does, and tell whether it can."""
    if name == UNLIMITED and unlimited(text) == text:
        return False
    if name in (OURS, UNLIMITED):
        with session.transaction():
            query = text if name == OURS else unlimited(text)
            pg_stepping.create_view(session, VIEW, query, language="plpgsql")
    if name == PG_IVM:
        try:
            create_immv(session, VIEW, unlimited(text))
        except psycopg.errors.FeatureNotSupported:
            return False
    session.execute("VACUUM ANALYZE")  # as autovacuum would, which is off
    return True


def _taken_away(name: str, session: Connection) -> None:
    if name in (OURS, UNLIMITED):
        with session.transaction():
            pg_stepping.drop_view(session, VIEW)
    if name == PG_IVM:
        session.execute(f"DROP TABLE {VIEW}")  # type: ignore[arg-type]
