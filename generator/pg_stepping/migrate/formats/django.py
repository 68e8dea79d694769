"""Django: a migration with one operation for each change (see pg_stepping.django.operations)."""

from __future__ import annotations

import ast
from pathlib import Path

from pg_stepping.errors import InvalidDeclaration
from pg_stepping.migrate.formats.numbers import following, numbered
from pg_stepping.migrate.formats.python_text import literal, strings_in
from pg_stepping.migrate.migration import Migration

_NAME = r"(\d+)_.*\.py\Z"


def history(folder: Path) -> list[str]:
    trees = [ast.parse(file.read_text(encoding="utf-8")) for _, file in numbered(folder, _NAME)]
    keywords = [
        sorted(
            (k for k in ast.walk(tree) if isinstance(k, ast.keyword) and k.arg == "sql"),
            key=lambda k: k.lineno,
        )
        for tree in trees
    ]
    return ["\n".join(s for k in found for s in strings_in(k)) for found in keywords]


def files(folder: Path, migration: Migration) -> dict[str, str]:
    there = numbered(folder, _NAME)
    number = following([f.name.split("_")[0] for _, f in there], "0001")
    app = folder.resolve().parent.name
    return {f"{number}_{migration.slug}.py": _text(app, _leaves(app, [f for _, f in there]), migration)}


def _leaves(app: str, files: list[Path]) -> list[str]:
    """The migration of the app that no other one depends on."""
    needed = set()
    for file in files:
        for assigned in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(assigned, ast.Assign) and ast.unparse(assigned.targets[0]) == "dependencies":
                pairs = [n for n in ast.walk(assigned.value) if isinstance(n, ast.Tuple) and len(n.elts) == 2]
                needed |= {name for a, name in map(_constants, pairs) if a == app}
    leaves = [f.stem for f in files if f.stem not in needed]
    if len(leaves) > 1:
        hint = "join them first: manage.py makemigrations --merge"
        raise InvalidDeclaration(f"the app {app} has several last migrations: {', '.join(leaves)}", hint=hint)
    return leaves


def _constants(pair: ast.Tuple) -> tuple[object, ...]:
    return tuple(e.value if isinstance(e, ast.Constant) else None for e in pair.elts)


def _text(app: str, leaves: list[str], migration: Migration) -> str:
    dependencies = "".join(f"\n        ({app!r}, {leaf!r})," for leaf in leaves)
    operation = f"""MaintainedViews(
            title={migration.title!r},
            sql=({literal(migration.up, " " * 16)}
            ),
            reverse_sql=({literal(migration.down, " " * 16)}
            ),
        ),"""
    return f"""from django.db import migrations

from pg_stepping.django.operations import MaintainedViews


class Migration(migrations.Migration):
    dependencies = [{dependencies}{chr(10) + "    " if leaves else ""}]

    operations = [
        {operation}
    ]
"""
