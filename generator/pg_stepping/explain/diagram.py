"""A view's dataflow as a Mermaid flowchart, or in the language of Graphviz."""

from __future__ import annotations

from pg_stepping.backend.script import Definition
from pg_stepping.ir.format import describe_node
from pg_stepping.ir.nodes import Plan


def mermaid(definition: Definition) -> str:
    """The operators of the plan, tables on the left, the published view on the right."""
    lines = ["flowchart LR"]
    ids: list[str] = []

    def draw(plan: Plan) -> str:
        inputs = [draw(i) for i in plan.inputs]
        name = f"n{len(ids)}"
        ids.append(name)
        left, right = ("[(", ")]") if not plan.inputs else ("[[", "]]") if plan.stateful else ("[", "]")
        lines.append(f"    {name}{left}{_label(describe_node(plan))}{right}")
        lines.extend(f"    {i} --> {name}" for i in inputs)
        return name

    last = draw(definition.plan)
    lines.append(f"    {last} --> view([{_label(str(definition.view))}])")
    return "\n".join(lines) + "\n"


def dot(definition: Definition) -> str:
    """The same for Graphviz: stages that keep state have two borders."""
    lines = ["digraph view {", "    rankdir=LR;", '    node [shape=box, fontname="sans-serif"];']
    ids: list[str] = []

    def draw(plan: Plan) -> str:
        inputs = [draw(i) for i in plan.inputs]
        name = f"n{len(ids)}"
        ids.append(name)
        shape = ", shape=cylinder" if not plan.inputs else ", peripheries=2" if plan.stateful else ""
        lines.append(f"    {name} [label={_dot_label(describe_node(plan))}{shape}];")
        lines.extend(f"    {i} -> {name};" for i in inputs)
        return name

    last = draw(definition.plan)
    lines.append(f"    view [label={_dot_label(str(definition.view))}, shape=oval];")
    lines.append(f"    {last} -> view;")
    return "\n".join([*lines, "}"]) + "\n"


def _dot_label(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _label(text: str) -> str:
    escaped = text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
    return f'"{escaped}"'
