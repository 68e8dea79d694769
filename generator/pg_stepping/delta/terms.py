"""The delta of a join.

Law: with Old_j = New_j - D_j,
    New_1 x ... x New_n  -  Old_1 x ... x Old_n
        =  sum over i of  New_1 x .. x New_(i-1)  x  D_i  x  Old_(i+1) x .. x Old_n
in terms of the tables as they are now (Gupta, Mumick, Subrahmanian, SIGMOD 1993; Budiu et al., DBSP, VLDB
2023, theorem 5.5 iterated). A relation that has not changed has Old = New and no term of its own.

An outer join is made of products too, so that the same law holds for it: if M has one row for each row of A
that has partners in B,
    A left join B  =  A x B  +  A x NULL  -  A x M x NULL
(the last two are the rows without a partner; cf. Griffin, Kumar, SIGMOD Record 27(3), 1998). Where nothing
changes in B and M, Postgres's own LEFT JOIN computes the sum at once. Of many outer joins these would be too
many products: there each row of A looks the three parts up, as one relation with weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from textwrap import indent

from sqlglot import exp

from pg_stepping.frontend.dialect import null_of, quote_name, to_sql
from pg_stepping.ir import (
    Column,
    Filter,
    Item,
    Join,
    Outer,
    Plan,
    Project,
    Recursive,
    Rows,
    Scan,
    Table,
    Union,
)
from pg_stepping.ir.nodes import Expression, columns_read
from pg_stepping.ir.rewrite import outside, rebuild, substitute
from pg_stepping.ir.types import fresh

_INDENT = "    "
NOWHERE = "'(4294967295,65535)'::tid"  # in place of a ctid, for a row that is in no table
_WIDTH = 130  # of a line, beside the little that is around such a relation


@dataclass(frozen=True, slots=True)
class Changed:
    """The relations of the changes of some tables: their columns that are read, and a weight.

    `tables` has the same changes, perhaps not netted, where an index or the planner's pages can find them.
    `beside` are tables whose changes are not in them yet: there the table as it is now is Old, not New.
    `laid` are relations that are computed from such tables, by their names, with the changes laid over these.
    `behind` names rows with weights that a table holds and that are to be left out of it.
    """

    rows: Mapping[Table, str] = field(default_factory=dict)
    tables: Mapping[Table, str] = field(default_factory=dict)
    beside: frozenset[Table] = frozenset()
    behind: Mapping[Table, str] = field(default_factory=dict)
    laid: Mapping[str, Plan] = field(default_factory=dict)

    def among(self, *, beside: bool) -> Changed:
        """Those changes that are beside their tables, or those that are in them."""
        rows = {t: r for t, r in self.rows.items() if (t in self.beside) == beside}
        return replace(self, rows=rows)


@dataclass(frozen=True, slots=True)
class Core:
    """What a stage joins: relations, those that may be missing, and the conditions on all of them."""

    parts: tuple[Plan, ...]
    conditions: tuple[Expression, ...] = ()
    outers: tuple[Outer, ...] = ()

    @property
    def scans(self) -> tuple[Scan, ...]:
        """Every place where a table is read."""
        matches = (o.match for o in self.outers if o.match is not None)
        inputs = (*self.parts, *(o.input for o in self.outers), *matches)
        return tuple(s for i in inputs for s in scans_in(i))

    @property
    def columns(self) -> tuple[Column, ...]:
        """What expressions over the core may read."""
        return tuple(c for p in (*self.parts, *(o.input for o in self.outers)) for c in p.columns)

    @property
    def is_inner(self) -> bool:
        """Whether it is an inner join of tables, and nothing else."""
        return not self.outers and all(isinstance(p, Scan | Rows) for p in self.parts)


def core_of(plan: Plan) -> Core:
    match plan:
        case Join():
            return Core(plan.parts, plan.conditions, plan.outers)
        case Filter():
            inner = core_of(plan.input)
            return Core(inner.parts, (*inner.conditions, *plan.conditions), inner.outers)
    return Core((plan,))


def scans_in(plan: Plan) -> tuple[Scan, ...]:
    """The scans of a relation that is joined: a table, or a query over some."""
    match plan:
        case Scan():
            return (plan,)
        case Project():
            return core_of(plan.input).scans
        case Union():
            return tuple(s for p in plan.parts for s in scans_in(p))
    return ()


@dataclass(frozen=True, slots=True)
class Term:
    """One product of the sum: the lines of its FROM and WHERE, the weight of a joined row, and what is read
    in place of columns that it has not."""

    lines: tuple[str, ...]
    weight: str
    missing: Mapping[tuple[str, str], Expression] = field(default_factory=dict)


def quote_table(table: Table) -> str:
    return f"{quote_name(table.schema)}.{quote_name(table.name)}"


def regclass(table: Table) -> str:
    """A name as the input of regclass, which knows no U&"..."."""
    return ".".join('"' + n.replace('"', '""') + '"' if q.startswith("U&") else q
                    for n, q in ((n, quote_name(n)) for n in (table.schema, table.name)))  # fmt: skip


def names_of(columns: tuple[Column, ...]) -> list[str]:
    return [quote_name(c.name) for c in columns]


@dataclass(frozen=True, slots=True)
class _Way:
    """One way in which an outer takes part in a product: as it is joined, missing, as its match, or as all
    three parts at once."""

    sign: int
    kind: str  # left, inner, missing, match, parts


def terms(core: Core, changed: Changed, weight: str) -> tuple[Term, ...]:
    """The delta of a core whose tables have changed."""
    result: list[Term] = []
    outers, parts = core.outers, core.parts
    split = _PARTS if sum(_has_changed(o, changed) for o in outers) <= _SPLIT else (_Way(1, "parts"),)
    for i, outer in enumerate(outers):
        before = [_new_ways(o, changed, split) for o in outers[:i]]
        after = [_old_ways(o, changed, split) for o in outers[i + 1 :]]
        roles = ["new"] * i + ["delta"] + ["old"] * len(after)
        for ways in product(*before, tuple(_changed_ways(outer, changed)), *after):
            result.append(_term(core, ways, roles, ["old"] * len(parts), changed, weight))
    for i, part in enumerate(parts):
        if _is_changed(part, changed):
            roles = ["new"] * i + ["delta"] + ["old"] * (len(parts) - i - 1)
            for ways in product(*(_new_ways(o, changed, split) for o in outers)):
                result.append(_term(core, ways, ["new"] * len(outers), roles, changed, weight))
    return tuple(result)


def whole(core: Core) -> tuple[str, ...]:
    """FROM and WHERE of the join itself, over the tables as they are now."""
    ways = tuple(_Way(1, "left") for _ in core.outers)
    return _term(core, ways, ["new"] * len(ways), ["new"] * len(core.parts), Changed(), "").lines


def grown(core: Core, table: Table, rows: str) -> str | None:
    """The join of the rows that were inserted into a table with the others: all of the delta, every weight 1.

    None if the table occurs twice, or is optional, where the delta is not so simple."""
    places = [s for s in core.scans if s.table == table]
    if len(places) != 1 or not any(p is places[0] for p in core.parts):
        return None
    ways = tuple(_Way(1, "left") for _ in core.outers)
    roles = ["delta" if p is places[0] else "new" for p in core.parts]
    return "\n".join(_term(core, ways, ["new"] * len(ways), roles, Changed({table: rows}), "").lines)


def _is_changed(plan: Plan | None, changed: Changed) -> bool:
    return plan is not None and any(s.table in changed.rows for s in scans_in(plan))


def _changed_ways(outer: Outer, changed: Changed) -> Iterator[_Way]:
    """The products in which the change of an outer, or of its match, takes part."""
    if _is_changed(outer.input, changed):
        yield _Way(1, "inner")
        if outer.match is None:
            yield _Way(-1, "match")
    if _is_changed(outer.match, changed):
        yield _Way(-1, "match")


_PARTS = (_Way(1, "inner"), _Way(1, "missing"), _Way(-1, "match"))
_SPLIT = 3  # changed outers of which each product of parts is a term: 3 to the power of them


def _has_changed(outer: Outer, changed: Changed) -> bool:
    return _is_changed(outer.input, changed) or _is_changed(outer.match, changed)


def _old_ways(outer: Outer, changed: Changed, split: tuple[_Way, ...]) -> tuple[_Way, ...]:
    return split if _has_changed(outer, changed) else (_Way(1, "left"),)


def _new_ways(outer: Outer, changed: Changed, split: tuple[_Way, ...]) -> tuple[_Way, ...]:
    """At once, but for a match that may have lost rows for what is gone from the other side, and for what
    is not in its table yet."""
    lost = outer.mutual and _is_changed(outer.match, changed)
    return split if lost or _is_changed(outer.input, changed.among(beside=True)) else (_Way(1, "left"),)


def _term(
    core: Core,
    ways: Sequence[_Way],
    outer_roles: Sequence[str],
    part_roles: Sequence[str],
    changed: Changed,
    weight: str,
) -> Term:
    """One product: the parts in their roles, and the outers in theirs, each in its way."""
    sign = 1
    inner = list(zip(core.parts, part_roles, strict=True))
    joined: list[Expression] = []
    left: list[tuple[Outer, str | None]] = []
    looked_up: list[str] = []
    missing: dict[tuple[str, str], Expression] = {}
    for outer, way, role in zip(core.outers, ways, outer_roles, strict=True):
        sign *= way.sign
        if way.kind in ("left", "parts"):
            there = replace(
                outer,
                input=_over(outer.input, missing),
                conditions=_all(outer.conditions, missing),
                match=None if outer.match is None else _over(outer.match, missing),
                match_conditions=_all(outer.match_conditions, missing),
            )
            parts = _parts(there, role, changed, weight) if way.kind == "parts" else None
            left.append((there, parts))
            looked_up += [f"{quote_name(_name(there.input))}.{quote_name(weight)}"] if parts else []
        elif way.kind == "match" and outer.match is not None:
            inner.append((outer.match, role))
            joined += _all(outer.match_conditions, missing)
        elif way.kind in ("inner", "match"):
            inner.append((outer.input, role))
            joined += _all(outer.conditions, missing)
        if way.kind in ("missing", "match"):
            columns = outer.input.columns
            missing |= {(c.relation, c.name): null_of(c.type) for c in columns}
    if missing:
        inner = [(_over(plan, missing), role) for plan, role in inner]
    relations = [_Relation(plan, *_source(plan, role, changed, weight)) for plan, role in inner]
    weights = [f"{quote_name(r.name)}.{quote_name(weight)}" for r in relations if r.weighted and weight]
    weights += looked_up
    first = next((r for r in relations if r.role == "delta"), relations[0])
    lines = _lines(relations, first, [*_all(core.conditions, missing), *joined], left)
    return Term(tuple(lines), _product(sign, weights), missing)


def _parts(outer: Outer, role: str, changed: Changed, weight: str) -> str:
    """What a row finds in an optional relation: its partners, the row without one, and what takes this away
    again if there are some."""
    w = quote_name(weight)

    def found(plan: Plan, columns: str, sign: str, conditions: Sequence[Expression]) -> str:
        source, weighted, _ = _source(plan, role, changed, weight)
        own = f"{sign}{quote_name(_name(plan))}.{w}" if weighted else f"{sign}1"
        lines = [f"SELECT {columns}{own} AS {w}", f"FROM {_aliased(plan, source)}", *_copies(plan)]
        return "\n".join([*lines, *([f"WHERE {all_of(conditions)}"] if conditions else [])])

    columns = outer.input.columns
    there = "".join(f"{to_sql(c.ref)}, " for c in columns)
    nothing = "".join(f"{to_sql(null_of(c.type))} AS {quote_name(c.name)}, " for c in columns)
    match, conditions = outer.match, outer.match_conditions
    if match is None:
        match, conditions = outer.input, outer.conditions
    arms = (
        found(outer.input, there, "", outer.conditions),
        f"SELECT {nothing}1 AS {w}",
        found(match, nothing, "-", conditions),
    )
    return _subquery(arms)


def _over(plan: Plan, columns: Mapping[tuple[str, str], Expression]) -> Plan:
    """A relation that is computed from others, in place of whose columns something else is read."""
    if not columns or not outside(plan):
        return plan
    if isinstance(plan, Rows):
        return replace(plan, source=substitute(plan.source, columns))
    return rebuild(plan, tuple(_over(i, columns) for i in plan.inputs), lambda e: substitute(e, columns))


def _all(
    conditions: Sequence[Expression], columns: Mapping[tuple[str, str], Expression]
) -> tuple[Expression, ...]:
    return tuple(substitute(c, columns) for c in conditions) if columns else tuple(conditions)


def _product(sign: int, weights: Sequence[str]) -> str:
    if sign > 0:
        return " * ".join(weights) or "1"
    return " * ".join([f"-{weights[0]}", *weights[1:]]) if weights else "-1"


@dataclass(frozen=True, slots=True)
class _Relation:
    """A relation in a FROM clause: what is read for it, and whether its rows have weights."""

    plan: Plan
    source: str
    weighted: bool
    role: str

    @property
    def name(self) -> str:
        return _name(self.plan)


def _name(plan: Plan) -> str:
    assert not isinstance(plan, Filter | Join)
    return plan.relation


def _source(plan: Plan, role: str, changed: Changed, weight: str) -> tuple[str, bool, str]:
    """What a relation is read from in its role; whether it has weights; the role that it comes to."""
    is_changed = _is_changed(plan, changed)
    if role == "delta" and is_changed:
        return _changes(plan, changed, weight), True, role
    columns = ", ".join(names_of(plan.columns)) + (", " if plan.columns else "")
    w = quote_name(weight)
    if not isinstance(plan, Scan):
        # as it will be: Postgres computes it, and knows of no match (see above) that may be Old yet
        now = source_of(changed.laid.get(_name(plan), plan))
        if role == "new" or not is_changed:
            return now, False, "new"
        gone = f"SELECT {columns}-{w} FROM {_changes(plan, changed, weight)} AS gone"
        return _united([f"SELECT {columns}1 AS {w} FROM {now} AS now", gone]), True, role
    beside = role == "new"
    behind = changed.behind.get(plan.table)
    changed = changed.among(beside=beside)
    is_changed = _is_changed(plan, changed)
    if not is_changed and behind is None:
        return source_of(plan), False, "new"
    selects = [f"SELECT {columns}1 AS {w} FROM {source_of(plan)}"]
    if behind is not None:
        selects.append(f"SELECT {columns}-{w} FROM {behind}")
    if is_changed:
        changes = changed.tables.get(plan.table, changed.rows[plan.table])
        selects.append(f"SELECT {columns}{'' if beside else '-'}{w} FROM {changes}")
    return _united(selects), True, role


def _united(selects: Sequence[str]) -> str:
    line = " UNION ALL ".join(selects)
    return f"({line if len(line) < _WIDTH else f' UNION ALL{chr(10)}{_INDENT}'.join(selects)})"


def source_of(plan: Plan) -> str:
    """A relation as an item of a FROM clause, without its alias, over the tables as they are now."""
    if isinstance(plan, Scan):
        table = plan.query or quote_table(plan.table)
        return table if plan.overlay is None else _overlaid(plan, plan.overlay)
    if isinstance(plan, Rows):
        return f"LATERAL {to_sql(plan.source)}"
    assert isinstance(plan, Project | Union)
    parts = plan.parts if isinstance(plan, Union) else (plan,)
    query = _subquery([select_of(p) for p in parts])
    return f"LATERAL {query}" if outside(plan) else query


def _overlaid(scan: Scan, overlay: str) -> str:
    """The rows of a state table and those that are to replace some of them. OFFSET 0 is what lets Postgres
    look a key up by the table's index while it reads the others as they come."""
    *columns, place = names_of(scan.fields)
    now = f"SELECT {', '.join([*columns, f'ctid AS {place}'])} FROM {quote_table(scan.table)}"
    changed = f"(SELECT {', '.join(columns)} FROM {overlay} OFFSET 0) AS changed"
    # a function gives its rows without lengths and collations
    lengths = (f"::{c.type.name}" if _has_length(c.type.name) else "" for c in scan.fields)
    collations = (f" COLLATE {c.type.collation}" if c.type.collation else "" for c in scan.fields)
    typed = ["".join(parts) for parts in zip(columns, lengths, collations, strict=False)]
    return f"({now} UNION ALL\n{_INDENT}SELECT {', '.join([*typed, NOWHERE])} FROM {changed})"


