"""Another query for a view that is there: what that takes, shown before it is done.

The same fingerprint: nothing. The same state: the published view and its indexes change in place. Else a new
version is made beside the old one, a maintained view of its own for a moment, and takes its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from uuid import uuid4

from pg_stepping.backend import plpgsql, publish
from pg_stepping.backend.script import Definition, all_settings, fingerprint_of, register
from pg_stepping.backend.tables import aside_tables, state_table
from pg_stepping.catalog import Installed, found, use_settings
from pg_stepping.compiler import compile_installed, compile_query
from pg_stepping.delta.terms import quote_table
from pg_stepping.dependents import put_in_place, readers
from pg_stepping.errors import SteppingError, ViewInUse
from pg_stepping.frontend.postgres import Connection, execute, run_script
from pg_stepping.ir import Table
from pg_stepping.session import guarded
from pg_stepping.views import create_view

_RENAME = """
INSERT INTO stepping.maintained_view
SELECT (jsonb_populate_record(v, jsonb_build_object('view_name', %(to)s::text))).*
FROM stepping.maintained_view AS v WHERE schema_name = %(schema)s AND view_name = %(name)s"""
_FORGET = "DELETE FROM stepping.maintained_view WHERE schema_name = %s AND view_name = %s"


@dataclass(frozen=True, slots=True)
class Change:
    """What a change of a view takes.

    `kind` is `nothing`, `in place` or `new version`; `reads` are the source tables (schema.name) that are
    read to fill a new version, with the rows that Postgres estimates; `locks` and `steps` are sentences.
    """

    view: str
    kind: str
    steps: tuple[str, ...]
    reads: tuple[tuple[str, int], ...]
    locks: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"Change of view {self.view}: {self.kind}"]
        lines += [f"  {i}. {step}" for i, step in enumerate(self.steps, 1)]
        lines += [f"  reads {table}: about {rows} rows" for table, rows in self.reads]
        lines += [f"  locks {lock}" for lock in self.locks]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _Compared:
    view: Installed
    new: Definition
    change: Change


def plan_change(
    conn: Connection,
    name: str,
    query: str,
    *,
    schema: str | None = None,
    language: str | None = None,
    indexes: Sequence[Sequence[str]] | None = None,
    strict: bool = False,
) -> Change:
    """What `change_view` would do; nothing in the database changes. Raises as it does."""
    with guarded(conn, undo=True):
        return _compared(conn, name, query, schema, language, indexes, strict).change


def change_view(
    conn: Connection,
    name: str,
    query: str,
    *,
    schema: str | None = None,
    language: str | None = None,
    indexes: Sequence[Sequence[str]] | None = None,
    strict: bool = False,
) -> Change:
    """Give the maintained view `name` the SELECT in `query`; views that read it, grants and comments stay.

    `language` and `indexes` stay as they are unless they are given. In the caller's transaction it happens as
    a whole, or not at all; under autocommit a new version is made and filled in one transaction, and takes
    the old one's place in another, short one. Returns what was done. Raises ViewNotFound, ViewInUse if
    something that reads the view cannot do without what it had, and whatever `create_view` raises.
    """
    with guarded(conn):
        with guarded(conn, undo=True):
            compared = _compared(conn, name, query, schema, language, indexes, strict)
        if compared.change.kind != "new version":
            if compared.change.kind == "in place":
                _change_in_place(conn, compared)
            return compared.change
    with nullcontext() if conn.autocommit else guarded(conn):
        _replace(conn, compared, query, strict)
    return compared.change


def _replace(conn: Connection, compared: _Compared, query: str, strict: bool) -> None:
    """Make a new version, and put it in place of the view; under autocommit these are two transactions."""
    view, new = compared.view, compared.new
    version = Table(view.schema, _free_name(view.name))
    with guarded(conn):
        create_view(
            conn,
            version.name,
            query,
            schema=version.schema,
            language=new.language,
            indexes=new.indexes,
            strict=strict,
        )
    try:
        with guarded(conn):
            _take_place(conn, view, version)
    except BaseException:
        if conn.autocommit and not conn.closed:
            with guarded(conn):
                execute(conn, "SELECT stepping.drop_view(%s, %s)", [version.schema, version.name])
        raise


def _compared(
    conn: Connection,
    name: str,
    query: str,
    schema: str | None,
    language: str | None,
    indexes: Sequence[Sequence[str]] | None,
    strict: bool,
) -> _Compared:
    view = found(conn, name, schema)
    if view.mode == "deferred":
        raise SteppingError(
            f"a view in deferred mode cannot be given another query: {view.table}",
            hint="drop it and create it again",
            sqlstate="0A000",
        )
    new = compile_query(
        conn,
        view.table,
        query,
        language=language or view.language,
        indexes=view.indexes if indexes is None else indexes,
        strict=strict,
        state=view.stages[-1],
    )
    kind = "new version"
    if fingerprint_of(new) == view.fingerprint and new.language == view.language:
        return _Compared(view, new, Change(str(view.table), "nothing", (), (), ()))
    with guarded(conn, undo=True):
        use_settings(conn, view)
        old = compile_installed(conn, view)
    if _stored(old) == _stored(new) and old.language == new.language:
        kind = "in place"
    _check_maintained_readers(conn, view, old, new, kind)
    return _Compared(view, new, _change(conn, view, old, new, kind))


def _stored(definition: Definition) -> object:
    """All that is stored and run for a view, below what is published."""
    settings = all_settings(definition)
    return [
        (state_table(p.stage, ""), aside_tables(p), p.fill, plpgsql.function(p, settings))
        for p in definition.programs
    ]


def _published(definition: Definition) -> str:
    return publish.view(definition.published, definition.view, "")


def _check_maintained_readers(
    conn: Connection, view: Installed, old: Definition, new: Definition, kind: str
) -> None:
    """A maintained view that reads this one was made from its state, and its published columns."""
    if kind == "in place" and _published(old) == _published(new):
        return
    sql = """SELECT concat(schema_name, '.', view_name) FROM stepping.maintained_view
             WHERE %s = ANY (reads) ORDER BY 1 LIMIT 1"""
    row = execute(conn, sql, [str(view.table)]).fetchone()
    if row is not None:
        hint = "drop that view, change this one, and make it again"
        raise ViewInUse(f"maintained view {row[0]} reads {view.table}", hint=hint)


def _change(conn: Connection, view: Installed, old: Definition, new: Definition, kind: str) -> Change:
    read_by = [str(reader) for reader in readers(conn, view.table)]
    kept = [f"keep {', '.join(read_by)}, which read it"] if read_by else []
    shown = f"ACCESS EXCLUSIVE on {view.table}, at the end, until commit: readers wait"
    if kind == "in place":
        steps = [] if _published(old) == _published(new) else ["replace the published view", *kept]
        locks = [shown] if steps else []
        steps += [f"drop the index on ({', '.join(i)})" for i in old.indexes if i not in new.indexes]
        made = [i for i in new.indexes if i not in old.indexes]
        steps += [f"create an index on ({', '.join(i)})" for i in made]
        if made or len(old.indexes) != len(new.indexes):
            locks.append(f"SHARE on stepping.{view.stages[-1]}: writers wait while an index is made")
        return Change(str(view.table), kind, tuple(steps), (), tuple(locks))
    sources = {t for p in new.programs for t in (s.table for s in p.sources)}
    sources -= {p.stage.table for p in new.programs}
    rows = execute(
        conn,
        """SELECT given, (SELECT sum(greatest(c.reltuples, 0)) FROM stepping.family(given::regclass) AS f
                          JOIN pg_class AS c ON c.oid = f)::bigint
           FROM unnest(%s::text[]) WITH ORDINALITY AS t (given, place) ORDER BY place""",
        [[quote_table(t) for t in sorted(sources)]],
    ).fetchall()
    reads = tuple((str(t), int(r[1] or 0)) for t, r in zip(sorted(sources), rows, strict=True))
    listed = ", ".join(table for table, _ in reads)
    steps = ["make and fill a new version beside the old one", "put it in place of the old one", *kept]
    steps.append(f"drop the old version ({', '.join(view.stages)})")
    locks = [
        f"SHARE ROW EXCLUSIVE on {listed}, while it is filled: writers wait, readers do not",
        shown,
        f"ACCESS EXCLUSIVE on {', '.join(map(str, sorted(_sources(old))))}, at the end, until commit",
    ]
    return Change(str(view.table), kind, tuple(steps), reads, tuple(locks))


def _sources(definition: Definition) -> set[Table]:
    own = {p.stage.table for p in definition.programs}
    return {s.table for p in definition.programs for s in p.sources} - own


def _free_name(name: str) -> str:
    """The name of a new version: it is there only until that is in place."""
    return f"{name.encode()[:40].decode(errors='ignore')}__{uuid4().hex[:8]}"


def _change_in_place(conn: Connection, compared: _Compared) -> None:
    view, new = compared.view, compared.new
    other = Table(view.schema, _free_name(view.name))
    with guarded(conn, undo=True):
        use_settings(conn, view)
        old = compile_installed(conn, view)
    for function in new.functions:
        run_script(conn, function.sql)
    if _published(old) != _published(new):
        run_script(conn, publish.view(new.published, other, ""))
        put_in_place(conn, view.table, other)
    for columns in old.indexes:
        if columns not in new.indexes:
            _drop_index(conn, old, columns)
    for columns in new.indexes:
        if columns not in old.indexes:
            run_script(conn, publish.index(new.published, columns))
    execute(conn, _FORGET, [view.schema, view.name])
    run_script(conn, register(new))
    execute(conn, "SELECT stepping.drop_uncalled()")


def _drop_index(conn: Connection, old: Definition, columns: tuple[str, ...]) -> None:
    """Drop the index of a view that looks like what is made for it on an empty table."""
    table = old.published.stage.table
    statement = publish.index(old.published, columns).replace(quote_table(table), "pg_temp.probe", 1)
    tail = "regexp_replace(pg_get_indexdef({}), '^CREATE INDEX .* USING ', '')"
    with guarded(conn, undo=True):
        run_script(conn, f"CREATE TEMPORARY TABLE probe (LIKE {quote_table(table)}); {statement}")
        sql = f"SELECT {tail.format('indexrelid')} FROM pg_index WHERE indrelid = 'pg_temp.probe'::regclass"
        looks = execute(conn, sql).fetchone()
    rows = execute(
        conn,
        f"""SELECT indexrelid::regclass::text FROM pg_index
            WHERE indrelid = %s::regclass AND NOT indisunique AND {tail.format("indexrelid")} = %s
            ORDER BY indexrelid DESC LIMIT 1""",
        [quote_table(table), looks[0] if looks else ""],
    ).fetchall()
    for (name,) in rows:
        execute(conn, f"DROP INDEX {name}")


def _take_place(conn: Connection, view: Installed, version: Table) -> None:
    """Put a new version in place of a view, and drop what that was made of."""
    put_in_place(conn, view.table, version)
    old = _free_name(view.name)
    for name, to in ((view.name, old), (version.name, view.name)):
        execute(conn, _RENAME, {"schema": view.schema, "name": name, "to": to})
        execute(conn, _FORGET, [view.schema, name])
    execute(conn, "SET LOCAL client_min_messages = warning")
    execute(conn, "SELECT stepping.drop_view(%s, %s)", [view.schema, old])
