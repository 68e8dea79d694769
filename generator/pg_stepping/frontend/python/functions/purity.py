"""What a function may not do if its result is to depend on its arguments alone: refused by name and line.

That is what can be seen in its source: the clock, randomness, input and output, globals that change, the
order of sets, hash() and id(). What cannot be seen `verify` finds.
"""

from __future__ import annotations

import ast
import builtins
import linecache
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from pg_stepping.errors import UnsupportedQuery
from pg_stepping.frontend.python.functions.order import check_order
from pg_stepping.frontend.python.functions.origin import origin
from pg_stepping.frontend.python.functions.source import Source, variables_read
from pg_stepping.frontend.python.functions.zones import check_zones

_MODULES = frozenset(
    """
    time random secrets os sys socket ssl subprocess threading multiprocessing asyncio concurrent select
    selectors signal tempfile shutil glob pathlib io logging urllib.request http ftplib smtplib poplib imaplib
    socketserver sqlite3 dbm shelve platform getpass locale gc weakref inspect ctypes mmap resource pwd grp
    fileinput builtins importlib runpy code pdb atexit sched queue numpy.random requests httpx psycopg
    """.split()
)
_ALLOWED = frozenset(
    """
    os.path.basename os.path.dirname os.path.join os.path.split os.path.splitext os.path.normpath os.fspath
    os.sep pathlib.PurePath pathlib.PurePosixPath pathlib.PureWindowsPath io.StringIO io.BytesIO sys.maxsize
    http.HTTPStatus posixpath
    """.split()
)
_NAMES = {
    "datetime.datetime.now": "the clock", "datetime.datetime.utcnow": "the clock",
    "datetime.datetime.today": "the clock", "datetime.date.today": "the clock",
    "datetime.datetime.fromtimestamp": "the server's time zone",
    "datetime.date.fromtimestamp": "the server's time zone",
    "decimal.getcontext": "the state of the process", "decimal.setcontext": "the state of the process",
    "uuid.uuid1": "the clock", "uuid.uuid4": "randomness", "uuid.getnode": "the machine",
}  # fmt: skip
_WORDS = {"time": "the clock", "sched": "the clock", "random": "randomness", "secrets": "randomness",
          "numpy.random": "randomness"}  # fmt: skip
_BUILTINS = {
    "open": "input and output", "print": "input and output", "input": "input and output",
    "exec": "code made at run time", "eval": "code made at run time", "compile": "code made at run time",
    "__import__": "code made at run time", "globals": "globals", "locals": "locals", "vars": "locals",
    "hash": "a hash that differs from process to process", "id": "addresses",
    "breakpoint": "input and output",
}  # fmt: skip
_PLAIN = {"posix": "os", "nt": "os", "_random": "random", "_decimal": "decimal"}
SERVERS = ("plpy", "SD", "GD", "TD")
_CHANGING = frozenset(
    "append extend insert remove pop popitem clear sort reverse add discard update setdefault".split()
)
HINT = (
    "a row function depends on its arguments alone: pass what it needs as a field, or compute it on reading"
)


def _refused(source: Source, node: ast.AST, what: str) -> UnsupportedQuery:
    return UnsupportedQuery(f"{what} in {source.name} at {source.place(node)}", hint=HINT)


def check_global(source: Source, node: ast.AST, name: str, value: Any) -> None:
    """Refuse a global that other code changes: the query would know only what it is now."""
    if isinstance(value, types.ModuleType | types.FunctionType | types.BuiltinFunctionType | type):
        return
    if name in source.function.__globals__ and name in _changed_in(source.function.__code__.co_filename):
        raise _refused(source, node, f"the global {name}, which changes,")


@contextmanager
def unchanging_variables() -> Iterator[None]:
    """Refuse a variable of another function, say one of a loop, that changes after a function has read it.

    Python would look it up each time that the function is called.
    """
    with variables_read() as read:
        yield
    for variable in read:
        if variable.changed:
            code = variable.function.__code__
            raise UnsupportedQuery(
                f"{variable.name}, a variable of another function, which changes after"
                f" {variable.function.__qualname__.rsplit('<locals>.')[-1]} has read it"
                f" at {code.co_filename}:{code.co_firstlineno}",
                hint=f"give it as a default: lambda row, {variable.name}={variable.name}: ...",
            )


@dataclass(frozen=True, slots=True)
class Sets:
    """Where sets come in: the fields of rows that are sets, such parameters of a function, and which fields
    are of ints."""

    fields: frozenset[str] = frozenset()
    parameters: frozenset[str] = frozenset()
    ints: frozenset[str] = frozenset()


