"""Two transactions, step by step, in every order, in two real sessions; then: is each view right?

A step is a statement, or the commit. Each session has a thread of its own. A step that waits for the other
session is found by asking Postgres (pg_blocking_pids); then the other session goes on. The victim of a
deadlock or of a serialization failure is rolled back, and tried again alone when both have ended.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import combinations, combinations_with_replacement
from typing import Any, cast

import psycopg
from locking import locks_off
from psycopg import IsolationLevel, sql

import pg_stepping
from pg_stepping.compiler import compile_query
from pg_stepping.delta.stripes import whole_groups
from pg_stepping.ir import Table

RC, RR, SERIALIZABLE = (
    IsolationLevel.READ_COMMITTED,
    IsolationLevel.REPEATABLE_READ,
    IsolationLevel.SERIALIZABLE,
)
RETRIED = ("40001", "40P01")
REFUSED = "0A000"
PATIENCE = 20.0  # seconds that a step may take before it counts as hung

Transaction = tuple[str, ...]
Order = tuple[int, ...]
Levels = tuple[IsolationLevel, IsolationLevel]


@dataclass(frozen=True)
class Shape:
    """Tables with their rows, views over them, and transactions by name.

    `{s}` in a statement is the number of its session. `joins` is whether a missed cross term can be missed;
    `fails` are the SQLSTATEs with which the tables' own constraints may refuse a statement.
    """

    schema: str
    views: dict[str, str]
    transactions: dict[str, Transaction]
    joins: bool = True
    fails: tuple[str, ...] = ()


@dataclass(frozen=True)
class Schedule:
    """Two transactions of a shape, and whose turn it is, step by step."""

    names: tuple[str, str]
    order: Order
    levels: Levels = (RC, RC)

    def __str__(self) -> str:
        turns = "".join("AB"[turn] for turn in self.order)
        levels = "/".join(level.name for level in self.levels)
        return f"{self.names[0]} | {self.names[1]} in {turns} at {levels}"


@dataclass
class Tally:
    """What a run of schedules came to."""

    schedules: int = 0
    waits: int = 0
    deadlocks: int = 0
    conflicts: int = 0
    refused: int = 0
    hints: set[str] = field(default_factory=set)  # of the refusals
    failed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    avoidable: list[str] = field(default_factory=list)  # aborts of single statements at READ COMMITTED


def pairs(shape: Shape) -> list[tuple[str, str]]:
    """Every pair of transactions, also of one with itself."""
    return list(combinations_with_replacement(shape.transactions, 2))


def orders(shape: Shape, names: tuple[str, str]) -> Iterator[Order]:
    """All orders of the steps of two transactions; of a transaction and itself, each up to symmetry."""
    a, b = (len(shape.transactions[name]) + 1 for name in names)
    for places in combinations(range(a + b), a):
        if names[0] != names[1] or places[0] == 0:
            yield tuple(int(i not in places) for i in range(a + b))


def all_schedules(shape: Shape, levels: Sequence[Levels] = ((RC, RC),)) -> list[Schedule]:
    return [
        Schedule(names, order, at)
        for at in levels
        for names in pairs(shape)
        for order in orders(shape, names)
    ]


def sample(schedules: list[Schedule], size: int) -> list[Schedule]:
    """Some of them, the same ones every time."""
    return random.Random(7).sample(schedules, min(size, len(schedules)))


class Session:
    """A connection and the thread that drives it."""

    def __init__(self, dsn: str, number: int) -> None:
        self.conn = psycopg.connect(dsn)
        self.conn.execute(
            f"SET deadlock_timeout = '10ms'; SET jit = off; SET statement_timeout = '{PATIENCE}s'"
        )  # type: ignore[arg-type]
        self.conn.commit()
        self.pid, self.number = self.conn.info.backend_pid, number
        self.thread = ThreadPoolExecutor(1)
        self.running: Future[Any] | None = None

    def begin(self, statements: Transaction, level: IsolationLevel) -> None:
        self.steps = [s.format(s=self.number) for s in statements]
        self.conn.isolation_level = level
        self.due = self.done = self.waits = 0
        self.waiting = False
        self.error: psycopg.Error | None = None

    @property
    def code(self) -> str:
        """The SQLSTATE with which the transaction failed; empty if it has not."""
        return (self.error.sqlstate or "lost") if self.error else ""

    @property
    def ready(self) -> bool:
        """Whether there is a step to start."""
        return self.running is None and not self.error and self.done < self.due

    def start(self) -> None:
        self.running = self.thread.submit(self._step, self.done)

    def _step(self, number: int) -> None:
        if number == len(self.steps):
            self.conn.commit()
        else:
            self.conn.execute(self.steps[number])  # type: ignore[arg-type]

    def finish(self) -> None:
        """Take note of a step that has come to its end."""
        assert self.running is not None
        error = self.running.exception()
        self.running, self.waiting = None, False
        self.done += 1
        if isinstance(error, psycopg.Error):
            self.error = error
            self.conn.rollback()
        elif error is not None:
            raise error

    def again(self) -> None:
        """Try the transaction anew, with nobody else there."""
        self.error = None
        try:
            with self.conn.transaction():
                for step in self.steps:
                    self.conn.execute(step)  # type: ignore[arg-type]
        except psycopg.Error as error:
            self.error = error

    def close(self) -> None:
        self.thread.shutdown()
        self.conn.close()


class Stage:
    """A database with a shape's tables and views, two sessions, and an observer who resets and checks."""

    def __init__(
        self,
        dsn: str,
        shape: Shape,
        language: str,
        stack: ExitStack,
        mode: str = "immediate",
        stripes: int = 0,
    ) -> None:
        self.shape, self.mode = shape, mode
        with psycopg.connect(dsn) as conn:
            conn.execute(shape.schema)  # type: ignore[arg-type]
            for name, query in shape.views.items():
                pg_stepping.create_view(conn, name, query, language=language, mode=mode, stripes=stripes)
            prepare(conn, shape, stripes, mode)
        self.observer = stack.enter_context(psycopg.connect(dsn, autocommit=True))
        self.sessions = Session(dsn, 1), Session(dsn, 2)
        for session in self.sessions:
            stack.callback(session.close)

    def play(self, schedule: Schedule) -> int | None:
        """Run a schedule to its end; the turn at which a session first had to wait."""
        first_wait = None
        self.seen_wrong: list[str] = []  # in deferred mode every snapshot is looked at
        for session, name, level in zip(self.sessions, schedule.names, schedule.levels, strict=True):
            session.begin(self.shape.transactions[name], level)
        for i, turn in enumerate(schedule.order):
            self.sessions[turn].due += 1
            self._proceed(turn)
            if self.mode == "deferred" and self.scalar("SELECT harness.wrong()"):
                self.seen_wrong.append(f"{schedule}, after step {i}: {self.differences()}")
            if first_wait is None and any(s.waits for s in self.sessions):
                first_wait = i
        return first_wait

    def _proceed(self, turn: int) -> None:
        """Run what is due, until each session has done it or waits for the other."""
        moved = True
        while moved:
            moved = False
            for session in (self.sessions[turn], self.sessions[1 - turn]):
                if session.ready:
                    session.start()
                if session.running is not None:
                    self._settle(session)
                    moved |= session.running is None
            both = [s.running for s in self.sessions if s.running is not None]
            if len(both) == 2:  # each waits for the other: Postgres will end it
                assert wait(both, PATIENCE, FIRST_COMPLETED).done, "two sessions hang"
                moved = True

    def _settle(self, session: Session) -> None:
        """Let the session's step come to its end, or to a wait for the other session."""
        assert session.running is not None
        wait([session.running], 0 if session.waiting else 0.003)
        while not session.running.done():
            if self._blocked(session):
                session.waits += not session.waiting
                session.waiting = True
                return
            wait([session.running], 0.001)
        session.finish()

    def _blocked(self, session: Session) -> bool:
        other = self.sessions[2 - session.number]
        row = self.observer.execute(
            "SELECT %s = ANY (pg_blocking_pids(%s))", [other.pid, session.pid]
        ).fetchone()
        return bool(row and row[0])

    def close_schedule(self, schedule: Schedule, tally: Tally) -> None:
        """Retry what was a victim, count, check the views, and bring the rows back."""
        single = all(len(s.steps) == 1 for s in self.sessions) and schedule.levels == (RC, RC)
        for session in self.sessions:
            tally.waits += session.waits
            tally.deadlocks += session.code == "40P01"
            tally.conflicts += session.code == "40001"
            if single and session.code and session.code not in self.shape.fails:
                tally.avoidable.append(f"{schedule}: {session.error}")
            if session.code in RETRIED:
                session.again()
            if session.code not in ("", REFUSED, *self.shape.fails):
                tally.failed.append(f"{schedule}: {session.error}")
            if session.error and session.code == REFUSED:
                tally.refused += 1
                tally.hints.add(session.error.diag.message_hint or "")
        tally.wrong += self.seen_wrong
        if self.mode == "deferred":
            for name in self.shape.views:
                self.scalar(f"SELECT stepping.apply('{name}')")
        if self.scalar("SELECT harness.wrong() + harness.wrong_state()"):
            tally.wrong.append(f"{schedule}: {self.differences()}")
        self.scalar("SELECT harness.reset()")

    def differences(self) -> dict[str, list[pg_stepping.Difference]]:
        found = {name: pg_stepping.verify(self.observer, name) for name in self.shape.views}
        return {name: differences for name, differences in found.items() if differences}

    def scalar(self, query: str) -> Any:
        row = self.observer.execute(query).fetchone()  # type: ignore[arg-type]
        return row[0] if row else None

    def run(self, schedules: Iterable[Schedule], until_wrong: bool = False) -> Tally:
        """Play the schedules. Where one session waits only the other can go on, so schedules that differ
        only after that are the same one: it is played once."""
        tally = Tally()
        waited: set[tuple[tuple[str, str], Levels, Order]] = set()
        for schedule in schedules:
            key = (schedule.names, schedule.levels)
            tally.schedules += 1
            if any((*key, schedule.order[: i + 1]) in waited for i in range(len(schedule.order))):
                continue
            first_wait = self.play(schedule)
            self.close_schedule(schedule, tally)
            if first_wait is not None:
                waited.add((*key, schedule.order[: first_wait + 1]))
            if tally.wrong and until_wrong:
                break
        assert not self.differences()
        return tally


