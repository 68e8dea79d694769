"""Attributes and methods of values that SQL computes: those of str, date, datetime and timedelta.

A method that is not here, or not for these arguments, has no SQL that is provably the same: it is shipped. So
are upper(), lower() and their like: 'ß'.upper() is 'SS', and what Postgres says depends on the collation.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from typing import Any

from sqlglot import exp

from pg_stepping.frontend.python.functions.operations import (
    FLOAT,
    INT,
    TEXT,
    boolean,
    certain,
    is_scalar,
    lift,
)
from pg_stepping.frontend.python.functions.templates import sql
from pg_stepping.frontend.python.scalar import NotTraceable, Scalar
from pg_stepping.frontend.python.types import FieldType

# All that str.isspace() holds for, which is what strip() and split() take off.
WHITESPACE = "".join(map(chr, (*range(9, 14), *range(28, 33), 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B),
                               0x2028, 0x2029, 0x202F, 0x205F, 0x3000)))  # fmt: skip
NAIVE = FieldType(datetime)
DATE = FieldType(date)
SPAN = FieldType(timedelta)


def attribute(value: Scalar, name: str) -> Any:
    """`value.name`: a stand-in, or a Method to be called."""
    of = (value.type.python, name)
    if of in _ATTRIBUTES or of in _METHODS:
        certain(value, f"the attribute .{name} of")
        if value.type.python is datetime and value.type != NAIVE:
            raise NotTraceable(f"the attribute .{name} of a value of type {value.type}")
    if of in _ATTRIBUTES:
        template, kind = _ATTRIBUTES[of]
        return Scalar(sql(template, x=value.expression), kind)
    if of in _METHODS:
        return Method(value, name)
    raise NotTraceable(f"the attribute .{name} of a value of type {value.type}")


class Method:
    """A method of a stand-in."""

    def __init__(self, value: Scalar, name: str) -> None:
        self.value = value
        self.name = name

    def call(self, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """The result; raises NotTraceable for arguments that it has no SQL for."""
        found = _METHODS[self.value.type.python, self.name](self.value, *args, **named)
        if found is None:
            shown = f"the method .{self.name}() of a value of type {self.value.type}"
            raise NotTraceable(f"{shown} with these arguments")
        return found


def _field(name: str) -> tuple[str, FieldType]:
    return f"extract({name} FROM {{x}})::bigint", INT


_MICROSECONDS = "mod(extract(microseconds FROM {x}), 1000000)::bigint"
_ATTRIBUTES: dict[tuple[type, str], tuple[str, FieldType]] = {
    **{(t, n): _field(n) for t in (date, datetime) for n in ("year", "month", "day")},
    **{(t, n): _field(n) for t in (datetime, time) for n in ("hour", "minute")},
    **{(t, "second"): ("trunc(extract(second FROM {x}))::bigint", INT) for t in (datetime, time)},
    **{(t, "microsecond"): (_MICROSECONDS, INT) for t in (datetime, time)},
    (timedelta, "days"): ("floor(extract(epoch FROM {x}) / 86400)::bigint", INT),
    (timedelta, "seconds"): (
        "(floor(extract(epoch FROM {x})) - floor(extract(epoch FROM {x}) / 86400) * 86400)::bigint", INT,
    ),
}  # fmt: skip


def _of(template: str, kind: FieldType) -> Callable[[Scalar], Scalar]:
    return lambda value: Scalar(sql(template, x=value.expression), kind)


def _plain(*values: Any) -> bool:
    """Whether all are text: stand-ins for it, or constants."""
    return all(lift(v).type == TEXT for v in values if is_scalar(v)) and all(
        is_scalar(v) or type(v) is str for v in values
    )


def _affix(side: str) -> Callable[[Scalar, Any], Any]:
    def test(value: Scalar, affix: Any) -> Any:
        if type(affix) is tuple and affix and all(type(a) is str for a in affix):
            found = [test(value, a).expression for a in affix]
            parts = {f"a{i}": e for i, e in enumerate(found)}
            return boolean(" OR ".join(f"{{{name}}}" for name in parts), **parts)
        if not _plain(affix):
            return None
        part = lift(affix).expression
        if side == "left":
            return boolean("starts_with({x}, {y})", x=value.expression, y=part)
        return boolean("right({x}, length({y})) = {y}", x=value.expression, y=part)

    return test


def _strip(function: str) -> Callable[..., Any]:
    def stripped(value: Scalar, chars: Any = None) -> Any:
        chars = WHITESPACE if chars is None else chars
        if type(chars) is not str or not chars:
            return None
        letters = lift(chars).expression
        return Scalar(sql(f"{function}({{x}}, {{c}})", x=value.expression, c=letters), TEXT)

    return stripped


def _replaced(value: Scalar, old: Any, new: Any) -> Any:
    if type(old) is not str or not old or not _plain(new):
        return None  # replacing '' puts the new text between all letters
    parts = {"x": value.expression, "a": lift(old).expression, "b": lift(new).expression}
    return Scalar(sql("replace({x}, {a}, {b})", **parts), TEXT)


def _without(side: str) -> Callable[[Scalar, Any], Any]:
    def removed(value: Scalar, affix: Any) -> Any:
        if type(affix) is not str or not affix:
            return value if affix == "" else None
        test = "starts_with({x}, {a})" if side == "prefix" else "right({x}, {n}) = {a}"
        rest = "substr({x}, {m})" if side == "prefix" else "left({x}, -{n})"
        n, m = exp.Literal.number(len(affix)), exp.Literal.number(len(affix) + 1)
        parts = {"x": value.expression, "a": lift(affix).expression, "n": n, "m": m}
        return Scalar(sql(f"CASE WHEN {test} THEN {rest} ELSE {{x}} END", **parts), TEXT)

    return removed


class Pieces:
    """`text.split(separator)`, of which single pieces can be had."""

    def __init__(self, value: Scalar, separator: str) -> None:
        self.value = value
        self.separator = separator

    def piece(self, place: Any) -> Scalar:
        """The first or the last; others may not be there, for which Python raises and SQL does not."""
        if place not in (0, -1) or type(place) is not int:
            raise NotTraceable("a piece of split() that may not be there")
        parts = {"x": self.value.expression, "s": lift(self.separator).expression}
        which = "1" if place == 0 else "-1"
        return Scalar(sql(f"split_part({{x}}, {{s}}, {which})", **parts), TEXT)


def _split(value: Scalar, separator: Any = None) -> Any:
    return Pieces(value, separator) if type(separator) is str and separator else None


def _moved(value: Scalar, **fields: Any) -> Any:
    """datetime.replace() of the smaller fields by zeros, as date_trunc() does; of all by constants."""
    order = ("hour", "minute", "second", "microsecond")
    if not fields or any(type(v) is not int for v in fields.values()) or not set(fields) <= set(order):
        return None
    zeros = order[-len(fields) :]
    if set(fields) == set(zeros) and not any(fields.values()):
        unit = {4: "day", 3: "hour", 2: "minute", 1: "second"}[len(fields)]
        return Scalar(sql(f"date_trunc('{unit}', {{x}})", x=value.expression), NAIVE)
    if set(fields) == set(order):
        at = time(**fields)
        clock = sql("{t}::interval", t=exp.Literal.string(at.isoformat()))
        return Scalar(sql("date_trunc('day', {x}) + {t}", x=value.expression, t=clock), NAIVE)
    return None


def _first_day(value: Scalar, **fields: Any) -> Any:
    """date.replace(day=1), and (month=1, day=1)."""
    unit = {("day",): "month", ("day", "month"): "year"}.get(tuple(sorted(fields)))
    if unit is None or any(type(v) is not int or v != 1 for v in fields.values()):
        return None
    return Scalar(sql(f"date_trunc('{unit}', {{x}}::timestamp)::date", x=value.expression), DATE)


def _isoformat(value: Scalar) -> Scalar:
    return Scalar(sql("to_char({x}::timestamp, 'YYYY-MM-DD')", x=value.expression), TEXT)


_WEEKDAY = "extract(isodow FROM {x})::bigint"
_METHODS: dict[tuple[type, str], Callable[..., Any]] = {
    (str, "startswith"): _affix("left"),
    (str, "endswith"): _affix("right"),
    (str, "strip"): _strip("btrim"),
    (str, "lstrip"): _strip("ltrim"),
    (str, "rstrip"): _strip("rtrim"),
    (str, "replace"): _replaced,
    (str, "removeprefix"): _without("prefix"),
    (str, "removesuffix"): _without("suffix"),
    (str, "split"): _split,
    (datetime, "date"): _of("{x}::date", DATE),
    (datetime, "replace"): _moved,
    (date, "replace"): _first_day,
    (date, "isoformat"): _isoformat,
    **{(t, "weekday"): _of(f"{_WEEKDAY} - 1", INT) for t in (date, datetime)},
    **{(t, "isoweekday"): _of(_WEEKDAY, INT) for t in (date, datetime)},
    (timedelta, "total_seconds"): _of("extract(epoch FROM {x})::double precision", FLOAT),
}


# --- slices ---------------------------------------------------------------------------------------


def part_of(text: Scalar, lower: Any, upper: Any) -> Scalar:
    """`text[lower:upper]`, of constants."""
    certain(text, "a part of")
    if any(bound is not None and type(bound) is not int for bound in (lower, upper)):
        raise NotTraceable("a slice with bounds that are no constants")
    if any(abs(bound or 0) >= 2**30 for bound in (lower, upper)):
        raise NotTraceable("a slice with bounds that no text reaches")
    if text.type != TEXT:
        raise NotTraceable(f"a slice of a value of type {text.type}")
    template = _slice(lower or 0, upper)
    return Scalar(sql(template, x=text.expression), TEXT)


def _slice(lower: int, upper: int | None) -> str:
    """left() and right() of a negative number are all but so many letters, as in Python."""
    if upper is None:
        return (
            "{x}" if not lower else f"substr({{x}}, {lower + 1})" if lower > 0 else f"right({{x}}, {-lower})"
        )
    if upper == 0:
        return "left({x}, 0)"
    if lower == 0:
        return f"left({{x}}, {upper})"
    if lower > 0 and upper > 0:
        return f"substr({{x}}, {lower + 1}, {max(upper - lower, 0)})"
    if lower > 0:
        return f"left(substr({{x}}, {lower + 1}), {upper})" if upper < 0 else ""
    if upper < 0 and lower < upper:
        return f"left(right({{x}}, {-lower}), {upper})"
    if upper < 0:
        return "left({x}, 0)"
    raise NotTraceable("a slice from the end to a place from the start")
