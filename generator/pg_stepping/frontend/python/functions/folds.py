"""Folds: classes that SQL queries call as aggregates, in Python.

The values of a group are gathered and folded in one call of Python, in ascending order. A fold with an
inverse keeps its state instead (ir/folds.py), if that is exact: what is or has a float would drift.
"""

from __future__ import annotations

import ast
import inspect
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from pg_stepping.errors import UnsupportedQuery
from pg_stepping.frontend.database_functions import IN_ORDER, Shipped
from pg_stepping.frontend.dialect import quote_name
from pg_stepping.frontend.python.data import resolved
from pg_stepping.frontend.python.encoding import fields_of
from pg_stepping.frontend.python.functions.crossing import Crossing
from pg_stepping.frontend.python.functions.program import Program
from pg_stepping.frontend.python.functions.routine import declared_source, digest_name, routine
from pg_stepping.frontend.python.functions.ship import from_sql, into_sql
from pg_stepping.frontend.python.types import FieldType, field_type, is_enum, type_name
from pg_stepping.ir.folds import Fold

HINT = "a fold has static methods zero() and step(state, value, ...), maybe finish(state) and inverse()"
_ORDERED_BY_TEXT = (dict, list, tuple, set, frozenset)


@dataclass(frozen=True, slots=True)
class _Parts:
    """A fold's methods, the types of its arguments, its state (None where it is not told) and its result."""

    name: str
    methods: dict[str, types.FunctionType]
    place: str
    arguments: dict[str, FieldType]
    state: Any
    result: FieldType

    @property
    def signature(self) -> list[tuple[str, str]]:
        return [(name, kind.sql) for name, kind in self.arguments.items()]

    @property
    def plain(self) -> FieldType | None:
        """The type of the only argument, if an array can have it for an element."""
        [first, *more] = self.arguments.values()
        return None if more or first.sql == "jsonb" or first.element is not None else first

    @property
    def why_anew(self) -> str:
        """Why the fold is not kept by its inverse; empty if it is."""
        if "inverse" not in self.methods:
            return "it has no inverse()"
        if self.state is None:
            return "the type of its state is not told"
        if _has(self.state, (float,)):
            return "its state is, or has, a float, which would drift"
        if any(_has(k.python, (timedelta, bytes)) for k in self.arguments.values()):
            return "an argument is a timedelta or bytes"
        return ""


def fold(declared: type, frame: Mapping[str, Any]) -> Shipped:
    """An aggregate of a class with static methods; raises UnsupportedQuery for one that is no fold."""
    parts = _parts(declared, frame)
    program = Program(f"{parts.name} at {parts.place}")
    for name, method in parts.methods.items():
        program.bind(f"fold_{name}", method, parts.place)
    source = _Named(parts)
    why = parts.why_anew
    says = f"it is a fold, computed anew for touched keys: {why}" if why else "it is a fold with an inverse"
    final, in_order = (_final(parts, program, source, says, sort=sort) for sort in (True, False))
    more = [] if why else _kept(parts, program, source, says)
    digest = digest_name(parts.name, final.body.partition("\n")[2], [m.body for m in more], parts.signature)
    return _aggregate(parts, digest, final, in_order, more)


def _parts(declared: type, frame: Mapping[str, Any]) -> _Parts:
    name = declared.__name__
    there = {n: getattr(v, "__func__", v) for n, v in vars(declared).items()}
    known = ("zero", "step", "finish", "inverse")
    methods: dict[str, Any] = {n: there[n] for n in known if n in there}
    for needed in ("zero", "step"):
        if not isinstance(methods.get(needed), types.FunctionType):
            raise UnsupportedQuery(f"the fold {name}, which has no {needed}()", hint=HINT)
    source = declared_source(methods["step"])
    told = {n: _annotations(m, frame) for n, m in methods.items()}
    state, *given = inspect.signature(methods["step"]).parameters
    zero = told["zero"].get("return") or told["step"].get(state) or told["step"].get("return")
    result = told["finish"].get("return") if "finish" in methods else zero
    untold = [p for p in given if p not in told["step"]]
    if not given or untold or result is None:
        raise UnsupportedQuery(
            f"the fold {name}, whose types are not known, at {source.place()}",
            hint="write zero() -> S, step(state: S, value: T) -> S, and finish(state: S) -> R, with types",
        )
    if "inverse" in methods and len(inspect.signature(methods["inverse"]).parameters) != len(given) + 1:
        raise UnsupportedQuery(
            f"the fold {name}, whose inverse() takes other arguments than step(), at {source.place()}",
            hint=HINT,
        )
    arguments = {p: field_type(told["step"][p], f"{name}.{p}") for p in given}
    kind = field_type(result, f"the result of {name}")
    return _Parts(name, methods, source.place(), arguments, zero, kind)


