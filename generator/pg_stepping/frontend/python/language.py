"""What a query is written with; each call adds an operator to the graph.

Row functions are compiled, to SQL or to functions of the database (functions/): each call here raises
UnsupportedQuery for one that cannot be, and for an operator that has no meaning where it stands.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any, Generic, TypeVar, cast, get_origin

from sqlglot import exp

from pg_stepping.errors import UnsupportedQuery
from pg_stepping.frontend.python import nesting
from pg_stepping.frontend.python.data import Empty, Pair
from pg_stepping.frontend.python.encoding import is_collection
from pg_stepping.frontend.python.functions import compile_row_function
from pg_stepping.frontend.python.functions.values import is_symbolic
from pg_stepping.frontend.python.index import Index
from pg_stepping.frontend.python.operators import (
    Add,
    Closure,
    Distinct,
    Filter,
    FirstN,
    Join,
    Map,
    MapMany,
    Neg,
    Operator,
    Reduce,
)
from pg_stepping.frontend.python.rows import annotation_of, leaves, normal, read, row_of
from pg_stepping.frontend.python.scalar import NotTraceable, Scalar, as_scalar, collecting, common
from pg_stepping.frontend.python.sums import to_json
from pg_stepping.frontend.python.types import FieldType
from pg_stepping.frontend.python.zset import ZSet, ZSetPython

T = TypeVar("T")
U = TypeVar("U")
K = TypeVar("K")
V = TypeVar("V", bound="int | float | Decimal | ZSetPython[Any]")
Z = TypeVar("Z")
Kept = list[tuple[object, "Integrated[Any]"]]

ELEMENT = "?element"
TOTAL = "?total"


@dataclass(frozen=True, slots=True, eq=False)
class QueryZSet(ZSet[T]):
    """A ZSet inside of a query: an operator of its graph.

    `kept` collects what is put into caches while the query is compiled, and is common to the whole query.
    `groups` tells in which groups it is, the outermost first.
    """

    operator: Operator
    kept: Kept = field(repr=False)
    groups: tuple[object, ...] = ()

    def __neg__(self) -> ZSet[T]:
        return neg(self)

    def __add__(self, other: ZSet[T]) -> ZSet[T]:
        return add(self, other)

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def _with(self, operator: Operator) -> QueryZSet[Any]:
        return QueryZSet(operator, self.kept, self.groups)


@dataclass(frozen=True, slots=True, eq=False)
class Integrated(ZSet[T]):
    """All rows of a ZSet so far, or, if `delayed`, those before the present change; a Cache keeps them."""

    zset: QueryZSet[T]
    indexes: tuple[Index[T, Any], ...] = ()
    delayed: bool = False

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


@dataclass(frozen=True, slots=True, eq=False)
class Grouped(Generic[Z, K]):
    """A ZSet in groups with keys of type K."""

    zset: QueryZSet[Any]


def _zset(a: object, operator: str) -> QueryZSet[Any]:
    if isinstance(a, QueryZSet):
        return a
    if isinstance(a, Integrated):
        raise UnsupportedQuery(
            f"{operator} of an integrated ZSet", hint=f"integrate last: integrate({operator}(a))"
        )
    if isinstance(a, Grouped):
        raise UnsupportedQuery(f"{operator} of groups", hint="work on each by per_group, or flatten them")
    raise TypeError(f"{operator}() works on the ZSets of a query, not on {a!r}")


# --- row by row ----------------------------------------------------------------------------------------


def map(a: ZSet[T], *, f: Callable[[T], U]) -> ZSet[U]:
    """`f` of every row."""
    zset = _zset(a, "map")
    depth, row = len(zset.groups), read(zset.operator.row)
    made = compile_row_function(f, nesting.inner(row, depth))
    return _mapped(zset, made, f, row)


def _mapped(zset: QueryZSet[Any], made: Any, f: Callable[[Any], Any], row: Any) -> QueryZSet[Any]:
    """Rows made of the inner rows, in the same groups."""
    _refuse_unhashable(made, _name(f))
    depth = len(zset.groups)

    def lifted(value: Any) -> Any:
        return nesting.within(f(nesting.inner(value, depth)), nesting.keys(value, depth))

    output = nesting.within(made, nesting.keys(row, depth))
    return zset._with(Map(zset.operator, output, lifted if depth else f))


def _refuse_unhashable(row: object, name: str) -> None:
    """Rows are found by what they are: a list, a dict or a set alone cannot be one."""
    for part in row if isinstance(row, tuple) else (row,):
        if isinstance(part, tuple):
            _refuse_unhashable(part, name)
        elif type(part) is Scalar and (get_origin(part.type.python) or part.type.python) in (list, dict, set):
            raise UnsupportedQuery(
                f"rows of {part.type} in {name}",
                hint="make a tuple or a frozenset of it, or a field of a Data class",
            )


def map_many(a: ZSet[T], *, f: Callable[[T], frozenset[U]]) -> ZSet[U]:
    """Every element of the set that `f` makes of a row."""
    zset = _zset(a, "map_many")
    depth, row = len(zset.groups), read(zset.operator.row)
    inside = nesting.inner(row, depth)
    try:
        elements = compile_row_function(f, inside)
    except UnsupportedQuery:
        kind = _element_type(f, inside)
        if kind is None:
            raise
        elements = compile_row_function(f, inside, returns=frozenset[kind])  # type: ignore[valid-type]
    if type(elements) is not Scalar or not is_collection(elements.type.python):
        raise UnsupportedQuery(
            f"a map_many by {_name(f)}, which returns no set", hint="annotate it: -> frozenset[Row]"
        )
    element = elements.type.python.__args__[0]
    inner = row_of(element, (ELEMENT,))
    _refuse_unhashable(inner, _name(f))
    output = nesting.within(inner, nesting.keys(row, depth))

    def lifted(value: Any) -> list[Any]:
        made = f(nesting.inner(value, depth))
        return [nesting.within(element, nesting.keys(value, depth)) for element in made]

    return zset._with(MapMany(zset.operator, elements, element, output, lifted))


def _element_type(function: Callable[..., Any], row: Any) -> Any:
    """The one type of what a function that has no annotation puts into a set; None if that is not plain."""
    try:
        with collecting():
            made = function(row)
    except NotTraceable:
        return None
    kinds = {annotation_of(normal(e)) for e in made} if isinstance(made, set | frozenset | list) else set()
    return kinds.pop() if len(kinds) == 1 else None


def filter(a: ZSet[T], *, f: Callable[[T], bool]) -> ZSet[T]:
    """The rows for which `f` is true."""
    zset = _zset(a, "filter")
    depth = len(zset.groups)
    condition = compile_row_function(f, nesting.inner(read(zset.operator.row), depth), returns=bool)
    if type(condition) is not Scalar or condition.type != FieldType(bool):
        shown = condition.type if type(condition) is Scalar else type(condition).__name__
        raise UnsupportedQuery(
            f"a filter by {_name(f)}, which returns {shown}", hint="return a bool: compare, or use bool()"
        )
    return zset._with(Filter(zset.operator, condition, lambda row: f(nesting.inner(row, depth))))


def identity_print(a: ZSet[T]) -> ZSet[T]:
    """The rows as they are; nothing is printed, for nothing runs while the query is compiled."""
    return a


# --- together ------------------------------------------------------------------------------------------


def join(l: ZSet[T], r: ZSet[U], *, on_left: Index[T, K], on_right: Index[U, K]) -> ZSet[Pair[T, U]]:  # noqa: E741
    """Every pair of a left and a right row with equal keys; a key that is None meets no other."""
    return _joined(_zset(l, "join"), _zset(r, "join"), on_left, on_right, outer=False)


def outer_join(
    l: ZSet[T],  # noqa: E741
    r: ZSet[U],
    *,
    on_left: Index[T, K],
    on_right: Index[U, K],
) -> ZSet[Pair[T, U | Empty]]:
    """The same, and each left row that has no partner, with Empty() on its right."""
    return _joined(_zset(l, "outer_join"), _zset(r, "outer_join"), on_left, on_right, outer=True)


def _joined(
    left: QueryZSet[Any],
    right: QueryZSet[Any],
    on_left: Index[Any, Any],
    on_right: Index[Any, Any],
    *,
    outer: bool,
) -> QueryZSet[Any]:
    what = "outer_join" if outer else "join"
    shared = min(len(left.groups), len(right.groups))
    if left.groups[:shared] != right.groups[:shared]:
        raise UnsupportedQuery(
            f"a {what} of rows in different groups", hint="flatten both and join on the keys"
        )
    if outer and len(right.groups) > len(left.groups):
        raise UnsupportedQuery("an outer_join of a group on the right only", hint="flatten it first")
    columns = []
    for zset, index in ((left, on_left), (right, on_right)):
        around = [leaf for key in nesting.keys(read(zset.operator.row), shared) for _, leaf in leaves(key)]
        columns.append((tuple(around), _columns(zset, index, what)))
    (keys_left, a), (keys_right, b) = columns
    kinds = [tuple(str(FieldType(c.type.python)) for c in key) for key in (a, b)]
    if kinds[0] != kinds[1]:
        raise UnsupportedQuery(
            f"a {what} of unlike keys: {', '.join(kinds[0])} on the left, {', '.join(kinds[1])} on the right",
            hint="pick keys of the same types",
        )

    def picks(zset: QueryZSet[Any], index: Index[Any, Any]) -> Callable[[Any], Any]:
        depth = len(zset.groups)

        def key(row: Any) -> Any:
            picked = index.f(nesting.inner(row, depth))
            return (Pair(nesting.keys(row, shared), ()), picked) if shared else picked

        return key

    operator = Join(
        left.operator, right.operator, (*keys_left, *a), (*keys_right, *b), len(keys_left),
        picks(left, on_left), picks(right, on_right), outer,
    )  # fmt: skip
    deep_left, deep_right = len(left.groups), len(right.groups)
    groups = max(left.groups, right.groups, key=len)
    joined: QueryZSet[Any] = QueryZSet(operator, left.kept, groups)
    if not groups:
        return joined

    def arranged(pair: Any) -> Any:
        longer = pair.left if deep_left >= deep_right else pair.right
        flat = Pair(nesting.inner(pair.left, deep_left), nesting.inner_or_empty(pair.right, deep_right))
        return nesting.within(flat, nesting.keys(longer, len(groups)))

    return joined._with(Map(operator, arranged(read(operator.row)), arranged))


def add(a: ZSet[T], b: ZSet[T]) -> ZSet[T]:
    """The rows of both, counts added."""
    left, right = _zset(a, "add"), _zset(b, "add")
    if left.groups != right.groups:
        raise UnsupportedQuery("an add of rows in different groups", hint="flatten both first")
    there = [[(path, leaf.type) for path, leaf in leaves(z.operator.row)] for z in (left, right)]
    if there[0] != there[1]:
        shown = [", ".join(f"{'.'.join(p) or 'value'}: {t}" for p, t in side) for side in there]
        raise UnsupportedQuery(
            f"an add of unlike rows: ({shown[0]}) and ({shown[1]})", hint="map both to one type first"
        )
    return left._with(Add(left.operator, right.operator))


def add3(a: ZSet[T], b: ZSet[T], c: ZSet[T]) -> ZSet[T]:
    """The rows of all three, counts added."""
    return add(add(a, b), c)


def neg(a: ZSet[T]) -> ZSet[T]:
    """The rows with their counts negated.

    What is kept of them is a view with a column `weight`, one line for each distinct row.
    """
    zset = _zset(a, "neg")
    return zset._with(Neg(zset.operator))


def distinct(a: ZSet[T]) -> ZSet[T]:
    """Each row once that is there more than zero times."""
    zset = _zset(a, "distinct")
    return zset._with(Distinct(zset.operator))


def first_n(a: ZSet[T], *, index: Index[T, K], n: int) -> ZSet[T]:
    """The first `n` rows in the order of `index`, copies counted; where keys are equal, by all columns.

    Rows that are there less than zero times are left out.
    """
    zset = _zset(a, "first_n")
    if not isinstance(n, int) or isinstance(n, bool) or n < 0:
        raise ValueError(f"first_n takes a number of rows, not {n!r}")
    depth, row = len(zset.groups), read(zset.operator.row)
    partition = tuple(leaf for key in nesting.keys(row, depth) for _, leaf in leaves(key))
    operator = FirstN(
        zset.operator, index, _columns(zset, index, "first_n"), n, partition,
        lambda row: nesting.keys(row, depth), lambda row: nesting.inner(row, depth),
    )  # fmt: skip
    return zset._with(operator)


def transitive_closure(a: ZSet[Pair[K, K]]) -> ZSet[Pair[K, K]]:
    """All pairs of which the right can be reached from the left; each once."""
    zset = _zset(a, "transitive_closure")
    depth = len(zset.groups)
    row = nesting.inner(zset.operator.row, depth)
    if not isinstance(row, Pair) or _types(row.left) != _types(row.right):
        raise UnsupportedQuery(
            "a transitive_closure of rows that are no pairs of one type",
            hint="map them to st.Pair(start, end)",
        )
    _refuse_unhashable((row.left,), "a transitive_closure")
    for _, end in _types(row.left):
        inside = end.element.python if end.element is not None else None
        if end.sql == "jsonb" or inside in (float, Decimal, timedelta):
            raise UnsupportedQuery(
                f"a transitive_closure of {end}, of which equal values can differ",
                hint="map the ends to what names them: an int, a str, a tuple of these",
            )
    return zset._with(Closure(zset.operator, depth))


def _types(row: Any) -> list[tuple[tuple[str, ...], FieldType]]:
    return [(path, leaf.type) for path, leaf in leaves(row)]


# --- groups and sums -----------------------------------------------------------------------------------


def count(a: ZSet[T]) -> ZSet[int]:
    """How many rows there are; no row at all if there are none."""
    return cast(ZSet[int], _reduced(_zset(a, "count"), int, None, lambda _: 1))


def reduce(a: ZSet[T], *, zero: Callable[[], V], pick_value: Callable[[T], V]) -> ZSet[V]:
    """`zero()` plus the sum of what `pick_value` picks from the rows; no row at all if there are none.

    `zero` is int, float, Decimal, timedelta, or a function that makes an empty ZSetPython.
    """
    zset = _zset(a, "reduce")
    row = nesting.inner(read(zset.operator.row), len(zset.groups))
    start: Any = zero()
    if isinstance(start, ZSetPython):
        picked = _collected(pick_value, row)
        value = _collection(
            start, compile_row_function(pick_value, row) if picked is None else picked, pick_value
        )
    elif type(start) not in (int, float, Decimal, timedelta) or start:
        raise UnsupportedQuery(
            f"a sum that starts at {start!r}",
            hint="use zero=int, float, Decimal or timedelta, or an empty ZSetPython",
        )
    elif type(start) is timedelta and zset.operator.signed:
        raise UnsupportedQuery(
            "a sum of timedelta over rows that may be there less than zero times",
            hint="sum their .total_seconds(), or take distinct() first",
        )
    else:
        picked = compile_row_function(pick_value, row, returns=type(start))
        value = _number(type(start), picked, pick_value)
    return cast(ZSet[V], _reduced(zset, zero, value, pick_value))


def _number(start: type, picked: Any, function: Callable[..., Any]) -> Scalar:
    try:
        value = as_scalar(picked)
        same = start is timedelta and value.type == FieldType(timedelta)
        kind = value.type if same else common(FieldType(start), value.type)
    except NotTraceable as refusal:
        raise UnsupportedQuery(f"{refusal.construct} in {_name(function)}", hint=refusal.hint) from None
    return Scalar(value.expression if kind == value.type else kind.cast(value.expression), kind)


def _collected(function: Callable[..., Any], row: Any) -> Scalar | None:
    """The ZSetPython that a function makes of stand-ins, in JSON; None if it makes none that way."""
    try:
        with collecting():
            made = function(row)
    except NotTraceable:
        return None
    if type(made) is not ZSetPython or made.empty():
        return None
    if len(list(made.iter())) > 1 and any(is_symbolic(element) for element, _ in made.iter()):
        return None  # two of a dict's keys may be equal: then Python has the last one only
    elements = [(normal(element), count) for element, count in made.iter()]
    kind = annotation_of(elements[0][0])
    if kind is None or any(annotation_of(e) != kind for e, _ in elements):
        return None
    listed = [to_json(element, count) for element, count in elements]
    if any(e is None for e in listed):
        return None
    array = exp.Anonymous(this="jsonb_build_array", expressions=listed)
    generic: Any = ZSetPython
    return Scalar(array, FieldType(generic[kind]))


def _collection(start: ZSetPython[Any], picked: Any, function: Callable[..., Any]) -> Scalar:
    if not start.empty():
        raise UnsupportedQuery(f"a sum that starts at {start!r}", hint="start with an empty ZSetPython")
    python = picked.type.python if type(picked) is Scalar else None
    if getattr(python, "__origin__", None) is not ZSetPython:
        raise UnsupportedQuery(
            f"a sum of ZSets by {_name(function)}, which returns none",
            hint="annotate it: -> st.ZSetPython[Row]",
        )
    return cast(Scalar, picked)


def _reduced(
    zset: QueryZSet[Any], zero: Callable[[], Any], value: Scalar | None, pick_value: Callable[[Any], Any]
) -> QueryZSet[Any]:
    depth, row = len(zset.groups), read(zset.operator.row)
    around = nesting.keys(row, depth)
    total = Scalar(
        exp.column(exp.to_identifier(TOTAL, quoted=True)), FieldType(int) if value is None else value.type
    )
    operator = Reduce(
        input=zset.operator,
        keys=tuple(leaf for key in around for _, leaf in leaves(key)),
        value=value,
        total=total,
        output=nesting.within(total, around),
        key=lambda row: nesting.keys(row, depth),
        pick_value=lambda row: pick_value(nesting.inner(row, depth)),
        zero=zero,
        made=nesting.within,
    )
    return zset._with(operator)


def group(a: ZSet[T], *, by: Index[T, K]) -> Grouped[ZSet[T], K]:
    """The rows in groups of equal keys; keys that are None are alike."""
    zset = _zset(a, "group")
    columns = _columns(zset, by, "group")
    key: Any = columns if by.is_tuple else columns[0]
    row = read(zset.operator.row)
    inner = nesting.inner(row, len(zset.groups))
    keyed = _mapped(zset, Pair(inner, key), lambda value: Pair(value, by.f(value)), row)
    return Grouped(QueryZSet(keyed.operator, zset.kept, (*zset.groups, object())))


class _PerGroup:
    """`per_group[grouped](lambda g: ...)`: what the function makes of each group's rows."""

    def __getitem__(self, grouped: Grouped[Z, K]) -> Callable[[Callable[[Z], U]], Grouped[U, K]]:
        def each(function: Callable[[Z], U]) -> Grouped[U, K]:
            made = _zset(function(cast(Z, grouped.zset)), "per_group")
            if made.groups != grouped.zset.groups:
                raise UnsupportedQuery(
                    "a per_group whose function returns other rows than its group's",
                    hint="return a ZSet that is made of the function's parameter",
                )
            return Grouped(made)

        return each


