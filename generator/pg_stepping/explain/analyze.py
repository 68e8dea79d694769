"""A statement run for a trial: what its maintenance took, step by step."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.errors import Diagnostic

from pg_stepping.frontend.postgres import Connection, execute, savepoint
from pg_stepping.session import guarded

_ROWS = """
SELECT relid, n_tup_ins + n_tup_upd + n_tup_del, concat(schemaname, '.', relname)
FROM pg_stat_xact_user_tables"""
_DURATION = re.compile(r"duration: ([0-9.]+) ms  plan:\n(.*)", re.S)


@dataclass(frozen=True, slots=True)
class MaintenanceStep:
    """A step of maintenance: a trigger, or a statement within one.

    `time` is in milliseconds, None if it is not known; `rows` are those that it gave or wrote, likewise.
    """

    what: str
    on: str
    time: float | None
    rows: int | None


@dataclass(frozen=True, slots=True)
class Analysis:
    """A statement's time in milliseconds, and that of its maintenance, with its steps in their order."""

    time: float
    maintenance: float
    steps: tuple[MaintenanceStep, ...]

    def as_rows(self) -> list[dict[str, Any]]:
        return [
            {
                "step": s.what,
                "on": s.on,
                "ms": None if s.time is None else f"{s.time:.3f}",
                "rows": s.rows,
            }
            for s in self.steps
        ]


def explain_analyze(conn: Connection, statement: str) -> Analysis:
    """Run a data-modifying statement, measure the maintenance that it causes, and roll it back.

    The triggers of each table are shown with their times, and the rows that each table got, lost or changed.
    A superuser, where the server has auto_explain, sees the statements within the triggers, too. Raises
    InvalidQuery if Postgres refuses the statement. Sequences that it advances stay so, as in any rollback.
    """
    with guarded(conn, undo=True), _nested_plans(conn) as plans:
        before = {oid: n for oid, n, _ in execute(conn, _ROWS)}
        # a binary result takes the protocol that knows one statement at a time: no COMMIT can follow
        row = conn.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", binary=True).fetchone()
        assert row is not None
        told = row[0][0] if isinstance(row[0], list) else json.loads(row[0])[0]
        changed = [(name, n - before.get(oid, 0)) for oid, n, name in execute(conn, _ROWS)]
    steps = [MaintenanceStep(*plan) for plan in plans]
    ours = [t for t in told.get("Triggers", ()) if t["Trigger Name"].startswith("stepping_")]
    steps += [MaintenanceStep(t["Trigger Name"], t["Relation"], float(t["Time"]), None) for t in ours]
    steps += [MaintenanceStep("rows changed", name, None, n) for name, n in sorted(changed) if n]
    return Analysis(float(told["Execution Time"]), sum(float(t["Time"]) for t in ours), tuple(steps))


@contextmanager
def _nested_plans(conn: Connection) -> Iterator[list[tuple[str, str, float, int | None]]]:
    """The statements that run within triggers, as auto_explain tells of them."""
    found: list[tuple[str, str, float, int | None]] = []

    def hear(diag: Diagnostic) -> None:
        told = _DURATION.match(diag.message_primary or "")
        if told is None:
            return
        plan = json.loads(told[2])
        text = " ".join(plan.get("Query Text", "").split())
        if "Plan" not in plan or text.upper().startswith("EXPLAIN") or text == " ".join(_ROWS.split()):
            return
        tree = plan["Plan"]
        on = tree.get("Relation Name") or next(
            (p["Relation Name"] for p in tree.get("Plans", ()) if "Relation Name" in p), ""
        )
        found.append((text if len(text) <= 60 else f"{text[:57]}...", on, float(told[1]), _rows(tree)))

    try:
        with savepoint(conn):
            execute(conn, "LOAD 'auto_explain'")
            for name, value in (
                ("log_min_duration", "0"), ("log_nested_statements", "on"), ("log_analyze", "on"),
                ("log_format", "json"), ("log_level", "notice"),
            ):  # fmt: skip
                execute(conn, f"SET LOCAL auto_explain.{name} = {value}")
            execute(conn, "SET LOCAL client_min_messages = notice")
    except psycopg.Error:  # no superuser, or no such library
        yield found
        return
    conn.add_notice_handler(hear)
    try:
        yield found
    finally:
        conn.remove_notice_handler(hear)


def _rows(plan: dict[str, Any]) -> int | None:
    """The rows that a plan gave, or wrote."""
    if plan.get("Node Type") == "ModifyTable" and not plan.get("Actual Rows"):
        return int(sum(p.get("Actual Rows", 0) for p in plan.get("Plans", ())))
    return int(plan["Actual Rows"]) if "Actual Rows" in plan else None
