"""A server for the benchmarks, and in it one database for each contender, copies of the same loaded one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from benchmarks.contenders import CONTENDERS, Connection, Contender, read
from pg_stepping import devserver
from pg_stepping.devserver import machine

# Nothing may start in the background while a clock runs.
SETTINGS = {
    "shared_buffers": "512MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
}
PREFIX = "pg_stepping_bench_"


@dataclass(frozen=True, slots=True)
class Size:
    """How much is preloaded; every meter has `reads_a_day` reads on each of `days` days."""

    users: int
    meters: int
    days: int
    reads_a_day: int

    @property
    def reads(self) -> int:
        return self.meters * self.days * self.reads_a_day


@dataclass(frozen=True, slots=True)
class Arena:
    """The server, who can run on it, and one set of databases for each size, by its number of reads."""

    server: devserver.Server
    contenders: tuple[Contender, ...]

    def dsn(self, contender: Contender, size: Size) -> str:
        return make_conninfo(self.server.dsn, dbname=_name(contender.name, size))

    def connect(self, contender: Contender, size: Size, **options: Any) -> Connection:
        return psycopg.connect(self.dsn(contender, size), **options)

    def vacuum(self, contender: Contender, size: Size) -> None:
        with self.connect(contender, size, autocommit=True) as conn:
            conn.execute("VACUUM ANALYZE")

    def checkpoint(self) -> None:
        run(self.server, "CHECKPOINT")

    def pgbench(self) -> Path | None:
        return client_of(self.server, "pgbench")


def client_of(server: devserver.Server, name: str) -> Path | None:
    """A client program, which lies beside the server's if the server is of this machine."""
    cluster, programs = server.cluster, machine.server_programs()
    folders = [cluster.programs] if cluster else []
    folders += [programs.folder] if programs else []
    found = [f / name for f in folders if (f / name).exists()]
    on_path = shutil.which(name)
    return found[0] if found else Path(on_path) if on_path else None


@contextmanager
def arena(sizes: tuple[Size, ...], verbose: Any) -> Iterator[Arena]:
    """A server with all databases, loaded and installed; they are dropped at the end."""
    with devserver.start(settings=SETTINGS) as server:
        verbose(str(server))
        there = Arena(server, tuple(c for c in CONTENDERS if _available(server, c.extension)))
        names = [_name(n, s) for s in sizes for n in ["loaded", *(c.name for c in there.contenders)]]
        try:
            for size in sizes:
                verbose(f"loading {size.reads:,} reads")
                _load(server, size)
                for contender in there.contenders:
                    copy(server, _name(contender.name, size), _name("loaded", size))
                    with there.connect(contender, size) as conn:
                        contender.install(conn)
                    there.vacuum(contender, size)
            yield there
        finally:
            for name in names:
                run(server, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


def _available(server: devserver.Server, extension: str | None) -> bool:
    with psycopg.connect(server.dsn) as conn:
        names = conn.execute("SELECT name FROM pg_available_extensions").fetchall()
    return extension is None or (extension,) in names


def _load(server: devserver.Server, size: Size) -> None:
    name = _name("loaded", size)
    copy(server, name, "template0")
    with psycopg.connect(make_conninfo(server.dsn, dbname=name), autocommit=True) as conn:
        conn.execute(read("schema.sql"))
        conn.execute(read("statements.sql"))
        if server.plpython:
            conn.execute("CREATE EXTENSION plpython3u")
        conn.execute(
            "CALL bench.load(%s, %s, %s, %s)", [size.users, size.meters, size.days, size.reads_a_day]
        )
        conn.execute("VACUUM ANALYZE")


def copy(server: devserver.Server, name: str, template: str) -> None:
    """Make a database anew, a copy of another."""
    run(server, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)
    run(server, "CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY", name, template)


def _name(contender: str, size: Size) -> str:
    return f"{PREFIX}{contender}_{size.reads}"


def run(server: devserver.Server, statement: str, *names: str) -> None:
    """Run a statement with these names in it, in the server's own database."""
    with psycopg.connect(server.dsn, autocommit=True) as conn:
        conn.execute(sql.SQL(cast(Any, statement)).format(*map(sql.Identifier, names)))
