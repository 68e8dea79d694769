"""Rows: `Data`, the base of the user's row types, and `Pair`, of which joins and groups consist."""

from __future__ import annotations

import dataclasses
import inspect
import sys
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar, cast, dataclass_transform

L = TypeVar("L", covariant=True)
R = TypeVar("R", covariant=True)


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Data:
    """Base of row types: every subclass is a frozen dataclass that is made by keywords.

    A field is a column: its type says the Postgres type, and `| None` that it may be NULL.

        class Meter(Data):
            meter_id: UUID
            user_id: int
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # A name in a quoted annotation may be known only to the function that defines the class.
        names = dict(sys._getframe(1).f_locals)
        cls.__annotations__ = resolved(inspect.get_annotations(cls), names, cls.__module__)
        hashes = "__hash__" in vars(cls)
        dataclasses.dataclass(frozen=True, kw_only=True)(cls)
        cls._names_there = names  # type: ignore[attr-defined]
        if not hashes:
            cls.__hash__ = Data.__hash__  # type: ignore[method-assign]

    def __hash__(self) -> int:
        values = (getattr(self, f.name) for f in dataclasses.fields(self))  # type: ignore[arg-type]
        return hash((type(self), *map(hashable, values)))

    @classmethod
    def field_types(cls) -> dict[str, Any]:
        """The type of each field, in order; a name that is known nowhere stays text."""
        types: dict[str, Any] = {}
        for base in reversed(cls.__mro__):
            if isinstance(base, type) and issubclass(base, Data) and base is not Data:
                known = {**base._names_there, base.__name__: base}  # type: ignore[attr-defined]
                types |= resolved(inspect.get_annotations(base), known, base.__module__)
        return {f.name: types[f.name] for f in dataclasses.fields(cls)}  # type: ignore[arg-type]


def hashable(value: object) -> object:
    """What tells a value from others as a key, be it a list or a dict."""
    if type(value) is dict:
        return frozenset((k, hashable(v)) for k, v in value.items())
    if type(value) in (list, tuple):
        return tuple(map(hashable, cast(Iterable[object], value)))
    return frozenset(value) if type(value) is set else value


@dataclasses.dataclass(frozen=True)
class Pair(Generic[L, R]):
    """Two things together: the rows of a join, or the value and the key of a group."""

    left: L
    right: R

    def __hash__(self) -> int:
        return hash((hashable(self.left), hashable(self.right)))


@dataclasses.dataclass(frozen=True)
class Empty:
    """What an outer join has on its right where no row is."""

    def __repr__(self) -> str:
        return "Empty()"


EMPTY = Empty()


def _meant(annotation: Any) -> Any:
    """The annotation with each NewType as what it is made of, each Literal as the type of its values."""
    if isinstance(annotation, typing.NewType):
        return _meant(annotation.__supertype__)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return typing.Union[tuple(type(value) for value in arguments)]  # noqa: UP007
    if not arguments or origin is typing.Annotated:
        return annotation
    meant = tuple(map(_meant, arguments))
    if meant == arguments:
        return annotation
    return typing.Union[meant] if origin in (typing.Union, types.UnionType) else origin[meant]  # noqa: UP007


def resolved(annotations: Mapping[str, Any], names: Mapping[str, Any], module: str) -> dict[str, Any]:
    """The annotations with those that are text evaluated; text that names unknown things stays text."""
    known = vars(sys.modules[module]) if module in sys.modules else {}

    def one(annotation: Any) -> Any:
        if not isinstance(annotation, str):
            return _meant(annotation)
        try:
            return _meant(eval(annotation, {**known}, names))  # what typing.get_type_hints() does
        except (NameError, AttributeError):
            return annotation

    return {name: one(annotation) for name, annotation in annotations.items()}
