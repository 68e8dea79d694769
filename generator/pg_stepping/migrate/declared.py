"""Views declared in code: `[tool.pg_stepping]` in pyproject.toml.

[tool.pg_stepping]
output = "migrations"                  # the folder of the migrations, from the file's own
format = "dbmate"
imports = ["app.functions"]            # modules that declare Python functions (@st.function)

[tool.pg_stepping.views.daily_usage]
query = "views/daily_usage.sql"        # a file, or "module:name" of a query in Python
indexes = [["date"]]
"""

from __future__ import annotations

import hashlib
import importlib
import re
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType
from typing import Any

from pg_stepping.compiler import MODES
from pg_stepping.errors import InvalidDeclaration
from pg_stepping.frontend.python import Graph, compile
from pg_stepping.frontend.python.graph import Kept, table_of
from pg_stepping.frontend.python.render import select
from pg_stepping.ir import Table

FILE = "pyproject.toml"
_PYTHON = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*\Z")
_STRINGS = "a list of strings"
_GENERAL = {"schema": "a string", "language": "a string", "mode": "a string", "output": "a string",
            "format": "a string", "app": "a string", "ignore": _STRINGS, "imports": _STRINGS,
            "views": "a table"}  # fmt: skip
_OF_A_VIEW = {"query": "a string", "schema": "a string", "language": "a string", "mode": "a string",
              "app": "a string", "stripes": "a number", "indexes": "a list of lists of columns",
              "tables": "a table"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class View:
    """A view that should be there.

    `query` is a SELECT. What is None is left to pg_stepping: the schema to search_path, the language to what
    the database has and the role may use, the mode to "immediate". `app` is the Django app that has its
    migrations. `stripes`: over how many rows each group is spread.
    """

    name: str
    query: str
    schema: str | None = None
    language: str | None = None
    mode: str | None = None
    indexes: tuple[tuple[str, ...], ...] = ()
    app: str | None = None
    stripes: int = 0

    @property
    def digest(self) -> str:
        """A hash of all that the view is declared as."""
        told: tuple[object, ...] = (
            self.schema,
            self.name,
            self.query,
            self.language,
            self.mode,
            self.indexes,
        )
        told += (self.stripes,) if self.stripes else ()
        return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Declaration:
    """All views that are declared in a file; `folder` is that of the file, `output` that of the migrations.

    `ignore` has patterns for names (schema.name) of maintained views that are not declared and not to be
    dropped.
    """

    views: tuple[View, ...] = ()
    folder: Path = Path()
    output: Path | None = None
    format: str | None = None
    ignore: tuple[str, ...] = ()
    app: str | None = None

    def ignores(self, view: Table) -> bool:
        """Whether a view that is not declared is left alone."""
        return any(fnmatchcase(str(view), pattern) for pattern in self.ignore)


def find_file(start: Path | None = None) -> Path:
    """The nearest pyproject.toml with a table [tool.pg_stepping], in a folder or above it."""
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        file = folder / FILE
        if file.is_file() and "pg_stepping" in _loaded(file).get("tool", {}):
            return file
    raise InvalidDeclaration(
        f"there is no {FILE} with a table [tool.pg_stepping] in {start}, or in a folder above it",
        hint="declare views there, or give the file's name",
    )


def read_declaration(file: Path | None = None) -> Declaration:
    """The views that a file declares; raises InvalidDeclaration, which names the key.

    Without `file`, the nearest pyproject.toml with a table [tool.pg_stepping]. Modules of queries in Python
    are found beside the file, and wherever Python finds any.
    """
    file = find_file() if file is None else file
    told = _loaded(file).get("tool", {}).get("pg_stepping")
    if told is None:
        raise InvalidDeclaration(f"{file} has no table [tool.pg_stepping]", hint="declare views there")
    general = _checked(told, "tool.pg_stepping", _GENERAL)
    _import(general.get("imports", ()), file.parent, "tool.pg_stepping.imports")
    views = []
    for name, given in general.get("views", {}).items():
        where = f"tool.pg_stepping.views.{_key(name)}"
        if not isinstance(given, dict):
            raise InvalidDeclaration(f"{where} is no table", hint='give it a query = "file.sql"')
        own = _checked(given, where, _OF_A_VIEW)
        defaults = {k: general[k] for k in ("schema", "language", "mode", "app") if k in general}
        views.append(_view(name, defaults | own, where, file.parent))
    output = general.get("output")
    return Declaration(
        views=tuple(views),
        folder=file.parent,
        output=file.parent / output if output is not None else None,
        format=general.get("format"),
        ignore=tuple(general.get("ignore", ())),
        app=general.get("app"),
    )


def _loaded(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidDeclaration(f"cannot read {file}: {error.strerror}", hint="give another file") from error
    except ValueError as error:
        raise InvalidDeclaration(f"{file} is no TOML: {error}", hint="correct it") from error


def _key(name: str) -> str:
    return name if re.match(r"[\w-]+\Z", name) else f'"{name}"'


def _checked(told: Any, where: str, known: Mapping[str, str]) -> dict[str, Any]:
    fits: dict[str, Callable[[Any], bool]] = {
        "a string": lambda v: isinstance(v, str),
        "a number": lambda v: isinstance(v, int) and not isinstance(v, bool),
        "a table": lambda v: isinstance(v, dict),
        _STRINGS: lambda v: isinstance(v, list) and all(isinstance(s, str) for s in v),
        "a list of lists of columns": lambda v: (
            isinstance(v, list) and all(isinstance(i, str) or fits[_STRINGS](i) for i in v)
        ),
    }
    if not isinstance(told, dict):
        raise InvalidDeclaration(f"{where} is no table", hint=f"its keys are {', '.join(known)}")
    for key, value in told.items():
        if key not in known:
            raise InvalidDeclaration(f"{where} has no key {key!r}", hint=f"its keys are {', '.join(known)}")
        if not fits[known[key]](value):
            raise InvalidDeclaration(f"{where}.{key} is {value!r}", hint=f"it should be {known[key]}")
    if (mode := told.get("mode")) not in (None, *MODES):
        raise InvalidDeclaration(f"{where}.mode is {mode!r}", hint=f"one of {', '.join(MODES)}")
    return told


def _view(name: str, given: Mapping[str, Any], where: str, folder: Path) -> View:
    query = given.get("query")
    if query is None:
        hint = 'a file, as in query = "views/usage.sql", or query = "module:name" of Python'
        raise InvalidDeclaration(f"{where} has no query", hint=hint)
    indexes = tuple((i,) if isinstance(i, str) else tuple(i) for i in given.get("indexes", ()))
    view = View(
        name,
        "",
        given.get("schema"),
        given.get("language"),
        given.get("mode"),
        indexes,
        given.get("app"),
        given.get("stripes", 0),
    )
    tables = given.get("tables")
    if _PYTHON.match(query) and not (folder / query).exists():
        return _of_python(view, query, tables, where, folder)
    if tables is not None:
        raise InvalidDeclaration(f"{where}.tables is for a query in Python", hint="leave it out")
    try:
        return replace(view, query=(folder / query).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        hint = 'it is from the folder of this file; a query in Python is "module:name"'
        raise InvalidDeclaration(f"{where}.query: cannot read {folder / query}: {why}", hint=hint) from error


def import_modules(modules: Sequence[str]) -> None:
    """Import modules that declare Python functions: those of the nearest pyproject.toml, if there is one, and
    these. Raises InvalidDeclaration for one that cannot be imported."""
    file = None
    with suppress(InvalidDeclaration):
        file = find_file()
    if file is not None:
        told = _loaded(file)["tool"]["pg_stepping"].get("imports", ())
        _import(told, file.parent, "tool.pg_stepping.imports")
    _import(modules, Path.cwd(), "--import")


def _import(modules: Sequence[str], folder: Path, where: str) -> None:
    for module in modules:
        _imported(module, folder, where)


def _imported(module: str, folder: Path, where: str) -> ModuleType:
    """A module that is in the folder or installed."""
    sys.path.insert(0, str(folder.resolve()))
    try:
        return importlib.import_module(module)
    except ImportError as error:
        hint = f"the module is to be beside the file or installed; {folder} was searched first"
        raise InvalidDeclaration(f"{where}: {error}", hint=hint) from error
    finally:
        sys.path.remove(str(folder.resolve()))


def _of_python(view: View, query: str, tables: Mapping[str, str] | None, where: str, folder: Path) -> View:
    """The view that the cache of a query function keeps: its only one, or the one of the view's name."""
    module, _, name = query.partition(":")
    try:
        found = getattr(_imported(module, folder, f"{where}.query"), name)
    except AttributeError as error:
        raise InvalidDeclaration(f"{where}.query: {error}", hint='it is "module:name"') from error
    if isinstance(found, str):
        return replace(view, query=found)
    graph: Graph[Any] = found if isinstance(found, Graph) else compile(found, tables)
    kept = _kept(graph, view.name)
    if kept is None:
        names = ", ".join(k.name for k in graph.kept)
        hint = f"name the view as one of them: {names}"
        raise InvalidDeclaration(f"{where}.query keeps several views, and none of this name", hint=hint)
    text = select(kept.operator, lambda source: table_of(source, view.schema))
    return replace(view, query=text, indexes=tuple(dict.fromkeys((*kept.indexed, *view.indexes))))


def _kept(graph: Graph[Any], name: str) -> Kept | None:
    cached = [k for k in graph.kept if k.cache is not None] or graph.kept
    if len(cached) == 1:
        return cached[0]
    return next((k for k in graph.kept if k.name == name), None)
