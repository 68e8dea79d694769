"""A PL/Python function from a program and the lines that call it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from pg_stepping.errors import UnsupportedQuery
from pg_stepping.frontend.database_functions import Shipped
from pg_stepping.frontend.python.functions.program import Program, identifier
from pg_stepping.frontend.python.functions.ship import in_file, routine_body
from pg_stepping.frontend.python.functions.source import NoSource, source_of
from pg_stepping.frontend.python.types import FieldType


def declared_source(declared: Any) -> Any:
    try:
        return source_of(declared)
    except NoSource as reason:
        raise UnsupportedQuery(f"a function of which {reason}", hint="write it in a file") from None


def digest_name(name: str, *told: Any) -> str:
    return f"{identifier(name).lower()[:40]}_{hashlib.sha256(repr(told).encode()).hexdigest()[:12]}"


def parameter(name: str) -> str:
    return f"{name}_"


def routine(
    source: Any,
    program: Program,
    arguments: Mapping[str, FieldType],
    lines: list[str],
    returns: str,
    why: str = "it has no SQL of the same meaning",
) -> Shipped:
    required = [parameter(n) for n, k in arguments.items() if not k.nullable]
    strict = len(required) == len(arguments) and bool(required)
    if required and not strict:
        none = "[]" if returns.startswith(("SETOF", "TABLE")) else "None"
        lines = [f"if {' or '.join(f'{n} is None' for n in required)}:", f"    return {none}", *lines]
    listed = ", ".join(parameter(n) for n in arguments)
    body = routine_body(f"{source.name} of {in_file(source.place())}", program.text, listed, lines)
    typed = tuple((parameter(n), k.sql) for n, k in arguments.items())
    name = digest_name(source.name, body.partition("\n")[2], typed, returns)
    says = f"pg_stepping: {source.name} runs as Python, since {why}"
    requires = tuple(sorted(program.requires))
    return Shipped(name, typed, returns, body, says, in_file(source.place()), requires, strict)
