"""verify on a part of the rows, repair of what differs, and why a row is as it is."""

from __future__ import annotations

import json
import threading
import time
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

import pg_stepping
from pg_stepping.cli import main

Connection = psycopg.Connection[Any]

SCHEMA = """
CREATE TABLE users (id integer PRIMARY KEY, name text);
CREATE TABLE meters (id integer PRIMARY KEY, user_id integer);
CREATE TABLE reads (meter_id integer, day date, value numeric, note json);
CREATE INDEX ON meters (user_id);
CREATE INDEX ON reads (meter_id);
INSERT INTO users SELECT i, 'user ' || i FROM generate_series(1, 12) AS i;
INSERT INTO meters SELECT i, 1 + i % 10 FROM generate_series(1, 20) AS i;
INSERT INTO reads
SELECT nullif(i % 23, 0), date '2024-01-01' + i % 5, i / 4.0, json_build_object('parity', i % 2)
FROM generate_series(1, 300) AS i;
"""
QUERIES = {
    "groups": "SELECT meter_id, day, sum(value) AS value, min(value) AS least FROM reads GROUP BY meter_id, day",
    "join": "SELECT u.name, r.day, avg(r.value) AS value FROM users u JOIN meters m ON m.user_id = u.id"
    " JOIN reads r ON r.meter_id = m.id GROUP BY u.name, r.day",
    "bag": "SELECT m.user_id, r.day, r.note FROM meters m LEFT JOIN reads r ON r.meter_id = m.id",
    "total": "SELECT count(*) AS n, max(value) AS most FROM reads",
    "gathered": "SELECT meter_id, array_agg(value) AS all_values FROM reads GROUP BY meter_id",
    "ranked": "SELECT * FROM (SELECT meter_id, day, value, rank() OVER (PARTITION BY meter_id ORDER BY value) AS place"
    " FROM reads) AS r WHERE place <= 2",
    "of_groups": "SELECT readings, count(*) AS meters, sum(value) AS value FROM"
    " (SELECT meter_id, count(*) AS readings, sum(value) AS value FROM reads GROUP BY meter_id) AS g GROUP BY readings",
    "absent": "SELECT name FROM users u WHERE NOT EXISTS (SELECT FROM meters m WHERE m.user_id = u.id)",
    "reached": "WITH RECURSIVE r (id) AS (SELECT id FROM meters WHERE id = 3 UNION"
    " SELECT m.user_id FROM meters m JOIN r USING (id)) SELECT id FROM r",
}


def prepared(conn: Connection) -> None:
    conn.execute(SCHEMA)  # type: ignore[call-overload]


def damage(conn: Connection, stages: tuple[str, ...]) -> None:
    """Rows of every stage are lost, and some have other counts, without any trigger that tells."""
    conn.execute("SET LOCAL session_replication_role = replica")
    for stage in stages:
        columns = conn.execute(
            """SELECT quote_ident(attname) FROM pg_attribute
               WHERE attrelid = to_regclass('stepping.' || quote_ident(%s)) AND atttypid = 'bigint'::regtype
               ORDER BY attnum DESC LIMIT 1""",
            [stage],
        ).fetchone()
        table = f'stepping."{stage}"'
        some = f"(SELECT ctid FROM {table} ORDER BY ctid LIMIT 2)"
        conn.execute(
            f"DELETE FROM {table} WHERE ctid = (SELECT ctid FROM {table} ORDER BY ctid DESC LIMIT 1)"
        )  # type: ignore[call-overload]
        if columns is not None:
            conn.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS rows_are_unique")  # type: ignore[call-overload]
            conn.execute(f"UPDATE {table} SET {columns[0]} = {columns[0]} + 40 WHERE ctid IN {some}")  # type: ignore[call-overload]
    conn.execute("SET LOCAL session_replication_role = origin")


@pytest.mark.parametrize("kind", QUERIES)
def test_oracle_repair_puts_every_stage_right(conn: Connection, language: str, kind: str) -> None:
    prepared(conn)
    pg_stepping.create_view(conn, "v", QUERIES[kind], language=language)
    pg_stepping.create_view(conn, "reader", "SELECT count(*) AS n FROM v", language=language)
    assert pg_stepping.repair(conn, "v") == 0
    rows = conn.execute("SELECT count(*) FROM v").fetchone()
    view = pg_stepping.installed(conn, "v")
    assert view is not None
    damage(conn, view.stages)
    assert pg_stepping.verify(conn, "v") != []
    # The reader is right about the view as it is now; what is repaired below is a change for it like any other.
    assert pg_stepping.repair(conn, "reader") == 1
    assert pg_stepping.repair(conn, "v") > 0
    for name in ("v", "reader"):
        assert pg_stepping.verify(conn, name) == []
        assert pg_stepping.repair(conn, name) == 0
    assert conn.execute("SELECT count(*) FROM v").fetchone() == rows
    conn.execute("DELETE FROM reads WHERE value > 60; UPDATE meters SET user_id = user_id % 4")
    conn.execute("INSERT INTO reads SELECT * FROM reads LIMIT 50")
    assert pg_stepping.verify(conn, "v") == []
    assert pg_stepping.verify(conn, "reader") == []