per_group = _PerGroup()


def flatten(a: Grouped[ZSet[T], K]) -> ZSet[Pair[T, K]]:
    """The rows of all groups, each with its key."""
    return QueryZSet(a.zset.operator, a.zset.kept, a.zset.groups[:-1])


def group_reduce_flatten(
    a: ZSet[T], *, by: Index[T, K], zero: Callable[[], V], pick_value: Callable[[T], V]
) -> ZSet[Pair[V, K]]:
    """For each key, `zero()` plus the sum of what `pick_value` picks from the rows with that key.

    A key is there while there are rows with it. Keys that are None are alike.
    """
    grouped = group(a, by=by)
    return flatten(per_group[grouped](lambda g: reduce(g, zero=zero, pick_value=pick_value)))


# --- over time -----------------------------------------------------------------------------------------


def integrate(a: ZSet[T]) -> ZSet[T]:
    """All rows so far."""
    return Integrated(_top(a, "integrate"))


def integrate_indexed(a: ZSet[T], *, indexes: tuple[Index[T, Any], ...]) -> ZSet[T]:
    """All rows so far, to be looked up by each of `indexes`."""
    zset = _top(a, "integrate_indexed")
    for index in indexes:
        _columns(zset, index, "index")
    return Integrated(zset, tuple(indexes))


