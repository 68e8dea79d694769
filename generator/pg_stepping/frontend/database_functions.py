"""Functions of the database that queries call: made with the view, dropped with the last that calls them.

A function's name ends in a hash of all that it does, so that a name means one thing for ever, and a view
whose function changes is another view.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlglot.errors import TokenError
from sqlglot.tokenizer_core import TokenType

from pg_stepping.errors import UnsupportedQuery, UnsupportedServer
from pg_stepping.frontend.dialect import is_placeholder, quote_lines, quote_name, quote_text, tokens
from pg_stepping.frontend.postgres import Connection, execute, run_script, savepoint
from pg_stepping.ir.folds import Fold

_CALL = re.compile(r'\bstepping\s*\.\s*"?([A-Za-z_][A-Za-z0-9_]*)"?')
_HASHED = re.compile(r"\bstepping\.\"?(\w+_[0-9a-f]{12})\b")


@dataclass(frozen=True, slots=True)
class Shipped:
    """A PL/Python function in schema stepping.

    `arguments` are names and SQL types; `returns` is what stands after RETURNS; `says` tells what it is of
    and why it is Python; `requires` are packages that the server's Python must have; `after` is SQL that
    follows, for what is more than one function, and `called` the name that queries call then; `fold` is how
    an aggregate is kept that has an inverse. In `sql` the body is one expression. `defaults` are those of
    the last arguments.
    """

    name: str
    arguments: tuple[tuple[str, str], ...]
    returns: str
    body: str
    says: str
    place: str
    requires: tuple[str, ...] = ()
    strict: bool = False
    after: str = ""
    called: str = ""
    fold: Fold | None = None
    defaults: tuple[str, ...] = ()
    language: str = "plpython3u"

    @property
    def signature(self) -> str:
        return f"stepping.{quote_name(self.name)}({', '.join(kind for _, kind in self.arguments)})"

    @property
    def sql(self) -> str:
        """The statements that make it, whether or not it is there."""
        without = len(self.arguments) - len(self.defaults)
        ends = [""] * without + [f" DEFAULT {default}" for default in self.defaults]
        given = zip(self.arguments, ends, strict=True)
        listed = ", ".join(f"{quote_name(name)} {kind}{end}" for (name, kind), end in given)
        if self.language == "sql":
            return (
                f"CREATE OR REPLACE FUNCTION stepping.{quote_name(self.name)}({listed})"
                f" RETURNS {self.returns}\nLANGUAGE sql IMMUTABLE PARALLEL SAFE\nRETURN {self.body};\n"
                f"COMMENT ON FUNCTION {self.signature} IS {quote_text(self.says)};"
            )
        how = [
            "IMMUTABLE",
            "PARALLEL SAFE",
            "COST 1000",
            *(["STRICT"] if self.strict else []),
            *self._settings,
        ]
        return (
            f"{self._check}CREATE OR REPLACE FUNCTION stepping.{quote_name(self.name)}({listed})"
            f" RETURNS {self.returns}\n"
            f"LANGUAGE plpython3u {' '.join(how)}\n"
            f"AS {_quoted(self.body, 'python')};\n"
            f"COMMENT ON FUNCTION {self.signature} IS {quote_text(self.says)};{self.after}"
        )

    @property
    def _settings(self) -> list[str]:
        """How Postgres prints the arguments that PL/Python hands over as text."""
        kinds = " ".join([*(kind for _, kind in self.arguments), self.returns])
        found = []
        if "date" in kinds or "timestamp" in kinds:
            found.append("SET DateStyle = 'ISO, YMD'")
        if "with time zone" in kinds:
            found.append("SET TimeZone = 'UTC'")
        if "interval" in kinds:
            found.append("SET IntervalStyle = 'postgres'")
        return found

    @property
    def _check(self) -> str:
        """Whether the server's Python has what the function imports."""
        if not self.requires:
            return ""
        lines = [
            "import importlib.util",
            f"for name in {list(self.requires)!r}:",
            "    if importlib.util.find_spec(name) is None:",
            "        plpy.error(",
            f"            'the Python of the server lacks the package ' + name + ', for {self.place}',",
            "            hint='install it for the Python that PL/Python runs on, or do without it',",
            "            sqlstate='0A000',",
            "        )",
        ]
        return f"DO LANGUAGE plpython3u {_quoted(chr(10).join(lines), 'check')};\n"


def _quoted(text: str, tag: str) -> str:
    text = f"\n{text}\n"
    if is_placeholder(text):
        return quote_lines(text)
    while f"${tag}$" in text:
        tag += "_"
    return f"${tag}${text}${tag}$"


IN_ORDER = "ordered_"  # begins the name of a fold that takes values in the order of the call's ORDER BY
REGISTRY: dict[str, Shipped] = {}
# What `@function` declares: the Python object, and how it is made; the last of each place in the source.
DECLARED: dict[str, dict[str, tuple[Any, Callable[[], Shipped]]]] = {}


def register(function: Shipped) -> Shipped:
    """Make it known to all queries of this process that call it by its name."""
    return REGISTRY.setdefault(function.called or function.name, function)


def declare(declared: Any, shipped: Callable[[], Shipped]) -> None:
    """Let queries call a Python function, or a fold, by its name."""
    place = f"{declared.__module__}.{declared.__qualname__}"
    name = declared.__name__.lower()
    DECLARED[name] = {**DECLARED.get(name, {}), place: (declared, shipped)}


