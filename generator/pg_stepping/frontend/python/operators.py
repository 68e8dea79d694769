"""The operators of a graph. An operator's `row` is what it puts out: stand-ins over its input's leaves.

Each also computes its result from those of its inputs (`computed`), by what the operator means and nothing
else: that is the in-memory store. Keys of joins are compared as SQL does: a key that is None meets no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from pg_stepping.frontend.python import recomputed
from pg_stepping.frontend.python.data import EMPTY, Pair
from pg_stepping.frontend.python.index import Index
from pg_stepping.frontend.python.rows import PRESENT, Maybe, checked, column, leaves, read, row_of
from pg_stepping.frontend.python.scalar import Scalar
from pg_stepping.frontend.python.types import FieldType
from pg_stepping.frontend.python.zset import ZSetPython

Rows = ZSetPython[Any]
Function = Callable[[Any], Any]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Operator:
    """What all operators have: `inputs`, the `row` that they put out, and how they are computed."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(list(leaves(self.row)))} columns>"

    @property
    def inputs(self) -> tuple[Operator, ...]:
        values = (getattr(self, f.name) for f in fields(self))
        return tuple(v for v in values if issubclass(type(v), Operator))

    @property
    def row(self) -> Any:
        raise NotImplementedError

    @property
    def signed(self) -> bool:
        """Whether rows may be there less than zero times."""
        return any(i.signed for i in self.inputs)

    def computed(self, *inputs: Rows) -> Rows:
        raise NotImplementedError


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Source(Operator):
    """A source table, `table` or `schema.table`, and the query's parameter that stands for it."""

    parameter: str
    table: str
    row_type: Any

    @property
    def row(self) -> Any:
        return _row_of(self.row_type)


_row_of = cache(row_of)  # actions ask for it at every call


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Join(Operator):
    """Every pair of a left and a right row whose keys are equal.

    If `outer`, a left row without a partner is paired with Empty(). The first `null_safe` columns of the
    keys, those of groups, are also equal where both are None. `key_left` and `key_right` pick keys from rows.
    """

    left: Operator
    right: Operator
    on_left: tuple[Scalar, ...]
    on_right: tuple[Scalar, ...]
    null_safe: int
    key_left: Function
    key_right: Function
    outer: bool

    @property
    def row(self) -> Any:
        right = read(self.right.row, ("right",))
        if self.outer:
            right = Maybe(column(("right", PRESENT), FieldType(bool)), right, EMPTY)
        return Pair(left=read(self.left.row, ("left",)), right=right)

    def computed(self, *inputs: Rows) -> Rows:
        left, right = inputs
        return recomputed.join(left, right, self.key_left, self.key_right, self.outer)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Map(Operator):
    """One row for each row of the input; `output` are the stand-ins of what `f` makes of it."""

    input: Operator
    output: Any
    f: Function

    @property
    def row(self) -> Any:
        return self.output

    def computed(self, *inputs: Rows) -> Rows:
        return recomputed.map_rows(inputs[0], lambda row: checked(self.output, self.f(row)))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class MapMany(Operator):
    """A row for each element of the set that `f` makes of a row.

    `elements` is that set as one column, `element` the type of its elements, whose leaves `output` reads at
    the path `?element`.
    """

    input: Operator
    elements: Scalar
    element: Any
    output: Any
    f: Callable[[Any], Iterable[Any]]

    @property
    def row(self) -> Any:
        return self.output

    def computed(self, *inputs: Rows) -> Rows:
        return recomputed.map_many(inputs[0], self.f)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Filter(Operator):
    """The rows for which `f` is true."""

    input: Operator
    condition: Scalar
    f: Function

    @property
    def row(self) -> Any:
        return read(self.input.row)

    def computed(self, *inputs: Rows) -> Rows:
        return ZSetPython((row, count) for row, count in inputs[0].iter() if self.f(row))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Add(Operator):
    """The rows of both, counts added."""

    left: Operator
    right: Operator

    @property
    def row(self) -> Any:
        return read(self.left.row)

    def computed(self, *inputs: Rows) -> Rows:
        return inputs[0] + inputs[1]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Neg(Operator):
    """The rows with their counts negated."""

    input: Operator

    @property
    def row(self) -> Any:
        return read(self.input.row)

    @property
    def signed(self) -> bool:
        return True

    def computed(self, *inputs: Rows) -> Rows:
        return -inputs[0]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Distinct(Operator):
    """Each row once that is there more than zero times."""

    input: Operator

    @property
    def row(self) -> Any:
        return read(self.input.row)

    @property
    def signed(self) -> bool:
        return False

    def computed(self, *inputs: Rows) -> Rows:
        return ZSetPython((row, 1) for row, count in inputs[0].iter() if count > 0)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Reduce(Operator):
    """For each key, the sum of `value` over the rows, or their count; one row if there are no keys.

    A key is there while there are rows with it. `output` is the row: the sum is its only new leaf, `total`.
    """

    input: Operator
    keys: tuple[Scalar, ...]
    value: Scalar | None
    total: Scalar
    output: Any
    key: Function
    pick_value: Function
    zero: Callable[[], Any]
    made: Callable[[Any, Any], Any]

    @property
    def row(self) -> Any:
        return self.output

    @property
    def signed(self) -> bool:
        return False

    def computed(self, *inputs: Rows) -> Rows:
        rows = recomputed.reduce(inputs[0], self.key, self.pick_value, self.zero, self.made)
        return recomputed.map_rows(rows, lambda row: checked(self.output, row))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class FirstN(Operator):
    """The first `n` copies of rows by `index`, then by all columns; for each partition."""

    input: Operator
    index: Index[Any, Any]
    order: tuple[Scalar, ...]
    n: int
    partition: tuple[Scalar, ...]
    in_partition: Function
    inner: Function

    @property
    def row(self) -> Any:
        return read(self.input.row)

    @property
    def signed(self) -> bool:
        return False

    def computed(self, *inputs: Rows) -> Rows:
        return recomputed.first_n(inputs[0], self.index, self.n, self.in_partition, self.inner)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Closure(Operator):
    """All pairs of which the second can be reached from the first, over pairs that are there; within groups,
    `depth` of them, over pairs of the same."""

    input: Operator
    depth: int

    @property
    def row(self) -> Any:
        return read(self.input.row)

    @property
    def signed(self) -> bool:
        return False

    def computed(self, *inputs: Rows) -> Rows:
        return recomputed.closure(inputs[0], self.depth)
