"""From a query function to its graph: `compile`."""

from __future__ import annotations

import inspect
import re
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from sqlglot import exp

from pg_stepping.errors import NameTaken, UnsupportedQuery
from pg_stepping.frontend.python.cache import Cache
from pg_stepping.frontend.python.data import resolved
from pg_stepping.frontend.python.functions import Note, recording, unchanging_variables
from pg_stepping.frontend.python.index import Index
from pg_stepping.frontend.python.language import Grouped, Integrated, QueryZSet
from pg_stepping.frontend.python.operators import Operator, Source
from pg_stepping.frontend.python.places import at_users_line
from pg_stepping.frontend.python.render import select, weight_name
from pg_stepping.frontend.python.rows import is_data, leaves, named_leaves, row_of, stored_columns
from pg_stepping.frontend.python.zset import ZSet
from pg_stepping.ir.types import fresh

if TYPE_CHECKING:
    from pg_stepping.frontend.python.actions import Action

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
R = TypeVar("R")
Outputs = TypeVar("Outputs", bound=tuple[ZSet[Any], ...])
Actions_co = TypeVar("Actions_co", covariant=True)

Tables = Mapping[str, str] | None


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """What is kept in a view: the rows of `operator`, as view `name`, with an index on each of `indexes`.

    `cache` is what the query put it into; None for an output that no cache has.
    """

    cache: Cache[Any] | None
    name: str
    operator: Operator
    indexes: tuple[Index[Any, Any], ...]

    @property
    def columns(self) -> dict[str, str]:
        """The name of each leaf's column, by the leaf's path."""
        row = self.operator.row
        paths = [".".join(path) for path, _ in leaves(row)]
        return dict(zip(paths, (name for name, _ in named_leaves(row)), strict=True))

    @property
    def published(self) -> list[str]:
        """The names of the view's columns."""
        weight = [weight_name(self.operator)] if self.operator.signed else []
        return [*self.columns.values(), *weight]

    @property
    def types(self) -> list[str]:
        """The Postgres types of these columns."""
        weight = ["bigint"] if self.operator.signed else []
        return [*(kind.sql for _, kind in stored_columns(self.operator.row)), *weight]

    @property
    def indexed(self) -> tuple[tuple[str, ...], ...]:
        """The columns of each index that is made of columns only."""
        names = self.columns
        plain = [i for i in self.indexes if all(isinstance(c.expression, exp.Column) for c in i.columns)]
        return tuple(dict.fromkeys(tuple(names[n] for n in i.names) for i in plain))


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """A result of the query: the changes of what is `kept`, all its rows (`integrated`), or those before."""

    kept: Kept
    integrated: bool
    delayed: bool


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Graph(Generic[Actions_co]):
    """A compiled query: a source for each parameter, in order, what is kept, and the outputs, in order.

    `functions` tells of each row function whether it runs as SQL or as Python, and why; `place` is where the
    query is written.
    """

    sources: tuple[Source, ...]
    kept: tuple[Kept, ...]
    outputs: tuple[Output, ...]
    functions: tuple[Note, ...] = ()
    place: str = ""

    def __repr__(self) -> str:
        return f"<Graph of {self.place}: {', '.join(kept.name for kept in self.kept)}>"

    def svg(self) -> str:
        """The dataflow as a picture; what runs as Python in it is named and has a colour."""
        from pg_stepping.frontend.python.picture import drawing

        return drawing(self).svg()

    def mermaid(self) -> str:
        """The same in Mermaid's language."""
        from pg_stepping.frontend.python.picture import drawing

        return drawing(self).mermaid()

    def _repr_svg_(self) -> str:
        return self.svg()

    def _repr_markdown_(self) -> str:
        return f"```mermaid\n{self.mermaid()}```\n"

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        """For notebooks."""
        return {
            "image/svg+xml": self.svg(),
            "text/markdown": self._repr_markdown_(),
            "text/plain": repr(self),
        }

    @property
    def sql(self) -> dict[str, str]:
        """The SELECT of each view, by its name."""
        return {kept.name: select(kept.operator, table_of) for kept in self.kept}


