"""The logs of deferred mode as tables: the place of what was applied is for what comes."""

from __future__ import annotations

from pg_stepping.frontend.dialect import quote_name
from pg_stepping.frontend.postgres import Connection, execute
from pg_stepping.session import guarded

_LARGE = """
SELECT relname FROM pg_class WHERE relnamespace = 'stepping'::regnamespace AND relkind = 'r'
  AND starts_with(relname, %(stage)s) AND substr(relname, length(%(stage)s) + 1) ~ '^__log_[0-9]+$'
  AND pg_relation_size(oid) > 131072"""


def vacuum(conn: Connection, stage: str, *, shorter: bool) -> None:
    """Give the place of what was applied to what comes; with `shorter` to the disk too, for which it may wait
    some seconds. Needs autocommit."""
    with guarded(conn):
        logs = execute(conn, _LARGE, {"stage": stage}).fetchall()
    for (log,) in logs:
        execute(conn, f"VACUUM (TRUNCATE {'on' if shorter else 'off'}) stepping.{quote_name(log)}")
