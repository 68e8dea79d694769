"""What a maintained view is made of, and what each write costs: as text, and as a diagram."""

from __future__ import annotations

from pg_stepping.catalog import found, use_settings
from pg_stepping.compiler import compile_installed
from pg_stepping.errors import SteppingError
from pg_stepping.explain.diagram import mermaid
from pg_stepping.explain.functions import functions_text
from pg_stepping.explain.text import explain_text
from pg_stepping.frontend.postgres import Connection
from pg_stepping.session import guarded

FORMATS = {"text": explain_text, "mermaid": mermaid}


def explain(conn: Connection, name: str, *, schema: str | None = None, format: str = "text") -> str:
    """Explain the maintained view `name`.

    As `text`: the plan as an indented tree, and for each source table the statements that run on its change
    with the indexes they use; a missing index on a join key is named with the DDL that adds it; for each
    Python function whether it runs as SQL or as Python, and why. As `mermaid`: the dataflow as a Mermaid
    flowchart. Raises ViewNotFound.
    """
    if format not in FORMATS:
        raise SteppingError(f"no such format: {format!r}", hint=f"one of {', '.join(FORMATS)}")
    with guarded(conn, undo=True):
        view = found(conn, name, schema)
        use_settings(conn, view)
        definition = compile_installed(conn, view)
        text = FORMATS[format](definition)
        return text + functions_text(conn, view) if format == "text" else text