NO_SETS = Sets()


def check_pure(source: Source, sets: Sets = NO_SETS) -> None:
    """Refuse, by name and line, what makes the function depend on more than its arguments."""
    zoned = {n.func for n in ast.walk(source.tree) if isinstance(n, ast.Call) and _takes_zone(n)}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Global):
            raise _refused(source, node, f"the global {node.names[0]}, which it sets,")
        if isinstance(node, ast.Nonlocal) and set(node.names) & set(source.function.__code__.co_freevars):
            raise _refused(source, node, f"{node.names[0]}, a variable of another function, which it sets,")
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            raise _refused(source, node, "asynchronous code")
        if isinstance(node, ast.Import | ast.ImportFrom):
            _check_import(source, node)
        if isinstance(node, ast.Name | ast.Attribute) and node not in zoned:
            _check_name(source, node)
        if isinstance(node, ast.Call):
            _check_call(source, node)
        root = None if _is_of_its_own(source, node) else _changed(node)
        if root is not None and root in source.names and root not in _bound(source):
            raise _refused(source, node, f"the global {root}, which it changes,")
        if root is not None and isinstance(_defaults(source).get(root), list | dict | set):
            raise _refused(source, node, f"the default of {root}, which it changes,")
    check_zones(source)
    check_order(source, sets.fields, sets.parameters, sets.ints, _path, _refused)


def _is_of_its_own(source: Source, node: ast.AST) -> bool:
    """Whether a call is of a function of a module, such as operator.add(), or of a class of the user's."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name))):
            value = source.names.get(name)
            users = isinstance(value, type) and origin(value.__module__) == "user"
            return isinstance(value, types.ModuleType) or users
    return False


def _takes_zone(node: ast.Call) -> bool:
    """Whether it is fromtimestamp() with a time zone."""
    given = [*node.args[1:], *(k.value for k in node.keywords if k.arg == "tz")]
    named = isinstance(node.func, ast.Attribute) and node.func.attr == "fromtimestamp"
    return named and any(not (isinstance(g, ast.Constant) and g.value is None) for g in given)


def _check_call(source: Source, node: ast.Call) -> None:
    match node:
        case ast.Call(func=ast.Name(id="getattr"), args=[of, name, *_]):
            value = _value(source, of) if isinstance(of, ast.Name | ast.Attribute) else None
            if isinstance(value, types.ModuleType):
                told = name.value if isinstance(name, ast.Constant) else None
                path = f"{path_of(value)}.{told!s}"
                if not isinstance(told, str) or forbidden(path) is not None:
                    raise _refused(source, node, f"getattr(), which takes {path},")
        case ast.Call(func=ast.Attribute(attr="astimezone"), args=[], keywords=[]):
            raise _refused(source, node, "astimezone() without a time zone (the server's time zone)")
        case ast.Call(func=ast.Attribute(attr="now" | "utcnow" | "today" as name) as method) if (
            _path(source, method) is None
        ):
            raise _refused(source, node, f"{name}() (the clock)")
        case ast.Call(func=ast.Attribute(attr="__hash__" | "__repr__" as name)):
            raise _refused(source, node, f"{name}() (it may differ from process to process)")


@cache
def _defaults(source: Source) -> dict[str, Any]:
    """The defaults of the parameters, made once."""
    code, plain = source.function.__code__, source.function.__defaults__ or ()
    names = code.co_varnames[code.co_argcount - len(plain) : code.co_argcount]
    return {**dict(zip(names, plain, strict=True)), **(source.function.__kwdefaults__ or {})}


def _check_name(source: Source, node: ast.Name | ast.Attribute) -> None:
    if not isinstance(node.ctx, ast.Load):
        return
    path = _path(source, node)
    if path is None:
        if isinstance(node, ast.Name) and node.id in SERVERS and node.id not in _bound(source):
            raise _refused(source, node, f"the name {node.id}, which is PL/Python's own,")
        return
    if path.startswith("builtins."):
        reads = _BUILTINS.get(path.removeprefix("builtins."))
        if reads is not None:
            raise _refused(source, node, f"{path.removeprefix('builtins.')}() ({reads})")
        return
    reason = forbidden(path)
    if reason is not None:
        raise _refused(source, node, f"{path} ({reason})")
    if isinstance(node, ast.Name):
        check_global(source, node, node.id, source.names[node.id])


def forbidden(path: str) -> str | None:
    """Why what has this dotted path is no part of a pure function; None if it may be."""
    if path in _NAMES:
        return _NAMES[path]
    parts = path.split(".")
    prefixes = [".".join(parts[: i + 1]) for i in range(len(parts))]
    if any(p in _ALLOWED for p in prefixes) or path in ("os", "os.path", "pathlib", "io", "http", "sys"):
        return None  # a module by itself: what is taken from it is looked at
    module = next((p for p in prefixes if p in _MODULES), None)
    if module is None or (len(parts) == 1 and parts[0] in ("time", "random")):
        return None
    return _WORDS.get(module, "input and output, or the state of the process")


def _check_import(source: Source, node: ast.Import | ast.ImportFrom) -> None:
    for alias in node.names:
        path = alias.name if isinstance(node, ast.Import) else f"{node.module}.{alias.name}"
        reason = forbidden(path) or (forbidden(f"{path}.x") if isinstance(node, ast.Import) else None)
        if reason is not None:
            raise _refused(source, node, f"the import of {path} ({reason})")


def _path(source: Source, node: ast.expr) -> str | None:
    """The dotted path of a module's content that a name or an attribute stands for."""
    if isinstance(node, ast.Name):
        if node.id not in source.names or node.id in _bound(source):
            return None
        value = source.names[node.id]
        own = getattr(builtins, node.id, None) is value
        return f"builtins.{node.id}" if own else path_of(value)
    if not isinstance(node, ast.Attribute):
        return None
    before = _path(source, node.value)
    if before is None:
        return None
    value = _value(source, node)
    return f"{before}.{node.attr}" if value is None else path_of(value) or f"{before}.{node.attr}"


