"""The command `pg-stepping worker`: applies views in deferred mode, until it is told to stop.

However many workers run, each view is applied by one of them: the one that has the view's lock, which ends
with its session. A worker that is killed leaves nothing half done, since applying is one statement.

Of a view whose logs are empty it holds a second lock, and waits: a writer who meets that notifies (see
stepping.logged()). One who came before the lock, and commits after the look at the logs, is told apart by the
snapshot: until all transactions of then have ended, the worker looks again and again.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import click
import psycopg

from pg_stepping.backend.deferred import wait_lock
from pg_stepping.catalog import has_catalog
from pg_stepping.delta.terms import regclass
from pg_stepping.frontend.postgres import Connection, execute
from pg_stepping.ir import Table
from pg_stepping.logs import vacuum

CHANNEL = "stepping"
STEP = 100_000
_SLICE = 0.2  # seconds after which a waiting worker looks whether it shall stop
_ROUND = 5.0  # seconds after which it looks for new views, and for those whose worker is gone
_RETRY = (0.1, 10.0)  # the first and the longest wait for a server that is away, in seconds
MUCH = 10_000  # changes after which a log is vacuumed
_WAITING = """
SELECT schema_name, view_name, pending, coalesce(extract(epoch FROM age), 0) FROM stepping.deferred_view"""
_CATALOG = "SELECT to_regclass('stepping.deferred_view') IS NOT NULL"  # of whatever version: it works on
_VIEWS = """
SELECT schema_name, view_name, stages[cardinality(stages)] FROM stepping.maintained_view
WHERE mode = 'deferred'
  AND to_regclass(concat(quote_ident(schema_name), '.', quote_ident(view_name))) IS NOT NULL ORDER BY 1, 2"""
_MINE = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
_LEFT = "SELECT pg_advisory_unlock(hashtextextended(%s, 0))"
_LOOK = """
SELECT stepping.count_pending(%s, %s), pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
    pg_snapshot_xmax(pg_current_snapshot())::text::bigint"""


@dataclass(frozen=True, slots=True)
class Pending:
    """What waits in the logs of a view: how many changes, and for how many seconds the oldest has."""

    view: Table
    changes: int
    age: float


def pending_of(conn: Connection) -> list[Pending]:
    """What waits, for each view in deferred mode."""
    if not has_catalog(conn):
        return []
    return [Pending(Table(s, v), int(n), float(age)) for s, v, n, age in execute(conn, _WAITING)]


@dataclass(slots=True)
class _Watched:
    """A view that this worker applies.

    `since` is when it was seen that something waits; `told`: writers will notify; `until` is the transaction
    before which all must have ended, for the logs to be surely empty, and None when they are.
    """

    view: Table
    stage: str
    since: float | None = None
    told: bool = False
    until: int | None = None
    taken: int = 0

    @property
    def sleeps(self) -> bool:
        return self.told and self.until is None


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
        self._mine: dict[Table, _Watched] = {}
        self._missing: set[str] = set()

    def stop(self, *_: object) -> None:
        """Stop after the changes that are being applied."""
        self.stopping = True

    def run(self) -> None:
        """Work until `stop`; a server that is away is tried again, ever less often."""
        wait = _RETRY[0]
        while not self.stopping:
            try:
                with psycopg.connect(
                    self.dsn, autocommit=True, fallback_application_name="pg-stepping worker"
                ) as conn:
                    self._mine.clear()
                    conn.execute(f"LISTEN {CHANNEL}")
                    wait = _RETRY[0]
                    self._work(conn)
            except psycopg.OperationalError as error:
                self.say(f"the server is away, trying again in {wait:.1f} s: {str(error).strip()}")
                self._pause(wait)
                wait = min(wait * 2, _RETRY[1])

    def _work(self, conn: Connection) -> None:
        listed = float("-inf")
        while not self.stopping:
            if time.monotonic() - listed >= _ROUND:
                self._take_views(conn)
                listed = time.monotonic()
            for watched in list(self._mine.values()):
                if not self.stopping and not watched.sleeps:
                    self._look(conn, watched)
            busy = not all(w.sleeps for w in self._mine.values())
            pause = min(self.interval, _SLICE) if busy else listed + _ROUND - time.monotonic()
            for payload in self._told(conn, pause):
                if not payload:  # by hand
                    listed = float("-inf")
                for watched in self._mine.values():
                    if payload in ("", watched.stage):
                        self._wake(conn, watched, at_once=not payload)

    def _told(self, conn: Connection, seconds: float) -> list[str]:
        """Wait to be told of changes."""
        until = time.monotonic() + seconds
        while not self.stopping:
            left = until - time.monotonic()
            found = [n.payload for n in conn.notifies(timeout=max(0.0, min(left, _SLICE)), stop_after=1)]
            if found or left <= 0:
                return found
        return []

    def _take_views(self, conn: Connection) -> None:
        """Take the views that no other worker has, and forget those that are gone; look at all once more."""
        for watched in self._mine.values():
            watched.until = 0 if watched.sleeps else watched.until
        rows = execute(conn, _VIEWS) if execute(conn, _CATALOG).fetchone() == (True,) else ()
        there = [(Table(s, v), stage) for s, v, stage in rows]
        for view in self._mine.keys() - {view for view, _ in there}:
            self._leave(conn, self._mine[view])
        missing = set(self.names) - {name for view, _ in there for name in (view.name, str(view))}
        for name in sorted(missing - self._missing):
            self.say(f"there is no view {name} in deferred mode: waiting for it")
        self._missing = missing
        for view, stage in there:
            chosen = not self.names or {view.name, str(view)} & set(self.names)
            if not chosen or view in self._mine:
                continue
            if execute(conn, _MINE, [f"stepping worker {view}"]).fetchone() == (True,):
                self._mine[view] = _Watched(view, stage)

    def _leave(self, conn: Connection, watched: _Watched) -> None:
        """Let the next round see who takes it."""
        self._hush(conn, self._mine.pop(watched.view))
        execute(conn, _LEFT, [f"stepping worker {watched.view}"])

    def _look(self, conn: Connection, watched: _Watched) -> None:
        """Apply a view if it is due; wait for news of it if there is nothing."""
        try:
            row = execute(conn, _LOOK, [watched.stage, self.threshold]).fetchone()
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:  # its logs have just gone
            self.say(f"{watched.view}: {str(error).strip()}")
            self._leave(conn, watched)
            return
        assert row is not None
        waits, oldest, newest = row
        now = time.monotonic()
        if waits:
            self._hush(conn, watched)
            watched.since = now if watched.since is None else watched.since
            if waits >= self.threshold or now - watched.since >= self.interval:
                self._apply(conn, watched)
        elif not watched.told:
            execute(conn, "SELECT pg_advisory_lock(%s)", [wait_lock(watched.stage)])
            watched.told, watched.until = True, newest
        elif watched.until is not None and oldest >= watched.until:
            watched.until = None
            self._vacuum(conn, watched, shorter=True)

    def _wake(self, conn: Connection, watched: _Watched, *, at_once: bool) -> None:
        self._hush(conn, watched)
        now = time.monotonic()
        watched.since = now - self.interval if at_once else watched.since or now

    def _hush(self, conn: Connection, watched: _Watched) -> None:
        """Let writers no longer notify."""
        if watched.told:
            execute(conn, "SELECT pg_advisory_unlock(%s)", [wait_lock(watched.stage)])
        watched.told, watched.until = False, None

    def _apply(self, conn: Connection, watched: _Watched) -> None:
        """Apply what waits, step by step, each in a transaction of its own."""
        watched.since = None
        began, taken = time.monotonic(), 0
        while not self.stopping:
            try:
                sql = "SELECT stepping.apply(%s::text::regclass, %s)"
                row = execute(conn, sql, [regclass(watched.view), STEP]).fetchone()
            except psycopg.OperationalError:
                raise
            except psycopg.Error as error:  # of this view; it must not keep the others from being applied
                self.say(f"{watched.view}: {str(error).strip()}")
                return
            step = int(row[0]) if row else 0
            taken += step
            if step < STEP // 2:  # a part by keys is only about as large as it was asked for
                break
            self.say(f"{watched.view}: {taken} changes so far")
        self.say(f"{watched.view}: {taken} changes applied in {time.monotonic() - began:.3f} s")
        watched.taken += taken
        if watched.taken >= MUCH:
            self._vacuum(conn, watched, shorter=False)

    def _vacuum(self, conn: Connection, watched: _Watched, *, shorter: bool) -> None:
        if watched.taken:
            vacuum(conn, watched.stage, shorter=shorter)
            watched.taken = 0 if shorter else 1

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self.stopping and time.monotonic() < until:
            time.sleep(min(_SLICE, seconds))


@click.command()
@click.argument("names", nargs=-1)
@click.option(
    "--interval",
    default=1.0,
    type=click.FloatRange(min=0),
    show_default=True,
    help="Seconds that a change may wait.",
)
@click.option(
    "--threshold",
    default=10_000,
    type=click.IntRange(min=1),
    show_default=True,
    help="Changes that are applied at once.",
)
@click.pass_context
def worker(ctx: click.Context, names: tuple[str, ...], interval: float, threshold: int) -> None:
    """Apply the views NAMES, or all in deferred mode, until SIGTERM or Ctrl-C.

    Writers wake it; `NOTIFY stepping` makes it apply at once. Several workers share the views; none is
    applied by two.
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
