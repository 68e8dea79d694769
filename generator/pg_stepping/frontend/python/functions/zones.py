"""Datetimes without a time zone, which some methods take for times of the process's own zone."""

from __future__ import annotations

import ast
from collections.abc import Collection

from pg_stepping.errors import UnsupportedQuery
from pg_stepping.frontend.python.functions.source import Source

_METHODS = ("timestamp", "astimezone")
_HINT = "say of which zone it is: .replace(tzinfo=...)"
Paths = Collection[tuple[str, ...]]


def check_zones(source: Source, naive: Paths = ()) -> None:
    """Refuse what takes a datetime that is seen to have no time zone for one of the server's.

    `naive` are the paths of such arguments; a parameter that is said to be a datetime is one, too.
    """
    known = set(naive)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.arg) and _says_datetime(node.annotation):
            known.add((node.arg,))
        if isinstance(node, ast.Assign) and _is_naive(node.value, known):
            known |= {(t.id,) for t in node.targets if isinstance(t, ast.Name)}
    for node in ast.walk(source.tree):
        match node:
            case ast.Call(func=ast.Attribute(value=of, attr=name)) if name in _METHODS and _is_naive(
                of, known
            ):
                what = f"{ast.unparse(of)}.{name}() (the server's time zone)"
                raise UnsupportedQuery(f"{what} in {source.name} at {source.place(node)}", hint=_HINT)
        if any("%s" in text.replace("%%", "") for text in _formats(node)):
            what = f"{ast.unparse(node)}: the format %s (the server's time zone)"
            hint = "use .timestamp() of a datetime that has a time zone"
            raise UnsupportedQuery(f"{what} in {source.name} at {source.place(node)}", hint=hint)


def _formats(node: ast.AST) -> list[str]:
    """The constant parts of a datetime's format."""
    match node:
        case ast.Call(func=ast.Attribute(attr="strftime"), args=args):
            parts: list[ast.AST] = list(args)
        case ast.Call(func=ast.Name(id="format"), args=[_, *args]):
            parts = list(args)
        case ast.FormattedValue(format_spec=ast.JoinedStr(values=values)):
            parts = list(values)
        case _:
            return []
    return [p.value for p in parts if isinstance(p, ast.Constant) and isinstance(p.value, str)]


def _says_datetime(annotation: ast.expr | None) -> bool:
    name = ast.unparse(annotation) if annotation is not None else ""
    return name.strip("'").rpartition(".")[2] == "datetime"


def _is_naive(node: ast.expr, known: Paths) -> bool:
    match node:
        case ast.Name() | ast.Attribute():
            return tuple(ast.unparse(node).split(".")) in known
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub(), right=right):
            return _is_naive(left, known) or _is_naive(right, known)
        case ast.Call(func=ast.Attribute(value=of, attr="replace"), keywords=keywords):
            return _is_naive(of, known) and not _says_zone(keywords)
        case ast.Call(func=func, args=args, keywords=keywords):
            made = ast.unparse(func).removeprefix("datetime.")
            most = {"datetime": 7, "combine": 2}.get(made, -1)
            return len(args) <= most and not _says_zone(keywords)
    return False


def _says_zone(keywords: list[ast.keyword]) -> bool:
    return any(k.arg in ("tzinfo", None) for k in keywords)
