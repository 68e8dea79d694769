"""Another query for a view: in place, or as a new version; what depends on it stays."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

import pg_stepping
from pg_stepping.cli import main

Connection = psycopg.Connection[Any]

SCHEMA = """
CREATE TABLE meters (id integer PRIMARY KEY, owner text);
CREATE TABLE reads (meter_id integer, day date, value numeric);
CREATE INDEX ON reads (meter_id);
INSERT INTO meters SELECT i, 'owner ' || i % 3 FROM generate_series(1, 9) AS i;
INSERT INTO reads SELECT 1 + i % 9, date '2024-01-01' + i % 4, i FROM generate_series(1, 200) AS i;
"""
QUERY = "SELECT m.owner, r.day, sum(r.value) AS value FROM reads r JOIN meters m ON m.id = r.meter_id GROUP BY m.owner, r.day"
AROUND = """
CREATE VIEW totals AS SELECT owner, sum(value) AS value FROM usage GROUP BY owner;
CREATE VIEW most AS SELECT max(value) AS value FROM totals;
COMMENT ON VIEW usage IS 'What everyone uses';
COMMENT ON COLUMN usage.owner IS 'Who pays';
COMMENT ON VIEW totals IS 'By owner';
GRANT SELECT ON usage, most TO PUBLIC;
GRANT SELECT (owner) ON totals TO PUBLIC;
"""
SAID = """
SELECT c.relname, c.relacl::text, obj_description(c.oid, 'pg_class'), col_description(c.oid, 1),
    (SELECT string_agg(a.attname || a.attacl::text, ' ') FROM pg_attribute AS a WHERE a.attrelid = c.oid)