def _annotations(method: Any, frame: Mapping[str, Any]) -> dict[str, Any]:
    known = {**frame, **declared_source(method).names}
    found = resolved(method.__annotations__, known, method.__module__)
    return {name: kind for name, kind in found.items() if not isinstance(kind, str)}


# --- all rows at once -----------------------------------------------------------------------------


def _final(parts: _Parts, program: Program, source: Any, says: str, *, sort: bool) -> Shipped:
    """The function that folds all values of a group: an array of them, or of JSON arrays of arguments.

    Without `sort` they are in the order that the call asks for.
    """
    names, plain = list(parts.arguments), parts.plain
    if plain is not None:
        value = from_sql("value", FieldType(plain.python, True), program, parts.place)
        lines = [f"rows = [({value},) for value in values_]"]
    else:
        lines = [f"rows = [{_read_row(parts, program)} for row in {_LOADED.format('values_')}]"]
    required = [f"row[{i}] is not None" for i, n in enumerate(names) if not parts.arguments[n].nullable]
    if required:
        lines.append(f"rows = [row for row in rows if {' and '.join(required)}]")
    keys = [_key(kind, f"row[{i}]", program, parts) for i, kind in enumerate(parts.arguments.values())]
    if sort:
        lines.append(f"rows.sort(key=lambda row: ({', '.join(keys)},))")
    lines += [
        "state = fold_zero()",
        "for row in rows:",
        "    state = fold_step(state, *row)",
        *_result(parts, program),
    ]
    gathered = {"values": FieldType(list[str], True)}
    made = routine(source, program, gathered, lines, parts.result.sql, says)
    return replace(made, arguments=(("values_", f"{plain.sql if plain is not None else 'jsonb'}[]"),))


_LOADED = "(_json.loads(row, parse_float=_decimal.Decimal) for row in {})"


def _read_row(parts: _Parts, program: Program) -> str:
    """The arguments that are in `row`, as a tuple."""
    crossing = Crossing(program, parts.place)
    read = [
        f"None if row[{i}] is None else {crossing.read(kind.python, f'row[{i}]')}"
        for i, kind in enumerate(parts.arguments.values())
    ]
    return f"({', '.join(read)},)"


def _result(parts: _Parts, program: Program) -> list[str]:
    finished = "fold_finish(state)" if "finish" in parts.methods else "state"
    out = into_sql("result", parts.result, f"{parts.name}.finish()", program)
    return [f"result = {finished}", f"return {out}"]


def _key(kind: FieldType, value: str, program: Program, parts: _Parts) -> str:
    """What an argument is ordered by: None last, and NaN before it."""
    container = typing.get_origin(kind.python) or kind.python
    if container in (float, Decimal):
        some = f"{value} is None or {value} != {value}"
        return f"{value} is None, {value} != {value}, 0 if {some} else {value}, str({value})"
    if is_enum(kind.python) or container in _ORDERED_BY_TEXT or kind.sql == "jsonb":
        written = Crossing(program, parts.place).write(kind.python, value, type_name(kind.python))
        return f"{value} is None, '' if {value} is None else _canonical({written})"
    return f"{value} is None, 0 if {value} is None else {value}"


# --- a state that is kept -------------------------------------------------------------------------


def _kept(parts: _Parts, program: Program, source: Any, says: str) -> list[Shipped]:
    """The functions that merge two states, and finish one."""
    crossing = Crossing(program, parts.place)
    read, written = crossing.read(parts.state, "told"), crossing.write(
        parts.state, "state", f"the state of {parts.name} is {type_name(parts.state)}"
    )  # fmt: skip
    load = [
        "known = [one for one in map(_json.loads, given) if isinstance(one, dict)]",
        'states = [one["state"] for one in known if "state" in one]',
        "if len(states) > 1:",
        '    raise ValueError("two states cannot be merged")',
        "state = fold_zero()",
        "for told in states:",
        f"    state = {read}",
        "counts = {}",
        "for one in known:",
        '    for row, weight in one.get("changes", ()):',
        "        row = _json.dumps(row)",
        "        counts[row] = counts.get(row, 0) + weight",
    ]
    follow = [
        "for sign, follow in ((1, fold_step), (-1, fold_inverse)):",
        "    for row, weight in counts.items():",
        "        row = _json.loads(row)",
        "        for _ in range(sign * weight):",
        f"            state = follow(state, *{_read_row(parts, program)})",
    ]
    alone = [
        "if not states and min(counts.values(), default=0) < 0:",
        "    return None  # the change of a state that is elsewhere",
    ]
    json = FieldType(dict[str, Any])
    merge = [
        "given = (old_, new_)",
        *load,
        *follow,
        f'return _json.dumps({{"state": {written}}}, ensure_ascii=False)',
    ]
    finish = ["given = (state_,)", *load, *alone, *follow, *_result(parts, program)]
    one = {"state": json}
    return [
        routine(source, program, {"old": json, "new": json}, merge, "jsonb", says),
        routine(source, program, one, finish, parts.result.sql, says),
    ]


