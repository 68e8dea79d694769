"""From a query function to its graph: `compile`."""

from __future__ import annotations

import inspect
import re
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from pg_stepping.errors import NameTaken, UnsupportedQuery
from pg_stepping.frontend.python.cache import Cache
from pg_stepping.frontend.python.data import Data, columns, resolved
from pg_stepping.frontend.python.operators import Integrated, Operator, Source, ZSet
from pg_stepping.frontend.python.render import select

if TYPE_CHECKING:
    from pg_stepping.frontend.python.actions import Action

A = TypeVar("A", bound=Data)
B = TypeVar("B", bound=Data)
C = TypeVar("C", bound=Data)
D = TypeVar("D", bound=Data)
E = TypeVar("E", bound=Data)
Actions_co = TypeVar("Actions_co", covariant=True)

Tables = Mapping[str, str] | None


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """What a cache keeps: the rows of `operator`, as view `name`, with an index on each of `indexes`."""

    cache: Cache[Any]
    name: str
    row_type: type[Data]
    operator: Operator
    indexes: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Graph(Generic[Actions_co]):
    """A compiled query: a source for each parameter, in order, and what its caches keep."""

    sources: tuple[Source, ...]
    kept: tuple[Kept, ...]

    @property
    def sql(self) -> dict[str, str]:
        """The SELECT of each cache, by the name of its view."""
        return {kept.name: select(kept.operator, table_of) for kept in self.kept}


def table_of(source: Source, schema: str | None = None) -> tuple[str | None, str]:
    """The schema (the one given, if the source names none) and the name of a source's table."""
    before, dot, after = source.table.partition(".")
    return (before, after) if dot else (schema, before)


@overload
def compile(query: Callable[[ZSet[A]], object], tables: Tables = None) -> Graph[tuple[Action[A]]]: ...
@overload
def compile(
    query: Callable[[ZSet[A], ZSet[B]], object], tables: Tables = None
) -> Graph[tuple[Action[A], Action[B]]]: ...
@overload
def compile(
    query: Callable[[ZSet[A], ZSet[B], ZSet[C]], object], tables: Tables = None
) -> Graph[tuple[Action[A], Action[B], Action[C]]]: ...
@overload
def compile(
    query: Callable[[ZSet[A], ZSet[B], ZSet[C], ZSet[D]], object], tables: Tables = None
) -> Graph[tuple[Action[A], Action[B], Action[C], Action[D]]]: ...
@overload
def compile(
    query: Callable[[ZSet[A], ZSet[B], ZSet[C], ZSet[D], ZSet[E]], object], tables: Tables = None
) -> Graph[tuple[Action[A], Action[B], Action[C], Action[D], Action[E]]]: ...
@overload
def compile(query: Callable[..., object], tables: Tables = None) -> Graph[tuple[Action[Any], ...]]: ...


def compile(query: Callable[..., object], tables: Tables = None) -> Graph[Any]:
    """The graph of a query function, which is called once.

    Each parameter is a ZSet of a Data class and stands for the table of its name, or for the one (`table` or
    `schema.table`) that `tables` gives for it. Raises UnsupportedQuery for what cannot be maintained.
    """
    frame = sys._getframe(1).f_locals
    sources = _sources(query, frame, tables or {})
    caught: list[tuple[object, Integrated[Any]]] = []
    query(*(ZSet(source, caught) for source in sources))
    kept = tuple(_kept(cache, integrated) for cache, integrated in caught if isinstance(cache, Cache))
    if not kept:
        raise UnsupportedQuery(
            f"no cache: {query.__name__}() keeps nothing",
            hint="keep a result: cache[zset](lambda a: st.integrate_indexed(a, indexes=()))",
        )
    for number, one in enumerate(kept):
        if one.name in (other.name for other in kept[:number]):
            raise NameTaken(f"two caches are named {one.name}", hint="give one a name: st.Cache[T](name=...)")
    return Graph(sources, kept)


def _sources(
    query: Callable[..., object], frame: Mapping[str, Any], tables: Mapping[str, str]
) -> tuple[Source, ...]:
    parameters = inspect.signature(query).parameters
    unknown = set(tables) - set(parameters)
    if unknown:
        raise ValueError(f"{query.__name__}() has no parameter {', '.join(sorted(unknown))}")
    known = {**frame, **inspect.getclosurevars(query).nonlocals}
    annotations = {p.name: p.annotation for p in parameters.values()}
    types = resolved(annotations, known, query.__module__)
    return tuple(
        Source(n, tables.get(n, n), _row_type(query, n, annotation)) for n, annotation in types.items()
    )


def _row_type(query: Callable[..., object], name: str, annotation: object) -> type[Data]:
    arguments = typing.get_args(annotation)
    row_type = arguments[0] if typing.get_origin(annotation) is ZSet and arguments else None
    if not (isinstance(row_type, type) and issubclass(row_type, Data) and columns(row_type)):
        raise UnsupportedQuery(
            f"the parameter {name} of {query.__name__}(), which is no ZSet of a Data class with fields",
            hint=f"annotate it, as in {name}: st.ZSet[User]",
        )
    return row_type


def _kept(cache: Cache[Any], integrated: Integrated[Any]) -> Kept:
    operator = integrated.zset.operator
    row_type = type(operator.row)
    if not issubclass(row_type, Data):
        raise UnsupportedQuery(
            f"a cache of rows that are no Data but {row_type.__name__}",
            hint="map them to a Data class first, whose fields name the columns of the view",
        )
    indexes = tuple(index.names for index in integrated.indexes)
    return Kept(cache, cache.name or snake_case(row_type.__name__), row_type, operator, indexes)


def snake_case(name: str) -> str:
    """`DailyUsage` as `daily_usage`, `HTTPRead` as `http_read`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
