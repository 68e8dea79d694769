"""The transaction-local settings by which triggers know of each other, and their queries."""

from __future__ import annotations

from pg_stepping.frontend.dialect import quote_text


def is_only_change() -> str:
    """True if no other statement is under way, within whose end there may be more changes, and no change
    waits for this stage or one before it."""
    waiting = "nullif(current_setting('stepping.waiting', true), '')::integer"
    return f"current_setting('stepping.open') = '1' AND ({waiting} > TG_ARGV[1]::integer) IS NOT FALSE"


def snapshot_is_old() -> str:
    """True where a statement may not see what was committed while it waited for a lock."""
    return "current_setting('transaction_isolation') IN ('repeatable read', 'serializable')"


def pinned(settings: tuple[tuple[str, str], ...]) -> str:
    """The SET clauses of a trigger function, a line each.

    JIT is off: it would compile the plan of a join that seems costly again and again, for a row or two.
    """
    values = [f"SET {name} = {quote_text(value)}\n" for name, value in (("jit", "off"), *settings)]
    return "SET search_path = pg_catalog, pg_temp\n" + "".join(values)


def dollar_tag(word: str, body: str) -> str:
    """A dollar quote that does not occur in the body."""
    tag, i = f"${word}$", 1
    while tag in body:
        i += 1
        tag = f"${word}_{i}$"
    return tag
