"""A stage's delta program as a PL/pgSQL trigger function, for servers without PL/Python.

The statements are the same; they are written out one by one, since PL/pgSQL keeps the plans of static SQL.
No EXCEPTION block is used anywhere: it would open a subtransaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from textwrap import indent

from pg_stepping.backend.settings import (
    dollar_tag,
    is_only_change,
    nothing_waits,
    pinned,
)
from pg_stepping.backend.triggers import READING, function_name
from pg_stepping.delta import Lock, SourceProgram, StageProgram
from pg_stepping.delta.change import EVENTS
from pg_stepping.delta.keys import Held
from pg_stepping.delta.locks import OLD_SNAPSHOT
from pg_stepping.delta.stage import SCHEMA
from pg_stepping.delta.terms import quote_table
from pg_stepping.frontend.dialect import quote_text
from pg_stepping.ir import Table

WIDTH = 130  # of a line, beside the little that is around a query of one line


def function(program: StageProgram, settings: tuple[tuple[str, str], ...]) -> str:
    """CREATE FUNCTION."""
    clear = [f"DELETE FROM {quote_table(s.aside)}" for s in program.sources]
    code = [
        *_usual_case(program),
        "IF TG_OP = 'TRUNCATE' THEN",
        *_truncated(program, clear),
        "ELSIF TG_ARGV[0] = '' THEN  -- the statement is at its end: carry what it set aside",
        *_statements(_carry(program, clear)),
        *_at_once(program),
        "ELSE  -- more changes may come: set this one aside",
        *_indented(_set_aside(program)),
        "END IF;",
        *_look_after(program),
        "RETURN NULL;",
    ]
    held = ["held bigint;"] if program.keys else []
    variables = [*held, "least bigint;", "emptied tid[];", "stale tid[];"]
    declared = [f"    {v}" for v in variables]
    reading = [f"-- {line}" for line in READING]
    head = ["#variable_conflict use_column", *reading, "<<maintain>>", "DECLARE", *declared, "BEGIN"]
    body = "\n".join([*head, indent("\n".join(code), "    "), "END"])
    name, tag = function_name(program), dollar_tag("body", body)
    set_ = pinned(settings, recursive=program.stage.is_recursive)
    return (
        f"CREATE FUNCTION {name}() RETURNS trigger\n"
        f"LANGUAGE plpgsql SECURITY DEFINER\n{set_}AS {tag}\n{body}\n{tag};"
    )


def _is_usual(program: StageProgram, source: SourceProgram, event: str) -> bool:
    """Whether this is an insert of facts: the case that has to be fast."""
    facts = program.tree[-1].parent.table if program.tree else program.sources[0].table
    return event == "INSERT" and source.table == facts and source.grown is not None


def _usual_case(program: StageProgram) -> list[str]:
    """Inserted facts, before all else: each expression of PL/pgSQL costs a microsecond a transaction.

    RETURN NEW, which is NULL for a statement, has none.
    """
    for source in _base_sources(program):
        if _is_usual(program, source, "INSERT"):
            return [
                f"IF TG_OP = 'INSERT' AND TG_ARGV[0] = {quote_text(source.key)} AND {nothing_waits()} THEN",
                *_statements([*_fast_path(program, source, "INSERT"), "RETURN NEW"]),
                "END IF;",
            ]
    return []


def _base_sources(program: StageProgram) -> list[SourceProgram]:
    """The sources that statements change. What a stage changes in its state table is set aside for those that
    read it: the statement that does so is within another."""
    return [s for s in program.sources if s.table.schema != SCHEMA]


def _at_once(program: StageProgram) -> list[str]:
    """Carry a change that is the only one."""
    sources = _base_sources(program)
    if not sources:
        return []
    keys = ", ".join(quote_text(s.key) for s in sources)
    ours = "" if len(sources) == len(program.sources) else f" AND TG_ARGV[0] IN ({keys})"

    def changes(source: SourceProgram) -> str:
        events = [e for e in EVENTS if not _is_usual(program, source, e)]
        return _by_event(lambda event: _fast_path(program, source, event), events)

    return [
        f"ELSIF {is_only_change()}{ours}{_but_usual(program)} THEN",
        *_indented(_by_source(sources, changes)),
    ]


def _but_usual(program: StageProgram) -> str:
    """Inserted facts that come after the usual case are set aside, whatever waits."""
    usual = [s for s in _base_sources(program) if _is_usual(program, s, "INSERT")]
    return "".join(f" AND (TG_OP <> 'INSERT' OR TG_ARGV[0] <> {quote_text(s.key)})" for s in usual)


def _truncated(program: StageProgram, clear: list[str]) -> list[str]:
    """What to do when a table is empty: at once, or at the statement's end where the state is filled then."""
    empty = _statements([*clear, *_empty(program)])
    if program.to_fill is None:
        return empty
    mark, is_marked = program.to_fill
    return [
        *_statements([mark, _note(program)]),
        f"ELSIF TG_ARGV[0] = '' AND EXISTS ({is_marked}) THEN  -- a table was emptied: fill the state again",
        *empty,
    ]


def _note(program: StageProgram) -> str:
    """Let the stage have its turn when the statement is at its end."""
    return f"PERFORM stepping.wait({quote_text(program.stage.name)}, TG_ARGV[1]::integer)"


