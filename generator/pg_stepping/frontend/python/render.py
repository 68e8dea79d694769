"""An operator as one SELECT: joins in one FROM, maps and filters inlined, all else as a subquery.

Rows are there as often as the SELECT returns them. Where they may be there less than zero times (after
`neg`), the SELECT has a weight beside the row's columns: joins multiply weights, sums multiply by them, and
what asks how often a row is there adds the weights of equal rows first (`consolidated`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, cast

from sqlglot import exp

from pg_stepping.frontend.dialect import Canonical
from pg_stepping.frontend.python.functions.templates import within
from pg_stepping.frontend.python.language import ELEMENT, TOTAL
from pg_stepping.frontend.python.operators import (
    Add,
    Closure,
    Distinct,
    Filter,
    FirstN,
    Join,
    Map,
    MapMany,
    Neg,
    Operator,
    Reduce,
    Source,
)
from pg_stepping.frontend.python.rows import PRESENT, leaves, named_leaves, row_of
from pg_stepping.frontend.python.sums import collected, expression, from_json, totalled
from pg_stepping.frontend.python.types import FieldType, operand
from pg_stepping.ir.types import fresh

Place = Callable[[Source], tuple[str | None, str]]
Columns = dict[str, exp.Expression]

WEIGHT = "weight"


@dataclass(frozen=True, slots=True)
class _Select:
    """A SELECT in the making: `columns` computes each leaf of its row, by its path.

    `laterals` and `outer` (table, condition) come after `tables`, which are joined in any order. `weight` is
    None where each row counts once.
    """

    tables: tuple[exp.Expression, ...]
    columns: Columns
    conditions: tuple[exp.Expression, ...] = ()
    where: tuple[exp.Expression, ...] = ()
    laterals: tuple[exp.Expression, ...] = ()
    outer: tuple[tuple[exp.Expression, exp.Expression], ...] = ()
    keys: tuple[exp.Expression, ...] = ()
    having: exp.Expression | None = None
    weight: exp.Expression | None = None

    @property
    def is_grouped(self) -> bool:
        return bool(self.keys) or self.having is not None

    @property
    def is_flat(self) -> bool:
        """Whether it can become a part of another FROM."""
        return not (self.is_grouped or self.laterals or self.outer)


def select(operator: Operator, place: Place) -> str:
    """The query of an operator's rows, a column for each leaf (`named_leaves`), and `weight` if it is signed.

    `place` gives the schema (None: leave it to the search_path) and the name of a source's table.
    """
    renderer = _Renderer(place)
    built = renderer.render(operator)
    if operator.signed:
        built = renderer.consolidated(built, operator)
    statement = _statement(built, _names(operator), weight_name(operator) if operator.signed else None)
    return statement.sql(dialect=Canonical, pretty=True, normalize_functions=False, comments=False)


def weight_name(operator: Operator) -> str:
    """The column of a signed view that says how often a row is there."""
    return fresh(WEIGHT, {name for name, _ in named_leaves(operator.row)})


def _names(operator: Operator) -> dict[str, str]:
    """The name of each leaf's column, by the leaf's path."""
    row = operator.row
    paths = [".".join(path) for path, _ in leaves(row)]
    return dict(zip(paths, (name for name, _ in named_leaves(row)), strict=True))


@dataclass(slots=True)
class _Renderer:
    place: Place
    taken: set[str] = field(default_factory=set)

    def render(self, operator: Operator) -> _Select:
        match operator:
            case Source():
                return self._source(operator)
            case Join(outer=False):
                return self._join(operator)
            case Join():
                return self._outer_join(operator)
            case Map():
                below = self.render(operator.input)
                return replace(below, columns=_over(operator.row, below.columns))
            case Filter():
                below = self._plain(operator.input)
                condition = _substituted(operator.condition.expression, below.columns)
                return replace(below, where=(*below.where, condition))
            case MapMany():
                return self._map_many(operator)
            case Add():
                return self._add(operator)
            case Neg():
                below = self._plain(operator.input)
                weight = (
                    exp.Literal.string("-1") if below.weight is None else exp.Neg(this=operand(below.weight))
                )
                return replace(below, weight=FieldType(int).cast(weight) if below.weight is None else weight)
            case Distinct():
                below = self._plain(operator.input)
                having = None if below.weight is None else _sum_of(below.weight, exp.GT)
                keys = tuple(below.columns.values())
                return replace(below, keys=keys, having=having, weight=None)
            case Reduce():
                return self._reduce(operator)
            case FirstN():
                return self._first_n(operator)
            case Closure():
                return self._closure(operator)
        raise AssertionError(operator)

    def consolidated(self, built: _Select, operator: Operator) -> _Select:
        """Each distinct row once, with its weight, which is not zero."""
        flat = self._subquery(built, operator) if built.is_grouped else built
        assert flat.weight is not None
        weight = FieldType(int).cast(exp.Anonymous(this="sum", expressions=[flat.weight]))
        having = _sum_of(flat.weight, exp.NEQ)
        return replace(flat, keys=tuple(flat.columns.values()), having=having, weight=weight)

    def _source(self, source: Source) -> _Select:
        schema, name = self.place(source)
        alias = fresh(name, self.taken)
        table = exp.table_(name, db=schema, quoted=True, alias=_name(alias) if alias != name else None)
        names = _names(source)
        return _Select((table,), {path: _column(alias, name) for path, name in names.items()})

    def _join(self, join: Join) -> _Select:
        left, right = self._flat(join.left), self._flat(join.right)
        return _Select(
            (*left.tables, *right.tables),
            _paired(left.columns, right.columns),
            (*left.conditions, *right.conditions, *_equal(join, left, right)),
            (*left.where, *right.where),
            weight=_product(left.weight, right.weight),
        )

    def _outer_join(self, join: Join) -> _Select:
        left = self.render(join.left)
        if left.is_grouped or left.laterals:
            left = self._subquery(left, join.left)
        right = self._flat(join.right)
        if right.weight is not None:
            right = self._subquery(self.consolidated(right, join.right), join.right)
        plain = all(isinstance(e, exp.Column) for e in right.columns.values())
        keys = [c for c in join.on_right[join.null_safe :] if isinstance(c.expression, exp.Column)]
        present: exp.Expression
        if plain and keys and len(right.tables) == 1 and not right.conditions and not right.where:
            present = _substituted(keys[0].expression, right.columns)
        else:
            marked = replace(right, columns={**right.columns, PRESENT: exp.true()})
            right = self._subquery(marked, join.right, {PRESENT: "present"})
            present = right.columns[PRESENT]
        there = exp.Not(this=exp.Is(this=present.copy(), expression=exp.null()))
        columns = {path: e for path, e in right.columns.items() if path != PRESENT}
        on: Any = exp.and_(*_equal(join, left, right), copy=False)
        paired = _paired(left.columns, columns) | {f"right.{PRESENT}": there}
        weight = right.weight
        if weight is not None:
            weight = exp.Anonymous(this="coalesce", expressions=[weight, _one()])
        return replace(
            left,
            columns=paired,
            outer=(*left.outer, (right.tables[0], on)),
            weight=_product(left.weight, weight),
        )

    def _map_many(self, operator: MapMany) -> _Select:
        below = self._plain(operator.input)
        elements = _substituted(operator.elements.expression, below.columns)
        alias = fresh("element", self.taken)
        element = _column(alias, "value")
        row = row_of(operator.element, (ELEMENT,))
        if operator.elements.type.sql == "jsonb":
            function = "jsonb_array_elements"
            found = {leaf.expression.name: from_json(element, path, leaf.type) for path, leaf in leaves(row)}
        else:
            function, found = "unnest", {ELEMENT: element}
        call = exp.Anonymous(this=function, expressions=[elements])
        columns = exp.TableAlias(this=_name(alias), columns=[_name("value")])
        lateral = exp.Lateral(this=call, alias=columns)
        made = _over(operator.row, {**below.columns, **found})
        return replace(below, columns=made, laterals=(*below.laterals, lateral))

    def _add(self, operator: Add) -> _Select:
        names = _names(operator)
        first, second = (self._plain(side) for side in operator.inputs)
        # A UNION takes columns by their places.
        sides = first, replace(second, columns={path: second.columns[path] for path in first.columns})
        weighted = any(side.weight is not None for side in sides)
        weight = fresh(WEIGHT, set(names.values())) if weighted else None
        left, right = (
            _statement(
                side if not weighted or side.weight is not None else replace(side, weight=_one()),
                names,
                weight,
            )
            for side in sides
        )
        return self._from(exp.Union(this=left, expression=right, distinct=False), names, weight, "added")

    def _reduce(self, operator: Reduce) -> _Select:
        below = self._plain(operator.input)
        if below.weight is not None:
            below = self._subquery(self.consolidated(below, operator.input), operator.input)
        keys = tuple(_substituted(key.expression, below.columns) for key in operator.keys)
        value = None if operator.value is None else _substituted(operator.value.expression, below.columns)
        if value is not None and operator.total.type.sql == "jsonb":
            return self._collected(operator, below, value)
        total = totalled(value, operator.total.type, below.weight)
        having = None if keys else exp.GT(this=expression("count(*)"), expression=_zero())
        made = _over(operator.row, {**below.columns, TOTAL: total})
        return replace(below, columns=made, keys=keys, having=having, weight=None)

    def _collected(self, operator: Reduce, below: _Select, value: exp.Expression) -> _Select:
        """The rows' collections laid together: the counts of each element added, then one array a key."""
        # The row has the keys of groups in groups the other way round than `operator.keys`.
        keys = [(path, leaf) for path, leaf in leaves(operator.row) if leaf is not operator.total]
        paths = [".".join(path) for path, _ in keys]
        names = [name for name, leaf in named_leaves(operator.row) if leaf is not operator.total]
        picked = (_substituted(leaf.expression, below.columns) for _, leaf in keys)
        inner = replace(below, columns={**dict(zip(paths, picked, strict=True)), TOTAL: value})
        named = dict(zip(paths, names, strict=True))
        collection = fresh("collection", set(names))
        weight = fresh(WEIGHT, {*names, collection}) if below.weight is not None else None
        statement = _statement(inner, {**named, TOTAL: collection}, weight)
        query = collected(statement, names, collection, weight, self.taken)
        columns = {
            ".".join(path): _column(query.alias, named.get(".".join(path), collection))
            for path, _ in leaves(operator.row)
        }
        return _Select((query,), columns)

    def _first_n(self, operator: FirstN) -> _Select:
        below = self._plain(operator.input)
        if below.weight is not None:
            below = self._copies(self._subquery(self.consolidated(below, operator.input), operator.input))
        names = _names(operator)
        order = self._order(operator, below.columns)
        if not operator.partition:
            statement = _statement(below, names, None)
            statement.set("order", exp.Order(expressions=order))
            statement.set("limit", exp.Limit(expression=exp.Literal.number(operator.n)))
            return self._from(statement, names, None, "first")
        place = fresh("place", set(names.values()))
        partition = [_substituted(p.expression, below.columns) for p in operator.partition]
        number = exp.Window(
            this=exp.Anonymous(this="row_number"), partition_by=partition, order=exp.Order(expressions=order)
        )
        ranked = replace(below, columns={**below.columns, "?place": number})
        found = self._from(_statement(ranked, {**names, "?place": place}, None), names, None, "ranked")
        alias = found.tables[0].alias
        limit = exp.LTE(this=_column(alias, place), expression=exp.Literal.number(operator.n))
        return replace(found, where=(limit,))

    def _copies(self, counted: _Select) -> _Select:
        """Rows with weights as rows without: each as often as its weight says."""
        assert counted.weight is not None
        alias = fresh("copy", self.taken)
        call = exp.Anonymous(this="generate_series", expressions=[_one(), counted.weight])
        lateral = exp.Lateral(this=call, alias=exp.TableAlias(this=_name(alias), columns=[_name("copy")]))
        return replace(counted, laterals=(*counted.laterals, lateral), weight=None)

    def _order(self, operator: FirstN, columns: Columns) -> list[exp.Expression]:
        keys = [(_substituted(c.expression, columns), c.type) for c in operator.order]
        listed: list[exp.Expression] = [
            _ordered(e, kind, ascending)
            for (e, kind), ascending in zip(keys, operator.index.ascending, strict=True)
        ]
        told = [e for e, _ in keys]
        for path, leaf in leaves(operator.row):
            if columns[".".join(path)] not in told:
                listed.append(_ordered(columns[".".join(path)], leaf.type, True))
        return listed

    def _closure(self, operator: Closure) -> _Select:
        below = self._plain(operator.input)
        if below.weight is not None:
            below = replace(
                below, keys=tuple(below.columns.values()), having=_sum_of(below.weight, exp.GT), weight=None
            )
        names = _names(operator)
        around = ["left"] * operator.depth
        sides = {n: _side(p.split("."), around) for p, n in names.items()}
        ends = [[n for n, side in sides.items() if side == wanted] for wanted in ("left", "right")]
        edges, reached = fresh("edges", self.taken), fresh("reached", self.taken)
        start = exp.Select(expressions=[_column(edges, n) for n in names.values()]).from_(
            exp.table_(edges, quoted=True)
        )
        step = exp.Select(
            expressions=[_column(edges if side == "right" else reached, n) for n, side in sides.items()]
        ).from_(exp.table_(reached, quoted=True))
        on: list[exp.Expression] = [
            exp.EQ(this=_column(reached, a), expression=_column(edges, b))
            for a, b in zip(ends[1], ends[0], strict=True)
        ]
        on += [
            exp.NullSafeEQ(this=_column(reached, n), expression=_column(edges, n))
            for n, side in sides.items()
            if not side
        ]
        step = step.join(exp.table_(edges, quoted=True), on=exp.and_(*on, copy=False), copy=False)
        result = exp.Select(expressions=[_column(reached, n) for n in names.values()]).from_(
            exp.table_(reached, quoted=True)
        )
        listed = [_name(n) for n in names.values()]
        ctes = [
            exp.CTE(this=_statement(below, names, None), alias=exp.TableAlias(this=_name(edges))),
            exp.CTE(
                this=exp.Union(this=start, expression=step, distinct=True),
                alias=exp.TableAlias(this=_name(reached), columns=listed),
            ),
        ]
        result.set("with_", exp.With(expressions=ctes, recursive=True))
        return self._from(result, names, None, "closure")

    def _plain(self, operator: Operator) -> _Select:
        """The operator without grouping: that becomes a subquery."""
        below = self.render(operator)
        return self._subquery(below, operator) if below.is_grouped else below

    def _flat(self, operator: Operator) -> _Select:
        """The operator as tables and conditions only."""
        below = self.render(operator)
        return below if below.is_flat else self._subquery(below, operator)

    def _subquery(self, below: _Select, operator: Operator, more: dict[str, str] | None = None) -> _Select:
        names = {**_names(operator), **(more or {})}
        alias = "grouped" if below.is_grouped else "inner"
        weight = fresh(WEIGHT, set(names.values())) if below.weight is not None else None
        return self._from(_statement(below, names, weight), names, weight, alias)

    def _from(
        self, statement: exp.Expression, names: dict[str, str], weight: str | None, alias: str
    ) -> _Select:
        """A statement with these columns as a subquery."""
        alias = fresh(alias, self.taken)
        subquery = exp.Subquery(this=statement, alias=exp.TableAlias(this=_name(alias)))
        columns = {path: _column(alias, name) for path, name in names.items()}
        return _Select((subquery,), columns, weight=_column(alias, weight) if weight else None)


