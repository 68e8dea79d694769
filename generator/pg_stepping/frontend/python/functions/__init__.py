"""Python functions in queries: each becomes SQL that means the same, or is shipped to the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pg_stepping.frontend.python.tracing import normal, trace


def compile_row_function(function: Callable[..., object], *rows: object, returns: object = None) -> Any:
    """What `function` returns for `rows`: a row whose leaves are SQL over the leaves of the arguments.

    Each argument is a row of stand-ins (see tracing.row_of): Data, Pair, tuple or a single Scalar, and so is
    the result. What cannot be said in SQL becomes calls of a PL/Python function, to the leaf; these are
    expressions like any other. `returns` is the type of the result where the caller knows it (`bool` for a
    filter, the type of `zero` for a sum, a Data class, Pair[...], tuple[...]); without it the function's own
    annotation says it, if it must be known.

    Raises UnsupportedQuery, with the function and the user's file and line, for what has no SQL and may not
    be shipped.
    """
    return (
        trace(lambda row: function(*row), tuple(rows), normal)
        if len(rows) != 1
        else trace(function, rows[0], normal)
    )


__all__ = ["compile_row_function"]
