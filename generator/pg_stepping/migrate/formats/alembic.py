"""Alembic: a revision that runs the SQL by `op.execute`, and needs nothing of pg_stepping."""

from __future__ import annotations

import ast
import hashlib
from dataclasses import dataclass
from pathlib import Path

from pg_stepping.errors import InvalidDeclaration
from pg_stepping.migrate.formats.python_text import literal, strings_in
from pg_stepping.migrate.migration import Migration


@dataclass(frozen=True, slots=True)
class _Revision:
    name: str
    after: tuple[str, ...]
    up: str


def history(folder: Path) -> list[str]:
    left = _revisions(folder)
    names = {r.name for r in left}
    done: set[str] = set()
    texts = []
    while left:
        ready = [r for r in left if all(a in done or a not in names for a in r.after)]
        if not ready:
            raise InvalidDeclaration(
                f"the revisions in {folder} go round in a circle", hint="see `alembic history`"
            )
        for revision in ready:
            texts.append(revision.up)
            done.add(revision.name)
        left = [r for r in left if r.name not in done]
    return texts


def files(folder: Path, migration: Migration) -> dict[str, str]:
    revisions = _revisions(folder)
    heads = sorted({r.name for r in revisions} - {a for r in revisions for a in r.after})
    if len(heads) > 1:
        hint = "join them first: alembic merge heads"
        raise InvalidDeclaration(f"{folder} has several heads: {', '.join(heads)}", hint=hint)
    after = heads[0] if heads else None
    name = hashlib.sha256(f"{after} {migration.up}".encode()).hexdigest()[:12]
    return {f"{name}_{migration.slug}.py": _text(name, after, migration)}


def _text(name: str, after: str | None, migration: Migration) -> str:
    return f'''"""{migration.title}

Revision ID: {name}
Revises: {after or ""}
"""

from alembic import op

revision = {name!r}
down_revision = {after!r}
branch_labels = None
depends_on = None


def upgrade() -> None:
    {execute(migration.up)}


def downgrade() -> None:
    {execute(migration.down)}
'''


def execute(sql: str, prefix: str = "op.") -> str:
    """The call that runs it, as Python for the body of a function."""
    return f"{prefix}execute({literal(sql, ' ' * 8)}\n    )"


def _revisions(folder: Path) -> list[_Revision]:
    found = []
    for file in sorted(folder.glob("*.py")) if folder.is_dir() else []:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        values = {
            t.id: s.value
            for s in tree.body if isinstance(s, ast.Assign | ast.AnnAssign) and s.value is not None
            for t in (s.targets if isinstance(s, ast.Assign) else [s.target]) if isinstance(t, ast.Name)
        }  # fmt: skip
        if "revision" not in values:
            continue
        after = ast.literal_eval(values.get("down_revision", ast.Constant(None)))
        ups = [f for f in tree.body if isinstance(f, ast.FunctionDef) and f.name == "upgrade"]
        up = "\n".join(s for f in ups for s in strings_in(f))
        afters = (after,) if isinstance(after, str) else tuple(after or ())
        found.append(_Revision(str(ast.literal_eval(values["revision"])), afters, up))
    return found
