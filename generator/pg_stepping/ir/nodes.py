"""The operators of a plan.

Every node is frozen, knows its output columns, and checks when it is made that each expression reads
only columns of its input. Joins are one n-ary node: inner ones in no order, then outer ones in theirs.
`linear`, `bilinear` and `stateful` say what delta an operator has (Budiu et al., DBSP, VLDB 2023, section 4).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import ClassVar

from sqlglot import exp

from pg_stepping.ir.folds import Fold
from pg_stepping.ir.types import Column, Table, Type

Expression = exp.Expression

# Aggregates that an insert only moves one way, and how two of their values make one.
EXTREMES = {
    "min": "LEAST",
    "max": "GREATEST",
    "bool_and": "LEAST",
    "every": "LEAST",
    "bool_or": "GREATEST",
    "bit_and": "&",
    "bit_or": "|",
}

# True while a query is read: a correlated subquery reads columns of the query around it until it is unnested.
CORRELATED: ContextVar[bool] = ContextVar("correlated", default=False)


def is_equality(condition: Expression) -> bool:
    """Whether a condition says that two values are equal; x = ANY (array) does not."""
    of = condition.args.get("expression")
    array = isinstance(of, exp.Any) or (isinstance(of, exp.Anonymous) and of.name.upper() in ("ANY", "ALL"))
    return isinstance(condition, exp.EQ) and not array


def columns_read(*expressions: Expression | None) -> Iterator[tuple[str, str]]:
    """The (relation, name) of every column that the expressions read, with repetitions."""
    for expression in expressions:
        if isinstance(expression, exp.Column):  # as most are
            yield expression.table, expression.name
        elif expression is not None:
            for column in expression.find_all(exp.Column):
                yield column.table, column.name


class _Node:
    """What the operators have in common."""

    __slots__ = ()

    linear: ClassVar[bool] = False
    bilinear: ClassVar[bool] = False
    stateful: ClassVar[bool] = False

    @property
    def inputs(self) -> tuple[Plan, ...]:
        raise NotImplementedError

    @property
    def expressions(self) -> tuple[Expression, ...]:
        raise NotImplementedError

    @property
    def columns(self) -> tuple[Column, ...]:
        raise NotImplementedError

    def _check(self) -> None:
        there = {(c.relation, c.name) for i in self.inputs for c in i.columns}
        missing = set(columns_read(*self.expressions)) - there
        if missing and not CORRELATED.get():
            raise ValueError(f"{type(self).__name__} reads {sorted(missing)}, which its input does not have")
        names = [(c.relation, c.name) for c in self.columns]
        if len(set(names)) != len(names):
            raise ValueError(f"{type(self).__name__} has two columns of one name: {sorted(names)}")


@dataclass(frozen=True, slots=True)
class Scan(_Node):
    """The rows of a table, each `copies` times (the name of a bigint column) or once.

    With `overlay`, the relation of rows that are to replace some of a state table's, they stand beside these;
    the last field is the place (ctid) of a row that may be replaced. `query` is read in place of the table.
    """

    linear: ClassVar[bool] = True

    table: Table
    relation: str
    fields: tuple[Column, ...]
    copies: str | None = None
    overlay: str | None = None
    query: str | None = None

    def __post_init__(self) -> None:
        if any(c.relation != self.relation for c in self.fields):
            raise ValueError(f"a column of {self.relation} names another relation")
        self._check()

    @property
    def inputs(self) -> tuple[Plan, ...]:
        return ()

    @property
    def expressions(self) -> tuple[Expression, ...]:
        return ()

    @property
    def columns(self) -> tuple[Column, ...]:
        return self.fields


@dataclass(frozen=True, slots=True)
class Filter(_Node):
    """The input rows for which every condition is true."""

    linear: ClassVar[bool] = True

    input: Plan
    conditions: tuple[Expression, ...]

    def __post_init__(self) -> None:
        self._check()

    @property
    def inputs(self) -> tuple[Plan, ...]:
        return (self.input,)

    @property
    def expressions(self) -> tuple[Expression, ...]:
        return self.conditions

    @property
    def columns(self) -> tuple[Column, ...]:
        return self.input.columns


@dataclass(frozen=True, slots=True)
class Rows(_Node):
    """Rows that follow from constants and from the row that they are joined to: VALUES, or set-returning
    functions. `source` is printed after LATERAL, `header` (its columns) after AS and the relation."""

    linear: ClassVar[bool] = True

    relation: str
    source: Expression
    header: str
    fields: tuple[Column, ...]

    @property
    def inputs(self) -> tuple[Plan, ...]:
        return ()

    @property
    def expressions(self) -> tuple[Expression, ...]:
        return ()  # what `source` reads is for the join to check

    @property
    def columns(self) -> tuple[Column, ...]:
        return self.fields


@dataclass(frozen=True, slots=True)
class Outer:
    """The optional side of a left outer join: NULL where no row of `input` meets all conditions.

    `match` is given where a row can have several partners: a relation with at most one row, by
    `match_conditions`, for each row that has some. `mutual`: it is made of both sides, so that it knows only
    of rows that are there.
    """

    input: Plan
    conditions: tuple[Expression, ...]
    match: Plan | None = None
    match_conditions: tuple[Expression, ...] = ()
    mutual: bool = False


@dataclass(frozen=True, slots=True)
class Join(_Node):
    """The inner join of its parts, to which the outers are joined one after the other: of the result, the
    rows for which all conditions are true."""

    bilinear: ClassVar[bool] = True

    parts: tuple[Plan, ...]
    conditions: tuple[Expression, ...]
    outers: tuple[Outer, ...] = ()

    def __post_init__(self) -> None:
        if len(self.parts) + len(self.outers) < 2 or not self.parts:
            raise ValueError("a join has at least two inputs, the first of them inner")
        self._check()

    @property
    def inputs(self) -> tuple[Plan, ...]:
        matches = (o.match for o in self.outers if o.match is not None)
        return (*self.parts, *(o.input for o in self.outers), *matches)

    @property
    def expressions(self) -> tuple[Expression, ...]:
        sources = (i.source for i in self.inputs if isinstance(i, Rows))
        of_outers = (c for o in self.outers for c in (*o.conditions, *o.match_conditions))
        return (*self.conditions, *of_outers, *sources)

    @property
    def columns(self) -> tuple[Column, ...]:
        inner = tuple(c for p in self.parts for c in p.columns)
        return inner + tuple(replace(c, not_null=False) for o in self.outers for c in o.input.columns)


@dataclass(frozen=True, slots=True)
class Item:
    """A named, typed expression: an output of a projection or a grouping key."""

    name: str
    expression: Expression
    type: Type


@dataclass(frozen=True, slots=True)
class Project(_Node):
    """One output row for each input row; `relation` is what the outputs are read under."""

    linear: ClassVar[bool] = True

    input: Plan
    relation: str
    items: tuple[Item, ...]

    def __post_init__(self) -> None:
        self._check()

    @property
    def inputs(self) -> tuple[Plan, ...]:
        return (self.input,)

    @property
    def expressions(self) -> tuple[Expression, ...]:
        return tuple(i.expression for i in self.items)

    @property
    def columns(self) -> tuple[Column, ...]:
        return tuple(Column(self.relation, i.name, i.type) for i in self.items)


@dataclass(frozen=True, slots=True)
class Call:
    """An aggregate: `function` is one that has a delta; no argument means `count(*)`.

    `argument_type` is None for `count(*)`; `condition` is the FILTER clause; `distinct`: each value once;
    `second` is the second argument, of the same type as the first. With `fold`, the argument is its row.
    """

    name: str
    function: str
    argument: Expression | None
    argument_type: Type | None
    condition: Expression | None
    type: Type
    distinct: bool = False
    second: Expression | None = None
    fold: Fold | None = None

    @property
    def arguments(self) -> tuple[Expression, ...]:
        return tuple(e for e in (self.argument, self.second) if e is not None)


@dataclass(frozen=True, slots=True)
class Aggregate(_Node):
    """One row for each distinct value of the keys (NULLs are alike); one row in all without keys."""

    stateful: ClassVar[bool] = True

    input: Plan
    relation: str
    keys: tuple[Item, ...]
    calls: tuple[Call, ...]

    def __post_init__(self) -> None:
        self._check()

    @property
    def inputs(self) -> tuple[Plan, ...]:
        return (self.input,)

    @property
    def expressions(self) -> tuple[Expression, ...]:
        of_calls = (e for c in self.calls for e in (*c.arguments, c.condition) if e is not None)
        return (*(k.expression for k in self.keys), *of_calls)

    @property
    def columns(self) -> tuple[Column, ...]:
        named: Iterable[Item | Call] = (*self.keys, *self.calls)
        return tuple(Column(self.relation, i.name, i.type) for i in named)


@dataclass(frozen=True, slots=True)
class Union(_Node):
    """The rows of all parts together, equal ones as often as they come (UNION ALL)."""

    linear: ClassVar[bool] = True

    parts: tuple[Project, ...]
    relation: str

    def __post_init__(self) -> None:
        if len({tuple((i.name, i.type) for i in p.items) for p in self.parts}) != 1:
            raise ValueError("the parts of a union have different columns")

    @property
    def inputs(self) -> tuple[Plan, ...]:
        return self.parts

    @property
    def expressions(self) -> tuple[Expression, ...]:
        return ()

    @property
    def columns(self) -> tuple[Column, ...]:
        return tuple(Column(self.relation, i.name, i.type) for i in self.parts[0].items)


@dataclass(frozen=True, slots=True)
class Partition(_Node):
    """What has no delta: rows computed from all input rows that agree in `keys`, anew when one changes.

    `items` may call aggregates and window functions; `group` are the expressions of its GROUP BY, None where
    it has none. `conditions` filter the result: they read items, and `ranks`, which are computed beside them
    but are no outputs.
    """

    stateful: ClassVar[bool] = True

    input: Plan
    relation: str
    keys: tuple[Item, ...]
    items: tuple[Item, ...]
    group: tuple[Expression, ...] | None = None
    ranks: tuple[Item, ...] = ()
    conditions: tuple[Expression, ...] = ()

    def __post_init__(self) -> None:
        self._check()

    @property
    def inputs(self) -> tuple[Plan, ...]:
        return (self.input,)

    @property
    def expressions(self) -> tuple[Expression, ...]:
        named = (i.expression for i in (*self.keys, *self.items, *self.ranks))
        return (*named, *(self.group or ()))

    @property
    def columns(self) -> tuple[Column, ...]:
        return tuple(Column(self.relation, i.name, i.type) for i in self.items)


@dataclass(frozen=True, slots=True)
class Recursive(_Node):
    """WITH RECURSIVE: the rows of `seed`, and of `step` over the rows found before, until there are no more.

    `step` reads those rows as the relation `name`; `distinct` (UNION, not UNION ALL): each row once.
    `followed`: whether the step has a delta; if not, the recursion is run again when a table of it changes.
    """

    stateful: ClassVar[bool] = True

    seed: Project
    step: Project
    relation: str
    name: str
    distinct: bool
    followed: bool = True

    @property
    def inputs(self) -> tuple[Plan, ...]:
        return (self.seed, self.step)

    @property
    def expressions(self) -> tuple[Expression, ...]:
        return ()

    @property
    def columns(self) -> tuple[Column, ...]:
        return tuple(Column(self.relation, i.name, i.type) for i in self.seed.items)


Plan = Scan | Rows | Filter | Join | Project | Aggregate | Union | Partition | Recursive
