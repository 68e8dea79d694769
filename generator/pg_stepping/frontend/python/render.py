"""An operator as one SELECT: joins in one FROM, maps inlined, a grouping that is read on as a subquery."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sqlglot import exp

from pg_stepping.frontend.dialect import Canonical
from pg_stepping.frontend.python.functions.templates import within
from pg_stepping.frontend.python.operators import Group, Join, Map, Operator, Source
from pg_stepping.frontend.python.tracing import leaves
from pg_stepping.ir.types import fresh

Place = Callable[[Source], tuple[str | None, str]]


@dataclass(frozen=True, slots=True)
class _Select:
    """A SELECT in the making: `columns` computes each leaf of its row, named by its path."""

    tables: tuple[exp.Expression, ...]
    conditions: tuple[exp.Expression, ...]
    keys: tuple[exp.Expression, ...]
    columns: dict[str, exp.Expression]


def select(operator: Operator, place: Place) -> str:
    """The query of an operator whose rows are Data, a column for each field.

    `place` gives the schema (None: leave it to the search_path) and the name of a source's table.
    """
    built = _statement(_Renderer(place).render(operator))
    return built.sql(dialect=Canonical, pretty=True, normalize_functions=False, comments=False)


@dataclass(slots=True)
class _Renderer:
    place: Place
    taken: set[str] = field(default_factory=set)

    def render(self, operator: Operator) -> _Select:
        match operator:
            case Source():
                return self._source(operator)
            case Join():
                return self._join(operator)
            case Map():
                below = self.render(operator.input)
                return _Select(below.tables, below.conditions, below.keys, _over(operator.row, below))
            case Group():
                below = self._flat(operator.input)
                keys = tuple(_substituted(k.expression, below.columns) for k in operator.keys)
                return _Select(below.tables, below.conditions, keys, _over(operator.row, below))

    def _source(self, source: Source) -> _Select:
        schema, name = self.place(source)
        alias = fresh(name, self.taken)
        table = exp.table_(name, db=schema, quoted=True, alias=_name(alias) if alias != name else None)
        columns = {".".join(path): _column(alias, path[-1]) for path, _ in leaves(source.row)}
        return _Select((table,), (), (), columns)

    def _join(self, join: Join) -> _Select:
        left, right = self._flat(join.left), self._flat(join.right)
        on = tuple(
            exp.EQ(
                this=_substituted(a.expression, left.columns),
                expression=_substituted(b.expression, right.columns),
            )
            for a, b in zip(join.on_left, join.on_right, strict=True)
        )
        columns = {f"left.{path}".rstrip("."): e for path, e in left.columns.items()}
        columns |= {f"right.{path}".rstrip("."): e for path, e in right.columns.items()}
        conditions = (*left.conditions, *right.conditions, *on)
        return _Select((*left.tables, *right.tables), conditions, (), columns)

    def _flat(self, operator: Operator) -> _Select:
        """The operator without keys: a grouping becomes a subquery."""
        below = self.render(operator)
        if not below.keys:
            return below
        alias = fresh("grouped", self.taken)
        subquery = exp.Subquery(this=_statement(below), alias=exp.TableAlias(this=_name(alias)))
        return _Select((subquery,), (), (), {path: _column(alias, path) for path in below.columns})


def _over(row: object, below: _Select) -> dict[str, exp.Expression]:
    return {".".join(path): _substituted(leaf.expression, below.columns) for path, leaf in leaves(row)}


def _substituted(expression: exp.Expression, columns: dict[str, exp.Expression]) -> exp.Expression:
    """An expression over the leaves of its input's row as one over tables."""

    def one(node: exp.Expression) -> exp.Expression:
        if not isinstance(node, exp.Column):
            return node
        column = columns[node.name].copy()
        return within(node, column)

    return expression.copy().transform(one)


def _statement(built: _Select) -> exp.Select:
    outputs = [
        e if isinstance(e, exp.Column) and e.name == path else exp.alias_(e, path, quoted=True)
        for path, e in built.columns.items()
    ]
    statement = exp.Select(expressions=outputs)
    for number, (table, on) in enumerate(_in_order(built)):
        if number == 0:
            statement.set("from_", exp.From(this=table))
        else:
            statement = statement.join(
                table, on=on, join_type=None if on is not None else "cross", copy=False
            )
    if built.keys:
        statement.set("group", exp.Group(expressions=list(built.keys)))
    return statement


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
