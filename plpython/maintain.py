"""What a PL/Python trigger function does, for any view: its text is part of every generated function.

Runs inside Postgres on the server's Python, so it uses nothing but the standard library. `plpy` is handed in.
"""

from __future__ import annotations

from typing import Any


# --- shipped from here -------------------------------------------------------------------------
def maintainer(plpy: Any, view: Any) -> Any:
    """The trigger's work, given one TD: carry the change of a table to the state table."""
    plans: dict[Any, Any] = {}
    stage, rows, aside = view["stage"], view["rows"], view["aside"]

    def run(name: Any, sql: Any, given: Any = None) -> Any:
        if name not in plans:
            plans[name] = plpy.prepare(sql() if callable(sql) else sql, ["tid[]"] if given else [])
        return plpy.execute(plans[name], [given] if given else [])

    def change(source: Any, event: Any) -> Any:
        columns, kept, by = rows[source]
        inserted = "SELECT " + columns + "1 AS " + view["weight"] + " FROM inserted"
        deleted = "SELECT " + columns + "-1 AS " + view["weight"] + " FROM deleted"
        if event != "UPDATE":
            return inserted if event == "INSERT" else deleted
        net = "sum(" + view["weight"] + ")"
        either = " FROM (" + inserted + " UNION ALL " + deleted + ") AS changed " + by + " HAVING "
        return "SELECT " + kept + net + "::integer AS " + view["weight"] + either + net + " <> 0"

    def gather(terms: Any) -> Any:
        return "delta AS (" + view["gather"][0] + " UNION ALL ".join(terms) + view["gather"][1] + ")"

    def settle(name: Any, delta: Any) -> None:
        """Add a delta that may take rows away, and see to the groups that it emptied."""
        changed = ", changed AS (" + view["apply"] + " " + view["returning"] + ") " + view["outcome"]
        done = run(name, lambda: delta() + changed)[0]
        if done["least"] is not None and done["least"] < 0:
            hint = "verify shows the difference; repair it, or drop and create the view again"
            plpy.error(
                "stepping." + stage + " is corrupt: a count fell below zero", hint=hint, sqlstate="XX001"
            )
        for step in ("emptied", "stale"):
            if step in view and done[step]:
                run(step, view[step], done[step])

    def waits(source: Any, event: Any) -> bool:
        """Set the change aside if others are still to come; the last one settles them all."""
        count = run("close", view["close"])[0]
        if not count["open"] and not count["waiting"]:
            return False
        into = "INSERT INTO " + aside[source] + " "
        run(("aside", source, event), lambda: into + change(source, event))
        if count["open"]:
            if not count["waiting"]:
                run("wait", view["wait"])
        else:
            settle("waiting", lambda: "WITH " + gather(view["waiting"]))
            for name in [*aside.values(), "stepping.waiting WHERE stage = '" + stage + "'"]:
                run(("clear", name), "DELETE FROM " + name)
            run("settled", view["settled"])
        return True

    def maintain(td: Any) -> None:
        event, source = td["event"], td["args"][0]
        if event == "TRUNCATE":
            for sql in [view["empty"], *("DELETE FROM " + name for name in aside.values())]:
                plpy.execute(sql)
        elif not waits(source, event):

            def delta() -> Any:
                return "WITH change AS (" + change(source, event) + "), " + gather([view["term"][source]])

            if event == "INSERT":
                run((source, event), lambda: delta() + " " + view["apply"])
            else:
                settle((source, event), delta)

    return maintain
