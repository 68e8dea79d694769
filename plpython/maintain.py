"""What a PL/Python trigger function does, for any view.

Runs inside Postgres on the server's Python, so it uses nothing but the standard library; `plpy` is handed in.
A generated function gives its view as a dict of SQL texts; the statements are prepared when first needed.
"""

from typing import Any


def maintainer(plpy: Any, view: Any) -> Any:
    """The trigger's work, given one TD: carry the change of a table to the state table."""
    plans: dict[Any, Any] = {}
    stage, weight, aside = view["stage"], view["weight"], view["aside"]
    status = (
        "SELECT current_setting('stepping.open', true) AS open,"
        " current_setting('stepping.waiting', true) AS waiting"
    )

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
        return f"delta AS ({view['gather'][0]} {terms} {view['gather'][1]})"

    def applied(*parts: str) -> str:
        """Apply the relation delta, and tell what it left."""
        before = (f"{name} ({query})" for name, query in view["before"].items())
        outcome = f"changed AS ({view['apply']} {view['returning']}), outcome AS ({view['outcome']})"
        return f"WITH {', '.join([*parts, *before])}, {outcome} SELECT * FROM outcome"

    def fast_path(source: Any, event: Any) -> str:
        """Add the effect of the change to the state."""
        if event == "INSERT" and source in view["grown"]:
            return f"{view['insert'][0]} {view['grown'][source]} {view['insert'][1]}"
        return applied(f"change AS ({change(source, event)})", gather(view["term"][source]))

    def look_after(done: Any) -> None:
        """See to the groups from which rows were taken."""
        if done["least"] is not None and done["least"] < 0:
            says = f"stepping.{stage} is corrupt: a count fell below zero"
            hint = "verify shows the difference; repair it, or drop and create the view again"
            plpy.error(says, hint=hint, sqlstate="XX001")
        for step in ("emptied", "stale"):
            if step in view and done[step]:
                prepared(step, view[step], ["tid[]"]).execute([done[step]])

    def take(locks: Any, name: Any, with_: str = "") -> None:
        """Take the locks, one statement after the other."""
        for i, (function, keys) in enumerate(locks):
            prepared(
                ("lock", name, i), f"SELECT {function} FROM ({with_} {keys}) AS bucket ORDER BY key"
            ).execute()

    def apply_at_once(source: Any, event: Any) -> None:
        """The change is the only one of its statement."""
        if view["locks"][source]:
            take(view["locks"][source], (source, event), f"WITH change AS ({change(source, event)})")
        plan = plans.get((source, event)) or prepared((source, event), lambda: fast_path(source, event))
        done = plan.execute()
        if len(done):
            look_after(done[0])

    def set_aside(source: Any, event: Any, number: Any) -> None:
        """Let the change wait for others that are still to come."""
        into = f"INSERT INTO {aside[source]}"
        if prepared(("aside", source, event), lambda: f"{into} {change(source, event)}").execute().nrows():
            plpy.execute(f"SELECT stepping.wait('{stage}', {number})")

    def carry() -> None:
        """The statement is at its end: carry all that was set aside."""
        for sql in view["net"]:
            prepared(("net", sql), sql).execute()
        take(view["waiting_locks"], "waiting")
        look_after(prepared("waiting", lambda: applied(gather(view["waiting"]))).execute()[0])
        for table in aside.values():
            prepared(("clear", table), f"DELETE FROM {table}").execute()

    def empty() -> None:
        """Empty the state; DELETE by itself would leave rows that an old snapshot does not see."""
        for table in aside.values():
            prepared(("clear", table), f"DELETE FROM {table}").execute()
        isolation = prepared("isolation", "SHOW transaction_isolation").execute()[0]["transaction_isolation"]
        if isolation in ("repeatable read", "serializable"):
            if "unseen" in view:
                plpy.execute(view["unseen"])
            elif len(view["empty"]) > 1:
                plpy.execute(f"SELECT stepping.refuse_snapshot('{stage}')")
        for sql in view["empty"]:
            plpy.execute(sql)

    def maintain(td: Any) -> None:
        event, (source, number, *_) = td["event"], td["args"]
        if event == "TRUNCATE":
            empty()
            return
        if not source:
            carry()
            return
        now = prepared("status", status).execute()[0]
        if now["open"] == "+" and (not now["waiting"] or int(now["waiting"]) > int(number)):
            apply_at_once(source, event)
        else:
            set_aside(source, event, number)

    return maintain