def table_of(source: Source, schema: str | None = None) -> tuple[str | None, str]:
    """The schema (the one given, if the source names none) and the name of a source's table."""
    before, dot, after = source.table.partition(".")
    return (before, after) if dot else (schema, before)


# A query of up to four inputs: with one output, with a tuple of outputs, and without.
@overload
def compile(
    query: Callable[[ZSet[A]], ZSet[R]], tables: Tables = None
) -> Graph[tuple[Action[A, tuple[ZSet[R]]]]]: ...
@overload
def compile(
    query: Callable[[ZSet[A]], Outputs], tables: Tables = None
) -> Graph[tuple[Action[A, Outputs]]]: ...
@overload
def compile(
    query: Callable[[ZSet[A]], None], tables: Tables = None
) -> Graph[tuple[Action[A, tuple[()]]]]: ...
@overload
def compile(
    query: Callable[[ZSet[A], ZSet[B]], ZSet[R]], tables: Tables = None
) -> Graph[tuple[Action[A, tuple[ZSet[R]]], Action[B, tuple[ZSet[R]]]]]: ...
@overload
def compile(
    query: Callable[[ZSet[A], ZSet[B]], Outputs], tables: Tables = None
) -> Graph[tuple[Action[A, Outputs], Action[B, Outputs]]]: ...
@overload
def compile(
    query: Callable[[ZSet[A], ZSet[B]], None], tables: Tables = None
) -> Graph[tuple[Action[A, tuple[()]], Action[B, tuple[()]]]]: ...
@overload
def compile(
    query: Callable[[ZSet[A], ZSet[B], ZSet[C]], ZSet[R]], tables: Tables = None
) -> Graph[tuple[Action[A, tuple[ZSet[R]]], Action[B, tuple[ZSet[R]]], Action[C, tuple[ZSet[R]]]]]: ...
@overload
def compile(
    query: Callable[[ZSet[A], ZSet[B], ZSet[C]], Outputs], tables: Tables = None
) -> Graph[tuple[Action[A, Outputs], Action[B, Outputs], Action[C, Outputs]]]: ...
@overload
def compile(
    query: Callable[[ZSet[A], ZSet[B], ZSet[C]], None], tables: Tables = None
) -> Graph[tuple[Action[A, tuple[()]], Action[B, tuple[()]], Action[C, tuple[()]]]]: ...
@overload
def compile(
    query: Callable[[ZSet[A], ZSet[B], ZSet[C], ZSet[D]], ZSet[R]], tables: Tables = None
) -> Graph[
    tuple[
        Action[A, tuple[ZSet[R]]],
        Action[B, tuple[ZSet[R]]],
        Action[C, tuple[ZSet[R]]],
        Action[D, tuple[ZSet[R]]],
    ]
]: ...
@overload
def compile(
    query: Callable[[ZSet[A], ZSet[B], ZSet[C], ZSet[D]], Outputs], tables: Tables = None
) -> Graph[tuple[Action[A, Outputs], Action[B, Outputs], Action[C, Outputs], Action[D, Outputs]]]: ...
@overload
def compile(
    query: Callable[[ZSet[A], ZSet[B], ZSet[C], ZSet[D]], None], tables: Tables = None
) -> Graph[tuple[Action[A, tuple[()]], Action[B, tuple[()]], Action[C, tuple[()]], Action[D, tuple[()]]]]: ...
@overload
def compile(query: Callable[..., object], tables: Tables = None) -> Graph[tuple[Action[Any, Any], ...]]: ...


def compile(query: Callable[..., object], tables: Tables = None) -> Graph[Any]:
    """The graph of a query function, which is called once.

    Each parameter is a ZSet of a Data class and stands for the table of its name, or for the one (`table` or
    `schema.table`) that `tables` gives for it. An output that no cache keeps is kept too,
    as the view `<query>_output`. Raises UnsupportedQuery for what cannot be maintained.
    """
    return _compiled(query, _callers(), tables or {})


