"""Groups in stripes: several sessions write, each in a stripe of its own, and readers see whole groups."""

import random

import pytest
from click.testing import CliRunner
from test_cases import assert_right, columns, columns_of_query, rows

import pg_stepping
from pg_stepping import errors
from pg_stepping.cli import main
from pg_stepping.online import create_view_online, pieces

STRIPES = 64
SCHEMA = """
CREATE TABLE kinds (kind integer PRIMARY KEY, label text);
CREATE TABLE t (
    id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY, kind integer, day date, free numeric, fixed numeric(12, 2),
    real4 real, real8 double precision, small smallint, big bigint, span interval, price money
);
CREATE INDEX ON t (kind);
INSERT INTO kinds VALUES (1, 'one'), (2, 'two');
INSERT INTO t (kind, day, free, fixed, real8) VALUES (1, '2024-01-01', 1.50, 1.50, 1.5), (NULL, NULL, NULL, NULL, NULL);
"""
SUMS = """
SELECT kind, day, count(*) AS n, count(free) AS some, sum(free) AS free, sum(fixed) AS fixed, sum(real4) AS real4,
    sum(real8) AS real8, sum(small) AS small, sum(big) AS big, sum(span) AS span, sum(price) AS price,
    avg(free) AS mean, avg(real8) AS mean8, sum(free) FILTER (WHERE small > 1) AS filtered, sum(free * 2.50) AS twice,
    var_samp(free) AS variance, stddev_pop(real8) AS deviation, bit_xor(big) AS parity
FROM t GROUP BY kind, day HAVING count(*) <> 5"""
VIEWS = {
    "sums": SUMS,
    "total": "SELECT count(*) AS n, sum(free) AS free, avg(real8) AS mean FROM t",
    "labels": "SELECT k.label, sum(t.free) AS free, sum(t.real8) AS real8 FROM t LEFT JOIN kinds AS k USING (kind) GROUP BY k.label",
    "distinct_values": "SELECT kind, count(DISTINCT small) AS n, sum(DISTINCT big) AS big FROM t GROUP BY kind",
    "shares": "SELECT kind, sum(fixed) / (SELECT count(*) FROM kinds) AS share FROM t GROUP BY kind",
}


def made(conn, name, language):
    pg_stepping.create_view(conn, name, VIEWS[name], language=language, stripes=STRIPES)
    assert columns(conn, name) == columns_of_query(conn, VIEWS[name])


@pytest.fixture
def sessions(conn, connect, language):
    """Three, whose process numbers differ modulo STRIPES; the view `sums` is there."""
    conn.execute(SCHEMA)
    made(conn, "sums", language)
    conn.commit()
    found = [conn]
    while len(found) < 3:
        session = connect()
        session.execute("SET extra_float_digits = 1")
        if session.info.backend_pid % STRIPES not in {s.info.backend_pid % STRIPES for s in found}:
            found.append(session)
    return found


def statement(rng):
    """Values come and go whose sums remember them: NaN, infinities, more digits than others have."""
    free = rng.choice(["1.5", "1.500", "2", "NULL", "'NaN'", "'Infinity'", "'-Infinity'", "0.0001"])
    real8 = rng.choice(["1.5", "0.1", "NULL", "'NaN'", "'Infinity'", "'-Infinity'", "1e20"])
    kind, day = rng.choice(["1", "2", "NULL"]), rng.choice(["'2024-01-01'", "NULL"])
    some = f"id IN (SELECT id FROM t ORDER BY hashint4(id + {rng.randrange(999)}) LIMIT 2)"
    choices = [
        f"INSERT INTO t (kind, day, free, fixed, real4, real8, small, big, span, price) VALUES"
        f" ({kind}, {day}, {free}, 1.25, 0.1, {real8}, {rng.randrange(3)}, {rng.randrange(9)}, '1 mon', 2),"
        f" ({kind}, {day}, 1.0, 'NaN', {real8}, 0.2, 1, 2, '30 days', NULL)",
        f"UPDATE t SET free = {free}, real8 = {real8} WHERE {some}",
        f"UPDATE t SET kind = {kind} WHERE {some}",
        f"DELETE FROM t WHERE {some}",
        "DELETE FROM t WHERE free = 'NaN' OR real8 = 'Infinity'",
    ]  # fmt: skip
    return rng.choices(choices, [4, 2, 1, 2, 1])[0]


