"""Statements that change the tables: the refresh functions, and single rows of any table."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

from psycopg import sql

from benchmarks.contenders import Connection
from benchmarks.tpch.data import KEYS

Row = tuple[Any, ...]
KINDS = ("insert", "update", "delete")
STEP = 10_000_000  # added to the keys of the orders that are copied

# The first refresh function, new sales: orders with their items, which are copies of stored ones.
RF1 = (
    """CREATE TEMPORARY TABLE new_order AS
       SELECT * FROM orders ORDER BY hashint8(o_orderkey), o_orderkey LIMIT {number}""",
    """CREATE TEMPORARY TABLE new_item AS
       SELECT l.* FROM lineitem AS l JOIN new_order ON l_orderkey = o_orderkey""",
    f"UPDATE new_order SET o_orderkey = o_orderkey + {STEP}",
    f"UPDATE new_item SET l_orderkey = l_orderkey + {STEP}",
    "INSERT INTO orders TABLE new_order",
    "INSERT INTO lineitem TABLE new_item",
)
# The second, old sales: as many orders with their items.
RF2 = (
    """CREATE TEMPORARY TABLE old_order AS
       SELECT o_orderkey FROM orders ORDER BY hashint8(o_orderkey) DESC, o_orderkey LIMIT {number}""",
    "DELETE FROM lineitem WHERE l_orderkey IN (TABLE old_order)",
    "DELETE FROM orders WHERE o_orderkey IN (TABLE old_order)",
)


def refresh(conn: Connection, function: Sequence[str], scale: float) -> None:
    """Run a refresh function."""
    for statement in function:
        conn.execute(statement.format(number=max(1, round(1500 * scale))))  # type: ignore[arg-type]


class Changes:
    """Makes statements of one row or more, the same each time for the same data and seed.

    An inserted row is a copy of a stored one but for its key; an UPDATE gives a row all values of another but
    for its key: so each is as selective as the data is, and no UPDATE leaves the columns of a query alone. An
    item is inserted into an order that is there. No row is taken twice.
    """

    def __init__(self, conn: Connection, seed: int) -> None:
        self.conn = conn
        self.random = random.Random(seed)
        self.columns: dict[str, list[str]] = {}
        self._rows: dict[str, Iterator[Row]] = {}
        self._supplied: set[Row] = set()
        self._next: dict[str, int] = {}
        for table, key in KEYS.items():
            found = conn.execute(f"SELECT * FROM {table} LIMIT 0")  # type: ignore[arg-type]
            self.columns[table] = [c.name for c in found.description or ()]
            last = conn.execute(f"SELECT max({key[-1]}) FROM {table}").fetchone()  # type: ignore[arg-type]
            self._next[table] = last[0] if last else 0
        self._supplied = set(conn.execute("SELECT ps_partkey, ps_suppkey FROM partsupp").fetchall())

    def one(self, table: str, kind: str) -> str:
        """A statement of one row."""
        row = self._row(table)
        if kind == "insert":
            return f"INSERT INTO {table} VALUES ({self._text(self._moved(table, row))})"
        where = " AND ".join(f"{c} = {self._text([v])}" for c, v in self._key(table, row).items())
        if kind == "delete":
            return f"DELETE FROM {table} WHERE {where}"
        new = dict(zip(self.columns[table], self._row(table), strict=True))
        changed = [c for c in new if c not in KEYS[table]]
        values = self._text([new[c] for c in changed])
        return f"UPDATE {table} SET ({', '.join(changed)}) = ROW({values}) WHERE {where}"

    def batch(self, table: str, kind: str, number: int) -> tuple[str, str]:
        """Two statements: one writes rows to a new temporary table, one brings them to the table."""
        rows = []
        for _ in range(number):
            row = self._row(table)
            if kind == "insert":
                row = self._moved(table, row)
            elif kind == "update":
                row = tuple((dict(zip(self.columns[table], self._row(table), strict=True))
                             | self._key(table, row)).values())  # fmt: skip
            rows.append(f"({self._text(row)})")
        given = (
            f"DROP TABLE IF EXISTS given; CREATE TEMPORARY TABLE given (LIKE {table});"
            f" INSERT INTO given VALUES {', '.join(rows)}; ANALYZE given"
        )
        where = " AND ".join(f"{table}.{k} = given.{k}" for k in KEYS[table])
        if kind == "insert":
            return given, f"INSERT INTO {table} TABLE given"
        if kind == "delete":
            return given, f"DELETE FROM {table} USING given WHERE {where}"
        sets = ", ".join(f"{c} = given.{c}" for c in self.columns[table] if c not in KEYS[table])
        return given, f"UPDATE {table} SET {sets} FROM given WHERE {where}"

    def _row(self, table: str) -> Row:
        if table not in self._rows:
            self._rows[table] = self._shuffled(table)
        return next(self._rows[table])

    def _shuffled(self, table: str) -> Iterator[Row]:
        """Rows of a sample, each only once unless there are no more."""
        rows: list[Row] = self.conn.execute(
            f"SELECT * FROM {table} ORDER BY hashtext(ROW({', '.join(KEYS[table])})::text) LIMIT 20000"  # type: ignore[arg-type]
        ).fetchall()
        while True:
            self.random.shuffle(rows)
            yield from rows

    def _key(self, table: str, row: Row) -> dict[str, Any]:
        return {c: v for c, v in zip(self.columns[table], row, strict=True) if c in KEYS[table]}

    def _moved(self, table: str, row: Row) -> Row:
        """The row with a key that is not taken."""
        key = self._key(table, row)
        if table == "partsupp":
            while tuple(key.values()) in self._supplied:
                key = {"ps_partkey": self._row(table)[0], "ps_suppkey": self._row(table)[1]}
            self._supplied.add(tuple(key.values()))
        else:
            self._next[table] += 1
            key[KEYS[table][-1]] = self._next[table]
        return tuple((dict(zip(self.columns[table], row, strict=True)) | key).values())

    def _text(self, values: Sequence[Any]) -> str:
        return sql.SQL(", ").join(map(sql.Literal, values)).as_string(self.conn)
