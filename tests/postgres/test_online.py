"""A view that is made while its tables are written."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest

import pg_stepping
from pg_stepping.online import create_view_online

SCHEMA = """
CREATE TABLE meters (id integer PRIMARY KEY, owner text);
CREATE TABLE reads (meter_id integer, value integer);
CREATE INDEX ON reads (meter_id);
INSERT INTO meters SELECT i, 'owner ' || i % 50 FROM generate_series(1, 500) AS i;
INSERT INTO reads SELECT 1 + i % 500, i % 1000 FROM generate_series(1, 60000) AS i;
"""
QUERIES = (
    "SELECT m.owner, sum(r.value) AS value, max(r.value) AS most FROM reads r JOIN meters m ON m.id = r.meter_id GROUP BY m.owner",
    "SELECT n, count(*) AS meters FROM (SELECT meter_id, count(*) AS n FROM reads GROUP BY meter_id) AS c GROUP BY n",
)


@pytest.mark.parametrize("mode", ["immediate", "deferred"])
@pytest.mark.parametrize("query", QUERIES)
def test_oracle_writers_go_on_while_a_view_is_made(dsn: str, language: str, mode: str, query: str) -> None:
    with psycopg.connect(dsn) as conn:
        conn.execute(SCHEMA)  # type: ignore[call-overload]
    done = threading.Event()
    waited: list[float] = []
    failed: list[Exception] = []

    def write() -> None:
        with psycopg.connect(dsn, autocommit=True) as session:
            try:
                while not done.is_set():
                    began = time.monotonic()
                    session.execute("INSERT INTO reads VALUES (%s, 5), (3, 6)", [1 + len(waited) % 500])
                    session.execute(
                        "UPDATE meters SET owner = owner || 'x' WHERE id = %s", [1 + len(waited) % 500]
                    )
                    session.execute("DELETE FROM reads WHERE ctid = (SELECT ctid FROM reads LIMIT 1)")
                    waited.append(time.monotonic() - began)
            except psycopg.Error as error:
                failed.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    steps: list[str] = []
    try:
        with psycopg.connect(dsn, autocommit=True) as conn:
            create_view_online(
                conn,
                "usage",
                query,
                language=language,
                mode=mode,
                indexes=[["value" if "value" in query else "n"]],
                progress=lambda step, share: steps.append(step),
            )
        count = len(waited)
        while len(waited) < count + 5 and not failed:
            time.sleep(0.01)
    finally:
        done.set()
        writer.join()
    assert failed == []
    assert list(dict.fromkeys(steps)) == ["capture", "fill", "catch up", "publish"]
    with psycopg.connect(dsn) as conn:
        assert pg_stepping.verify(conn, "usage") == []
        assert conn.execute("SELECT count(*) > 3 FROM usage").fetchone() == (True,)
        assert conn.execute("SELECT in_step FROM stepping.views").fetchall() == [(True,)]
        view = pg_stepping.installed(conn, "usage")
        assert view is not None and view.mode == mode
        conn.execute("UPDATE meters SET owner = 'all' WHERE id < 100; DELETE FROM reads WHERE value < 100")
        assert pg_stepping.verify(conn, "usage") == []
        pg_stepping.drop_view(conn, "usage")


def test_oracle_it_is_interrupted_and_goes_on_or_is_undone(dsn: str, language: str) -> None:
    with psycopg.connect(dsn) as conn:
        conn.execute(SCHEMA)  # type: ignore[call-overload]

    def stop_at(wanted: str) -> None:
        def progress(step: str, share: float) -> None:
            if step == wanted:
                raise KeyboardInterrupt

        with psycopg.connect(dsn, autocommit=True) as conn, pytest.raises(KeyboardInterrupt):
            create_view_online(conn, "usage", QUERIES[0], language=language, progress=progress)

    with psycopg.connect(dsn, autocommit=True) as conn:
        for step in ("fill", "catch up", "publish"):
            stop_at(step)
            conn.execute(
                "INSERT INTO reads VALUES (1, 3), (2, 4); UPDATE meters SET owner = 'y' WHERE id = 7"
            )
        create_view_online(conn, "usage", QUERIES[0], language=language)
        assert pg_stepping.verify(conn, "usage") == []
        pg_stepping.drop_view(conn, "usage")
        stop_at("catch up")
        pg_stepping.drop_view(conn, "usage")
        pg_stepping.create_view(conn, "usage", QUERIES[0], language=language)
        assert pg_stepping.verify(conn, "usage") == []