@overload
def compile_lazy(
    query: Callable[[ZSet[A]], ZSet[R]],
) -> Callable[[], Graph[tuple[Action[A, tuple[ZSet[R]]]]]]: ...
@overload
def compile_lazy(
    query: Callable[[ZSet[A]], Outputs],
) -> Callable[[], Graph[tuple[Action[A, Outputs]]]]: ...
@overload
def compile_lazy(
    query: Callable[[ZSet[A]], None],
) -> Callable[[], Graph[tuple[Action[A, tuple[()]]]]]: ...
@overload
def compile_lazy(
    query: Callable[[ZSet[A], ZSet[B]], ZSet[R]],
) -> Callable[[], Graph[tuple[Action[A, tuple[ZSet[R]]], Action[B, tuple[ZSet[R]]]]]]: ...
@overload
def compile_lazy(
    query: Callable[[ZSet[A], ZSet[B]], Outputs],
) -> Callable[[], Graph[tuple[Action[A, Outputs], Action[B, Outputs]]]]: ...
@overload
def compile_lazy(
    query: Callable[[ZSet[A], ZSet[B]], None],
) -> Callable[[], Graph[tuple[Action[A, tuple[()]], Action[B, tuple[()]]]]]: ...
@overload
def compile_lazy(
    query: Callable[[ZSet[A], ZSet[B], ZSet[C]], ZSet[R]],
) -> Callable[
    [], Graph[tuple[Action[A, tuple[ZSet[R]]], Action[B, tuple[ZSet[R]]], Action[C, tuple[ZSet[R]]]]]
]: ...
@overload
def compile_lazy(
    query: Callable[[ZSet[A], ZSet[B], ZSet[C]], Outputs],
) -> Callable[[], Graph[tuple[Action[A, Outputs], Action[B, Outputs], Action[C, Outputs]]]]: ...
@overload
def compile_lazy(
    query: Callable[[ZSet[A], ZSet[B], ZSet[C]], None],
) -> Callable[[], Graph[tuple[Action[A, tuple[()]], Action[B, tuple[()]], Action[C, tuple[()]]]]]: ...
@overload
def compile_lazy(
    query: Callable[[ZSet[A], ZSet[B], ZSet[C], ZSet[D]], ZSet[R]],
) -> Callable[
    [],
    Graph[
        tuple[
            Action[A, tuple[ZSet[R]]],
            Action[B, tuple[ZSet[R]]],
            Action[C, tuple[ZSet[R]]],
            Action[D, tuple[ZSet[R]]],
        ]
    ],
]: ...
@overload
def compile_lazy(
    query: Callable[[ZSet[A], ZSet[B], ZSet[C], ZSet[D]], Outputs],
) -> Callable[
    [], Graph[tuple[Action[A, Outputs], Action[B, Outputs], Action[C, Outputs], Action[D, Outputs]]]
]: ...
@overload
def compile_lazy(
    query: Callable[[ZSet[A], ZSet[B], ZSet[C], ZSet[D]], None],
) -> Callable[
    [], Graph[tuple[Action[A, tuple[()]], Action[B, tuple[()]], Action[C, tuple[()]], Action[D, tuple[()]]]]
]: ...
@overload
def compile_lazy(query: Callable[..., object]) -> Callable[[], Graph[tuple[Action[Any, Any], ...]]]: ...


def compile_lazy(query: Callable[..., object]) -> Callable[[], Graph[Any]]:
    """A function that gives the query's graph, compiled when it is called first."""
    [nearest, *_] = _callers()
    compiled: list[Graph[Any]] = []

    def graph() -> Graph[Any]:
        if not compiled:
            compiled.append(_compiled(query, [nearest, *_callers()], {}))
        return compiled[0]

    return graph


def _callers() -> list[Mapping[str, Any]]:
    """The local names of those who call us, the nearest first."""
    found: list[Mapping[str, Any]] = []
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        found.append(frame.f_locals)
        frame = frame.f_back
    return found


