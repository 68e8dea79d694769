"""A view that is made while its tables are written."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import psycopg
import pytest

import pg_stepping
from pg_stepping.online import create_view_online, pieces

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
                        "UPDATE meters SET owner = md5(owner) WHERE id = %s", [1 + len(waited) % 500]
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
        conn.execute("DROP VIEW usage")
        with pytest.raises(pg_stepping.errors.NameTaken, match="what it published is gone"):
            create_view_online(conn, "usage", QUERIES[0], language=language)
        pg_stepping.drop_view(conn, "usage")
        pg_stepping.create_view(conn, "usage", QUERIES[0], language=language)
        assert pg_stepping.verify(conn, "usage") == []


IN_PIECES = {
    "join": QUERIES[0],
    "of_groups": QUERIES[1],
    "bag": "SELECT r.meter_id, r.value, m.owner FROM reads r LEFT JOIN meters m ON m.id = r.meter_id WHERE r.value > 900",
    "total": "SELECT count(*) AS n, sum(value) AS value, max(meter_id) AS last FROM reads WHERE value < 5",
    "nothing": "SELECT count(*) AS n FROM reads WHERE value > 5000",
    "no_column": "SELECT count(*) AS n FROM reads",
    "whole": "SELECT DISTINCT ON (meter_id) meter_id, value FROM reads ORDER BY meter_id, value DESC",
    "twice": "SELECT a.meter_id, count(*) AS n FROM reads a JOIN reads b USING (meter_id) WHERE a.value < 9 AND b.value < 9 GROUP BY 1",
}
WRITES = (
    "INSERT INTO meters SELECT i, 'more' FROM generate_series(1000, 20000) AS i; ANALYZE meters",  # the largest now
    "UPDATE reads SET value = value + 1 WHERE meter_id = 7 AND value < 500",
    "DELETE FROM reads WHERE meter_id BETWEEN 10 AND 14",
    "INSERT INTO reads SELECT 3, i FROM generate_series(1, 9) AS i; INSERT INTO reads VALUES (NULL, 950), (NULL, 3)",
    "DELETE FROM meters WHERE id = 20; UPDATE meters SET owner = 'nobody' WHERE id % 50 = 1",
    "DELETE FROM reads WHERE ctid IN (SELECT ctid FROM reads WHERE meter_id IS NULL AND value = 950 LIMIT 1)",
    "UPDATE reads SET meter_id = meter_id + 100 WHERE value BETWEEN 901 AND 903",
)


@pytest.mark.parametrize("query", IN_PIECES.values(), ids=IN_PIECES)
def test_oracle_the_pieces_of_a_fill_fit_together(
    database: Callable[..., str], monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    """After each piece the tables change, in rows that are filled and in rows that are not; then it is interrupted."""
    monkeypatch.setattr(pieces, "ROWS", 2000)
    with psycopg.connect(database("plpgsql"), autocommit=True) as conn:
        conn.execute(SCHEMA.replace("60000", "12000"))  # type: ignore[call-overload]
        conn.execute("INSERT INTO reads VALUES (NULL, 950), (NULL, 950), (NULL, 1); ANALYZE")
        writes = iter([*WRITES, "TRUNCATE meters; INSERT INTO meters VALUES (3, 'new')"])
        shares: list[float] = []

        def progress(step: str, share: float) -> None:
            if step == "fill" and share > 0:
                shares.append(share)
                conn.execute(next(writes, "INSERT INTO reads VALUES (4, 901)"))
                if len(shares) % 2:
                    raise KeyboardInterrupt

        for _ in range(20):
            try:
                create_view_online(conn, "usage", query, progress=progress)
                break
            except KeyboardInterrupt:
                assert pg_stepping.list_views(conn)[0].mode == "deferred"
        assert shares == sorted(shares)
        assert len(shares) >= (
            1 if query in (IN_PIECES["whole"], IN_PIECES["twice"], IN_PIECES["no_column"]) else 6
        )
        assert pg_stepping.verify(conn, "usage") == []
        assert conn.execute("SELECT count(*) > 0 FROM usage").fetchone() == (True,)
        conn.execute("INSERT INTO reads VALUES (5, 2), (NULL, 999); DELETE FROM reads WHERE meter_id = 9")
        assert pg_stepping.verify(conn, "usage") == []
        pg_stepping.drop_view(conn, "usage")
        left = "SELECT relname FROM pg_class WHERE relnamespace = 'stepping'::regnamespace AND relname ~ '^usage'"
        assert conn.execute(left).fetchall() == []
        assert conn.execute("SELECT count(*) FROM stepping.filling").fetchone() == (0,)


def test_a_fill_that_is_given_up_leaves_nothing(database: Callable[..., str]) -> None:
    with psycopg.connect(database("plpgsql"), autocommit=True) as conn:
        conn.execute(SCHEMA)  # type: ignore[call-overload]

        def progress(step: str, share: float) -> None:
            if step == "fill":
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            create_view_online(conn, "usage", QUERIES[0], progress=progress)
        assert conn.execute("SELECT problem FROM stepping.views").fetchone() is not None
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="being filled online"):
            conn.execute("SELECT stepping.usage__apply()")
        pg_stepping.drop_view(conn, "usage")
        for sql in (
            "SELECT relname FROM pg_class WHERE relnamespace = 'stepping'::regnamespace AND relname ~ '^usage'",
            "SELECT proname FROM pg_proc WHERE pronamespace = 'stepping'::regnamespace AND proname ~ '^usage'",
            "SELECT tgname FROM pg_trigger WHERE tgrelid = 'reads'::regclass AND NOT tgisinternal",
        ):
            assert conn.execute(sql).fetchall() == []  # type: ignore[call-overload]


@pytest.mark.parametrize("language", ["plpgsql"])
def test_what_is_noticed_while_it_is_made_is_told_then(dsn: str, language: str) -> None:
    """Of a view that is made, and of a new version of it: what passed its triggers by, what it relies on."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(SCHEMA)  # type: ignore[call-overload]

        def progress(step: str, share: float) -> None:
            if step == "catch up":
                with psycopg.connect(dsn) as other:
                    other.execute("SET session_replication_role = replica; INSERT INTO reads VALUES (1, 5)")

        def told() -> str:
            row = conn.execute("SELECT problem FROM stepping.views").fetchone()
            assert row is not None
            return str(row[0])

        create_view_online(conn, "usage", QUERIES[0], language=language, progress=progress)
        assert "session_replication_role" in told()
        assert pg_stepping.verify(conn, "usage") != [] and pg_stepping.repair(conn, "usage") == 1
        query = QUERIES[0].replace("max(", "min(")
        pg_stepping.change_view(conn, "usage", query, online=True, progress=progress)
        assert "session_replication_role" in told()
        assert pg_stepping.verify(conn, "usage") != [] and pg_stepping.repair(conn, "usage") == 1
        assert told() == "None"
        kinds = conn.execute(
            "SELECT kind, count(*) FROM stepping.used GROUP BY kind ORDER BY kind"
        ).fetchall()
        assert kinds == [("columns", 2), ("key", 1), ("not null", 1), ("table", 2)]
