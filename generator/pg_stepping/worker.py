"""The command `pg-stepping worker`: applies views in deferred mode, until it is told to stop.

However many workers run, each view is applied by one of them: the one that has the view's lock, which ends
with its session. A worker that is killed leaves nothing half done, since applying is one statement.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import click
import psycopg

from pg_stepping.delta.terms import quote_table
from pg_stepping.frontend.postgres import Connection, execute
from pg_stepping.ir import Table

CHANNEL = "stepping"
_SLICE = 0.2  # seconds after which a waiting worker looks whether it shall stop
_RETRY = (0.1, 10.0)  # the first and the longest wait for a server that is away, in seconds
_WAITING = """
SELECT schema_name, view_name, pending, coalesce(extract(epoch FROM age), 0) FROM stepping.deferred_view"""
_MINE = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"


@dataclass(frozen=True, slots=True)
class Pending:
    """What waits in the logs of a view: how many changes, and for how many seconds the oldest has."""

    view: Table
    changes: int
    age: float


def pending_of(conn: Connection) -> list[Pending]:
    """What waits, for each view in deferred mode."""
    return [Pending(Table(s, v), int(n), float(age)) for s, v, n, age in execute(conn, _WAITING)]


class Worker:
    """Applies views past a threshold of changes, or with changes older than the interval.

    `names` are the views, as name or schema.name; without any it is all that are there.
    """

    def __init__(
        self,
        dsn: str,
        names: Sequence[str] = (),
        *,
        interval: float = 1.0,
        threshold: int = 10_000,
        say: Callable[[str], None] = print,
    ) -> None:
        self.dsn, self.names, self.interval, self.threshold, self.say = dsn, names, interval, threshold, say
        self.stopping = False
        self._mine: set[Table] = set()

    def stop(self, *_: object) -> None:
        """Stop after the view that is being applied."""
        self.stopping = True

    def run(self) -> None:
        """Work until `stop`; a server that is away is tried again, ever less often."""
        wait = _RETRY[0]
        while not self.stopping:
            try:
                with psycopg.connect(self.dsn, autocommit=True) as conn:
                    self._mine.clear()
                    conn.execute(f"LISTEN {CHANNEL}")
                    wait = _RETRY[0]
                    self._work(conn)
            except psycopg.OperationalError as error:
                self.say(f"the server is away, trying again in {wait:.1f} s: {str(error).strip()}")
                self._pause(wait)
                wait = min(wait * 2, _RETRY[1])

    def _work(self, conn: Connection) -> None:
        while not self.stopping:
            for waiting in pending_of(conn):
                if not self.stopping and self._is_due(waiting) and self._is_mine(conn, waiting.view):
                    self._apply(conn, waiting.view)
            until = time.monotonic() + self.interval
            while not self.stopping and (left := until - time.monotonic()) > 0:
                if list(conn.notifies(timeout=min(left, _SLICE), stop_after=1)):
                    break

    def _is_due(self, waiting: Pending) -> bool:
        chosen = not self.names or {waiting.view.name, str(waiting.view)} & set(self.names)
        due = waiting.changes >= self.threshold or waiting.age >= self.interval
        return bool(chosen) and waiting.changes > 0 and due

    def _is_mine(self, conn: Connection, view: Table) -> bool:
        if view not in self._mine:
            row = execute(conn, _MINE, [f"stepping worker {view}"]).fetchone()
            if row == (True,):
                self._mine.add(view)
        return view in self._mine

    def _apply(self, conn: Connection, view: Table) -> None:
        began = time.monotonic()
        try:
            row = execute(conn, "SELECT stepping.apply(%s::text::regclass)", [quote_table(view)]).fetchone()
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:  # of this view; it must not keep the others from being applied
            self.say(f"{view}: {str(error).strip()}")
            return
        taken = int(row[0]) if row else 0
        self.say(f"{view}: {taken} changes applied in {time.monotonic() - began:.3f} s")

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self.stopping and time.monotonic() < until:
            time.sleep(min(_SLICE, seconds))


@click.command()
@click.argument("names", nargs=-1)
@click.option("--interval", default=1.0, show_default=True, help="Seconds that a change may wait.")
@click.option("--threshold", default=10_000, show_default=True, help="Changes that are applied at once.")
@click.pass_context
def worker(ctx: click.Context, names: tuple[str, ...], interval: float, threshold: int) -> None:
    """Apply the views NAMES, or all in deferred mode, until SIGTERM or Ctrl-C.

    `NOTIFY stepping` makes it look at once. Several workers share the views; none is applied by two.
    """
    applying = Worker(
        ctx.obj, names, interval=interval, threshold=threshold, say=lambda text: click.echo(text, err=True)
    )
    before = {s: signal.signal(s, applying.stop) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        applying.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    click.echo("stopped", err=True)
