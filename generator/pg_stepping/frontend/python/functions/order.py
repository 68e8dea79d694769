"""What differs from process to process though nothing says so: the order of sets, and addresses in texts.

A set is seen where an expression, an annotation, a field or the argument of a call says that it is one.
"""

from __future__ import annotations

import ast
import builtins
import re
import types
from collections.abc import Callable, Collection, Iterator
from typing import Any

from pg_stepping.frontend.python.functions.source import NoSource, Source, source_of

Refused = Callable[[Source, ast.AST, str], Exception]
_ORDERLESS = ("sorted", "len", "min", "max", "any", "all", "set", "frozenset", "isinstance", "bool", "type")
_EXACT = ("math.fsum", "copy.copy", "copy.deepcopy", "typing.cast", "dataclasses.replace")
_BY_ORDER = ("join", "extend", "format", "format_map", "writelines", "fromkeys")
_TEXTS = ("str", "repr", "format", "ascii")
_SET_NAMES = ("set", "frozenset", "Set", "FrozenSet", "AbstractSet", "MutableSet")
_SET_METHODS = ("union", "intersection", "difference", "symmetric_difference", "copy")
_ITERATORS = ("map", "filter", "zip", "iter", "enumerate", "reversed", "object")


def has_address(value: object) -> bool:
    """Whether the text of a constant has the address of an object in it."""
    return re.search(r" at 0x[0-9a-fA-F]+>", repr(value)) is not None


def has_set(value: object) -> bool:
    """Whether a constant is, or has in it, a set of several elements."""
    if isinstance(value, set | frozenset):
        return len(value) > 1
    parts = [*value.keys(), *value.values()] if isinstance(value, dict) else value
    return isinstance(parts, tuple | list) and any(map(has_set, parts))


def check_order(
    source: Source,
    fields: Collection[str],
    parameters: Collection[str],
    ints: Collection[str],
    path: Callable[[Source, ast.expr], str | None],
    refused: Refused,
) -> None:
    """Raise what `refused` makes of a place that depends on the order of a set, or shows an address.

    `fields` are attributes that are sets, `parameters` those of this function, `ints` which of both are of
    ints; `path` gives the dotted path of what comes from a module.
    """
    _Order(source, fields, ints, path, refused, set()).check(frozenset(parameters))