def fold_of(name: str) -> Fold | None:
    """How an aggregate, `stepping.name`, is kept by its inverse; None if it is not."""
    shipped = REGISTRY.get(name.removeprefix("stepping."))
    return shipped.fold if shipped is not None else None


def is_fold(name: str) -> bool:
    """Whether an aggregate, `stepping.name`, is a fold, which takes values in ascending order."""
    shipped = _aggregate(name)
    return shipped is not None and bool(shipped.called)


def _aggregate(name: str) -> Shipped | None:
    plain = name.removeprefix("stepping.")
    return REGISTRY.get(plain) or REGISTRY.get(plain.removeprefix(IN_ORDER))


def over_no_rows(name: str) -> str | None:
    """What an aggregate, `stepping.name`, is over no rows, as SQL; None for what is no fold."""
    shipped = _aggregate(name)
    return f"stepping.{quote_name(shipped.name)}('{{}}')" if shipped is not None and shipped.called else None


def with_declared(conn: Connection, query: str) -> str:
    """The query with the names of declared functions, where they are called, as those that they have.

    Raises UnsupportedQuery for a name that means several things where the query comes from.
    """
    try:
        there = tokens(query) if DECLARED else []
    except TokenError:  # a quote is left open, say: Postgres will tell
        return query
    calls = []
    for before, token, after in zip([None, *there], there, there[1:], strict=False):
        name = token.text if token.token_type == TokenType.IDENTIFIER else token.text.lower()
        dotted = before is not None and before.token_type == TokenType.DOT
        if name in DECLARED and after.token_type == TokenType.L_PAREN and not dotted:
            calls.append((name, token))
    known = _known(conn, {name for name, _ in calls})
    parts, end = [], 0
    for name, token in calls:
        if name in known:
            shipped = register(known[name]())
            parts += [query[end : token.start], f"stepping.{shipped.called or shipped.name}"]
            end = token.end + 1
    return "".join([*parts, query[end:]])


def _known(conn: Connection, names: set[str]) -> dict[str, Callable[[], Shipped]]:
    """Which declared function each name is: the one that the callers' frames have by it, else the only one.

    A name that is in no such frame is left to the database, if that has it.
    """
    if not names:
        return {}
    rows = execute(
        conn,
        "SELECT DISTINCT proname FROM pg_proc WHERE proname = ANY (%s) AND pg_function_is_visible(oid)",
        [list(names)],
    ).fetchall()
    in_database = {name for (name,) in rows}
    known = {}
    for name in sorted(names):
        declared = DECLARED[name]
        found = _in_scope(declared)
        if found is not None and name in in_database:
            raise UnsupportedQuery(
                f"{name}(), which is a function of the database and one that is declared in Python ({found})",
                hint="give the Python function another name, or call the other with its schema before it",
            )
        if found is None and name not in in_database:
            if len(declared) > 1:
                raise UnsupportedQuery(
                    f"{name}(), which several modules declare: {', '.join(declared)}",
                    hint="give them different names, or import the one that is meant where the view is made",
                )
            [found] = declared
        if found is not None:
            known[name] = declared[found][1]
    return known


def _in_scope(declared: Mapping[str, tuple[Any, Callable[[], Shipped]]]) -> str | None:
    """The first of these that a caller's function or module has by its own name."""
    frame = sys._getframe(1)
    while frame is not None:
        for names in (frame.f_locals, frame.f_globals):
            for place, (one, _) in declared.items():
                if names.get(one.__name__) is one:
                    return place
        frame = frame.f_back  # type: ignore[assignment]
    return None


def called_in(query: str) -> tuple[Shipped, ...]:
    """The functions that a query's text calls, by name."""
    found = {name for name in _CALL.findall(query) if name in REGISTRY}
    return tuple(REGISTRY[name] for name in sorted(found))


def shipped_names(text: str) -> list[str]:
    """The functions made with views, by their hashed names, that a text calls."""
    return sorted(set(_HASHED.findall(text)))


def calls_catalog(query: str) -> bool:
    """Whether the query calls functions in schema stepping."""
    return _CALL.search(query) is not None


@contextmanager
def there_meanwhile(conn: Connection, query: str, catalog: str) -> Iterator[tuple[Shipped, ...]]:
    """Within this block the database has the functions that the query calls, and nothing of them after it.

    Gives those that are shipped; `catalog` makes the others. Raises UnsupportedServer if the database has no
    PL/Python for one.
    """
    if not calls_catalog(query):
        yield ()
        return
    functions = called_in(query)
    _check_language(conn, functions)
    with savepoint(conn, undo=True):
        execute(conn, "SET LOCAL client_min_messages = warning")
        run_script(conn, "\n".join([catalog, *(f.sql for f in functions)]))
        yield functions


def _check_language(conn: Connection, functions: tuple[Shipped, ...]) -> None:
    functions = tuple(f for f in functions if f.language != "sql")
    if not functions:
        return
    there = execute(conn, "SELECT FROM pg_language WHERE lanname = 'plpython3u'").fetchone()
    if there is None:
        first = functions[0]
        raise UnsupportedServer(
            f"{first.place} must run as Python in the database, which does not have plpython3u: {first.says}",
            hint="as a superuser: CREATE EXTENSION plpython3u; or write the function so that it becomes SQL",
        )