def prepare(conn: psycopg.Connection[Any], shape: Shape, stripes: int = 0, mode: str = "immediate") -> None:
    """Make functions that bring all rows back, and that count what is wrong in views and state tables."""
    sources = [r[0] for r in conn.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")]  # fmt: skip
    definitions = [
        compile_query(conn, Table("public", n), query, stripes=stripes) for n, query in shape.views.items()
    ]
    stages = [program for d in definitions for program in d.programs]
    logs = [r[0] for r in conn.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '__(log_[0-9]+|keys)$'")]  # fmt: skip
    tables = (
        [("public", s) for s in sources]
        + [("stepping", log) for log in logs]
        + [("stepping", p.stage.name) for p in stages]
    )
    conn.execute("CREATE SCHEMA harness")
    resets, checks, held_rows = [], ["SELECT 1 FROM stepping.waiting"], ["SELECT 1 WHERE false"]
    for schema, name in tables:
        table, copy = sql.Identifier(schema, name).as_string(), sql.Identifier("harness", name).as_string()
        conn.execute(f"CREATE TABLE {copy} AS TABLE {table}")  # type: ignore[arg-type]
        resets.append(f"DELETE FROM {table}; INSERT INTO {table} SELECT * FROM {copy};")
    for p in stages:
        table = (
            whole_groups(p.stage)
            if p.stage.stripes
            else f"stepping.{sql.Identifier(p.stage.name).as_string()}"
        )
        into, _, rows = p.fill.partition("\n")
        listed = into[into.index("(") + 1 : into.rindex(")")]
        held_rows += _unequal(f"SELECT {listed} FROM {table} AS held", rows)
        if p.keys is not None and p.stage.by and mode == "immediate":
            columns = ", ".join(sql.Identifier(c).as_string() for c in p.stage.by)
            there = f"SELECT {columns}, 1 FROM stepping.{sql.Identifier(p.keys.table.name).as_string()}"
            held_rows += _unequal(there, p.keys.fill.partition("\n")[2])
    for name in shape.views:
        row = conn.execute("SELECT recompute FROM stepping.maintained_view WHERE view_name = %s", [name])
        checks += _unequal(f"TABLE {name}", cast("tuple[str]", row.fetchone())[0])
    conn.execute(
        f"""CREATE FUNCTION harness.reset() RETURNS void LANGUAGE plpgsql SET session_replication_role = replica
            AS $harness$ BEGIN {" ".join(resets)} END $harness$"""  # type: ignore[arg-type]
    )
    for function, queries in (("wrong", checks), ("wrong_state", held_rows)):
        counted = " UNION ALL ".join(f"({query})" for query in queries)
        conn.execute(
            f"""CREATE FUNCTION harness.{function}() RETURNS bigint LANGUAGE plpgsql SET jit = off
                AS $harness$ BEGIN RETURN (SELECT count(*) FROM ({counted}) AS wrong); END $harness$"""  # type: ignore[arg-type]
        )


def _unequal(a: str, b: str) -> list[str]:
    return [f"SELECT 1 FROM (({x}) EXCEPT ALL ({y})) AS differ" for x, y in ((a, b), (b, a))]


@contextmanager
def stage(
    dsn: str, shape: Shape, language: str, *, locks: bool = True, mode: str = "immediate", stripes: int = 0
) -> Iterator[Stage]:
    """A stage for a shape in an empty database with pg_stepping in it."""
    with ExitStack() as stack:
        with nullcontext() if locks else locks_off():
            made = Stage(dsn, shape, language, stack, mode, stripes)
        yield made
