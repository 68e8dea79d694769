"""The SQL front end: the text of a query becomes a plan.

Postgres resolves the names and gives the types (postgres.py); sqlglot gives the structure of the canonical
text that Postgres prints. That sqlglot has read it rightly is not assumed: its own printing must come back
from Postgres as the very same canonical text.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from pg_stepping.frontend.bodies import check_bodies
from pg_stepping.frontend.postgres import Connection, Output, describe, execute
from pg_stepping.frontend.purity import PINNED_SETTINGS
from pg_stepping.frontend.recompute import recomputed
from pg_stepping.frontend.refuse import Source
from pg_stepping.frontend.sql.expansion import Expansion
from pg_stepping.frontend.sql.reader import Reader
from pg_stepping.frontend.tables import Relation
from pg_stepping.ir import Project, Table
from pg_stepping.ir.nodes import CORRELATED


@dataclass(frozen=True, slots=True)
class Query:
    """A query that can be maintained.

    `text` is its canonical SQL, independent of any search_path; `recompute` the same with float sums in
    exact arithmetic; `settings` are the session settings on
    which its result depends, with their values now; `tables` describes each table that it reads, and
    `views` names the maintained views among them; `expands` are the ordinary views that it reads, with their
    definitions; `whole_rows` the tables that it reads whole rows of.
    """

    text: str
    recompute: str
    outputs: tuple[Output, ...]
    plan: Project
    tables: dict[Table, Relation]
    views: tuple[Table, ...]
    expands: tuple[tuple[Table, str], ...]
    settings: tuple[tuple[str, str], ...]
    whole_rows: tuple[Table, ...] = ()


def read_query(conn: Connection, text: str) -> Query:
    """Read the SELECT in `text`, its names resolved by the connection's search_path.

    Raises InvalidQuery if Postgres does not accept it, UnsupportedQuery if it cannot be maintained.
    Changes nothing in the database and commits nothing.
    """
    source = Source(text)
    described = describe(conn, source.single_statement())
    expansion = Expansion(conn)
    ast = expansion.tree(described, source)
    reader = Reader(conn, source, frozenset(expansion.functions))
    reader.read_whole = {c.table for c in ast.find_all(exp.Column) if isinstance(c.this, exp.Star)}
    token = CORRELATED.set(True)
    try:
        plan = reader.query(ast)
    finally:
        CORRELATED.reset(token)
    if not reader.tables:
        raise source.unsupported("no table", "select", hint="a query without tables never changes")
    if not described.outputs:
        raise source.unsupported("no column", "select", hint="name a column, or count(*)")
    check_bodies(conn, expansion.functions)
    return Query(
        text=described.text,
        recompute=recomputed(ast, reader.decided),
        outputs=described.outputs,
        plan=plan,
        tables=reader.tables,
        views=tuple(sorted(reader.views | expansion.in_place)),
        expands=tuple(sorted(expansion.views.items())),
        settings=_settings(conn) if expansion.depends else (),
        whole_rows=tuple(sorted(reader.whole_rows)),
    )


def _settings(conn: Connection) -> tuple[tuple[str, str], ...]:
    rows = execute(
        conn,
        "SELECT name, current_setting(name) FROM unnest(%s::text[]) AS name ORDER BY name",
        [list(PINNED_SETTINGS)],
    )
    exactly = ("extra_float_digits", "1")  # whoever asks for less, floats are printed in full
    return (*((str(name), str(value)) for name, value in rows), exactly)
