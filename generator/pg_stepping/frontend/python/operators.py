"""What a query is written with; each call adds an operator to the graph.

An operator's `row` is what it puts out: a row whose leaves are SQL over the leaves of its input. The keys of
joins are compared as SQL does: a key that is None meets no other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Generic, TypeVar

from sqlglot import exp

from pg_stepping.errors import UnsupportedQuery
from pg_stepping.frontend.python.data import Data, Pair
from pg_stepping.frontend.python.functions import compile_row_function
from pg_stepping.frontend.python.index import Index
from pg_stepping.frontend.python.scalar import Scalar, as_scalar, common
from pg_stepping.frontend.python.tracing import leaves, read, row_of, trace
from pg_stepping.frontend.python.types import FieldType

T = TypeVar("T")
U = TypeVar("U")
K = TypeVar("K")
V = TypeVar("V", int, float, Decimal)


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A source table, `table` or `schema.table`, and the query's parameter that stands for it."""

    parameter: str
    table: str
    row_type: type[Data]

    @property
    def row(self) -> Any:
        return row_of(self.row_type)


@dataclass(frozen=True, slots=True, eq=False)
class Join:
    """Every pair of a left and a right row whose keys are equal."""

    left: Operator
    right: Operator
    on_left: tuple[Scalar, ...]
    on_right: tuple[Scalar, ...]

    @property
    def row(self) -> Any:
        return read(Pair(left=self.left.row, right=self.right.row))


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """One row for each row of the input."""

    input: Operator
    row: Any


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """One row for each key; `row` is a Pair of a sum and the key."""

    input: Operator
    keys: tuple[Scalar, ...]
    row: Any


Operator = Source | Join | Map | Group


@dataclass(frozen=True, slots=True, eq=False)
class Integrated(Generic[T]):
    """All rows of a ZSet so far, indexed; what a Cache keeps."""

    zset: ZSet[T]
    indexes: tuple[Index[T, Any], ...]


@dataclass(frozen=True, slots=True, eq=False)
class ZSet(Generic[T]):
    """Rows of type T with how often each is there; inside of a query, an operator of its graph.

    `kept` collects what is put into caches while the query is compiled, and is common to the whole query.
    """

    operator: Operator
    kept: list[tuple[object, Integrated[Any]]] = field(repr=False)


def join(left: ZSet[T], right: ZSet[U], *, on_left: Index[T, K], on_right: Index[U, K]) -> ZSet[Pair[T, U]]:
    """Every pair of a left and a right row with equal keys.

    Raises UnsupportedQuery if the keys are of unlike types.
    """
    a, b = _columns(left, on_left, "join"), _columns(right, on_right, "join")
    kinds = [tuple(c.type.python.__name__ for c in key) for key in (a, b)]
    if kinds[0] != kinds[1]:
        raise UnsupportedQuery(
            f"a join of unlike keys: {', '.join(kinds[0])} on the left, {', '.join(kinds[1])} on the right",
            hint="pick keys of the same types",
        )
    return ZSet(Join(left.operator, right.operator, a, b), left.kept)


def map(zset: ZSet[T], *, f: Callable[[T], U]) -> ZSet[U]:
    """`f` of every row.

    `f` becomes SQL: it is called once, with a row of stand-ins. Raises UnsupportedQuery if it has none.
    """
    return ZSet(Map(zset.operator, compile_row_function(f, read(zset.operator.row))), zset.kept)


def group_reduce_flatten(
    zset: ZSet[T], *, by: Index[T, K], zero: Callable[[], V], pick_value: Callable[[T], V]
) -> ZSet[Pair[V, K]]:
    """For each key, `zero()` plus the sum of what `pick_value` picks from the rows with that key.

    `zero` is `int`, `float` or `Decimal`. A key is there while there are rows with it. Keys that are None are
    alike. Raises UnsupportedQuery if `zero()` is not zero, or `pick_value` has no SQL.
    """
    start = zero()
    if type(start) not in (int, float, Decimal) or start != 0:
        raise UnsupportedQuery(f"a sum that starts at {start!r}", hint="use zero=int, float or Decimal")

    def added(picked: object) -> Scalar:
        value = as_scalar(picked)
        kind = common(FieldType(type(start)), value.type)
        return Scalar(value.expression if kind == value.type else kind.cast(value.expression), kind)

    keys = _columns(zset, by, "group")
    value = trace(pick_value, read(zset.operator.row), added)
    total: exp.Expression = exp.Anonymous(this="sum", expressions=[value.expression])
    if value.type.python is int:
        total = value.type.cast(total)  # sum(bigint) is numeric
    key = keys if by.is_tuple else keys[0]
    return ZSet(Group(zset.operator, keys, Pair(left=Scalar(total, value.type), right=key)), zset.kept)


def integrate_indexed(zset: ZSet[T], *, indexes: Sequence[Index[T, Any]]) -> Integrated[T]:
    """All rows of the ZSet, to be looked up by each of `indexes`; each is a field or a tuple of fields."""
    for index in indexes:
        for key in _columns(zset, index, "index"):
            if not isinstance(key.expression, exp.Column):
                raise UnsupportedQuery(
                    "a cache indexed by an expression", hint="make it a field of the row and index by that"
                )
    return Integrated(zset, tuple(indexes))


def _columns(zset: ZSet[T], index: Index[T, K], what: str) -> tuple[Scalar, ...]:
    if not index.fits(zset.operator.row):
        there = ", ".join(f"{'.'.join(path)}: {leaf.type}" for path, leaf in leaves(zset.operator.row))
        raise UnsupportedQuery(
            f"a {what} by an index of {index.row_type.__name__} on rows of ({there})",
            hint="pick the index from the type of these rows",
        )
    return index.columns