def integrate_delay(a: ZSet[T]) -> ZSet[T]:
    """All rows before the present change."""
    return delay(integrate(a))


def delay(a: ZSet[T]) -> ZSet[T]:
    """Of an integrated ZSet, its rows before the present change. Changes themselves cannot be delayed."""
    if isinstance(a, Integrated) and not a.delayed:
        return Integrated(a.zset, a.indexes, delayed=True)
    raise UnsupportedQuery(
        "a delay of changes",
        hint="a table has no ticks: delay what is integrated, or read the changes by changes()",
    )


def delay_indexed(a: ZSet[T], *, indexes: tuple[Index[T, Any], ...]) -> ZSet[T]:
    """The same, with indexes."""
    return delay(a)


def differentiate(a: ZSet[T]) -> ZSet[T]:
    """Of an integrated ZSet, its changes."""
    if isinstance(a, Integrated) and not a.delayed:
        return a.zset
    raise UnsupportedQuery(
        "a differentiate of changes", hint="a table has no ticks: differentiate what is integrated"
    )


def _top(a: ZSet[T], what: str) -> QueryZSet[T]:
    zset = _zset(a, what)
    if zset.groups:
        raise UnsupportedQuery(f"{what} within groups", hint="flatten first")
    return zset


at_compile_time = nullcontext()  # a query is compiled by running it


def _columns(zset: QueryZSet[T], index: Index[T, K], what: str) -> tuple[Scalar, ...]:
    """The key's columns over the rows of the ZSet."""
    row, depth = read(zset.operator.row), len(zset.groups)
    inner = nesting.inner(row, depth)
    if not isinstance(index, Index):
        raise TypeError(f"{what} takes an Index, not {index!r}")
    if not index.fits(read(inner)):
        there = ", ".join(f"{'.'.join(path) or 'value'}: {leaf.type}" for path, leaf in leaves(read(inner)))
        name = getattr(index.row_type, "__name__", str(index.row_type))
        raise UnsupportedQuery(
            f"a {what} by an index of {name} on rows of ({there})",
            hint="pick the index from the type of these rows",
        )
    if not depth:
        return index.columns
    prefix = ".".join(["left"] * depth)

    def moved(node: exp.Expression) -> exp.Expression:
        if not isinstance(node, exp.Column) or node.table:
            return node
        path = f"{prefix}.{node.name}" if node.name else prefix
        return exp.column(exp.to_identifier(path, quoted=True))

    return tuple(Scalar(c.expression.copy().transform(moved), c.type) for c in index.columns)


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", repr(function)).rsplit("<locals>.")[-1]
