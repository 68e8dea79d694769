"""Stripes: a group's row of the state is spread over several, so that its writers do not queue for it.

Law: sums are linear, so the state of a group is the sum of the rows that writers added their changes to,
whichever row each of them took (commutative updates to parts of an aggregate: O'Neil, The escrow
transactional method, TODS 11(4), 1986; Gawlick, Kinkade, IEEE DB Engineering 8(2), 1985). A writer takes the
stripe of its backend; who reads sums the stripes of a group. Rows of a group that sum to zero in every column
are worth nothing, and can go without anybody knowing of the group's other rows.

While a view is made online, in deferred mode, there is one stripe, so a group has one row as everywhere
else; from when it is published writers spread over more.

What else a sum shows of its rows is counted beside it, so that it can be taken back by adding, too. Values
that are not finite are left out of the sum, and counted by kind (`stepping.not_finite`). A numeric sum shows
as many digits after the point as the longest of its values: these are counted (`stepping.digits`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from textwrap import indent

from sqlglot import exp

from pg_stepping.delta.locks import OLD_SNAPSHOT
from pg_stepping.delta.stage import SCHEMA, Published, Stage
from pg_stepping.delta.state import StateColumn, same
from pg_stepping.delta.terms import quote_table
from pg_stepping.errors import InvalidQuery, UnsupportedQuery
from pg_stepping.frontend.dialect import quote_name
from pg_stepping.ir import Plan, Scan, Type
from pg_stepping.ir.nodes import Expression, columns_read
from pg_stepping.ir.rewrite import with_inputs
from pg_stepping.ir.types import fresh

MOST = 1000
_INDENT = "    "
_NOT_FINITE = {"NaN": "1", "Infinity": f"1{'0' * 18}", "-Infinity": f"1{'0' * 36}"}


def stripes_in(mode: str, stripes: int) -> int:
    """In how many stripes a view that is to be in `stripes` is; in one while it is made in deferred mode."""
    return min(stripes, 1) if mode == "deferred" else stripes


def striped(
    stages: Sequence[Stage], published: Published, number: int
) -> tuple[tuple[Stage, ...], Published]:
    """The stages of a view, and what is published of them, with the groups of the last one in `number`
    stripes; raises UnsupportedQuery where they are more than sums."""
    if number not in range(1, MOST + 1):
        raise InvalidQuery(
            f"stripes={number}", hint=f"a number from 1 to {MOST}, or 0 for none", sqlstate="22023"
        )
    last = next(s for s in stages if s.table == published.stage.table)
    _check(stages, last)
    taken = {c.name for c in (*last.state, *last.results)} | {k.name for k in last.keys}
    columns: list[StateColumn] = []
    totals: dict[str, Expression] = {}
    for column in last.state:
        if column.stale == "never":
            columns.append(column)
            continue

        def beside(suffix: str, argument: Expression, column: StateColumn = column) -> Expression:
            name = fresh(f"{column.name}_{suffix}", taken)
            columns.append(StateColumn(name, Type.of("numeric"), "sum", argument, column.condition))
            return exp.column(name, quoted=True)

        columns.append(replace(column, argument=_finite(column), stale="never"))
        total: Expression = exp.column(column.name, quoted=True)
        if column.stale == "scale":
            digits = _own("digits", beside("digits", _own("digit_mark", _value(column))))
            total = exp.Anonymous(this="round", expressions=[total, digits])
        special = _own("not_finite", beside("not_finite", _counted(column)))
        totals[column.name] = exp.Paren(this=exp.Add(this=total, expression=special))
    stage = replace(last, state=tuple(columns), results=(), stripes=number, stripe=fresh("stripe", taken))
    results = [f"({r.over(totals)})::{r.type.name} AS {r.sql_name}" for r in last.results]
    rows = whole_groups(stage, results)

    def put(plan: Plan) -> Plan:
        if isinstance(plan, Scan):
            return replace(plan, query=rows) if plan.table == stage.table else plan
        return with_inputs(plan, put)

    changed = tuple(stage if s is last else s for s in stages)
    return changed, Published(published.items, put(published.input), stage)


def _check(stages: Sequence[Stage], last: Stage) -> None:
    hint = "leave stripes out, or use deferred mode where writers queue (docs/deferred.md)"
    if last.kind not in ("groups", "total"):
        what = "rows" if last.kind == "rows" else "results that are computed anew for each key"
        raise UnsupportedQuery(f"{what} in stripes: only groups of sums can be spread", hint=hint)
    if any(scan.table == last.table for s in stages for scan in s.scans):
        raise UnsupportedQuery("a further step over groups in stripes", hint=hint)
    if not last.is_sorted:
        raise UnsupportedQuery("a grouping key that has no order, in stripes", hint=hint)
    for column in last.state:
        if column.kind == "fold":
            raise UnsupportedQuery("a fold in stripes: only what is added up can be spread", hint=hint)
        if column.kind in ("extreme", "removed"):
            raise UnsupportedQuery(
                f"{column.function}() in stripes: only what is added up can be spread", hint=hint
            )


def _own(name: str, argument: Expression) -> Expression:
    """A call of a function of sql/14_stripes.sql."""
    call = exp.Anonymous(this=name, expressions=[argument])
    return exp.Dot(this=exp.to_identifier(SCHEMA), expression=call)


def _value(column: StateColumn) -> Expression:
    assert column.argument is not None
    return column.argument.copy()


def _counted(column: StateColumn) -> Expression:
    """How often a value is not a finite number, of each kind."""
    cases = [
        exp.If(this=exp.Literal.string(name), true=exp.Literal.number(count))
        for name, count in _NOT_FINITE.items()
    ]
    return exp.Case(this=_value(column), ifs=cases, default=exp.Literal.number(0))


def _finite(column: StateColumn) -> Expression:
    """The value if it is a finite number, else NULL."""
    value = _value(column)
    for name in _NOT_FINITE:
        value = exp.Anonymous(this="nullif", expressions=[value, exp.Literal.string(name)])
    return value


def own_stripe(stage: Stage) -> str:
    """The stripe that a session writes to."""
    return f"pg_catalog.mod(pg_catalog.pg_backend_pid(), {stage.stripes})"


def whole_groups(stage: Stage, results: Sequence[str] = ()) -> str:
    """A query of the groups, each the sum of its stripes, with the results that follow from that."""
    keys = ", ".join(quote_name(k.name) for k in stage.keys)
    sums = [f"{_sum(c)} AS {c.sql_name}" for c in stage.state]
    there = "" if stage.kind == "total" else f"\nHAVING sum({stage.count.sql_name}) <> 0"
    rows = f"SELECT {', '.join([keys, *sums])}\nFROM {quote_table(stage.table)}\nGROUP BY {keys}{there}"
    if results:
        listed = ", ".join(["summed.*", *results])
        rows = f"SELECT {listed}\nFROM (\n{indent(rows, _INDENT)}\n) AS summed"
    return f"(\n{indent(rows, _INDENT)}\n)"


def _sum(column: StateColumn, relation: str = "") -> str:
    name = f"{relation}{column.sql_name}"
    if column.kind == "parity":
        return f"bit_xor({name})"
    cast = "::bigint" if column.type.base == "bigint" else ""
    return f"sum({name}){cast}"


def check_indexes(published: Published, indexes: Sequence[Sequence[str]]) -> None:
    """Raises InvalidQuery for an index on a column that is summed when it is read."""
    keys = {k.name for k in published.stage.keys}
    by_name = {i.name: i.expression for i in published.items}
    for column in (c for columns in indexes for c in columns):
        if not {name for _, name in columns_read(by_name[column])} <= keys:
            raise InvalidQuery(
                f"an index on {column!r}, which is summed over stripes when it is read",
                hint="only the columns of GROUP BY can have an index; or leave stripes out",
                sqlstate="0A000",
            )


def vanish_function(stage: Stage) -> str:
    return f"{SCHEMA}.{quote_name(stage.name + '__vanish')}"


def vanish_body(stage: Stage) -> str:
    """PL/pgSQL that takes away groups of which nothing is left; `emptied` are rows of theirs, a tid array.

    Rows are locked in one statement and looked at in the next one: nobody can have changed them between
    what this one sees and what it deletes. Those that others hold are left, and with them the group's rest:
    it sums to zero, so nobody sees it.
    """
    table, keys = quote_table(stage.table), [quote_name(k.name) for k in stage.keys]

    def zero(relation: str) -> str:
        return " AND ".join(f"NOT {c.change_test(_sum(c, relation))}" for c in stage.state)

    def of_one_group(a: str, b: str) -> str:
        names = ((quote_name(k.name), k.type) for k in stage.keys)
        return " AND ".join(same(f"{a}.{name}", f"{b}.{name}", type_) for name, type_ in names)

    def of(relation: str) -> str:
        return ", ".join(f"{relation}.{k}" for k in keys)

    own = ", ".join(keys)
    return f"""DECLARE
    locked tid[];
BEGIN
    IF {OLD_SNAPSHOT} THEN
        RETURN;  -- it may not see what others made of these rows
    END IF;
    WITH gone AS (
        SELECT {of("mine")}
        FROM {table} AS mine
        JOIN {table} AS state ON {of_one_group("state", "mine")}
        WHERE mine.ctid = ANY (emptied)
        GROUP BY {of("mine")}
        HAVING {zero("state.")}
    ), held AS (
        SELECT state.ctid AS place
        FROM gone
        JOIN {table} AS state ON {of_one_group("state", "gone")}
        FOR UPDATE OF state SKIP LOCKED
    )
    SELECT array_agg(place) INTO locked FROM held;
    WITH held AS (
        SELECT state.ctid AS place, state.* FROM {table} AS state WHERE state.ctid = ANY (locked)
    ), gone AS (
        SELECT {own} FROM held GROUP BY {own}
        HAVING {zero("")}
    )
    DELETE FROM {table} AS state
    USING held
    JOIN gone ON {of_one_group("gone", "held")}
    WHERE state.ctid = held.place;
END"""