def _equal(join: Join, left: _Select, right: _Select) -> list[exp.Expression]:
    conditions: list[exp.Expression] = []
    for place, (a, b) in enumerate(zip(join.on_left, join.on_right, strict=True)):
        safe = place < join.null_safe and (a.type.nullable or b.type.nullable)
        equality = exp.NullSafeEQ if safe else exp.EQ
        sides = (_substituted(a.expression, left.columns), _substituted(b.expression, right.columns))
        conditions.append(equality(this=operand(sides[0]), expression=operand(sides[1])))
    return conditions


def _paired(left: Columns, right: Columns) -> Columns:
    columns = {f"left.{path}".rstrip("."): e for path, e in left.items()}
    return columns | {f"right.{path}".rstrip("."): e for path, e in right.items()}


def _product(left: exp.Expression | None, right: exp.Expression | None) -> exp.Expression | None:
    if left is None or right is None:
        return right if left is None else left
    return exp.Mul(this=operand(left), expression=operand(right))


def _sum_of(weight: exp.Expression, compared: type[exp.Binary]) -> exp.Expression:
    result: Any = compared(this=exp.Anonymous(this="sum", expressions=[weight.copy()]), expression=_zero())
    return cast(exp.Expression, result)


def _number(value: int) -> exp.Expression:
    return FieldType(int).literal(value)


