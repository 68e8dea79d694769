"""The settings that triggers run with, and the transaction-local ones by which they know of each other."""

from __future__ import annotations

from collections.abc import Iterable

from pg_stepping.frontend.dialect import quote_text

# The settings that the text of a value depends on, by the beginning of its type's name; any other: all.
_TEXT_BY: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("smallint", "integer", "bigint", "uuid", "boolean", "text", "character", "numeric", "json"), ()),
    (("date", "timestamp without"), ("DateStyle",)),
    (("timestamp",), ("DateStyle", "TimeZone")),
    (("interval",), ("IntervalStyle",)),
    (("bytea",), ("bytea_output",)),
    (("real", "double"), ("extra_float_digits",)),
)
_FIXED_TEXT = {
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "extra_float_digits": "1",
}


def nothing_waits() -> str:
    """True if no other statement is under way, and no change waits for any stage: `is_only_change` in fewer
    steps, for the usual case."""
    waits = "current_setting('stepping.waiting', true) <> ''"
    return f"current_setting('stepping.open') = '+' AND ({waits}) IS NOT TRUE"


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


def text_settings(types: Iterable[str]) -> dict[str, str]:
    """The settings that the texts of values of these types depend on, as they are pinned."""
    names = {
        n for type_ in types for n in next((by for of, by in _TEXT_BY if type_.startswith(of)), _FIXED_TEXT)
    }
    return {name: value for name, value in _FIXED_TEXT.items() if name in names}


def dollar_tag(word: str, body: str) -> str:
    """A dollar quote that does not occur in the body."""
    tag, i = f"${word}$", 1
    while tag in body:
        i += 1
        tag = f"${word}_{i}$"
    return tag
