"""Rows: `Data`, the base of the user's row types, and `Pair`, of which joins and groups consist."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Mapping
from typing import Any, Generic, TypeVar, dataclass_transform

from pg_stepping.frontend.python.types import FieldType, field_type

L = TypeVar("L")
R = TypeVar("R")


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
        names = sys._getframe(1).f_locals
        cls.__annotations__ = resolved(inspect.get_annotations(cls), names, cls.__module__)
        dataclasses.dataclass(frozen=True, kw_only=True)(cls)


@dataclasses.dataclass(frozen=True)
class Pair(Generic[L, R]):
    """Two things together: the rows of a join, or the value and the key of a group."""

    left: L
    right: R


def resolved(annotations: Mapping[str, Any], names: Mapping[str, Any], module: str) -> dict[str, Any]:
    """The annotations with those that are text evaluated; text that names unknown things stays text."""
    known = vars(sys.modules[module]) if module in sys.modules else {}

    def one(annotation: Any) -> Any:
        if not isinstance(annotation, str):
            return annotation
        try:
            return eval(annotation, {**known}, names)  # what typing.get_type_hints() does
        except (NameError, AttributeError):
            return annotation

    return {name: one(annotation) for name, annotation in annotations.items()}


def columns(row_type: type[Data]) -> dict[str, FieldType]:
    """The fields of a Data class in order; raises UnsupportedQuery if one has a type that no column has."""
    if not issubclass(row_type, Data) or row_type is Data:
        raise TypeError(f"{row_type.__name__} is not a subclass of Data")
    fields = dataclasses.fields(row_type)  # type: ignore[arg-type]
    return {f.name: field_type(f.type, f"{row_type.__name__}.{f.name}") for f in fields}
