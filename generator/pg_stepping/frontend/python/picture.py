"""A query's dataflow as a picture: in a notebook, as a PNG file, in the language of Graphviz."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pg_stepping.errors import SteppingError
from pg_stepping.explain.drawing import Box, Drawing
from pg_stepping.frontend.database_functions import REGISTRY, shipped_names
from pg_stepping.frontend.python.graph import Graph
from pg_stepping.frontend.python.operators import Closure, Distinct, FirstN, Operator, Reduce, Source
from pg_stepping.frontend.python.rows import is_row, leaves
from pg_stepping.frontend.python.scalar import Scalar

_KEEPS_ROWS = (Closure, Distinct, FirstN, Reduce)


def drawing(graph: Graph[Any], *, simplify_labels: bool = False) -> Drawing:
    """The operators of a query, tables on the left, views on the right; with the names of their functions
    unless `simplify_labels`."""
    drawn, names = Drawing(), dict[Operator, str]()

    def draw(operator: Operator) -> str:
        if operator not in names:
            inputs = [draw(i) for i in operator.inputs]
            source = isinstance(operator, Source)
            kind = "table" if source else "state" if isinstance(operator, _KEEPS_ROWS) else "step"
            names[operator] = drawn.add(
                Box(_label(operator, simplify_labels), kind, tuple(_python(operator))), inputs
            )
        return names[operator]

    for number, kept in enumerate(graph.kept):
        drawn.add(Box(kept.name, "view"), [draw(kept.operator)], f"view{number}")
    return drawn


def dot(graph: Graph[Any]) -> str:
    """The same in the language of Graphviz."""
    return drawing(graph).dot()


def write_png(
    graph: Graph[Any], path: str | Path, simplify_labels: bool = False, level: int | None = None
) -> None:
    """Write the dataflow of a query to a PNG file; raises SteppingError if Graphviz is not installed.

    `level` is of no use here, and taken for programs that give it: an operator is one box.
    """
    program = shutil.which("dot")
    if program is None:
        hint = "install it (the program `dot`), or write graph.svg() to a file, which needs nothing"
        raise SteppingError("write_png needs Graphviz", hint=hint)
    drawn = drawing(graph, simplify_labels=simplify_labels).dot()
    done = subprocess.run([program, "-Tpng", "-o", str(path)], input=drawn.encode(), capture_output=True)
    if done.returncode:
        raise SteppingError(f"Graphviz could not write {path}: {done.stderr.decode().strip()}")


def _label(operator: Operator, simplify: bool) -> str:
    if isinstance(operator, Source):
        return operator.table
    if simplify:
        return type(operator).__name__.lower()
    function = getattr(operator, "f", None) or getattr(operator, "pick_value", None)
    name = getattr(function, "__name__", "")
    return (
        f"{type(operator).__name__.lower()} {name}"
        if name.isidentifier()
        else type(operator).__name__.lower()
    )


def _python(operator: Operator) -> Iterator[str]:
    """The functions that run as Python in an operator."""
    text = " ".join(scalar.expression.sql() for scalar in _scalars(operator))
    for name in shipped_names(text):
        if name in REGISTRY and REGISTRY[name].language != "sql":
            yield name.rpartition("_")[0]


def _scalars(operator: Operator) -> Iterator[Scalar]:
    for field in dataclasses.fields(operator):
        value = getattr(operator, field.name)
        for part in value if type(value) is tuple and field.name != "output" else (value,):
            if type(part) is Scalar or (field.name == "output" and is_row(part)):
                yield from (leaf for _, leaf in leaves(part))
