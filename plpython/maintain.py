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
    count_down = f"set_config({open_}, (current_setting({open_})::integer - 1)::text, true)"
    is_last = f" AND (SELECT {count_down} || coalesce(current_setting({waiting}, true), '') = '0') "

    def prepared(name: Any, sql: Any, types: Any = ()) -> Any:
        if name not in plans:
            plans[name] = plpy.prepare(sql() if callable(sql) else sql, types)
        return plans[name]

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

    def changed(gate: str = " ") -> str:
        applied = f"{gate.join(view['apply'])} {view['returning']}"
        return f"changed AS ({applied}), outcome AS ({view['outcome']}) SELECT * FROM outcome"

    def fast_path(source: Any, event: Any) -> str:
        """Count down, and apply the change if it is the only one."""
        with_ = f"WITH change AS ({change(source, event)}), {gather([view['term'][source]])}"
        if event == "INSERT":
            return f"{with_} {is_last.join(view['apply'])}"
        return f"{with_}, {changed(is_last)}"

    def look_after(done: Any) -> None:
        """See to the groups from which rows were taken."""
        if done["least"] is not None and done["least"] < 0:
            says = f"stepping.{stage} is corrupt: a count fell below zero"
            hint = "verify shows the difference; repair it, or drop and create the view again"
            plpy.error(says, hint=hint, sqlstate="XX001")
        for step in ("emptied", "stale"):
            if step in view and done[step]:
                prepared(step, view[step], ["tid[]"]).execute([done[step]])

    def set_aside(source: Any, event: Any) -> None:
        """Nothing was applied. If others are to come the change waits; the last one settles them all."""
        noted = f"coalesce(current_setting({waiting}, true), '') AS waiting"
        count = prepared("count", f"SELECT current_setting({open_}) AS open, {noted}").execute()[0]
        if count["open"] == "0" and not count["waiting"]:
            return
        into = f"INSERT INTO {aside[source]}"
        rows = prepared(("aside", source, event), lambda: f"{into} {change(source, event)}").execute()
        if count["open"] == "0":
            settle = prepared("waiting", lambda: f"WITH {gather(view['waiting'])}, {changed()}")
            look_after(settle.execute()[0])
            for table in [*aside.values(), f"stepping.waiting WHERE stage = '{stage}'"]:
                prepared(("clear", table), f"DELETE FROM {table}").execute()
            prepared("settled", f"SELECT set_config({waiting}, '', true)").execute()
        elif not count["waiting"] and rows.nrows():
            prepared("note", f"INSERT INTO stepping.waiting VALUES ('{stage}')").execute()
            prepared("wait", f"SELECT set_config({waiting}, 'yes', true)").execute()

    def maintain(td: Any) -> None:
        event, source = td["event"], td["args"][0]
        if event == "TRUNCATE":
            for table in aside.values():
                prepared(("clear", table), f"DELETE FROM {table}").execute()
            prepared("empty", view["empty"]).execute()
            return
        plan = plans.get((source, event)) or prepared((source, event), fast_path(source, event))
        done = plan.execute()
        if event == "INSERT":
            if not done.nrows():
                set_aside(source, event)
        elif done[0]["least"] is None:
            set_aside(source, event)
        else:
            look_after(done[0])

    return maintain
