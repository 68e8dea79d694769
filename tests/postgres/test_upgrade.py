"""A catalog, and views, that an older version made: brought up to date, they go on."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.postgres.test_packaging import ROOT, catalog, run

import pg_stepping
from pg_stepping import devserver
from pg_stepping.shipped import version

Connection = psycopg.Connection[Any]
OLD = Path(__file__).parents[1] / "upgrades"
VIEWS = ("in_plpgsql", "in_plpython", "ranked", "of_groups", "later")


def text(name: str) -> str:
    return gzip.decompress((OLD / name).read_bytes()).decode()


def made_by_the_old(dsn: str, catalog_: str) -> None:
    with psycopg.connect(dsn) as conn:
        conn.execute("CREATE EXTENSION IF NOT EXISTS plpython3u")
        conn.execute(catalog_, prepare=False)  # type: ignore[call-overload]
        conn.execute(text("views.sql.gz"), prepare=False)  # type: ignore[call-overload]


def writes(conn: Connection) -> None:
    conn.execute("""INSERT INTO reads VALUES (1, '2024-02-01', 99), (2, '2024-01-02', -1);
        UPDATE meters SET owner = 'owner 7' WHERE id = 3; DELETE FROM reads WHERE value > 12 AND value < 50;
        WITH m AS (INSERT INTO meters VALUES (30, 'new')) INSERT INTO reads VALUES (30, '2024-01-01', 1), (1, NULL, 2)""")


def goes_on(dsn: str) -> None:
    with psycopg.connect(dsn) as conn:
        for _ in range(2):
            for view in VIEWS:
                assert pg_stepping.verify(conn, view) == [], view
                assert conn.execute(f"SELECT count(*) > 1 FROM {view}").fetchone() == (True,)  # type: ignore[call-overload]
            conn.execute("DELETE FROM meters WHERE id = 30")
            writes(conn)
        assert conn.execute("SELECT count(*) FROM stepping.views WHERE in_step").fetchone() == (len(VIEWS),)
        assert pg_stepping.apply(conn, "later") > 0
        pg_stepping.create_view(conn, "more", "SELECT owner, count(*) AS n FROM meters GROUP BY owner")
        pg_stepping.change_view(conn, "in_plpython", "SELECT owner, count(*) AS n FROM meters GROUP BY owner")
        assert pg_stepping.repair(conn, "of_groups") == 0
        writes_again = (
            "INSERT INTO meters VALUES (31, 'newer'); INSERT INTO reads VALUES (31, '2024-01-01', 5)"
        )
        conn.execute(writes_again)
        for view in (*VIEWS, "more"):
            assert pg_stepping.verify(conn, view) == [], view
        for view in (*VIEWS, "more"):
            pg_stepping.drop_view(conn, view)
        left = "SELECT count(*) FROM pg_trigger WHERE tgrelid IN ('meters'::regclass, 'reads'::regclass) AND NOT tgisinternal"
        assert conn.execute(left).fetchone() == (0,)


@pytest.mark.parametrize("language", ["plpython3u"])
def test_oracle_views_of_an_older_catalog_go_on_after_init(
    database: Callable[..., str], server: devserver.Server, dsn: str
) -> None:
    old = database()
    made_by_the_old(old, text("catalog.sql.gz"))
    with psycopg.connect(old) as conn:
        writes(conn)
        conn.commit()
        with pytest.raises(pg_stepping.SteppingError, match=r"an earlier version.*\n.*run pg-stepping init"):
            pg_stepping.create_view(conn, "more", "SELECT owner, count(*) AS n FROM meters GROUP BY owner")
        conn.rollback()
        pg_stepping.init(conn)
        pg_stepping.init(conn)
    upgraded, fresh = catalog(old), catalog(dsn)
    for kind, rows in fresh.items():
        assert set(map(str, rows)) - set(map(str, upgraded[kind])) == set(), kind
    goes_on(old)


@pytest.fixture
def share(server: devserver.Server) -> Iterator[Path]:
    """The server's folder of extensions, with what an old release would have put there; taken away again."""
    with psycopg.connect(server.dsn) as conn:
        row = conn.execute("SELECT setting FROM pg_config WHERE name = 'SHAREDIR'").fetchone()
    assert row is not None
    folder = Path(row[0], "extension")
    if server.cluster is None or not os.access(folder, os.W_OK):
        pytest.skip("make install must write to the folder of a server on this machine: that takes root")
    run("make", "install", f"SHAREDIR={row[0]}")
    old = f"0.0.{os.getpid()}"
    made = folder / f"pg_stepping--{old}.sql", folder / f"pg_stepping--{old}--{version()}.sql"
    without_schema = re.sub(r"CREATE SCHEMA IF NOT EXISTS stepping;", "", text("catalog.sql.gz"))
    made[0].write_text(without_schema)
    made[1].write_text((ROOT / "sql" / f"pg_stepping--{version()}.sql").read_text())
    yield made[0]
    for file in made:
        file.unlink()


def test_oracle_views_of_an_older_extension_go_on_after_alter_extension_update(
    database: Callable[..., str], share: Path
) -> None:
    old = database()
    number = share.stem.partition("--")[2]
    made_by_the_old(old, f"CREATE EXTENSION pg_stepping VERSION '{number}'")
    with psycopg.connect(old) as conn:
        writes(conn)
        conn.execute("ALTER EXTENSION pg_stepping UPDATE")
        assert (
            conn.execute(
                "SELECT extversion, stepping.version() FROM pg_extension WHERE extname = 'pg_stepping'"
            ).fetchone()
            == (version(),) * 2
        )
    goes_on(old)
