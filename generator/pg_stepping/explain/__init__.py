"""What a maintained view is made of, and what each write costs: as text, and as a diagram."""

from __future__ import annotations

from pg_stepping.catalog import Installed, found, use_settings
from pg_stepping.compiler import compile_installed
from pg_stepping.errors import SteppingError
from pg_stepping.explain.diagram import drawing_of
from pg_stepping.explain.functions import functions_text, python_functions
from pg_stepping.explain.text import explain_text
from pg_stepping.frontend.postgres import Connection, execute
from pg_stepping.session import guarded

FORMATS = ("text", "mermaid", "dot", "svg")


def explain(conn: Connection, name: str, *, schema: str | None = None, format: str = "text") -> str:
    """Explain the maintained view `name`.

    As `text`: the plan as an indented tree, and for each source table the statements that run on its change
    with the indexes they use; a missing index on a join key is named with the DDL that adds it; for each
    Python function whether it runs as SQL or as Python, and why. As `mermaid`: the dataflow as a Mermaid
    flowchart; as `dot` for Graphviz; as `svg`: a picture. In these, what runs as Python is named and has a
    colour. Raises ViewNotFound.
    """
    if format not in FORMATS:
        raise SteppingError(
            f"no such format: {format!r}", hint=f"one of {', '.join(FORMATS)}", sqlstate="22023"
        )
    with guarded(conn, undo=True):
        view = found(conn, name, schema)
        use_settings(conn, view)
        definition = compile_installed(conn, view)
        if format != "text":
            drawing = drawing_of(definition, python_functions(conn, view))
            drawn = {"mermaid": drawing.mermaid, "dot": drawing.dot, "svg": drawing.svg}
            return drawn[format]()
        waiting = _waiting(conn, view) if view.mode == "deferred" else ""
        return explain_text(definition) + waiting + functions_text(conn, view)


def _waiting(conn: Connection, view: Installed) -> str:
    sql = """SELECT pending, age, applied_at, changes, seconds FROM stepping.deferred_view
             WHERE schema_name = %s AND view_name = %s"""
    row = execute(conn, sql, [view.schema, view.name]).fetchone()
    assert row is not None
    pending, age, applied_at, changes, seconds = row
    since = f", the oldest for {age}" if pending else ""
    last = f"{applied_at}: {changes} changes in {seconds:.3f} s" if applied_at is not None else "never"
    return f"\nWaiting\n  {pending} changes{since}\n  applied last: {last}\n"
