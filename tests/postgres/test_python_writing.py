"""Actions write by one statement each, also where names, partitions and triggers get in their way."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psycopg
import pytest

import pg_stepping as st
from pg_stepping.errors import ViewDiffers


class Row(st.Data):
    """Its columns have the names that the functions have for their own."""

    given: int
    told: str
    missing: int | None
    d: float
    t: str


def query(rows: st.ZSet[Row]) -> st.ZSet[str]:
    return st.map(rows, f=lambda r: r.told)


def row(n: int, missing: int | None = None) -> Row:
    return Row(given=n, told=f"\n{n}%", missing=missing, d=n / 3, t="[")


def rows_action(conn: psycopg.Connection[Any], before: str = "") -> Any:
    conn.execute(before)  # type: ignore[call-overload]
    graph = st.compile(query)
    store = st.StorePostgres.from_graph(conn, graph, create_tables=True)
    (rows,) = st.actions(store, graph)
    return rows


PARTED = """
CREATE TABLE rows (given bigint NOT NULL, told text NOT NULL, missing bigint, d double precision NOT NULL, t text NOT NULL)
    PARTITION BY HASH (given);
CREATE TABLE rows_0 PARTITION OF rows FOR VALUES WITH (MODULUS 3, REMAINDER 0);
CREATE TABLE rows_1 PARTITION OF rows FOR VALUES WITH (MODULUS 3, REMAINDER 1);
CREATE TABLE rows_2 PARTITION OF rows FOR VALUES WITH (MODULUS 3, REMAINDER 2);"""


@pytest.mark.parametrize("before", ["", PARTED], ids=["plain", "partitions"])
def test_rows_are_told_apart(conn: psycopg.Connection[Any], before: str) -> None:
    rows = rows_action(conn, before)
    there = [row(n) for n in range(6)] + [row(1), row(2, 7)]
    rows.insert(*there)
    for n in (3, 1, 0):
        there.remove(row(n))
        there.append(row(n + 10))
        (changed,) = rows.replace(row(n), row(n + 10))
        assert changed == st.ZSetPython({f"\n{n}%": -1, f"\n{n + 10}%": 1})
    for gone in ([row(1), row(5)], [row(2, 7)]):
        (changed,) = rows.remove(*gone)
        assert changed == st.ZSetPython({r.told: -1 for r in gone})
        there = [r for r in there if r not in gone]
    left = conn.execute("SELECT given, missing FROM rows")
    assert st.ZSetPython((row(*values), 1) for values in left) == st.ZSetPython((r, 1) for r in there)


def test_what_is_not_there_is_named_and_nothing_changes(conn: psycopg.Connection[Any]) -> None:
    rows = rows_action(conn)
    rows.insert(row(1), row(1), row(2))
    for write in (
        lambda: rows.remove(row(1), row(2), row(3)),
        lambda: rows.replace(row(3), row(1)),
    ):
        with pytest.raises(st.RowNotFound, match=r"public.rows does not have Row\(given=3, "):
            write()
    with pytest.raises(st.RowNotFound, match=r"3 copies of Row\(given=1, "):
        rows.remove(row(2), row(1), row(1), row(1))
    (changed,) = rows.insert(row(4))  # the transaction goes on, and what was undone is not told
    assert changed == st.ZSetPython({"\n4%": 1})
    assert conn.execute("SELECT count(*) FROM rows").fetchone() == (4,)
    assert st.verify(conn, "query_output") == []


def test_errors_of_triggers_are_their_own(conn: psycopg.Connection[Any]) -> None:
    rows = rows_action(conn)
    rows.insert(row(1))
    conn.execute("""CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
                    BEGIN RAISE no_data_found USING MESSAGE = 'not this one'; END $$;
                    CREATE TRIGGER refuse BEFORE DELETE ON rows FOR EACH ROW EXECUTE FUNCTION refuse()""")
    with pytest.raises(psycopg.errors.NoDataFound, match="not this one"), conn.transaction():
        rows.remove(row(1))
    conn.execute("""CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
                    BEGIN RETURN NULL; END $$""")  # the row stays
    with pytest.raises(st.RowNotFound, match="given=1"):
        rows.remove(row(1))
    assert rows.replace(row(1), row(2)) == (st.ZSetPython({"\n1%": -1, "\n2%": 1}),)


def test_each_action_is_one_statement(conn: psycopg.Connection[Any], tmp_path: Path) -> None:
    rows = rows_action(conn)
    conn.commit()
    conn.execute("SELECT")  # BEGIN is psycopg's
    trace = os.open(tmp_path / "trace", os.O_RDWR | os.O_CREAT)
    conn.pgconn.trace(trace)
    rows.insert(row(1), row(2), row(3))
    rows.replace(row(1), row(4))
    rows.remove(row(2), row(3))
    with pytest.raises(st.RowNotFound):
        rows.remove(row(2), row(4))
    conn.pgconn.untrace()
    os.close(trace)
    sent = [line.split("\t") for line in (tmp_path / "trace").read_text().splitlines()]
    assert [kind for _, who, _, kind, *_ in sent if who == "F" and kind in ("Execute", "Query")] == [
        "Execute"
    ] * 4
    assert conn.execute("SELECT given FROM rows").fetchall() == [(4,)]


def test_a_feed_has_a_function_that_goes_with_the_view(conn: psycopg.Connection[Any]) -> None:
    """Another feed, made by an earlier version, is written by the catalog's function, and is told as ours is."""
    kept = st.Cache[str](name="kept")
    assert repr(kept) == "Cache(name='kept')"

    def keeping(rows: st.ZSet[Row]) -> None:
        _ = kept[st.map(rows, f=lambda r: r.told)](lambda z: st.integrate(z))

    graph = st.compile(keeping)
    store = st.StorePostgres.from_graph(conn, graph, create_tables=True)
    (rows,) = st.actions(store, graph)
    assert (repr(rows), bool(kept.zset(store))) == ("<Action on rows>", False)
    rows.insert(row(1))
    assert kept.zset(store)
    st.changes(store, kept)
    rows.replace(row(1), row(2))
    told = [(c.row, c.count) for c in st.changes(store, kept)]
    assert (told[0], sorted(told[1:])) == (("\n1%", 1), [("\n1%", -1), ("\n2%", 1)])
    functions = "SELECT proname FROM pg_proc WHERE proname ~ '^kept.*__record$'"
    [(recording,)] = conn.execute(functions).fetchall()
    [(trigger,)] = conn.execute(
        "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = 'feed_update'"
    ).fetchall()
    conn.execute('DROP TRIGGER feed_update ON stepping."kept"')
    conn.execute(trigger.replace(recording, "record_changes"))
    rows.insert(row(2))
    later = [(c.row, c.count) for c in st.changes(store, kept)][len(told) :]
    assert st.ZSetPython(later) == st.ZSetPython({"\n2%": 1})
    st.drop_view(conn, "kept")
    assert conn.execute(functions).fetchall() == []


def test_a_collation_by_which_unlike_texts_are_equal_is_refused(conn: psycopg.Connection[Any]) -> None:
    conn.execute(
        """CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
           CREATE TABLE rows (given bigint NOT NULL, told text COLLATE any_case NOT NULL, missing bigint,
                              d double precision NOT NULL, t text COLLATE "C" NOT NULL)"""
    )
    with pytest.raises(ViewDiffers, match="the column told has a collation by which unlike texts are equal"):
        rows_action(conn, "SELECT")
