"""What SQL leaves open among equals, decided: which of two rows that a window orders alike comes first.

A row comes before another by the window's own order, then by all that the query reads of it: two rows that
are alike in that too can change places without a trace. Recomputing the query decides in the same way, since
it is its own text that is changed here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlglot import exp

from pg_stepping.frontend.dialect import cast_to, to_sql
from pg_stepping.frontend.trees import called, name_of, unaliased
from pg_stepping.ir import Type
from pg_stepping.ir.nodes import Expression

TypesOf = Callable[[Sequence[Expression]], list[Type]]

# Their result depends on the order of equals, whatever the frame is.
_BY_PLACE = frozenset(("row_number", "ntile", "lag", "lead"))
# These take all rows of the frame in their order.
_IN_ORDER = frozenset(
    """first_value last_value nth_value array_agg string_agg json_agg jsonb_agg json_object_agg
    jsonb_object_agg""".split()
)


def decide_windows(select: exp.Select, types_of: TypesOf, is_set: Callable[[Expression], bool]) -> None:
    """Give the windows of a SELECT, where it matters, an order without equals; named ones are written out.

    `types_of` gives the types of expressions in its list; a call for which `is_set` is true returns rows.
    """
    parts: list[Expression] = [
        *select.expressions,
        *([select.args["order"]] if select.args.get("order") else []),
    ]
    windows = [w for p in parts for w in p.find_all(exp.Window) if w.find_ancestor(exp.Select) is select]
    open_ = [w for w in windows if _is_open(w)]
    if not open_:
        return
    read = [unaliased(e) for e in select.expressions if not e.find(exp.Window)]
    for window in windows:
        read += _arguments(window) + list(window.args.get("partition_by") or [])
        order = window.args.get("order")
        read += [o.this for o in order.expressions] if order is not None else []
    constant = (exp.Literal, exp.Boolean, exp.Null, exp.Star)
    told = {to_sql(e): e for e in read if not isinstance(e, constant) and not e.find(exp.Query)}
    ties = [e for e in told.values() if not any(is_set(n) for n in e.find_all(exp.Anonymous, exp.Dot))]
    if not ties:
        return
    types = types_of(ties)
    for window in open_:
        order = window.args.get("order")
        listed = list(order.expressions) if order is not None else []
        there = {to_sql(o.this) for o in listed} | {to_sql(p) for p in window.args.get("partition_by") or []}
        if not listed and not window.args.get("spec") and _name(window) not in _BY_PLACE:
            window.set("spec", _whole())  # without an order the frame is all rows
        for tie, type_ in zip(ties, types, strict=True):
            listed += [o for o in in_order(tie, type_) if to_sql(o.this) not in there]
        if listed:
            window.set("order", exp.Order(expressions=listed))


def _is_open(window: exp.Window) -> bool:
    """Whether rows that are equal in its order can change its result by their places. In RANGE and GROUPS,
    equal rows belong together: only what takes the whole partition, or its first row, can be decided."""
    name, spec = _name(window), window.args.get("spec")
    if name in _BY_PLACE:
        return True
    excludes = spec is not None and spec.args.get("exclude") is not None
    if spec is not None and str(spec.args.get("kind", "")).upper() == "ROWS":
        return not excludes
    starts = spec is None or (
        spec.args.get("start") == "UNBOUNDED" and spec.args.get("start_side") == "PRECEDING"
    )
    if name == "first_value" and starts and not excludes:
        return True
    ends = (
        window.args.get("order") is None
        if spec is None
        else (spec.args.get("end") == "UNBOUNDED" and spec.args.get("end_side") == "FOLLOWING")
    )
    return name in _IN_ORDER and starts and ends and not excludes


def _name(window: exp.Window) -> str:
    inner = called(window.this)
    return name_of(inner).lower() if isinstance(inner, exp.Anonymous) else ""


def _arguments(window: exp.Window) -> list[Expression]:
    """All that its function reads, its FILTER among it."""
    inner = called(window.this)
    condition = [window.this.expression.this] if window.this is not inner else []
    given = list(inner.expressions) if isinstance(inner, exp.Anonymous) else []
    return [*(a for a in given if not isinstance(a, exp.Distinct | exp.Order)), *condition]


def in_order(expression: Expression, type_: Type) -> list[exp.Ordered]:
    """An order in which only values that are the same are equal: by their text, too, where others can be."""
    by = [expression.copy()] if type_.sorts else []
    if not type_.exact:
        by.append(cast_to(exp.Paren(this=expression.copy()), "text"))
    return [exp.Ordered(this=e, desc=False, nulls_first=False) for e in by]


def _whole() -> exp.WindowSpec:
    return exp.WindowSpec(
        kind="ROWS", start="UNBOUNDED", start_side="PRECEDING", end="UNBOUNDED", end_side="FOLLOWING"
    )
