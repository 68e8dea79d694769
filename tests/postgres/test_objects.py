"""What a view is made of tells a DBA what it is for."""

import pytest

import pg_stepping

OBJECTS = """
SELECT concat(n.nspname, '.', c.relname), obj_description(c.oid, 'pg_class')
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname IN ('public', 'stepping') AND c.relkind IN ('r', 'v', 'i', 'S')
UNION ALL
SELECT oid::regprocedure::text, obj_description(oid, 'pg_proc') FROM pg_proc
WHERE pronamespace IN ('public'::regnamespace, 'stepping'::regnamespace)
"""


@pytest.mark.parametrize("mode", ["immediate", "deferred"])
def test_every_object_says_what_it_is(conn, language, mode):
    """A DBA who meets them in psql's \\d+ and \\df+ must know what they are for."""
    conn.execute(
        "CREATE TABLE owners (id bigint PRIMARY KEY, name text); CREATE TABLE pets (owner bigint, weight float8)"
    )
    before = conn.execute(OBJECTS).fetchall()
    pg_stepping.create_view(
        conn,
        "herds",
        """SELECT id, count(*), sum(weight), max(weight), avg(weight) FILTER (WHERE name > 'b')
           FROM owners JOIN pets ON owner = id GROUP BY id""",
        language=language,
        mode=mode,
        indexes=[["max"]],
    )
    pg_stepping.create_view(
        conn,
        "ranks",
        "SELECT *, rank() OVER (PARTITION BY owner ORDER BY weight) FROM pets",
        language=language,
        mode=mode,
    )
    made = set(conn.execute(OBJECTS).fetchall()) - set(before)
    assert {
        "public.herds",
        "stepping.herds",
        "stepping.herds_key",
        "stepping.herds_max_weight_idx",
        "stepping.ranks",
    } <= {name for name, _ in made}
    assert [name for name, says in made if says is None] == []
    kept = """SELECT attname, col_description(attrelid, attnum) IS NOT NULL FROM pg_attribute
              WHERE attrelid = 'stepping.herds'::regclass AND attnum > 0"""
    assert [name for name, is_described in conn.execute(kept) if not is_described] == ["id"]
