"""What statistics cost a maintained insert: `python -m benchmarks.statistics`.

Single-row inserts, one transaction of them at a time; the contenders take turns. Prints the medians and their
ratios: with track_functions = all against none, and with the replica trigger against without it.
"""

from __future__ import annotations

import statistics
import time

import psycopg

import pg_stepping
from pg_stepping import devserver

ROUNDS, ROWS = 15, 4000
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
            "no replica trigger": "DROP TRIGGER stepping_replica ON reads",
        }
        times: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(ROUNDS):
            for name, before in contenders.items():
                conn.execute(before)  # type: ignore[call-overload]
                began = time.perf_counter()
                conn.execute(INSERT)  # type: ignore[call-overload]
                times[name].append(time.perf_counter() - began)
                conn.rollback()
        base = statistics.median(times["as it is"])
        for name, taken in times.items():
            median = statistics.median(taken)
            print(f"{name:24} {median / ROWS * 1e6:8.2f} us a row  {median / base:6.3f}")


if __name__ == "__main__":
    main()
