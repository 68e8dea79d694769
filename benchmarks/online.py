"""How long a writer waits while a view is made online: `python -m benchmarks.online [READS]`."""

from __future__ import annotations

import sys
import threading
import time

import psycopg

import pg_stepping
from pg_stepping import devserver

QUERY = """SELECT m.owner, r.day, sum(r.value) AS value
FROM reads r JOIN meters m ON m.id = r.meter_id GROUP BY 1, 2"""


def main(reads: int) -> None:
    with devserver.start(variables=("PG_STEPPING_DSN",)) as server:
        with psycopg.connect(server.dsn) as conn:
            pg_stepping.init(conn)
            conn.execute(f"""CREATE TABLE meters (id integer PRIMARY KEY, owner integer);
                CREATE TABLE reads (meter_id integer, day date, value float8);
                CREATE INDEX ON reads (meter_id);
                INSERT INTO meters SELECT i, i / 3 FROM generate_series(1, 10000) AS i;
                INSERT INTO reads SELECT 1 + i % 10000, date '2024-01-01' + i / 100000, i / 8.0
                FROM generate_series(1, {reads}) AS i""")  # type: ignore[call-overload]
        done = threading.Event()
        waited: list[float] = []

        def write() -> None:
            with psycopg.connect(server.dsn, autocommit=True) as session:
                while not done.is_set():
                    began = time.perf_counter()
                    session.execute(
                        "INSERT INTO reads VALUES (%s, '2024-01-01', 1)", [1 + len(waited) % 10000]
                    )
                    waited.append(time.perf_counter() - began)

        writer = threading.Thread(target=write)
        writer.start()
        time.sleep(1)
        began = time.perf_counter()
        try:
            with psycopg.connect(server.dsn, autocommit=True) as conn:
                pg_stepping.create_view_online(conn, "usage", QUERY, language="plpgsql")
        finally:
            took = time.perf_counter() - began
            done.set()
            writer.join()
        with psycopg.connect(server.dsn) as conn:
            assert pg_stepping.verify(conn, "usage") == []
        ordered = sorted(waited)
        print(
            f"{reads} reads: made in {took:.1f} s, beside {len(ordered)} inserts; an insert took"
            f" {ordered[len(ordered) // 2] * 1e3:.2f} ms in the median, {ordered[-1] * 1e3:.1f} ms at most"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