def test_repair_writes_nothing_but_the_differing_keys(conn: Connection, language: str) -> None:
    prepared(conn)
    pg_stepping.create_view(conn, "v", QUERIES["groups"], language=language)
    conn.execute(
        "UPDATE stepping.v SET total_value = 0, sum_value = 0 WHERE meter_id = 7 AND day = '2024-01-01'"
    )
    conn.execute("UPDATE stepping.v SET n = n WHERE meter_id IS NULL")
    before = dict(conn.execute("SELECT (meter_id, day)::text, ctid::text FROM stepping.v").fetchall())
    assert pg_stepping.repair(conn, "v") == 1
    after = dict(conn.execute("SELECT (meter_id, day)::text, ctid::text FROM stepping.v").fetchall())
    assert len(before) == len(after)
    assert {k for k in after if after[k] != before[k]} == {"(7,2024-01-01)"}


def test_the_rows_of_a_key_are_computed_by_index(conn: Connection) -> None:
    from pg_stepping.compiler import compile_query
    from pg_stepping.delta.correction import correction
    from pg_stepping.ir import Table

    prepared(conn)
    conn.execute("SET enable_seqscan = off; SET jit = off")
    for kind in ("groups", "bag", "gathered", "ranked"):
        [program] = compile_query(conn, Table("public", "v"), QUERIES[kind]).programs[-1:]
        pg_stepping.create_view(conn, "v", QUERIES[kind])
        plan = conn.execute("EXPLAIN " + correction(program).replace("$1", "'{}'")).fetchall()  # type: ignore[call-overload]
        assert any("reads_meter_id_idx" in line for (line,) in plan), (kind, plan)
        pg_stepping.drop_view(conn, "v")


def test_oracle_repair_beside_writers(conn: Connection, dsn: str, language: str) -> None:
    prepared(conn)
    query = QUERIES["join"].replace("avg(r.value)", "sum(r.meter_id::bigint)")
    pg_stepping.create_view(conn, "v", query, language=language)
    conn.execute("UPDATE stepping.v SET total_value = total_value + 1 WHERE day <> '2024-01-02'")
    conn.commit()
    done = threading.Event()
    written: list[int] = []
    failed: list[Exception] = []

    def write(number: int) -> None:
        with psycopg.connect(dsn, autocommit=True) as session:
            try:
                while not done.is_set():
                    session.execute("INSERT INTO reads VALUES (1 + %s, '2024-01-01', 1)", [len(written) % 20])
                    session.execute(
                        "UPDATE meters SET user_id = 1 + (user_id + 1) %% 10 WHERE id = %s", [number]
                    )
                    written.append(number)
            except psycopg.Error as error:
                failed.append(error)

    writers = [threading.Thread(target=write, args=[i]) for i in (3, 4)]
    for writer in writers:
        writer.start()
    try:
        while len(written) < 10 and not failed:
            time.sleep(0.01)
        before = len(written)
        with psycopg.connect(dsn, autocommit=True) as session:
            assert pg_stepping.repair(session, "v", batch=2) > 10
        assert failed == [] and len(written) > before
    finally:
        done.set()
        for writer in writers:
            writer.join()
    assert failed == []
    assert pg_stepping.verify(conn, "v") == []


def test_repair_needs_a_snapshot_of_its_own(conn: Connection) -> None:
    prepared(conn)
    pg_stepping.create_view(conn, "v", QUERIES["total"])
    conn.commit()
    conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    with pytest.raises(pg_stepping.SteppingError, match="at REPEATABLE READ"):
        pg_stepping.repair(conn, "v")


def test_verify_of_some_keys_and_of_a_sample(conn: Connection) -> None:
    prepared(conn)
    pg_stepping.create_view(conn, "v", QUERIES["groups"])
    conn.execute("UPDATE stepping.v SET total_value = 0, sum_value = 0")
    conn.execute("DELETE FROM stepping.v WHERE meter_id IS NULL")
    everything = pg_stepping.verify(conn, "v")
    found = pg_stepping.verify(conn, "v", keys=[{"meter_id": 7, "day": "2024-01-02"}, {"meter_id": 8}])
    assert {d.row["meter_id"] for d in found} == {7, 8}
    assert len([d for d in found if d.row["meter_id"] == 7]) == 2
    assert all(d.weight == -1 for d in pg_stepping.verify(conn, "v", keys=[{"meter_id": None}]))
    assert pg_stepping.verify(conn, "v", keys=[{"meter_id": None}]) != []
    assert pg_stepping.verify(conn, "v", keys=[{"meter_id": 1000}]) == []
    assert pg_stepping.verify(conn, "v", sample=1) == everything
    sizes = [len(pg_stepping.verify(conn, "v", sample=0.25)) for _ in range(8)]
    assert 0 < sum(sizes) / 8 < len(everything) / 2
    with pytest.raises(pg_stepping.SteppingError, match="no column 'meter'"):
        pg_stepping.verify(conn, "v", keys=[{"meter": 1}])
    with pytest.raises(pg_stepping.SteppingError, match="a sample of 2"):
        pg_stepping.verify(conn, "v", sample=2)


