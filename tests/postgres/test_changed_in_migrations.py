"""Migrations of changed views: in place or by a new version, up and down; what depends on the views stays."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest
from test_change import SCHEMA

import pg_stepping
from pg_stepping.migrate import Declaration, Migration, View, in_database, in_migrations, wanted
from pg_stepping.migrate.database import all_changes, migrate

Connection = psycopg.Connection[Any]

AROUND = """
CREATE VIEW report AS SELECT owner, day FROM usage;
COMMENT ON VIEW usage IS 'What everyone uses';
GRANT SELECT ON usage, report TO PUBLIC;
ALTER VIEW usage SET (security_invoker = true);
"""
SAID = """
SELECT c.relname, c.relacl::text, c.reloptions::text, obj_description(c.oid, 'pg_class')
FROM pg_class AS c WHERE c.relname IN ('usage', 'report') AND c.relnamespace = 'public'::regnamespace ORDER BY 1
"""
SUMS = """SELECT m.owner, r.day, sum(r.value) AS value{} FROM reads r JOIN meters m ON m.id = r.meter_id
GROUP BY m.owner, r.day{}"""
# Two stages, of which the first is kept where the second changes.
MOST = "SELECT owner, max(day) AS day, max(value) AS most{} FROM ({}) AS s GROUP BY owner"
WHOLE = """SELECT m.owner, r.day, {}(r.value) AS value, count(DISTINCT m) AS n FROM reads r JOIN meters m ON m.id = r.meter_id
GROUP BY m.owner, r.day"""
READER = "SELECT owner, count(*) AS days FROM usage GROUP BY owner"


def views(
    query: str, language: str, *, index: Sequence[str] = (), reader: bool = False, mode: str = "immediate"
) -> list[View]:
    indexes = (tuple(index),) if index else ()
    read_by = [View("days", READER, language=language)] if reader else []
    return [*read_by, View("usage", query, language=language, indexes=indexes, mode=mode)]


def between(conn: Connection, to: Sequence[View]) -> Migration:
    return Migration(tuple(migrate(conn, Declaration(tuple(to)))))


def holds(conn: Connection, *, canonical: bool = True) -> None:
    """All views are right, and stay so."""
    conn.execute(
        """INSERT INTO reads VALUES (1, '2024-02-01', 5); UPDATE meters SET owner = 'x' WHERE id = 2;
        DELETE FROM reads WHERE value = 7; INSERT INTO reads VALUES (3, '2024-01-02', 7)"""
    )
    for view in pg_stepping.list_views(conn):
        assert pg_stepping.verify(conn, view.name) == []
        assert not canonical or view.stages[-1] == view.name
    conn.execute("UPDATE meters SET owner = 'owner 2' WHERE id = 2")
    assert conn.execute("SELECT count(*) > 2 FROM usage").fetchone() == (True,)


def objects(conn: Connection) -> set[tuple[str, ...]]:
    """What there is of ours; the numbers in names of triggers follow from the order in which views came."""
    rows = conn.execute(
        """SELECT relname, relkind::text, CASE WHEN relkind IN ('r', 'i') THEN obj_description(oid, 'pg_class') END
           FROM pg_class WHERE relnamespace = 'stepping'::regnamespace
           UNION ALL SELECT proname, 'function', '' FROM pg_proc WHERE pronamespace = 'stepping'::regnamespace
           UNION ALL SELECT conname, 'constraint', conrelid::regclass::text FROM pg_constraint
           UNION ALL SELECT tgname, 'trigger', tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal"""
    )
    return {(re.sub(r"^stepping_\d{6}_", "stepping_", row[0]), *row[1:]) for row in rows}


@pytest.mark.parametrize(
    ("kind", "kept", "old", "new", "settings"),
    [
        ("in place", "", SUMS.format("", ""), SUMS.format(", count(*) AS n", " HAVING sum(r.value) > 9"), {}),
        ("in place", "", SUMS.format("", ""), SUMS.format("", ""), {"index": ["day", "value"]}),
        ("new version", "usage", SUMS.format("", ""), SUMS.format(", count(*) AS n", ""), {"reader": True}),
        ("new version", "", SUMS.format("", ""), SUMS.format(", max(r.value) AS n", ""), {"reader": True}),
        ("new version", "", SUMS.format("", ""), SUMS.format("", "").replace("sum(", "count(DISTINCT "), {}),
        ("new version", "usage__stage_1", MOST.format("", SUMS.format("", "")),
         MOST.format(", min(value) AS least", SUMS.format("", "")), {}),
        ("new version", "", SUMS.format("", ""), SUMS.format(", max(r.value) AS n", ""), {"modes": ("deferred", "deferred")}),
        ("new version", "", SUMS.format("", ""), SUMS.format(", count(*) AS n", ""), {"modes": ("deferred", "immediate")}),
        ("new version", "", SUMS.format("", ""), SUMS.format("", ""), {"modes": ("immediate", "deferred")}),
        ("new version", "", WHOLE.format("count"), WHOLE.format("max"), {}),
    ],
)  # fmt: skip
def test_oracle_a_changed_view_stands(
    conn: Connection,
    language: str,
    kind: str,
    kept: str,
    old: str,
    new: str,
    settings: dict[str, Any],
) -> None:
    conn.execute(SCHEMA)  # type: ignore[call-overload]
    reader = bool(settings.get("reader"))
    was, mode = settings.get("modes", ("immediate", "immediate"))
    settings = {k: v for k, v in settings.items() if k != "modes"} | {"mode": mode}
    first = between(conn, views(old, language, reader=reader, mode=was))
    conn.execute(first.up)  # type: ignore[call-overload]
    conn.execute(AROUND)  # type: ignore[call-overload]
    said, before = conn.execute(SAID).fetchall(), objects(conn)
    declared = views(new, language, **settings)
    migration = between(conn, declared)
    assert [c.up.kind for c in migration.changes if c.up] == [kind] * (1 + reader)
    assert "drop_view" not in migration.up + migration.down
    reads = [line for line in migration.plan if "  reads public.reads: about" in line]
    assert len(reads) == (kind == "new version" and not kept)
    assert (f"  keeps what is in {kept}: no table is read for it" in migration.plan) == bool(kept)
    assert all(f"\n-- {line}\n" in migration.up for line in migration.plan)
    for _ in range(2):
        conn.execute(migration.up)  # type: ignore[call-overload]
        assert between(conn, declared).changes == ()
        holds(conn)
        assert conn.execute(SAID).fetchall() == said
        conn.execute(migration.down)  # type: ignore[call-overload]
        assert between(conn, views(old, language, reader=reader, mode=was)).changes == ()
        holds(conn)
        assert conn.execute(SAID).fetchall() == said
        assert objects(conn) - {("stepping_set_aside", "r", None)} == before
    # what the text says is read back from it
    there = in_migrations([first.up, migration.up])
    assert {t.name for t in there} == {v.name for v in declared}
    assert all_changes(conn, there, wanted(conn, declared), declared) == []


def test_what_a_migration_does_not_expect_is_left_alone(conn: Connection) -> None:
    conn.autocommit = True
    conn.execute(SCHEMA)  # type: ignore[call-overload]
    old, new = (views(SUMS.format(n, ""), "plpgsql") for n in ("", ", count(r.value) AS n"))
    conn.execute(between(conn, old).up)  # type: ignore[call-overload]
    migration = between(conn, new)
    pg_stepping.create_view(conn, "days", READER, language="plpgsql")
    with pytest.raises(psycopg.errors.DependentObjectsStillExist, match=r"public\.days reads public\.usage"):
        conn.execute(migration.up)  # type: ignore[call-overload]
    pg_stepping.change_view(conn, "usage", SUMS.format("", "").replace("sum", "max"))
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="not the one that this migration"):
        conn.execute(migration.up)  # type: ignore[call-overload]
    assert len(in_database(conn, Declaration(tuple(old)))) == 2
    holds(conn, canonical=False)


def test_a_stage_that_may_be_wrong_is_not_kept(conn: Connection) -> None:
    conn.execute(SCHEMA)  # type: ignore[call-overload]
    old, new = (views(MOST.format(n, SUMS.format("", "")), "plpgsql") for n in ("", ", min(value) AS least"))
    conn.execute(between(conn, old).up)  # type: ignore[call-overload]
    migration = between(conn, new)
    conn.execute("SET session_replication_role = replica; DELETE FROM reads; RESET session_replication_role")
    conn.execute("INSERT INTO reads VALUES (1, '2024-01-01', 3)")
    conn.execute(migration.up)  # type: ignore[call-overload]
    assert conn.execute("SELECT most, least FROM usage").fetchall() == [(3, 3)]
    assert conn.execute("SELECT count(*) FROM stepping.suspect").fetchone() == (0,)


@pytest.mark.parametrize("language", ["plpgsql"])
@pytest.mark.parametrize(
    ("edit", "by", "says"),
    [
        ("CREATE INDEX ON stepping.usage (day);\n", "", "edited by hand"),
        ('"version": "', '"version": "0.0.', "another version of pg_stepping wrote it"),
    ],
)
def test_oracle_what_was_edited_or_comes_from_another_version_stands(
    conn: Connection, language: str, edit: str, by: str, says: str
) -> None:
    conn.execute(SCHEMA)  # type: ignore[call-overload]
    old = views(SUMS.format("", ""), language, index=["day"], reader=True)
    first = between(conn, old).up
    assert edit in first
    edited = first.replace(edit, by)
    if by:  # as that version would have ended its sections
        edited = re.sub(
            r"(-- pg_stepping: create .*\n)((?:.*\n)*?)-- pg_stepping: end \w+\n",
            lambda m: f"{m[1]}{m[2]}-- pg_stepping: end {hashlib.sha256(m[2].encode()).hexdigest()[:16]}\n",
            edited,
        )
    conn.execute(edited)  # type: ignore[call-overload]
    conn.execute(AROUND)  # type: ignore[call-overload]
    said = conn.execute(SAID).fetchall()
    new = views(SUMS.format(", count(*) AS n", ""), language, reader=True)
    there = in_migrations([edited])
    migration = Migration(tuple(all_changes(conn, there, wanted(conn, new), new)))
    assert [c.up.kind for c in migration.changes if c.up] == ["new version"] * 2
    assert "drop_view" not in migration.up + migration.down
    assert says in migration.up and "a downgrade does not bring that back" in migration.up
    for script in (migration.up, migration.down, migration.up):
        conn.execute(script)  # type: ignore[call-overload]
        holds(conn)
        assert conn.execute(SAID).fetchall() == said
    assert all_changes(conn, in_migrations([edited, migration.up]), wanted(conn, new), new) == []
