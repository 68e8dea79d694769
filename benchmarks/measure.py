"""The measurements: contenders in turn, several rounds, medians."""

from __future__ import annotations

import math
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from benchmarks.contenders import FOLDER, Connection, Contender
from benchmarks.databases import Arena, Size

Times = dict[str, float]
SLOW = 20e6  # microseconds of a batch


@dataclass(frozen=True, slots=True)
class Question:
    """A function of statements.sql with its argument; `writes` tells whether a REFRESH would follow."""

    title: str
    call: str
    argument: int
    writes: bool = True


def questions(scale: int) -> tuple[Question, ...]:
    """What is asked in process; `scale` divides the numbers of statements and rows."""
    single, batch, large = 2000 // scale, 1000 // scale, 100_000 // scale
    return (
        Question("insert one read", "insert_one", single),
        Question("delete one read", "delete_one", single // 2),
        Question("update one read", "update_one", single // 2),
        Question("update that changes nothing", "update_nothing", single // 2),
        Question("move a meter to another user", "move_meter", 50),
        Question("rename a user", "rename_user", 200),
        Question(f"insert {batch:,} reads, new groups", "batch_new_groups", batch),
        Question(f"insert {large:,} reads, new groups", "batch_new_groups", large),
        Question(f"insert {large:,} reads, ten for each meter of one day", "batch_one_day", large),
        Question(f"insert {large:,} reads, existing groups", "batch_existing_groups", large),
        Question("select by key", "select_key", single, writes=False),
        Question("select one day", "select_date", 20, writes=False),
    )


def in_turn(contenders: tuple[Contender, ...], rounds: int, measure: Callable[[Contender], float]) -> Times:
    """The median of each contender, the order rotated from round to round; NaN if one of its runs failed."""
    found: dict[str, list[float]] = {c.name: [] for c in contenders}
    for i in range(rounds):
        shift = i % len(contenders)
        for contender in (*contenders[shift:], *contenders[:shift]):
            found[contender.name].append(measure(contender))
    return {
        name: math.nan if any(map(math.isnan, times)) else statistics.median(times)
        for name, times in found.items()
    }


def in_process(arena: Arena, size: Size, question: Question, rounds: int) -> Times:
    """Microseconds of one statement, or of one batch, inside the server; all of it is rolled back.

    With a materialized view every statement is followed by its REFRESH, so one of them is timed. A batch
    that takes too long runs once, cold.
    """
    slow: Times = {}

    def timed(conn: Connection, argument: int) -> float:
        row = conn.execute(cast(Any, f"SELECT bench.{question.call}(%s)"), [argument]).fetchone()
        assert row is not None
        return float(row[0])

    def measure(contender: Contender) -> float:
        refreshed = contender.refresh is not None and question.writes
        batch = question.call.startswith("batch")
        if contender.name in slow:
            return slow[contender.name]
        with arena.connect(contender, size) as conn:
            conn.execute("SET LOCAL jit = off")
            if not refreshed:
                took = timed(conn, question.argument if batch else 5)
                conn.rollback()
                if batch and took > SLOW:
                    slow[contender.name] = took
                    return took
            took = timed(conn, 1 if refreshed and not batch else question.argument)
            if refreshed and contender.refresh is not None:
                start = time.perf_counter()
                conn.execute(contender.refresh)
                took += (time.perf_counter() - start) * 1e6
            conn.rollback()
        return took

    if not question.writes:  # what was rolled back until now is not to be read
        for contender in arena.contenders:
            arena.vacuum(contender, size)
    arena.checkpoint()
    return in_turn(arena.contenders, rounds, measure)


def created(arena: Arena, size: Size, rounds: int) -> Times:
    """Microseconds to make the view, filled, on the loaded tables."""

    def measure(contender: Contender) -> float:
        with arena.connect(Contender("loaded", "", contender.install), size) as conn:
            start = time.perf_counter()
            contender.install(conn)
            took = time.perf_counter() - start
            conn.rollback()
        return took * 1e6

    return in_turn(arena.contenders, rounds, measure)


SPREAD, HOT, MIXED = ("insert",), ("hot",), ("insert@95", "move@5")


def end_to_end(
    arena: Arena, size: Size, scripts: tuple[str, ...], clients: int, commit: str, seconds: int, rounds: int
) -> Times | None:
    """Transactions a second by pgbench, of one statement each; None without pgbench on this machine.

    `scripts` are the names of pgbench files beside this one, with weights.
    """
    program = arena.pgbench()
    if program is None:
        return None

    files = []
    for script in scripts:
        name, at, weight = script.partition("@")
        files += ["-f", f"{FOLDER / name}.pgbench{at}{weight}"]

    def measure(contender: Contender) -> float:
        dsn = f"{arena.dsn(contender, size)} options='-c synchronous_commit={commit}'"
        done = subprocess.run(
            [str(program), "-n", "-M", "prepared", "-c", str(clients), "-j", "2", "-T", str(seconds),
             "-D", f"meters={size.meters}", "-D", f"users={size.users}", *files, dsn],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:  # what does not lock may find its rows corrupt, or there twice
            return math.nan
        line = next(line for line in done.stdout.splitlines() if line.startswith("tps"))
        return float(line.split()[2])

    arena.checkpoint()
    return in_turn(tuple(c for c in arena.contenders if c.refresh is None), rounds, measure)
