"""Writing to the source tables, and what each write changes in the query's outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar, cast

from pg_stepping.errors import SteppingError
from pg_stepping.frontend.python.graph import Graph, Kept
from pg_stepping.frontend.python.operators import Source
from pg_stepping.frontend.python.zset import ZSet, ZSetPython

T = TypeVar("T")
V_co = TypeVar("V_co", covariant=True)
ActionsT = TypeVar("ActionsT")


class RowNotFound(SteppingError, LookupError):
    """A row that is to be removed or replaced is not in its table."""

    sqlstate = "P0002"


class Writable(Protocol):
    """A store that rows are written to: each write gives the outputs of its graph."""

    @property
    def graph(self) -> Graph[Any]: ...

    def insert(self, source: Source, rows: Sequence[Any]) -> tuple[ZSet[Any], ...]: ...

    def remove(self, source: Source, rows: Sequence[Any]) -> tuple[ZSet[Any], ...]: ...

    def replace(self, source: Source, old: Any, new: Any) -> tuple[ZSet[Any], ...]: ...

    def together(self, writes: Callable[[], object]) -> tuple[ZSet[Any], ...]: ...


def actions(store: Writable, graph: Graph[ActionsT]) -> ActionsT:
    """An `Action` for each parameter of the query, in order.

    Raises ValueError if the store is of another graph.
    """
    if graph is not store.graph:
        raise ValueError("the store was made from another graph")
    made: Any = tuple(Action(store, source) for source in graph.sources)
    return cast(ActionsT, made)


def iteration(store: Writable, graph: Graph[Any], inputs: tuple[ZSet[Any], ...]) -> tuple[ZSet[Any], ...]:
    """Insert what is there more than zero times in each input, remove what is there less; all or nothing.

    Returns the outputs, as `Action` does. Raises RowNotFound if a row that is to go is not there.
    """
    if graph is not store.graph or len(inputs) != len(graph.sources):
        raise ValueError("an iteration takes a ZSet for each parameter of the store's own graph")

    def write() -> None:
        for source, zset in zip(graph.sources, inputs, strict=True):
            counted = list(zset.iter())
            gone = [row for row, count in counted for _ in range(-count)]
            came = [row for row, count in counted for _ in range(count)]
            if gone:
                store.remove(source, gone)
            if came:
                store.insert(source, came)

    return store.together(write)


class Action(Generic[T, V_co]):
    """Inserts, removes and replaces rows of one source table.

    Each returns the query's outputs, a ZSet each: the rows that this call added to them (+) and took away
    (-); of an output that is integrated all its rows. Nothing is committed.
    """

    def __init__(self, store: Writable, source: Source) -> None:
        self._store, self._source = store, source

    def __repr__(self) -> str:
        return f"<Action on {self._source.table}>"

    def insert(self, *rows: T) -> V_co:
        """Insert the rows by one statement; raises TypeError or ValueError for a value that does not fit."""
        return cast(V_co, self._store.insert(self._source, rows))

    def remove(self, *rows: T) -> V_co:
        """Delete one copy for each given row, by one statement.

        Raises RowNotFound, which names the row, with nothing changed, if one is not there.
        """
        return cast(V_co, self._store.remove(self._source, rows))

    def replace(self, old: T, new: T) -> V_co:
        """Change one copy of `old` into `new`; raises RowNotFound if there is none."""
        return cast(V_co, self._store.replace(self._source, old, new))


def not_found(table: str, row: object, copies: int) -> RowNotFound:
    """The error for a row of which `table` has less than `copies`."""
    often = f" {copies} copies of" if copies > 1 else ""
    return RowNotFound(f"{table} does not have{often} {row!r}", hint="compare it with what the table has")


def outputs_of(
    graph: Graph[Any],
    changed: Mapping[Kept, ZSetPython[Any]],
    rows: Callable[[Kept], Iterable[tuple[Any, int]]],
) -> tuple[ZSet[Any], ...]:
    """The outputs, from what changed in each view and, where a whole is wanted, its rows."""
    made: list[ZSet[Any]] = []
    for output in graph.outputs:
        kept = output.kept
        if not output.integrated:
            made.append(changed[kept])
        elif output.delayed:
            made.append(ZSetPython(rows(kept)) + -changed[kept])
        else:
            made.append(ZSetPython(rows(kept)))
    return tuple(made)
