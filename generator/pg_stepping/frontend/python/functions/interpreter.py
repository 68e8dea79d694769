"""Row functions become SQL by reading their source: an interpreter whose values are constants or SQL.

A value is a Python object where it is known (constants, classes, functions, rows of leaves), a Scalar where
the row decides. `if` and its like become CASE over both ways; a value that may be None is certain where a
test before has said so. Calling the function, as tracing does, could follow one way only.
What has no SQL raises NotTraceable; where that is the value of one variable or field, only this is Unknown.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any, NewType

from pg_stepping.frontend.python.data import Data, Pair
from pg_stepping.frontend.python.functions.builtin_calls import (
    HANDLERS,
    IMMUTABLE,
    PURE,
    concatenated,
    joined,
    listed_kinds,
    text_of,
)
from pg_stepping.frontend.python.functions.methods import Method, Pieces, attribute, part_of
from pg_stepping.frontend.python.functions.operations import (
    PYTHON,
    arithmetic,
    both,
    compare,
    contains,
    either,
    invert,
    is_none,
    is_scalar,
    lift,
    negative,
    not_null,
    same,
    truth,
)
from pg_stepping.frontend.python.functions.order import has_address, has_set
from pg_stepping.frontend.python.functions.origin import is_users
from pg_stepping.frontend.python.functions.purity import check_global, forbidden
from pg_stepping.frontend.python.functions.source import NoSource, Source, bound, sets_once, source_of
from pg_stepping.frontend.python.functions.values import (
    Unknown,
    are_of_one_enum,
    facts_of_presence,
    is_bool,
    is_rows,
    is_symbolic,
    key_of,
    merged,
    merged_or_unknown,
    presence,
)
from pg_stepping.frontend.python.rows import Maybe
from pg_stepping.frontend.python.scalar import NotTraceable

DEPTH, STEPS = 30, 20_000
_OPERATORS: dict[type[ast.AST], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**",
    ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^", ast.LShift: "<<", ast.RShift: ">>",
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
}  # fmt: skip


@dataclass(slots=True)
class _Steps:
    """How much was interpreted: branches that part again and again would never end."""

    left: int = STEPS
    depth: int = 0


def interpret(function: Callable[..., object], arguments: tuple[Any, ...]) -> Any:
    """What the function returns for the rows: rows, tuples, constants, Scalars, and Unknown for some parts.

    Raises NotTraceable if it cannot be followed as a whole, NoSource if it cannot be read.
    """
    return _call(function, arguments, {}, _Steps(), frozenset())


def _call(
    function: Callable[..., object],
    args: tuple[Any, ...],
    named: dict[str, Any],
    steps: _Steps,
    facts: frozenset[str],
) -> Any:
    inner, before, also = bound(function)
    source = source_of(inner)
    if isinstance(source.tree, ast.FunctionDef) and _yields(source.tree):
        raise NotTraceable(f"the generator {source.name}()")
    try:
        given = inspect.signature(inner, follow_wrapped=False).bind(*before, *args, **{**also, **named})
    except TypeError as error:
        raise TypeError(f"{source.name}() at {source.place()}: {error}") from None
    given.apply_defaults()
    steps.depth += 1
    if steps.depth > DEPTH:
        raise NotTraceable(f"a call of {source.name}() by itself")
    try:
        return _Frame(source, steps).run(source.body, dict(given.arguments), facts)
    finally:
        steps.depth -= 1


def _yields(tree: ast.AST) -> bool:
    return any(isinstance(n, ast.Yield | ast.YieldFrom) for n in ast.walk(tree))


_ON = object()  # the end of a block that has not returned

Names = dict[str, Any]


@dataclass(slots=True)
class _Frame:
    """A call of a function under way."""

    source: Source
    steps: _Steps

    def run(self, body: list[ast.stmt], names: Names, facts: frozenset[str]) -> Any:
        value = self.block(body, names, facts)
        return None if value is _ON else value

    # --- statements -------------------------------------------------------------------------------

    def block(self, body: list[ast.stmt], names: Names, facts: frozenset[str]) -> Any:
        for place, statement in enumerate(body):
            rest = body[place + 1 :]
            match statement:
                case ast.Return():
                    return None if statement.value is None else self.part(statement.value, names, facts)
                case ast.If():
                    test = self.condition(statement.test, names, facts)
                    if not is_scalar(test):
                        body_ = statement.body if test else statement.orelse
                        return self.block(
                            [*body_, *rest], names, facts | self.known(statement.test, test, names, facts)
                        )
                    ways = (statement.body, statement.orelse)
                    knowns = [facts | self.known(statement.test, yes, names, facts) for yes in (True, False)]
                    if any(_returns(way) for way in ways):
                        values = [
                            self.run([*way, *rest], dict(names), known)
                            for way, known in zip(ways, knowns, strict=True)
                        ]
                        return merged(test, *values)
                    after = [dict(names), dict(names)]
                    for way, there, known in zip(ways, after, knowns, strict=True):
                        self.block(way, there, known)
                    for name in {**after[0], **after[1]}:
                        if all(name in there for there in after):
                            names[name] = merged_or_unknown(test, after[0][name], after[1][name])
                        else:
                            names[name] = Unknown(
                                NotTraceable(f"the variable {name}, which only some ways set")
                            )
                case ast.Assign(targets=targets, value=value):
                    result = self.part(value, names, facts)
                    for target in targets:
                        self.assign(target, result, names)
                case ast.AnnAssign(target=target, value=value):
                    if value is not None:
                        self.assign(target, self.part(value, names, facts), names)
                case ast.AugAssign(target=ast.Name(id=name)) if isinstance(names.get(name), list):
                    raise self.refusal(statement, "a list that changes")
                case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                    load = ast.copy_location(ast.Name(id=name, ctx=ast.Load()), statement)
                    operation = ast.copy_location(ast.BinOp(left=load, op=op, right=value), statement)
                    names[name] = self.part(operation, names, facts)
                case ast.Pass() | ast.Expr(value=ast.Constant()):
                    continue
                case ast.For(target=target, iter=over, orelse=[]) if not _leaves_loop(statement):
                    values = self.value(over, names, facts)
                    if not isinstance(values, tuple | list | range):
                        raise self.refusal(statement, "a loop over a value")
                    unrolled: list[ast.stmt] = []
                    for number, value in enumerate(values):
                        hidden = f"<{number} of {statement.lineno}>"
                        names[hidden] = value
                        load = ast.copy_location(ast.Name(id=hidden, ctx=ast.Load()), statement)
                        unrolled += [
                            ast.copy_location(ast.Assign(targets=[target], value=load), statement),
                            *statement.body,
                        ]
                    return self.block([*unrolled, *rest], names, facts)
                case _:
                    kind = type(statement).__name__.lower().removesuffix("def")
                    raise self.refusal(statement, f"the statement `{kind}`")
        return _ON

    def assign(self, target: ast.expr, value: Any, names: Names) -> None:
        if isinstance(target, ast.Name):
            names[target.id] = value
            return
        elements = target.elts if isinstance(target, ast.Tuple) and isinstance(value, tuple | list) else []
        if elements and len(elements) == len(value) and not any(isinstance(e, ast.Starred) for e in elements):
            for element, part in zip(elements, value, strict=True):
                self.assign(element, part, names)
            return
        raise self.refusal(target, "an assignment to what is no variable")

    # --- expressions ------------------------------------------------------------------------------

    def part(self, node: ast.expr, names: Names, facts: frozenset[str]) -> Any:
        """The value of a variable, field or element: Unknown if it has no SQL."""
        try:
            if isinstance(node, ast.Tuple) and not any(isinstance(e, ast.Starred) for e in node.elts):
                return tuple(self.part(e, names, facts) for e in node.elts)
            return self.value(node, names, facts)
        except NotTraceable as reason:
            return Unknown(reason)

    def value(self, node: ast.expr, names: Names, facts: frozenset[str]) -> Any:
        """The value of an expression; raises NotTraceable, with its place."""
        self.steps.left -= 1
        if self.steps.left < 0:
            raise self.refusal(node, "so many ways through it")
        try:
            found = self._value(node, names, facts)
        except NotTraceable as reason:
            if reason.place is None:
                reason.place = self.source.place(node)
            raise
        except NoSource as reason:
            raise self.refusal(node, f"a call that cannot be read ({reason})") from None
        if isinstance(found, Unknown):
            raise found.reason
        if is_scalar(found) and found.type.nullable and found.expression.sql() in facts:
            return not_null(found)
        if type(found) is Maybe:
            present = found.present.expression.sql()
            return found.row if present in facts else found.absent if f"not {present}" in facts else found
        return found

    def _value(self, node: ast.expr, names: Names, facts: frozenset[str]) -> Any:
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return self.name(node, name, names)
            case ast.Attribute(value=of, attr=name):
                return self.attribute(node, self.value(of, names, facts), name, facts)
            case ast.Tuple(elts=elements) | ast.List(elts=elements) | ast.Set(elts=elements):
                values = [v for e in elements for v in self.element(e, names, facts)]
                if isinstance(node, ast.Tuple):
                    return tuple(values)
                if isinstance(node, ast.Set):
                    if any(map(is_symbolic, values)):
                        raise self.refusal(node, "a set of values, of which some may be equal")
                    return frozenset(values)
                return values
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                a, b = self.value(left, names, facts), self.value(right, names, facts)
                return self.operation(node, _OPERATORS[type(op)], a, b)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return invert(self.condition(operand, names, facts))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                value = self.value(operand, names, facts)
                return negative(value) if is_scalar(value) else -value
            case ast.BoolOp():
                return self.boolean(node, node.values, names, facts)
            case ast.Compare():
                return self.comparison(node, names, facts)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                asked = self.condition(test, names, facts)
                if not is_scalar(asked):
                    known = facts | self.known(test, asked, names, facts)
                    return self.value(body if asked else orelse, names, known)
                a = self.value(body, names, facts | self.known(test, True, names, facts))
                b = self.value(orelse, names, facts | self.known(test, False, names, facts))
                return merged(asked, a, b)
            case ast.JoinedStr(values=parts):
                result: Any = ""
                for part in parts:
                    result = concatenated(result, self.formatted(part, names, facts))
                return result
            case ast.Subscript(value=of, slice=index):
                return self.subscript(node, self.value(of, names, facts), index, names, facts)
            case ast.Call():
                return self.call(node, names, facts)
            case ast.NamedExpr(target=ast.Name(id=name), value=value):
                if not sets_once(
                    self.source, name
                ):  # it is read more than once here, in whatever way it goes
                    raise self.refusal(node, f"the variable {name}, which is set in several places")
                names[name] = self.value(value, names, facts)
                return names[name]
        words = {"ListComp": "a comprehension", "SetComp": "a comprehension", "DictComp": "a comprehension",
                 "GeneratorExp": "a comprehension", "Lambda": "a lambda", "Dict": "a dict"}  # fmt: skip
        raise self.refusal(node, words.get(type(node).__name__, f"the expression {type(node).__name__}"))

    def element(self, node: ast.expr, names: Names, facts: frozenset[str]) -> Iterator[Any]:
        if not isinstance(node, ast.Starred):
            yield self.value(node, names, facts)
            return
        values = self.value(node.value, names, facts)
        if not isinstance(values, tuple | list):
            raise self.refusal(node, "a * before what is no tuple or list")
        yield from values

    def name(self, node: ast.expr, name: str, names: Names) -> Any:
        if name in names:
            return names[name]
        if name not in self.source.names:
            raise self.refusal(node, f"the name {name}, which is not bound here")
        value = self.source.names[name]
        check_global(self.source, node, name, value)
        return value

    def operation(self, node: ast.expr, symbol: str, a: Any, b: Any) -> Any:
        if is_scalar(a) or is_scalar(b):
            return arithmetic(symbol, a, b)
        if is_symbolic(a) or is_symbolic(b):
            if symbol == "+" and type(a) is type(b) and isinstance(a, tuple | list):
                return a + b
            raise self.refusal(node, f"the operator {symbol} on {type(a).__name__}")
        return self.python(node, PYTHON[symbol], a, b)

    def python(self, node: ast.expr, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
        """What Python itself makes of constants."""
        try:
            return function(*args, **named)
        except NotTraceable:
            raise
        except Exception as error:
            raise self.refusal(node, f"what always fails ({error})") from None

    def condition(self, node: ast.expr, names: Names, facts: frozenset[str]) -> Any:
        """The truth of an expression: a bool or a stand-in for one."""
        match node:
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return invert(self.condition(operand, names, facts))
            case ast.BoolOp(op=op, values=values):
                conjunction = isinstance(op, ast.And)
                first = self.condition(values[0], names, facts)
                if not is_scalar(first) and bool(first) is not conjunction:
                    return first
                if len(values) == 1:
                    return first
                known = facts | self.known(values[0], conjunction, names, facts)
                others = ast.copy_location(ast.BoolOp(op=op, values=values[1:]), values[1])
                rest = self.condition(others, names, known)
                return both(first, rest) if conjunction else either(first, rest)
        value = self.value(node, names, facts)
        if type(value) is Maybe:
            self.truth_of_row(node, value.row)
            return value.present if value.absent is None else True
        if is_rows(value):
            return self.truth_of_row(node, value)
        return truth(value)

    def truth_of_row(self, node: ast.expr, value: Any) -> bool:
        if any(hasattr(type(value), name) for name in ("__bool__", "__len__")):
            raise self.refusal(node, f"the truth of a {type(value).__name__}")
        return True

    def boolean(self, node: ast.BoolOp, values: list[ast.expr], names: Names, facts: frozenset[str]) -> Any:
        """`a and b`, `a or b`: one of the values."""
        conjunction = isinstance(node.op, ast.And)
        first = self.value(values[0], names, facts)
        if len(values) == 1:
            return first
        test = self.condition(values[0], names, facts)
        if not is_scalar(test) and bool(test) is not conjunction:
            return first
        known = facts | self.known(values[0], conjunction, names, facts)
        rest = self.boolean(node, values[1:], names, known)
        if not is_scalar(test):
            return rest
        if is_scalar(first) and first.type.python is bool and not first.type.nullable and is_bool(rest):
            return both(first, rest) if conjunction else either(first, rest)
        if is_scalar(first) and not conjunction and first.type.nullable:
            first = not_null(first)  # it is chosen where it is true
        return merged(test, rest, first) if conjunction else merged(test, first, rest)

    def comparison(self, node: ast.Compare, names: Names, facts: frozenset[str]) -> Any:
        pairs = zip(node.ops, node.comparators, strict=True)
        values = [self.value(node.left, names, facts)]
        values += [self.compared_with(op, n, names, facts) for op, n in pairs]
        result: Any = True
        for a, op, b in zip(values, node.ops, values[1:], strict=False):
            result = both(result, self.compared(node, a, op, b))
        return result

    def compared_with(self, op: ast.cmpop, node: ast.expr, names: Names, facts: frozenset[str]) -> Any:
        """What stands right of a comparison; whether a value is in a set is no matter of equal elements."""
        if isinstance(op, ast.In | ast.NotIn) and isinstance(node, ast.Set):
            node = ast.copy_location(ast.Tuple(elts=node.elts, ctx=ast.Load()), node)
            values = self.value(node, names, facts)
            return values if is_symbolic(values) else frozenset(values)
        return self.value(node, names, facts)

    def compared(self, node: ast.expr, a: Any, op: ast.cmpop, b: Any) -> Any:
        match op:
            case ast.Is() | ast.IsNot():
                if a is not None and b is not None:
                    if not is_symbolic(a) and not is_symbolic(b):
                        return (a is b) is isinstance(op, ast.Is)
                    if are_of_one_enum(a, b):
                        return compare("==" if isinstance(op, ast.Is) else "!=", a, b)
                    raise self.refusal(node, "the test `is` of what is not None")
                tested = a if b is None else b
                if type(tested) is Maybe:
                    return presence(tested, type(tested.absent) is not type(None), isinstance(op, ast.IsNot))
                return is_none(tested, isinstance(op, ast.Is))
            case ast.In() | ast.NotIn():
                if is_symbolic(a) or is_symbolic(b):
                    found = contains(b, a)
                    return found if isinstance(op, ast.In) else invert(found)
                return self.python(node, lambda x, y: (x in y) is isinstance(op, ast.In), a, b)
        symbol = _OPERATORS[type(op)]
        if isinstance(a, tuple) and isinstance(b, tuple) and (is_symbolic(a) or is_symbolic(b)):
            if symbol not in ("==", "!=") or len(a) != len(b):
                raise self.refusal(node, "an order of tuples")
            equal: Any = True
            for x, y in zip(a, b, strict=True):
                same_ = self.compared(node, x, ast.Eq(), y) if isinstance(x, tuple) else same(x, y)
                equal = both(equal, same_)
            return equal if symbol == "==" else invert(equal)
        if is_scalar(a) or is_scalar(b):
            if is_rows(a) or is_rows(b):
                raise self.refusal(node, "a comparison of a row and a value")
            return compare(symbol, a, b)
        if is_symbolic(a) or is_symbolic(b):
            raise self.refusal(node, "a comparison of rows")
        return self.python(node, PYTHON[symbol], a, b)

    def formatted(self, part: ast.expr, names: Names, facts: frozenset[str]) -> Any:
        if isinstance(part, ast.Constant):
            return part.value
        assert isinstance(part, ast.FormattedValue)
        spec = self.value(part.format_spec, names, facts) if part.format_spec is not None else ""
        value = self.value(part.value, names, facts)
        if (
            part.conversion not in (-1, 115)
            or type(spec) is not str
            or (is_symbolic(value) and not is_scalar(value))
            or (not is_scalar(value) and (has_set(value) or has_address(value)))
            or (isinstance(value, date | time) and spec)  # a format of the locale
        ):
            raise self.refusal(part, "text made of a value")
        return text_of(value, spec)

    def subscript(
        self, node: ast.Subscript, of: Any, index: ast.expr, names: Names, facts: frozenset[str]
    ) -> Any:
        if isinstance(index, ast.Slice):
            if index.step is not None:
                raise self.refusal(node, "a slice with a step")
            bounds = [None if b is None else self.value(b, names, facts) for b in (index.lower, index.upper)]
            if is_scalar(of):
                return part_of(of, *bounds)
            return self.python(node, lambda v: v[bounds[0] : bounds[1]], of)
        key = self.value(index, names, facts)
        if isinstance(of, Pieces):
            return of.piece(key)
        if isinstance(of, type) or (not is_scalar(of) and not is_scalar(key)):
            return self.python(node, lambda v: v[key], of)
        raise self.refusal(node, "a look into a value")

    # --- attributes and calls ---------------------------------------------------------------------

    def attribute(self, node: ast.expr, of: Any, name: str, facts: frozenset[str]) -> Any:
        if is_scalar(of):
            return attribute(of, name)
        if type(of) is Maybe:
            raise self.refusal(node, f"the attribute .{name} of a row that may be {of.absent}")
        if is_rows(of) and not isinstance(of, tuple):
            there = inspect.getattr_static(type(of), name, None)
            if isinstance(there, property) and there.fget is not None:
                return _call(there.fget, (of,), {}, self.steps, facts)
            if name not in vars(of) and not isinstance(
                there, types.FunctionType | classmethod | staticmethod
            ):
                if there is None:
                    told = f"{type(of).__name__!r} object has no attribute {name!r}"
                    raise AttributeError(f"{told}, in {self.source.name} at {self.source.place(node)}")
                raise self.refusal(node, f"the attribute .{name} of a {type(of).__name__}")
            return getattr(of, name)
        if isinstance(of, Pieces | Method):
            raise self.refusal(node, f"the attribute .{name} of what a method gives")
        if isinstance(of, types.ModuleType) and forbidden(f"{of.__name__}.{name}") is not None:
            raise self.refusal(node, f"{of.__name__}.{name}")
        return getattr(of, name)

    def call(self, node: ast.Call, names: Names, facts: frozenset[str]) -> Any:
        function = self.value(node.func, names, facts)
        constructs = isinstance(function, type) and (issubclass(function, Data) or function is Pair)
        of_part = self.part if constructs else self.value
        args = tuple(
            v for a in node.args for v in ([of_part(a, names, facts)] if not isinstance(a, ast.Starred)
                                           else self.element(a, names, facts))
        )  # fmt: skip
        named: dict[str, Any] = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                more = self.value(keyword.value, names, facts)
                if not isinstance(more, dict):
                    raise self.refusal(node, "** before what is no dict")
                named.update(more)
            else:
                named[keyword.arg] = of_part(keyword.value, names, facts)
        return self.result(node, function, args, named, facts)

    def result(
        self,
        node: ast.Call,
        function: Any,
        args: tuple[Any, ...],
        named: dict[str, Any],
        facts: frozenset[str],
    ) -> Any:
        if isinstance(function, NewType) and len(args) == 1 and not named:
            return args[0]
        if isinstance(function, Method):
            try:
                return function.call(args, named)
            except TypeError:
                raise self.refusal(node, f"the method .{function.name}() with these arguments") from None
        if isinstance(function, type) and (issubclass(function, Data) or function is Pair):
            return self.constructed(node, function, args, named)
        if dataclasses.is_dataclass(function):
            raise self.refusal(node, f"a {getattr(function, '__name__', 'row')} that is no Data")
        if function is isinstance and len(args) == 2 and type(args[0]) is Maybe:
            return self.is_instance(node, args[0], args[1])
        symbolic = any(map(is_symbolic, (*args, *named.values())))
        hashable = isinstance(function, type | types.BuiltinFunctionType | types.FunctionType)
        if symbolic and hashable and function in HANDLERS:
            try:
                return HANDLERS[function](*args, **named)
            except TypeError:
                raise self.refusal(node, f"{_name(function)}() with these arguments") from None
        own = getattr(function, "__self__", None)
        if symbolic and type(own) is str and function.__name__ == "join":
            return joined(own, *args)
        pure = (hashable and function in PURE) or isinstance(own, IMMUTABLE)
        if not symbolic and pure and not _is_of_this_process(function, own, args):
            return self.python(node, function, *args, **named)
        inner = bound(function)[0]
        if isinstance(inner, types.FunctionType) and is_users(inner):
            return _call(function, args, named, self.steps, facts)
        raise self.refusal(node, f"a call of {_name(function)}()")

    def is_instance(self, node: ast.Call, value: Maybe, kinds: Any) -> Any:
        """Whether a row that may be missing is there, or is missing."""
        listed = listed_kinds(kinds)
        there, absent = (issubclass(type(v), listed) for v in (value.row, value.absent))
        if there is absent:
            return there
        return value.present if there else invert(value.present)

    def constructed(self, node: ast.Call, row_type: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if hasattr(row_type, "__post_init__"):
            raise self.refusal(node, f"{row_type.__name__}.__post_init__")
        try:
            return row_type(*args, **named)
        except TypeError as error:  # of arguments that it does not take
            raise TypeError(f"{error}, in {self.source.name} at {self.source.place(node)}") from None

    # --- what tests tell --------------------------------------------------------------------------

    def known(self, node: ast.expr, holds: bool, names: Names, facts: frozenset[str]) -> frozenset[str]:
        """The expressions that are not NULL if the test came out so."""
        match node:
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self.known(operand, not holds, names, facts)
            case ast.BoolOp(op=op, values=values) if isinstance(op, ast.And) is holds:
                found: frozenset[str] = frozenset()
                for value in values:
                    found |= self.known(value, holds, names, facts | found)
                return found
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                sides = [self.value(left, names, facts), self.compared_with(op, right, names, facts)]
                negated = isinstance(op, ast.IsNot | ast.NotEq)
                if isinstance(op, ast.Is | ast.Eq) or negated:
                    if sides[1] is None:
                        if type(sides[0]) is Maybe:
                            return (
                                facts_of_presence(sides[0], holds is negated)
                                if sides[0].absent is None
                                else frozenset()
                            )
                        return key_of(sides[0]) if holds is negated else frozenset()
                    certain = not is_scalar(sides[1]) or not sides[1].type.nullable
                    return key_of(sides[0]) if holds is not negated and certain else frozenset()
                if isinstance(op, ast.In) and holds and isinstance(sides[1], tuple | list | frozenset | set):
                    certain = all(not v.type.nullable if is_scalar(v) else v is not None for v in sides[1])
                    return key_of(sides[0]) if certain else frozenset()
                return frozenset()
            case ast.Call(func=ast.Name(id="isinstance"), args=[of, kinds]):
                value, asked = self.value(of, names, facts), self.value(kinds, names, facts)
                if type(value) is not Maybe:
                    of_none = isinstance(None, listed_kinds(asked))
                    return frozenset() if of_none is holds else key_of(value)
                test = self.is_instance(node, value, asked)
                if not is_scalar(test):
                    return frozenset()
                return facts_of_presence(value, (test is value.present) is holds)
            case ast.Name() | ast.Attribute() if type(maybe := self.value(node, names, facts)) is Maybe:
                return facts_of_presence(maybe, holds) if maybe.absent is None else frozenset()
            case ast.Name() | ast.Attribute() | ast.NamedExpr() if holds:
                named = names.get(node.target.id) if isinstance(node, ast.NamedExpr) else None
                return key_of(named if named is not None else self.value(node, names, facts))
        return frozenset()

    def refusal(self, node: ast.AST, construct: str) -> NotTraceable:
        refused = NotTraceable(construct)
        refused.place = self.source.place(node)
        return refused


def _is_of_this_process(function: Any, own: Any, args: tuple[Any, ...]) -> bool:
    """Whether a call with constants may give another value elsewhere."""
    if isinstance(own, datetime) and own.tzinfo is None and function.__name__ in ("timestamp", "astimezone"):
        return True  # of the local time zone
    if isinstance(own, date | time) and function.__name__ == "strftime":
        return True  # of the locale
    texts = function in (str, repr) or isinstance(own, str)
    return any(has_set(a) or isinstance(a, set | frozenset) or (texts and has_address(a)) for a in args)


def _name(function: Any) -> str:
    name = getattr(function, "__qualname__", None) or getattr(function, "__name__", None) or repr(function)
    module = getattr(function, "__module__", None)
    return (
        f"{module}.{name}"
        if module not in (None, "builtins", "__main__") and not is_users(function)
        else str(name)
    )


def _returns(body: list[ast.stmt]) -> bool:
    return any(isinstance(n, ast.Return) for s in body for n in ast.walk(s))


def _leaves_loop(loop: ast.For) -> bool:
    return any(isinstance(n, ast.Break | ast.Continue) for n in ast.walk(loop))


__all__ = ["Unknown", "interpret", "lift", "merged"]
