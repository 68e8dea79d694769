"""Window functions, DISTINCT ON and LIMIT: what is computed for each partition as a whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlglot import exp

from pg_stepping.frontend.dialect import to_sql
from pg_stepping.frontend.ties import in_order
from pg_stepping.frontend.trees import bare, read_grouped
from pg_stepping.ir import Column, Item, Partition, Plan, Project, Type
from pg_stepping.ir.nodes import Expression, columns_read
from pg_stepping.ir.types import fresh, reference

TypeOf = Callable[[Sequence[Column], Sequence[Expression]], list[Type]]
_BIGINT = Type.of("bigint")


def named_windows(select: exp.Select) -> None:
    """Write each window of the WINDOW clause where it is used."""
    windows = {str(w.name): w for w in select.args.get("windows") or []}
    select.set("windows", None)
    for window in windows.values():
        _complete(window, windows)
    for part in select.expressions + [o for o in [select.args.get("order")] if o is not None]:
        for window in list(part.find_all(exp.Window)):
            if window.find_ancestor(exp.Select) is select:
                _complete(window, windows)


def _complete(window: exp.Window, windows: dict[str, exp.Window]) -> None:
    alias = window.args.get("alias")
    base = windows.get(alias.name) if alias is not None else None
    if base is None:
        return
    _complete(base, windows)
    window.set("alias", None)
    for key in ("partition_by", "order", "spec"):
        if not window.args.get(key) and base.args.get(key):
            value = base.args[key]
            window.set(key, [v.copy() for v in value] if isinstance(value, list) else value.copy())


def windowed(
    plan: Plan, expressions: list[Expression], names: set[str], type_of: TypeOf
) -> tuple[Plan, list[Expression]]:
    """The plan with its window functions computed, and the expressions as they are read from it.

    Windows that share a partition key are computed together; else one after the other.
    """
    while True:
        windows = list(dict.fromkeys(w for e in expressions for w in e.find_all(exp.Window)))
        if not windows:
            return plan, expressions
        keys = {w: frozenset(map(bare, w.args.get("partition_by") or [])) for w in windows}
        shared = frozenset.intersection(*keys.values())
        now = windows
        if not shared:
            most = max(keys.values(), key=lambda k: sorted(map(to_sql, k)))
            now = [w for w in windows if keys[w] == most]
            shared = most
        plan, outputs = _computed(plan, expressions, now, sorted(shared, key=to_sql), names, type_of)
        expressions = [read_grouped(e, outputs) for e in expressions]


def _computed(
    plan: Plan,
    expressions: list[Expression],
    windows: Sequence[Expression],
    by: list[Expression],
    names: set[str],
    type_of: TypeOf,
) -> tuple[Plan, dict[Expression, Expression]]:
    replaced: dict[Expression, Expression] = {w: exp.Literal.number(0) for w in windows}
    read = dict.fromkeys(columns_read(*(read_grouped(e, replaced) for e in expressions)))
    columns = {(c.relation, c.name): c for c in plan.columns}
    relation = fresh("windowed", names)
    taken: set[str] = set()
    items = [Item(fresh(name, taken), reference(r, name), columns[r, name].type) for r, name in read]
    for window, type_ in zip(windows, type_of(plan.columns, windows), strict=True):
        called = window.find(exp.Anonymous)
        items.append(Item(fresh(called.name if called else "window", taken), window, type_))
    key_types = type_of(plan.columns, by) if by else []
    keys = tuple(Item(fresh("key", taken), k, t) for k, t in zip(by, key_types, strict=True))
    partition = Partition(plan, relation, keys, tuple(items))
    return partition, {i.expression: reference(relation, i.name) for i in items}


def _ordered(order: Sequence[exp.Ordered], ties: Sequence[Item], relation: str) -> exp.Order:
    """An ORDER BY that leaves no two different rows equal."""
    there = {to_sql(o.this) for o in order}
    more = [o for i in ties for o in in_order(reference(relation, i.name), i.type)]
    return exp.Order(
        expressions=[*(o.copy() for o in order), *(o for o in more if to_sql(o.this) not in there)]
    )


def _rank(function: str, by: Sequence[Expression], order: exp.Order) -> exp.Window:
    call = exp.Anonymous(this=function)
    return exp.Window(this=call, partition_by=[b.copy() for b in by], order=order, over="OVER")


def first_of_each(
    project: Project, on: Sequence[Item], order: Sequence[exp.Ordered], names: set[str]
) -> Project:
    """DISTINCT ON: of the rows that agree in `on`, columns of the projection, the first one."""
    relation = fresh("first", names)
    by = [reference(project.relation, i.name) for i in on]
    place = Item("place", _rank("row_number", by, _ordered(order, project.items, project.relation)), _BIGINT)
    keys = tuple(replace(i, expression=k) for i, k in zip(on, by, strict=True))
    return _ranked(project, relation, keys, (place,), 1, None, names)


def limited(
    project: Project,
    order: Sequence[exp.Ordered],
    limit: int | None,
    offset: int | None,
    names: set[str],
    *,
    ties: bool,
) -> Project:
    """LIMIT and OFFSET; with `ties`, also the rows that are equal to the last in its order."""
    relation = fresh("limited", names)
    place = Item("place", _rank("row_number", (), _ordered(order, project.items, project.relation)), _BIGINT)
    ranks = (place,)
    if ties:
        ranks += (Item("rank", _rank("rank", (), exp.Order(expressions=[o.copy() for o in order])), _BIGINT),)  # type: ignore[assignment]
    return _ranked(project, relation, (), ranks, limit, offset, names)


def _ranked(
    project: Project,
    relation: str,
    keys: tuple[Item, ...],
    ranks: tuple[Item, ...],
    limit: int | None,
    offset: int | None,
    names: set[str],
) -> Project:
    outputs = {i.name for i in project.items}
    named = tuple(replace(r, name=fresh(r.name, outputs)) for r in ranks)
    conditions: list[Expression] = []
    if limit is not None:
        last = exp.Literal.number(limit + (offset or 0))
        conditions.append(exp.LTE(this=reference(relation, named[-1].name), expression=last))
    if offset:
        skipped = exp.Literal.number(offset)
        conditions.append(exp.GT(this=reference(relation, named[0].name), expression=skipped))
    items = tuple(Item(i.name, reference(project.relation, i.name), i.type) for i in project.items)
    below = Partition(project, relation, keys, items, None, named, tuple(conditions))
    read = tuple(Item(i.name, reference(relation, i.name), i.type) for i in project.items)
    return Project(below, fresh("result", names), read)
