"""The text of a Python program that has a function in it, and all that it needs, to run in the database.

Definitions come in the order of their need: imports and constants, classes, helpers. Annotations and
comments stay behind. What is not the user's own is imported: the standard library is there, of others
`requires` tells.
"""

from __future__ import annotations

import ast
import builtins
import copy
import dataclasses
import enum
import functools
import inspect
import keyword
import re
import types
import typing
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from pg_stepping.errors import UnsupportedQuery
from pg_stepping.frontend.python.data import Data, Empty, Pair
from pg_stepping.frontend.python.functions.origin import is_users, origin
from pg_stepping.frontend.python.functions.purity import (
    HINT,
    NO_SETS,
    SERVERS,
    Sets,
    check_pure,
    forbidden,
    path_of,
)
from pg_stepping.frontend.python.functions.source import NoSource, Source, names_of, source_of
from pg_stepping.frontend.python.zset import ZSetPython

RESERVED = {*SERVERS, "args", "call", "load"}

_DATA = """\
class Data:
    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        _dataclasses.dataclass(frozen=True, kw_only=True)(cls)"""
_PAIR = """\
@_dataclasses.dataclass(frozen=True)
class Pair:
    __qualname__ = "Pair"
    left: object
    right: object"""
_EMPTY = """\
@_dataclasses.dataclass(frozen=True, repr=False)
class Empty:
    def __repr__(self):
        return 'Empty()'"""
_ZSET = """\
class ZSetPython:
    def __init__(self, data=None, indexes=()):
        counts = {}
        for row, count in data.items() if isinstance(data, dict) else data or ():
            counts[row] = counts.get(row, 0) + count
        self._counts = {row: count for row, count in counts.items() if count}
    def __class_getitem__(cls, item):
        return cls
    def iter(self):
        return iter(self._counts.items())
    def get_count(self, row):
        return self._counts.get(row, 0)
    def empty(self):
        return not self._counts
    def __len__(self):
        return len(self._counts)
    def __eq__(self, other):
        return isinstance(other, ZSetPython) and self._counts == other._counts
    def __hash__(self):
        return hash(frozenset(self._counts.items()))
    def __mul__(self, times):
        return ZSetPython({row: count * times for row, count in self._counts.items()})
    def __neg__(self):
        return self * -1
    def __add__(self, other):
        return ZSetPython([*self._counts.items(), *other._counts.items()])
    def __sub__(self, other):
        return self + -other"""
_OURS = {Data: _DATA, Pair: _PAIR, Empty: _EMPTY, ZSetPython: _ZSET}


