"""What the commands share: a connection, keys as words, results as tables."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click
import psycopg
from psycopg.rows import dict_row
from tabulate import tabulate

from pg_stepping.frontend.postgres import Connection


@contextmanager
def connected(ctx: click.Context, *, autocommit: bool = False) -> Iterator[Connection]:
    """A connection to the database, committed at the end unless something failed."""
    with psycopg.connect(ctx.obj, autocommit=autocommit) as conn:
        yield conn


def table(rows: Iterable[Mapping[str, Any]], headers: Sequence[str] | None = None) -> str:
    """Rows, by the names of their columns, as a table; NULL is shown as such."""
    listed = list(rows)
    names = list(headers or (listed[0] if listed else ()))
    cells = [["NULL" if row[n] is None else str(row[n]) for n in names] for row in listed]
    return tabulate(cells, names, disable_numparse=True)


def shown(conn: Connection, query: str) -> list[dict[str, Any]]:
    """The rows of a query, for `table`."""
    cursor = conn.cursor(row_factory=dict_row)
    return cursor.execute(query).fetchall()


class Steps:
    """Shows the steps of what takes long, on stderr: how far each is, and how long it will still take.

    On a terminal as a bar, else as a line for each tenth.
    """

    def __init__(self) -> None:
        self._step = ""
        self._bar: Any = None
        self._began = 0.0
        self._told = 0.0

    def __call__(self, step: str, share: float) -> None:
        if step != self._step:
            self._step, self._began, self._told = step, time.monotonic(), 0
            self._bar = click.progressbar(length=1000, label=step, file=sys.stderr, show_eta=True)
            self._bar.render_progress()
        self._bar.update(round(share * 1000) - self._bar.pos)
        if sys.stderr.isatty():
            if share == 1:
                self._bar.render_finish()
        elif share >= min(self._told + 0.1, 1):
            self._told = share
            left = (time.monotonic() - self._began) * (1 - share) / share
            click.echo(f"{step} {share:.0%}, about {left:.0f} s left", err=True)


class KeyType(click.ParamType[Mapping[str, Any]]):
    """`column=value,column=value`, or a JSON object where a value has a comma or is null."""

    name = "key"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Mapping[str, Any]:
        if isinstance(value, str) and value.lstrip().startswith("{"):
            try:
                return {k: v if v is None else _text(v) for k, v in json.loads(value).items()}
            except ValueError as error:
                self.fail(f"{value!r} is no JSON object: {error}", param, ctx)
        pairs = [part.partition("=") for part in value.split(",")]
        if not all(column.strip() and sign for column, sign, _ in pairs):
            self.fail(f"{value!r} is not of the form column=value,column=value", param, ctx)
        return {column.strip(): text for column, _, text in pairs}


class ShareType(click.ParamType[float]):
    """A share: `1%` or `0.01`."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return float(value[:-1]) / 100 if value.endswith("%") else float(value)
        except ValueError:
            return self.fail(f"{value!r} is no share such as 1% or 0.01", param, ctx)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
