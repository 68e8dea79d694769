"""A compiled query in memory: no server, every result computed anew from its inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pg_stepping.frontend.python.actions import not_found, outputs_of
from pg_stepping.frontend.python.cache import Cache
from pg_stepping.frontend.python.graph import Graph, Kept
from pg_stepping.frontend.python.operators import Operator, Rows, Source
from pg_stepping.frontend.python.rows import checked
from pg_stepping.frontend.python.zset import ZSet, ZSetPython


@dataclass(slots=True, eq=False)
class StorePython:
    """The rows of a graph's sources in memory, for tests without a server.

    It means what StorePostgres means, and checks values as that does; its actions can be undone by nobody.
    """

    graph: Graph[Any]
    rows: dict[Source, Rows] = field(default_factory=dict)
    log: dict[Kept, list[tuple[int, Any, int]]] = field(default_factory=dict)

    @classmethod
    def from_graph(cls, graph: Graph[Any]) -> StorePython:
        """An empty store for a graph."""
        store = cls(graph, {source: ZSetPython() for source in graph.sources})
        store.log = {kept: [] for kept in graph.kept}
        return store

    def zset(self, cache: Cache[Any]) -> ZSet[Any]:
        """The rows of a cache; raises LookupError if the query does not fill it."""
        return self.computed()[self.kept(cache)]

    def kept(self, cache: Cache[Any]) -> Kept:
        """What the query puts into `cache`; raises LookupError if it puts nothing there."""
        for kept in self.graph.kept:
            if kept.cache is cache:
                return kept
        raise LookupError("the query of this store does not fill this cache")

    def insert(self, source: Source, rows: Sequence[Any]) -> tuple[ZSet[Any], ...]:
        return self._changed(source, [(checked(source.row, row), 1) for row in rows])

    def remove(self, source: Source, rows: Sequence[Any]) -> tuple[ZSet[Any], ...]:
        gone = [checked(source.row, row) for row in rows]
        for row, copies in Counter(gone).items():
            if self.rows[source].get_count(row) < copies:
                raise not_found(source.table, row, copies)
        return self._changed(source, [(row, -1) for row in gone])

    def replace(self, source: Source, old: Any, new: Any) -> tuple[ZSet[Any], ...]:
        before, after = checked(source.row, old), checked(source.row, new)
        if not self.rows[source].get_count(before):
            raise not_found(source.table, before, 1)
        return self._changed(source, [(before, -1), (after, 1)])

    def together(self, writes: Callable[[], object]) -> tuple[ZSet[Any], ...]:
        before, there, logged = self.computed(), dict(self.rows), {k: list(v) for k, v in self.log.items()}
        try:
            writes()
        except BaseException:
            self.rows, self.log = there, logged
            raise
        self.log = logged
        return self._outputs(before)

    def _changed(self, source: Source, changes: Iterable[tuple[Any, int]]) -> tuple[ZSet[Any], ...]:
        before = self.computed()
        there = self.rows[source]
        self.rows[source] = there + ZSetPython(changes)
        try:
            return self._outputs(before)
        except BaseException:
            self.rows[source] = there
            raise

    def _outputs(self, before: dict[Kept, Rows]) -> tuple[ZSet[Any], ...]:
        after = self.computed()
        changed = {kept: rows - before[kept] for kept, rows in after.items()}
        position = max((entries[-1][0] for entries in self.log.values() if entries), default=0)
        for kept, rows in changed.items():
            for row, count in rows.iter():
                position += 1
                self.log[kept].append((position, row, count))
        return outputs_of(self.graph, changed, lambda kept: after[kept].iter())

    def computed(self) -> dict[Kept, Rows]:
        """The rows of all that the graph keeps, from those of its sources."""
        done: dict[Operator, Rows] = dict(self.rows.items())

        def rows(operator: Operator) -> Rows:
            if operator not in done:
                done[operator] = operator.computed(*(rows(i) for i in operator.inputs))
            return done[operator]

        return {kept: rows(kept.operator) for kept in self.graph.kept}
