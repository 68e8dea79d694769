"""Shipping: a row function that has no SQL becomes PL/Python, one function a value.

Each takes the leaves of the row that the function reads, typed, makes the row of them, calls the function
and gives one leaf of what it returns. So a result is ordinary columns, each an expression of the query, and
plans, deltas and verify are those of any other. What one call has computed is kept for the next of these.
"""

from __future__ import annotations

import ast
import hashlib
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from textwrap import indent
from typing import Any
from uuid import UUID

from sqlglot import exp

from pg_stepping.errors import UnsupportedQuery
from pg_stepping.frontend.database_functions import Shipped, register
from pg_stepping.frontend.python.functions.crossing import Crossing
from pg_stepping.frontend.python.functions.program import Program, identifier
from pg_stepping.frontend.python.functions.purity import Sets
from pg_stepping.frontend.python.functions.source import NoSource, bound, source_of
from pg_stepping.frontend.python.functions.templates import sql
from pg_stepping.frontend.python.functions.zones import check_zones
from pg_stepping.frontend.python.rows import PRESENT, Maybe, leaves, parts
from pg_stepping.frontend.python.scalar import Scalar
from pg_stepping.frontend.python.types import FieldType, is_enum, is_set, stored_by_value
from pg_stepping.ir.types import fresh
from pg_stepping.shipped import values_py

_NATIVE = (int, float, str, bool, Decimal, bytes)
_NAIVE = FieldType(datetime)
_NAMES: dict[Any, str] = {
    date: "date",
    datetime: "datetime",
    time: "time",
    timedelta: "timedelta",
    UUID: "uuid",
}
Path = tuple[str, ...]
_MADE = """\
def _made(cls, **values):
    row = object.__new__(cls)
    for name, value in values.items():
        object.__setattr__(row, name, value)
    return row"""
_KEPT = (int, str, bool, bytes, date, UUID)  # equal values of these are the same


@dataclass(frozen=True, slots=True)
class Shipping:
    """A function on its way: its program, and how its arguments are made of columns."""

    name: str
    place: str
    why: str
    program: Program
    arguments: tuple[tuple[str, FieldType, exp.Expression], ...]
    call: str

    def leaf(
        self, path: Sequence[str], kind: FieldType, *, as_truth: bool = False, optional: bool = False
    ) -> Scalar:
        """The call that gives the leaf at `path` of what the function returns.

        If that is `optional` a row on the way to it may be missing: then the leaf is NULL.
        """
        program = self.program
        picked = "result" + "".join(f"[{p}]" if p.isdigit() else f".{p}" for p in path)
        lines = [f"result = {self.call}"]
        if optional:
            steps = tuple(int(p) if p.isdigit() else p for p in path if p != PRESENT)
            lines.append(f"found = _found(result, {steps!r})")
            picked = "found is not None" if path[-1] == PRESENT else "found"
        stored = FieldType(kind.python, kind.nullable or (optional and path[-1] != PRESENT))
        out = f"bool({picked})" if as_truth else into_sql(picked, stored, self._named(path), program)
        lines.append(f"return {out}")
        if path:
            lines = self._keeping(lines)
        listed = ", ".join(name for name, _, _ in self.arguments)
        heading = f"{self.name} of {in_file(self.place)}{', its ' + '.'.join(path) if path else ''}"
        body = routine_body(heading, program.text, listed, lines)
        arguments = tuple((name, kind.sql) for name, kind, _ in self.arguments)
        told = repr((body.partition("\n")[2], arguments, kind.sql))
        label = identifier("_".join((self.name.strip("<>"), *path)).replace(PRESENT, "present")).lower()[:40]
        name = f"{label}_{hashlib.sha256(told.encode()).hexdigest()[:12]}"
        says = f"pg_stepping: {self.name} runs as Python, since {self.why}"
        shipped = Shipped(
            name, arguments, kind.sql, body, says, in_file(self.place), tuple(sorted(program.requires))
        )
        register(shipped)
        given = {f"a{i}": e for i, (_, _, e) in enumerate(self.arguments)}
        listed = ", ".join(f"{{{n}}}" for n in given)
        return Scalar(sql(f"stepping.{name}({listed})", **given), kind)

    def _named(self, path: Sequence[str]) -> str:
        return f"{self.name}(){''.join(f'.{p}' for p in path)}"

    def _keeping(self, lines: list[str]) -> list[str]:
        """Keep the last result for the functions of its other leaves, where equal arguments are the same."""
        if not all(kind.python in _KEPT for _, kind, _ in self.arguments):
            return lines
        told = hashlib.sha256(f"{self.program.text}{self.call}".encode()).hexdigest()[:16]
        given = "".join(f"{name}, " for name, _, _ in self.arguments)
        return [
            f'kept = GD.get("stepping {told}")',
            f"if kept is None or kept[0] != ({given}):",
            f'    kept = GD["stepping {told}"] = (({given}), {self.call})',
            "result = kept[1]",
            *lines[1:],
        ]


