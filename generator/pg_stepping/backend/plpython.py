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
from pg_stepping.shipped import MAINTAINER

INDENT = "    "
WIDTH = 110  # of a line of SQL that could be several
_READING = (
    "Of each source: how its changes are read, what they lock (edges of the join tree, queries of keys) and",
    "join; then how what they join is gathered, as the relation delta, and merged into the state.",
)
_NOTHING = ("()", "[]", "{\n}", '("", "")')


def function(program: StageProgram, settings: tuple[tuple[str, str], ...]) -> str:
    """CREATE FUNCTION; a session's first call builds the statements, later calls find them in SD."""
    body = "\n".join(
        [
            *(f"# {line}" for line in READING),
            'if "maintain" not in SD:',
            f'    if "{MAINTAINER}" not in GD:',
            f'        plpy.execute("SELECT stepping.load_{MAINTAINER}()")',
            *(f"    # {line}" for line in _READING),
            indent(f"view = {_view(program)}", "    "),
            f'    SD["maintain"] = GD["{MAINTAINER}"](plpy, view)',
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
    """What is particular to the view, as a Python dict."""
    text = python_text
    anew = program.stage.kind == "partition"  # its touched keys follow from all that waits together
    apart = program.apart and (not anew or len(program.sources) == 1)
    waiting = {s.table: quote_table(s.aside) for s in program.sources}
    entries: dict[str, str | None] = {
        "stage": text(program.stage.name),
        "weight": text(program.sources[0].change.weight),
        "source": _dict({s.key: _source(program, s) for s in program.sources}),
        "gather": _tuple(map(text, program.gather)),
        "before": _dict({name: text(query) for name, query in program.before}),
        "into": text(program.into),
        "select": text(program.select),
        "merge": text(program.merge),
        "returning": text(program.returning),
        "outcome": text(_line(program.outcome, 150)),
        "remove": None if program.remove is None else text(program.remove),
        "refresh": None if program.refresh is None else text(program.refresh),
        "empty": _tuple(map(text, program.empty)),
        "unseen": None if program.unseen is None else text(program.unseen),
        "to_fill": None if program.to_fill is None else _tuple(map(text, program.to_fill)),
        "net": "True" if program.net else None,
        "waiting": None if apart else text(program.waiting),
        "waiting_locks": _locks(program.locks(waiting)) if anew and not apart else None,
    }
    return _dict({name: value for name, value in entries.items() if value and value not in _NOTHING}).rstrip()


def _source(program: StageProgram, source: SourceProgram) -> str:
    change, text = source.change, python_text
    term = text(source.term)
    if source.joined is not None:
        term = f"({text(source.selected)}, {text(source.joined)})"
    entries = {
        "aside": text(quote_table(source.aside)),
        "columns": text(change.columns),
        "where": None if change.where is None else text(change.where),
        "unsorted": None if change.sorts else "True",
        "by": text(change.by) if change.by != change.columns else None,
        "locks": _locks(program.locks({source.table: "change"})),
        "term": term,
        "alone": None if source.alone is None else text(source.alone),
    }
    return _dict({k: v for k, v in entries.items() if v is not None and v != "[]"})


def _locks(locks: Iterable[Lock | Held]) -> str:
    """Each statement: its parts, or its text."""
    return _list(python_text(lock.text) if isinstance(lock, Held) else _parts(lock) for lock in locks)


def _parts(lock: Lock) -> str:
    return _list(f"({edge}, {python_text(query)})" for edge, query in lock.parts)


def _list(items: Iterable[str]) -> str:
    """A line an item."""
    return "[" + ",\n ".join(item.replace("\n", "\n ") for item in items) + "]"


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
    sql = _line(sql.strip("\n"))
    if "\n" in sql:
        return _block(sql)
    if not _fits(sql) or sql.startswith('"') or sql.endswith(('"', "\\")):
        return _escaped(sql)
    raw = "r" if "\\" in sql else ""
    return f'{raw}"{sql}"' if '"' not in sql else f"{raw}'{sql}'" if "'" not in sql else f'{raw}"""{sql}"""'


def _line(sql: str, width: int = WIDTH) -> str:
    """Short SQL on one line, if no value or name in it has several."""
    lines = sql.split("\n")
    one = " ".join(line.strip(" ") for line in lines) if len(lines) > 1 else sql
    return one if len(one) < width and "'" not in one and not any(s.count('"') % 2 for s in lines) else sql


def _block(sql: str) -> str:
    """Lines of their own."""
    raw = "r" if "\\" in sql else ""
    return f'{raw}"""\n{indent(sql, INDENT)}\n"""' if _fits(sql) else _escaped(f"\n{sql}\n")


def _fits(sql: str) -> bool:
    return '"""' not in sql and not is_placeholder(sql) and sql.replace("\n", "").isprintable()


def _escaped(text: str) -> str:
    """A Python string in escapes, for names that no plain one, or no migration tool, can hold."""
    return '"' + "".join(c if c.isalnum() or c == " " else f"\\U{ord(c):08x}" for c in text) + '"'
