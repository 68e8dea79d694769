"""A query's dataflow as a picture, drawn by Graphviz."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from pg_stepping.errors import SteppingError
from pg_stepping.frontend.python.graph import Graph
from pg_stepping.frontend.python.operators import Operator, Source


def dot(graph: Graph[Any]) -> str:
    """The operators of a query in the language of Graphviz: tables on the left, views on the right."""
    lines = ["digraph query {", "    rankdir=LR;", '    node [shape=box, fontname="sans-serif"];']
    names: dict[Operator, str] = {}

    def draw(operator: Operator) -> str:
        if operator not in names:
            inputs = [draw(i) for i in operator.inputs]
            names[operator] = name = f"n{len(names)}"
            source = isinstance(operator, Source)
            label = operator.table if isinstance(operator, Source) else type(operator).__name__.lower()
            lines.append(f"    {name} [label={_quoted(label)}{', shape=cylinder' if source else ''}];")
            lines.extend(f"    {i} -> {name};" for i in inputs)
        return names[operator]

    for number, kept in enumerate(graph.kept):
        last = draw(kept.operator)
        lines.append(f"    view{number} [label={_quoted(kept.name)}, shape=oval];")
        lines.append(f"    {last} -> view{number};")
    return "\n".join([*lines, "}"]) + "\n"


def write_png(graph: Graph[Any], path: str | Path) -> None:
    """Write the dataflow of a query to a PNG file; raises SteppingError if Graphviz is not installed."""
    program = shutil.which("dot")
    if program is None:
        raise SteppingError("write_png needs Graphviz", hint="install it (the program `dot`)")
    subprocess.run([program, "-Tpng", "-o", str(path)], input=dot(graph).encode(), check=True)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
