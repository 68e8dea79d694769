"""Where a result row comes from: the rows of the tables that are joined and gathered into it.

Stage by stage, from the last to the tables: the rows of a state are found by their place (ctid), and those
that they are made of by the join of the stage, restricted to their keys (the why-provenance of Buneman,
Khanna, Tan, ICDT 2001, for select-project-join with grouping).
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import indent
from typing import Any

from psycopg.rows import dict_row

from pg_stepping.backend.script import Definition
from pg_stepping.catalog import found, use_settings
from pg_stepping.compiler import compile_installed
from pg_stepping.delta import StageProgram
from pg_stepping.delta.stage import SCHEMA
from pg_stepping.delta.state import operand, same
from pg_stepping.delta.terms import named, quote_table, regclass, whole
from pg_stepping.errors import NoLineage
from pg_stepping.frontend.dialect import quote_name
from pg_stepping.frontend.postgres import Connection, execute
from pg_stepping.frontend.tables import relation
from pg_stepping.ir import Rows, Scan, Table
from pg_stepping.ir.types import fresh
from pg_stepping.session import guarded
from pg_stepping.verification import Key, key_condition

_INDENT = "    "
_HINT = "ask of a view that only joins, filters, groups and sums"


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A row of a table (`table` is schema.name) that a result row is made of; `row` maps its columns."""

    table: str
    row: dict[str, Any]


def why(conn: Connection, name: str, key: Key, *, schema: str | None = None) -> list[SourceRow]:
    """The rows of the source tables behind the rows of a view that have the values in `key`.

    `key` maps columns of the view to values. A row is given once, however often it is joined, by table and
    row. Rows of a LEFT JOIN that have no partner are given without one; what a NOT EXISTS did not find has
    no rows. Raises ViewNotFound, InvalidQuery for a column that is not there, and NoLineage where a result
    row is not made of rows of its own: windows, LIMIT, DISTINCT ON, recursion, ordered aggregates, UNION.
    """
    with guarded(conn, undo=True):
        view = found(conn, name, schema)
        use_settings(conn, view)
        definition = compile_installed(conn, view)
        condition, values = key_condition(view, relation(conn, view.table).fields, [key])
        tracer = _Tracer(conn)
        tracer.add(definition)
        if view.mode == "deferred":  # the state must be that of the rows; it is taken back
            execute(conn, "SELECT stepping.apply(%s::regclass)", [regclass(view.table)])
        execute(conn, "SELECT set_config('search_path', 'pg_catalog', true)")
        found_ = tracer.of_result(definition, condition)
        rows = []
        for table in sorted(found_):
            places = f"\n{_INDENT}UNION\n".join(indent(p, _INDENT) for p in found_[table])
            cursor = conn.cursor(row_factory=dict_row)
            cursor.execute(
                f"SELECT *\nFROM {quote_table(table)} AS source\n"
                f"WHERE (tableoid, ctid) IN (\n{places}\n)\nORDER BY source::text",
                values * len(found_[table]),
            )
            rows += [SourceRow(str(table), row) for row in cursor.fetchall()]
        return rows


class _Tracer:
    """Finds the places (tableoid, ctid) of source rows, as queries for each table."""

    def __init__(self, conn: Connection) -> None:
        self.conn = conn
        self.programs: dict[Table, StageProgram] = {}

    def add(self, definition: Definition) -> None:
        """Know the stages of a view, and of the maintained views that it reads."""
        self.programs |= {p.stage.table: p for p in definition.programs}
        for table in definition.query.views:
            view = found(self.conn, table.name, table.schema)
            self.add(compile_installed(self.conn, view))

    def of_result(self, definition: Definition, condition: str) -> dict[Table, list[str]]:
        """The source rows of published rows that meet a condition."""
        published = definition.published
        taken = {i.name for i in published.items}
        place = quote_name(fresh("place", taken))
        items = [named(i.expression, i.name) for i in published.items]
        found_: dict[Table, list[str]] = {}
        for scan in published.core.scans:
            lines = "\n".join(whole(published.core))
            rows = f"SELECT {', '.join([*items, f'{quote_name(scan.relation)}.ctid AS {place}'])}\n{lines}"
            rows = f"SELECT {place}\nFROM (\n{indent(rows, _INDENT)}\n) AS published\nWHERE {condition}"
            self._follow(self.programs[scan.table], rows, found_)
        return found_

    def _follow(self, program: StageProgram, places: str, found_: dict[Table, list[str]]) -> None:
        """Add what the rows of a state at some places are made of."""
        stage, core = program.stage, program.stage.core
        if stage.stripes:
            raise NoLineage("groups in stripes have several rows each", hint=_HINT)
        if stage.kind == "partition":
            kept = "recursion" if stage.is_recursive else "a window, LIMIT, DISTINCT ON or ordered aggregate"
            raise NoLineage(
                f"rows that are computed anew have no source rows of their own ({kept})", hint=_HINT
            )
        joined = [*core.parts, *(o.input for o in core.outers)]
        if not all(isinstance(plan, Scan | Rows) for plan in joined):
            raise NoLineage(
                "rows that come by a UNION or a subquery cannot be followed to one table", hint=_HINT
            )
        row = quote_name(fresh("result", {c.relation for c in core.columns}))
        lines = list(whole(core))
        tests = [f"({lines.pop().removeprefix('WHERE ')})"] if lines[-1].startswith("WHERE ") else []
        if stage.kind != "total":
            tests += [same(operand(k.expression), f"{row}.{quote_name(k.name)}", k.type) for k in stage.keys]
        head = f"FROM (\n{_INDENT}SELECT * FROM {quote_table(stage.table)} WHERE ctid IN (\n"
        head += f"{indent(places, _INDENT * 2)}\n{_INDENT})\n) AS {row}"
        for scan in (p for p in joined if isinstance(p, Scan)):
            relation_ = quote_name(scan.relation)
            below = self.programs.get(scan.table)
            if scan.table.schema == SCHEMA and below is None:
                raise NoLineage(f"{scan.table} belongs to no maintained view", hint=_HINT)
            place = f"{relation_}.ctid" if below else f"{relation_}.tableoid, {relation_}.ctid"
            where = " AND ".join([*tests, f"{relation_}.ctid IS NOT NULL"])
            inner = f"SELECT {place}\n" + "\n".join([*lines, f"WHERE {where}"])
            query = f"SELECT source.*\n{head}\nCROSS JOIN LATERAL (\n{indent(inner, _INDENT)}\n) AS source"
            if below:
                self._follow(below, query, found_)
            else:
                found_.setdefault(scan.table, []).append(query)
