"""What statistics cost a maintained insert: `python -m benchmarks.statistics`.

Single-row inserts, one transaction of them at a time; the contenders take turns. Prints the processor time of
a row, and the median of its ratio to that of the same round as it is: with track_functions = all, and without
the triggers for replicas. Where the server is no process of this machine it is the time that passes.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import psycopg

import pg_stepping
from pg_stepping import devserver

ROUNDS, ROWS = 25, 4000
INSERT = f"""DO $$BEGIN FOR i IN 1 .. {ROWS} LOOP
    INSERT INTO reads VALUES (1 + i % 100, '2024-01-01', 1);
END LOOP; END$$"""
QUERY = """SELECT m.owner, r.day, sum(r.value) AS value
FROM reads r JOIN meters m ON m.id = r.meter_id GROUP BY 1, 2"""


def main() -> None:
    with devserver.start(variables=("PG_STEPPING_DSN",)) as server, psycopg.connect(server.dsn) as conn:
        pg_stepping.init(conn)
        conn.execute("""CREATE TABLE meters (id integer PRIMARY KEY, owner integer);
            CREATE TABLE reads (meter_id integer, day date, value float8);
            INSERT INTO meters SELECT i, i FROM generate_series(1, 100) AS i""")
        pg_stepping.create_view(conn, "usage", QUERY, language="plpgsql")
        conn.commit()
        contenders = {
            "as it is": "SET LOCAL track_functions = 'none'",
            "track_functions = all": "SET LOCAL track_functions = 'all'",
            "no replica triggers": "DROP TRIGGER stepping_replica ON reads;"
            " DROP TRIGGER stepping_replica_truncate ON reads",
        }
        times: dict[str, list[float]] = {name: [] for name in contenders}
        clock = Path(f"/proc/{conn.info.backend_pid}/schedstat")  # nanoseconds on a processor come first
        ours = server.cluster is not None and clock.exists()
        for _ in range(ROUNDS + 1):
            for name, before in contenders.items():
                conn.execute(before)  # type: ignore[call-overload]
                conn.execute(INSERT)  # type: ignore[call-overload]  # plans are made
                began = _seconds(clock, ours)
                conn.execute(INSERT)  # type: ignore[call-overload]
                times[name].append(_seconds(clock, ours) - began)
                conn.rollback()
        for name, taken in times.items():
            ratios = [a / b for a, b in zip(taken[1:], times["as it is"][1:], strict=True)]
            median = statistics.median(taken[1:])
            print(f"{name:24} {median / ROWS * 1e6:8.2f} us a row  {statistics.median(ratios):6.3f}")


def _seconds(clock: Path, ours: bool) -> float:
    return int(clock.read_text().split()[0]) / 1e9 if ours else time.perf_counter()


if __name__ == "__main__":
    main()
