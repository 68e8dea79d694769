"""Values that are JSON in the database, in a shipped function: Python expressions that read and write them.

They are those of encoding.py, said for one type: so a function takes and gives lists, dicts, unions and rows
as the rest of the program stores them. Classes and unions have functions of their own in the program.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from textwrap import indent
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pg_stepping.frontend.python.encoding import fields_of, is_collection, json_kind, tag, tagged
from pg_stepping.frontend.python.types import AwareDatetime, is_enum, stored_by_value, type_name
from pg_stepping.frontend.python.zset import ZSetPython

if TYPE_CHECKING:
    from pg_stepping.frontend.python.functions.program import Program

_READ: dict[Any, str] = {
    float: "float({})",
    Decimal: "_decimal_in({})",
    date: "_date_in({})",
    datetime: "_datetime_in({})",
    AwareDatetime: "_instant_in({})",
    time: "_time_in({})",
    timedelta: "_timedelta_in({})",
    UUID: "_uuid_in({})",
    bytes: "bytes.fromhex({}[2:])",
}
# The class of a value, what it must not be as well, and how it is JSON.
_WRITTEN: dict[Any, tuple[str, str, str]] = {
    bool: ("bool", "()", "{}"),
    int: ("int", "bool", "{}"),
    float: ("(float, int)", "bool", "_number_out({})"),
    str: ("str", "()", "_text_out({})"),
    Decimal: ("_decimal.Decimal", "()", "str({})"),
    date: ("_datetime.date", "_datetime.datetime", "_date_out({})"),
    datetime: ("_datetime.datetime", "()", "_datetime_out({}).replace(' ', 'T')"),
    AwareDatetime: ("_datetime.datetime", "()", "_instant_out({}).replace(' ', 'T')"),
    time: ("_datetime.time", "()", "_time_out({})"),
    timedelta: ("_datetime.timedelta", "()", "_timedelta_out({})"),
    UUID: ("_uuid.UUID", "()", "str({})"),
    bytes: ("bytes", "()", "'\\\\x' + {}.hex()"),
}


class Crossing:
    """The expressions for the values of one program; `where` is for messages."""

    def __init__(self, program: Program, where: str) -> None:
        self._program, self._where = program, where

    def read(self, annotation: Any, value: str) -> str:
        """The Python value of what json.loads() gave; `value` is used once, or is a name."""
        annotation = _known(annotation)
        if annotation in _READ:
            return _READ[annotation].format(value)
        if annotation in (int, str, bool, Any, object, None, types.NoneType):
            return value
        if is_enum(annotation):
            cls = self._class(annotation)
            return f"{cls}({value})" if stored_by_value(annotation) else f"{cls}[{value}]"
        container, arguments = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
        if is_collection(annotation) or container in (list, set, frozenset):
            item = self.read(arguments[0] if arguments else Any, "item")
            return f"{container.__name__}([{item} for item in {value}])"
        if container is dict:
            key, item = (
                self.read(a, n) for a, n in zip(arguments or (str, Any), ("key", "item"), strict=True)
            )
            pairs = f"{value}.items()" if not arguments or arguments[0] is str else value
            return f"{{{key}: {item} for key, item in {pairs}}}"
        return f"{self._function('read', annotation, self._reading)}({value})"

    def write(self, annotation: Any, value: str, what: str) -> str:
        """What json.dumps() takes for a Python value; `value` is as in read(), `what` is for messages."""
        annotation = _known(annotation)
        if annotation in _WRITTEN:
            cls, but, text = _WRITTEN[annotation]
            return text.format(f"_checked({value}, {cls}, {but}, {what!r})")
        if annotation in (Any, object):
            return value
        if annotation in (None, types.NoneType):
            return f"_checked({value}, type(None), (), {what!r})"
        if is_enum(annotation):
            part = "value" if stored_by_value(annotation) else "name"
            return f"_checked({value}, {self._class(annotation)}, (), {what!r}).{part}"
        container, arguments = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
        if is_collection(annotation) or container in (list, set, frozenset):
            item = self.write(arguments[0] if arguments else Any, "item", what)
            listed = f"[{item} for item in _checked({value}, {container.__name__}, (), {what!r})]"
            return listed if container in (list, tuple) else f"sorted({listed}, key=_canonical)"
        if container is dict:
            given = arguments or (str, Any)
            key, item = self.write(given[0], "key", what), self.write(given[1], "item", what)
            pairs = f"_checked({value}, dict, (), {what!r}).items()"
            if given[0] is str:
                return f"{{{key}: {item} for key, item in {pairs}}}"
            return f"sorted([[{key}, {item}] for key, item in {pairs}], key=_canonical)"
        return f"{self._function('write', annotation, self._writing)}({value}, {what!r})"

    # --- what has a function of its own: rows, tuples, unions, ZSets --------------------------------

    def _function(self, way: str, annotation: Any, body: Callable[[Any], list[str]]) -> str:
        """The name of the function, which may call itself."""
        crossings = self._program.crossings
        known = (way, annotation)
        if known not in crossings:
            crossings[known] = name = f"_{way}_{len(crossings)}"
            parameters = "value" if way == "read" else "value, what"
            lines = indent("\n".join(body(annotation)), "    ")
            self._program.lines.append(f"def {name}({parameters}):\n{lines}")
        return crossings[known]

    def _reading(self, annotation: Any) -> list[str]:
        container, arguments = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
        if container in (typing.Union, types.UnionType):
            if tagged(arguments):
                lines = ["if value is None:", "    return None", "[(tag, inner)] = value.items()"]
                for member in arguments:
                    if member is not types.NoneType:
                        lines += [f"if tag == {tag(member)!r}:", f"    return {self.read(member, 'inner')}"]
                return [*lines, "raise ValueError(tag)"]
            lines = []
            for member in arguments:
                lines += [f"if {_KINDS[json_kind(member)]}:", f"    return {self.read(member, 'value')}"]
            return [*lines, "raise ValueError(value)"]
        if container is tuple:
            made = "".join(f"{self.read(a, f'value[{i}]')}, " for i, a in enumerate(arguments))
            return [f"return ({made})"]
        if container is ZSetPython:
            item = self.read(arguments[0] if arguments else Any, "item")
            return [f"return {self._class(ZSetPython)}([({item}, count) for item, count in value])"]
        given = ", ".join(f"{n}={self.read(t, f'value[{n!r}]')}" for n, t in fields_of(annotation).items())
        return [f"return {self._class(container)}({given})"]

    def _writing(self, annotation: Any) -> list[str]:
        container, arguments = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
        if container in (typing.Union, types.UnionType):
            return self._writing_union(arguments)
        check = "_checked(value, {}, (), what)"
        if container is tuple:
            made = ", ".join(self.write(a, f"value[{i}]", type_name(a)) for i, a in enumerate(arguments))
            size = f"if len({check.format('tuple')}) != {len(arguments)}:"
            return [size, "    raise TypeError(f'{what}, not {value!r}')", f"return [{made}]"]
        if container is ZSetPython:
            of = arguments[0] if arguments else Any
            pair = f"[{self.write(of, 'item', type_name(of))}, count]"
            rows = f"{check.format(self._class(ZSetPython))}.iter()"
            return [f"return sorted([{pair} for item, count in {rows}], key=_canonical)"]
        name = type_name(container)
        fields = ", ".join(
            f"{n!r}: {self.write(t, f'value.{n}', f'{name}.{n} is {type_name(t)}')}"
            for n, t in fields_of(annotation).items()
        )
        return [check.format(self._class(container)), f"return {{{fields}}}"]

    def _writing_union(self, members: tuple[Any, ...]) -> list[str]:
        lines = ["if value is None:", "    return None"] if types.NoneType in members else []
        for member in (m for m in members if m is not types.NoneType):
            made = self.write(member, "value", type_name(member))
            made = f"{{{tag(member)!r}: {made}}}" if tagged(members) else made
            lines += ["try:", f"    return {made}", "except (TypeError, ValueError):", "    pass"]
        return [*lines, "raise TypeError(f'{what}, not {value!r}')"]

    def _class(self, cls: Any) -> str:
        return self._program.bind(cls.__name__, cls, self._where)


_KINDS = {
    "null": "value is None",
    "boolean": "type(value) is bool",
    "number": "type(value) in (int, float)",
    "string": "type(value) is str",
    "array": "type(value) is list",
    "object": "type(value) is dict",
}


def _known(annotation: Any) -> Any:
    """The annotation without notes that say nothing of the type."""
    if annotation == AwareDatetime or typing.get_origin(annotation) is not typing.Annotated:
        return annotation
    return typing.get_args(annotation)[0]
