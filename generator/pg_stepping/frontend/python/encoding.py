"""Collections and unions as JSON: by field name and exactly, so that what comes back equals what went in.

Dates and times are in ISO 8601, a timedelta is an interval's text, bytes are bytea's hexadecimal text, and
a Decimal, or a float that is not finite, is text: each can be cast to its Postgres type. Sets are sorted.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, cast
from uuid import UUID

from pg_stepping.frontend.python.zset import ZSetPython

_SEQUENCES = (list, tuple)
_NO_NUMBER = Decimal("NaN")  # one object: a tuple of it equals itself
_WHOLE_DIGITS, _DECIMALS = 131072, 16383  # of a numeric
_SETS = (frozenset, set)
_SCALARS = (bool, int, float, str, Decimal, datetime, date, time, timedelta, UUID, bytes)


def canonical_json(value: object) -> str:
    """JSON text that is equal for equal values."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)


def in_jsonb_order(value: Any) -> Any:
    """JSON with its objects as jsonb has them: shorter keys first."""
    if isinstance(value, dict):
        pairs = sorted(value.items(), key=lambda pair: (len(pair[0].encode()), pair[0].encode()))
        return {key: in_jsonb_order(item) for key, item in pairs}
    return [in_jsonb_order(item) for item in value] if isinstance(value, list) else value


def is_collection(annotation: Any) -> bool:
    """list[T], frozenset[T], set[T] or tuple[T, ...]."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is tuple:
        return len(arguments) == 2 and arguments[1] is Ellipsis
    return origin in (list, *_SETS)


def encode(annotation: Any, value: Any) -> Any:
    """`value` as JSON; raises TypeError or ValueError if it is not of the type `annotation`."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any or annotation is object:
        json.dumps(value, allow_nan=False)
        return value
    if origin is Annotated:
        return _encode_annotated(annotation, value)
    if origin in (typing.Union, types.UnionType):
        return _encode_union(arguments, value)
    if origin is ZSetPython or annotation is ZSetPython:
        _expect(value, ZSetPython)
        of = arguments[0] if arguments else Any
        return sorted(([encode(of, v), n] for v, n in value.iter()), key=canonical_json)
    if origin is tuple and not is_collection(annotation):
        _expect(value, tuple)
        if len(value) != len(arguments):
            raise TypeError(f"{len(arguments)} elements are expected: {value!r}")
        return [encode(a, v) for a, v in zip(arguments, value, strict=True)]
    container = origin or annotation
    if container in _SEQUENCES or container in _SETS:
        _expect(value, container)
        encoded = [encode(arguments[0] if arguments else Any, v) for v in value]
        return sorted(encoded, key=canonical_json) if container in _SETS else encoded
    if container is dict:
        return _encode_dict(arguments or (str, Any), value)
    if dataclasses.is_dataclass(container):
        _expect(value, cast(type, container))
        return {name: encode(t, getattr(value, name)) for name, t in fields_of(annotation).items()}
    return _encode_scalar(annotation, value)


