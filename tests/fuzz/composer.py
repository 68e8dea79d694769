"""What the random queries of query_generator.py lack: sources of every kind, frames, ties, joins by USING.

A `World` is how the tables a, b and c are there (plain, partitioned, with a child, under an ordinary view or
under a maintained one) and how they are written; a `Composer` makes the query over them.
"""

import random
import re

from query_generator import Generator
from test_select import Writer

import pg_stepping

# A table renamed to a0, b0 or c0 under a view of its name and its columns; the first of each is updatable.
UNDER = {
    "a": [
        "SELECT id, x, y, s, arr FROM a0 WHERE x IS DISTINCT FROM 3",
        "SELECT id, x, sum(y)::integer AS y, max(s) AS s, arr FROM a0 GROUP BY id, x, arr",
        "SELECT a0.id, b.x, a0.y, b.t AS s, a0.arr FROM a0 LEFT JOIN b ON b.a_id = a0.x",
        "SELECT id, (row_number() OVER (PARTITION BY x ORDER BY id))::integer AS x, y, s, arr FROM a0",
        "SELECT id, x, y, s, arr FROM a0 UNION ALL SELECT id, y, x, s, arr FROM a0 WHERE x > 1",
        "SELECT * FROM a0 ORDER BY y, id LIMIT 5",
    ],
    "b": [
        "SELECT * FROM b0 WHERE a_id > 0",
        "SELECT a_id AS id, a_id, max(x) AS x, count(*)::numeric AS y, min(t) AS t FROM b0 GROUP BY a_id",
        "SELECT DISTINCT a_id AS id, a_id, x, y, t FROM b0",
        "SELECT DISTINCT ON (a_id) id, a_id, x, y, t FROM b0 ORDER BY a_id, id DESC",
        "SELECT * FROM b0 WHERE NOT EXISTS (SELECT FROM c WHERE c.x = b0.x AND c.y = b0.a_id)",
    ],
    "c": [
        "SELECT * FROM c0",
        "SELECT x AS id, x, count(*)::integer AS y, max(f) AS f FROM c0 GROUP BY x",
        "SELECT c0.id, p.x, c0.y, c0.f FROM c0 FULL JOIN c0 AS p ON p.id = c0.x WHERE c0.y IS NOT NULL",
        "SELECT id, x, y, f FROM c0 EXCEPT ALL SELECT id, y, x, f FROM c0",
    ],
}