class _Order:
    def __init__(
        self,
        source: Source,
        fields: Collection[str],
        ints: Collection[str],
        path: Callable[[Source, ast.expr], str | None],
        refused: Refused,
        seen: set[tuple[types.CodeType, frozenset[str]]],
    ) -> None:
        self.source, self.fields, self.ints = source, fields, ints
        self.path, self.refused, self.seen = path, refused, seen
        self.names: frozenset[str] = frozenset()
        self.shown: frozenset[str] = frozenset()

    def check(self, parameters: frozenset[str]) -> None:
        tree = self.source.tree
        if (self.source.function.__code__, parameters) in self.seen:
            return
        self.seen.add((self.source.function.__code__, parameters))
        arguments = (a for a in ast.walk(tree) if isinstance(a, ast.arg))
        annotated = {a.arg for a in arguments if _says_set(a.annotation)}
        known = {n for n, v in self.source.names.items() if isinstance(v, set | frozenset)}
        self.names = parameters | annotated | known
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr) and node.value is not None:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                set_to = {t.id for t in targets if isinstance(t, ast.Name)}
                self.names |= set_to if self.is_set(node.value) else frozenset()
                self.shown |= set_to if self.is_address(node.value) else frozenset()
        free = set(self.orderless(tree))
        for node in ast.walk(tree):
            for over in self.in_order(node) if node not in free else ():
                if self.is_set(over):
                    raise self.refused(self.source, over, "the order of a set (use sorted())")
            for text in _made_text(node):
                if self.is_address(text):
                    raise self.refused(self.source, text, "the text of what has only an address")
            if isinstance(node, ast.Call):
                self.check_callee(node)

    def is_set(self, node: ast.expr) -> bool:
        match node:
            case ast.Set() | ast.SetComp():
                return True
            case ast.Name(id=name):
                return name in self.names
            case ast.Attribute(attr=name):
                return name in self.fields
            case ast.Call(func=ast.Name(id="set" | "frozenset")):
                return True
            case ast.Call(func=ast.Attribute(value=of, attr=name)) if name in _SET_METHODS:
                return self.is_set(of)
            case ast.BinOp(left=left, op=ast.BitAnd() | ast.BitOr() | ast.BitXor() | ast.Sub(), right=right):
                return self.is_set(left) or self.is_set(right)
            case ast.BoolOp(values=values):
                return any(map(self.is_set, values))
            case ast.IfExp(body=body, orelse=orelse):
                return self.is_set(body) or self.is_set(orelse)
            case ast.NamedExpr(value=value):
                return self.is_set(value)
        return False

    def is_address(self, node: ast.expr) -> bool:
        """Whether the text of a value is where it stands in memory."""
        match node:
            case ast.Lambda() | ast.GeneratorExp():
                return True
            case ast.Name(id=name):
                value = self.source.names.get(name)
                return name in self.shown or isinstance(value, types.FunctionType)
            case ast.Call(func=ast.Name(id=name)):
                return name in _ITERATORS and self.is_builtin(name)
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                return any(map(self.is_address, elements))
        return False

    def is_builtin(self, name: str) -> bool:
        return self.source.names.get(name) is getattr(builtins, name, self)

    def orderless(self, tree: ast.AST) -> Iterator[ast.AST]:
        """Calls, and loops of comprehensions, to which the order of what they go through is nothing."""
        for node in ast.walk(tree):
            match node:
                case ast.SetComp(generators=loops):
                    yield from loops
                case ast.Call(func=ast.Name(id=name), args=args) if self.is_builtin(name):
                    inner = [a for a in args if isinstance(a, ast.GeneratorExp | ast.ListComp)]
                    counts = name == "sum" and len(args) == 1 and all(map(self.gives_ints, inner))
                    if (name in _ORDERLESS and not _has_ties(node)) or counts:
                        yield from (loop for a in inner for loop in a.generators)

    def gives_ints(self, loops: ast.GeneratorExp | ast.ListComp) -> bool:
        """Whether all elements are seen to be ints: then their sum is the same in any order."""
        names = {
            loop.target.id: self.has_ints(loop.iter)
            for loop in loops.generators
            if isinstance(loop.target, ast.Name)
        }
        return _is_int(loops.elt, {name for name, ints in names.items() if ints})

    def has_ints(self, node: ast.expr) -> bool:
        """Whether what is gone through is a set of ints."""
        match node:
            case ast.Attribute(attr=name):
                return name in self.ints
            case ast.Name(id=name):
                nodes = list(ast.walk(self.source.tree))
                said = (_says_ints(a.annotation) for a in nodes if isinstance(a, ast.arg) and a.arg == name)
                set_again = any(
                    isinstance(n, ast.Name) and n.id == name and isinstance(n.ctx, ast.Store) for n in nodes
                )
                return any(said) and not set_again
        return False

    def in_order(self, node: ast.AST) -> Iterator[ast.expr]:
        """What is gone through in order."""
        match node:
            case ast.For(iter=over) | ast.comprehension(iter=over):
                yield over
            case ast.Starred(value=value) | ast.YieldFrom(value=value):
                yield value
            case ast.AugAssign(op=ast.Add(), value=value):
                yield value
            case ast.Assign(targets=targets, value=value) if any(
                isinstance(t, ast.Tuple | ast.List) for t in targets
            ):
                yield value
            case ast.Call(func=ast.Attribute(value=value, attr="pop"), args=[]):
                yield value
        yield from _made_text(node)
        if isinstance(node, ast.Call) and self.by_order(node):
            yield from (*node.args, *(keyword.value for keyword in node.keywords))

    def by_order(self, node: ast.Call) -> bool:
        """Whether what is called goes through its arguments in order."""
        match node.func:
            case ast.Name(id="sum") if self.is_builtin("sum") and len(node.args) == 1:
                return not self.has_ints(node.args[0])
            case ast.Name(id=name) if self.is_builtin(name):
                return name not in _ORDERLESS or _has_ties(node)
            case ast.Attribute(attr=name) if name in _BY_ORDER:
                return True
            case ast.Lambda():
                return True
        path = self.path(self.source, node.func)
        value = self.source.names.get(node.func.id) if isinstance(node.func, ast.Name) else None
        users = isinstance(value, types.FunctionType) and _is_written_here(value)
        is_row = isinstance(value, type) and not value.__module__.startswith("collections")
        return path is not None and not users and not is_row and path not in _EXACT

    def check_callee(self, node: ast.Call) -> None:
        """Look into a function of the user's that gets a set."""
        value = self.source.names.get(node.func.id) if isinstance(node.func, ast.Name) else None
        if not isinstance(value, types.FunctionType):
            return
        places = value.__code__.co_varnames[: value.__code__.co_argcount]
        given = {n for n, a in zip(places, node.args, strict=False) if self.is_set(a)}
        given |= {k.arg for k in node.keywords if k.arg is not None and self.is_set(k.value)}
        if given:
            try:
                callee = source_of(value)
            except NoSource:
                return
            _Order(callee, self.fields, self.ints, self.path, self.refused, self.seen).check(frozenset(given))


