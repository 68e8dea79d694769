"""What has no delta: the touched keys of a stage are computed anew, from the rows that have them now.

The query of the stage is restricted to each touched key, where it reaches the indexes of the tables; of its
result only the rows that differ from those stored are written. The keys are locked before: who computes one
sees what all those have written who came before him.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from textwrap import indent

from sqlglot import exp

from pg_stepping.delta.stage import Stage
from pg_stepping.delta.state import equal, operand, same
from pg_stepping.delta.terms import Core, all_of, named, quote_table, whole
from pg_stepping.frontend.dialect import quote_name, to_sql
from pg_stepping.ir import Item, Partition
from pg_stepping.ir.nodes import Expression

INDENT = "    "


def refilling(stage: Stage) -> tuple[str, ...]:
    """What goes before filling a state again: no other writer may be in between."""
    tables = ", ".join(dict.fromkeys(quote_table(s.table) for s in stage.scans))
    return (f"LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE",)


def hash_of(keys: Iterable[Item], relation: str = "", *, alike: bool = False) -> str:
    """What finds a row of a bag: by its text, which for a name of an object is its number, as that stays.

    `alike`: rows are one that are equal, such as 1.0 and 1.00.
    """
    columns = []
    for key in keys:
        name, base = quote_name(key.name), key.type.base
        column = f"{relation}.{name}" if relation else name
        if base.startswith("reg"):
            column += "::oid[]" if base.endswith("[]") else "::oid"
        elif alike and key.type.alike is not None:
            column = key.type.alike.format(column)
        columns.append(column)
    return f"sha256(convert_to(ROW({', '.join(columns)})::text, 'UTF8'))"


def gather_bag(stage: Stage) -> tuple[str, str]:
    """What is around terms to make distinct rows of them, each with its key and the sum of its weights."""
    listed = ", ".join(quote_name(k.name) for k in stage.keys)
    key, n, weight = quote_name(stage.row_key), stage.count.sql_name, quote_name(stage.weight)
    return (
        f"SELECT DISTINCT ON ({key})\n{INDENT}{key}, {listed},"
        f" sum({weight}) OVER (PARTITION BY {key}) AS {n}\n"
        f"FROM (SELECT *, {hash_of(stage.keys)} AS {key} FROM (\n",
        f"\n) AS term) AS keyed\nORDER BY {key}",
    )


class Anew:
    """The statements of a partition, in the names of StageProgram."""

    def __init__(self, stage: Stage) -> None:
        assert stage.partition is not None
        self.stage = stage
        self.partition = stage.partition
        self.columns = ", ".join(quote_name(k.name) for k in stage.keys)
        self.row_key = quote_name(stage.row_key)
        self.n = stage.count.sql_name
        self.table = quote_table(stage.table)

    def key_of(self, relation: str = "") -> str:
        """The key of a row of the stage, in `relation`."""
        return hash_of(self.stage.keys, relation)

    @property
    def touched(self) -> tuple[str, str]:
        """What is around terms to make the touched keys of them."""
        if not self.stage.by:
            return "SELECT true AS touched\nFROM (\n", "\n) AS term\nLIMIT 1"
        return f"SELECT DISTINCT {', '.join(map(quote_name, self.stage.by))}\nFROM (\n", "\n) AS term"

    @property
    def gather(self) -> tuple[str, str]:
        """What is around terms to make `delta` of them."""
        return self.touched

    @property
    def fresh(self) -> str:
        """The rows of the touched keys, as they must be."""
        computed = f"(\n{indent(self._query(restricted=True), INDENT)}\n) AS computed"
        return self._counted(f"SELECT computed.* FROM delta CROSS JOIN LATERAL {computed}")

    @property
    def stored(self) -> str:
        """The rows of the touched keys, as they are."""
        return (
            f"SELECT state.ctid, state.* FROM delta JOIN {self.table} AS state ON {self._of_key('state')}true"
        )

    @property
    def before(self) -> tuple[tuple[str, str], ...]:
        gone = (
            f"DELETE FROM {self.table} AS state\nUSING delta\nWHERE {self._of_key('state')}"
            f"NOT EXISTS (SELECT FROM fresh WHERE fresh.{self.row_key} = state.{self.row_key})"
        )
        return ("fresh AS MATERIALIZED", self.fresh), ("gone AS", gone)

    @property
    def into(self) -> str:
        return f"{self._into} AS state ({self._stored})"

    @property
    def select(self) -> str:
        return f"SELECT {self._stored}\nFROM fresh\nORDER BY {self.row_key}"

    @property
    def merge(self) -> str:
        return self._merge(f"excluded.{self.n}")

    @property
    def outcome(self) -> str:
        return "SELECT min(n) AS least\nFROM changed"

    @property
    def fill(self) -> str:
        return f"{self._into} ({self._stored})\n{self._counted(self._query(restricted=False))}"

    @property
    def empty(self) -> tuple[str, ...]:
        emptied = f"DELETE FROM {self.table}"
        if self.stage.empties:
            return (emptied,)
        return *refilling(self.stage), emptied, self.fill

    def _merge(self, n: str) -> str:
        """What becomes of a row that is there already: `n` is its number."""
        return f"ON CONFLICT ({self.row_key}) DO UPDATE SET {self.n} = {n}\nWHERE state.{self.n} <> {n}"

    @property
    def _into(self) -> str:
        return f"INSERT INTO {self.table}"

    @property
    def _stored(self) -> str:
        return f"{self.row_key}, {self.columns}, {self.n}"

    def _counted(self, query: str, number: str = "count(*)") -> str:
        """The distinct rows of a query, each with its key and number."""
        key = self.row_key
        return (
            f"SELECT DISTINCT ON ({key})\n{INDENT}{key}, {self.columns},"
            f" {number} OVER (PARTITION BY {key}) AS {self.n}\n"
            f"FROM (SELECT *, {self.key_of()} AS {key} FROM (\n"
            f"{indent(query, INDENT)}\n) AS computed) AS keyed\nORDER BY {key}"
        )

    def _query(self, *, restricted: bool) -> str:
        """The query of the stage, for one touched key of `delta` or for all."""
        by = [k for k in self.stage.keys if k.name in self.stage.by] if restricted else []
        not_null = {(c.relation, c.name) for p in self.stage.core.parts for c in p.columns if c.not_null}
        return query_of(self.partition, self.stage.core, [_is_key(k, not_null) for k in by])

    def _of_key(self, relation: str) -> str:
        """The condition that a stored row has a key of `delta`."""
        tests = []
        for key in (k for k in self.stage.keys if k.name in self.stage.by):
            a, b = (f"{r}.{quote_name(key.name)}" for r in (relation, "delta"))
            tests.append(f"{same(a, b, key.type)} AND ")
        return "".join(tests)


def query_of(node: Partition, core: Core, only: Sequence[str] = ()) -> str:
    """The query of a partition whose input is `core`, restricted by the conditions `only`."""
    lines = list(whole(core))
    if only:
        where = [f"({lines.pop().removeprefix('WHERE ')})"] if lines[-1].startswith("WHERE ") else []
        lines.append("WHERE " + "\n    AND ".join((*where, *only)))
    if node.group:
        lines.append(f"GROUP BY {', '.join(map(_grouped_by, node.group))}")
    listed = ", ".join(named(i.expression, i.name) for i in (*node.items, *node.ranks))
    query = f"SELECT {listed}\n" + "\n".join(lines)
    if not node.conditions:
        return query
    columns = ", ".join(quote_name(i.name) for i in node.items)
    return (
        f"SELECT {columns}\nFROM (\n{indent(query, INDENT)}\n) AS {quote_name(node.relation)}\n"
        f"WHERE {all_of(node.conditions)}"
    )


def _grouped_by(key: Expression) -> str:
    """A key of GROUP BY; Postgres takes no constant there that is not a number of a column."""
    return f"{to_sql(key)}::boolean" if isinstance(key, exp.Boolean) else to_sql(key)


def _is_key(key: Item, not_null: set[tuple[str, str]]) -> str:
    mine, touched = operand(key.expression), f"delta.{quote_name(key.name)}"
    expression = key.expression
    if isinstance(expression, exp.Column) and (expression.table, expression.name) in not_null:
        return equal(mine, touched, key.type)
    return same(mine, touched, key.type)