def _one() -> exp.Expression:
    return _number(1)


def _zero() -> exp.Expression:
    return exp.Literal.number(0)


def _ordered(expression: exp.Expression, kind: FieldType, ascending: bool) -> exp.Ordered:
    """Text by code point, as Python orders it, and jsonb by its text."""
    if kind.sql == "jsonb":
        expression, kind = FieldType(str).cast(expression.copy()), FieldType(str)
    if kind.sql in ("text", "text[]"):
        expression = exp.Collate(
            this=operand(expression.copy()), expression=exp.to_identifier("C", quoted=True)
        )
    return exp.Ordered(this=expression.copy(), desc=not ascending, nulls_first=not ascending)


def _side(path: list[str], around: list[str]) -> str:
    """Which end of a pair a leaf is of: `left`, `right`, or none of them but of the key of a group."""
    depth = len(around)
    return path[depth] if path[:depth] == around and len(path) > depth else ""


def _over(row: object, columns: Columns) -> Columns:
    return {".".join(path): _substituted(leaf.expression, columns) for path, leaf in leaves(row)}


def _substituted(expression: exp.Expression, columns: Columns) -> exp.Expression:
    """An expression over the leaves of its input's row as one over tables."""

    def one(node: exp.Expression) -> exp.Expression:
        if not isinstance(node, exp.Column) or node.table:
            return node
        column = columns[node.name].copy()
        return within(node, column)

    made: exp.Expression = expression.copy().transform(one)
    return made


