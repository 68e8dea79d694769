"""How a stage's triggers get onto the tables that it reads."""

from __future__ import annotations

from collections.abc import Mapping

from pg_stepping.delta import StageProgram
from pg_stepping.frontend.dialect import quote_name, quote_text
from pg_stepping.frontend.postgres import Relation
from pg_stepping.ir import Table


def function_name(program: StageProgram) -> str:
    """The trigger function of a stage."""
    return f"stepping.{quote_name(program.stage.name + '__maintain')}"


def follow_call(program: StageProgram, relations: Mapping[Table, Relation]) -> str:
    """The call that creates the triggers on all tables of the stage (see sql/10_catalog.sql)."""
    tables = ", ".join(quote_text(_regclass(s.table)) for s in program.sources)
    keys = ", ".join(quote_text(s.key) for s in program.sources)
    stage = quote_text(program.stage.name)
    parted = [s.key for s in program.sources if s.table in relations and relations[s.table].has_parts]
    more = f", ARRAY[{', '.join(map(quote_text, parted))}]" if parted else ""
    return f"stepping.follow({stage}, ARRAY[{tables}]::regclass[], ARRAY[{keys}]{more})"


def _regclass(table: Table) -> str:
    """The name as the input of regclass, which knows no U&"..."."""
    plain = (f"{quote_name(n)}" for n in (table.schema, table.name))
    return ".".join(q if not q.startswith("U&") else '"' + n.replace('"', '""') + '"'
                    for q, n in zip(plain, (table.schema, table.name), strict=True))  # fmt: skip