def _has(annotation: Any, kinds: tuple[type, ...], within: tuple[Any, ...] = ()) -> bool:
    """Whether a type is, or has in it, one of these; or is not known."""
    if annotation in kinds or annotation in (Any, object, list, dict, tuple, set, frozenset):
        return True
    if annotation in within:
        return False
    inner = [a for a in typing.get_args(annotation) if a is not Ellipsis]
    if hasattr(typing.get_origin(annotation) or annotation, "__dataclass_fields__"):
        inner += fields_of(annotation).values()
    return any(_has(a, kinds, (*within, annotation)) for a in inner)


# --- the aggregate --------------------------------------------------------------------------------


def _aggregate(parts: _Parts, name: str, final: Shipped, in_order: Shipped, more: list[Shipped]) -> Shipped:
    """The functions under their names, and the aggregates that queries call: the second with ORDER BY."""
    kinds = [k.sql for k in parts.arguments.values()]
    texts = tuple(k.python in (float, Decimal) for k in parts.arguments.values())
    what = ("merge", "finish")
    after = [replace(m, name=f"{of}_{name}").sql for m, of in zip(more, what, strict=False)]
    plain = parts.plain
    if plain is not None:
        step, state = "pg_catalog.array_append", f"{plain.sql}[]"
    else:
        step, state = f"stepping.{quote_name(f'rows_{name}')}", "jsonb[]"
        row = ", ".join(f"${i}{'::text' if text else ''}" for i, text in enumerate(texts, 2))
        gathers = f"{step}(jsonb[], {', '.join(kinds)})"
        after.append(
            f"CREATE OR REPLACE FUNCTION {gathers} RETURNS jsonb[]\n"
            f"LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE{_settings(parts)}\n"
            f"AS $rows$ BEGIN RETURN array_append($1, jsonb_build_array({row})); END $rows$;\n"
            f"COMMENT ON FUNCTION {gathers} IS 'pg_stepping: gathers the rows of a fold';"
        )
    after.append(replace(in_order, name=f"given_{name}", strict=False).sql)
    for called, last in ((name, f"fold_{name}"), (f"{IN_ORDER}{name}", f"given_{name}")):
        aggregate = f"stepping.{quote_name(called)}({', '.join(kinds)})"
        ends = f"INITCOND = '{{}}', FINALFUNC = stepping.{quote_name(last)}"
        after.append(
            f"CREATE OR REPLACE AGGREGATE {aggregate} (\n"
            f"    SFUNC = {step}, STYPE = {state}, {ends}\n"
            f");\nCOMMENT ON AGGREGATE {aggregate} IS 'pg_stepping: folds in Python';"
        )
    required = tuple(not k.nullable for k in parts.arguments.values())
    kept = Fold(f"merge_{name}", f"finish_{name}", texts, required) if more else None
    return replace(
        final, name=f"fold_{name}", strict=False, after="\n" + "\n".join(after), called=name, fold=kept
    )


def _settings(parts: _Parts) -> str:
    """How Postgres prints what becomes JSON."""
    asked: dict[str, type] = {
        "IntervalStyle = 'postgres'": timedelta,
        "bytea_output = 'hex'": bytes,
        "extra_float_digits = 1": float,
    }
    kinds = [k.python for k in parts.arguments.values()]
    return "".join(f" SET {s}" for s, kind in asked.items() if any(_has(k, (kind,)) for k in kinds))


class _Named:
    """Where a fold is, as a source."""

    def __init__(self, parts: _Parts) -> None:
        self.name, self._place = parts.name, parts.place

    def place(self, node: ast.AST | None = None) -> str:
        return self._place
