"""Sqitch: deploy, revert and verify scripts, and a line in `sqitch.plan`."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

from pg_stepping.frontend.dialect import quote_text
from pg_stepping.migrate.changes import Change
from pg_stepping.migrate.migration import Migration

_PLAN = "sqitch.plan"
_CHANGE = re.compile(r"^([^\s%@#\[]\S*)(?= .*<)", re.M)
_HEAD = "%syntax-version=1.0.0\n%project=pg_stepping\n\n"


def history(folder: Path) -> list[str]:
    plan = folder / _PLAN
    changes = _CHANGE.findall(plan.read_text(encoding="utf-8")) if plan.is_file() else []
    deploys = [folder / "deploy" / f"{change}.sql" for change in changes]
    return [d.read_text(encoding="utf-8") for d in deploys if d.is_file()]


def files(folder: Path, migration: Migration) -> dict[str, str]:
    plan = folder / _PLAN
    before = plan.read_text(encoding="utf-8") if plan.is_file() else _HEAD
    taken = set(_CHANGE.findall(before))
    name, number = migration.slug, 1
    while name in taken:
        number += 1
        name = f"{migration.slug}_{number}"
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    line = f"{name} {now} pg_stepping <pg_stepping@localhost> # {migration.title}\n"
    return {
        **_overtaken(folder, taken, migration, name),
        f"deploy/{name}.sql": _transaction("Deploy", name, migration.up, "COMMIT"),
        f"revert/{name}.sql": _transaction("Revert", name, migration.down, "COMMIT"),
        f"verify/{name}.sql": _transaction("Verify", name, _check(migration), "ROLLBACK"),
        _PLAN: (before if before.endswith("\n") else f"{before}\n") + line,
    }


def _overtaken(folder: Path, earlier: Collection[str], migration: Migration, by: str) -> dict[str, str]:
    """The verify scripts of earlier changes without what this one makes untrue: `sqitch verify` runs all."""
    changed = {}
    names = "|".join(re.escape(_name(change)) for change in migration.changes)
    for name in sorted(earlier):
        path = folder / "verify" / f"{name}.sql"
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        left = re.sub(rf"SELECT 1 / .*? = \((?:{names})(?:, '\w+')?\);\n", f"-- {by} changes a view.\n", text)
        if left != text:
            changed[f"verify/{name}.sql"] = left
    return changed


def _name(change: Change) -> str:
    return f"{quote_text(change.view.schema)}, {quote_text(change.view.name)}"


def _transaction(verb: str, name: str, text: str, end: str) -> str:
    return f"-- {verb} {name} on pg\n\nBEGIN;\n\n{text}\n{end};\n"


def _check(migration: Migration) -> str:
    """Fails, by a division by zero, where a view is not there as it should be."""
    checks = []
    for change in migration.changes:
        name = f"({_name(change)}"
        if change.new is not None:
            columns, row = (
                "schema_name, view_name, fingerprint",
                f"{name}, {quote_text(change.new.fingerprint)})",
            )
            checks.append(f"SELECT 1 / count(*) FROM stepping.maintained_view WHERE ({columns}) = {row};\n")
        else:
            where = f"(schema_name, view_name) = {name})"
            checks.append(f"SELECT 1 / (1 - count(*)) FROM stepping.maintained_view WHERE {where};\n")
    return "".join(checks)