def _value(source: Source, node: ast.expr) -> Any:
    if isinstance(node, ast.Name):
        return source.names.get(node.id)
    assert isinstance(node, ast.Attribute)
    value = getattr(_value(source, node.value), node.attr, None)
    return value if isinstance(value, types.ModuleType | types.FunctionType | type) else None


def path_of(value: Any) -> str | None:
    """`datetime.datetime` of the class, `time` of the module; None of a value that is no such thing."""
    if isinstance(value, types.ModuleType):
        return {"posixpath": "os.path", "ntpath": "os.path"}.get(value.__name__, value.__name__)
    if isinstance(value, types.BuiltinMethodType) and isinstance(value.__self__, types.ModuleType | type):
        owner = path_of(value.__self__)
        owner = _PLAIN.get(owner or "", owner)
        return f"{owner}.{value.__name__}"
    own = getattr(value, "__self__", None)
    if own is not None and type(own).__module__ in ("random", "_random"):
        return f"random.{getattr(value, '__name__', '')}"
    if isinstance(value, types.FunctionType | types.BuiltinFunctionType | type):
        module = {"posixpath": "os.path", "_io": "io"}.get(value.__module__, value.__module__)
        return f"{module}.{value.__qualname__}"
    return None


# --- what changes ---------------------------------------------------------------------------------


def _changed(node: ast.AST) -> str | None:
    """The name of the variable whose value the node changes: by an item, an attribute or a method."""
    targets: list[ast.expr] = []
    match node:
        case ast.Assign():
            targets = node.targets
        case ast.AugAssign() | ast.AnnAssign():
            targets = [node.target]
        case ast.Delete():
            targets = node.targets
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)) if method in _CHANGING:
            return name
    for target in targets:
        root: ast.expr = target
        while isinstance(root, ast.Subscript | ast.Attribute):
            root = root.value
        if root is not target and isinstance(root, ast.Name):
            return root.id
    return None


@cache
def _changed_in(filename: str) -> frozenset[str]:
    """The globals of a file that its code changes after they are made."""
    try:
        tree = ast.parse("".join(linecache.getlines(filename)))
    except SyntaxError:
        return frozenset()
    found = {n for node in ast.walk(tree) if isinstance(node, ast.Global) for n in node.names}
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            own = {
                n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
            }
            own |= {a.arg for a in ast.walk(function) if isinstance(a, ast.arg)}
            changed = filter(None, map(_changed, ast.walk(function)))
            found |= {name for name in changed if name not in own}
    return frozenset(found)


@cache
def _bound(source: Source) -> frozenset[str]:
    """The names that the function itself binds."""
    names = {
        n.id for n in ast.walk(source.tree) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)
    }
    return frozenset(names | {a.arg for a in ast.walk(source.tree) if isinstance(a, ast.arg)})
