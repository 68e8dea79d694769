"""How the values of a shipped function cross: PL/Python hands numbers, text and bytes over as Python has
them, and all else as Postgres prints it (with DateStyle ISO, IntervalStyle postgres and TimeZone UTC).

Each shipped function has those of these functions in it that it needs.
"""

import datetime as _datetime
import decimal as _decimal
import json as _json
import re as _re
import uuid as _uuid
from typing import Any


def _fraction(text: Any) -> Any:
    """The text of a time with six digits after the point: before Python 3.11 only these can be read."""
    head, point, digits = text.partition(".")
    return head + point + digits.ljust(6, "0") if point else text


def _date_in(text: Any) -> Any:
    return _datetime.date.fromisoformat(text)


def _datetime_in(text: Any) -> Any:
    return _datetime.datetime.fromisoformat(_fraction(text))


def _instant_in(text: Any) -> Any:
    """As Postgres prints it, or in ISO 8601 with any offset."""
    [(local, sign, offset)] = _re.findall(r"^(.*\d\d:\d\d[\d:.]*)([+-]?)([\d:]*)$", text)
    hours, minutes, seconds = (int(n) for n in f"{offset or 0}:0:0".split(":")[:3])
    away = _datetime.timedelta(hours=hours, minutes=minutes, seconds=seconds)
    moment = _datetime.datetime.fromisoformat(_fraction(local)) - (-away if sign == "-" else away)
    return moment.replace(tzinfo=_datetime.timezone(_datetime.timedelta(0)))


def _time_in(text: Any) -> Any:
    return _datetime.time.fromisoformat(_fraction(text))


def _timedelta_in(text: Any) -> Any:
    """As psycopg reads an interval (a month is 30 days, a year 365), and as JSON has it."""
    days = sum(
        int(number) * {"year": 365, "mon": 30, "day": 1}[unit]
        for number, unit in _re.findall(r"([+-]?\d+) (year|mon|day)s?", text)
    )
    clock = _re.search(r"([+-]?)(\d+):(\d\d):(\d\d)(?:\.(\d+))?", text)
    if clock is None:
        [microseconds] = _re.findall(r"([+-]?\d+) microseconds", text) or ["0"]
        return _datetime.timedelta(days=days, microseconds=int(microseconds))
    hours, minutes, seconds = (int(n) for n in clock.group(2, 3, 4))
    spent = _datetime.timedelta(
        hours=hours, minutes=minutes, seconds=seconds, microseconds=int((clock[5] or "0").ljust(6, "0"))
    )
    return _datetime.timedelta(days=days) + (-spent if clock[1] == "-" else spent)


def _uuid_in(text: Any) -> Any:
    return _uuid.UUID(text)


def _decimal_in(text: Any) -> Any:
    return _decimal.Decimal(text)


def _number_out(value: Any) -> Any:
    """A float as JSON has it: what is not finite is text."""
    number = float(value)
    return (
        number if number - number == 0 else {"inf": "Infinity", "-inf": "-Infinity"}.get(repr(number), "NaN")
    )


def _canonical(value: Any) -> Any:
    """JSON text by which sets are sorted."""
    return _json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _found(value: Any, steps: Any) -> Any:
    """The part of a row by these steps; None if a row on the way is None or Empty()."""
    for step in steps:
        if value is None or type(value).__name__ == "Empty":
            return None
        value = value[step] if isinstance(step, int) else getattr(value, step)
    return None if type(value).__name__ == "Empty" else value


def _checked(value: Any, types: Any, but: Any, what: Any) -> Any:
    if not isinstance(value, types) or isinstance(value, but):
        raise TypeError(f"{what}, not {type(value).__name__}: {value!r}")
    return value


def _date_out(value: Any) -> Any:
    return value.isoformat()


def _datetime_out(value: Any) -> Any:
    if value.tzinfo is not None:
        raise TypeError(f"a datetime without a time zone is expected: {value!r}")
    return value.isoformat(" ")


def _instant_out(value: Any) -> Any:
    if value.utcoffset() is None:
        raise TypeError(f"a datetime with a time zone is expected: {value!r}")
    return value.astimezone(_datetime.UTC).isoformat(" ")


def _time_out(value: Any) -> Any:
    if value.tzinfo is not None:
        raise TypeError(f"a time without a time zone is expected: {value!r}")
    return value.isoformat()


def _timedelta_out(value: Any) -> Any:
    """Each part with its sign: with IntervalStyle sql_standard a first minus alone is of all."""
    return f"{value.days:+d} days {value.seconds * 1000000 + value.microseconds:+d} microseconds"


def _text_out(value: Any) -> Any:
    if "\0" in value:
        raise ValueError(f"Postgres has no NUL character: {value!r}")
    return str(value)
