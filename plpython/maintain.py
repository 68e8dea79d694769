"""What a PL/Python trigger function does, for any view.

Runs inside Postgres on the server's Python, so it uses nothing but the standard library; `plpy` is handed in.
A generated function gives its view as a dict of SQL texts; the statements are prepared when first needed.
"""

from typing import Any

IN_ORDER = "ORDER BY key, exclusive DESC"
OF_ONE = "WHERE NOT EXISTS (SELECT FROM inserted OFFSET 1)"


def maintainer(plpy: Any, view: Any) -> Any:
    """The trigger's work, given one TD: carry the change of a table to the state table."""
    plans: dict[Any, Any] = {}
    stage, weight, sources = view["stage"], view["weight"], view["source"]

    def prepared(name: Any, sql: Any, types: Any = ()) -> Any:
        if name not in plans:
            plans[name] = plpy.prepare(sql() if callable(sql) else sql, types)
        return plans[name]

    def netted(source: Any, rows: str) -> str:
        """Changed rows, of which those that are equal have cancelled."""
        columns = source["columns"]
        by, kept = source.get("by", columns), f"{columns}, " if columns else ""
        if source.get("unsorted"):
            total = f"(sum({weight}) OVER (PARTITION BY {by}))::integer AS {weight}"
            rows = f"(SELECT DISTINCT ON ({by}) {kept}{total} FROM {rows} AS changed) AS netted"
            return f"SELECT * FROM {rows} WHERE {weight} <> 0"
        by = f" GROUP BY {by}" if columns else ""
        net = f"sum({weight})::integer AS {weight}"
        return f"SELECT {kept}{net} FROM {rows} AS changed{by} HAVING sum({weight}) <> 0"

    def change(source: Any, event: Any, condition: str = "") -> str:
        """The changed rows that can matter, with their weights; those of an UPDATE cancel where they are
        equal."""
        columns = f"{source['columns']}, " if source["columns"] else ""
        where = " AND ".join(f"({c})" for c in (condition, source.get("where")) if c)
        where = f" WHERE {where}" if where else ""
        inserted = f"SELECT {columns}1 AS {weight} FROM inserted{where}"
        deleted = f"SELECT {columns}-1 AS {weight} FROM deleted{where}"
        if event != "UPDATE":
            return inserted if event == "INSERT" else deleted
        return netted(source, f"({inserted} UNION ALL {deleted})")

    def delta(terms: str) -> str:
        return f"delta AS ({view['gather'][0]} {terms} {view['gather'][1]})"

    def applied(*parts: str) -> str:
        """Apply the relation delta, and tell what it left."""
        before = [f"{name} ({query})" for name, query in view.get("before", {}).items()]
        changed = f"changed AS ({view['into']} {view['select']} {view['merge']} {view['returning']})"
        return f"WITH {', '.join([*parts, *before, changed])} {view['outcome']}"

    def term(source: Any) -> str:
        """What the relation change is joined to; in two parts, the select list and the rest, where new rows
        of the source only add rows."""
        return source["term"] if isinstance(source["term"], str) else " ".join(source["term"])

    def fast_path(source: Any, event: Any) -> str:
        """Add the effect of the change to the state."""
        changed = f"change AS ({change(source, event)})"
        if event != "INSERT" or isinstance(source["term"], str):
            return applied(changed, delta(term(source)))
        return f"WITH {changed}, {delta(term(source))} {view['into']} {view['select']} {view['merge']}"

    def one_row(source: Any) -> str:
        """Add one row that joins with at most one of each other table: there is nothing to gather."""
        changed, joined = change(source, "INSERT"), source["term"][1]
        return f"WITH change AS ({changed}) {view['into']} {source['alone']} {joined} {view['merge']}"

    def look_after(done: Any) -> None:
        """See to the groups from which rows were taken."""
        if done["least"] is not None and done["least"] < 0:
            says = f"stepping.{stage} is corrupt: a count fell below zero"
            hint = "verify shows the difference; repair it, or drop and create the view again"
            plpy.error(says, hint=hint, sqlstate="XX001")
        for step, rows in (("remove", "emptied"), ("refresh", "stale")):
            if step in view and done[rows]:
                prepared(step, view[step], ["tid[]"]).execute([done[rows]])

    def locking(parts: Any, with_: str = "", order: str = IN_ORDER) -> str:
        """The statement that takes locks, of which each part has an edge's, in their order; or that writes
        the rows by which keys are held."""
        if isinstance(parts, str):
            return f"{with_}, {parts}" if with_ else f"WITH {parts}"
        keys = " UNION ALL ".join(query for _, query in parts)
        if order == IN_ORDER:
            keys = f"SELECT DISTINCT key, exclusive FROM ({keys}) AS part"
        return f"SELECT stepping.lock('{stage}', key, exclusive) FROM ({with_} {keys}) AS bucket {order}"

    def lock_one(source: Any, number: Any) -> str:
        """The lock of a single inserted row, which needs no order."""
        changed = change(source, "INSERT", only(number))
        return locking(source["locks"][0], f"WITH change AS ({changed})", OF_ONE)

    def waiting_locks() -> Any:
        """The statements for all that was set aside, an edge each: who looks up keys of one has locked those
        before it."""
        if "waiting_locks" in view:
            return [locking(parts) for parts in view["waiting_locks"]]
        if len(sources) == 1:
            (source,) = sources.values()
            return [locking(parts, with_aside(source)) for parts in source.get("locks", ())]
        edges: dict[Any, Any] = {}
        for source in sources.values():
            for edge, query in (part for parts in source.get("locks", ()) for part in parts):
                edges.setdefault(edge, []).append((edge, f"({with_aside(source)} {query})"))
        return [locking(edges[edge]) for edge in sorted(edges)]

    def with_aside(source: Any) -> str:
        return f"WITH change AS NOT MATERIALIZED (SELECT * FROM {source['aside']})"

    def waiting() -> str:
        """The terms of all that was set aside: those of each source, unless changes meet in others."""
        apart = (f"({with_aside(source)} {term(source)})" for source in sources.values())
        return view["waiting"] if "waiting" in view else " UNION ALL ".join(apart)

    def only(number: Any) -> str:
        """True if no other statement is under way, and no change waits for this stage or one before it."""
        waiting = "nullif(current_setting('stepping.waiting', true), '')::integer"
        return f"current_setting('stepping.open') = '+' AND ({waiting} > {number}) IS NOT FALSE"

    def is_only(number: Any) -> bool:
        return bool(prepared(("only", number), f"SELECT WHERE {only(number)}").execute().nrows())

    def apply_at_once(source: Any, event: Any, number: Any) -> bool:
        """Carry the change if it is the only one; False if it is not, or if there is none.

        Each statement costs a subtransaction, so the first one that locks finds that out too.
        """
        locks, of = source.get("locks", ()), (source["aside"], event)
        if not locks and not is_only(number):
            return False
        of_one = event == "INSERT" and "alone" in source and locks
        if of_one and prepared((*of, "lock", number), lambda: lock_one(source, number)).execute().nrows():
            prepared((*of, "one"), lambda: one_row(source)).execute()
            return True
        if of_one and "where" in source and not is_some(source):
            return True
        for i, parts in enumerate(locks):
            plan = plans.get((*of, i, number))
            if plan is None:
                changed = change(source, event, "" if i else only(number))
                plan = prepared((*of, i, number), locking(parts, f"WITH change AS ({changed})"))
            locked = plan.execute().nrows()
            if not i and not locked:
                return False
        done = prepared(of, lambda: fast_path(source, event)).execute()
        if len(done):
            look_after(done[0])
        return True

    def is_some(source: Any) -> bool:
        """Whether something that can matter was inserted."""
        plan = prepared((source["aside"], "some"), lambda: f"{change(source, 'INSERT')} LIMIT 1")
        return bool(plan.execute().nrows())

    def set_aside(source: Any, event: Any, number: Any) -> None:
        """Let the change wait for others that are still to come."""
        into = f"INSERT INTO {source['aside']} "
        plan = prepared((source["aside"], event, "aside"), lambda: into + change(source, event))
        if plan.execute().nrows():
            plpy.execute(f"SELECT stepping.wait('{stage}', {number})")

    def clear() -> None:
        for source in sources.values():
            prepared(("clear", source["aside"]), f"DELETE FROM {source['aside']}").execute()

    def carry() -> None:
        """The statement is at its end: carry all that was set aside.

        What several commands set aside is netted first. It stays in its table: what joins with a table is
        looked up by index, what joins with a CTE is not.
        """
        for source in sources.values() if "net" in view else ():
            aside = source["aside"]
            several = f"EXISTS (SELECT FROM {aside} WHERE NOT cmin = (SELECT cmin FROM {aside} LIMIT 1))"
            gone = f"WITH gone AS (DELETE FROM {aside} WHERE {several} RETURNING *)"
            prepared(("net", aside), f"{gone} INSERT INTO {aside} {netted(source, 'gone')}").execute()
        if "waiting_locks" not in plans:
            plans["waiting_locks"] = [plpy.prepare(sql, ()) for sql in waiting_locks()]
        for plan in plans["waiting_locks"]:
            plan.execute()
        look_after(prepared("waiting", lambda: applied(delta(waiting()))).execute()[0])
        clear()

    def empty() -> None:
        """Empty the state; DELETE by itself would leave rows that an old snapshot does not see."""
        clear()
        isolation = prepared("isolation", "SHOW transaction_isolation").execute()[0]["transaction_isolation"]
        if isolation in ("repeatable read", "serializable"):
            unseen = view.get("unseen", f"SELECT stepping.refuse_snapshot('{stage}')")
            if unseen:
                plpy.execute(unseen)
        for sql in view["empty"]:
            plpy.execute(sql)

    def is_to_fill() -> bool:
        """Whether a table was emptied, so that the state is filled again at the end of the statement."""
        return "to_fill" in view and bool(prepared("to_fill", view["to_fill"][1]).execute().nrows())

    def maintain(td: Any) -> None:
        event, (key, number, *_) = td["event"], td["args"]
        if event == "TRUNCATE" and "to_fill" in view:
            plpy.execute(view["to_fill"][0])
            plpy.execute(f"SELECT stepping.wait('{stage}', {number})")
        elif event == "TRUNCATE" or (not key and is_to_fill()):
            empty()
        elif not key:
            carry()
        elif not apply_at_once(sources[key], event, number) and not is_only(number):
            set_aside(sources[key], event, number)

    return maintain
