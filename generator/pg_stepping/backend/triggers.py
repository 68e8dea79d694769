"""How a stage's triggers get onto the tables that it reads."""

from __future__ import annotations

from pg_stepping.delta import StageProgram
from pg_stepping.frontend.dialect import quote_name, quote_text
from pg_stepping.ir import Table


def function_name(program: StageProgram) -> str:
    """The trigger function of a stage."""
    return f"stepping.{quote_name(program.stage.name + '__maintain')}"


def follow_calls(program: StageProgram) -> list[str]:
    """For each table of the stage, the call that creates its triggers (see sql/10_catalog.sql)."""
    stage = quote_text(program.stage.name)
    keys = {s.table: quote_text(s.key) for s in program.sources} | dict.fromkeys(program.awaits, "NULL")
    return [f"stepping.follow({quote_text(_regclass(t))}, {stage}, {key})" for t, key in keys.items()]


def _regclass(table: Table) -> str:
    """The name as the input of regclass, which knows no U&"..."."""
    plain = (f"{quote_name(n)}" for n in (table.schema, table.name))
    return ".".join(q if not q.startswith("U&") else '"' + n.replace('"', '""') + '"'
                    for q, n in zip(plain, (table.schema, table.name), strict=True))  # fmt: skip
