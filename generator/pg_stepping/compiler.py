"""The whole way from a query's text to a definition: front end, passes, stages, delta programs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import cast

from psycopg import Connection

from pg_stepping.backend.script import AS_APPLIED, LANGUAGES, Definition
from pg_stepping.catalog import MADE_BY, Installed, check_version
from pg_stepping.delta import (
    Edge,
    Stage,
    bounded,
    cut_stages,
    deferred_of,
    equalities,
    join_tree,
    object_name,
    programs_of,
)
from pg_stepping.delta.stripes import check_indexes, striped
from pg_stepping.errors import InvalidQuery, UnsupportedQuery, UnsupportedServer
from pg_stepping.frontend import read_query
from pg_stepping.frontend.database_functions import there_meanwhile, with_declared
from pg_stepping.frontend.postgres import begin, execute, hashable, typed
from pg_stepping.frontend.sql import Query
from pg_stepping.ir import Scan, Table
from pg_stepping.passes import run_passes
from pg_stepping.shipped import catalog_sql, python_sql

MODES = ("immediate", "deferred")
_DEEPEST = 8000  # calls: what a stack of 8 MB holds by far


def compile_query(
    conn: Connection[object],
    view: Table,
    query: str,
    *,
    language: str | None = None,
    indexes: Sequence[Sequence[str]] = (),
    strict: bool = False,
    state: str | None = None,
    mode: str = "immediate",
    stripes: int = 0,
) -> Definition:
    """Compile the SELECT in `query` into the definition of the maintained view `view`.

    Its last state table is called `state`, by default after the view. With `strict`, a query with a stage
    that each change computes anew as a whole is refused. `stripes`: over how many rows each group is spread.
    """
    if mode not in MODES:
        raise InvalidQuery(f"no such mode: {mode!r}", hint=f"one of {', '.join(MODES)}", sqlstate="22023")
    if mode == "deferred" and len(f"{view.name}{AS_APPLIED}".encode()) > 63:
        raise InvalidQuery(
            f"the name {view.name!r} leaves no room for {AS_APPLIED}",
            hint=f"in deferred mode, and to be made online, a name has at most {63 - len(AS_APPLIED)} bytes",
            sqlstate="42622",
        )
    begin(conn)
    _check_schema(conn, view.schema)
    # what only appends needs no Python, and takes a third of the time without
    chosen = choose_language(conn, language or ("plpgsql" if mode == "deferred" else None))
    query = with_declared(conn, query)
    with there_meanwhile(conn, query, _catalog(conn)) as functions, _deep():
        compiled = _compiled(conn, view, query, chosen, strict, state or object_name(view), stripes)
    indexes = _checked_indexes(indexes, [o.name for o in compiled.query.outputs])
    if stripes:
        check_indexes(compiled.published, indexes)
    stages = [p.stage for p in compiled.programs]
    deferred = deferred_of(stages, compiled.published) if mode == "deferred" else None
    return replace(compiled, indexes=indexes, functions=functions, deferred=deferred)


def _compiled(
    conn: Connection[object],
    view: Table,
    query: str,
    language: str,
    strict: bool,
    state: str,
    stripes: int,
) -> Definition:
    """The definition, without indexes; the functions that the query calls are there."""
    read = read_query(conn, query)
    plan = run_passes(read.plan)
    stages, published = cut_stages(plan, state, read.tables, partial(typed, conn))
    stages = tuple(_hashed(conn, s) for s in stages)
    if stripes:
        stages, published = striped(stages, published, stripes)
    whole = [s for s in stages if s.kind == "partition" and not s.by and not s.is_set]
    if strict and whole:
        computed = ", ".join(k.name for k in whole[0].keys)
        raise UnsupportedQuery(
            f"a stage that every change computes anew as a whole (of {computed})",
            hint="give its window a PARTITION BY, its aggregate a GROUP BY, or leave strict out",
        )
    return Definition(
        view=view,
        query=read,
        plan=plan,
        programs=programs_of(stages, _join_trees(conn, stages, read)),
        published=published,
        language=language,
        indexes=(),
        stripes=stripes,
    )


@contextmanager
def _deep() -> Iterator[None]:
    """Within this block plans may be nested as deep as those of some hundred joins."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _DEEPEST))
    try:
        yield
    except RecursionError as error:
        hint = "make ordinary views of its parts, or put long chains of OR into one list after IN"
        raise UnsupportedQuery("a query that is nested so deep", hint=hint) from error
    finally:
        sys.setrecursionlimit(before)


