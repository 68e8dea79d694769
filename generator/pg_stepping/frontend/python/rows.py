"""Rows of stand-ins: what a query knows of its rows, and how rows become columns and columns rows.

A row of stand-ins is a real one (an instance of the Data class, a Pair, a tuple), whose leaves are `Scalar`s.
A leaf is named by its path: `left.user_id`. What may be missing as a whole (the right side of an outer join,
a nested Data that may be None) is a `Maybe`.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar, cast

from sqlglot import exp

from pg_stepping.frontend.python.data import EMPTY, Data, Empty, Pair
from pg_stepping.frontend.python.encoding import is_collection
from pg_stepping.frontend.python.scalar import NotTraceable, Scalar, as_scalar
from pg_stepping.frontend.python.types import FieldType, field_type, type_name
from pg_stepping.ir.types import fresh

T = TypeVar("T")
Path = tuple[str, ...]

PRESENT = "?"


class Maybe:
    """A row that is there where `present`, a bool, is true, and is `absent` (None or Empty()) elsewhere.

    Its leaves are NULL where it is not there; their types say how they are where it is.
    """

    __slots__ = ("absent", "present", "row")

    def __init__(self, present: Scalar, row: Any, absent: Empty | None) -> None:
        self.present, self.row, self.absent = present, row, absent

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise NotTraceable(f"the attribute .{name} of a row that may be {self.absent}", "test it first")


def row_of(annotation: Any, path: Path = (), name: str = "", within: tuple[Any, ...] = ()) -> Any:
    """The row of stand-ins for a type: a Data class, Pair[...], tuple[...] or the type of a field.

    Raises UnsupportedQuery, which names the field, for a type that no column has.
    """
    arguments = typing.get_args(annotation)
    if is_data(annotation) and annotation not in within:
        inside = (*within, annotation)
        parts = {
            n: row_of(t, (*path, n), f"{annotation.__name__}.{n}", inside)
            for n, t in annotation.field_types().items()
        }
        return instance(annotation, parts)
    if typing.get_origin(annotation) is Pair:
        left, right = ((*path, side) for side in ("left", "right"))
        return Pair(row_of(arguments[0], left, name, within), row_of(arguments[1], right, name, within))
    if _is_fixed_tuple(annotation):
        return tuple(row_of(a, (*path, str(i)), name, within) for i, a in enumerate(arguments))
    inner, absent = _optional_row(annotation)
    if inner is not None and inner not in within:
        present = column((*path, PRESENT), FieldType(bool))
        return Maybe(present, row_of(inner, path, name, within), absent)
    return column(path, field_type(annotation, name or ".".join(path) or "a row"))


def is_data(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Data)


def columns(row_type: type[Data]) -> dict[str, FieldType]:
    """The columns of a Data class; raises UnsupportedQuery if a field has a type that no column has."""
    if not issubclass(row_type, Data) or row_type is Data:
        raise TypeError(f"{row_type.__name__} is not a subclass of Data")
    return {name: leaf.type for name, leaf in named_leaves(row_of(row_type))}


def column(path: Path, type: FieldType) -> Scalar:
    """The stand-in that reads the leaf at `path` of the input row."""
    return Scalar(exp.column(exp.to_identifier(".".join(path), quoted=True)), type)


def leaves(row: object, path: Path = ()) -> Iterator[tuple[Path, Scalar]]:
    """Every leaf of a row, with its path."""
    if type(row) is Scalar:
        yield path, row
        return
    for name, part in parts(row):
        yield from leaves(part, (*path, name) if name else path)


def named_leaves(row: object) -> list[tuple[str, Scalar]]:
    """Every leaf with the name of its column: a field's name; of what is nested all names, joined by `_`.

    A row that is one value is `value`; an element of a tuple has its number, from 0.
    """
    taken: set[str] = set()
    named = []
    for path, leaf in leaves(row):
        parts_of = ("value", *path) if not path or path[0].isdigit() or path[0] == PRESENT else path
        name = "_".join(parts_of).replace(PRESENT, "present")
        named.append((fresh(name, taken), leaf))
    return named


def read(row: T, path: Path = ()) -> T:
    """The row of stand-ins by which the next operator reads `row`."""
    if type(row) is Scalar:
        return cast(T, column(path, cast(Scalar, row).type))
    made = [(name, read(part, (*path, name) if name else path)) for name, part in parts(row)]
    return rebuilt(row, made)


def parts(row: object) -> list[tuple[str, Any]]:
    """What a row consists of, by name; the row in a Maybe is at the path of the Maybe itself."""
    if type(row) is Maybe:
        return [(PRESENT, row.present), ("", row.row)]
    if isinstance(row, tuple):
        return [(str(i), part) for i, part in enumerate(row)]
    return [(f.name, getattr(row, f.name)) for f in dataclasses.fields(row)]  # type: ignore[arg-type]


def rebuilt(row: T, made: list[tuple[str, Any]]) -> T:
    """A row like `row` of other parts."""
    if type(row) is Maybe:
        return cast(T, Maybe(made[0][1], made[1][1], cast(Maybe, row).absent))
    if isinstance(row, tuple):
        return cast(T, tuple(part for _, part in made))
    return instance(type(row), dict(made))


def instance(row_type: type[T], values: dict[str, Any]) -> T:
    """An object of the class, not by __init__: a __post_init__ of the user's may look at the values."""
    row = object.__new__(row_type)
    for name, value in values.items():
        object.__setattr__(row, name, value)
    return row


