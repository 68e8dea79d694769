"""The Python functions of a view: each runs as SQL or as Python, and why."""

from __future__ import annotations

from pg_stepping.catalog import Installed
from pg_stepping.frontend.database_functions import shipped_names
from pg_stepping.frontend.postgres import Connection, execute


def python_functions(conn: Connection, view: Installed) -> frozenset[str]:
    """The functions that the view's query calls and that run as Python, aggregates that are folds too."""
    rows = execute(
        conn,
        """SELECT proname FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
           WHERE pronamespace = to_regnamespace('stepping') AND proname = ANY (%s)
             AND (lanname = 'plpython3u' OR prokind = 'a')""",
        [shipped_names(view.query)],
    ).fetchall()
    return frozenset(name for (name,) in rows)


def functions_text(conn: Connection, view: Installed) -> str:
    """A line for each function of the view's query, and for each shipped one that it calls; or nothing."""
    there = execute(conn, "SELECT to_regclass('stepping.view_function') IS NOT NULL").fetchone()
    lines = []
    if there == (True,):
        lines = [
            f"{name} ({place}): {runs}, {why}"
            for name, place, runs, why in execute(
                conn,
                """SELECT function, place, runs, why FROM stepping.view_function
                   WHERE (schema_name, view_name) = (%s, %s)""",
                [view.schema, view.name],
            )
        ]
    called = shipped_names(view.query)
    said = execute(
        conn,
        """SELECT proname, obj_description(oid, 'pg_proc') FROM pg_proc
           WHERE pronamespace = to_regnamespace('stepping') AND proname = ANY (%s)
           ORDER BY proname""",
        [[*called, *(f"fold_{name}" for name in called)]],
    ).fetchall()
    lines += [f"stepping.{name}(): {str(text).removeprefix('pg_stepping: ')}" for name, text in said]
    return "\nFunctions\n" + "".join(f"  {line}\n" for line in lines) if lines else ""
