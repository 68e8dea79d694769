"""A dataflow as a drawing: boxes and arrows, in Mermaid's language, in that of Graphviz, or as SVG."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from html import escape

PYTHON = "#ffe9a8"
_WIDTH, _GAP, _LINE, _PADDING = 240, 60, 16, 10


@dataclass(frozen=True, slots=True)
class Box:
    """A part of a dataflow: `kind` is `table`, `step`, `state` (a step that keeps rows) or `view`.

    `python` are the functions that run as Python in it; where there are none, all of it is SQL.
    """

    label: str
    kind: str
    python: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return f"{self.label}\nPython: {', '.join(self.python)}" if self.python else self.label


@dataclass(slots=True)
class Drawing:
    """Boxes by their names, in the order in which they are drawn, and arrows between them."""

    boxes: dict[str, Box] = field(default_factory=dict)
    arrows: list[tuple[str, str]] = field(default_factory=list)

    def add(self, box: Box, inputs: list[str], name: str = "") -> str:
        """Draw a box after its inputs; returns its name."""
        name = name or f"n{len(self.boxes)}"
        self.boxes[name] = box
        self.arrows += [(i, name) for i in inputs]
        return name

    def mermaid(self) -> str:
        lines = ["flowchart LR"]
        for name, box in self.boxes.items():
            left, right = {"table": ("[(", ")]"), "state": ("[[", "]]"), "view": ("([", "])")}.get(
                box.kind, ("[", "]")
            )
            lines.append(f"    {name}{left}{_mermaid_label(box.text)}{right}")
            lines.extend(f"    {a} --> {b}" for a, b in self.arrows if b == name)
        python = [name for name, box in self.boxes.items() if box.python]
        if python:
            lines += [f"    classDef python fill:{PYTHON}", f"    class {','.join(python)} python"]
        return "\n".join(lines) + "\n"

    def dot(self) -> str:
        lines = ["digraph view {", "    rankdir=LR;", '    node [shape=box, fontname="sans-serif"];']
        for name, box in self.boxes.items():
            shapes = {"table": ", shape=cylinder", "state": ", peripheries=2", "view": ", shape=oval"}
            colour = f', style=filled, fillcolor="{PYTHON}"' if box.python else ""
            lines.append(f"    {name} [label={_dot_label(box.text)}{shapes.get(box.kind, '')}{colour}];")
            lines.extend(f"    {a} -> {b};" for a, b in self.arrows if b == name)
        return "\n".join([*lines, "}"]) + "\n"

    def svg(self) -> str:
        """Columns from left to right, each box in the one after its inputs."""
        places, size = self._places()
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}"'
            f' viewBox="0 0 {size[0]} {size[1]}" font-family="sans-serif" font-size="12">',
            '<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8"'
            ' orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>',
        ]
        for a, b in self.arrows:
            (ax, ay, ah), (bx, by, bh) = places[a], places[b]
            x1, y1, x2, y2 = ax + _WIDTH, ay + ah / 2, bx, by + bh / 2
            middle = (x1 + x2) / 2
            lines.append(
                f'<path d="M{x1} {y1:g}C{middle:g} {y1:g} {middle:g} {y2:g} {x2} {y2:g}" fill="none"'
                ' stroke="black" marker-end="url(#arrow)"/>'
            )
        for name, box in self.boxes.items():
            lines += _svg_box(box, *places[name])
        return "\n".join([*lines, "</svg>"]) + "\n"

    def _places(self) -> tuple[dict[str, tuple[int, int, int]], tuple[int, int]]:
        """Left, top and height of each box, and the size of all."""
        depth: dict[str, int] = {}
        for name in self.boxes:  # inputs come first
            depth[name] = max((depth[a] + 1 for a, b in self.arrows if b == name), default=0)
        places, below = {}, dict.fromkeys(depth.values(), _PADDING)
        for name, box in self.boxes.items():
            column, height = depth[name], len(_wrapped(box)) * _LINE + _PADDING
            places[name] = (_PADDING + column * (_WIDTH + _GAP), below[column], height)
            below[column] += height + 2 * _PADDING
        width = (max(below, default=0) + 1) * (_WIDTH + _GAP) - _GAP + 2 * _PADDING
        return places, (width, max(below.values(), default=_PADDING))


def _wrapped(box: Box) -> list[str]:
    lines = [part for line in box.text.splitlines() for part in textwrap.wrap(line, 38) or [""]]
    return lines if len(lines) <= 8 else [*lines[:7], "..."]


def _svg_box(box: Box, x: int, y: int, height: int) -> list[str]:
    rounds = {"table": 4, "view": height / 2}.get(box.kind, 0)
    fill = PYTHON if box.python else {"table": "#e4eef7", "view": "#e6f4e4"}.get(box.kind, "white")
    width = 2 if box.kind == "state" else 1
    tspans = "".join(
        f'<tspan x="{x + _PADDING}" y="{y + _LINE * (i + 1)}">{escape(line)}</tspan>'
        for i, line in enumerate(_wrapped(box))
    )
    return [
        f'<g class="{"python" if box.python else "sql"} {box.kind}"><title>{escape(box.text)}</title>',
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{height}" rx="{rounds:g}" fill="{fill}"'
        f' stroke="black" stroke-width="{width}"/><text>{tspans}</text></g>',
    ]


def _dot_label(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _mermaid_label(text: str) -> str:
    escaped = text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
    return '"' + escaped.replace("\n", "<br/>") + '"'
