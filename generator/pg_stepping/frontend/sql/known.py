"""What is known while a query is read: its tables, the columns that may be named, their types."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from sqlglot import exp

from pg_stepping.frontend.collations import with_one_collation
from pg_stepping.frontend.grouping import Scope
from pg_stepping.frontend.postgres import Connection, Function, of_no_rows, typed
from pg_stepping.frontend.refuse import Source
from pg_stepping.frontend.subqueries import Subquery, Unnester
from pg_stepping.frontend.tables import Relation
from pg_stepping.ir import Column, Project, Table, Type
from pg_stepping.ir.nodes import columns_read


class Known:
    """The connection, the query's text, and the relations found in it so far."""

    def __init__(self, conn: Connection, source: Source, functions: frozenset[Function]) -> None:
        self.conn = conn
        self.source = source
        self.tables: dict[Table, Relation] = {}
        self.views: set[Table] = set()
        self.decided: list[tuple[exp.Expression, exp.Expression]] = []
        self.read_whole: set[str] = set()  # the aliases of relations of which whole rows are read
        self.whole_rows: set[Table] = set()
        self._names: set[str] = set()
        self._published = False
        self._known: dict[tuple[str, str], Column] = {}
        self._outer: list[Scope] = []
        self._pending: list[Subquery] = []
        self._found_so_far: dict[str, tuple[str, Project]] = {}
        self._functions = functions
        self._unnest = Unnester(self._names, self._types, self._collated, self._of_none, source)

    @property
    def _aggregates(self) -> frozenset[str]:
        """The names of the aggregates that the query calls, and of the one that ARRAY(...) stands for."""
        return frozenset(("array_agg", *(f.called for f in self._functions if f.kind == "a")))

    def _types(self, columns: Sequence[Column], expressions: Sequence[exp.Expression]) -> list[Type]:
        """The types of expressions over these columns and those of the queries around."""
        there = self._known | {(c.relation, c.name): c for c in columns}
        read = dict.fromkeys(columns_read(*expressions))
        return typed(self.conn, [there[key] for key in read], expressions)

    def _of_none(self, columns: Sequence[Column], aggregate: exp.Expression) -> str | None:
        """The text of an aggregate's value over no rows of these columns."""
        there = self._known | {(c.relation, c.name): c for c in columns}
        return of_no_rows(
            self.conn, [there[key] for key in dict.fromkeys(columns_read(aggregate))], aggregate
        )

    def _collated(self, expression: exp.Expression, columns: Sequence[Column]) -> exp.Expression:
        """The expression, over these columns and all that are known, with one collation for each equality."""
        there = (*columns, *self._known.values())
        if not expression.find(exp.Collate) and not any(c.type.collation for c in there):
            return expression
        return with_one_collation(expression, partial(self._types, columns))

    def _know(self, columns: Iterable[Column]) -> None:
        self._known |= {(c.relation, c.name): c for c in columns}