class World:
    """Where the tables of one seed come from; `tables` are the names under which they are written."""

    def __init__(self, seed, mode, language):
        self.random = random.Random(f"world {seed}")
        self.writer = Writer(seed)
        self.mode, self.language = mode, language
        self.kinds = {t: self.random.choice(["plain", "plain", "partitioned", "child", "view", "maintained", "maintained"]) for t in "abc"}  # fmt: skip
        self.tables = {t: f"{t}0" if k in ("view", "maintained") else t for t, k in self.kinds.items()}
        self.maintained = [t for t, k in self.kinds.items() if k == "maintained"]

    def set_up(self, session):
        """Make them; the maintained views among them are views of this world."""
        for table, kind in self.kinds.items():
            if kind == "partitioned":
                key = "" if table == "c" else ", PRIMARY KEY (id)"
                session.execute(f"ALTER TABLE {table} RENAME TO gone_{table}")
                session.execute(f"CREATE TABLE {table} (LIKE gone_{table}{key}) PARTITION BY HASH (id)")
                for i in range(2):
                    session.execute(f"CREATE TABLE {table}_{i} PARTITION OF {table} FOR VALUES WITH (MODULUS 2, REMAINDER {i})")  # fmt: skip
            elif kind == "child":
                session.execute(f"CREATE TABLE {table}_1 () INHERITS ({table})")
            elif kind in ("view", "maintained"):
                session.execute(f"ALTER TABLE {table} RENAME TO {table}0")
        return [self._under(session, table, kind) for table, kind in reversed(self.kinds.items()) if kind in ("view", "maintained")]  # fmt: skip

    def _under(self, session, table, kind):
        query = self.random.choice(UNDER[table])
        if kind == "view":
            session.execute(f"CREATE VIEW {table} AS {query}")
        else:
            mode = self.random.choice([self.mode, self.mode, "immediate"])
            pg_stepping.create_view(session, table, query, mode=mode, language=self.language)
        return table, query

    def written(self, statement):
        """A statement over the tables as they are called here."""
        for table, name in self.tables.items():
            statement = re.sub(rf"(INTO|FROM|UPDATE|TRUNCATE) {table}\b", rf"\1 {name}", statement)
        return statement

    def insert(self, table, size):
        return self.written(self.writer.insert(table, size))

    def single(self):
        r = self.random
        roll = r.random()
        table = r.choice("abc")
        name = self.tables[table]
        if roll < 0.06 and self.kinds[table] == "child":
            return f"INSERT INTO {table}_1 {self.writer.insert('c' if table == 'c' else table, 2).partition(' ON ')[0].partition(table)[2]}"
        if roll < 0.12 and table != "c" and self.kinds[table] != "partitioned":
            action = r.choice(["UPDATE SET x = s.y", "DELETE", "UPDATE SET id = m.id"])
            return f"MERGE INTO {name} AS m USING (SELECT id, max(y)::integer AS y FROM {self.tables['c']} GROUP BY id) AS s ON m.id = s.id WHEN MATCHED THEN {action} WHEN NOT MATCHED AND s.id > 3 THEN INSERT (id, x) VALUES (s.id, s.y)"
        if roll < 0.16:
            return f"UPDATE {name} SET x = x, y = y"
        if roll < 0.2:
            return f"UPDATE {name} SET id = id + 20 WHERE id = {r.randint(1, 9)} AND NOT EXISTS (SELECT FROM {name} AS o WHERE o.id > 20)"
        if roll < 0.24:
            return f"UPDATE {self.tables['b']} SET x = o.y, a_id = o.x FROM (SELECT x, max(y) AS y FROM {self.tables['c']} GROUP BY x) AS o WHERE o.x = {self.tables['b']}.a_id"
        if roll < 0.28:
            return f"INSERT INTO {self.tables['c']} SELECT id, x, y % 3, f FROM {self.tables['c']} WHERE id < {r.randint(2, 6)} LIMIT 3"
        return self.written(self.writer.statement())

    def statement(self):
        """What is run before views are compared: one statement mostly, or several, or some that are undone."""
        roll = self.random.random()
        if roll < 0.75:
            return self.single()
        if roll < 0.87:
            return f"SAVEPOINT one; {self.single()}; {self.single()}; ROLLBACK TO one; {self.single()}"
        return f"{self.single()}; {self.single()}; {self.single()}"


