"""The operators of a plan.

Every node is frozen, knows its output columns, and checks when it is made that each expression reads
only columns of its input. Inner joins are one n-ary node, since their order carries no meaning.
`linear`, `bilinear` and `stateful` say what delta an operator has (Budiu et al., DBSP, VLDB 2023, section 4).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from sqlglot import exp

from pg_stepping.ir.types import Column, Table, Type

Expression = exp.Expression


def columns_read(*expressions: Expression | None) -> Iterator[tuple[str, str]]:
    """The (relation, name) of every column that the expressions read, with repetitions."""
    for expression in expressions:
        if expression is not None:
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
        if missing:
            raise ValueError(f"{type(self).__name__} reads {sorted(missing)}, which its input does not have")
        names = [(c.relation, c.name) for c in self.columns]
        if len(set(names)) != len(names):
            raise ValueError(f"{type(self).__name__} has two columns of one name: {sorted(names)}")


@dataclass(frozen=True, slots=True)
class Scan(_Node):
    """The rows of a table, each `copies` times (the name of a bigint column) or once."""

    linear: ClassVar[bool] = True

    table: Table
    relation: str
    fields: tuple[Column, ...]
    copies: str | None = None

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
class Join(_Node):
    """The inner join of two or more inputs: every combination for which all conditions are true."""

    bilinear: ClassVar[bool] = True

    parts: tuple[Plan, ...]
    conditions: tuple[Expression, ...]

    def __post_init__(self) -> None:
        if len(self.parts) < 2:
            raise ValueError("a join has at least two inputs")
        self._check()

    @property
    def inputs(self) -> tuple[Plan, ...]:
        return self.parts

    @property
    def expressions(self) -> tuple[Expression, ...]:
        return self.conditions

    @property
    def columns(self) -> tuple[Column, ...]:
        return tuple(c for p in self.parts for c in p.columns)


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
    """An aggregate: `function` is `count`, `sum` or `avg`; no argument means `count(*)`.

    `argument_type` is None for `count(*)`; `condition` is the FILTER clause.
    """

    name: str
    function: str
    argument: Expression | None
    argument_type: Type | None
    condition: Expression | None
    type: Type


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
        of_calls = (e for c in self.calls for e in (c.argument, c.condition) if e is not None)
        return (*(k.expression for k in self.keys), *of_calls)

    @property
    def columns(self) -> tuple[Column, ...]:
        named: Iterable[Item | Call] = (*self.keys, *self.calls)
        return tuple(Column(self.relation, i.name, i.type) for i in named)


Plan = Scan | Filter | Join | Project | Aggregate