def _compiled(
    query: Callable[..., object], callers: Sequence[Mapping[str, Any]], tables: Mapping[str, str]
) -> Graph[Any]:
    sources = _sources(query, callers, tables)
    caught: list[tuple[object, Integrated[Any]]] = []
    with recording() as functions, at_users_line(), unchanging_variables():
        returned = query(*(QueryZSet(source, caught) for source in sources))
    base = snake_case(re.sub(r"\W", "_", query.__name__)).strip("_")
    taken = {table_of(source)[1] for source in sources}
    taken |= {cache.name for cache, _ in caught if isinstance(cache, Cache) and cache.name}
    kept = [_kept(cache, integrated, base, taken) for cache, integrated in caught if isinstance(cache, Cache)]
    for number, one in enumerate(kept):
        if one.name in (other.name for other in kept[:number]):
            raise NameTaken(f"two caches are named {one.name}", hint="give one a name: st.Cache[T](name=...)")
        if one.name in {table_of(source)[1] for source in sources}:
            raise NameTaken(
                f"the cache {one.name} has the name of a table", hint="give it a name: st.Cache[T](name=...)"
            )
    taken |= {k.name for k in kept}
    outputs = []
    for result in returned if isinstance(returned, tuple) else () if returned is None else (returned,):
        if isinstance(result, Grouped) or (isinstance(result, QueryZSet) and result.groups):
            raise UnsupportedQuery(f"{query.__name__}() returns groups{_line(query)}", hint="flatten them")
        if not isinstance(result, QueryZSet | Integrated):
            raise UnsupportedQuery(
                f"{query.__name__}() returns {result!r}{_line(query)}",
                hint="return a ZSet of the query, a tuple of them, or None",
            )
        zset = result.zset if isinstance(result, Integrated) else result
        found = next((k for k in kept if k.operator is zset.operator), None)
        if found is None:
            indexes = result.indexes if isinstance(result, Integrated) else ()
            found = Kept(None, fresh(f"{base or 'query'}_output", taken), zset.operator, indexes)
            kept.append(found)
        delayed = isinstance(result, Integrated) and result.delayed
        outputs.append(Output(found, isinstance(result, Integrated), delayed))
    if not kept:
        raise UnsupportedQuery(
            f"no cache: {query.__name__}() keeps nothing{_line(query)}",
            hint="return a result, or keep it: cache[zset](lambda a: st.integrate_indexed(a, indexes=()))",
        )
    return Graph(sources, tuple(kept), tuple(outputs), tuple(functions), f"{query.__name__}(){_line(query)}")


def _sources(
    query: Callable[..., object], callers: Sequence[Mapping[str, Any]], tables: Mapping[str, str]
) -> tuple[Source, ...]:
    parameters = inspect.signature(query).parameters
    unknown = set(tables) - set(parameters)
    if unknown:
        raise ValueError(f"{query.__name__}() has no parameter {', '.join(sorted(unknown))}")
    own = inspect.getclosurevars(query).nonlocals
    types = {p.name: p.annotation for p in parameters.values()}
    for names in callers:  # a class that is local where the query is written, say
        types = resolved(types, {**names, **own}, query.__module__)
    return tuple(
        Source(n, tables.get(n, n), _row_type(query, n, annotation)) for n, annotation in types.items()
    )


def _line(query: Callable[..., object]) -> str:
    code = getattr(query, "__code__", None)
    return f" at {code.co_filename}:{code.co_firstlineno}" if code else ""


def _row_type(query: Callable[..., object], name: str, annotation: object) -> Any:
    arguments = typing.get_args(annotation)
    row_type = arguments[0] if typing.get_origin(annotation) is ZSet and arguments else None
    if row_type is None or isinstance(row_type, TypeVar) or not list(leaves(row_of(row_type))):
        raise UnsupportedQuery(
            f"the parameter {name} of {query.__name__}(), which is no ZSet of a Data class with fields"
            + _line(query),
            hint=f"annotate it, as in {name}: st.ZSet[User]",
        )
    return row_type


def _kept(cache: Cache[Any], integrated: Integrated[Any], base: str, taken: set[str]) -> Kept:
    operator = integrated.zset.operator
    row_type = type(operator.row)
    name = cache.name
    if not name:
        named_by_class = is_data(row_type)
        name = snake_case(row_type.__name__) if named_by_class else fresh(f"{base or 'query'}_cache", taken)
    return Kept(cache, name, operator, integrated.indexes)


def snake_case(name: str) -> str:
    """`DailyUsage` as `daily_usage`, `HTTPRead` as `http_read`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
