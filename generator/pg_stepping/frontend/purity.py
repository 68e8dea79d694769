"""Which functions a maintained query may call: those whose result depends on their arguments alone.

A STABLE function of Postgres's own that depends on nothing but session settings (TimeZone, DateStyle ...)
is allowed too: those settings are pinned in the trigger functions to what they were when the view was made.
"""

from __future__ import annotations

from pg_stepping.frontend.postgres import Described, Function
from pg_stepping.frontend.refuse import Source

PINNED_SETTINGS = (
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "bytea_output",
    "default_text_search_config",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
)

_BY_SETTINGS = frozenset(
    """
    anyarray_out anytextcat array_agg array_in array_out array_to_json array_to_string bytea_out
    byteaout cash_in cash_out concat concat_ws convert convert_from convert_to date date_in
    date_out date_part date_trunc domain_in enum_first enum_in enum_last enum_out enum_range
    extract format generate_series interval_in interval_out interval_pl_timestamptz json_agg json_build_array
    json_build_object json_in json_object_agg json_populate_record json_populate_recordset
    json_to_record json_to_recordset json_to_tsvector jsonb_agg
    jsonb_build_array jsonb_build_object jsonb_object_agg jsonb_path_exists_tz jsonb_path_match_tz
    jsonb_path_query_array_tz jsonb_path_query_first_tz jsonb_populate_record
    jsonb_populate_recordset jsonb_to_record jsonb_to_recordset jsonb_to_tsvector
    length make_timestamptz money multirange_in multirange_out name_in numeric numeric_to_char
    overlaps phraseto_tsquery plainto_tsquery quote_literal quote_nullable range_in range_out
    record_in record_out row_to_json text textanycat time time_in timestamp timestamp_in
    timestamp_out timestamptz timestamptz_in timestamptz_mi_interval timestamptz_out
    timestamptz_pl_interval timetz timetz_in timezone to_char to_date to_json to_jsonb to_number
    to_timestamp to_tsquery to_tsvector ts_headline ts_match_tq ts_match_tt websearch_to_tsquery
    """.split()
)
_COMPARED_ACROSS_ZONES = ("date_", "timestamp_", "timestamptz_")


def check_functions(described: Described, source: Source) -> bool:
    """Refuse functions that are not pure; return whether the query depends on session settings."""
    if described.reads_clock:
        words = ("current_date", "current_time", "current_timestamp", "localtime", "localtimestamp")
        users = ("current_user", "current_role", "user", "session_user", "current_schema", "current_catalog")
        raise source.unsupported(
            "a value that changes by itself (the clock or the session's user)",
            *words,
            *users,
            hint="leave it out here and filter or compute it where you read the view",
        )
    depends = described.casts_by_text
    for function in sorted(described.functions, key=lambda f: (f.schema, f.name)):
        if function.volatile == "i":
            continue
        if function.volatile == "s" and _only_settings(function):
            depends = True
            continue
        kind = {"v": "volatile", "s": "stable"}[function.volatile]
        hint = "leave it out here and compute it where you read the view"
        if function.schema != "pg_catalog":
            hint = "if it reads nothing but its arguments, declare it so: ALTER FUNCTION ... IMMUTABLE"
        what = f"the {kind} function {function.name}()"
        if function.operators:
            what = f"the {kind} operator {function.operators[0]}, which calls {function.name}()"
        raise source.unsupported(what, *function.places(), hint=hint)
    return depends


def _only_settings(function: Function) -> bool:
    if function.schema != "pg_catalog":
        return False
    if function.name == "age":
        return function.argument_count == 2
    compared = function.name.startswith(_COMPARED_ACROSS_ZONES) and function.name.split("_")[1] in (
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "cmp",
    )
    return compared or function.name in _BY_SETTINGS