def shipping(function: Callable[..., object], rows: Sequence[Any], why: str) -> Shipping:
    """Gather what the function needs on the server.

    Raises UnsupportedQuery, by name and place, if it is not pure, or reads what cannot go there.
    """
    inner, before, named = bound(function)
    try:
        source = source_of(inner)
    except NoSource as reason:
        raise UnsupportedQuery(f"{why}, and {reason}", hint="write the function in a file") from None
    parameters = _parameters(inner)[len(before) :]
    program = Program(f"{source.name} at {source.place()}", _sets(parameters, rows))
    bound_name = program.bind(
        identifier(source.name.strip("<>").replace("lambda", "row_function")), inner, source.place()
    )
    read = zip(parameters, rows, strict=False)
    check_zones(source, {(p, *path) for p, row in read for path, kind in leaves(row) if kind.type == _NAIVE})
    arguments: list[tuple[str, FieldType, exp.Expression]] = []
    made = [program.literal(v, source.place()) for v in before]
    names = set(program.names)
    for parameter, row in zip(parameters, rows, strict=False):
        wanted = _paths_read(source.tree, parameter)
        there = [path for path, _ in leaves(row)]
        if wanted is not None and any(not any(_meet(path, w) for path in there) for w in wanted):
            wanted = None  # a method or a property, which may read all
        named_by: dict[Path, tuple[str, FieldType]] = {}
        for path, leaf in leaves(row):
            if wanted is None or any(_meet(path, w) for w in wanted):
                name = fresh(identifier("_".join(path).replace("?", "present") or parameter), names)
                named_by[path] = (name, leaf.type)
                arguments.append((name, leaf.type, leaf.expression))
        made.append(_row(row, (), named_by, program, source.place()) or "None")
    made += [f"{k}={program.literal(v, source.place())}" for k, v in named.items()]
    call = f"{bound_name}({', '.join(made)})"
    return Shipping(source.name, source.place(), why, program, tuple(arguments), call)


def _sets(parameters: Sequence[str], rows: Sequence[Any]) -> Sets:
    """Which of the arguments are sets, or have fields that are."""
    found = [
        (parameter, path, leaf.type.element in (FieldType(int), FieldType(bool)))
        for parameter, row in zip(parameters, rows, strict=False)
        for path, leaf in leaves(row)
        if is_set(leaf.type.python)
    ]
    fields = frozenset(path[-1] for _, path, _ in found if path)
    others = frozenset(path[-1] for _, path, ints in found if path and not ints)
    return Sets(fields, frozenset(parameter for parameter, path, _ in found if not path), fields - others)


def _meet(path: Path, read: Path) -> bool:
    """Whether one of the two leads to the other."""
    plain = tuple(p for p in path if p != PRESENT)
    return plain[: len(read)] == read or read[: len(plain)] == plain


def _parameters(function: Any) -> list[str]:
    code = function.__code__
    return list(code.co_varnames[: code.co_argcount])


def _paths_read(tree: ast.AST, parameter: str) -> set[tuple[str, ...]] | None:
    """The attribute paths of the parameter that the function reads; None if it uses the row as a whole."""
    found: set[tuple[str, ...]] = set()
    inner: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == parameter and isinstance(node.ctx, ast.Store):
            return None
        path: list[str] = []
        root: ast.AST = node
        while isinstance(root, ast.Attribute):
            path.insert(0, root.attr)
            inner.add(root.value)
            root = root.value
        if path and isinstance(root, ast.Name) and root.id == parameter and node not in inner:
            found.add(tuple(path))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == parameter and node not in inner:
            return None
    return found


def _row(
    row: Any, path: Path, named: Mapping[Path, tuple[str, FieldType]], program: Program, where: str
) -> str:
    """The row as Python over the arguments; without what the function does not read."""
    if type(row) is Scalar:
        return from_sql(*named[path], program, where) if path in named else ""
    made = {n: _row(p, (*path, n) if n else path, named, program, where) for n, p in parts(row)}
    made = {name: text for name, text in made.items() if text}
    if not made:
        return ""
    if type(row) is Maybe:
        absent = "None" if row.absent is None else f"{program.bind('Empty', type(row.absent), where)}()"
        return f"({made.get('')} if {made[PRESENT]} else {absent})"
    if isinstance(row, tuple):
        return "(" + "".join(f"{made.get(str(i))}, " for i in range(len(row))) + ")"
    cls = program.bind(type(row).__name__, type(row), where)
    given = ", ".join(f"{name}={text}" for name, text in made.items())
    if len(made) == len(parts(row)) and not hasattr(type(row), "__post_init__"):
        return f"{cls}({given})"
    if _MADE not in program.lines:
        program.lines.append(_MADE)
    return f"_made({cls}, {given})"


