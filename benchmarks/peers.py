"""What pg_ivm takes and how it behaves: `python -m benchmarks.peers`, where the server offers it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import click
import psycopg
from psycopg.conninfo import make_conninfo

import pg_stepping
from benchmarks.contenders import Connection, create_immv, unlimited
from benchmarks.databases import client_of, copy, run
from pg_stepping import devserver

WORKLOADS = Path(__file__).parents[1] / "tests" / "workloads"
Make = Callable[[Connection, str, str], Any]
CONTENDERS: dict[str, Make] = {"pg_ivm": create_immv, "pg_stepping": pg_stepping.create_view}

SCHEMA = """CREATE TABLE meter (id integer PRIMARY KEY, owner integer NOT NULL);
CREATE TABLE reading (meter integer NOT NULL, volume integer NOT NULL);
CREATE TABLE employee (id integer PRIMARY KEY, boss integer, salary integer NOT NULL);
INSERT INTO meter VALUES (1, 1), (2, 2);
INSERT INTO reading VALUES (1, 10), (2, 20);
INSERT INTO employee VALUES (1, NULL, 50), (2, 1, 10), (3, 1, 30)"""
FILTER = "SELECT meter, volume FROM reading WHERE volume > 5"
TOTAL = "SELECT meter, sum(volume) AS total FROM reading GROUP BY meter"
JOIN = "SELECT owner, sum(volume) AS total FROM reading JOIN meter ON id = meter GROUP BY owner"
SELF_JOIN = "SELECT e.id, e.salary, b.salary AS most FROM employee e JOIN employee b ON b.id = e.boss"


@contextmanager
def database(server: devserver.Server, schema: str, name: str = "pg_stepping_peers") -> Iterator[str]:
    """The conninfo string of a database with this schema; it is dropped at the end."""
    copy(server, name, "template0")
    dsn = make_conninfo(server.dsn, dbname=name)
    try:
        with psycopg.connect(dsn) as conn:
            conn.execute(cast(Any, schema))
        yield dsn
    finally:
        run(server, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


def accepted(workload: str, server: devserver.Server, make: Make) -> str:
    """How many queries of a workload are taken as they are written, and which without a LIMIT."""
    files = sorted((WORKLOADS / workload).glob("q*.sql"))
    schema = (WORKLOADS / workload / "schema.sql").read_text()
    written, without = [], []
    with database(server, schema) as dsn, psycopg.connect(dsn) as conn:
        for file in files:
            query = file.read_text()
            for found, text in (written, query), (without, unlimited(query)):
                try:
                    make(conn, "watched", text)
                    found.append(file.stem)
                except (psycopg.errors.FeatureNotSupported, pg_stepping.UnsupportedQuery):
                    pass
                conn.rollback()
    names = "all" if without == [f.stem for f in files] else ", ".join(without)
    return f"{len(written)} of {len(files)}; without ORDER BY and LIMIT {len(without)}: {names}"


def state(conn: Connection, query: str) -> str:
    """Whether the view has the rows of its query."""
    columns = ", ".join(c.name for c in conn.execute(cast(Any, query)).description or ())
    kept = conn.execute(cast(Any, f"SELECT {columns} FROM watched ORDER BY 1, 2")).fetchall()
    right = conn.execute(cast(Any, f"{query} ORDER BY 1, 2")).fetchall()
    return "right" if kept == right else f"**wrong**: {kept} for {right}"


def two_writers(query: str, server: devserver.Server, make: Make, repeatable: bool = False) -> str:
    """What becomes of an INSERT beside a transaction that inserted into another group and is open.

    At REPEATABLE READ that one has committed, but after the snapshot of the INSERT.
    """
    with database(server, SCHEMA) as dsn, psycopg.connect(dsn) as one, psycopg.connect(dsn) as other:
        make(one, "watched", query)
        one.commit()
        other.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ if repeatable else None
        other.execute("SET LOCAL lock_timeout = 1000; SELECT FROM meter")
        one.execute("INSERT INTO reading VALUES (1, 7)")
        if repeatable:
            one.commit()
        try:
            other.execute("INSERT INTO reading VALUES (2, 7)")
            one.commit()
            other.commit()
        except psycopg.errors.LockNotAvailable:
            return "waits for the other's COMMIT"
        except psycopg.Error as error:
            return f"fails: {error.sqlstate} {error.diag.message_primary}"
        return f"goes on, {state(one, query)}"


def update_of_nothing(server: devserver.Server, make: Make) -> str:
    with database(server, SCHEMA) as dsn, psycopg.connect(dsn) as conn:
        make(conn, "watched", SELF_JOIN)
        conn.execute("UPDATE employee SET salary = greatest(salary, 20)")
        return state(conn, SELF_JOIN)


def dumped(server: devserver.Server, make: Make) -> str:
    dump, psql = client_of(server, "pg_dump"), client_of(server, "psql")
    if dump is None or psql is None:
        return "not tried: no pg_dump or psql here"
    with database(server, SCHEMA) as dsn, database(server, "", "pg_stepping_peers_restored") as target:
        with psycopg.connect(dsn) as conn:
            make(conn, "watched", TOTAL)
        text = subprocess.run([dump, dsn], capture_output=True, check=True).stdout
        subprocess.run([psql, "-qX", "-d", target], input=text, capture_output=True, check=True)
        with psycopg.connect(target) as conn:
            conn.execute("INSERT INTO reading VALUES (1, 7)")
            return state(conn, TOTAL)


FACTS: dict[str, Callable[[devserver.Server, Make], str]] = {
    "TPC-H": partial(accepted, "tpch"),
    "Nexmark": partial(accepted, "nexmark"),
    "a second INSERT, one table, no GROUP BY": partial(two_writers, FILTER),
    "a second INSERT, one table, another group": partial(two_writers, TOTAL),
    "a second INSERT, a join, another group": partial(two_writers, JOIN),
    "REPEATABLE READ, one table, another group": partial(two_writers, TOTAL, repeatable=True),
    "REPEATABLE READ, a join, another group": partial(two_writers, JOIN, repeatable=True),
    "an UPDATE that leaves some rows as they were, a self-join": update_of_nothing,
    "an INSERT after pg_dump and psql": dumped,
}


@click.command()
def main() -> None:
    """Try what pg_ivm takes and how it behaves, beside this project."""
    with devserver.start() as server, psycopg.connect(server.dsn, autocommit=True) as conn:
        offered = dict(conn.execute("SELECT name, default_version FROM pg_available_extensions").fetchall())
        if "pg_ivm" not in offered:
            raise click.ClickException("The server does not offer pg_ivm: install it, and run this again.")
        click.echo(
            f"| PostgreSQL {server.version} | pg_ivm {offered['pg_ivm']} | pg_stepping |\n|---|---|---|"
        )
        for title, fact in FACTS.items():
            click.echo(f"| {title} | {' | '.join(fact(server, make) for make in CONTENDERS.values())} |")


if __name__ == "__main__":
    main()
