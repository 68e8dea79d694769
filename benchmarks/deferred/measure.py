"""The databases, and what is measured in them: rates of inserts, of applying, and of SELECT by key."""

from __future__ import annotations

import math
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString, cast

import psycopg
from psycopg.conninfo import make_conninfo

import pg_stepping
from benchmarks.contenders import Connection
from benchmarks.contenders import read as read_shared
from benchmarks.databases import client_of, copy, run
from pg_stepping import devserver

HERE = Path(__file__).parent
PREFIX = "pg_stepping_bench_deferred_"
NONE, HAND, IMMEDIATE, STRIPED, DEFERRED = CONTENDERS = ("none", "hand", "immediate", "striped", "deferred")
# What any view costs that adds rows to those of a state table: this one adds those of an empty table.
LEAST = """
CREATE SCHEMA least;
CREATE TABLE least.added (LIKE daily_usage);
CREATE VIEW least.daily_usage AS
SELECT user_id, meter_id, date, sum_value AS value FROM stepping.daily_usage
UNION ALL SELECT * FROM least.added;
VACUUM ANALYZE least.added;
"""
TITLES = dict(
    zip(CONTENDERS, ("no view", "by hand", "immediate", "immediate, 8 stripes", "deferred"), strict=True)
)
STRIPES = 8
USERS, METERS, DAYS, READS_A_DAY = 1000, 10_000, 20, 2
Rates = dict[str, float]


@dataclass(frozen=True, slots=True)
class Workload:
    """A query, its tables with rows, the same by hand, and the statements that write, by what they are."""

    name: str
    view: str
    query: str
    by_hand: LiteralString
    load: Callable[[Connection], Any]
    writes: tuple[tuple[str, Path], ...]


def _read(name: str) -> LiteralString:
    return cast(LiteralString, (HERE / name).read_text())


def _load_seed(conn: Connection) -> None:
    conn.execute(read_shared("schema.sql"))
    conn.execute("CALL bench.load(%s, %s, %s, %s)", [USERS, METERS, DAYS, READS_A_DAY])


SEED = Workload(
    "the seed query",
    "daily_usage",
    read_shared("query.sql"),
    read_shared("hand_written.sql"),
    _load_seed,
    (
        ("spread keys", HERE.parent / "insert.pgbench"),
        ("one hot group", HERE.parent / "hot.pgbench"),
    ),
)
Q01 = Workload(
    "TPC-H Q1",
    "pricing_summary",
    (HERE.parents[1] / "tests" / "workloads" / "tpch" / "q01.sql").read_text(),
    _read("q01_hand_written.sql"),
    lambda conn: conn.execute(_read("q01_schema.sql")),
    (("four groups", HERE / "q01_spread.pgbench"), ("one hot group", HERE / "q01_hot.pgbench")),
)


@dataclass(frozen=True, slots=True)
class Arena:
    """A database for each contender, copies of the same loaded one."""

    server: devserver.Server
    workload: Workload
    pgbench: Path
    seconds: float
    rounds: int

    def dsn(self, contender: str) -> str:
        return make_conninfo(self.server.dsn, dbname=PREFIX + contender)

    def connect(self, contender: str) -> Connection:
        return psycopg.connect(self.dsn(contender), autocommit=True)

    def rate(
        self, contender: str, script: Path, clients: int, protocol: str = "prepared", commit: str = "off"
    ) -> float:
        """Transactions a second of one statement each, at this synchronous_commit; NaN if one failed. The
        contender `least` is in the database of deferred mode, in a schema of its own."""
        path, contender = ("least", DEFERRED) if contender == "least" else ("public", contender)
        done = subprocess.run(
            [str(self.pgbench), "-n", "-M", protocol, "-c", str(clients), "-j", "2",
             "-T", str(math.ceil(self.seconds)), "-D", f"meters={METERS}", "-D", f"users={USERS}",
             "-f", str(script),
             f"{self.dsn(contender)} options='-c synchronous_commit={commit} -c search_path={path}'"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        lines = [line for line in done.stdout.splitlines() if line.startswith("tps")]
        return float(lines[0].split()[2]) if lines and not done.returncode else math.nan

    def rates(
        self,
        contenders: Sequence[str],
        script: Path,
        clients: int,
        protocol: str = "prepared",
        commit: str = "off",
    ) -> Rates:
        """The median of each, the order rotated from round to round."""
        found: dict[str, list[float]] = {c: [] for c in contenders}
        for i in range(self.rounds):
            shift = i % len(contenders)
            for contender in (*contenders[shift:], *contenders[:shift]):
                found[contender].append(self.rate(contender, script, clients, protocol, commit))
        run(self.server, "CHECKPOINT")
        return {c: statistics.median(r) for c, r in found.items()}


@contextmanager
def arena(
    server: devserver.Server, workload: Workload, seconds: float, rounds: int, say: Callable[[str], Any]
) -> Iterator[Arena]:
    """The databases, with the views; they are dropped at the end."""
    pgbench = client_of(server, "pgbench")
    if pgbench is None:
        raise SystemExit("there is no pgbench on this machine")
    there = Arena(server, workload, pgbench, seconds, rounds)
    say(f"loading {workload.name}")
    try:
        copy(server, PREFIX + "loaded", "template0")
        with there.connect("loaded") as conn:
            workload.load(conn)
            conn.execute("VACUUM ANALYZE")
        for contender in CONTENDERS:
            copy(server, PREFIX + contender, PREFIX + "loaded")
            run(
                server, "ALTER DATABASE {} SET stepping.threshold = 0", PREFIX + contender
            )  # no writer applies
            with there.connect(contender) as conn:
                _install(conn, contender, workload)
                conn.execute("VACUUM ANALYZE")
        yield there
    finally:
        for name in (*CONTENDERS, "loaded"):
            run(server, "DROP DATABASE IF EXISTS {} WITH (FORCE)", PREFIX + name)


def _install(conn: Connection, contender: str, workload: Workload) -> None:
    if contender == HAND:
        conn.execute(workload.by_hand)
    elif contender != NONE:
        pg_stepping.create_view(
            conn,
            workload.view,
            workload.query,
            language="plpgsql",
            mode="deferred" if contender == DEFERRED else "immediate",
            stripes=STRIPES if contender == STRIPED else 0,
        )


def apply_rates(there: Arena, rows: int) -> list[float]:
    """Changes applied a second: of `rows` inserted reads in as many new groups, then of others in these."""
    found = []
    with there.connect(DEFERRED) as conn:
        pg_stepping.apply(conn, there.workload.view)
        conn.execute("VACUUM ANALYZE")
        for value in (1, 2):
            conn.execute(
                """INSERT INTO reads SELECT bench.meter(i %% %s + 1), bench.half_hour(100 + i / %s, 1), %s
                   FROM generate_series(0, %s - 1) AS i""",
                [METERS, METERS, value, rows],
            )
            start = time.perf_counter()
            applied = pg_stepping.apply(conn, there.workload.view)
            found.append(applied / (time.perf_counter() - start))
            assert applied == rows
    return found


def pend(there: Arena, rows: int) -> None:
    """Let so many inserted reads, of spread keys, wait in the log."""
    with there.connect(DEFERRED) as conn:
        pg_stepping.apply(conn, there.workload.view)
        conn.execute("VACUUM")
        conn.execute(
            """INSERT INTO reads SELECT bench.meter(i * 7919 %% %s + 1), bench.half_hour(i %% 20, 1), 1
               FROM generate_series(0, %s - 1) AS i""",
            [METERS, rows],
        )