def from_sql(name: str, kind: FieldType, program: Program, where: str) -> str:
    """The Python value of an argument."""
    converter, element = _converter(kind), kind.element
    if kind.python in _NATIVE:
        return name
    if is_enum(kind.python):
        cls = program.bind(kind.python.__name__, kind.python, where)
        text = f"{cls}({name})" if stored_by_value(kind.python) else f"{cls}[{name}]"
    elif converter:
        text = f"_{converter}_in({name})"
    elif element is not None:
        listed = f"[{from_sql('item', element, program, where)} for item in {name}]"
        container = typing.get_origin(kind.python).__name__
        text = listed if container == "list" else f"{container}({listed})"
    else:
        text = Crossing(program, where).read(kind.python, f"_json.loads({name})")
    return f"(None if {name} is None else {text})" if kind.nullable else text


def into_sql(value: str, kind: FieldType, what: str, program: Program) -> str:
    """The value as Postgres takes it; its type is checked."""
    says = repr(f"{what} is {kind}")
    converter, element = _converter(kind), kind.element
    if kind.python is float:
        text = f"float(_checked({value}, (float, int), bool, {says}))"
    elif kind.python in (int, bool, Decimal, bytes):
        name = "_decimal.Decimal" if kind.python is Decimal else kind.python.__name__
        text = f"_checked({value}, {name}, {'bool' if kind.python is int else '()'}, {says})"
    elif kind.python is str:
        text = f"_text_out(_checked({value}, str, (), {says}))"
    elif is_enum(kind.python):
        cls = program.bind(kind.python.__name__, kind.python, what)
        part = "value" if stored_by_value(kind.python) else "name"
        text = f"_checked({value}, {cls}, (), {says}).{part}"
    elif converter == "uuid":
        text = f"str(_checked({value}, _uuid.UUID, (), {says}))"
    elif converter:
        cls = f"_datetime.{'datetime' if converter == 'instant' else converter}"
        but = "_datetime.datetime" if converter == "date" else "()"
        text = f"_{converter}_out(_checked({value}, {cls}, {but}, {says}))"
    elif element is not None:
        container = typing.get_origin(kind.python).__name__
        items = f"_checked({value}, {container}, (), {says})"
        if container not in ("list", "tuple"):
            key = Crossing(program, what).write(element.python, "item", f"{what} has {element}")
            items = f"sorted({items}, key=lambda item: _canonical({key}))"
        text = f"[{into_sql('item', element, what, program)} for item in {items}]"
    else:
        written = Crossing(program, what).write(kind.python, value, f"{what} is {kind}")
        text = f"_json.dumps({written}, ensure_ascii=False)"
    return f"(None if {value} is None else {text})" if kind.nullable else text


def _converter(kind: FieldType) -> str | None:
    if kind.python in _NATIVE:
        return None
    if kind.sql == "timestamp with time zone":
        return "instant"
    return _NAMES.get(kind.python)


@cache
def _converter_sources() -> dict[str, tuple[str, frozenset[str]]]:
    """The functions of plpython/values.py, and the imports: each its text and the names that it reads."""
    tree = ast.parse(values_py())
    found = {}
    for node in tree.body:
        read = frozenset(n.id for n in ast.walk(node) if isinstance(n, ast.Name))
        if isinstance(node, ast.FunctionDef):
            for argument in node.args.args:
                argument.annotation = None
            node.returns = None
            if isinstance(node.body[0], ast.Expr) and len(node.body) > 1:
                node.body = node.body[1:]
            read = frozenset(n.id for n in ast.walk(node) if isinstance(n, ast.Name))
            found[node.name] = (ast.unparse(node), read)
        elif isinstance(node, ast.Import):
            found[node.names[0].asname or ""] = (ast.unparse(node), frozenset())
    return found


def routine_body(heading: str, text: str, listed: str, lines: Sequence[str]) -> str:
    """The body of a PL/Python function that runs `lines` on its arguments `listed`, with the definitions in
    `text`; a session defines it once."""
    call = f"def call({listed}):\n" + indent("\n".join(lines), "    ")
    defs = f"{text}\n{converters(text + call)}".strip("\n") + f"\n\n{call}"
    return (
        f"# {heading}\n"
        'call = SD.get("call")\nif call is None:\n    def load():\n'
        + indent(f"{defs}\nreturn call", "        ")
        + f'\n    call = SD["call"] = load()\nreturn call({listed})'
    )


def converters(text: str) -> str:
    """The functions that a program's text calls, with all that they use."""
    sources = _converter_sources()
    need = set(re.findall(r"\b_[a-z_]+\b", text)) & set(sources)
    while more := {n for name in need for n in sources[name][1] if n in sources} - need:
        need |= more
    ordered = [name for name in sources if name in need]
    return "\n".join(sources[name][0] for name in ordered)


def in_file(place: str) -> str:
    path, _, line = place.rpartition(":")
    return f"{path.rpartition('/')[2]}, line {line}"
