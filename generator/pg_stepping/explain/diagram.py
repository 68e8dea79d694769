"""A view's dataflow as a drawing: the operators of its plan, tables on the left, the view on the right."""

from __future__ import annotations

from collections.abc import Collection

from pg_stepping.backend.script import Definition
from pg_stepping.explain.drawing import Box, Drawing
from pg_stepping.frontend.database_functions import shipped_names
from pg_stepping.ir.format import describe_node
from pg_stepping.ir.nodes import Plan


def drawing_of(definition: Definition, python: Collection[str]) -> Drawing:
    """The drawing; `python` are the names of the functions in schema stepping that run as Python."""
    drawing = Drawing()

    def draw(plan: Plan) -> str:
        inputs = [draw(i) for i in plan.inputs]
        label = describe_node(plan)
        called = [name for name in shipped_names(label) if name in python]
        kind = "table" if not plan.inputs else "state" if plan.stateful else "step"
        return drawing.add(Box(label, kind, tuple(name.rpartition("_")[0] for name in called)), inputs)

    last = draw(definition.plan)
    drawing.add(Box(str(definition.view), "view"), [last], "view")
    return drawing
