"""SQL in a migration that is a Python file: one literal for each line, whatever it contains and
however it is indented.
"""

from __future__ import annotations

import ast


def literal(sql: str, indent: str) -> str:
    """A Python expression for a text of several lines, each on a line of its own after `indent`."""
    lines = sql.split("\n")
    literals = [repr(line + "\n") for line in lines[:-1]] + ([repr(lines[-1])] if lines[-1] else [])
    return "".join(f"\n{indent}{text}" for text in literals or ["''"])


def strings_in(tree: ast.AST) -> list[str]:
    """All strings of several lines below a node, in their order."""
    found = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return [
        str(n.value) for n in sorted(found, key=lambda n: (n.lineno, n.col_offset)) if "\n" in str(n.value)
    ]