def _has_length(type_: str) -> bool:
    return "(" in type_ or type_.startswith("interval ")


def select_of(project: Project) -> str:
    """A projection as a query over the tables as they are now."""
    return _select(project.items, "\n".join(whole(core_of(project.input))))


def recursion_of(node: Recursive) -> str:
    """A recursion as a query over the tables as they are now."""
    seed, step = (select_of(p) for p in (node.seed, node.step))
    columns = ", ".join(quote_name(i.name) for i in node.seed.items)
    name, union = quote_name(node.name), "UNION" if node.distinct else "UNION ALL"
    body = indent(f"{seed}\n{union}\n{step}", _INDENT)
    return f"WITH RECURSIVE {name} ({columns}) AS (\n{body}\n)\nSELECT {columns} FROM {name}"


def _changes(plan: Plan, changed: Changed, weight: str) -> str:
    if isinstance(plan, Scan):
        return changed.rows[plan.table]
    return _subquery(changes_of(plan.parts if isinstance(plan, Union) else (plan,), changed, weight))


def changes_of(parts: Sequence[Plan], changed: Changed, weight: str) -> list[str]:
    """The queries that together give the change of some projections, a row's weight last."""
    selects = []
    for part in parts:
        assert isinstance(part, Project)
        for term in terms(core_of(part.input), changed, weight):
            items = tuple(Item(i.name, substitute(i.expression, term.missing), i.type) for i in part.items)
            column = f"{term.weight} AS {quote_name(weight)}"
            selects.append(_select(items, "\n".join(term.lines), column))
    return selects


