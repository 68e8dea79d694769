"""Is a view right? The rows in which it differs from its query, computed anew.

A part of the rows is compared by a condition on both sides. Postgres carries one on the columns of GROUP BY,
DISTINCT or PARTITION BY down to the tables, so a few keys cost what their rows cost, and a sample of groups
spares all work but the reading of the tables.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.rows import dict_row

from pg_stepping.catalog import Installed, found, use_settings
from pg_stepping.delta.terms import quote_table
from pg_stepping.errors import InvalidQuery, UnsupportedQuery, ViewDiffers
from pg_stepping.frontend.dialect import quote_name
from pg_stepping.frontend.postgres import Connection, Field, execute, hashable
from pg_stepping.frontend.tables import relation, view_definition
from pg_stepping.ir import Column
from pg_stepping.session import guarded

Key = Mapping[str, Any]
_SHARES = 1 << 30


@dataclass(frozen=True, slots=True)
class Difference:
    """A row in which a view and the recomputed query differ.

    `weight` is +1 for a row that the view has too often, -1 for one that it lacks; `row` maps its columns.
    """

    weight: int
    row: dict[str, Any]


def verify(
    conn: Connection,
    name: str,
    *,
    schema: str | None = None,
    sample: float | None = None,
    keys: Sequence[Key] | None = None,
) -> list[Difference]:
    """The rows in which a view and its recomputed query differ, in one snapshot; none if the view is right.

    `sample` (more than 0, at most 1) compares that share of the rows, others at each call; it is taken of the
    hashes of the keys, so that rows that are missing are found, too. `keys` compares the rows that have the
    values of one of them: each maps columns of the view to values. Float sums are recomputed in the same
    exact arithmetic as the view's, so they are equal or they are not. Writes nothing; works on a standby.
    Raises ViewNotFound, InvalidQuery for a bad sample or key, and ViewDiffers if the published view was
    dropped or renamed, or an ordinary view that the query reads means something else now.
    """
    with guarded(conn, undo=True):
        view = found(conn, name, schema)
        for expanded, definition in view.expands:
            if view_definition(conn, expanded) != definition:
                hint = "drop the maintained view and create it again"
                raise ViewDiffers(
                    f"view {expanded} was changed after {view.table} was made from it", hint=hint
                )
        fields = _published(conn, view)
        conditions, values = [], list[Any]()
        if sample is not None:
            conditions.append(_sampled(conn, view, fields, sample))
        if keys is not None:
            condition, values = key_condition(view, fields, keys)
            conditions.append(condition)
        return _differences(conn, view, fields, conditions, values)


def _published(conn: Connection, view: Installed) -> tuple[Field, ...]:
    """The columns that readers see."""
    try:
        return relation(conn, view.table).fields
    except InvalidQuery as error:
        hint = "rename it back; or drop the maintained view and create it again"
        raise ViewDiffers(f"the published view {view.table} was dropped or renamed", hint=hint) from error


def key_condition(view: Installed, fields: Sequence[Field], keys: Sequence[Key]) -> tuple[str, list[Any]]:
    """The condition that a row has the values of one of these keys, and the values of its placeholders."""
    types = {f.name: f.type for f in fields}
    alternatives, values = ["false"], []
    for key in keys:
        tests = ["true"]
        for column, value in key.items():
            if column not in types:
                raise InvalidQuery(
                    f"view {view.table} has no column {column!r}",
                    hint=f"its columns are {', '.join(types)}",
                    sqlstate="42703",
                )
            named = quote_name(column)
            if value is None:
                tests.append(f"{named} IS NULL")
            else:
                operator, type_ = types[column].equals, types[column].name
                tests.append(f"{named} {operator.replace('%', '%%')} %s::{type_.replace('%', '%%')}")
                values.append(value)
        alternatives.append(f"({' AND '.join(tests)})")
    return f"({' OR '.join(alternatives)})", values


def _sampled(conn: Connection, view: Installed, fields: Sequence[Field], share: float) -> str:
    """The condition that a row belongs to a sample: it looks at the key, if the view shows it."""
    if not 0 < share <= 1:
        hint = "give a share of the rows, more than 0 and at most 1"
        raise InvalidQuery(f"a sample of {share:g} of the rows", hint=hint, sqlstate="22023")
    columns = [Column("rows", f.name, f.type) for f in fields]
    sure = hashable(conn, columns, [(c.ref, c.ref) for c in columns])
    hashed = [f.name for f, is_sure in zip(fields, sure, strict=True) if is_sure]
    if not hashed:
        hint = "verify all of it"
        raise UnsupportedQuery("a sample of rows without a column that has a hash function", hint=hint)
    rows = execute(
        conn,
        """SELECT a.attname FROM pg_class AS c
           JOIN pg_index AS i ON i.indexrelid = c.oid AND i.indisunique
           JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
           WHERE c.relnamespace = 'stepping'::regnamespace AND c.relname = %s""",
        [f"{view.stages[-1]}_key"],
    )
    key = {str(row[0]) for row in rows}
    listed = ", ".join(quote_name(c) for c in ([c for c in hashed if c in key] or hashed))
    hash_ = f"hash_record_extended(ROW({listed}), {random.getrandbits(62)})"
    return f"({hash_} & {_SHARES - 1}) < {round(share * _SHARES)}"


def compared(fields: Sequence[Field]) -> list[str]:
    """Columns in a form that has an equality."""
    return [
        quote_name(f.name) if f.type.sorts else f"{quote_name(f.name)}::text AS {quote_name(f.name)}"
        for f in fields
    ]


def _differences(
    conn: Connection, view: Installed, fields: Sequence[Field], conditions: list[str], values: list[Any]
) -> list[Difference]:
    columns = ", ".join(compared(fields))
    execute(conn, "SELECT set_config('search_path', 'pg_catalog', true)")
    use_settings(conn, view)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    order = ", ".join(str(i + 2) for i in range(len(fields)))
    cursor = conn.cursor(row_factory=dict_row)
    cursor.execute(
        f"""WITH view_rows AS (SELECT {columns} FROM {quote_table(view.table)}{where}),
        query_rows AS (SELECT {columns} FROM ({view.recompute}) AS recomputed{where})
        (SELECT 1 AS stepping_weight, * FROM (TABLE view_rows EXCEPT ALL TABLE query_rows) AS too_many)
        UNION ALL
        (SELECT -1, * FROM (TABLE query_rows EXCEPT ALL TABLE view_rows) AS missing)
        ORDER BY {order}, 1""",
        [*values, *values] if conditions else None,
    )
    return [Difference(int(row.pop("stepping_weight")), row) for row in cursor.fetchall()]
