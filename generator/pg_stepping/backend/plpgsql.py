"""A stage's delta program as a PL/pgSQL trigger function, for servers without PL/Python.

The statements are the same; they are written out one by one, since PL/pgSQL keeps the plans of static SQL.
No EXCEPTION block is used anywhere: it would open a subtransaction.
"""

from __future__ import annotations

from collections.abc import Callable
from textwrap import indent

from pg_stepping.backend.settings import close_columns, dollar_tag, pinned, settled_query, wait_statements
from pg_stepping.backend.triggers import function_name
from pg_stepping.delta import SourceProgram, StageProgram
from pg_stepping.delta.change import EVENTS
from pg_stepping.delta.terms import quote_table
from pg_stepping.frontend.dialect import quote_text


def function(program: StageProgram, settings: tuple[tuple[str, str], ...]) -> str:
    """CREATE FUNCTION."""
    clear = [f"DELETE FROM {quote_table(s.aside)}" for s in program.sources]
    variables = ["least bigint;", "emptied tid[];", "stale tid[];", "open integer;", "waiting boolean;"]
    truncated = [
        "IF TG_OP = 'TRUNCATE' THEN",
        *_statements([program.empty, *clear]),
        "    RETURN NULL;",
        "END IF;",
    ]
    code = [
        *truncated,
        *_waiting(program, clear),
        *_by_source(program, lambda s: _by_event(lambda event: _fast_path(program, s, event))),
        *_after(program),
        "RETURN NULL;",
    ]
    declared = [f"    {v}" for v in variables]
    head = ["#variable_conflict use_column", "<<maintain>>", "DECLARE", *declared, "BEGIN"]
    body = "\n".join([*head, indent("\n".join(code), "    "), "END"])
    name, tag = function_name(program), dollar_tag("body", body)
    return (
        f"CREATE FUNCTION {name}() RETURNS trigger\n"
        f"LANGUAGE plpgsql SECURITY DEFINER\n{pinned(settings)}AS {tag}\n{body}\n{tag};"
    )


def _statements(sqls: list[str]) -> list[str]:
    return [indent(f"{sql};", "    ") for sql in sqls]


def _by_source(program: StageProgram, code: Callable[[SourceProgram], str]) -> list[str]:
    """The code for each source, chosen by the trigger's argument."""
    if len(program.sources) == 1:
        return [code(program.sources[0])]
    lines = []
    for i, source in enumerate(program.sources):
        word = "IF" if i == 0 else "ELSIF"
        lines += [f"{word} TG_ARGV[0] = {quote_text(source.key)} THEN", indent(code(source), "    ")]
    return [*lines, "END IF;"]


def _by_event(code: Callable[[str], str]) -> str:
    lines = []
    for i, event in enumerate(EVENTS):
        lines += [f"{'IF' if i == 0 else 'ELSIF'} TG_OP = '{event}' THEN", *_statements([code(event)])]
    return "\n".join([*lines, "END IF;"])


def _fast_path(program: StageProgram, source: SourceProgram, event: str) -> str:
    change, delta = source.change.query(event), program.delta(source.term)
    head = f"WITH change AS (\n{indent(change, '    ')}\n), delta AS (\n{indent(delta, '    ')}\n)"
    return f"{head}\n{program.apply}" if event == "INSERT" else _settle(program, head)


def _settle(program: StageProgram, head: str) -> str:
    """Add a delta that may take rows away; `_after` looks at what is left."""
    inner = indent(f"{program.apply}\n{program.returning}", "    ")
    names = ["least"]
    names += ["emptied"] if program.remove is not None else []
    names += ["stale"] if program.refresh is not None else []
    return f"{head}, changed AS (\n{inner}\n)\n{program.outcome}\nINTO {', '.join(names)}"


def _after(program: StageProgram) -> list[str]:
    lines = [
        "IF least < 0 THEN",
        f"    RAISE 'stepping.{program.stage.name} is corrupt: a count fell below zero'",
        "    USING ERRCODE = 'data_corrupted',",
        "        HINT = 'verify shows the difference; repair it, or drop and create the view again';",
        "END IF;",
    ]
    for variable, sql in (("emptied", program.remove), ("stale", program.refresh)):
        if sql is not None:
            given = _statements([sql.replace("ANY ($1)", f"ANY (maintain.{variable})")])
            lines += [f"IF {variable} IS NOT NULL THEN", *given, "END IF;"]
    return lines


def _waiting(program: StageProgram, clear: list[str]) -> list[str]:
    """Set the change aside if others are still to come; the last one settles them all."""
    open_, waiting = close_columns(program)
    note, tell = wait_statements(program)
    together = program.delta(*(s.waiting for s in program.sources))
    combined = _settle(program, f"WITH delta AS (\n{indent(together, '    ')}\n)")
    noted = f"DELETE FROM stepping.waiting WHERE stage = {quote_text(program.stage.name)}"
    settled = _statements([combined, *clear, noted, _perform(settled_query(program))])
    asides = _by_source(
        program,
        lambda s: _by_event(lambda event: f"INSERT INTO {quote_table(s.aside)}\n{s.change.query(event)}"),
    )
    inner = [
        *asides,
        "IF open = 0 THEN",
        *settled,
        *(indent(line, "    ") for line in _after(program)),
        "ELSIF NOT waiting THEN",
        *_statements([note, _perform(tell)]),
        "END IF;",
        "RETURN NULL;",
    ]
    body = indent("\n".join(inner), "    ")
    return [f"open := {open_};", f"waiting := {waiting};", "IF open <> 0 OR waiting THEN", body, "END IF;"]


def _perform(query: str) -> str:
    return f"PERFORM {query.removeprefix('SELECT ')}"