def _is_written_here(function: types.FunctionType) -> bool:
    from pg_stepping.frontend.python.functions.origin import is_users

    return is_users(function)


def _says_set(annotation: ast.expr | None) -> bool:
    match annotation:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in _SET_NAMES
        case ast.Subscript(value=of, slice=inner):
            optional = isinstance(of, ast.Name) and of.id == "Optional"
            return _says_set(inner) if optional else _says_set(of)
        case ast.BinOp(left=left, right=right):
            return _says_set(left) or _says_set(right)
        case ast.Constant(value=str() as text):
            return _says_set(ast.parse(text, mode="eval").body)
    return False


def _has_ties(node: ast.Call) -> bool:
    """Whether a call orders by a key that several elements may have: then their own order decides."""
    for keyword in node.keywords:
        if keyword.arg == "key":
            match keyword.value:
                case ast.Lambda(args=ast.arguments(args=[ast.arg(arg=name)]), body=body):
                    parts = body.elts if isinstance(body, ast.Tuple) else [body]
                    return not any(isinstance(p, ast.Name) and p.id == name for p in parts)
            return True
    return False


def _says_ints(annotation: ast.expr | None) -> bool:
    """`frozenset[int]` and its like."""
    match annotation:
        case ast.Subscript(slice=ast.Name(id="int" | "bool")):
            return _says_set(annotation)
        case ast.Constant(value=str() as text):
            return _says_ints(ast.parse(text, mode="eval").body)
    return False


def _is_int(node: ast.expr, ints: Collection[str] = ()) -> bool:
    """Whether a value is an int, as are the variables `ints`."""
    match node:
        case ast.Constant(value=value):
            return isinstance(value, int)
        case ast.Name(id=name):
            return name in ints
        case ast.Call(func=ast.Name(id="len" | "ord" | "int" | "bool")) | ast.Compare():
            return True
        case ast.UnaryOp(op=op, operand=operand):
            return isinstance(op, ast.Not) or _is_int(operand, ints)
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.FloorDiv(), right=right):
            return _is_int(left, ints) and _is_int(right, ints)
        case ast.IfExp(body=body, orelse=orelse):
            return _is_int(body, ints) and _is_int(orelse, ints)
    return False


def _made_text(node: ast.AST) -> Iterator[ast.expr]:
    """What a text is made of."""
    found: list[Any] = []
    match node:
        case ast.FormattedValue(value=value):
            found = [value]
        case ast.Call(func=ast.Name(id=name), args=args) if name in _TEXTS:
            found = args
        case ast.Call(func=ast.Attribute(attr="format"), args=args, keywords=keywords):
            found = [*args, *(k.value for k in keywords)]
        case ast.BinOp(left=ast.Constant(value=str()) | ast.JoinedStr(), op=ast.Mod(), right=right):
            found = right.elts if isinstance(right, ast.Tuple) else [right]
    for value in found:
        yield value
        if isinstance(value, ast.Tuple | ast.List):
            yield from value.elts