def test_oracle_random_statements_of_several_sessions(sessions, language):
    for name in ("total", "labels", "distinct_values", "shares"):
        made(sessions[0], name, language)
    sessions[0].commit()
    rng, seen = random.Random(5), set()
    exact = {v.name: v.recompute for v in pg_stepping.list_views(sessions[0])}
    for number in range(60):
        writer = rng.choice(sessions)
        sql = statement(rng)
        writer.execute(sql)
        writer.commit()
        for name, query in exact.items():
            seen.add((name, tuple(assert_right(writer, name, query, f"{number}: {sql}"))))
    for writer in sessions:
        writer.execute("INSERT INTO t (kind, free) SELECT i, 1 FROM generate_series(1, 3) AS i")
        writer.commit()
    conn = sessions[0]
    stripes = conn.execute("SELECT count(DISTINCT stripe) FROM stepping.sums").fetchone()
    assert stripes == (3,)
    assert len(seen) > 100
    for name in VIEWS:
        assert pg_stepping.verify(conn, name) == []
    conn.commit()
    for writer in sessions:  # each takes a part of every group away
        writer.execute(
            "DELETE FROM t WHERE id IN (SELECT id FROM t ORDER BY id LIMIT (SELECT 1 + count(*) / 2 FROM t))"
        )
        writer.commit()
    conn.execute("DELETE FROM t")
    conn.commit()
    for name, query in VIEWS.items():
        assert_right(conn, name, query, "everything went")
    assert conn.execute("SELECT count(*) FROM stepping.sums").fetchone() == (0,)
    assert conn.execute("SELECT n FROM total").fetchone() == (0,)


def test_views_over_it_see_whole_groups(sessions, language):
    conn = sessions[0]
    over = "SELECT day, sum(n) AS n, count(*) AS kinds FROM sums GROUP BY day"
    pg_stepping.create_view(conn, "over", over, language=language)
    conn.commit()
    for session in sessions:
        session.execute("INSERT INTO t (kind, day, free) VALUES (1, '2024-01-02', 1), (2, '2024-01-02', 1.0)")
        session.commit()
        assert_right(conn, "over", over, "insert")
    with pytest.raises(errors.ViewInUse):
        pg_stepping.drop_view(conn, "sums")


def test_repair_verify_truncate_and_drop(sessions):
    conn = sessions[0]
    for session in sessions:
        session.execute("INSERT INTO t (kind, free, real8) VALUES (1, 1.25, 'NaN'), (2, 3, 1)")
        session.commit()
    conn.execute("UPDATE stepping.sums SET total_free = total_free + 1 WHERE kind = 2")
    assert pg_stepping.verify(conn, "sums")
    assert pg_stepping.repair(conn, "sums") > 0
    assert pg_stepping.verify(conn, "sums") == []
    conn.execute("TRUNCATE t")
    assert_right(conn, "sums", SUMS, "truncate")
    pg_stepping.drop_view(conn, "sums")
    left = "SELECT relname FROM pg_class WHERE relname ~ '^sums' UNION ALL SELECT proname FROM pg_proc WHERE proname ~ '^sums'"
    assert conn.execute(left).fetchall() == []


def test_a_key_finds_its_stripes_by_index(sessions):
    conn = sessions[0]
    conn.execute(
        "INSERT INTO t (kind, day, free) SELECT i, '2024-01-02', 1 FROM generate_series(1, 2000) AS i"
    )
    conn.execute("ANALYZE stepping.sums")
    plan = str(
        conn.execute(
            "EXPLAIN (COSTS OFF) SELECT * FROM sums WHERE kind = 7 AND day = '2024-01-02'"
        ).fetchall()
    )
    assert "sums_key" in plan and "Seq Scan" not in plan


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELECT kind, min(free) FROM t GROUP BY kind", r"min\(\) in stripes"),
        ("SELECT kind, bool_or(kind > 1) FROM t GROUP BY kind", r"bool_or\(\) in stripes"),
        ("SELECT kind, free FROM t", "rows in stripes"),
        ("SELECT kind, string_agg(free::text, ',') FROM t GROUP BY kind", "anew for each key in stripes"),
        (
            "SELECT kind, row_number() OVER (PARTITION BY kind ORDER BY id) FROM t",
            "anew for each key in stripes",
        ),
    ],
)
def test_what_is_not_a_sum_is_refused(conn, query, says):
    conn.execute(SCHEMA)
    with pytest.raises(errors.UnsupportedQuery, match=says):
        pg_stepping.create_view(conn, "v", query, stripes=8)


def test_bad_input(conn):
    conn.execute(SCHEMA)
    query = "SELECT kind, day, sum(free) AS free FROM t GROUP BY kind, day"
    for number in (-1, 100_000, 1.5):
        with pytest.raises(errors.InvalidQuery, match=f"stripes={number}"):
            pg_stepping.create_view(conn, "v", query, stripes=number)
    with pytest.raises(errors.InvalidQuery, match="stripes in deferred mode"):
        pg_stepping.create_view(conn, "v", query, stripes=8, mode="deferred")
    with pytest.raises(errors.InvalidQuery, match="index on 'free'"):
        pg_stepping.create_view(conn, "v", query, stripes=8, indexes=[["free"]])
    pg_stepping.create_view(conn, "v", query, stripes=8, indexes=[["day"]])
    assert "spread over up to 8 rows" in pg_stepping.explain(conn, "v")
    assert (
        pg_stepping.generate(conn, "w", query, stripes=8).fingerprint
        != pg_stepping.generate(conn, "w", query).fingerprint
    )


