"""The reference pages, made from docstrings, click and the comments of the catalog: a hook of mkdocs.yml."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGES = {"reference/python.md": "python_page", "reference/cli.md": "cli_page", "reference/sql.md": "sql_page"}


def on_files(files: Any, config: Any) -> Any:
    """mkdocs calls this: adds the pages."""
    from mkdocs.structure.files import File

    for path, page in PAGES.items():
        files.append(File.generated(config, path, content=globals()[page]()))
    return files


def python_page() -> str:
    """Every public name of the package, and what the adapters bring."""
    import pg_stepping

    lines = [
        "# Python",
        "",
        "`import pg_stepping`; the names of queries in Python are usually used as `st.`.",
        "",
    ]
    for name in sorted(pg_stepping.__all__, key=str.lower):
        lines += _described(name, getattr(pg_stepping, name))
    lines += ["## Declared views", ""]
    for name in ("View", "Declaration", "read_declaration"):
        from pg_stepping import migrate

        lines += _described(f"migrate.{name}", getattr(migrate, name))
    return "\n".join(lines)


def _described(name: str, thing: Any) -> list[str]:
    if not callable(thing):
        return [f"### {name}", "", f"`{thing!r}`", ""]
    try:
        signature = str(inspect.signature(thing)).replace("pg_stepping.", "")
    except (TypeError, ValueError):
        signature = "(...)"
    kind = "class " if inspect.isclass(thing) else ""
    lines = [
        f"### {name}",
        "",
        f"```python\n{kind}{name}{signature}\n```",
        "",
        inspect.getdoc(thing) or "",
        "",
    ]
    for member, what in _methods(thing) if inspect.isclass(thing) else ():
        lines += [f"`.{member}{inspect.signature(what)}`", "", inspect.getdoc(what) or "", ""]
    return lines


def _methods(kind: type) -> Iterator[tuple[str, Any]]:
    for name, what in vars(kind).items():
        function = getattr(what, "__func__", what)
        if not name.startswith("_") and inspect.isfunction(function) and function.__doc__:
            yield name, function


def cli_page() -> str:
    """Every command, as `--help` shows it."""
    import click

    from pg_stepping.cli import main

    context = click.Context(main, info_name="pg-stepping", max_content_width=100)
    lines = ["# Command line", "", "```text", main.get_help(context), "```", ""]
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        inside = click.Context(command, info_name=name, parent=context, max_content_width=100)
        lines += [f"## {name}", "", "```text", command.get_help(inside), "```", ""]
    return "\n".join(lines)


def sql_page() -> str:
    """The tables of schema stepping, with the comments of their columns, and its functions."""
    text = "\n".join(p.read_text() for p in sorted((ROOT / "sql").glob("[0-9]*.sql")))
    lines = [
        "# SQL",
        "",
        "What schema `stepping` has. Only `stepping.drop_view` is to be called by hand.",
        "",
    ]
    for table, body in re.findall(r"CREATE TABLE IF NOT EXISTS stepping\.(\w+) \((.*?)\);", text, re.S):
        lines += [f"## stepping.{table}", "", "```sql", f"CREATE TABLE stepping.{table} ({body});", "```", ""]
        said = rf"COMMENT ON (?:TABLE|COLUMN) stepping\.{table}(?:\.(\w+))? IS\s+'((?:[^']|'')*)'"
        for column, comment in re.findall(said, text):
            lines.append(f"- {f'`{column}`: ' if column else ''}{comment.replace(chr(39) * 2, chr(39))}")
        lines.append("")
    functions = r"((?:^-- .*\n)*)CREATE OR REPLACE FUNCTION stepping\.(\w+)(\([^)]*\))"
    lines += ["## Functions", ""]
    for comment, name, arguments in re.findall(functions, text, re.M):
        told = " ".join(line.removeprefix("-- ") for line in comment.splitlines())
        lines.append(f"- `stepping.{name}{' '.join(arguments.split())}` {told}".rstrip())
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    for page in PAGES.values():
        sys.stdout.write(globals()[page]())
