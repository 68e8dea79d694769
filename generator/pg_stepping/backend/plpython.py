"""A stage's delta program as a PL/Python trigger function."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from textwrap import indent

from pg_stepping.backend.settings import dollar_tag, pinned
from pg_stepping.backend.triggers import READING, function_name
from pg_stepping.delta import Lock, SourceProgram, StageProgram
from pg_stepping.delta.keys import Held
from pg_stepping.delta.terms import quote_table
from pg_stepping.frontend.dialect import is_placeholder
from pg_stepping.shipped import suffix, version

INDENT = "    "
_NOTHING = ("()", "[]", "{\n}", '("", "")')


def function(program: StageProgram, settings: tuple[tuple[str, str], ...]) -> str:
    """CREATE FUNCTION; a session's first call builds the statements, later calls find them in SD."""
    body = "\n".join(
        [
            *(f"# {line}" for line in READING),
            'if "maintain" not in SD:',
            f'    if "stepping {version()}" not in GD:',
            f'        plpy.execute("SELECT stepping.load_maintainer_{suffix()}()")',
            indent(_view(program), "    "),
            f'    SD["maintain"] = GD["stepping {version()}"](plpy, view)',
            'SD["maintain"](TD)',
        ]
    )
    name, tag = function_name(program), dollar_tag("python", body)
    set_ = pinned(settings, recursive=program.stage.is_recursive)
    return (
        f"CREATE FUNCTION {name}() RETURNS trigger\n"
        f"LANGUAGE plpython3u SECURITY DEFINER\n{set_}AS {tag}\n{body}\n{tag};"
    )


def _view(program: StageProgram) -> str:
    """What is particular to the view, as a Python dict; what several of its texts share comes before it."""
    shared = _Shared(program)
    text = shared.text
    entries: list[tuple[str, str | None]] = [
        ("stage", python_text(program.stage.name)),
        ("weight", python_text(program.sources[0].change.weight)),
        ("source", _dict({s.key: _source(program, s, shared) for s in program.sources})),
        ("insert", _tuple(map(text, program.insert))),
        ("gather", _tuple(map(text, program.gather))),
        ("before", _dict({name: text(query) for name, query in program.before})),
        ("apply", text(program.apply)),
        ("returning", text(program.returning)),
        ("outcome", text(program.outcome)),
        ("remove", None if program.remove is None else text(program.remove)),
        ("refresh", None if program.refresh is None else text(program.refresh)),
        ("empty", _tuple(map(text, program.empty))),
        ("unseen", None if program.unseen is None else python_text(program.unseen)),
        ("net", "True" if program.net else None),
        ("waiting", text(program.waiting)),
        ("waiting_locks", _locks(program.locks({s.table: quote_table(s.aside) for s in program.sources}))),
    ]  # fmt: skip
    if program.to_fill is not None:
        entries.append(("to_fill", _tuple(map(python_text, program.to_fill))))
    given = [(name, value) for name, value in entries if value and value not in _NOTHING]
    lines = [f'    "{name}": {indent(value, "    ").lstrip()},\n' for name, value in given]
    return "".join(shared.lines) + "view = {\n" + "".join(lines) + "}"


def _source(program: StageProgram, source: SourceProgram, shared: _Shared) -> str:
    change, text = source.change, shared.text
    entries = {
        "aside": python_text(quote_table(source.aside)),
        "columns": python_text(change.columns),
        "unsorted": None if change.sorts else "True",
        "by": python_text(change.by) if change.by != change.columns else None,
        "locks": _locks(program.locks({source.table: "change"})),
        "term": text(source.term),
        "grown": None if source.joined is None else text(source.joined),
        "alone": None if source.alone is None else _tuple([*map(text, source.alone), str(source.locked)]),
    }
    return _dict({k: v for k, v in entries.items() if v is not None and v != "[]"})


class _Shared:
    """Fragments that several texts have: each is a variable, and those texts are sums with it."""

    def __init__(self, program: StageProgram) -> None:
        of_sources = [t for s in program.sources for t in (s.term, s.joined or "", *(s.alone or ()))]
        texts = [*program.insert, program.apply, *of_sources]
        parts = {part: name for name, part in program.fragments if sum(part in t for t in texts) > 1}
        self.names = parts
        self.lines = [f"{name} = {_block(part)}\n" for part, name in parts.items()]

    def text(self, sql: str) -> str:
        """The SQL as a Python expression."""
        for part, name in self.names.items():
            before, found, after = sql.partition(part)
            if found:
                return " + ".join([*self._around(before), name, *self._around(after)])
        return python_text(sql)

    def _around(self, sql: str) -> list[str]:
        return [self.text(sql)] if sql.strip() else []


def _locks(locks: Iterable[Lock | Held]) -> str:
    lines = []
    for lock in locks:
        if isinstance(lock, Held):
            held = _tuple([python_text("rows"), python_text(lock.text)])
            lines.append(f"[\n{indent(held, INDENT)},\n],\n")
            continue
        parts = [f"({python_text(mode)}, {python_text(_line(query))}),\n" for mode, query in lock.parts]
        lines.append(f"[\n{indent(''.join(parts), INDENT)}],\n")
    return f"[\n{indent(''.join(lines), INDENT)}]" if lines else "[]"


def _line(sql: str) -> str:
    """Short SQL on one line."""
    one = " ".join(line.strip() for line in sql.splitlines())
    return one if len(one) < 140 and "'" not in one else sql


def _dict(values: Mapping[str, str]) -> str:
    lines = (f"    {python_name(k)}: {indent(v, '    ').lstrip()},\n" for k, v in values.items())
    return "{\n" + "".join(lines) + "}"


def _tuple(texts: Iterable[str]) -> str:
    items = [*texts]
    return f"({', '.join(items)}{',' if len(items) == 1 else ''})"


def python_name(name: str) -> str:
    """A name as a Python string: what stands in it stays as it is."""
    return _escaped(name) if "\n" in name else python_text(name)


def python_text(sql: str) -> str:
    """SQL as a Python string: as it is, wherever a triple-quoted string can hold it."""
    sql = sql.strip("\n")
    if "\n" in sql:
        return _block(sql)
    if not _fits(sql) or sql.startswith('"') or sql.endswith(('"', "\\")):
        return _escaped(sql)
    raw = "r" if "\\" in sql else ""
    return f'{raw}"{sql}"' if '"' not in sql else f"{raw}'{sql}'" if "'" not in sql else f'{raw}"""{sql}"""'


def _block(sql: str) -> str:
    """Lines of their own."""
    raw = "r" if "\\" in sql else ""
    return f'{raw}"""\n{indent(sql, INDENT)}\n"""' if _fits(sql) else _escaped(f"\n{sql}\n")


def _fits(sql: str) -> bool:
    return '"""' not in sql and not is_placeholder(sql) and sql.replace("\n", "").isprintable()


def _escaped(text: str) -> str:
    """A Python string in escapes, for names that no plain one, or no migration tool, can hold."""
    return '"' + "".join(c if c.isalnum() or c == " " else f"\\U{ord(c):08x}" for c in text) + '"'
