"""A stage's delta program as a PL/Python trigger function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import indent

from pg_stepping.backend.settings import dollar_tag, pinned
from pg_stepping.backend.triggers import function_name
from pg_stepping.delta import Lock, StageProgram
from pg_stepping.delta.terms import quote_table
from pg_stepping.frontend.dialect import is_placeholder


def function(program: StageProgram, settings: tuple[tuple[str, str], ...]) -> str:
    """CREATE FUNCTION; a session's first call builds the statements, later calls find them in SD."""
    body = "\n".join(
        [
            'if "maintain" not in SD:',
            '    if "stepping" not in GD:',
            '        plpy.execute("SELECT stepping.load_maintainer()")',
            indent(_view(program), "    "),
            '    SD["maintain"] = GD["stepping"](plpy, view)',
            'SD["maintain"](TD)',
        ]
    )
    name, tag = function_name(program), dollar_tag("python", body)
    return (
        f"CREATE FUNCTION {name}() RETURNS trigger\n"
        f"LANGUAGE plpython3u SECURITY DEFINER\n{pinned(program, settings)}AS {tag}\n{body}\n{tag};"
    )


def _view(program: StageProgram) -> str:
    """What is particular to the view, as a Python dict."""
    sources = program.sources
    comma = {s.key: ", " if s.change.columns else "" for s in sources}
    entries: list[tuple[str, str]] = [
        ("stage", python_text(program.stage.name)),
        ("weight", python_text(sources[0].change.weight)),
        (
            "rows",
            _dict({s.key: _tuple([s.change.columns + comma[s.key], s.change.kept + comma[s.key],
                                  f"GROUP BY {s.change.by}" if s.change.by else ""]) for s in sources}),
        ),
        ("term", _dict({s.key: python_text(s.term) for s in sources})),
        ("grown", _dict({s.key: python_text(s.grown) for s in sources if s.grown is not None})),
        ("insert", _tuple([i.strip("\n") for i in program.insert])),
        ("gather", _tuple([g.strip("\n") for g in program.gather])),
        ("before", _dict({name: python_text(query) for name, query in program.before})),
        ("apply", python_text(program.apply)),
        ("returning", python_text(program.returning)),
        ("outcome", python_text(program.outcome)),
        ("empty", _list(program.empty)),
    ]  # fmt: skip
    if program.stage.kind != "total" and len(program.empty) == 1:
        entries.append(("unseen", python_text(f"TRUNCATE {quote_table(program.stage.table)}")))
    if program.remove is not None:
        entries.append(("emptied", python_text(program.remove)))
    if program.refresh is not None:
        entries.append(("stale", python_text(program.refresh)))
    entries += [
        ("locks", _dict({s.key: _locks(program.locks({s.table: "change"})) for s in sources})),
        ("aside", _dict({s.key: python_text(quote_table(s.aside)) for s in sources})),
        ("net", _list(program.net)),
        ("waiting", python_text(program.waiting)),
        ("waiting_locks", _locks(program.locks({s.table: quote_table(s.aside) for s in sources}))),
    ]
    return "view = {\n" + "".join(f'    "{name}": {value},\n' for name, value in entries) + "}"


def _locks(locks: Sequence[Lock]) -> str:
    return "[" + "".join(f"\n            {_tuple([lock.function, lock.keys])}," for lock in locks) + "]"


def _dict(values: Mapping[str, str]) -> str:
    return "{\n" + "".join(f"        {python_text(k)}: {v},\n" for k, v in values.items()) + "    }"


def _list(texts: Sequence[str]) -> str:
    return "[\n" + "".join(f"        {python_text(t)},\n" for t in texts) + "    ]"


def _tuple(texts: Sequence[str]) -> str:
    return f"({', '.join(map(python_text, texts))})"


def python_text(sql: str) -> str:
    """SQL as a Python string: as it is, wherever a triple-quoted string can hold it."""
    fits = '"""' not in sql and not sql.startswith('"') and not sql.endswith(('"', "\\"))
    if not fits or is_placeholder(sql) or not sql.replace("\n", "").isprintable():
        return _escaped(sql)
    raw = "r" if "\\" in sql else ""
    if "\n" in sql:
        return f'{raw}"""\n{indent(sql, " " * 12)}"""'
    return f'{raw}"{sql}"' if '"' not in sql else f"{raw}'{sql}'" if "'" not in sql else f'{raw}"""{sql}"""'


def _escaped(text: str) -> str:
    """A Python string in escapes, for names that no plain one, or no migration tool, can hold."""
    return '"' + "".join(c if c.isalnum() or c == " " else f"\\U{ord(c):08x}" for c in text) + '"'