def is_row(value: object) -> bool:
    """Whether a value consists of others, or may be missing as a whole."""
    return type(value) is not Scalar and (isinstance(value, tuple | Data | Pair) or type(value) is Maybe)


def normal(value: T) -> T:
    """A returned row with all constants made SQL and every field of the type that it says."""
    if not is_row(value):
        return cast(T, as_scalar(value))
    if type(value) is Maybe:
        maybe = cast(Maybe, value)
        return cast(T, Maybe(maybe.present, normal(maybe.row), maybe.absent))
    if not isinstance(value, Data):
        return rebuilt(value, [(name, normal(part)) for name, part in parts(value)])
    name, known = type(value).__name__, type(value).field_types()
    return rebuilt(value, [(n, conforming(part, known[n], f"{name}.{n}")) for n, part in parts(value)])


def conforming(value: Any, annotation: Any, name: str) -> Any:
    """`value` as the field `name` of this type; raises NotTraceable if it does not take it."""
    wanted = row_of(annotation, (), name)
    return _conforming(value, wanted, name)


def _conforming(value: Any, wanted: Any, name: str) -> Any:
    if type(wanted) is Maybe:
        if type(value) is Maybe:
            return Maybe(value.present, _conforming(value.row, wanted.row, name), wanted.absent)
        there = value is not None and not isinstance(value, Empty)
        present = Scalar(exp.true() if there else exp.false(), FieldType(bool))
        row = _conforming(value, wanted.row, name) if there else nothing(wanted.row)
        return Maybe(present, row, wanted.absent)
    if is_row(wanted):
        if type(value) is not type(wanted) or len(parts(value)) != len(parts(wanted)):
            raise NotTraceable(
                f"a {type(value).__name__} for the field {name}", "give it a value of its type"
            )
        pairs = zip(parts(value), parts(wanted), strict=True)
        return rebuilt(value, [(n, _conforming(part, like, f"{name}.{n}")) for (n, part), (_, like) in pairs])
    kind = wanted.type
    if type(value) is not Scalar:
        return constant(value, kind, name)
    if not kind.takes(value.type):
        raise NotTraceable(f"a value of type {value.type} for the field {name} of type {kind}", "convert it")
    expression = value.expression if kind.python == value.type.python else kind.cast(value.expression)
    return Scalar(expression, kind)


def constant(value: object, kind: FieldType, name: str) -> Scalar:
    """A constant as a value of this type; raises NotTraceable if it is none."""
    try:
        return Scalar(kind.literal(kind.value(value, name)), kind)
    except (TypeError, ValueError) as error:
        raise NotTraceable(f"a value that its field does not take ({error})", "convert it") from None


def array(value: Any, kind: FieldType, name: str) -> Scalar:
    """A tuple or list of constants and stand-ins as the array that it is; raises NotTraceable for another."""
    element, made_of = kind.element, typing.get_origin(kind.python)
    if element is None or type(value) is not made_of or made_of not in (tuple, list):
        raise NotTraceable(f"a value of type {type_name(kind.python)} that is put together here")
    like = Scalar(exp.null(), element)
    parts = [_conforming(part, like, name).expression for part in value]
    return Scalar(kind.cast(exp.Array(expressions=parts)), kind)


def nothing(row: T) -> T:
    """A row like `row` of NULLs only, which is what a Maybe has where it is absent."""
    if type(row) is Scalar:
        kind = cast(Scalar, row).type
        return cast(T, Scalar(kind.cast(exp.null()), kind))
    return rebuilt(row, [(name, nothing(part)) for name, part in parts(row)])