def decode(annotation: Any, value: Any) -> Any:
    """The value that `encode` made this JSON of; raises ValueError if it cannot be."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any or annotation is object:
        return value
    if origin is Annotated:
        return _decode_scalar(arguments[0], value)
    if origin in (typing.Union, types.UnionType):
        return _decode_union(arguments, value)
    if origin is ZSetPython or annotation is ZSetPython:
        of = arguments[0] if arguments else Any
        return ZSetPython((decode(of, v), n) for v, n in value)  # what is equal may be there in several texts
    if origin is tuple and not is_collection(annotation):
        return tuple(decode(a, v) for a, v in zip(arguments, value, strict=True))
    container = origin or annotation
    if container in _SEQUENCES or container in _SETS:
        return container(decode(arguments[0] if arguments else Any, v) for v in value)
    if container is dict:
        key, item = arguments or (str, Any)
        pairs = value.items() if isinstance(value, dict) else value
        return {decode(key, k): decode(item, v) for k, v in pairs}
    if dataclasses.is_dataclass(container):
        return _decode_fields(annotation, container, value)
    return _decode_scalar(annotation, value)


def refuse_unencodable(annotation: Any, within: tuple[Any, ...] = ()) -> str | None:
    """Why a value of this type cannot be JSON; None if it can. `within` are the types around it."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in within or (annotation is Any and within):
        return None
    if isinstance(annotation, str):
        return f", with the unknown type {annotation!r} in it"
    inside = (*within, annotation)
    if origin is Annotated:
        return refuse_unencodable(arguments[0], within)
    container = origin or annotation
    if container in (*_SEQUENCES, *_SETS, dict, ZSetPython) or origin in (typing.Union, types.UnionType):
        parts = [a for a in arguments if a is not Ellipsis]
    elif isinstance(container, type) and dataclasses.is_dataclass(container):
        parts = list(fields_of(annotation).values())
    elif annotation in (*_SCALARS, types.NoneType) or _is_enum(annotation):
        return None
    else:
        return "" if not within else f", with {getattr(annotation, '__name__', annotation)} in it"
    return next((r for r in (refuse_unencodable(p, inside) for p in parts) if r is not None), None)


def fields_of(annotation: Any) -> dict[str, Any]:
    """The fields of a dataclass, with the type variables of a generic one replaced."""
    row_type: Any = typing.get_origin(annotation) or annotation
    parameters = getattr(row_type, "__parameters__", ())
    bound = dict(zip(parameters, typing.get_args(annotation), strict=False))
    known = row_type.field_types() if hasattr(row_type, "field_types") else typing.get_type_hints(row_type)
    return {f.name: bound.get(known[f.name], known[f.name]) for f in dataclasses.fields(row_type)}


def _is_enum(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Enum)


def _expect(value: object, wanted: type) -> None:
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise TypeError(f"{wanted.__name__} is expected, not {type(value).__name__}: {value!r}")


def _encode_dict(arguments: tuple[Any, ...], value: Any) -> Any:
    _expect(value, dict)
    key, item = arguments
    pairs = [[encode(key, k), encode(item, v)] for k, v in value.items()]
    return dict(pairs) if key is str else sorted(pairs, key=canonical_json)


def _encode_annotated(annotation: Any, value: Any) -> Any:
    base, *notes = typing.get_args(annotation)
    if base is datetime and any(note is UTC for note in notes):
        _expect(value, datetime)
        if value.utcoffset() is None:
            raise TypeError(f"a datetime with a time zone is expected, not {value!r}")
        return value.astimezone(UTC).isoformat()
    return encode(base, value)


def _encode_scalar(annotation: Any, value: Any) -> Any:
    if annotation in (None, types.NoneType):
        if value is not None:
            raise TypeError(f"None is expected, not {value!r}")
        return None
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        from pg_stepping.frontend.python.types import stored

        _expect(value, annotation)
        return stored(value)
    if annotation is float and type(value) is int:
        value = float(value)
    _expect(value, annotation)
    if annotation is date and isinstance(value, datetime):
        raise TypeError(f"date is expected, not {value!r}")
    if annotation in (datetime, time) and value.tzinfo is not None:
        raise TypeError(f"a {annotation.__name__} without a time zone is expected, not {value!r}")
    if annotation is str and "\0" in value:
        raise ValueError(f"Postgres has no NUL character: {value!r}")
    return _ENCODERS.get(annotation, lambda v: v)(value)