class Composer(Generator):
    """Queries with more of SQL: frames of windows, FETCH ... WITH TIES, USING, and rarer aggregates."""

    def windows(self, columns):
        r = self.random
        if self.chance(0.5):
            return super().windows(columns)
        x, y = self.number(columns), self.number(columns)
        part = f"PARTITION BY {self.number(columns)} " if self.chance(0.75) else ""
        order = ", ".join([y + r.choice(["", " DESC"]), *self.total(columns)])
        low = r.choice(["UNBOUNDED PRECEDING", "2 PRECEDING", "1 PRECEDING", "CURRENT ROW"])
        high = r.choice(["CURRENT ROW", "1 FOLLOWING", "UNBOUNDED FOLLOWING"])
        exclude = r.choice(["", "", "", " EXCLUDE CURRENT ROW", " EXCLUDE GROUP", " EXCLUDE TIES"])
        kind = r.choice(["ROWS", "ROWS", "RANGE", "GROUPS"])
        by = order if kind == "ROWS" else f"{y}{r.choice(['', ' DESC', ' NULLS FIRST'])}"
        call = r.choice(
            [f"sum({x})", "count(*)", f"max({x})", f"count({x}) FILTER (WHERE {self.predicate(columns)})"]
        )
        if kind == "ROWS":
            call = r.choice([call, f"first_value({x})", f"nth_value({x}, 2)", f"last_value({x})"])
        frame = f"{call} OVER ({part}ORDER BY {by} {kind} BETWEEN {low} AND {high}{exclude})"
        return r.choice([
            frame, frame, frame,
            f"(100 * percent_rank() OVER ({part}ORDER BY {y}))::integer", f"(100 * cume_dist() OVER ({part}ORDER BY {y} DESC))::integer",
            f"lag({x}, 1, {y}) OVER ({part}ORDER BY {order})", f"bit_xor({x}::integer) OVER ({part.strip()})",
        ])  # fmt: skip

    def aggregate(self, columns, depth, kinds="intbrg", outer=(), top=False):
        r = self.random
        if self.chance(0.75):
            return super().aggregate(columns, depth, kinds, outer, top)
        x, y = self.number(columns, 0, outer), self.number(columns)
        choices = [
            (f"bit_or({x}::integer)", "i"), (f"bit_xor({x}::integer)", "i"), (f"mode() WITHIN GROUP (ORDER BY {x})", "i"),
            (f"count(DISTINCT ({x}, {y}))", "i"), (f"regr_count({x}, {y})", "i"), (f"round(var_pop({x}), 2)", "n"),
            (f"every({self.predicate(columns)})", "b"), (f"bool_or(DISTINCT {x} > 0)", "b"), (f"array_agg({y} ORDER BY {x}, {y} DESC)", "r"),
            (f"(max({x}) - min({x}))", "i"), (f"(sum({x}) - count({y}))", "i"), (f"max(coalesce({x}, {y}))", "i"),
            (f"jsonb_agg({x} ORDER BY {x})::text", "t"), (f"min({x}::text || 'k')", "t"), (f"sum({x} ORDER BY {y})", "i"),
        ]  # fmt: skip
        call, kind = r.choice([c for c in choices if c[1] in kinds] or [("count(*)", "i")])
        if self.chance(0.2) and call[0] not in "(r" and not call.endswith("text"):
            call += f" FILTER (WHERE {self.predicate(columns, depth, outer)})"
        return call, kind

    def select(self, depth, outer=(), types=None, correlate=0.0, top=False):
        sql, out = super().select(depth, outer, types, correlate, top)
        if (
            " LIMIT " in sql
            and " OFFSET " not in sql
            and not sql.endswith(")")
            and "DISTINCT ON" not in sql
            and self.chance(0.4)
        ):
            head, _, n = sql.rpartition(" LIMIT ")
            order = head.rpartition(" ORDER BY ")
            if n.isdigit() and ")" not in order[2]:
                first = order[2].split(",")[0]
                sql = f"{order[0]} ORDER BY {first} FETCH FIRST {n} ROWS WITH TIES"
        return sql, out

    def joined(self, left, right, kind, depth, outer):
        r = self.random
        if self.chance(0.85):
            return super().joined(left, right, kind, depth, outer)
        x, y, z, w = self.pick(left), self.pick(right), self.pick(left), self.pick(right)
        if x is None or y is None:
            return super().joined(left, right, kind, depth, outer)
        if kind == "FULL JOIN":
            return f"{x} = {y} AND {z} {r.choice(['<', '<>', '='])} {w}"
        return r.choice([
            f"({x} = {y} OR {z} = {w})", f"({x}, {z}) = ({y}, {w})", f"({x}, {z}) < ({y}, {w})", f"{x} + {y} > {z}",
            f"{x} = {y} AND {z} IS NULL", f"{y} BETWEEN {x} AND {z}", f"coalesce({x}, 0) = coalesce({y}, 0)", f"{x} = {y} AND {z} = 1",
            f"{x} IN ({y}, {w})", f"({x} = {y}) IS NOT FALSE", f"{x} = 1 AND {y} = 1",
        ])  # fmt: skip

    def item(self, depth, outer, lateral):
        r = self.random
        if self.chance(0.9) or self.tables > 5:
            return super().item(depth, outer, lateral)
        self.tables += 2
        name, kind = self.name("t"), r.choice(["JOIN", "LEFT JOIN", "FULL JOIN", "RIGHT JOIN"])
        (one, columns), (two, others) = r.choice([
            (("a", ["x", "y"]), ("c", ["x", "y"])), (("a", ["id", "x"]), ("b", ["id", "x"])), (("b", ["id"]), ("c", ["id"])),
        ])  # fmt: skip
        by = columns[: r.choice([1, 2])]
        del others
        listed = ", ".join(f"{c} AS j{i}" for i, c in enumerate(by))
        p, q = self.name("t"), self.name("t")
        body = f"SELECT {listed}, {p}.id AS k, {q}.y AS l FROM {one} {p} {kind} {two} {q} USING ({', '.join(by)})"
        return f"({body}) {name}", [
            *((f"{name}.j{i}", "i") for i in range(len(by))),
            (f"{name}.k", "i"),
            (f"{name}.l", "i"),
        ]
