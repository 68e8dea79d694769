"""The syntax tree of a Python function, also of a lambda, and what the names in it stand for."""

from __future__ import annotations

import ast
import builtins
import dis
import functools
import inspect
import linecache
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any

Tree = ast.FunctionDef | ast.Lambda


class NoSource(Exception):
    """The function is not written in Python, or its text is not at hand."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A Python function: its tree, the file, and the values of the names that it does not bind itself."""

    function: types.FunctionType
    tree: Tree
    names: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.function.__qualname__.rsplit("<locals>.")[-1]

    def place(self, node: ast.AST | None = None) -> str:
        """`file:line` of a node in it."""
        line = getattr(node, "lineno", None) or self.tree.lineno
        return f"{self.function.__code__.co_filename}:{line}"

    @property
    def body(self) -> list[ast.stmt]:
        if isinstance(self.tree, ast.Lambda):
            value = ast.Return(value=self.tree.body)
            return [ast.copy_location(value, self.tree.body)]
        return self.tree.body


def source_of(function: Callable[..., object]) -> Source:
    """Read a function; raises NoSource."""
    if not isinstance(function, types.FunctionType):
        raise NoSource(f"{function!r} is not a function that is written in Python")
    if function.__code__.co_flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR):
        raise NoSource(f"{function.__qualname__} is asynchronous")
    return Source(function, _tree(function.__code__), names_of(function))


def bound(function: Callable[..., object]) -> tuple[Callable[..., object], tuple[Any, ...], dict[str, Any]]:
    """The function behind partials and bound methods, with the arguments that these give."""
    inner: Any = function
    given: tuple[Any, ...] = ()
    named: dict[str, Any] = {}
    while True:
        if isinstance(inner, functools.partial):
            inner, given, named = inner.func, (*inner.args, *given), {**inner.keywords, **named}
        elif isinstance(inner, types.MethodType):
            inner, given = inner.__func__, (inner.__self__, *given)
        else:
            return inner, given, named


def names_of(function: types.FunctionType) -> dict[str, Any]:
    """The values of the free and global names that the function and those within it read."""
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    found: dict[str, Any] = {}
    for name in _global_names(function.__code__):
        if name in function.__globals__:
            found[name] = function.__globals__[name]
        elif hasattr(builtins, name):
            found[name] = getattr(builtins, name)
    for name, cell in cells.items():
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue
        read = _READ.get()
        if read is not None:
            read.append(Variable(function, name, cell, found[name]))
    return found


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of another function, as it was when it was read."""

    function: types.FunctionType
    name: str
    cell: types.CellType
    value: Any

    @property
    def changed(self) -> bool:
        try:
            return self.cell.cell_contents is not self.value
        except ValueError:  # deleted
            return True


_READ: ContextVar[list[Variable] | None] = ContextVar("read", default=None)


@contextmanager
def variables_read() -> Iterator[list[Variable]]:
    """Collect the variables of other functions that are read meanwhile."""
    read: list[Variable] = []
    token = _READ.set(read)
    try:
        yield read
    finally:
        _READ.reset(token)


def sets_once(source: Source, name: str) -> bool:
    """Whether one place in the function, in no loop, sets the variable."""
    tree = source.tree
    loops = (n for n in ast.walk(tree) if isinstance(n, ast.For | ast.While))
    looped = any(name in _set_in(loop) for loop in loops)
    return not looped and _set_in(tree).count(name) == 1


def _set_in(tree: ast.AST) -> list[str]:
    """The variables that are set, as often as they are."""
    nodes = list(ast.walk(tree))
    stored = [n.id for n in nodes if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)]
    return [*stored, *(n.arg for n in nodes if isinstance(n, ast.arg))]


def codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """The code of a function and of those within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes(constant)


def _global_names(code: types.CodeType) -> Iterator[str]:
    for each in codes(code):
        for instruction in dis.get_instructions(each):
            if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                yield instruction.argval


@cache
def _module(filename: str, text: str) -> list[Tree]:
    return [n for n in ast.walk(ast.parse(text, filename)) if isinstance(n, ast.FunctionDef | ast.Lambda)]


def _tree(code: types.CodeType) -> Tree:
    """The node that the code was compiled from: the smallest whose body holds all of the code's positions."""
    text = "".join(linecache.getlines(code.co_filename))
    if not text:
        raise NoSource(f"the text of {code.co_filename} is not at hand")
    try:
        nodes = _module(code.co_filename, text)
    except SyntaxError as error:
        raise NoSource(f"the text of {code.co_filename} cannot be read") from error
    places = [
        ((line, column), (end_line, end_column))
        for line, end_line, column, end_column in code.co_positions()
        if None not in (line, end_line, column, end_column) and (line, column) != (end_line, end_column)
    ]
    found = [node for node in nodes if _is_named(node, code.co_name) and _holds(node, code, places)]
    if not found:
        raise NoSource(f"the text of {code.co_filename} has changed since it was imported")
    return max(found, key=lambda node: _start(node))


def _is_named(node: Tree, name: str) -> bool:
    return name == ("<lambda>" if isinstance(node, ast.Lambda) else node.name)


def _start(node: Tree) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _holds(node: Tree, code: types.CodeType, places: list[Any]) -> bool:
    if isinstance(node, ast.FunctionDef):
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        return code.co_firstlineno == first
    body = node.body
    start = (body.lineno, body.col_offset)
    end = (body.end_lineno or body.lineno, body.end_col_offset or 0)
    parameters = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    count = code.co_argcount + code.co_kwonlyargcount
    if list(code.co_varnames[:count]) != parameters:
        return False
    return bool(places) and all(start <= a and b <= end for a, b in places)