def flattened(row: Any, value: Any, name: str = "a row") -> Iterator[object]:
    """The values at the leaves of `value`, a row like `row`; raises TypeError or ValueError if it is not."""
    if type(row) is Scalar:
        yield row.type.value(value, name)
        return
    if type(row) is Maybe:
        there = value is not None and not isinstance(value, Empty)
        yield there
        yield from flattened(row.row, value, name) if there else (None for _ in leaves(row.row))
        return
    # One of a subclass has more than comes back: it is another row.
    fits = type(value) is type(row) if isinstance(row, Data) else isinstance(value, type(row))
    if not fits or (isinstance(row, tuple) and len(row) != len(value)):
        wanted = type(row).__name__
        raise TypeError(
            f"a row of {wanted} is wanted, not {value!r}"
            if name == wanted
            else f"{name} is a {wanted}, not {value!r}"
        )
    for (part, like), (_, given) in zip(parts(row), _parts_of(value), strict=True):
        yield from flattened(like, given, part_name(row, part, name))


def part_name(row: object, part: str, name: str) -> str:
    """What messages call a part of a row."""
    return f"{type(row).__name__}.{part}" if isinstance(row, Data) else f"{name}.{part}"


def _parts_of(value: Any) -> list[tuple[str, Any]]:
    return parts(value)


def filled(row: Any, values: Iterator[Any], load: bool = True) -> Any:
    """The row of the user's own types with these values at its leaves, as psycopg read them if `load`."""
    if type(row) is Scalar:
        value = next(values)
        return row.type.load(value) if load else row.type.kept(value)
    if type(row) is Maybe:
        there = next(values)
        if there:
            return filled(row.row, values, load)
        for _ in leaves(row.row):
            next(values)
        return row.absent
    made = [(name, filled(part, values, load)) for name, part in parts(row)]
    if isinstance(row, tuple):
        return tuple(part for _, part in made)
    return type(row)(**dict(made))


def reader(row: Any) -> Callable[[Iterable[Any]], Any]:
    """`filled` for rows from psycopg."""
    simple = is_data(type(row)) and all(type(part) is Scalar for _, part in parts(row))
    if not simple:
        return lambda values: filled(row, iter(values))
    names = [name for name, _ in parts(row)]
    loads = [part.type.load for _, part in parts(row)]
    row_type = type(row)

    def one(values: Iterable[Any]) -> Any:
        return row_type(**{n: load(v) for n, load, v in zip(names, loads, values, strict=True)})

    return one


def checked(row: Any, value: Any) -> Any:
    """`value`, a row like `row`, as it would come back from the database."""
    return filled(row, flattened(row, value), load=False)


def _is_fixed_tuple(annotation: Any) -> bool:
    return typing.get_origin(annotation) is tuple and not is_collection(annotation)


def _optional_row(annotation: Any) -> tuple[Any, Empty | None]:
    """The row type of `row type | None` or `row type | Empty`, and what it is when it is not there."""
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return None, None
    members = typing.get_args(annotation)
    for nothing_, absent in ((types.NoneType, None), (Empty, EMPTY)):
        rest = [m for m in members if m is not nothing_]
        if len(members) == 2 and len(rest) == 1:
            inner = rest[0]
            row_like = is_data(inner) or typing.get_origin(inner) is Pair or _is_fixed_tuple(inner)
            if row_like or absent is EMPTY:
                return inner, absent
    return None, None


def stored_columns(row: Any) -> list[tuple[str, FieldType]]:
    """The columns of rows like this; in a Maybe all but `present` may be NULL."""
    kinds = list(_stored_types(row, False))
    return [(name, kind) for (name, _), kind in zip(named_leaves(row), kinds, strict=True)]


def _stored_types(row: Any, optional: bool) -> Iterator[FieldType]:
    if type(row) is Scalar:
        yield FieldType(row.type.python, row.type.nullable or optional)
        return
    for name, part in parts(row):
        yield from _stored_types(part, optional or (type(row) is Maybe and name == ""))


def annotation_of(row: Any) -> Any:
    """The type whose stand-ins a row is; None if it has a part that may be missing."""
    if type(row) is Scalar:
        return row.type.python if not row.type.nullable else row.type.python | None
    if isinstance(row, Data):
        return type(row)
    inner = [None if type(part) is Maybe else annotation_of(part) for _, part in parts(row)]
    if type(row) is Maybe or None in inner:
        return None
    generic: Any = Pair if isinstance(row, Pair) else tuple
    return generic[tuple(inner)]
