"""How long writers wait while a view is made, changed and repaired: `python -m benchmarks.online`.

Another maintained view reads that view, and is changed with it.

Two sessions insert, one row a transaction; one moves meters; one keeps a transaction with an insert open for
a fifth of a second at a time. For each operation: what it took, and what the inserts took meanwhile, after
what they took before it, and with both views in place and nothing else at work (they wait for the one that
stays open, then); and the longest time that a session waited for a lock on a table, of those above 10 ms that
the server noted.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
import psycopg

import pg_stepping
from pg_stepping import devserver

QUERY = """SELECT m.owner, r.day, sum(r.value) AS value
FROM reads r JOIN meters m ON m.id = r.meter_id GROUP BY 1, 2"""
READER = "SELECT owner, count(*) AS days, max(value) AS most FROM usage GROUP BY owner"
WAITED = re.compile(r"acquired (?:AccessShare|RowShare|RowExclusive)Lock on relation .* after ([0-9.]+) ms")
INSERT = "INSERT INTO reads VALUES (%s, '2024-01-01', 1)"


class Load:
    """Writers at work, and how long each insert took, in seconds."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.done = threading.Event()
        self.took: list[float] = []

    def insert(self, first: int) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as session:
            for i in self._until_done():
                began = time.perf_counter()
                session.execute(INSERT, [1 + (first + i) % 10000])
                self.took.append(time.perf_counter() - began)
                time.sleep(0.001)

    def move(self) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as session:
            for i in self._until_done():
                session.execute("UPDATE meters SET owner = owner + 1 WHERE id = %s", [1 + 7 * i % 10000])
                time.sleep(0.1)

    def linger(self) -> None:
        with psycopg.connect(self.dsn) as session:
            for i in self._until_done():
                session.execute(INSERT, [1 + i % 10000])
                time.sleep(0.2)
                session.commit()

    def _until_done(self) -> Iterator[int]:
        i = 0
        while not self.done.is_set():
            yield i
            i += 1

    @contextmanager
    def running(self) -> Iterator[None]:
        tasks: list[Callable[[], None]] = [lambda: self.insert(0), lambda: self.insert(5000)]
        threads = [threading.Thread(target=t) for t in (*tasks, self.move, self.linger)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.done.set()
            for thread in threads:
                thread.join()

    def since(self, start: int) -> str:
        ordered = sorted(self.took[start:])
        return (
            f"{len(ordered)} inserts: median {ordered[len(ordered) // 2] * 1e3:.2f} ms, 99.9 % below"
            f" {ordered[int(len(ordered) * 0.999)] * 1e3:.1f} ms, at most {ordered[-1] * 1e3:.1f} ms"
        )


@click.command()
@click.option("--reads", default=1_000_000, show_default=True)
def main(reads: int) -> None:
    noted = {"log_lock_waits": "on", "deadlock_timeout": "10ms"}
    with devserver.start(variables=(), kinds=devserver.KINDS[1:2], settings=noted) as server:
        assert server.cluster is not None
        log = server.cluster.folder / "log"
        with psycopg.connect(server.dsn) as conn:
            pg_stepping.init(conn)
            conn.execute(f"""CREATE TABLE meters (id integer PRIMARY KEY, owner integer);
                CREATE TABLE reads (meter_id integer, day date, value float8);
                INSERT INTO meters SELECT i, i / 3 FROM generate_series(1, 10000) AS i;
                INSERT INTO reads SELECT 1 + i % 10000, date '2024-01-01' + i / 100000, i / 8.0
                FROM generate_series(1, {reads}) AS i;
                CREATE INDEX ON reads (meter_id);
                CREATE INDEX ON reads (day);
                ANALYZE""")  # type: ignore[call-overload]
        load = Load(server.dsn)
        with load.running(), psycopg.connect(server.dsn, autocommit=True) as conn:
            time.sleep(5)
            print(f"{reads} reads; before: {load.since(0)}", flush=True)

            def measured(what: str, operation: Callable[[], object]) -> None:
                start, began = len(load.took), time.perf_counter()
                read = log.stat().st_size
                operation()
                with log.open("rb") as file:
                    file.seek(read)
                    waits = [float(ms) for ms in WAITED.findall(file.read().decode())]
                print(
                    f"{what}: {time.perf_counter() - began:.1f} s; {load.since(start)};"
                    f" {len(waits)} waits for a table, at most {max(waits, default=0):.1f} ms",
                    flush=True,
                )

            measured(
                "create", lambda: pg_stepping.create_view_online(conn, "usage", QUERY, language="plpgsql")
            )
            measured(
                "create what reads it",
                lambda: pg_stepping.create_view_online(conn, "owners", READER, language="plpgsql"),
            )
            measured("nothing, with both in place", lambda: time.sleep(20))
            changed = QUERY.replace(
                "sum(r.value) AS", "count(r.value) FILTER (WHERE r.value > 9) AS n, sum(r.value) AS"
            )
            measured("change both", lambda: pg_stepping.change_view(conn, "usage", changed, online=True))
            view = pg_stepping.installed(conn, "usage")
            assert view is not None
            table = view.stages[-1]
            conn.execute(f"UPDATE stepping.{table} SET n = n + 1 WHERE owner < 5 AND day < '2024-01-11'")  # type: ignore[call-overload]
            measured("repair", lambda: pg_stepping.repair(conn, "usage"))
        with psycopg.connect(server.dsn) as conn:
            assert pg_stepping.verify(conn, "usage") == []
            assert pg_stepping.verify(conn, "owners") == []


if __name__ == "__main__":
    main()