def _statement(built: _Select, names: dict[str, str], weight: str | None) -> exp.Select:
    outputs = [_output(e, names[path]) for path, e in built.columns.items()]
    if weight is not None and built.weight is not None:
        outputs.append(_output(built.weight, weight))
    (first, of_first), *others = _in_order(built)  # a key may be a constant: then one table has the condition
    statement = exp.Select(expressions=outputs, from_=exp.From(this=first))
    for table, on in others:
        kind = None if on is not None else "cross"
        statement = statement.join(table, on=on, join_type=kind, copy=False)
    for table, condition in built.outer:
        statement = statement.join(table, on=condition, join_type="left", copy=False)
    for lateral in built.laterals:
        statement.append("joins", exp.Join(this=lateral, kind="CROSS"))
    where = built.where if of_first is None else (of_first, *built.where)
    if where:
        statement.set("where", exp.Where(this=exp.and_(*where, copy=False)))
    if built.keys:
        statement.set("group", exp.Group(expressions=[k.copy() for k in built.keys]))
    if built.having is not None:
        statement.set("having", exp.Having(this=built.having))
    return statement


def _output(expression: exp.Expression, name: str) -> exp.Expression:
    if isinstance(expression, exp.Column) and expression.name == name:
        return expression
    made: exp.Expression = exp.Alias(this=expression, alias=_name(name))
    return made


def _in_order(built: _Select) -> Iterator[tuple[exp.Expression, exp.Condition | None]]:
    """The tables, each after those that its conditions name, with these conditions."""
    tables, conditions, seen = list(built.tables), list(built.conditions), set[str]()
    while tables:
        chosen = next((t for t in tables if seen and _ready(conditions, {*seen, t.alias_or_name})), tables[0])
        tables.remove(chosen)
        seen.add(chosen.alias_or_name)
        ready = _ready(conditions, seen)
        conditions = [c for c in conditions if c not in ready]
        yield chosen, exp.and_(*ready, copy=False) if ready else None


def _ready(conditions: list[exp.Expression], seen: set[str]) -> list[exp.Expression]:
    return [c for c in conditions if {column.table for column in c.find_all(exp.Column)} <= seen]


def _column(table: str, name: str) -> exp.Expression:
    return exp.column(_name(name), table=_name(table))


def _name(name: str) -> exp.Identifier:
    return exp.to_identifier(name, quoted=True)