class Program:
    """Definitions in the making; `lines` are Python at the outermost level."""

    def __init__(self, shown: str, sets: Sets = NO_SETS) -> None:
        self.shown = shown  # the function that all this is for, in messages
        self._sets = sets  # of the function that is bound first
        self.imports: set[str] = set()
        self.requires: set[str] = set()
        self.lines: list[str] = []
        self.crossings: dict[
            tuple[str, Any], str
        ] = {}  # functions of crossing.py, by what they read and write
        self._bound: dict[str, Any] = {}

    @property
    def text(self) -> str:
        return "\n".join([*sorted(self.imports), *self.lines])

    @property
    def names(self) -> set[str]:
        return {*self._bound, *RESERVED}

    # --- names ------------------------------------------------------------------------------------

    def bind(self, name: str, value: Any, where: str) -> str:
        """Make `name` stand for `value`; raises UnsupportedQuery, with `where`, if that cannot be said."""
        if hasattr(builtins, name) and getattr(builtins, name) is value:
            return name
        if name in self._bound:
            if self._bound[name] is value or (
                type(self._bound[name]) is type(value) and repr(self._bound[name]) == repr(value)
            ):
                return name
            raise UnsupportedQuery(
                f"two different things that are called {name}, for {self.shown}", hint="rename one of them"
            )
        if name in RESERVED:
            raise UnsupportedQuery(f"the name {name} in {self.shown}", hint="PL/Python uses it: rename it")
        self._bound[name] = value
        if isinstance(value, types.ModuleType):
            self._module(name, value, where)
        elif isinstance(
            value, types.FunctionType | types.BuiltinFunctionType | functools.partial | type
        ) or hasattr(value, "__wrapped__"):
            self._callable(name, value, where)
        elif isinstance(value, typing.NewType):
            self.lines.append(f"{name} = lambda value: value")
        elif typing.get_origin(value) is not None or type(value).__module__ == "typing":
            del self._bound[name]  # only annotations have it
        else:
            self.lines.append(f"{name} = {self.literal(value, where)}")
        return name

    def _module(self, name: str, module: types.ModuleType, where: str) -> None:
        kind = origin(module.__name__)
        if kind == "ours":
            for part in _OURS:
                self._ours(part)
            self.imports.add("import types as _types")
            parts = [*(f"{part.__name__}={part.__name__}" for part in _OURS), "EMPTY=Empty()"]
            self.lines.append(f"{name} = _types.SimpleNamespace({', '.join(parts)})")
        elif kind == "user":  # needs() binds what is read from it
            self.imports.add("import types as _types")
            self.lines.append(f"{name} = _types.SimpleNamespace()")
        else:
            self._requires(module.__name__, kind)
            plain = name == module.__name__
            self.imports.add(f"import {name}" if plain else f"import {module.__name__} as {name}")

    def _ours(self, value: Any) -> None:
        self.imports.add("import dataclasses as _dataclasses")
        if _OURS[value] not in self.lines:
            self.lines.append(_OURS[value])
            self._bound.setdefault(value.__name__, value)

    def _requires(self, module: str, kind: str) -> None:
        if kind == "installed":
            self.requires.add(module.partition(".")[0])

    def _callable(self, name: str, value: Any, where: str) -> None:
        if value in _OURS:
            self._ours(value)
            if name != value.__name__:
                self.lines.append(f"{name} = {value.__name__}")
            return
        if isinstance(value, functools.partial):
            inner = self.bind(f"{name}_inner", value.func, where)
            given = [self.literal(v, where) for v in value.args]
            given += [f"{k}={self.literal(v, where)}" for k, v in value.keywords.items()]
            self.imports.add("import functools as _functools")
            self.lines.append(f"{name} = _functools.partial({', '.join([inner, *given])})")
            return
        if not isinstance(value, types.FunctionType | types.BuiltinFunctionType | type):
            value = value.__wrapped__  # a cache around a function
        if not is_users(value):
            self._imported(name, value, where)
        elif isinstance(value, type):
            self._class(name, value, where)
        else:
            self._function(name, value, where)

    def _imported(self, name: str, value: Any, where: str) -> None:
        path, module = path_of(value) or "", value.__module__
        reason = forbidden(path)
        if reason is not None:
            raise UnsupportedQuery(f"{path} ({reason}) in {self.shown} at {where}", hint=HINT)
        qualified = value.__qualname__
        if module is None or "<" in qualified:
            raise UnsupportedQuery(
                f"{value!r}, which {self.shown} reads at {where}", hint="write it yourself"
            )
        self._requires(module, origin(module))
        top, _, rest = qualified.partition(".")
        self.imports.add(f"from {module} import {top}" + (f" as {name}" if not rest and top != name else ""))
        if rest:
            self.lines.append(f"{name} = {qualified}")

    # --- functions --------------------------------------------------------------------------------

    def _function(self, name: str, function: types.FunctionType, where: str) -> None:
        try:
            source = source_of(function)
        except NoSource as reason:
            raise UnsupportedQuery(
                f"{reason}, for {self.shown} at {where}", hint="write it in a file"
            ) from None
        self.needs(source)
        tree = copy.deepcopy(source.tree)
        if isinstance(tree, ast.Lambda):
            self.lines.append(f"{name} = {ast.unparse(_bare(tree))}")
            return
        tree.name, tree.decorator_list = name, []
        self._defaults(tree, function, where)
        self.lines.append(ast.unparse(_bare(tree)))

    def _defaults(self, tree: ast.FunctionDef, function: types.FunctionType, where: str) -> None:
        """The defaults as the values that they had when the function was made."""
        made = [self.literal(v, where) for v in function.__defaults__ or ()]
        tree.args.defaults = [ast.parse(text, mode="eval").body for text in made]
        for place, argument in enumerate(tree.args.kwonlyargs):
            known = function.__kwdefaults__ or {}
            if argument.arg in known:
                tree.args.kw_defaults[place] = ast.parse(
                    self.literal(known[argument.arg], where), mode="eval"
                ).body

    def needs(self, source: Source) -> None:
        """Bind all names that a function reads; raises UnsupportedQuery if it is not pure."""
        check_pure(source, self._sets)
        self._sets = dataclasses.replace(self._sets, parameters=frozenset())
        for name, value in source.names.items():
            if name != "__class__" and value is not source.function:
                self.bind(name, value, source.place(_first_use(source.tree, name)))
            if isinstance(value, types.ModuleType) and origin(value.__name__) == "user":
                self._parts(name, value, source)
            elif isinstance(value, types.ModuleType):
                self._submodules(name, value, source)

    def _submodules(self, name: str, module: types.ModuleType, source: Source) -> None:
        """The modules within it that a function reads by it, which somebody has imported."""
        for node in ast.walk(source.tree):
            path: list[str] = []
            while isinstance(node, ast.Attribute):
                path.insert(0, node.attr)
                node = node.value
            part: Any = module
            for step in path if isinstance(node, ast.Name) and node.id == name else ():
                part = getattr(part, step, None)
                if not isinstance(part, types.ModuleType) or not part.__name__.startswith(
                    f"{module.__name__}."
                ):
                    break
                self.imports.add(f"import {part.__name__}")

    def _parts(self, name: str, module: types.ModuleType, source: Source) -> None:
        """What a function reads from a module of the user's."""
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name:
                part = self.bind(node.attr, getattr(module, node.attr), source.place(node))
                line = f"{name}.{node.attr} = {part}"
                if line not in self.lines:
                    self.lines.append(line)

    # --- classes ----------------------------------------------------------------------------------

    def _class(self, name: str, cls: type, where: str) -> None:
        if issubclass(cls, enum.Enum):
            self.imports.add("import enum as _enum")
            base = next(
                (b.__name__ for b in (enum.IntEnum, enum.StrEnum, enum.Flag) if issubclass(cls, b)), "Enum"
            )
            mixed = [b.__name__ for b in (str, int) if issubclass(cls, b)] if base == "Enum" else []
            members = [f"    {m.name} = {self.literal(m.value, where)}" for m in cls]
            head = f"class {name}({', '.join([*mixed, f'_enum.{base}'])}):"
            self.lines.append("\n".join([head, *members, *self._methods(cls, where)]))
            return
        if not dataclasses.is_dataclass(cls):
            raise UnsupportedQuery(
                f"the class {cls.__name__}, which {self.shown} needs at {where}",
                hint="a row function may use Data classes, dataclasses, Enums, functions and constants",
            )
        bases = [b for b in cls.__bases__ if b not in (object, typing.Generic)]
        named = [self.bind(b.__name__, b, where) for b in bases]
        fields = [
            self._field(f, where) for f in dataclasses.fields(cls) if f.name in inspect.get_annotations(cls)
        ]
        named_so = [f"    __qualname__ = {cls.__qualname__!r}"]  # its repr has it
        body = [*named_so, *fields, *self._methods(cls, where)]
        mark = []
        if not issubclass(cls, Data):
            self.imports.add("import dataclasses as _dataclasses")
            options = cls.__dataclass_params__  # type: ignore[attr-defined]
            keywords = all(f.kw_only for f in dataclasses.fields(cls))
            mark = [
                f"@_dataclasses.dataclass(frozen={options.frozen}, order={options.order}, kw_only={keywords})"
            ]
        head = f"class {name}({', '.join(named)}):" if named else f"class {name}:"
        self.lines.append("\n".join([*mark, head, *body]))

    def _field(self, field: dataclasses.Field[Any], where: str) -> str:
        if field.default_factory is not dataclasses.MISSING:
            self.imports.add("import dataclasses as _dataclasses")
            made: Any = field.default_factory
            factory = self.bind(made.__name__, made, where)
            return f"    {field.name}: object = _dataclasses.field(default_factory={factory})"
        if field.default is dataclasses.MISSING:
            return f"    {field.name}: object"
        return f"    {field.name}: object = {self.literal(field.default, where)}"

    def _methods(self, cls: type, where: str) -> Iterator[str]:
        """The methods and properties that the class itself defines, and its constants."""
        fields = {f.name for f in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else set()
        for name, value in vars(cls).items():
            plain = type(value) in (bool, int, float, str, bytes, tuple, frozenset, dict, list, Decimal)
            if plain and not name.startswith("_") and name not in fields:
                yield f"    {name} = {self.literal(value, where)}"
            inner = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
            if (
                not isinstance(inner, types.FunctionType)
                or inner.__qualname__ != f"{cls.__qualname__}.{name}"
            ):
                continue
            if inner.__code__.co_filename.startswith(("<", dataclasses.__file__)):
                continue  # made by dataclasses
            source = source_of(inner)
            self.needs(source)
            tree = copy.deepcopy(source.tree)
            assert isinstance(tree, ast.FunctionDef)
            tree.decorator_list = []
            self._defaults(tree, inner, where)
            marks = {property: "@property", staticmethod: "@staticmethod", classmethod: "@classmethod"}
            lines = ast.unparse(_bare(tree)).splitlines()
            if type(value) in marks:
                lines.insert(0, marks[type(value)])
            yield "\n".join(f"    {line}" for line in lines)

    # --- constants --------------------------------------------------------------------------------

    def literal(self, value: Any, where: str) -> str:
        """A constant as Python."""
        if value is None or type(value) in (bool, int, str, bytes, complex, range):
            return repr(value)
        if type(value) is float:
            return repr(value) if value - value == 0 else f"float('{value!r}')"
        if isinstance(value, enum.Enum):
            return f"{self.bind(type(value).__name__, type(value), where)}.{value.name}"
        if type(value) in (date, datetime, time, timedelta, timezone):
            self.imports.add("import datetime as _datetime")
            return re.sub(r"\bdatetime\.(?=\w)", "_datetime.", repr(value))
        if type(value) in (Decimal, UUID, ZoneInfo):
            module, name = (
                {Decimal: "decimal", UUID: "uuid", ZoneInfo: "zoneinfo"}[type(value)],
                type(value).__name__,
            )
            self.imports.add(f"import {module} as _{module}")
            return f"_{module}.{name}({str(value)!r})"
        if type(value) is re.Pattern:
            self.imports.add("import re as _re")
            return f"_re.compile({value.pattern!r}, {value.flags})"
        if type(value) in (tuple, list, set, frozenset, dict):
            return self._collection(value, where)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            given = [
                f"{f.name}={self.literal(getattr(value, f.name), where)}" for f in dataclasses.fields(value)
            ]
            return f"{self.bind(type(value).__name__, type(value), where)}({', '.join(given)})"
        if isinstance(value, types.FunctionType | types.BuiltinFunctionType | type):
            plain = re.sub(r"\W", "_", value.__name__)
            return self.bind(plain, value, where)
        if value is dataclasses.MISSING or (callable(value) and hasattr(value, "__wrapped__")):
            return self.bind(value.__name__, value, where)
        raise UnsupportedQuery(
            f"a {type(value).__name__}, which {self.shown} reads at {where}",
            hint="it may read numbers, text, dates, Enums, rows, and tuples, lists, sets and dicts of them",
        )

    def _collection(self, value: Any, where: str) -> str:
        if isinstance(value, dict):
            return (
                "{"
                + ", ".join(f"{self.literal(k, where)}: {self.literal(v, where)}" for k, v in value.items())
                + "}"
            )
        parts = [self.literal(v, where) for v in value]
        if isinstance(value, set | frozenset):
            listed = ", ".join(sorted(parts))
            return (
                f"frozenset(({listed}{',' if parts else ''}))"
                if type(value) is frozenset
                else f"set([{listed}])"
            )
        listed = ", ".join(parts)
        return f"[{listed}]" if type(value) is list else f"({listed}{',' if len(parts) == 1 else ''})"


def _first_use(tree: ast.AST, name: str) -> ast.AST | None:
    return next((n for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == name), None)


class _Bare(ast.NodeTransformer):
    """Without annotations and docstrings, which nothing reads."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None
        return self.visit(ast.copy_location(ast.Assign(targets=[node.target], value=node.value), node))  # type: ignore[no-any-return]

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.returns = None
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and len(node.body) > 1:
            node.body = node.body[1:]
        self.generic_visit(node)
        if not node.body:
            node.body = [ast.Pass()]
        return node


def _bare(tree: ast.AST) -> ast.AST:
    bare: ast.AST = _Bare().visit(tree)
    return ast.fix_missing_locations(bare)


def identifier(text: str) -> str:
    """A name that Python and Postgres take."""
    plain = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_") or "value"
    return f"{plain}_" if keyword.iskeyword(plain) or plain[0].isdigit() else plain


__all__ = ["Program", "identifier", "names_of"]