def _decode_scalar(annotation: Any, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        from pg_stepping.frontend.python.types import from_stored

        return from_stored(annotation, value)
    return _DECODERS.get(annotation, lambda v: v)(value)


def _encode_union(members: tuple[Any, ...], value: Any) -> Any:
    for member in members:
        try:
            encoded = encode(member, value)
        except (TypeError, ValueError):
            continue
        return {tag(member): encoded} if tagged(members) and value is not None else encoded
    raise TypeError(f"a value of one of {members} is expected, not {value!r}")


def _decode_union(members: tuple[Any, ...], value: Any) -> Any:
    if value is None:
        return None
    if tagged(members):
        [(name, inner)] = value.items()
        return decode(next(m for m in members if tag(m) == name), inner)
    return decode(next(m for m in members if json_kind(m) == _kind_of(value)), value)


def tagged(members: tuple[Any, ...]) -> bool:
    """Whether two members look alike in JSON: then each is told by its name."""
    kinds = [json_kind(m) for m in members]
    return len(set(kinds)) < len(kinds)


def tag(member: Any) -> str:
    """What tells a member of a union, where more than its JSON must."""
    return member.__name__ if isinstance(member, type) and not typing.get_args(member) else str(member)


def json_kind(annotation: Any) -> str:
    """What of JSON a value of this type is."""
    origin = typing.get_origin(annotation) or annotation
    if origin in (None, types.NoneType):
        return "null"
    if origin is dict:
        return "object" if (typing.get_args(annotation) or (str,))[0] is str else "array"
    if origin in (*_SEQUENCES, *_SETS, ZSetPython):
        return "array"
    if dataclasses.is_dataclass(origin):
        return "object"
    return {bool: "boolean", int: "number", float: "number"}.get(origin, "string")


def _kind_of(value: Any) -> str:
    kinds: Mapping[type, str] = {
        bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object",
    }  # fmt: skip
    return kinds[type(value)]


def _decode_fields(annotation: Any, row_type: Any, value: Mapping[str, Any]) -> Any:
    known = fields_of(annotation)
    made = {name: decode(t, value[name]) for name, t in known.items() if name in value}
    required = {
        f.name
        for f in dataclasses.fields(row_type)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    missing, unknown = sorted(required - set(made)), sorted(set(value) - set(known))
    if missing or unknown:
        what = [f"lacks {', '.join(missing)}"] if missing else []
        what += [f"has {', '.join(unknown)}, which the class has not"] if unknown else []
        raise ValueError(f"a stored {row_type.__name__} {' and '.join(what)}")
    return row_type(**made)


def interval_text(value: timedelta) -> str:
    """Each part with its sign: with IntervalStyle sql_standard a first minus alone is of all."""
    return f"{value.days:+d} days {value.seconds * 1_000_000 + value.microseconds:+d} microseconds"


def _timedelta(text: str) -> timedelta:
    days, _, microseconds, _ = text.split()
    return timedelta(days=int(days), microseconds=int(microseconds))


@functools.cache
def _nan() -> float:
    from pg_stepping.frontend.python.types import _NAN

    return _NAN


def _float(value: Any) -> float:
    number = float(value)
    return _nan() if number != number else number


def _json_float(value: float) -> Any:
    finite = value - value == 0
    names = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}
    return value if finite else names[repr(value)]


def as_numeric(value: Decimal) -> Decimal:
    """`value` as a numeric has it: written out, zero without a sign, and one NaN, which equals itself."""
    if value.is_nan():
        return _NO_NUMBER
    if not value.is_finite():
        return value
    if value.adjusted() >= _WHOLE_DIGITS or value.as_tuple().exponent < -_DECIMALS:  # type: ignore[operator]
        raise ValueError(f"a numeric cannot hold {value}")
    return Decimal(f"{value if value else value.copy_abs():f}")


_ENCODERS: dict[Any, Callable[[Any], Any]] = {
    float: _json_float,
    Decimal: str,
    UUID: str,
    date: date.isoformat,
    datetime: datetime.isoformat,
    time: time.isoformat,
    timedelta: interval_text,
    bytes: lambda v: "\\x" + v.hex(),
}
_DECODERS: dict[Any, Callable[[Any], Any]] = {
    float: _float,
    Decimal: lambda v: as_numeric(Decimal(v)),
    UUID: UUID,
    date: date.fromisoformat,
    datetime: datetime.fromisoformat,
    time: time.fromisoformat,
    timedelta: _timedelta,
    bytes: lambda v: bytes.fromhex(v.removeprefix("\\x")),
}