def test_the_command_line(conn, dsn, tmp_path):
    conn.execute(SCHEMA)
    conn.commit()
    query = tmp_path / "query.sql"
    query.write_text("SELECT kind, sum(free) AS free FROM t GROUP BY kind")
    run = CliRunner().invoke
    made = run(main, ["--dsn", dsn, "create", "v", str(query), "--stripes", "8"])
    assert made.exit_code == 0, made.output
    assert rows(conn, "v")
    assert_right(conn, "v", query.read_text(), "create")
    generated = run(main, ["--dsn", dsn, "generate", "w", str(query), "--stripes", "8"])
    assert (
        "stripe smallint NOT NULL DEFAULT pg_catalog.mod(pg_catalog.pg_backend_pid(), 8)" in generated.output
    )
    conn.commit()
    online = run(main, ["--dsn", dsn, "create", "w", str(query), "--stripes", "8", "--online"])
    assert online.exit_code == 0, online.output
    assert pg_stepping.installed(conn, "w").stripes == 8
    assert_right(conn, "w", query.read_text(), "create --online")
    conn.commit()
    again = ["--dsn", dsn, "create", "v", str(query), "--or-replace", "--stripes"]
    assert (run(main, [*again, "4"]).exit_code, run(main, [*again, "8"]).exit_code) == (2, 0)
    query.write_text("SELECT kind, sum(free) AS free, count(*) AS n FROM t GROUP BY kind")
    conn.commit()
    assert run(main, [*again, "8"]).exit_code == 0
    assert_right(conn, "v", query.read_text(), "another query")
    assert pg_stepping.installed(conn, "v").stripes == 8


@pytest.mark.parametrize("language", ["plpgsql"])
def test_oracle_it_is_made_and_changed_online(sessions, language, monkeypatch):
    """Between the steps the sessions write, in groups that are filled and in groups that are not."""
    monkeypatch.setattr(pieces, "ROWS", 300)
    rng = random.Random(3)
    conn, *others = sessions
    conn.execute(
        "INSERT INTO t (kind, free, real4, small) SELECT i % 50, i / 8.0, i / 8.0, i FROM generate_series(1, 2000) AS i"
    )
    conn.execute("ANALYZE t")
    for session in sessions:
        session.commit()
        session.autocommit = True

    def written(step, share):
        for session in others:
            session.execute(statement(rng))

    create_view_online(conn, "later", SUMS, language=language, stripes=STRIPES, progress=written)
    assert pg_stepping.verify(conn, "later") == []
    for _ in range(6):
        written("", 0)
    assert conn.execute("SELECT count(DISTINCT stripe) > 1 FROM stepping.later").fetchone() == (True,)
    assert pg_stepping.verify(conn, "later") == []
    assert conn.execute("SELECT count(*) > 50 FROM later").fetchone() == (True,)
    changed = SUMS.replace("sum(span) AS span", "sum(t.id) AS ids")
    plan = pg_stepping.change_view(conn, "later", changed, online=True, progress=written)
    assert plan.kind == "new version"
    assert pg_stepping.verify(conn, "later") == []
    written("", 0)
    assert pg_stepping.verify(conn, "later") == []
    assert pg_stepping.installed(conn, "later").stripes == STRIPES
    assert pg_stepping.plan_change(conn, "later", changed).kind == "nothing"
    names = "SELECT relname FROM pg_class WHERE relnamespace = 'stepping'::regnamespace AND relname LIKE 'later%__log%'"
    assert conn.execute(names).fetchall() == []


@pytest.mark.parametrize("language", ["plpgsql"])
def test_repair_touches_the_wrong_groups_alone(sessions):
    conn, *others = sessions
    rng = random.Random(4)
    for session in others:
        for _ in range(5):
            session.execute(statement(rng))
            session.commit()
    right = conn.execute("SELECT ctid, * FROM stepping.sums ORDER BY ctid").fetchall()
    conn.execute(
        "UPDATE stepping.sums SET total_free = total_free + 1 WHERE kind = 1 AND day IS NOT NULL AND count_free > 0"
    )
    conn.execute(
        "INSERT INTO stepping.sums SELECT r.* FROM stepping.sums AS s, jsonb_populate_record(s, '{\"kind\": 77}') AS r LIMIT 1"
    )
    conn.commit()
    assert pg_stepping.verify(conn, "sums") != []
    assert (
        pg_stepping.repair(conn, "sums")
        == len(conn.execute("SELECT FROM sums WHERE kind = 1 AND day IS NOT NULL").fetchall()) + 1
    )
    assert_right(conn, "sums", SUMS, "repaired")
    left = conn.execute("SELECT ctid, * FROM stepping.sums ORDER BY ctid").fetchall()
    assert len(set(right) & set(left)) > 3
    assert pg_stepping.repair(conn, "sums") == 0
