"""The logs of deferred mode, on the seed's query.

`python -m benchmarks.logs apply [ROWS]`: how fast they are applied, in steps, and in how much memory.
`python -m benchmarks.logs keys [ROWS]`: the same of a view whose touched keys are computed anew.
`python -m benchmarks.logs steady [MINUTES]`: how long they get beside a worker while pgbench writes as fast
as it can.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg

import pg_stepping
from benchmarks.contenders import FOLDER, read
from pg_stepping import devserver
from pg_stepping.devserver import machine
from pg_stepping.frontend.postgres import Connection
from pg_stepping.worker import STEP, Worker

_SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "8GB", "autovacuum_naptime": "15s"}
_METERS = 10_000
_READS = f"""
INSERT INTO reads
SELECT bench.meter(1 + i * 7919 %% {_METERS}), bench.half_hour(i %% 20, i %% 48), bench.kwh(i)
FROM generate_series(1::bigint, %s) AS i"""
_MEDIANS = """
SELECT meter_id, percentile_cont(0.5) WITHIN GROUP (ORDER BY value) AS median, count(*) AS n
FROM reads GROUP BY meter_id"""
_STATE = """
SELECT (SELECT sum(pg_relation_size(oid)) / 8192 FROM pg_class WHERE relname ~ '^daily_usage__log_[0-9]+$'),
    d.pending, d.pending + coalesce(d.all_changes, 0)
FROM stepping.deferred_view AS d"""


def _make(conn: Connection, query: str) -> None:
    pg_stepping.init(conn)
    conn.execute(read("schema.sql"))
    conn.execute("CALL bench.load(1000, %s, 10, 2)", [_METERS])
    conn.execute("VACUUM ANALYZE")
    pg_stepping.create_view(conn, "daily_usage", query, language="plpgsql", mode="deferred")


def _apply(conn: Connection, rows: int) -> None:
    for start in range(0, rows, 1_000_000):
        conn.execute(_READS, [min(rows - start, 1_000_000)])  # type: ignore[arg-type]
    conn.execute("ANALYZE")
    pid, took = conn.info.backend_pid, []
    used, began = _used(pid), time.perf_counter()
    while True:
        step = time.perf_counter()
        if pg_stepping.apply(conn, "daily_usage", limit=STEP) == 0:
            break
        took.append(time.perf_counter() - step)
    seconds, processor = time.perf_counter() - began, _used(pid) - used
    print(
        f"{rows} changes: {rows / seconds:,.0f} a second, {rows / processor:,.0f} a second of the processor;"
        f" a step of {STEP} took {sorted(took)[len(took) // 2]:.2f} s in the median, {max(took):.2f} s at"
        f" most; the session has {_memory(pid)} of memory"
    )
    if rows <= 2_000_000:
        assert pg_stepping.verify(conn, "daily_usage") == []


def _used(pid: int) -> float:
    """The seconds of the processor that a process of this machine has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> str:
    """What it has for itself alone."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split(":")[1].strip() for line in lines if line.startswith("RssAnon"))


def _steady(conn: Connection, dsn: str, minutes: float) -> None:
    worker = Worker(dsn, say=lambda text: None)
    applying = threading.Thread(target=worker.run)
    applying.start()
    programs = machine.server_programs()
    assert programs is not None
    command = [str(programs.folder / "pgbench"), "-n", "-f", str(FOLDER / "insert.pgbench"), "-c", "4"]
    command += ["-D", f"meters={_METERS}", "-T", str(int(minutes * 60)), dsn]
    environment = {**os.environ, "PGOPTIONS": "-c synchronous_commit=off"}
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as writing:
        print("minute  log, pages  changes waiting  written")
        while writing.poll() is None:
            time.sleep(min(30.0, minutes * 6))
            pages, waiting, written = conn.execute(_STATE).fetchall()[0]
            minute = (time.monotonic() - began) / 60
            print(f"{minute:6.1f}  {pages:10.0f}  {waiting:15}  {written:7}", flush=True)
        output = writing.communicate()[0]
    print(next((line for line in output.splitlines() if line.startswith("tps")), output))
    worker.stop()
    applying.join()
    assert pg_stepping.verify(conn, "daily_usage") == []


if __name__ == "__main__":
    what, *much = sys.argv[1:]
    with (
        devserver.start(variables=("PG_STEPPING_DSN",), settings=_SETTINGS) as server,
        psycopg.connect(server.dsn, autocommit=True) as connection,
    ):
        _make(connection, _MEDIANS if what == "keys" else read("query.sql"))
        if what in ("apply", "keys"):
            _apply(connection, int(much[0]) if much else 1_000_000)
        else:
            _steady(connection, server.dsn, float(much[0]) if much else 10.0)
