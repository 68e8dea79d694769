"""A compiled query in a Postgres database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg.rows import tuple_row

from pg_stepping.errors import InvalidQuery, UnsupportedQuery, ViewDiffers
from pg_stepping.frontend.postgres import Connection
from pg_stepping.frontend.python.actions import outputs_of
from pg_stepping.frontend.python.cache import Cache, ZSetPostgres
from pg_stepping.frontend.python.capture import follow_changes
from pg_stepping.frontend.python.functions import keep_notes
from pg_stepping.frontend.python.graph import Graph, Kept, table_of
from pg_stepping.frontend.python.operators import Source
from pg_stepping.frontend.python.render import select
from pg_stepping.frontend.python.tables import SourceTable, join_keys
from pg_stepping.frontend.python.writing import Captured, Writer
from pg_stepping.frontend.python.zset import ZSet, ZSetPython
from pg_stepping.session import guarded
from pg_stepping.views import create_view, fingerprint, installed


@dataclass(frozen=True, slots=True, eq=False)
class StorePostgres:
    """The tables and views of a graph, over a connection that stays the caller's: nothing is committed here.

    `schema` has the views, and the tables whose names do not give another.
    """

    conn: Connection
    graph: Graph[Any]
    schema: str
    _writers: dict[Source, Writer] = field(default_factory=dict, repr=False)
    _captured: list[Captured] = field(default_factory=list, repr=False)
    _capturing: list[bool] = field(default_factory=list, repr=False)

    @classmethod
    def from_graph(
        cls, conn: Connection, graph: Graph[Any], create_tables: bool, *, schema: str | None = None
    ) -> StorePostgres:
        """Find the graph's tables and views in the database and check them against the graph.

        With `create_tables`, source tables and views that are not there are made: tables with typed columns,
        NOT NULL unless the field may be None, and an index on each join key. Existing tables may have more
        columns, if these are nullable or have a default. `schema` is by default the first of search_path.
        Raises ViewDiffers, which lists what is missing or other than the query needs, and what create_view()
        raises; then nothing in the database is changed.
        """
        with guarded(conn):
            store = cls(conn, graph, schema or _current_schema(conn))
            _raise_differences(store._prepare_tables(create_tables))
            _raise_differences(store._prepare_views(create_tables))
            views = [o.kept for o in graph.outputs if not o.integrated or o.delayed]
            states = {k: follow_changes(conn, store.schema, k, create=create_tables) for k in views}
            told = {kept: state for kept, state in states.items() if state is not None}
            store._writers.update((source, Writer(conn, store.table(source))) for source in graph.sources)
            writers = store._writers.values()
            captured = Captured(conn, store.schema, views, told, store._whole, writers, create_tables)
            store._captured.append(captured)
        return store

    def table(self, source: Source) -> SourceTable:
        """The table of a source."""
        schema, name = table_of(source, self.schema)
        return SourceTable(schema or self.schema, name, source)

    def kept(self, cache: Cache[Any]) -> Kept:
        """What the query puts into `cache`; raises LookupError if it puts nothing there."""
        for kept in self.graph.kept:
            if kept.cache is cache:
                return kept
        raise LookupError("the query of this store does not fill this cache")

    def zset(self, cache: Cache[Any]) -> ZSet[Any]:
        """The rows of a cache; raises LookupError if the query does not fill it."""
        return self._whole(self.kept(cache))

    def insert(self, source: Source, rows: Sequence[Any]) -> tuple[ZSet[Any], ...]:
        writer = self._writers[source]
        if self._capturing:  # within an iteration, which gives the outputs
            writer.insert(rows)
            return ()
        return self._outputs(self._captured[0].insert(writer, rows))

    def remove(self, source: Source, rows: Sequence[Any]) -> tuple[ZSet[Any], ...]:
        writer = self._writers[source]
        if self._capturing:
            writer.remove(rows)
            return ()
        return self._outputs(self._captured[0].remove(writer, rows))

    def replace(self, source: Source, old: Any, new: Any) -> tuple[ZSet[Any], ...]:
        return self._outputs(self._captured[0].replace(self._writers[source], old, new))

    def together(self, writes: Callable[[], object]) -> tuple[ZSet[Any], ...]:
        """The outputs, changed by what `writes` does; all of that or nothing happens."""
        self._capturing.append(True)
        try:
            return self._outputs(self._captured[0].by(writes))
        finally:
            self._capturing.clear()

    def _outputs(self, changed: dict[Kept, ZSetPython[Any]]) -> tuple[ZSet[Any], ...]:
        return outputs_of(self.graph, changed, lambda kept: self._whole(kept).iter())

    def _whole(self, kept: Kept) -> ZSet[Any]:
        return ZSetPostgres(kept, self.conn, self.schema)

    def _prepare_tables(self, create: bool) -> Iterator[str]:
        keys = [key for kept in self.graph.kept for key in join_keys(kept.operator)]
        for source in self.graph.sources:
            table = self.table(source)
            differences = table.differences(self.conn)
            if differences is not None:
                yield from differences
            elif create:
                table.create(self.conn, list(dict.fromkeys(key for of, key in keys if of is source)))
            else:
                yield f"table {table.schema}.{table.name} is missing"

    def _prepare_views(self, create: bool) -> Iterator[str]:
        for kept in self.graph.kept:
            query = select(kept.operator, lambda source: table_of(source, self.schema))
            found = installed(self.conn, kept.name, schema=self.schema)
            if found is not None:
                wanted = fingerprint(self.conn, kept.name, query, schema=self.schema, indexes=kept.indexed)
                if found.fingerprint != wanted:
                    yield f"view {self.schema}.{kept.name} is of another query, or indexed otherwise"
            elif create:
                try:
                    create_view(self.conn, kept.name, query, schema=self.schema, indexes=kept.indexed)
                except UnsupportedQuery as error:
                    error.locate(f", in the view {kept.name} of {self.graph.place}")
                    raise
                keep_notes(self.conn, self.schema, kept.name, self.graph.functions)
            else:
                yield f"view {self.schema}.{kept.name} is missing"


def _raise_differences(found: Iterator[str]) -> None:
    differences = list(found)
    if differences:
        listed = "".join(f"\n- {difference}" for difference in differences)
        raise ViewDiffers(
            f"the database is not what the query needs:{listed}",
            hint="create_tables=True makes what is missing; change or drop (drop_view) what is other",
        )


def _current_schema(conn: Connection) -> str:
    row = conn.cursor(row_factory=tuple_row).execute("SELECT current_schema()").fetchone()
    if row is None or row[0] is None:
        raise InvalidQuery("search_path has no schema", hint="set it, or give schema=", sqlstate="3F000")
    return str(row[0])
