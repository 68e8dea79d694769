"""What a PL/Python trigger function does, for any view.

Runs inside Postgres on the server's Python, so it uses nothing but the standard library; `plpy` is handed in.
A generated function gives its view as a dict of SQL texts; the statements are prepared when first needed.
"""

from typing import Any


def maintainer(plpy: Any, view: Any) -> Any:
    """The trigger's work, given one TD: carry the change of a table to the state table."""
    plans: dict[Any, Any] = {}
    stage, weight, aside = view["stage"], view["weight"], view["aside"]
    open_, waiting = f"'stepping.{stage}__open'", f"'stepping.{stage}__waiting'"

    def run(name: Any, sql: Any, given: Any = None) -> Any:
        if name not in plans:
            plans[name] = plpy.prepare(sql() if callable(sql) else sql, ["tid[]"] if given else [])
        return plpy.execute(plans[name], [given] if given else [])

    def change(source: Any, event: Any) -> str:
        """The changed rows with their weights; those of an UPDATE cancel where they are equal."""
        columns, kept, by = view["rows"][source]
        inserted = f"SELECT {columns}1 AS {weight} FROM inserted"
        deleted = f"SELECT {columns}-1 AS {weight} FROM deleted"
        if event != "UPDATE":
            return inserted if event == "INSERT" else deleted
        both = f"({inserted} UNION ALL {deleted}) AS changed"
        return f"SELECT {kept}sum({weight})::integer AS {weight} FROM {both} {by} HAVING sum({weight}) <> 0"

    def gather(terms: Any) -> str:
        return f"delta AS ({view['gather'][0]} {' UNION ALL '.join(terms)} {view['gather'][1]})"

    def settle(name: Any, delta: Any) -> None:
        """Add a delta that may take rows away, and see to the groups that it emptied."""
        changed = f"changed AS ({view['apply']} {view['returning']})"
        done = run(name, lambda: f"WITH {delta()}, {changed} {view['outcome']}")[0]
        if done["least"] is not None and done["least"] < 0:
            says = f"stepping.{stage} is corrupt: a count fell below zero"
            hint = "verify shows the difference; repair it, or drop and create the view again"
            plpy.error(says, hint=hint, sqlstate="XX001")
        for step in ("emptied", "stale"):
            if step in view and done[step]:
                run(step, view[step], done[step])

    def waits(source: Any, event: Any) -> bool:
        """Set the change aside if others are still to come; the last one settles them all."""
        closed = f"set_config({open_}, (current_setting({open_})::integer - 1)::text, true)::integer AS open"
        noted = f"coalesce(current_setting({waiting}, true), '') <> '' AS waiting"
        count = run("close", f"SELECT {closed}, {noted}")[0]
        if not count["open"] and not count["waiting"]:
            return False
        run(("aside", source, event), lambda: f"INSERT INTO {aside[source]} {change(source, event)}")
        if not count["open"]:
            settle("waiting", lambda: gather(view["waiting"]))
            for table in [*aside.values(), f"stepping.waiting WHERE stage = '{stage}'"]:
                run(("clear", table), f"DELETE FROM {table}")
            run("settled", f"SELECT set_config({waiting}, '', true)")
        elif not count["waiting"]:
            run("note", f"INSERT INTO stepping.waiting VALUES ('{stage}')")
            run("wait", f"SELECT set_config({waiting}, 'yes', true)")
        return True

    def maintain(td: Any) -> None:
        event, source = td["event"], td["args"][0]
        if event == "TRUNCATE":
            for table in aside.values():
                run(("clear", table), f"DELETE FROM {table}")
            run("empty", view["empty"])
        elif not waits(source, event):

            def delta() -> str:
                return f"change AS ({change(source, event)}), {gather([view['term'][source]])}"

            if event == "INSERT":
                run((source, event), lambda: f"WITH {delta()} {view['apply']}")
            else:
                settle((source, event), delta)

    return maintain
