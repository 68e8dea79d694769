"""The transaction-local settings by which triggers know of each other, and their queries."""

from __future__ import annotations

from pg_stepping.frontend.dialect import quote_text


def is_only_change() -> str:
    """True if no other statement is under way, within whose end there may be more changes, and no change
    waits for this stage or one before it."""
    waiting = "nullif(current_setting('stepping.waiting', true), '')::integer"
    return f"current_setting('stepping.open') = '+' AND ({waiting} > TG_ARGV[1]::integer) IS NOT FALSE"


def pinned(settings: tuple[tuple[str, str], ...], *, recursive: bool = False) -> str:
    """The SET clauses of a trigger function, a line each.

    JIT is off: a trigger's plans are mostly for a few rows, whatever they seem to cost, and would be compiled
    again for each statement. The planner takes a recursion for ten times its first rows: for the few that
    there are, looking them up must not seem dearer than reading all of a table.
    """
    own = (("jit", "off"), *([("random_page_cost", "1")] if recursive else []))
    values = [f"SET {name} = {quote_text(value)}\n" for name, value in (*own, *settings)]
    return "SET search_path = pg_catalog, pg_temp\n" + "".join(values)


def dollar_tag(word: str, body: str) -> str:
    """A dollar quote that does not occur in the body."""
    tag, i = f"${word}$", 1
    while tag in body:
        i += 1
        tag = f"${word}_{i}$"
    return tag