def _empty(program: StageProgram) -> list[str]:
    """Empty the state; DELETE by itself would leave rows that an old snapshot does not see."""
    if program.unseen == "":
        return [*program.empty]
    refused = f"PERFORM stepping.refuse_snapshot({quote_text(program.stage.name)})"
    return [f"IF {OLD_SNAPSHOT} THEN\n    {program.unseen or refused};\nEND IF", *program.empty]


def _statements(sqls: list[str]) -> list[str]:
    return [indent(f"{sql};", "    ") for sql in sqls]


def _indented(lines: list[str]) -> list[str]:
    return [indent(line, "    ") for line in lines]


def _by_source(sources: Sequence[SourceProgram], code: Callable[[SourceProgram], str]) -> list[str]:
    """The code for each source, chosen by the trigger's argument."""
    if len(sources) == 1:
        return [code(sources[0])]
    lines = []
    for i, source in enumerate(sources):
        word = "IF" if i == 0 else "ELSIF"
        lines += [f"{word} TG_ARGV[0] = {quote_text(source.key)} THEN", indent(code(source), "    ")]
    return [*lines, "END IF;"]


def _by_event(code: Callable[[str], list[str]], events: Sequence[str] = EVENTS) -> str:
    lines = []
    for i, event in enumerate(events):
        lines += [f"{'IF' if i == 0 else 'ELSIF'} TG_OP = '{event}' THEN", *_statements(code(event))]
    return "\n".join([*lines, "END IF;"])


def _fast_path(program: StageProgram, source: SourceProgram, event: str) -> list[str]:
    """Add the effect of the change to the state."""
    plain = program.stage.kind != "partition" and source.change.where is None
    relation = {"INSERT": "inserted", "DELETE": "deleted"}.get(event, "change") if plain else "change"
    change = _cte("change AS", source.change.query(event))
    with_ = f"WITH {change}\n" if relation == "change" else ""
    lines = _take(program, {source.table: relation}, with_)
    if lines:
        lines.insert(1, "IF NOT FOUND THEN RETURN NEW; END IF")  # nothing that can matter has changed
    if event == "INSERT" and source.grown is not None:
        many = [*lines, program.insert(source.grown)]
        taken = program.locks({source.table: relation})
        if source.alone is None or not taken:
            return many
        lock = taken[0]  # those of facts are one statement
        assert isinstance(lock, Lock)
        return [
            f"-- One row needs no order, and nothing to gather.\n{_perform(lock.of_one('inserted', with_))}",
            f"IF FOUND THEN\n    {indent(program.insert_one(source), '    ').lstrip()};\nELSE\n"
            + "\n".join(_statements(many))
            + "\nEND IF",
        ]
    return [*lines, _settle(program, [change, _cte("delta AS", program.delta(source.term))])]


def _take(program: StageProgram, changed: Mapping[Table, str], with_: str = "") -> list[str]:
    """Take the locks, in the order of their statements."""
    taken = [
        f"{lock.query(with_)}\nINTO held" if isinstance(lock, Held) else _perform(lock.query(with_))
        for lock in program.locks(changed)
    ]
    if taken:
        taken[0] = f"-- Whoever writes rows that join with these waits here, then sees them.\n{taken[0]}"
    return taken


def _settle(program: StageProgram, parts: list[str]) -> str:
    """Apply the relation `delta`, and tell what it left."""
    applied = _cte("changed AS", f"{program.apply}\n{program.returning}")
    parts = [*parts, *(_cte(name, query) for name, query in program.before), applied]
    return f"WITH {', '.join(parts)}\n{program.outcome}\nINTO {_outcome_variables(program)}"


def _cte(name: str, query: str) -> str:
    short = "\n" not in query and len(query) < WIDTH
    return f"{name} ({query})" if short else f"{name} (\n{indent(query, '    ')}\n)"


def _outcome_variables(program: StageProgram) -> str:
    names = ["least"]
    names += ["emptied"] if program.remove is not None else []
    names += ["stale"] if program.refresh is not None else []
    return ", ".join(names)


def _look_after(program: StageProgram) -> list[str]:
    """See to the groups from which rows were taken."""
    lines = [
        "IF least < 0 THEN",
        f"    RAISE 'stepping.{program.stage.name} is corrupt: a count fell below zero'",
        "    USING ERRCODE = 'data_corrupted',",
        "        HINT = 'verify shows the difference; repair it, or drop and create the view again';",
        "END IF;",
    ]
    for variable, sql in (("emptied", program.remove), ("stale", program.refresh)):
        if sql is not None:
            given = _statements([_perform(sql.replace("($1)", f"(maintain.{variable})"))])
            lines += [f"IF {variable} IS NOT NULL THEN", *given, "END IF;"]
    return lines


def _set_aside(program: StageProgram) -> list[str]:
    """Let the change wait for others that are still to come."""
    into = _by_source(
        program.sources,
        lambda s: _by_event(lambda event: [f"INSERT INTO {quote_table(s.aside)}\n{s.change.query(event)}"]),
    )
    return [*into, "IF FOUND THEN", *_statements([_note(program)]), "END IF;"]


def _carry(program: StageProgram, clear: list[str]) -> list[str]:
    """Carry all that waits to the state."""
    asides = {s.table: quote_table(s.aside) for s in program.sources}
    together = _cte("delta AS", program.delta(program.waiting))
    return [*program.net, *_take(program, asides), _settle(program, [together]), *clear]


def _perform(query: str) -> str:
    return f"PERFORM {query.removeprefix('SELECT ')}" if query.startswith("SELECT ") else query