def _subquery(selects: Sequence[str]) -> str:
    return "(\n" + indent("\nUNION ALL\n".join(selects), _INDENT) + "\n)"


def _select(items: Sequence[Item], lines: str, *more: str) -> str:
    return f"SELECT {', '.join([*(named(i.expression, i.name) for i in items), *more])}\n{lines}"


def named(expression: Expression, name: str) -> str:
    """An entry of a select list."""
    plain = isinstance(expression, exp.Column) and expression.name == name
    return to_sql(expression) if plain else f"{to_sql(expression)} AS {quote_name(name)}"


@dataclass(frozen=True, slots=True)
class Step:
    """One relation of a join in the order of evaluation; `on` links it to those before it."""

    plan: Plan
    on: tuple[Expression, ...]
    where: tuple[Expression, ...]


def join_order(plans: Sequence[Plan], first: Plan, conditions: Sequence[Expression]) -> list[Step]:
    """The relations of a join, beginning at `first`; each next one is linked to those before it where there
    is such a one, and every condition stands at the first place where it can be checked."""
    waiting = [(p, _reads(p)) for p in plans if p is not first]
    open_ = [(c, {relation for relation, _ in columns_read(c)}) for c in conditions]
    steps: list[Step] = []
    there: set[str] = set()
    plan = first
    while True:
        there.add(_name(plan))
        ready = [(c, relations) for c, relations in open_ if relations <= there]
        open_ = [(c, relations) for c, relations in open_ if not relations <= there]
        on = tuple(c for c, relations in ready if len(relations) > 1)
        steps.append(Step(plan, on, tuple(c for c, relations in ready if len(relations) <= 1)))
        if not waiting:
            return steps
        free = [p for p, reads in waiting if reads <= there]
        missing = [relations - there for _, relations in open_ if len(relations) > 1]
        linked = {name for names in missing if len(names) == 1 for name in names}
        plan = next((p for p in free if _name(p) in linked), free[0])
        waiting = [(p, reads) for p, reads in waiting if p is not plan]