FROM pg_class AS c WHERE c.relname IN ('usage', 'totals', 'most') AND c.relnamespace = 'public'::regnamespace ORDER BY 1
"""


@pytest.fixture
def usage(conn: Connection, language: str) -> Connection:
    conn.execute(SCHEMA)  # type: ignore[call-overload]
    pg_stepping.create_view(conn, "usage", QUERY, language=language, indexes=[["day"]])
    conn.execute(AROUND)  # type: ignore[call-overload]
    return conn


def follows(conn: Connection) -> None:
    """The view is right, and stays so."""
    assert pg_stepping.verify(conn, "usage") == []
    conn.execute(
        "UPDATE reads SET value = value + 1 WHERE meter_id < 5; DELETE FROM reads WHERE meter_id = 6"
    )
    conn.execute(
        "UPDATE meters SET owner = 'owner 7' WHERE id = 3; INSERT INTO reads VALUES (1, '2024-02-01', 5)"
    )
    assert pg_stepping.verify(conn, "usage") == []
    assert conn.execute("SELECT count(*) > 2 FROM usage").fetchone() == (True,)
    assert "View public.usage" in pg_stepping.explain(conn, "usage")
    assert pg_stepping.repair(conn, "usage") == 0


def tables(conn: Connection) -> list[tuple[Any, ...]]:
    return conn.execute(
        """SELECT relname, oid, relfilenode FROM pg_class
           WHERE relnamespace = 'stepping'::regnamespace AND relkind = 'r' ORDER BY 1"""
    ).fetchall()


def test_the_same_query_in_other_words_changes_nothing(usage: Connection) -> None:
    before, said = tables(usage), usage.execute(SAID).fetchall()
    change = pg_stepping.change_view(
        usage, "usage", QUERY.replace("m.", "mm.").replace(" m ", " AS mm ").lower()
    )
    assert change.kind == "nothing"
    assert (tables(usage), usage.execute(SAID).fetchall()) == (before, said)


def test_oracle_a_filter_of_the_result_and_indexes_change_in_place(usage: Connection) -> None:
    before, said = tables(usage), usage.execute(SAID).fetchall()
    query = QUERY + " HAVING sum(r.value) > 1500"
    plan = pg_stepping.plan_change(usage, "usage", query, indexes=[["owner"]])
    assert (plan.kind, plan.reads) == ("in place", ())
    assert "replace the published view" in plan.steps
    assert pg_stepping.installed(usage, "usage").fingerprint != ""  # type: ignore[union-attr]
    assert pg_stepping.change_view(usage, "usage", query, indexes=[["owner"]]) == plan
    assert (tables(usage), usage.execute(SAID).fetchall()) == (before, said)
    indexes = [
        r[0] for r in usage.execute("SELECT indexdef FROM pg_indexes WHERE tablename = 'usage'").fetchall()
    ]
    assert [i.rpartition(" ")[2] for i in sorted(indexes, key=len) if "UNIQUE" not in i] == ["(owner)"]
    assert usage.execute("SELECT count(*), min(value) > 1500 FROM usage").fetchone()[1] is True  # type: ignore[index]
    follows(usage)


@pytest.mark.parametrize("language", ["plpgsql"])
def test_oracle_what_may_be_wrong_is_not_kept(usage: Connection, language: str) -> None:
    """Neither in place, nor a stage of it, nor brought to another mode."""
    usage.execute("SET LOCAL session_replication_role = replica; DELETE FROM reads WHERE meter_id = 2")
    usage.execute("SET LOCAL session_replication_role = origin")
    assert pg_stepping.verify(usage, "usage") != []
    with pytest.raises(pg_stepping.SteppingError, match=r"may be wrong: public.reads was written"):
        pg_stepping.switch_view(usage, "usage", mode="deferred")
    query = QUERY + " HAVING sum(r.value) > 1500"
    assert pg_stepping.change_view(usage, "usage", query).kind == "new version"
    assert pg_stepping.verify(usage, "usage") == []
    follows(usage)


def test_oracle_a_published_expression_changes_in_place(usage: Connection) -> None:
    before = tables(usage)
    query = QUERY.replace("sum(r.value) AS value", "sum(r.value) AS value, round(sum(r.value) / 7) AS weekly")
    assert pg_stepping.change_view(usage, "usage", query).kind == "in place"
    assert tables(usage) == before
    follows(usage)


@pytest.mark.parametrize(
    "query",
    [
        QUERY.replace("sum(r.value) AS value", "sum(r.value) AS value, count(*) AS reads"),
        QUERY.replace("GROUP BY", "WHERE r.value > 20 GROUP BY"),
        QUERY.replace("m.owner, r.day, sum(r.value) AS value", "r.day, m.owner, sum(r.value) AS value"),
        QUERY.replace("sum(r.value) AS value", "sum(r.value)::float8 AS value"),
    ],
    ids=["column", "filter", "order", "type"],
)
def test_oracle_a_new_version_takes_the_place_of_the_old(usage: Connection, query: str) -> None:
    said = usage.execute(SAID).fetchall()
    functions = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'stepping'::regnamespace AND prorettype = 'trigger'::regtype"
    counts = len(tables(usage)), usage.execute(functions).fetchone()
    change = pg_stepping.change_view(usage, "usage", query)
    if change.kind == "new version":
        assert [table for table, _ in change.reads] == ["public.meters", "public.reads"]
        assert any("SHARE ROW EXCLUSIVE" in lock for lock in change.locks)
    now = usage.execute(SAID).fetchall()
    assert [(name, acl) for name, acl, *_ in now] == [(name, acl) for name, acl, *_ in said]
    assert now[0][2] == "By owner" or now[1][2] == "By owner"
    assert usage.execute("SELECT obj_description('usage'::regclass, 'pg_class')").fetchone() == (
        "What everyone uses",
    )
    assert (len(tables(usage)), usage.execute(functions).fetchone()) == counts
    assert usage.execute("SELECT value > 0 FROM most").fetchone() == (True,)
    assert len(pg_stepping.list_views(usage)) == 1
    follows(usage)
    assert pg_stepping.change_view(usage, "usage", QUERY).kind != "nothing"  # and back again
    follows(usage)
    usage.execute("DROP VIEW totals CASCADE")
    pg_stepping.drop_view(usage, "usage")
    assert not [t for t in tables(usage) if t[0].startswith("usage")]


def test_what_cannot_do_without_a_column_is_named(usage: Connection) -> None:
    before = tables(usage)
    for query, message in (
        ("SELECT day, sum(value) AS value FROM reads GROUP BY day", "view public.totals needs"),
        ("SELECT nothing FROM reads", "nothing"),
    ):
        with pytest.raises(pg_stepping.SteppingError, match=message):
            pg_stepping.change_view(usage, "usage", query)
        assert tables(usage) == before


@pytest.mark.parametrize("language", ["plpgsql"])
@pytest.mark.parametrize("online", [False, True], ids=["at once", "online"])
def test_oracle_maintained_views_that_read_it_are_made_anew(
    usage: Connection, language: str, online: bool
) -> None:
    pg_stepping.create_view(usage, "reader", "SELECT owner, count(day) AS n FROM usage GROUP BY owner")
    pg_stepping.create_view(usage, "later", "SELECT sum(value) AS v FROM usage", mode="deferred")
    pg_stepping.create_view(
        usage,
        "top",
        "SELECT r.n, count(*) AS c, max(u.value) AS most FROM reader r"
        " JOIN usage u USING (owner) GROUP BY r.n",
    )
    usage.execute("CREATE VIEW around AS SELECT * FROM top; COMMENT ON VIEW reader IS 'How many'")
    usage.commit()
    usage.autocommit = True

    def check() -> None:
        for name in ("usage", "reader", "later", "top"):
            assert pg_stepping.verify(usage, name) == [], name
        assert len(pg_stepping.list_views(usage)) == 4
        assert usage.execute("SELECT count(*) > 0 FROM around").fetchone() == (True,)
        assert usage.execute("SELECT obj_description('reader'::regclass)").fetchone() == ("How many",)

    with pytest.raises(
        pg_stepping.SteppingError, match=r"maintained view public.reader reads public.usage, and needs"
    ):
        pg_stepping.change_view(
            usage, "usage", QUERY.replace("r.day, ", "").replace(", r.day", ""), indexes=[]
        )
    check()
    changed = QUERY.replace("sum(r.value) AS", "max(r.meter_id) AS m, sum(r.value) AS")
    for query in (QUERY + " HAVING sum(r.value) > 700", changed)[online:]:
        plan = pg_stepping.plan_change(usage, "usage", query, online=online)
        assert {s for s in plan.steps if "anew" in s} == {
            f"make maintained view public.{n}, which reads it, anew beside it"
            for n in ("reader", "later", "top")
        }
        assert pg_stepping.change_view(usage, "usage", query, online=online).kind == "new version"
        check()
        follows(usage)
        check()
    assert pg_stepping.change_view(usage, "usage", changed, indexes=[]).kind == "in place"
    check()


@pytest.mark.parametrize("mode", ["immediate", "deferred"])
@pytest.mark.parametrize("language", ["plpgsql"])
def test_oracle_what_reads_it_is_made_beside_it_while_the_tables_are_written(
    conn: Connection, dsn: str, language: str, mode: str
) -> None:
    """Directly, through an ordinary view, in deferred mode, in stripes; interrupted, and gone on with."""
    conn.execute(SCHEMA)  # type: ignore[call-overload]
    pg_stepping.create_view(conn, "usage", QUERY, language=language, mode=mode)
    conn.execute("CREATE VIEW between AS SELECT owner AS of, value + 1 AS value FROM usage")
    for name, query, options in (
        ("reader", "SELECT b.of, count(*) AS n, max(b.value) AS most FROM between b GROUP BY b.of", {}),
        (
            "later",
            "SELECT usage.day, sum(usage.value) AS v FROM usage GROUP BY usage.day",
            {"mode": "deferred"},
        ),
        ("spread", "SELECT owner, sum(value) AS value FROM usage GROUP BY owner", {"stripes": 2}),
        ("top", "SELECT n, sum(l.v) AS v FROM reader JOIN later l ON l.v > n GROUP BY n", {}),
    ):
        pg_stepping.create_view(conn, name, query, language=language, **options)  # type: ignore[arg-type]
    conn.commit()
    conn.autocommit = True
    names = ["later", "reader", "spread", "top", "usage"]
    before = {v.name: v for v in pg_stepping.list_views(conn)}
    query = QUERY.replace("sum(r.value) AS", "max(r.meter_id) AS m, (sum(r.value) + 1)::float8 AS")
    plan = pg_stepping.plan_change(conn, "usage", query, online=True)
    assert "public.spread" not in "".join(plan.locks)
    done, failed, written = threading.Event(), list[Exception](), threading.Semaphore(0)

    def write() -> None:
        with psycopg.connect(dsn, autocommit=True) as session:
            try:
                for n in count():
                    written.release()
                    session.execute("INSERT INTO reads VALUES (%s, '2024-01-02', 5)", [1 + n % 9])
                    session.execute("UPDATE meters SET owner = 'owner ' || %s WHERE id = 3", [n % 4])
                    session.execute("DELETE FROM reads WHERE value = %s", [n % 200])
                    if done.is_set():
                        return
            except psycopg.Error as error:
                failed.append(error)

    def stopping(at: tuple[str, int]) -> Callable[[str, float], None]:
        steps: list[str] = []

        def progress(step: str, share: float) -> None:
            steps.append(step)
            if (step, steps.count(step)) == at:
                raise KeyboardInterrupt

        return progress

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for at in (("capture", 2), ("exchange", 1), ("drop", 1)):
            with pytest.raises(KeyboardInterrupt):
                pg_stepping.change_view(conn, "usage", query, online=True, progress=stopping(at))
        while written.acquire(blocking=False):
            pass
        assert written.acquire(timeout=30) and written.acquire(timeout=30)  # beside the old ones, too
        pg_stepping.change_view(conn, "usage", query, online=True)
    finally:
        done.set()
        writer.join()
    assert failed == []
    views = {v.name: v for v in pg_stepping.list_views(conn)}
    assert sorted(views) == names
    for name in names:
        assert pg_stepping.verify(conn, name) == [], name
        assert conn.execute("SELECT count(*) > 0 FROM " + name).fetchone() == (True,)  # type: ignore[call-overload]
        assert (views[name].reads, views[name].mode) == (before[name].reads, before[name].mode)
        assert pg_stepping.plan_change(conn, name, views[name].query).kind == "nothing"
    assert conn.execute("SELECT bool_and(in_step) FROM stepping.views").fetchone() == (True,)
    conn.execute(
        "UPDATE reads SET value = value + 1 WHERE meter_id < 5; DELETE FROM reads WHERE meter_id = 6"
    )
    for name in names:
        assert pg_stepping.verify(conn, name) == [], name
    for name in reversed(["usage", "later", "spread", "reader", "top"]):
        conn.execute("DROP VIEW IF EXISTS between" if name == "usage" else "SELECT 1")
        pg_stepping.drop_view(conn, name)
    assert tables(conn) == [t for t in tables(conn) if "__" not in t[0]]


def test_oracle_a_reader_of_whole_rows_is_made_last_and_not_online(usage: Connection) -> None:
    pg_stepping.create_view(
        usage, "rows", "SELECT owner, max(row_to_json(usage)::text) AS n FROM usage GROUP BY owner"
    )
    usage.commit()
    usage.autocommit = True
    query = QUERY.replace("sum(r.value) AS", "max(r.meter_id) AS m, sum(r.value) AS")
    told = r"whole rows of it are read by public\.rows"
    with pytest.raises(pg_stepping.SteppingError, match=told) as refused:
        pg_stepping.change_view(usage, "usage", query, online=True)
    assert refused.value.sqlstate == "0A000"
    plan = pg_stepping.change_view(usage, "usage", query)
    assert "make maintained view public.rows, which reads whole rows, anew" in plan.steps
    follows(usage)
    for name in ("usage", "rows"):
        assert pg_stepping.verify(usage, name) == []
    assert usage.execute("SELECT bool_and(n ~ '\"m\"') FROM rows").fetchone() == (True,)


def test_oracle_a_stage_that_did_not_change_is_not_filled_anew(usage: Connection) -> None:
    per_meter = "(SELECT meter_id, count(*) AS n, sum(value) AS value FROM reads GROUP BY meter_id) AS m"
    pg_stepping.create_view(usage, "sizes", f"SELECT n, count(*) AS meters FROM {per_meter} GROUP BY n")
    query = f"SELECT n, count(*) AS meters, sum(value) AS value FROM {per_meter} GROUP BY n"
    usage.execute("ANALYZE reads")
    assert pg_stepping.change_view(usage, "sizes", query).reads == (("public.reads", 200),)
    query = query.replace("sum(value) AS value FROM (", "max(value) AS most FROM (")
    plan = pg_stepping.plan_change(usage, "sizes", query)
    assert (plan.kind, plan.reads) == ("new version", ())
    assert any(step.startswith("keep what is in") for step in plan.steps)
    scans = "SELECT seq_scan + coalesce(idx_scan, 0) FROM pg_stat_xact_user_tables WHERE relname = 'reads'"
    before = usage.execute(scans).fetchone()
    assert pg_stepping.change_view(usage, "sizes", query) == plan
    assert usage.execute(scans).fetchone() == before
    assert pg_stepping.verify(usage, "sizes") == []
    follows(usage)
    assert pg_stepping.verify(usage, "sizes") == []
    assert usage.execute("SELECT count(*) > 1 FROM sizes").fetchone() == (True,)


def test_oracle_a_change_online_is_interrupted_and_goes_on(usage: Connection, language: str) -> None:
    usage.commit()
    usage.autocommit = True
    other = QUERY.replace("sum(r.value)", "max(r.value)")
    begun: list[str] = []
    for query, stop in (
        (other, "fill"),
        (QUERY + " HAVING sum(r.value) > 9 OR min(r.value) > 0", "publish"),
        (other, "exchange"),
        (other, ""),
    ):

        def progress(step: str, share: float, stop: str = stop) -> None:
            if step == stop:
                raise KeyboardInterrupt

        try:
            pg_stepping.change_view(usage, "usage", query, online=True, progress=progress)
        except KeyboardInterrupt:
            begun += [v.name for v in pg_stepping.list_views(usage) if v.name != "usage"]
            assert len(pg_stepping.list_views(usage)) == 2
            usage.execute("INSERT INTO reads VALUES (2, '2024-01-02', 5); DELETE FROM reads WHERE value = 9")
    assert len(set(begun)) == 2
    assert [v.name for v in pg_stepping.list_views(usage)] == ["usage"]
    assert "max" in pg_stepping.list_views(usage)[0].query
    follows(usage)


def test_a_change_rolls_back_whole(usage: Connection) -> None:
    usage.commit()
    before, said = tables(usage), usage.execute(SAID).fetchall()
    pg_stepping.change_view(usage, "usage", QUERY.replace("sum(r.value)", "max(r.value)"))
    usage.rollback()
    assert (tables(usage), usage.execute(SAID).fetchall()) == (before, said)
    follows(usage)


def test_the_language_is_a_new_version(usage: Connection, language: str) -> None:
    assert pg_stepping.change_view(usage, "usage", QUERY, language="plpgsql").kind == (
        "nothing" if language == "plpgsql" else "new version"
    )
    follows(usage)


def test_the_command(usage: Connection, dsn: str, tmp_path: Path) -> None:
    usage.commit()
    file = tmp_path / "query.sql"

    def run(*arguments: str, fails: int = 0) -> str:
        done = CliRunner().invoke(main, ["--dsn", dsn, *arguments], input="n\n")
        assert done.exit_code == fails, done.stderr
        return done.stdout + done.stderr

    file.write_text(QUERY)
    assert "nothing" in run("change", "usage", str(file))
    file.write_text(QUERY.replace("sum(r.value) AS value", "sum(r.value) AS value, min(r.value) AS n"))
    assert "reads public.reads: about" in run("change", "usage", str(file), "--plan")
    assert "Aborted" in run("change", "usage", str(file), fails=1)
    assert len(usage.execute("SELECT * FROM usage").description or ()) == 3
    usage.commit()
    assert "has its new query" in run("change", "usage", str(file), "--yes")
    file.write_text(QUERY + " HAVING sum(r.value) > 10")
    assert "Change of view public.usage" in run("create", "--or-replace", "usage", str(file))
    assert "is maintained" in run("create", "--or-replace", "other", str(file))
    assert len(usage.execute("SELECT * FROM usage").description or ()) == 3
    follows(usage)


@pytest.mark.parametrize("language", ["plpgsql"])
def test_a_view_with_a_fault_that_is_mended_since_is_marked_and_made_anew(
    conn: Connection, dsn: str, language: str
) -> None:
    conn.execute("CREATE TABLE arcs (a numeric, b numeric); CREATE TABLE exact (a integer, b integer)")
    conn.execute("INSERT INTO arcs VALUES (1, 2.0), (2.00, 3); INSERT INTO exact VALUES (1, 2)")
    walk = "WITH RECURSIVE w AS (SELECT a, b FROM {0} UNION SELECT w.a, r.b FROM w JOIN {0} r ON r.a = w.b) SELECT a, b FROM w"
    grouped = "SELECT n, count(*) AS c FROM (SELECT a, count(*) AS n FROM {0} GROUP BY a) AS g GROUP BY n, a"
    made: dict[str, tuple[str, dict[str, Any]]] = {
        "walk": (walk, {}),
        "later": (grouped, {"mode": "deferred"}),
        "now": (grouped, {}),
        "joined": ("SELECT x.a FROM {0} AS x JOIN generate_series(2, 5) AS s (b) USING (b)", {}),
        "by": ("SELECT x.a FROM {0} AS x JOIN exact USING (b)", {}),
    }
    for name, (query, options) in made.items():
        for table in ("arcs", "exact"):
            pg_stepping.create_view(
                conn, f"{name}_{table}", query.format(table), language=language, **options
            )
    pg_stepping.create_view(
        conn, "reader", "SELECT a, count(*) AS n FROM walk_arcs GROUP BY a", language=language
    )
    marked = "SELECT array_agg(view_name ORDER BY view_name) FROM stepping.views WHERE NOT in_step"
    assert conn.execute(marked).fetchone() == (None,)
    conn.execute(
        "UPDATE stepping.maintained_view SET text_version = 0"
    )  # what those have that were there before
    conn.commit()
    conn.autocommit = True
    assert conn.execute(marked).fetchone() == (["joined_arcs", "joined_exact", "later_arcs", "walk_arcs"],)
    conn.execute("ALTER TABLE arcs ADD COLUMN c text")  # which the views do not mind
    said = CliRunner().invoke(main, ["--dsn", dsn, "status"])
    assert said.exit_code == 1
    assert "older version, whose recursions may show rows that are equal and look different" in said.output
    assert "pg-stepping change makes it anew" in said.output
    for name, how in (
        ("later_arcs", []),
        ("walk_arcs", ["--online"]),
        ("joined_arcs", []),
        ("joined_exact", []),
    ):
        command = ["--dsn", dsn, "change", name, *how]
        assert "new version" in CliRunner().invoke(main, [*command, "--plan"]).output
        done = CliRunner().invoke(main, [*command, "--yes"])
        assert done.exit_code == 0 and f"view {name} is made anew" in done.output, done.output
        assert pg_stepping.change_view(conn, name).kind == "nothing"
    assert conn.execute(marked).fetchone() == (None,)
    conn.execute("INSERT INTO arcs VALUES (3.0, 4), (3, 4.0); DELETE FROM arcs WHERE a = 1")
    for name in ("later_arcs", "walk_arcs", "reader"):
        assert pg_stepping.verify(conn, name) == []