def check_stripes(mode: str, stripes: int) -> None:
    """Raises InvalidQuery for a view in stripes and in deferred mode: only while it is made online is it both
    (delta/stripes.py)."""
    if stripes and mode == "deferred":
        hint = "in deferred mode writers do not wait for each other anyway: leave stripes out"
        raise InvalidQuery("stripes in deferred mode", hint=hint, sqlstate="22023")


def compile_installed(conn: Connection[object], view: Installed) -> Definition:
    """The definition of a view as it is in the database; its settings must be in use."""
    return compile_query(
        conn,
        view.table,
        view.query,
        language=view.language,
        indexes=view.indexes,
        state=view.stages[-1],
        mode=view.mode,
        stripes=view.stripes,
    )


def _catalog(conn: Connection[object]) -> str:
    """What makes the functions of schema stepping that the database lacks."""
    sql = f"""SELECT to_regclass('stepping.maintained_view') IS NULL,
                     to_regprocedure('stepping.texts_of(jsonb)') IS NULL, {MADE_BY}"""
    row = cast("tuple[bool, bool, str | None]", execute(conn, sql).fetchone())
    if row[0]:
        return f"CREATE SCHEMA IF NOT EXISTS stepping;\n{catalog_sql()}"
    check_version(row[2])
    return python_sql() if row[1] else ""


def _hashed(conn: Connection[object], stage: Stage) -> Stage:
    """The stage with a note whether equal keys of its groups or partitions, or columns of its rows, have
    equal hashes."""
    keys = [k.expression for k in stage.keys if k.name in stage.by or stage.kind in ("groups", "rows")]
    columns = stage.core.columns
    return replace(stage, hashed=all(hashable(conn, columns, [(k, k) for k in keys]))) if keys else stage


def _join_trees(
    conn: Connection[object], stages: Sequence[Stage], read: Query
) -> dict[str, tuple[Edge, ...]]:
    """For each stage, by its name, how its relations are joined as a tree."""
    own = {
        s.table: {k.name for k in s.keys} if s.kind == "groups" else {s.row_key}
        for s in stages
        if s.kind in ("groups", "total", "partition")
    }

    def is_key(scan: Scan, columns: set[str]) -> bool:
        if scan.table in own:
            return own[scan.table] <= columns
        there = read.tables.get(scan.table)
        return there is not None and any(set(key) <= columns for key in there.keys)

    trees = {}
    for stage in stages:
        pairs = equalities(stage)
        columns = [c for s in stage.scans for c in s.fields]
        sure = hashable(conn, columns, pairs)
        trees[stage.name] = join_tree(stage, [p for p, is_ in zip(pairs, sure, strict=True) if is_], is_key)
    return bounded(trees)


def _check_schema(conn: Connection[object], schema: str) -> None:
    sql = "SELECT FROM pg_namespace WHERE nspname = %s AND NOT starts_with(nspname, 'pg_')"
    if execute(conn, sql, [schema]).fetchone() is None:
        hint = "create it first, or give another schema="
        raise InvalidQuery(f"there is no schema {schema!r} for a view", hint=hint, sqlstate="3F000")


def choose_language(conn: Connection[object], language: str | None) -> str:
    """The language asked for, or PL/Python if the database has it and the role may use it.

    Only a superuser may create functions in PL/Python; for anyone else the default is PL/pgSQL.
    """
    rows = execute(conn, "SELECT lanname::text FROM pg_language WHERE lanname = ANY (%s)", [list(LANGUAGES)])
    there = {str(row[0]) for row in rows}
    if language is None:
        may = execute(conn, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
        return "plpython3u" if "plpython3u" in there and may == (True,) else "plpgsql"
    if language not in LANGUAGES:
        raise UnsupportedServer(
            f"no such trigger language: {language!r}", hint=f"one of {', '.join(LANGUAGES)}"
        )
    if language not in there:
        raise UnsupportedServer(
            f"this database does not have the language {language}",
            hint=f"as a superuser: CREATE EXTENSION {language}; or leave language= out for plpgsql",
            sqlstate="42704",
        )
    return language


def _checked_indexes(indexes: Sequence[Sequence[str]], outputs: list[str]) -> tuple[tuple[str, ...], ...]:
    checked = tuple((i,) if isinstance(i, str) else tuple(i) for i in indexes)
    if () in checked:
        raise InvalidQuery("an index names no column", hint=f"the columns are {', '.join(outputs)}")
    for column in (c for columns in checked for c in columns):
        if column not in outputs:
            raise InvalidQuery(
                f"an index names the column {column!r}, which the view does not have",
                hint=f"its columns are {', '.join(outputs)}",
                sqlstate="42703",
            )
    return checked
