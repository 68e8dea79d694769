"""The data of TPC-H as `tpchgen-cli` writes it, in a database; the queries with parameters that suit it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from benchmarks.databases import copy
from pg_stepping import devserver

WORKLOAD = Path(__file__).parents[2] / "tests" / "workloads" / "tpch"

# The tables with their keys.
KEYS = {
    "region": ("r_regionkey",),
    "nation": ("n_nationkey",),
    "supplier": ("s_suppkey",),
    "part": ("p_partkey",),
    "partsupp": ("ps_partkey", "ps_suppkey"),
    "customer": ("c_custkey",),
    "orders": ("o_orderkey",),
    "lineitem": ("l_orderkey", "l_linenumber"),
}


def queries(scale: float) -> dict[str, str]:
    """The queries by name.

    The tests' small tables ask for other parameters than real ones, for which those of the specification do.
    """
    files = sorted(WORKLOAD.glob("q*.sql"))
    texts = {f.stem: f.read_text() for f in files}
    for name, small, real in (
        ("q11", "0.01\n", f"{0.0001 / scale:.10f}\n"),
        ("q17", "SELECT 0.7 *", "SELECT 0.2 *"),
        ("q18", "> 170", "> 300"),
    ):
        assert small in texts[name]
        texts[name] = texts[name].replace(small, real)
    return {n: "\n".join(line for line in t.splitlines() if line[:2] != "--") for n, t in texts.items()}


def load(server: devserver.Server, name: str, scale: float) -> str:
    """Make a database with the tables, their indexes and the data; its conninfo string."""
    copy(server, name, "template0")
    dsn = make_conninfo(server.dsn, dbname=name)
    with tempfile.TemporaryDirectory() as folder, psycopg.connect(dsn, autocommit=True) as conn:
        program = Path(sys.executable).parent / "tpchgen-cli"
        subprocess.run(
            [program, "csv", "--quiet", "--scale-factor", str(scale), "--output-dir", folder], check=True
        )
        tables, indexes = (WORKLOAD / "schema.sql").read_text().split("CREATE INDEX", 1)
        conn.execute(tables)
        for table in KEYS:
            copy_in = f"COPY {table} FROM STDIN (FORMAT csv, HEADER)"
            with Path(folder, f"{table}.csv").open("rb") as file, conn.cursor().copy(copy_in) as into:
                while data := file.read(1 << 20):
                    into.write(data)
        conn.execute("CREATE INDEX" + indexes)
        if server.plpython:
            conn.execute("CREATE EXTENSION plpython3u")
        conn.execute("VACUUM ANALYZE")
    return dsn