def _reads(plan: Plan) -> set[str]:
    """The relations whose columns a relation is computed from."""
    return {relation for relation, _ in outside(plan)}


def _lines(
    relations: Sequence[_Relation],
    first: _Relation,
    conditions: list[Expression],
    left: Sequence[tuple[Outer, str | None]],
) -> list[str]:
    """FROM and WHERE of a join, beginning at `first`; `left` are the outers that are left joined, or looked
    up in their parts."""
    if isinstance(first.plan, Rows):
        first = next((r for r in relations if not isinstance(r.plan, Rows)), first)
    by_plan = {id(r.plan): r for r in relations}
    there = {r.name for r in relations}
    last: list[_Relation] = []  # rows that are computed from what is joined by LEFT JOIN
    while after := [r for r in relations if r.name in there and _reads(r.plan) - there]:
        last += after
        there -= {r.name for r in after}
    relations = [r for r in relations if r.name in there]
    early = [c for c in conditions if {r for r, _ in columns_read(c)} <= there]
    late = [c for c in conditions if {r for r, _ in columns_read(c)} - there]
    lines: list[str] = []
    where: list[Expression] = []
    for step in join_order([r.plan for r in relations], first.plan, early):
        aliased = _aliased(step.plan, by_plan[id(step.plan)].source)
        if step.plan is first.plan:
            lines.append(f"FROM {aliased}")
        elif step.on:
            lines.append(f"JOIN {aliased} ON {all_of(step.on)}")
        else:
            lines.append(f"CROSS JOIN {aliased}")
        lines += _copies(step.plan)
        where += step.where
    for outer, of_parts in left:
        on_ = (*outer.conditions, *(outer.match_conditions if of_parts else ()))
        read = _reads(outer.input) | {relation for relation, _ in columns_read(*on_)}
        while more := {name for r in last if r.name in read for name in _reads(r.plan)} - read:
            read |= more
        lines += (f"CROSS JOIN {_aliased(r.plan, r.source)}" for r in last if r.name in read)
        last = [r for r in last if r.name not in read]
        if of_parts is not None:
            lines.append(f"CROSS JOIN LATERAL {of_parts} AS {quote_name(_name(outer.input))}")
            continue
        on = all_of(outer.conditions) if outer.conditions else "true"
        rows = [_aliased(outer.input, source_of(outer.input)), *_copies(outer.input)]
        item = rows[0] if len(rows) == 1 else f"({' '.join(rows)})"
        lines.append(f"LEFT JOIN {item} ON {on}")
    lines += (f"CROSS JOIN {_aliased(r.plan, r.source)}" for r in last)
    where += late
    if where:
        lines.append(f"WHERE {all_of(where)}")
    return lines


def _aliased(plan: Plan, source: str) -> str:
    header = plan.header if isinstance(plan, Rows) else ""
    return f"{source} AS {quote_name(_name(plan))}{header}"


def _copies(plan: Plan) -> list[str]:
    if not isinstance(plan, Scan) or plan.copies is None:
        return []
    alias = fresh(f"copies_of_{plan.relation}", set())
    count = f"{quote_name(plan.relation)}.{quote_name(plan.copies)}"
    return [f"CROSS JOIN generate_series(1, {count}) AS {quote_name(alias)}"]


def all_of(conditions: Sequence[Expression]) -> str:
    """Conditions joined by AND."""
    return " AND ".join(to_sql(c) if len(conditions) == 1 else f"({to_sql(c)})" for c in conditions)
