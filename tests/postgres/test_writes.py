"""Every way to write to source tables: afterwards each view equals its recomputed query.

All of the views of `shapes` are there at once; `world.step` checks every one of them after every statement,
in the transaction that wrote, and `world.commit` again after the commit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import shapes
from psycopg import errors
from shapes import World

import pg_stepping

OF_READS = {"daily_usage", "value_sums", "level_sums", "counts", "pairs", "notes", "days_of_kinds"} | {
    "everything", "all_owned", "sizes", "kind_totals", "shares", "busy", "user_totals", "day_shares", "note_counts",
    "busy_kinds",
}  # fmt: skip


@pytest.fixture
def world(databases: Any, dsn: str, language: str) -> Iterator[World]:
    with shapes.world(databases, language) as world:
        yield world


# --- INSERT and COPY ---------------------------------------------------------------------------------


def test_oracle_the_views_are_right_and_not_empty_to_begin_with(world: World) -> None:
    world.check()


def test_oracle_insert_of_one_row(world: World) -> None:
    world.step("INSERT INTO reads (meter_id, at, value, level) VALUES (1, '2024-01-01', 0.5, 0.7)")
    world.step("INSERT INTO meters VALUES (6, 4, 'gas')")
    world.step("INSERT INTO users VALUES (6, 'eve', 'north')")
    world.step("INSERT INTO reads DEFAULT VALUES")
    world.commit()


def test_oracle_insert_of_many_rows(world: World) -> None:
    world.step(
        """INSERT INTO reads (meter_id, at, value, level, note) VALUES
           (1, '2024-01-01', 1, 1, '1'), (1, '2024-01-01', 1, 1, '1'), (4, NULL, 2.50, NULL, NULL),
           (NULL, '2024-01-05', 3, 'NaN', '{}'), (3, '2024-01-03', -7.000, '-Infinity', '[]')"""
    )
    world.commit()


def test_oracle_insert_of_thousands_of_rows(world: World) -> None:
    world.step(
        """INSERT INTO reads (meter_id, at, value, level, note)
           SELECT i % 5 + 1, timestamp '2024-01-01' + i * interval '1 hour', i / 8.0, i, to_json(i % 3)
           FROM generate_series(1, 400) AS i"""
    )
    world.step("DELETE FROM reads WHERE id >= 100 AND id % 3 = 0")
    world.commit()


def test_oracle_insert_select_from_a_source_and_from_a_view(world: World) -> None:
    world.step(
        "INSERT INTO reads (meter_id, at, value, level, note) SELECT meter_id, at, value, level, note FROM reads"
    )
    world.step(
        "INSERT INTO reads (meter_id, value) SELECT meter_id, total FROM value_sums WHERE meter_id < 3"
    )
    world.commit()


def test_oracle_copy(world: World) -> None:
    with world.conn.cursor().copy("COPY reads (meter_id, at, value, level, note) FROM STDIN") as copy:
        for row in [(1, "2024-01-01", "9.90", 1.5, "{}"), (2, None, None, None, None), (2, None, 1, 1, "[]")]:
            copy.write_row(row)
    world.check()
    world.commit()


def test_oracle_copy_that_fails_at_its_last_row(world: World) -> None:
    with (
        pytest.raises(errors.ForeignKeyViolation),
        world.conn.transaction(),
        world.conn.cursor().copy("COPY reads (meter_id, value) FROM STDIN") as copy,
    ):
        copy.write_row((1, 1))
        copy.write_row((99, 1))
    world.check()
    world.step("INSERT INTO reads (meter_id, value) VALUES (1, 1)")
    world.commit()


def test_oracle_insert_with_returning_in_a_loop(world: World) -> None:
    world.step(
        """DO $$
        DECLARE r record;
        BEGIN
            FOR r IN INSERT INTO meters SELECT i, 4, 'gas' FROM generate_series(10, 13) AS i RETURNING id LOOP
                INSERT INTO reads (meter_id, at, value) VALUES (r.id, '2024-02-01', r.id);
            END LOOP;
        END $$"""
    )
    world.commit()


# --- UPDATE and DELETE -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE reads SET id = id + 1000",
        "UPDATE reads SET meter_id = 2 WHERE meter_id = 1",
        "UPDATE reads SET meter_id = NULL WHERE id < 3",
        "UPDATE reads SET meter_id = 4 WHERE meter_id IS NULL",
        "UPDATE reads SET at = at + interval '1 day'",
        "UPDATE reads SET value = value * 2.50, level = -level",
        "UPDATE reads SET value = NULL WHERE meter_id IN (1, 4)",
        "UPDATE reads SET value = 0.0 WHERE value IS NULL",
        "UPDATE reads SET value = value::numeric(10, 4)",
        "UPDATE reads SET level = 1 WHERE level = 'NaN'",
        "UPDATE reads SET level = 'NaN' WHERE level < 1",
        "UPDATE reads SET note = '{}' WHERE note::text = '[]'",
        "UPDATE reads SET note = NULL WHERE id % 2 = 0",
        "UPDATE reads AS r SET value = m.id FROM meters AS m WHERE m.id = r.meter_id AND m.kind = 'gas'",
        "UPDATE meters SET user_id = 3 WHERE user_id = 1",
        "UPDATE meters SET user_id = NULL WHERE id = 1",
        "UPDATE meters SET user_id = 2 WHERE user_id IS NULL",
        "UPDATE meters SET kind = 'heat'",
        "UPDATE meters SET kind = CASE kind WHEN 'gas' THEN 'power' WHEN 'power' THEN 'gas' END",
        "UPDATE meters SET id = id + 10",
        "UPDATE users SET name = 'ada'",
        "UPDATE users SET name = NULL WHERE id = 1",
        "UPDATE users SET region = 'south', name = upper(name)",
        "UPDATE users SET id = id + 100",
    ],
)
def test_oracle_update(world: World, statement: str) -> None:
    world.step(statement)
    world.commit()


def test_oracle_update_there_and_back(world: World) -> None:
    before = world.rows()
    world.step("UPDATE meters SET user_id = 4 WHERE id = 1")
    world.step("UPDATE reads SET value = value + 1.111, meter_id = 2 WHERE id = 3")
    world.step("UPDATE reads SET value = value - 1.111, meter_id = 1 WHERE id = 3")
    world.step("UPDATE reads SET value = 3 WHERE id = 3")
    world.step("UPDATE meters SET user_id = 1 WHERE id = 1")
    assert world.rows() == before


def test_oracle_delete(world: World) -> None:
    world.step("DELETE FROM reads WHERE id = 1")
    world.step("DELETE FROM reads WHERE level = 'Infinity' OR level = 'NaN'")
    world.step("DELETE FROM reads AS r USING meters AS m WHERE m.id = r.meter_id AND m.kind = 'gas'")
    world.commit()
    world.step("DELETE FROM reads", empty=OF_READS)
    world.step("DELETE FROM meters", empty=set(shapes.VIEWS))
    world.step("INSERT INTO meters VALUES (1, 1, 'gas'), (2, 1, 'gas')", empty=OF_READS)
    world.commit()


def test_oracle_a_group_crosses_having_both_ways(world: World) -> None:
    def busy() -> list[Any]:
        return world.conn.execute("SELECT meter_id, n FROM busy WHERE meter_id = 4").fetchall()

    assert busy() == []
    world.step("INSERT INTO reads (meter_id, value) VALUES (4, 8)")
    assert busy() == [(4, 2)]
    world.step("UPDATE reads SET value = 7 WHERE meter_id = 4 AND value = 8")
    assert busy() == []
    world.step("UPDATE reads SET value = 9 WHERE meter_id = 4 AND value = 7")
    assert busy() == [(4, 2)]
    world.step("UPDATE reads SET meter_id = NULL WHERE meter_id = 4 AND value = 9")
    assert busy() == []


# --- TRUNCATE ----------------------------------------------------------------------------------------


def test_oracle_truncate(world: World) -> None:
    world.step("TRUNCATE reads", empty=OF_READS)
    world.step("INSERT INTO reads (meter_id, at, value) VALUES (1, '2024-01-01', 4), (1, '2024-01-01', 4)")
    world.commit()


def test_oracle_truncate_cascade(world: World) -> None:
    world.step("TRUNCATE users CASCADE", empty=set(shapes.VIEWS))
    world.step("INSERT INTO users VALUES (1, 'ada', 'north')", empty=set(shapes.VIEWS))
    world.step("INSERT INTO meters VALUES (1, 1, 'gas'), (2, 1, 'gas')", empty=OF_READS)
    world.step("INSERT INTO reads (meter_id, at, value) VALUES (1, '2024-01-01', 4), (1, '2024-01-01', 4)")
    world.commit()


def test_oracle_truncate_of_several_tables(world: World) -> None:
    world.step("TRUNCATE reads, meters", empty=set(shapes.VIEWS))
    world.commit()


def test_oracle_truncate_rolled_back(world: World) -> None:
    with world.undone():
        world.step("TRUNCATE meters CASCADE", empty=set(shapes.VIEWS))
    world.check()
    world.step("DELETE FROM reads WHERE id = 1")
    world.commit()


# --- several kinds of change in one statement --------------------------------------------------------


def test_oracle_on_conflict_do_update(world: World) -> None:
    world.step(
        """INSERT INTO reads (id, meter_id, at, value) VALUES
           (1, 2, '2024-01-01', 3.0), (2, 1, '2024-01-01 09:00', 2.5), (20, 1, '2024-01-01', 4)
           ON CONFLICT (id) DO UPDATE SET meter_id = excluded.meter_id, value = excluded.value"""
    )
    world.step(
        "INSERT INTO meters VALUES (1, 3, 'heat'), (9, 1, 'gas') ON CONFLICT (id) DO UPDATE SET user_id = 4"
    )
    world.step(
        "INSERT INTO users VALUES (1, 'x', 'y'), (9, 'z', 'z') ON CONFLICT (id) DO UPDATE SET name = 'w'"
    )
    world.commit()


def test_oracle_get_or_create_that_changes_nothing_beside_rows_that_change(world: World) -> None:
    world.step(
        """WITH m AS (
               INSERT INTO meters VALUES (1, 1, 'gas'), (7, 2, 'gas')
               ON CONFLICT (id) DO UPDATE SET kind = meters.kind RETURNING id
           ) INSERT INTO reads (meter_id, at, value) SELECT id, '2024-01-01', 2 FROM m"""
    )
    world.commit()


def test_oracle_on_conflict_do_nothing(world: World) -> None:
    world.step("INSERT INTO reads (id, meter_id, value) VALUES (1, 2, 9), (30, 1, 1) ON CONFLICT DO NOTHING")
    world.step("INSERT INTO meters VALUES (1, 2, 'x') ON CONFLICT DO NOTHING")
    world.commit()


def test_oracle_merge_with_every_kind_of_action(world: World) -> None:
    world.step(
        """MERGE INTO reads AS r
           USING (VALUES (1, 1, 9.5), (2, 2, NULL), (3, 1, 0), (40, 4, 1), (41, NULL, 2)) AS c (id, meter_id, value)
           ON r.id = c.id
           WHEN MATCHED AND c.value = 0 THEN DELETE
           WHEN MATCHED THEN UPDATE SET value = c.value, meter_id = c.meter_id
           WHEN NOT MATCHED AND c.value > 5 THEN DO NOTHING
           WHEN NOT MATCHED THEN INSERT (id, meter_id, value) VALUES (c.id, c.meter_id, c.value)"""
    )
    world.step(
        """MERGE INTO meters AS m USING (VALUES (2), (5), (50)) AS c (id) ON m.id = c.id
           WHEN MATCHED AND c.id = 2 THEN DELETE
           WHEN MATCHED THEN UPDATE SET user_id = 2, kind = NULL
           WHEN NOT MATCHED THEN INSERT VALUES (c.id, 3, 'power')"""
    )
    world.commit()


def test_oracle_one_statement_that_inserts_into_three_tables(world: World) -> None:
    world.step(
        """WITH u AS (INSERT INTO users VALUES (7, 'fay', 'north'), (8, 'gil', 'west') RETURNING id),
                m AS (INSERT INTO meters SELECT id * 10, id, 'gas' FROM u RETURNING id)
           INSERT INTO reads (meter_id, at, value) SELECT m.id, '2024-03-01', i FROM m, generate_series(1, 3) AS i"""
    )
    world.commit()


def test_oracle_one_statement_that_changes_three_tables_in_different_ways(world: World) -> None:
    world.step(
        """WITH r AS (DELETE FROM reads WHERE id IN (1, 4, 6) RETURNING meter_id),
                n AS (INSERT INTO reads (meter_id, at, value) VALUES (1, '2024-01-01', 5), (4, '2024-01-04', 6)),
                m AS (UPDATE meters SET user_id = user_id % 3 + 1, kind = 'new' WHERE id IN (1, 3, 4) RETURNING id)
           UPDATE users SET name = name || '!', region = 'east' WHERE id <= 2"""
    )
    world.commit()


def test_oracle_one_statement_that_writes_to_one_table_three_times(world: World) -> None:
    world.step(
        """WITH a AS (UPDATE reads SET meter_id = 2, value = 4.40 WHERE id = 1),
                b AS (DELETE FROM reads WHERE id IN (2, 10)),
                c AS (UPDATE reads SET meter_id = 1 WHERE id = 4)
           INSERT INTO reads (id, meter_id, value) VALUES (60, 1, 1), (61, 2, NULL)"""
    )
    world.commit()


def test_oracle_rows_that_are_replaced_in_one_statement(world: World) -> None:
    world.step(
        """WITH gone AS (DELETE FROM reads RETURNING *)
           INSERT INTO reads SELECT id + 1000, meter_id, at, value, level, note FROM gone"""
    )
    world.step(
        """WITH gone AS (DELETE FROM meters WHERE id = 5 RETURNING *)
           INSERT INTO meters SELECT id + 1000, user_id, kind FROM gone"""
    )
    world.commit()


def test_oracle_a_statement_that_touches_no_row(world: World) -> None:
    world.step("UPDATE reads SET value = 1 WHERE false")
    world.step("DELETE FROM meters WHERE id = 12345")
    world.step("INSERT INTO users SELECT 1, 'x', 'y' WHERE false")
    world.step("WITH m AS (DELETE FROM meters WHERE false) UPDATE reads SET value = value + 1 WHERE id = 1")
    world.step("WITH m AS (UPDATE meters SET kind = 'new' WHERE id = 1) DELETE FROM reads WHERE false")
    world.commit()


# --- foreign keys ------------------------------------------------------------------------------------


def test_oracle_delete_cascades_through_three_tables(world: World) -> None:
    world.step("DELETE FROM users WHERE id = 1")
    world.commit()


def test_oracle_update_cascades_through_three_tables(world: World) -> None:
    world.step("UPDATE users SET id = id + 100, name = name || '?' WHERE id < 3")
    world.step("UPDATE meters SET id = id + 100, kind = 'moved', user_id = 4 WHERE id < 3")
    world.step("WITH u AS (UPDATE users SET id = 9 WHERE id = 4) DELETE FROM meters WHERE id = 3")
    world.commit()


@pytest.mark.parametrize("action", ["SET NULL", "SET DEFAULT"])
def test_oracle_foreign_keys_that_set(world: World, action: str) -> None:
    world.conn.execute(
        f"""ALTER TABLE meters DROP CONSTRAINT meters_user_id_fkey,
                ADD FOREIGN KEY (user_id) REFERENCES users ON DELETE {action} ON UPDATE {action};
            ALTER TABLE reads ALTER meter_id SET DEFAULT 5, DROP CONSTRAINT reads_meter_id_fkey,
                ADD FOREIGN KEY (meter_id) REFERENCES meters ON DELETE {action} ON UPDATE {action}"""
    )
    world.step("UPDATE users SET id = 30 WHERE id = 3")
    world.step("DELETE FROM meters WHERE id = 1")
    world.step("UPDATE meters SET id = 40 WHERE id = 4")
    world.step("WITH u AS (DELETE FROM users WHERE id = 30) DELETE FROM meters WHERE id IN (3, 40)")
    world.commit()


def test_oracle_constraints_checked_at_the_end(world: World) -> None:
    world.conn.execute(
        """ALTER TABLE meters ALTER CONSTRAINT meters_user_id_fkey DEFERRABLE INITIALLY DEFERRED;
           ALTER TABLE reads ALTER CONSTRAINT reads_meter_id_fkey DEFERRABLE INITIALLY DEFERRED"""
    )
    world.commit()
    world.step("INSERT INTO reads (meter_id, at, value) VALUES (77, '2024-01-01', 1), (77, '2024-01-01', 2)")
    world.step("INSERT INTO meters VALUES (77, 88, 'gas')")
    world.step("INSERT INTO users VALUES (88, 'hal', 'west')")
    world.step("SET CONSTRAINTS ALL IMMEDIATE")
    world.step("DELETE FROM users WHERE id IN (1, 88)")
    world.step("UPDATE users SET id = 20 WHERE id = 2")
    world.commit()
    world.step("INSERT INTO reads (meter_id, at, value) VALUES (99, '2024-01-01', 1)")
    with pytest.raises(errors.ForeignKeyViolation):
        world.conn.commit()
    world.check()


def test_oracle_set_constraints_all_immediate_before_statements_over_several_tables(world: World) -> None:
    world.step("SET CONSTRAINTS ALL IMMEDIATE")
    world.step(
        """WITH m AS (INSERT INTO meters VALUES (8, 2, 'gas') RETURNING id)
           INSERT INTO reads (meter_id, at, value) SELECT id, '2024-01-01', 5 FROM m"""
    )
    world.commit()


def test_oracle_a_tree_that_cascades_to_its_own_table(conn: psycopg.Connection[Any], language: str) -> None:
    conn.execute(
        """CREATE TABLE tree (id integer PRIMARY KEY, parent integer REFERENCES tree ON DELETE CASCADE
               ON UPDATE CASCADE, size numeric);
           INSERT INTO tree SELECT i, nullif(i / 2, 0), i / 4.0 FROM generate_series(1, 40) AS i"""
    )
    views = {
        "children": "SELECT p.id, count(*) AS n, sum(c.size) AS size FROM tree p JOIN tree c ON c.parent = p.id GROUP BY p.id",
        "sizes": "SELECT parent, sum(size) AS size FROM tree GROUP BY parent",
        "nodes": "SELECT id, parent FROM tree",
        "total": "SELECT count(*) AS n, sum(size) AS size FROM tree",
    }
    for name, query in views.items():
        pg_stepping.create_view(conn, name, query, language=language)
    fills = shapes.fills(conn, tuple(views.items()))
    for statement, left in [
        ("DELETE FROM tree WHERE id IN (4, 9, 19)", 31),
        ("UPDATE tree SET id = id + 100, size = size + 1 WHERE id IN (3, 7, 2)", 31),
        (
            "WITH gone AS (DELETE FROM tree WHERE id = 102) INSERT INTO tree VALUES (500, 1, 2.50), (501, 500, 1)",
            21,
        ),
        ("DELETE FROM tree WHERE id = 1", 0),
    ]:
        conn.execute(statement)
        for name in views:
            assert pg_stepping.verify(conn, name) == [], f"{name} after {statement}"
        shapes.check_state(conn, fills)
        row = conn.execute("SELECT n, (SELECT count(*) FROM nodes) FROM total").fetchone()
        assert row is not None
        assert row[0] == row[1] and (left == 0) == (row[0] == 0)
    conn.commit()


# --- triggers of the user ----------------------------------------------------------------------------


def user_trigger(world: World, table: str, when: str, body: str, name: str = "zzz") -> None:
    """A trigger that runs `body`, in plpgsql; `when` is as in 'AFTER INSERT, ROW'."""
    moment, level = when.split(", ")
    world.conn.execute(
        f"""CREATE FUNCTION {name}_{table}() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                {body}
                RETURN coalesce(NEW, OLD);
            END $$;
            CREATE TRIGGER {name} {moment} ON {table} FOR EACH {level} EXECUTE FUNCTION {name}_{table}()"""
    )


EVENTS = "INSERT OR UPDATE OR DELETE"
PLACES = [
    (f"{moment} {EVENTS}, {level}", name)
    for moment in ("BEFORE", "AFTER")
    for level in ("ROW", "STATEMENT")
    for name in ("aaa", "zzz")  # ours are called stepping_...: these fire before and after them
]


def write_to_reads(world: World) -> None:
    world.step("INSERT INTO reads (meter_id, at, value) VALUES (3, '2024-01-03', 1), (4, '2024-01-04', 2)")
    world.step("UPDATE reads SET value = coalesce(value, 0) + 1, meter_id = meter_id % 4 + 1 WHERE id < 5")
    world.step("DELETE FROM reads WHERE id IN (2, 6)")
    world.step(
        "WITH m AS (UPDATE meters SET kind = 'heat' WHERE id = 1) DELETE FROM reads WHERE id IN (4, 9)"
    )
    world.commit()


@pytest.mark.parametrize(("when", "name"), PLACES)
def test_oracle_a_trigger_that_writes_to_another_source(world: World, when: str, name: str) -> None:
    user_trigger(
        world,
        "reads",
        when,
        """UPDATE meters SET kind = coalesce(kind, '') || '+', user_id = coalesce(user_id, 0) % 4 + 1 WHERE id = 3;
           INSERT INTO users SELECT max(id) + 1, 'new', 'north' FROM users;
           DELETE FROM meters WHERE id = 5;""",
        name,
    )
    write_to_reads(world)


@pytest.mark.parametrize(("when", "name"), PLACES)
def test_oracle_a_trigger_that_writes_to_other_rows_of_its_table(world: World, when: str, name: str) -> None:
    user_trigger(
        world,
        "reads",
        when,
        """IF pg_trigger_depth() = 1 THEN
               UPDATE reads SET value = value + 0.5, meter_id = 2 WHERE id IN (7, 8);
               INSERT INTO reads (meter_id, at, value) VALUES (1, '2024-01-01', 0.25);
               DELETE FROM reads WHERE id = 11;
           END IF;""",
        name,
    )
    write_to_reads(world)


@pytest.mark.parametrize(
    ("event", "body"),
    [
        ("INSERT", "UPDATE reads SET meter_id = 4, value = value + 1 WHERE id = NEW.id;"),
        ("INSERT", "DELETE FROM reads WHERE id = NEW.id;"),
        ("DELETE", "INSERT INTO reads SELECT (OLD).*;"),
        (
            "UPDATE",
            "UPDATE reads SET meter_id = OLD.meter_id, value = OLD.value, note = OLD.note WHERE id = NEW.id;",
        ),
    ],
)
def test_oracle_a_row_trigger_that_changes_the_row_again(world: World, event: str, body: str) -> None:
    user_trigger(
        world, "reads", f"AFTER {event}, ROW", f"IF pg_trigger_depth() = 1 THEN {body} END IF;", "aaa"
    )
    world.step(
        "INSERT INTO reads (meter_id, at, value, note) VALUES (50 / 10, '2030-01-01', 100, '{\"only\": 1}')"
    )
    world.step("UPDATE reads SET meter_id = NULL, value = 77, note = '77' WHERE id IN (3, 8)")
    world.step("DELETE FROM reads WHERE id IN (8, 9, 10, 11)")
    world.commit()


def test_oracle_a_before_trigger_that_changes_or_drops_the_row(world: World) -> None:
    user_trigger(
        world,
        "reads",
        "BEFORE INSERT OR UPDATE, ROW",
        "IF NEW.value = 13 THEN RETURN NULL; END IF; NEW.value := NEW.value * 2; NEW.meter_id := 2;",
    )
    world.step("INSERT INTO reads (meter_id, value) VALUES (1, 13), (1, 2), (NULL, 4)")
    world.step("UPDATE reads SET value = 13 WHERE meter_id = 1")
    world.step("UPDATE reads SET value = 14 WHERE meter_id = 1")
    world.commit()


@pytest.mark.parametrize("level", ["ROW", "STATEMENT"])
@pytest.mark.parametrize("moment", ["BEFORE", "AFTER"])
@pytest.mark.parametrize("name", ["aaa", "zzz"])
def test_oracle_triggers_nested_several_deep(world: World, moment: str, level: str, name: str) -> None:
    # A BEFORE trigger must not come back to the rows that are to be changed: Postgres refuses that.
    deep = f"IF pg_trigger_depth() <= {2 if moment == 'BEFORE' else 4} THEN {{}} END IF;"
    for table, body in {
        "reads": "UPDATE meters SET user_id = coalesce(user_id, 3) % 4 + 1 WHERE id < 4;",
        "meters": "UPDATE users SET name = name || pg_trigger_depth() WHERE id < 4;",
        "users": "UPDATE reads SET value = value + 1 WHERE id > 6; DELETE FROM reads WHERE value > 15;"
        "INSERT INTO reads (meter_id, at, value) VALUES (1, '2024-01-01', pg_trigger_depth());",
    }.items():
        user_trigger(world, table, f"{moment} {EVENTS}, {level}", deep.format(body), name)
    world.step("INSERT INTO reads (meter_id, at, value) VALUES (3, '2024-01-03', 1)")
    world.step("INSERT INTO users VALUES (5, 'eve', 'south')")
    world.step("DELETE FROM users WHERE id = 5")
    world.step("UPDATE meters SET kind = 'gas' WHERE id IN (1, 2)")
    world.commit()


@pytest.mark.parametrize("name", ["aaa", "zzz"])
@pytest.mark.parametrize("moment", ["BEFORE", "AFTER"])
def test_oracle_a_trigger_that_truncates_another_source(world: World, moment: str, name: str) -> None:
    user_trigger(
        world,
        "users",
        f"{moment} UPDATE, STATEMENT",
        """TRUNCATE reads;
           INSERT INTO reads (meter_id, at, value) VALUES (1, '2024-01-01', 4), (1, '2024-01-01', 4.0), (2, NULL, 1);""",
        name,
    )
    world.step(
        "WITH m AS (UPDATE meters SET user_id = 2, kind = 'gas') UPDATE users SET name = 'new' || id, region = 'x'"
    )
    world.step("UPDATE users SET name = 'same'")
    world.commit()


def test_oracle_a_deferred_trigger_that_writes_at_commit(world: World) -> None:
    world.conn.execute(
        """CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$
           BEGIN
               WITH m AS (UPDATE meters SET user_id = 4, kind = kind || '?' WHERE id = NEW.meter_id RETURNING id)
               UPDATE reads SET value = value + 1 WHERE meter_id IN (SELECT id FROM m) AND id <> NEW.id;
               RETURN NULL;
           END $$;
           CREATE CONSTRAINT TRIGGER late AFTER INSERT ON reads DEFERRABLE INITIALLY DEFERRED
               FOR EACH ROW EXECUTE FUNCTION late()"""
    )
    world.step("INSERT INTO reads (meter_id, at, value) VALUES (1, '2024-01-03', 1), (2, '2024-01-03', 1)")
    world.commit()
    assert world.conn.execute("SELECT count(*) FROM owners WHERE name = 'dan'").fetchone() == (2,)


def test_oracle_a_trigger_that_fails_and_is_caught_inside_a_trigger(world: World) -> None:
    user_trigger(world, "meters", "AFTER UPDATE, STATEMENT", "RAISE 'not today';", "aaa")
    user_trigger(
        world,
        "reads",
        "AFTER INSERT, STATEMENT",
        """UPDATE users SET name = name || '!' WHERE id = 1;
           BEGIN
               UPDATE users SET name = name || '?' WHERE id = 2;
               UPDATE meters SET kind = 'lost';
           EXCEPTION WHEN raise_exception THEN NULL;
           END;
           UPDATE users SET region = 'kept' WHERE id = 3;""",
        "aaa",
    )
    world.step("INSERT INTO reads (meter_id, at, value) VALUES (1, '2024-01-03', 1)")
    world.step("INSERT INTO reads (meter_id, at, value) VALUES (2, '2024-01-03', 1)")
    world.commit()


# --- transactions ------------------------------------------------------------------------------------


def test_oracle_several_statements_in_a_transaction_and_its_rollback(world: World) -> None:
    before = world.rows()
    world.conn.commit()
    world.step("INSERT INTO reads (meter_id, value) VALUES (3, 1), (3, 1)")
    world.step("UPDATE meters SET kind = 'gas'")
    world.conn.rollback()
    assert world.rows() == before
    world.commit()


def test_oracle_savepoints_rolled_back(world: World) -> None:
    with world.undone():
        with world.undone():
            world.step("UPDATE reads SET meter_id = 3")
        world.check()
    world.step("UPDATE meters SET user_id = 2 WHERE id = 1")
    with world.conn.transaction():
        world.step("INSERT INTO reads (meter_id, at, value) VALUES (1, '2024-01-01', 8)")
    with world.undone():
        world.step("WITH m AS (DELETE FROM meters WHERE id = 2) UPDATE users SET name = 'none'")
    world.commit()


def test_oracle_an_exception_block_that_catches_an_error_amid_a_statement_over_several_tables(
    world: World,
) -> None:
    """The error comes from a trigger that fires after some of ours have, and before the others."""
    user_trigger(
        world, "meters", "AFTER INSERT OR UPDATE, ROW", "IF NEW.kind = 'bad' THEN RAISE 'bad'; END IF;", "aaa"
    )
    user_trigger(
        world,
        "reads",
        "AFTER INSERT, STATEMENT",
        "IF EXISTS (SELECT FROM reads WHERE value = 666) THEN RAISE 'worse'; END IF;",
    )
    for kind, value in [("bad", 1), ("good", 666), ("good", 1), ("bad", 666), ("fine", 2)]:
        world.step(
            f"""DO $$
            BEGIN
                UPDATE users SET name = 'kept' || name WHERE id = 2;
                BEGIN
                    WITH u AS (UPDATE users SET name = '{kind}' || name WHERE id = 1),
                         m AS (INSERT INTO meters SELECT max(id) + 1, 2, '{kind}' FROM meters RETURNING id)
                    INSERT INTO reads (meter_id, at, value) VALUES (1, '2024-01-09', {value});
                EXCEPTION WHEN raise_exception THEN
                    INSERT INTO reads (meter_id, at, value) VALUES (2, '2024-01-10', 3);
                END;
                DELETE FROM reads WHERE id = (SELECT min(id) FROM reads);
            END $$"""
        )
    world.commit()


def test_oracle_failed_statements(world: World) -> None:
    for statement, error in [
        ("INSERT INTO reads (id, meter_id) VALUES (70, 1), (1, 1)", errors.UniqueViolation),
        ("UPDATE meters SET user_id = id * 2", errors.ForeignKeyViolation),
        ("WITH m AS (DELETE FROM meters) UPDATE users SET id = 1", errors.UniqueViolation),
        ("UPDATE reads SET value = 1 / (id - 11)", errors.DivisionByZero),
        (
            "WITH u AS (UPDATE users SET name = 'x') INSERT INTO meters VALUES (80, 90, 'x')",
            errors.ForeignKeyViolation,
        ),
    ]:
        with pytest.raises(error), world.conn.transaction():
            world.conn.execute(statement)
        world.step("INSERT INTO reads (meter_id, at, value) VALUES (1, '2024-01-01', 1)")
        with pytest.raises(error):
            world.conn.execute(statement)
        world.conn.rollback()
        world.step("UPDATE meters SET kind = kind || '!' WHERE id = 1")
        world.commit()


def test_oracle_a_procedure_that_commits_as_it_goes(world: World) -> None:
    world.conn.commit()
    world.conn.autocommit = True
    world.conn.execute(
        """CREATE PROCEDURE load() LANGUAGE plpgsql AS $$
           BEGIN
               FOR i IN 1..3 LOOP
                   WITH m AS (UPDATE meters SET kind = kind || i WHERE id = i)
                   INSERT INTO reads (meter_id, at, value) VALUES (i, '2024-01-01', i);
                   COMMIT;
                   DELETE FROM reads WHERE id = i;
                   IF i = 2 THEN ROLLBACK; END IF;
               END LOOP;
           END $$"""
    )
    world.step("CALL load()")


# --- how a statement is sent -------------------------------------------------------------------------


def test_oracle_prepared_statements(world: World) -> None:
    """More than five times each, so that Postgres goes over to its generic plans."""
    insert = "INSERT INTO reads (meter_id, at, value) VALUES (%s, '2024-01-01', %s)"
    for i in range(7):
        world.conn.execute(insert, (i % 5 + 1, i), prepare=True)
        world.conn.execute(
            "UPDATE meters SET kind = %s WHERE id = %s", (f"kind {i}", i % 5 + 1), prepare=True
        )
        world.conn.execute("DELETE FROM reads WHERE id = %s", (i + 1,), prepare=True)
    world.check()
    with world.conn.cursor() as cursor:
        cursor.executemany(insert, [(1, 1), (2, 2), (None, 3)])
    world.conn.execute("PREPARE move AS UPDATE reads SET meter_id = $1 WHERE id = $2")
    for i in range(7):  # without a look between: psycopg forgets prepared statements at a rollback
        world.conn.execute(f"EXECUTE move ({i % 5 + 1}, {i + 5})")
    world.check()
    world.commit()


def test_oracle_rules(world: World) -> None:
    world.conn.execute(
        """CREATE TABLE inbox (meter_id integer, value numeric);
           CREATE RULE deliver AS ON INSERT TO inbox DO INSTEAD
               INSERT INTO reads (meter_id, at, value) VALUES (NEW.meter_id, '2024-01-01', NEW.value);
           CREATE RULE rename AS ON UPDATE TO meters WHERE NEW.kind = 'twin' DO ALSO
               UPDATE users SET name = name || '2' WHERE id = NEW.user_id;
           CREATE RULE keep AS ON DELETE TO users WHERE OLD.id = 1 DO INSTEAD NOTHING"""
    )
    world.step("INSERT INTO inbox VALUES (1, 1.5), (2, 2.5)")
    world.step("UPDATE meters SET kind = 'twin' WHERE id IN (1, 3)")
    world.step("DELETE FROM users WHERE id IN (1, 2)")
    world.commit()


def test_oracle_functions_called_from_select_that_write(world: World) -> None:
    world.conn.execute(
        """CREATE FUNCTION grow(meter integer, by numeric) RETURNS integer LANGUAGE plpgsql AS $$
           BEGIN
               UPDATE meters SET kind = kind || '+' WHERE id = meter;
               INSERT INTO reads (meter_id, at, value) VALUES (meter, '2024-01-01', by);
               DELETE FROM reads WHERE meter_id = meter AND value < by - 5;
               RETURN meter;
           END $$"""
    )
    world.step("SELECT grow(id, id * 1.50) FROM meters")
    world.step("SELECT grow(meter_id, total) FROM value_sums WHERE meter_id < 3")
    world.step("INSERT INTO meters VALUES (20, 2, 'gas'), (21, 4, 'gas') RETURNING grow(id, 3)")
    world.step("UPDATE users SET name = name || grow(id, 2) WHERE id < 4")
    world.step("DELETE FROM reads WHERE id = 9 AND grow(5, 1) = 5")
    world.step("WITH m AS (INSERT INTO meters VALUES (22, 1, 'gas')) SELECT grow(1, 2)")
    world.step(
        "WITH m AS (UPDATE meters SET user_id = 3 WHERE id = 1 RETURNING id) SELECT grow(id, 2) FROM m"
    )
    world.commit()


def test_oracle_ordinary_views_that_can_be_written_to(world: World) -> None:
    world.conn.execute(
        """CREATE VIEW high AS SELECT id, meter_id, at, value FROM reads WHERE value > 2 WITH CHECK OPTION;
           CREATE VIEW gas AS SELECT id, user_id FROM meters WHERE kind = 'gas';
           CREATE VIEW pretty AS SELECT m.id, u.name FROM meters m JOIN users u ON u.id = m.user_id;
           CREATE FUNCTION write_pretty() RETURNS trigger LANGUAGE plpgsql AS $$
           BEGIN
               UPDATE users SET name = NEW.name WHERE name = OLD.name;
               UPDATE meters SET kind = NEW.name WHERE id = NEW.id;
               RETURN NEW;
           END $$;
           CREATE TRIGGER write INSTEAD OF UPDATE ON pretty FOR EACH ROW EXECUTE FUNCTION write_pretty()"""
    )
    world.step("INSERT INTO high (meter_id, at, value) VALUES (1, '2024-01-01', 3), (2, '2024-01-01', 4)")
    world.step("UPDATE high SET value = value + 1, meter_id = 2")
    world.step("DELETE FROM high WHERE value > 8")
    world.step("UPDATE gas SET user_id = 3")
    world.step("UPDATE pretty SET name = name || 'x' WHERE id < 4")
    with pytest.raises(errors.WithCheckOptionViolation), world.conn.transaction():
        world.conn.execute("UPDATE high SET value = 1")
    world.commit()


def test_oracle_a_cursor_stays_open_on_a_view(world: World) -> None:
    """It goes on with the rows of the moment when it was opened."""
    before = world.conn.execute("SELECT * FROM value_sums ORDER BY meter_id").fetchall()
    with world.conn.cursor(name="open") as cursor:
        cursor.execute("SELECT * FROM value_sums ORDER BY meter_id")
        first = cursor.fetchone()
        world.step("UPDATE reads SET value = value + 1")
        world.step("DELETE FROM meters WHERE id = 2")
        assert [first, *cursor.fetchall()] == before
    with world.conn.cursor(name="scrolls", withhold=True) as cursor:
        cursor.execute("SELECT * FROM daily_usage")
        cursor.fetchone()
        world.step("TRUNCATE reads", empty=OF_READS)
        world.conn.commit()
        assert cursor.fetchall()


@pytest.mark.parametrize("forget", ["DISCARD ALL", "RESET ALL", "DISCARD PLANS", "DEALLOCATE ALL"])
def test_oracle_a_session_that_is_reset_between_transactions(world: World, forget: str) -> None:
    for value in (1, 2):
        world.step(f"INSERT INTO reads (meter_id, at, value) VALUES (1, '2024-01-01', {value})")
        world.step(
            "WITH m AS (UPDATE meters SET user_id = user_id % 3 + 1) DELETE FROM reads WHERE value = 1"
        )
        world.commit()
        world.conn.autocommit = True
        world.conn.execute(forget)
        world.conn.autocommit = False
    world.check()


# --- changes that change nothing ---------------------------------------------------------------------


def writes(conn: psycopg.Connection[Any]) -> int:
    """The rows this session has written in schema stepping, as far as its counts are not yet sent off."""
    row = conn.execute(
        """SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::integer
           FROM pg_stat_xact_user_tables WHERE schemaname = 'stepping'"""
    ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE reads SET unseen = 'new'",
        "UPDATE reads SET id = id, meter_id = meter_id, at = at, value = value, level = level, note = note",
        "UPDATE meters SET user_id = user_id, kind = kind",
        "UPDATE users SET id = id, name = name, region = region",
        "DELETE FROM reads WHERE false",
        "UPDATE users SET name = 'x' WHERE false",
        "INSERT INTO reads SELECT * FROM reads WHERE false",
        "INSERT INTO users VALUES (1, 'x', 'y') ON CONFLICT DO NOTHING",
        "MERGE INTO reads r USING meters m ON r.id = m.id WHEN MATCHED THEN UPDATE SET unseen = 'x'",
    ],
)
def test_what_the_views_do_not_see_writes_nothing(world: World, statement: str) -> None:
    before = writes(world.conn)
    world.conn.execute(statement)
    assert writes(world.conn) == before
    world.check()


def test_a_view_that_does_not_read_the_changed_column_is_not_written(world: World) -> None:
    def versions(name: str) -> list[Any]:
        return world.conn.execute(f"SELECT ctid, xmin FROM stepping.{name} ORDER BY 1").fetchall()  # type: ignore[arg-type]

    before = {name: versions(name) for name in ("counts", "notes", "siblings", "level_sums", "value_sums")}
    world.step("UPDATE reads SET level = level + 1")
    after = {name: versions(name) for name in before}
    assert {name for name in before if before[name] != after[name]} == {"level_sums"}


def test_changes_that_cancel_in_one_statement_leave_the_group_as_it_was(world: World) -> None:
    before = world.conn.execute("SELECT ctid, xmin, * FROM stepping.counts ORDER BY 1").fetchall()
    world.conn.execute("UPDATE reads SET meter_id = CASE id WHEN 9 THEN 4 ELSE 5 END WHERE id IN (8, 9)")
    world.conn.execute(
        "UPDATE reads SET meter_id = CASE id WHEN 9 THEN 5 ELSE 4 END, value = 5 WHERE id IN (8, 9)"
    )
    changed = world.conn.execute("SELECT ctid, xmin, * FROM stepping.counts ORDER BY 1").fetchall()
    assert {row[2] for row in set(changed) ^ set(before)} == {4, 5}
    world.check()
    world.conn.commit()
    before = world.conn.execute("SELECT ctid, xmin, * FROM stepping.counts ORDER BY 1").fetchall()
    world.step("UPDATE reads SET meter_id = CASE id WHEN 9 THEN 4 ELSE 5 END WHERE id IN (8, 9)")
    assert world.conn.execute("SELECT ctid, xmin, * FROM stepping.counts ORDER BY 1").fetchall() == before
