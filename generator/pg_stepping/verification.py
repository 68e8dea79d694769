"""Is a view right? The rows in which it differs from its query, computed anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg.rows import dict_row

from pg_stepping.catalog import Installed, found, use_settings
from pg_stepping.delta.terms import quote_table
from pg_stepping.errors import ViewDiffers
from pg_stepping.frontend.dialect import quote_name
from pg_stepping.frontend.postgres import Connection, execute, relation, view_definition
from pg_stepping.ir.types import NO_EQUALITY, NO_ORDER
from pg_stepping.session import guarded


@dataclass(frozen=True, slots=True)
class Difference:
    """A row in which a view and the recomputed query differ.

    `weight` is +1 for a row that the view has too often, -1 for one that it lacks; `row` maps its columns.
    """

    weight: int
    row: dict[str, Any]


def verify(conn: Connection, name: str, *, schema: str | None = None) -> list[Difference]:
    """The rows in which a view and its recomputed query differ, in one snapshot; none if the view is right.

    Float sums are recomputed in the same exact arithmetic as the view's, so they are equal or they are not.
    Raises ViewNotFound, and ViewDiffers if an ordinary view that the query reads means something else now.
    """
    with guarded(conn, undo=True):
        view = found(conn, name, schema)
        for expanded, definition in view.expands:
            if view_definition(conn, expanded) != definition:
                hint = "drop the maintained view and create it again"
                raise ViewDiffers(
                    f"view {expanded} was changed after {view.table} was made from it", hint=hint
                )
        return _differences(conn, view)


def _differences(conn: Connection, view: Installed) -> list[Difference]:
    fields = relation(conn, view.table).fields
    columns = ", ".join(
        f"{quote_name(f.name)}::text AS {quote_name(f.name)}"
        if f.type.base in NO_EQUALITY | NO_ORDER
        else quote_name(f.name)
        for f in fields
    )
    execute(conn, "SELECT set_config('search_path', 'pg_catalog', true)")
    use_settings(conn, view)
    cursor = conn.cursor(row_factory=dict_row)
    cursor.execute(
        f"""WITH view_rows AS (SELECT {columns} FROM {quote_table(view.table)}),
        query_rows AS (SELECT {columns} FROM ({view.recompute}) AS recomputed)
        (SELECT 1 AS stepping_weight, * FROM (TABLE view_rows EXCEPT ALL TABLE query_rows) AS too_many)
        UNION ALL
        (SELECT -1, * FROM (TABLE query_rows EXCEPT ALL TABLE view_rows) AS missing)"""
    )
    return [Difference(int(row.pop("stepping_weight")), row) for row in cursor.fetchall()]