def sources(rows: list[pg_stepping.SourceRow]) -> dict[str, list[dict[str, Any]]]:
    by_table: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_table.setdefault(row.table, []).append(row.row)
    return by_table


def test_oracle_why_lists_the_source_rows_of_a_result_row(conn: Connection) -> None:
    prepared(conn)
    pg_stepping.create_view(conn, "v", QUERIES["join"])
    pg_stepping.create_view(conn, "w", QUERIES["of_groups"])
    pg_stepping.create_view(conn, "over", "SELECT day, count(*) AS n, max(value) AS most FROM v GROUP BY day")
    behind = sources(pg_stepping.why(conn, "v", {"name": "user 3", "day": "2024-01-03"}))
    assert [u["id"] for u in behind["public.users"]] == [3]
    assert sorted(m["id"] for m in behind["public.meters"]) == [2, 12]
    values = [r["value"] for r in behind["public.reads"]]
    row = conn.execute("SELECT value FROM v WHERE name = 'user 3' AND day = '2024-01-03'").fetchone()
    assert len(values) > 1 and row is not None
    assert sum(values, Decimal()) / len(values) == row[0]
    # Stage over stage: all reads of the meters that have 13 of them.
    behind = sources(pg_stepping.why(conn, "w", {"readings": 13}))
    counted = conn.execute(
        "SELECT count(*) FROM reads WHERE coalesce(meter_id, 0) IN (SELECT coalesce(meter_id, 0) FROM reads GROUP BY 1 HAVING count(*) = 13)"
    ).fetchone()
    assert (len(behind["public.reads"]),) == counted != (0,)
    # A view over a view: down to the tables.
    behind = sources(pg_stepping.why(conn, "over", {"day": "2024-01-03"}))
    assert {r["day"].isoformat() for r in behind["public.reads"]} == {"2024-01-03"}
    assert len(behind["public.users"]) == 10
    assert pg_stepping.why(conn, "v", {"name": "nobody"}) == []


@pytest.mark.parametrize("kind", ["gathered", "ranked", "reached"])
def test_why_has_no_answer_where_rows_are_computed_anew(conn: Connection, kind: str) -> None:
    prepared(conn)
    pg_stepping.create_view(conn, "v", QUERIES[kind])
    with pytest.raises(pg_stepping.NoLineage, match="have no source rows of their own"):
        pg_stepping.why(conn, "v", {})


def test_the_commands(conn: Connection, dsn: str) -> None:
    def run(*arguments: str, fails: int = 0) -> tuple[list[str], str]:
        done = CliRunner().invoke(main, ["--dsn", dsn, *arguments])
        assert done.exit_code == fails, done.stderr
        return done.stdout.splitlines(), done.stderr

    prepared(conn)
    pg_stepping.create_view(conn, "good", QUERIES["join"])
    pg_stepping.create_view(conn, "bad", QUERIES["groups"])
    conn.execute(
        "UPDATE stepping.bad SET total_value = 0, sum_value = 0 WHERE meter_id = 7 AND day = '2024-01-01'"
    )
    conn.commit()
    shown, told = run("verify", "--all", fails=1)
    assert shown[0].split() == ["+/-", "meter_id", "day", "value", "least"]
    assert [line.split()[:3] for line in shown[2:]] == [["+1", "7", "2024-01-01"], ["-1", "7", "2024-01-01"]]
    assert "view public.good: is right" in told and "view public.bad: 2 rows differ" in told
    assert run("verify", "bad", "--keys", "meter_id=8,day=2024-01-01")[0] == []
    assert len(run("verify", "bad", "--keys", '{"meter_id": 7}', fails=1)[0]) == 4
    assert run("verify", "good", "--sample", "50%")[0] == []
    assert "give the name of a view, or --all" in run("verify", fails=2)[1]
    assert "is no share" in run("verify", "bad", "--sample", "some", fails=2)[1]
    assert run("repair", "bad")[1] == "view bad: 1 rows of its state were put right\n"
    assert run("verify", "--all")[0] == []
    shown, told = run("why", "good", json.dumps({"name": "user 3", "day": "2024-01-03"}))
    assert {"public.users", "public.meters", "public.reads"} <= set(shown)
    assert "source rows" in told
