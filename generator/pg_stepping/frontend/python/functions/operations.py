"""Python's operators on values that SQL computes: arithmetic, comparisons, truth, and choice.

Each is translated only where SQL gives the very same value, or an error where Python could not be followed
(an int beyond 64 bits, a float beyond its range). Everything else raises NotTraceable and is shipped.
What Postgres does otherwise is spelled out: NaN equals nothing in Python; -7 // 2 is -4; 1 / 2 is 0.5; text
is ordered by code points; a comparison with None is False, not NULL.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

from sqlglot import exp

from pg_stepping.frontend.python.functions.templates import may_fail, sql
from pg_stepping.frontend.python.rows import is_row
from pg_stepping.frontend.python.scalar import NotTraceable, Scalar, as_scalar
from pg_stepping.frontend.python.types import AwareDatetime, FieldType, is_enum

EXACT = 2**53  # ints below are floats, and others are further away than these
PYTHON: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "//": operator.floordiv,
    "%": operator.mod, "**": operator.pow, "==": operator.eq, "!=": operator.ne, "<": operator.lt,
    "<=": operator.le, ">": operator.gt, ">=": operator.ge, "&": operator.and_, "|": operator.or_,
    "^": operator.xor, "<<": operator.lshift, ">>": operator.rshift,
}  # fmt: skip
_TYPES = {"+": exp.Add, "-": exp.Sub, "*": exp.Mul}
BOOL, INT, FLOAT, TEXT = (FieldType(t) for t in (bool, int, float, str))
TRUE, FALSE = Scalar(exp.true(), BOOL), Scalar(exp.false(), BOOL)


def is_scalar(value: object) -> bool:
    return type(value) is Scalar


def boolean(template: str, **parts: exp.Expression) -> Scalar:
    return Scalar(sql(template, **parts), BOOL)


def lift(value: Any) -> Scalar:
    """A stand-in as it is, a constant as SQL."""
    if type(value) is timedelta:
        return Scalar(interval(value), FieldType(timedelta))
    return as_scalar(value)


def interval(value: timedelta) -> exp.Expression:
    """A constant timedelta as psycopg would send it."""
    parts = ((value.days, "days"), (value.seconds, "seconds"), (value.microseconds, "microseconds"))
    text = " ".join(f"{n:+d} {unit}" for n, unit in parts if n) or "0"
    return sql("{text}::interval", text=exp.Literal.string(text))


def certain(value: Scalar, what: str) -> Scalar:
    """The value, which must not be None."""
    if value.type.nullable:
        raise NotTraceable(
            f"{what} a value that may be None (of type {value.type})", "test it for None first"
        )
    return value


def not_null(value: Scalar) -> Scalar:
    return Scalar(value.expression, replace(value.type, nullable=False))


def _number(value: Scalar) -> Scalar:
    """A bool as the int that it is."""
    if value.type.python is bool:
        return Scalar(
            sql("{x}::integer::bigint", x=value.expression), replace(INT, nullable=value.type.nullable)
        )
    return value


# --- arithmetic -----------------------------------------------------------------------------------


def arithmetic(symbol: str, left: Any, right: Any) -> Any:
    """`left symbol right`, of which at least one is a stand-in."""
    a, b = (_number(certain(lift(v), f"the operator {symbol} on")) for v in (left, right))
    kinds = (a.type.python, b.type.python)
    what = f"the operator {symbol} on {a.type} and {b.type}"
    x, y = a.expression, b.expression
    if kinds == (str, str) and symbol == "+":
        return Scalar(sql("{x} || {y}", x=x, y=y), TEXT)
    if set(kinds) <= {int, float, Decimal} and set(kinds) != {float, Decimal}:
        return _numeric(symbol, a, b, right, what)
    return _temporal(symbol, a, b, left, right, what)


def _numeric(symbol: str, a: Scalar, b: Scalar, right: Any, what: str) -> Scalar:
    kinds = {a.type.python, b.type.python}
    kind = next(FieldType(t) for t in (Decimal, float, int) if t in kinds)
    x, y = a.expression, b.expression
    if symbol in _TYPES:
        result = sql(f"{{x}} {symbol} {{y}}", x=x, y=y)
        if kind.python is Decimal:
            result = sql("stepping.decimal({x})", x=result)
        return Scalar(result, kind)
    if symbol == "/" and kind.python is not Decimal:
        if kind.python is float:
            x, y = (e if t.type.python is float else FLOAT.cast(e) for e, t in ((x, a), (y, b)))
        return Scalar(sql("stepping.true_division({x}, {y})", x=x, y=y), FLOAT)
    if kind.python is int:
        if symbol in ("//", "%"):
            name = "floor_division" if symbol == "//" else "modulo"
            return Scalar(sql(f"stepping.{name}({{x}}, {{y}})", x=x, y=y), INT)
        if symbol == "**" and type(right) is int and right in (2, 3):
            return Scalar(sql(" * ".join(["{x}"] * right), x=x), INT)
    raise NotTraceable(what)


def _temporal(symbol: str, a: Scalar, b: Scalar, left: Any, right: Any, what: str) -> Scalar:
    kinds = (a.type.python, symbol, b.type.python)
    x, y = a.expression, b.expression
    span = FieldType(timedelta)
    if kinds == (date, "-", date):
        return Scalar(sql("({x} - {y}) * '1 day'::interval", x=x, y=y), span)
    if kinds == (datetime, "-", datetime) and a.type == b.type:
        return Scalar(sql("{x} - {y}", x=x, y=y), span)
    constant, value = (right, a) if type(right) is timedelta else (left, b)
    if type(constant) is timedelta and (symbol == "+" or (symbol == "-" and constant is right)):
        if value.type == FieldType(date):  # which takes the whole days only
            days = constant.days if symbol == "+" else -constant.days
            moved = f"{{x}} + {days}" if days >= 0 else f"{{x}} - {-days}"
            return Scalar(sql(f"stepping.in_calendar({moved})", x=value.expression), value.type)
        if value.type == FieldType(datetime):
            y = interval(constant if symbol == "+" else -constant)
            return Scalar(sql("stepping.in_calendar({x} + {y})", x=value.expression, y=y), value.type)
    raise NotTraceable(what)


def negative(value: Any) -> Scalar:
    a = _number(certain(lift(value), "the operator - on"))
    if a.type.python in (int, float):
        return Scalar(sql("-{x}", x=a.expression), a.type)
    if a.type.python is Decimal:
        return Scalar(sql("stepping.decimal(-{x})", x=a.expression), a.type)
    raise NotTraceable(f"the operator - on a value of type {a.type}")


# --- comparisons ----------------------------------------------------------------------------------


def compare(symbol: str, left: Any, right: Any) -> Any:
    """`left symbol right`, of which at least one is a stand-in; never NULL."""
    if left is None or right is None:
        if symbol not in ("==", "!="):
            raise NotTraceable("an order that has None in it")
        return is_none(right if left is None else left, symbol == "==")
    left, right = _without_enum(symbol, left, right), _without_enum(symbol, right, left)
    a, b = _number_of_two(lift(left), lift(right)), _number_of_two(lift(right), lift(left))
    _check_comparable(symbol, a, b, left, right)
    nan = [s for s, v in ((a, left), (b, right)) if _may_be_nan(s, v)]
    if symbol in ("==", "!="):
        equal = _equal(a, b, nan)
        return equal if symbol == "==" else _different(a, b, nan, equal)
    certain(a, "an order that has")
    certain(b, "an order that has")
    return _ordered(symbol, a, b, nan)


def _without_enum(symbol: str, value: Any, other: Any) -> Any:
    """A member of an Enum that is text or an int, beside such a value, as what it is."""
    plain = next((t for t in (str, int) if isinstance(value, Enum) and isinstance(value, t)), None)
    if plain is None or not is_scalar(other) or other.type.python is not plain:
        return value
    if not _compares_as(type(value), plain, symbol):
        return value
    return str.__str__(value) if plain is str else int(value)


def _compares_as(kind: type, base: type, symbol: str) -> bool:
    name = f"__{PYTHON[symbol].__name__}__"
    return getattr(kind, name) is getattr(base, name)


def _number_of_two(value: Scalar, other: Scalar) -> Scalar:
    return value if value.type.python is other.type.python else _number(value)


def _may_be_nan(value: Scalar, given: Any) -> bool:
    return value.type.python in (float, Decimal) and (is_scalar(given) or given != given)


def _check_comparable(symbol: str, a: Scalar, b: Scalar, left: Any, right: Any) -> None:
    kinds = {a.type.python, b.type.python}
    constants = [v for v in (left, right) if not is_scalar(v)]
    exact = kinds == {int, float} and any(abs(v) < EXACT for v in constants)
    enums = [k for k in kinds if is_enum(k) and not any(_compares_as(k, t, "==") for t in (object, str, int))]
    if enums or (not exact and kinds != {int, Decimal} and not_null(a).type != not_null(b).type):
        raise NotTraceable(f"a comparison of {a.type} and {b.type}")
    if any(isinstance(v, Decimal) and v.is_nan() for v in constants):
        raise NotTraceable("a comparison with a Decimal that is NaN")
    if symbol not in ("==", "!=") and not kinds <= {int, float, bool, str, Decimal, bytes, *_TIMES}:
        raise NotTraceable(f"an order of {a.type}")


_TIMES = (date, datetime, AwareDatetime, time, timedelta)


def _equal(a: Scalar, b: Scalar, nan: list[Scalar]) -> Scalar:
    x, y = a.expression, b.expression
    nans = len(nan) == 2  # NaN is equal to nothing in Python
    condition = "{x} = {y} AND {x} <> 'NaN'" if nans else "{x} = {y}"
    if a.type.nullable and b.type.nullable:
        if not nans:
            return boolean("{x} IS NOT DISTINCT FROM {y}", x=x, y=y)
        return boolean(f"({condition}) IS TRUE OR {{x}} IS NULL AND {{y}} IS NULL", x=x, y=y)
    if a.type.nullable or b.type.nullable:
        return boolean(f"({condition}) IS TRUE", x=x, y=y)
    return boolean(condition, x=x, y=y)


def _different(a: Scalar, b: Scalar, nan: list[Scalar], equal: Scalar) -> Scalar:
    if len(nan) < 2 and (a.type.nullable or b.type.nullable):
        return boolean("{x} IS DISTINCT FROM {y}", x=a.expression, y=b.expression)
    inverted: Scalar = invert(equal)
    return inverted


def _ordered(symbol: str, a: Scalar, b: Scalar, nan: list[Scalar]) -> Scalar:
    x, y = a.expression, b.expression
    if a.type.python is str:
        return boolean(f'{{x}} {symbol} {{y}} COLLATE "C"', x=x, y=y)
    if Decimal in (a.type.python, b.type.python):
        x, y = (
            sql("stepping.ordered({e})", e=s.expression) if any(s is n for n in nan) else s.expression
            for s in (a, b)
        )
        return boolean(f"{{x}} {symbol} {{y}}", x=x, y=y)
    # Postgres has NaN above all others: it must not be the greater one. As the smaller one it is never.
    greater = a if symbol in (">", ">=") else b
    without = " AND {z} <> 'NaN'" if any(s is greater for s in nan) else ""
    return boolean(f"{{x}} {symbol} {{y}}{without}", x=x, y=y, z=greater.expression)


def is_none(value: Any, wanted: bool) -> Any:
    """`value is None`, or the contrary."""
    if not is_scalar(value):
        return (value is None) is wanted
    if not value.type.nullable:
        return not wanted
    return boolean("{x} IS NULL" if wanted else "{x} IS NOT NULL", x=value.expression)


def contains(container: Any, item: Any) -> Any:
    """`item in container`."""
    if is_scalar(container) or isinstance(container, str):
        text, part = lift(container), lift(item)
        if text.type == part.type == TEXT:
            return boolean("strpos({x}, {y}) > 0", x=text.expression, y=part.expression)
        raise NotTraceable(f"the operator `in` on {part.type} and {text.type}")
    if not isinstance(container, tuple | list | set | frozenset | dict):
        raise NotTraceable(f"the operator `in` on {type(container).__name__}")
    if isinstance(container, set | frozenset | dict) and any(_has_nan(v) for v in container):
        raise NotTraceable("the operator `in` on a set that has NaN in it")
    members = sorted(container, key=repr) if isinstance(container, set | frozenset) else list(container)
    kind = item.type if is_scalar(item) else None
    plain = [m for m in members if not is_scalar(m) and kind is not None and type(m) is kind.python]
    if kind is not None and plain == members and members and kind.python in (int, str):
        listed = ", ".join(f"{{m{i}}}" for i in range(len(members)))
        values = {f"m{i}": lift(m).expression for i, m in enumerate(members)}
        found = sql(f"{{x}} IN ({listed})", x=item.expression, **values)
        return boolean("({x}) IS TRUE", x=found) if kind.nullable else Scalar(found, BOOL)
    result: Any = False
    for member in members:
        result = either(result, same(item, member))
    return result


def same(left: Any, right: Any) -> Any:
    """`left is right or left == right`, which Python asks of what is in tuples and lists: a NaN is itself."""
    if is_scalar(left) and is_scalar(right) and left.type.python in (float, Decimal):
        raise NotTraceable(f"a comparison within a container, of {left.type}, which may be NaN")
    return equals(left, right)


def _has_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def equals(left: Any, right: Any) -> Any:
    if is_scalar(left) or is_scalar(right):
        return compare("==", left, right)
    if is_row(left) or is_row(right):
        raise NotTraceable("a comparison of rows")
    return left == right


# --- truth ----------------------------------------------------------------------------------------


def truth(value: Any) -> Any:
    """What `if value:` asks: a bool, or a stand-in for one that is never NULL."""
    if is_row(value):
        raise NotTraceable("the truth of a row")
    if not is_scalar(value):
        return bool(value)
    kind = value.type.python
    tests = {bool: "{x}", int: "{x} <> 0", float: "{x} <> 0", Decimal: "{x} <> 0", str: "{x} <> ''",
             timedelta: "{x} <> '0'::interval", bytes: "length({x}) > 0"}  # fmt: skip
    if kind in (date, datetime) or kind.__name__ in ("UUID", "time"):
        return is_none(value, False)
    if kind not in tests:
        raise NotTraceable(f"a truth value (of type {value.type})")
    if kind is bool and not value.type.nullable:
        return value
    if value.type.nullable:
        return boolean(f"({tests[kind]}) IS TRUE", x=value.expression)
    return boolean(tests[kind], x=value.expression)


def invert(value: Any) -> Any:
    """`not value`, of a truth."""
    if not is_scalar(value):
        return not value
    inner = value.expression.unnest()
    flips: dict[type[exp.Expression], type[exp.Expression]] = {exp.EQ: exp.NEQ, exp.NEQ: exp.EQ}
    if type(inner) in flips:
        flipped = flips[type(inner)](this=inner.this.copy(), expression=inner.expression.copy())
        return Scalar(flipped, BOOL)
    if isinstance(inner, exp.Not):
        return Scalar(inner.this.copy(), BOOL)
    return boolean("NOT {x}", x=value.expression)


def both(left: Any, right: Any) -> Any:
    """`left and right` of truths, of which the second may only be computed if the first holds."""
    if left is False or right is True:
        return left
    if left is True:
        return right
    a, b = lift(left), lift(right)
    if may_fail(b.expression):
        return boolean("CASE WHEN {a} THEN {b} ELSE FALSE END", a=a.expression, b=b.expression)
    return boolean("{a} AND {b}", a=a.expression, b=b.expression)


def either(left: Any, right: Any) -> Any:
    if left is True or right is False:
        return left
    if left is False:
        return right
    a, b = lift(left), lift(right)
    if may_fail(b.expression):
        return boolean("CASE WHEN {a} THEN TRUE ELSE {b} END", a=a.expression, b=b.expression)
    return boolean("{a} OR {b}", a=a.expression, b=b.expression)


def choice(test: Scalar, yes: Any, no: Any) -> Any:
    """`yes if test else no`, of leaves."""
    if type(yes) is type(no) and not is_scalar(yes) and yes == no and repr(yes) == repr(no):
        return yes
    if yes is None or no is None:
        other = lift(no if yes is None else yes)
        kind = replace(other.type, nullable=True)
        null = kind.cast(exp.null()) if kind.python is not timedelta else sql("NULL::interval")
        parts = (null, other.expression) if yes is None else (other.expression, null)
    else:
        a, b = lift(yes), lift(no)
        kind = _common_type(a, b, yes, no)
        if a.expression == b.expression and a.type.python is b.type.python:
            return Scalar(a.expression, kind)
        parts = tuple(
            FLOAT.cast(s.expression) if s.type.python is int and kind.python is float else s.expression
            for s in (a, b)
        )  # type: ignore[assignment]
    rest = parts[1]
    chosen = sql("CASE WHEN {t} THEN {a} ELSE {b} END", t=test.expression, a=parts[0], b=rest)
    if isinstance(rest, exp.Case) and rest.this is None:  # one CASE with several WHENs
        flat = rest.copy()
        flat.set("ifs", [chosen.args["ifs"][0].copy(), *flat.args["ifs"]])
        chosen = flat
    return Scalar(chosen, kind)


def _common_type(a: Scalar, b: Scalar, yes: Any, no: Any) -> FieldType:
    nullable = a.type.nullable or b.type.nullable
    kinds = {a.type.python, b.type.python}
    if replace(a.type, nullable=False) == replace(b.type, nullable=False):
        return replace(a.type, nullable=nullable)
    small = all(abs(v) < EXACT for v in (yes, no) if type(v) is int)
    constant = all(not is_scalar(v) for v, s in ((yes, a), (no, b)) if s.type.python is int)
    if kinds == {int, float} and small and constant:
        return FieldType(float, nullable)
    raise NotTraceable(f"a value that is {a.type} or {b.type}", "let both be of one type")
