"""Is the view of each query right, after the refresh functions and after single rows of every table?"""

from __future__ import annotations

import sys
import time

import click
import psycopg

import pg_stepping
from benchmarks.contenders import Connection
from benchmarks.databases import SETTINGS, run
from benchmarks.tpch.changes import KINDS, RF1, RF2, Changes, refresh
from benchmarks.tpch.data import KEYS, load, queries
from pg_stepping import devserver

NAME = "pg_stepping_workloads"
EACH = 3  # statements of a kind on each table
LANGUAGES = ("plpgsql", "plpython3u")


def has_result(conn: Connection) -> bool:
    """Whether the view has a row, and not one of NULLs alone, as a sum over nothing has."""
    return bool(conn.execute("SELECT FROM watched WHERE NOT watched IS NULL LIMIT 1").fetchall())


def checked(conn: Connection, text: str, language: str, singles: list[str], scale: float) -> list[str]:
    """The steps after which the view is wrong, or is empty; all is rolled back.

    At the end it may be empty: the single rows may have taken away the only region that a query asks for.
    """
    wrong = []

    def check(step: str, may_be_empty: bool = False) -> None:
        if differences := pg_stepping.verify(conn, "watched"):
            wrong.append(f"wrong after {step}: {differences[:3]}")
        elif not (may_be_empty or has_result(conn)):
            wrong.append(f"empty after {step}")

    pg_stepping.create_view(conn, "watched", text, language=language)
    check("creation")
    refresh(conn, RF1, scale)
    check("RF1")
    refresh(conn, RF2, scale)
    check("RF2")
    for statement in singles:
        conn.execute(statement)  # type: ignore[arg-type]
    check("single rows", may_be_empty=True)
    conn.rollback()
    return wrong


@click.command()
@click.option("--sf", default=0.1, help="The scale factor of the data.")
@click.option("--query", "only", multiple=True, help="Only this query, such as q01.")
@click.option("--seed", default=1, help="Of the single-row statements.")
def main(sf: float, only: tuple[str, ...], seed: int) -> None:
    """Keep each of the 22 queries of TPC-H as a view on real data, and compare it with its query."""
    failed = False
    with devserver.start(settings=SETTINGS) as server:
        click.echo(str(server))
        with psycopg.connect(load(server, NAME, sf)) as conn:
            changes = Changes(conn, seed)
            kinds = [(table, kind) for table in KEYS for kind in KINDS] * EACH
            changes.random.shuffle(kinds)
            singles = [changes.one(table, kind) for table, kind in kinds]
            (items,) = conn.execute("SELECT count(*) FROM lineitem").fetchone() or (0,)
            conn.commit()
            click.echo(f"Scale factor {sf}: {items:,} items. After RF1, RF2 and {len(singles)} single rows:")
            languages = LANGUAGES if server.plpython else LANGUAGES[:1]
            for i, (name, text) in enumerate(queries(sf).items()):
                if only and name not in only:
                    continue
                start = time.perf_counter()
                wrong = checked(conn, text, languages[i % len(languages)], singles, sf)
                took = time.perf_counter() - start
                click.echo(f"{name}  {'; '.join(wrong) or 'right'}  ({took:.1f} s)")
                failed = failed or bool(wrong)
        run(server, "DROP DATABASE IF EXISTS {} WITH (FORCE)", NAME)
    sys.exit(failed)


if __name__ == "__main__":
    main()
