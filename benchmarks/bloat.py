"""How a state table grows under hot groups, by its fillfactor: `python -m benchmarks.bloat`.

10,000 groups; 10,000 inserts, each a transaction, into ten of them that lie on pages of others; as many that
are spread over all; then into the ten while another session holds a snapshot, and after it. Autovacuum is
off: what is shown is what pruning alone leaves until a VACUUM comes. `hot` is the share of updates that wrote
no index.
"""

from __future__ import annotations

import time

import psycopg

import pg_stepping
from pg_stepping import devserver

GROUPS, INSERTS = 10_000, 10_000
QUERY = "SELECT meter_id, sum(value) AS value, count(*) AS n FROM reads GROUP BY meter_id"
SIZES = """
SELECT pg_relation_size('stepping.usage'), pg_indexes_size('stepping.usage'), n_tup_hot_upd, n_tup_upd
FROM pg_stat_user_tables WHERE relid = 'stepping.usage'::regclass"""


def main() -> None:
    print("fillfactor: table, index when filled; after inserts into hot groups; all; hot, snapshot; hot")
    with devserver.start(
        variables=("PG_STEPPING_DSN",), settings={"autovacuum": "off", "fsync": "off"}
    ) as server:
        for fillfactor in (100, 90, 70):
            print(f"{fillfactor}: {'; '.join(_measured(server.dsn, fillfactor))}", flush=True)


def _measured(dsn: str, fillfactor: int) -> list[str]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        pg_stepping.init(conn)
        conn.execute(f"""DROP TABLE IF EXISTS reads; CREATE TABLE reads (meter_id integer, value float8);
            INSERT INTO reads SELECT i, 1 FROM generate_series(1, {GROUPS}) AS i""")  # type: ignore[call-overload]
        pg_stepping.create_view(conn, "usage", QUERY, language="plpgsql")
        conn.execute(f"ALTER TABLE stepping.usage SET (fillfactor = {fillfactor})")  # type: ignore[call-overload]
        conn.execute("VACUUM FULL stepping.usage")
        size = conn.execute(SIZES).fetchone()
        assert size is not None
        shown = [f"{size[0] // 1024} kB {size[1] // 1024} kB"]
        hot, updates = size[2:]
        hot_keys, all_keys = f"1 + (i % 10) * {GROUPS // 10}", f"1 + i * 7919 % {GROUPS}"
        with psycopg.connect(dsn) as other:
            for key, held in ((hot_keys, False), (all_keys, False), (hot_keys, True), (hot_keys, False)):
                if held:
                    other.execute(
                        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM reads"
                    )
                began = time.perf_counter()
                conn.execute(f"""DO $$BEGIN FOR i IN 1 .. {INSERTS} LOOP
                    INSERT INTO reads VALUES ({key}, 1); COMMIT; END LOOP; END$$""")  # type: ignore[call-overload]
                took = time.perf_counter() - began
                other.rollback()
                conn.execute("SELECT pg_stat_force_next_flush()")
                time.sleep(0.5)
                size = conn.execute(SIZES).fetchone()
                assert size is not None
                share = (size[2] - hot) / max(size[3] - updates, 1)
                hot, updates = size[2:]
                shown.append(
                    f"{size[0] // 1024} kB {size[1] // 1024} kB, hot {share:.0%},"
                    f" {took / INSERTS * 1e6:.0f} us"
                )
        pg_stepping.drop_view(conn, "usage")
        return shown


if __name__ == "__main__":
    main()
