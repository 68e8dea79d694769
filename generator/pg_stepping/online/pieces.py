"""Filling the state of a view whose changes are captured: piece by piece, each a transaction of its own.

A piece is the rows of one table whose values of one column are in a range; what these join with is added to
the state. How far it is stands in stepping.filling, and is committed with each piece: whoever comes next goes
on there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pg_stepping.backend.script import Definition, all_settings
from pg_stepping.delta import Log, SourceProgram, StageProgram
from pg_stepping.delta.terms import quote_table
from pg_stepping.frontend.dialect import quote_name, quote_text
from pg_stepping.frontend.postgres import Connection, estimated_rows, execute, run_script
from pg_stepping.online.before import before, divided_by, programs_before
from pg_stepping.session import guarded

ROWS = 100_000
_SCANS = 8
_SAMPLE = 30_000
# A bound that was stored as text must be read as the same value, whatever the session's settings.
_SETTINGS = (
    ("search_path", "pg_catalog, pg_temp"),
    ("jit", "off"),
    ("DateStyle", "ISO, YMD"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "1"),
)
MARK = "is being filled online"

_SAMPLED = """
SELECT array(SELECT DISTINCT ON (b.value) b.value::text FROM unnest(
    (SELECT percentile_disc(%(shares)s::float8[]) WITHIN GROUP (ORDER BY {k})
     FROM {table} TABLESAMPLE SYSTEM (%(share)s))
) AS b (value) WHERE b.value IS NOT NULL ORDER BY b.value)"""
_DONE = """
DELETE FROM stepping.suspect
WHERE schema_name = %s AND view_name = %s AND reason = %s"""


@dataclass(frozen=True, slots=True)
class Divided:
    """The table of a stage that is taken in pieces, and its log."""

    source: SourceProgram
    log: Log
    rows: int


def fill(conn: Connection, captured: Definition, progress: Callable[[float], None]) -> None:
    """Fill the state of a view that was captured, from where that stands; `progress` is told the share."""
    programs = programs_before(captured)
    with guarded(conn):
        rows = [max([*_rows(conn, captured, p), 1]) for p in programs]
    where = [captured.view.schema, captured.view.name]
    while True:
        with guarded(conn):
            _begin(conn, captured)
            row = execute(
                conn,
                """SELECT stage, piece, log, by, bounds FROM stepping.filling
                   WHERE schema_name = %s AND view_name = %s FOR UPDATE""",
                where,
            ).fetchone()
            if row is None:
                return
            stage, piece, log, by, bounds = row
            program = programs[stage]
            divided = _divided(conn, captured, program, log)
            if bounds is None:
                by, bounds = _bounds(conn, divided) if divided is not None else (None, [])
            if divided is not None and bounds:
                run_script(conn, _piece(program, divided, by, bounds, piece))
            piece += 1
            if piece > len(bounds):
                if not bounds or not _has_rows(conn, program):  # a total has a row even of nothing
                    run_script(conn, program.fill)
                stage, piece, divided, by, bounds = stage + 1, 0, None, None, None
            execute(
                conn,
                """UPDATE stepping.filling SET stage = %s, piece = %s, log = %s, by = %s, bounds = %s
                   WHERE schema_name = %s AND view_name = %s""",
                [stage, piece, divided and divided.log.table.name, by, bounds, *where],
            )
            if stage == len(programs):
                execute(conn, "DELETE FROM stepping.filling WHERE schema_name = %s AND view_name = %s", where)
                execute(conn, _DONE, [*where, MARK])
        share = piece / (len(bounds) + 1) if bounds else 0
        done = sum(rows[:stage]) + (rows[stage] * share if stage < len(rows) else 0)
        progress(done / sum(rows))


def rows_to_read(conn: Connection, captured: Definition) -> int:
    """The rows of the tables that filling reads, as Postgres estimates them."""
    with guarded(conn):
        return sum(sum(_rows(conn, captured, p)) for p in programs_before(captured))


def _begin(conn: Connection, captured: Definition) -> None:
    assert captured.deferred is not None
    # TRUNCATE heeds no snapshot: it must come before this one is taken, or after the end.
    sources = ", ".join(quote_table(log.source) for log in captured.deferred.logs)
    execute(conn, f"LOCK TABLE {sources} IN ACCESS SHARE MODE")
    for name, value in (*_SETTINGS, *all_settings(captured)):
        execute(conn, "SELECT set_config(%s, %s, true)", [name, value])


def _logs(captured: Definition) -> list[Log]:
    assert captured.deferred is not None
    return list(captured.deferred.logs)


def _rows(conn: Connection, captured: Definition, program: StageProgram) -> list[int]:
    """The sizes of the tables that a stage reads, in the order of its sources."""
    logs = {before(log): log for log in _logs(captured)}
    sizes = []
    for source in program.sources:
        if source.table in logs:
            sizes.append(estimated_rows(conn, logs[source.table].source))
    return sizes


def _divided(
    conn: Connection, captured: Definition, program: StageProgram, chosen: str | None
) -> Divided | None:
    """The largest table of a stage of which rows can be added to the state by themselves, or whose log was
    chosen before."""
    found = []
    for log in _logs(captured):
        for source in program.sources:
            if source.table == before(log) and source.grown is not None:
                found.append(Divided(source, log, estimated_rows(conn, log.source)))
    if chosen is not None:
        return next(d for d in found if d.log.table.name == chosen)
    return max(found, key=lambda d: d.rows, default=None)


def _bounds(conn: Connection, divided: Divided) -> tuple[str | None, list[str]]:
    """The column whose values divide a table, and the last value of each piece but the last."""
    by = divided_by(conn, divided.log)
    if by is None:
        return None, []
    pieces = divided.rows // ROWS + 1
    pieces = pieces if by.sorted else min(pieces, _SCANS)
    if pieces < 2:
        return by.column, []
    k, table = (n.replace("%", "%%") for n in (quote_name(by.column), quote_table(divided.log.source)))
    sampled = _SAMPLED.format(k=k, table=table)
    shares = [i / pieces for i in range(1, pieces)]
    share = min(100.0, 100 * max(_SAMPLE, 50 * pieces) / divided.rows)
    row = execute(conn, sampled, {"shares": shares, "share": share}).fetchone()
    return by.column, list(row[0]) if row else []


def _has_rows(conn: Connection, program: StageProgram) -> bool:
    sql = f"SELECT EXISTS (SELECT FROM {quote_table(program.stage.table)})"
    return program.stage.kind != "total" or execute(conn, sql).fetchone() == (True,)


def _piece(program: StageProgram, divided: Divided, by: str, bounds: list[str], piece: int) -> str:
    """The statement that adds one piece to the state."""
    assert divided.source.grown is not None
    field = next(f for f in divided.log.change.fields if f.name == by)
    k = quote_name(by)
    limits = [f"{quote_text(b)}::{field.type.name}" for b in bounds]
    if piece == 0:
        where = f"{k} <= {limits[0]} OR {k} IS NULL"
    else:
        where = f"{k} > {limits[piece - 1]}" + (f" AND {k} <= {limits[piece]}" if piece < len(limits) else "")
    rows = f"SELECT {divided.log.change.columns} FROM {quote_table(divided.source.table)} WHERE {where}"
    added = program.insert(divided.source.grown).removeprefix("WITH ")
    return f"WITH inserted AS NOT MATERIALIZED (\n{rows}\n), {added}"
