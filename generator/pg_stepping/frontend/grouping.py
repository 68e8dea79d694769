"""GROUP BY and aggregates: the part of the SQL front end that makes groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import cast

from sqlglot import exp

from pg_stepping.frontend.database_functions import fold_of
from pg_stepping.frontend.dialect import null_of, to_sql
from pg_stepping.frontend.recompute import determined
from pg_stepping.frontend.trees import (
    argument_of,
    arguments_of,
    bare,
    called,
    distinct_row,
    invoked,
    is_row,
    name_of,
    read_grouped,
)  # fmt: skip
from pg_stepping.ir import Aggregate, Call, Column, Filter, Item, Partition, Plan, Project, Type, Union
from pg_stepping.ir.nodes import EXTREMES, Expression
from pg_stepping.ir.rewrite import renamed, substitute
from pg_stepping.ir.statistics import OF_TWO, STATISTICS
from pg_stepping.ir.types import fresh, reference

Scope = dict[str, dict[str, exp.Expression]]
TypeOf = Callable[[Sequence[Column], Sequence[Expression]], list[Type]]

# Aggregates that have a delta, of their own or by their sums.
DELTA = ("count", "sum", "avg", "bit_xor", *EXTREMES, *STATISTICS)
_FLOATS = ("real", "double precision")
_INTEGER = Type.of("integer")


@dataclass(frozen=True, slots=True)
class Grouped:
    """A plan of groups, and how expressions over what was grouped are read from it."""

    plan: Plan
    outputs: dict[Expression, Expression]

    def read(self, expression: Expression) -> Expression:
        return read_grouped(expression, self.outputs)


@dataclass(frozen=True, slots=True)
class Grouping:
    """The keys and calls of a SELECT, over the columns of `plan`, with their types."""

    plan: Plan
    keys: tuple[Expression, ...]
    calls: tuple[Expression, ...]
    types: dict[Expression, Type]
    names: set[str]
    labels: dict[Expression, str]

    def by(self, kept: Sequence[Expression]) -> Grouped:
        """The groups by some of the keys."""
        folds = kept and not any(map(_is_distinct, self.calls))
        plain = all(_has_delta(c, self.types) or (folds and _is_kept_fold(c)) for c in self.calls)
        plan = self._aggregate(kept) if plain else self._partition(kept)
        columns = plan.columns
        named = zip((*kept, *self.calls), columns, strict=True)
        return Grouped(plan, {e: c.ref for e, c in named})

    def by_sets(self, sets: Sequence[Sequence[Expression]], asked: Sequence[Expression]) -> Grouped:
        """The groups of several groupings together; `asked` are the calls of GROUPING()."""
        taken: set[str] = set()
        names = {e: fresh(_label(e, self.labels), taken) for e in (*self.keys, *self.calls, *asked)}
        parts = []
        for kept in sets:
            copy, columns = renamed(self.plan, self.names)
            moved = {e: substitute(e, columns) for e in (*self.keys, *self.calls)}
            of_copy = replace(
                self,
                plan=copy,
                keys=tuple(moved[k] for k in self.keys),
                calls=tuple(moved[c] for c in self.calls),
                types={substitute(e, columns): t for e, t in self.types.items()},
                labels={},
            )
            grouped = of_copy.by([moved[k] for k in kept])
            items = []
            for e in (*self.keys, *self.calls):
                there = e in self.calls or e in kept
                value = grouped.outputs[moved[e]] if there else null_of(self.types[e])
                items.append(Item(names[e], value, self.types[e]))
            items += [Item(names[a], _grouping(a, kept), _INTEGER) for a in asked]
            parts.append(Project(grouped.plan, fresh("grouping", self.names), tuple(items)))
        relation = fresh("groupings", self.names)
        return Grouped(Union(tuple(parts), relation), {e: reference(relation, n) for e, n in names.items()})

    def _partition(self, kept: Sequence[Expression]) -> Partition:
        """Groups that are computed anew, by Postgres's own aggregates."""
        taken: set[str] = set()
        keys = tuple(self._item(k, taken) for k in kept)
        calls = tuple(
            Item(fresh(name_of(c), taken), determined(c, self.types), self.types[c]) for c in self.calls
        )
        relation = fresh("grouped", self.names)
        return Partition(self.plan, relation, keys, (*keys, *calls), group=tuple(kept))

    def _aggregate(self, kept: Sequence[Expression]) -> Aggregate:
        distinct = [c for c in self.calls if _is_distinct(c)]
        if not distinct:
            taken: set[str] = set()
            keys = tuple(self._item(k, taken) for k in kept)
            calls = tuple(self._call(c, taken) for c in self.calls)
            return Aggregate(self.plan, fresh("grouped", self.names), keys, calls)
        return self._over_distinct(kept, distinct)

    def _over_distinct(self, kept: Sequence[Expression], distinct: Sequence[Expression]) -> Aggregate:
        """Aggregates of distinct values are aggregates over groups by these values; with others beside them,
        over both together."""
        keys = [Item(f"key_{i}", k, self.types[k]) for i, k in enumerate(kept)]
        sources: list[tuple[str, Expression | None, Expression | None]] = [("all", None, None)]
        for call in distinct:
            if (w := ("one", argument_of(call), _filter_of(call))) not in sources:
                sources.append(w)
        read = {
            e
            for c in self.calls
            if c not in distinct
            for e in (*arguments_of(c), _filter_of(c))
            if e is not None
        }
        values = sorted(read, key=to_sql)
        value_types = self._types_of(values)
        argument_types = {a: self.types[a] for _, a, _ in sources if a is not None}
        parts = []
        for place, (_, argument, condition) in enumerate(sources):
            copy, columns = renamed(self.plan, self.names)
            own_keys = tuple(replace(k, expression=substitute(k.expression, columns)) for k in keys)
            if argument is None:
                plan, from_ = copy, {e: substitute(e, columns) for e in values}
                of_keys = {k.name: k.expression for k in own_keys}
            else:
                kept_rows = Filter(copy, (substitute(condition, columns),)) if condition is not None else copy
                item = Item("value", substitute(argument, columns), argument_types[argument])
                plan = Aggregate(kept_rows, fresh("values", self.names), (*own_keys, item), ())
                from_ = {argument: reference(plan.relation, "value")}
                of_keys = {k.name: reference(plan.relation, k.name) for k in own_keys}
            items = [Item(k.name, of_keys[k.name], k.type) for k in keys]
            for i, e in enumerate(values):
                mine = argument is None
                items.append(Item(f"value_{i}", from_[e] if mine else _null(value_types[i]), value_types[i]))
            for i, (_, a, _) in enumerate(sources[1:], 1):
                assert a is not None
                items.append(
                    Item(
                        f"distinct_{i}",
                        from_[a] if i == place else _null(argument_types[a]),
                        argument_types[a],
                    )
                )
            items.append(Item("source", exp.Literal.number(place), _INTEGER))
            parts.append(Project(plan, fresh("part", self.names), tuple(items)))
        both = Union(tuple(parts), fresh("values", self.names))
        taken: set[str] = set()
        out = tuple(
            Item(fresh(_label(e, self.labels), taken), reference(both.relation, k.name), k.type)
            for e, k in zip(kept, keys, strict=True)
        )
        calls = []
        for call in self.calls:
            own, condition, place = argument_of(call), _filter_of(call), 0
            names = {e: f"value_{i}" for i, e in enumerate(values)}
            if call in distinct:
                place = sources.index(("one", own, condition))
                condition, names = None, {own: f"distinct_{place}"} if own is not None else {}
            argument = reference(both.relation, names[own]) if own is not None else None
            argument_type = self.types[own] if own is not None else None
            more = reference(both.relation, names[condition]) if condition is not None else None
            test: Expression = exp.EQ(
                this=reference(both.relation, "source"), expression=exp.Literal.number(place)
            )
            test = test if more is None else exp.And(this=test, expression=more)
            name = fresh(name_of(call), taken)
            second = [reference(both.relation, names[e]) for e in arguments_of(call)[1:]]
            made = Call(name, name_of(call), argument, argument_type, test, self.types[call])
            calls.append(replace(made, second=second[0] if second else None))
        return Aggregate(both, fresh("grouped", self.names), out, tuple(calls))

    def _types_of(self, values: Sequence[Expression]) -> list[Type]:
        return [self.types.get(v, Type.of("boolean")) for v in values]

    def _item(self, key: Expression, taken: set[str]) -> Item:
        return Item(fresh(_label(key, self.labels), taken), key, self.types[key])

    def _call(self, call: Expression, taken: set[str]) -> Call:
        name, given = name_of(call), arguments_of(call)
        fold = fold_of(name)
        if fold is not None:
            label, own = fresh(name.rpartition(".")[2], taken), _filter_of(call)
            conditions = [*([exp.Paren(this=own.copy())] if own is not None else []), *fold.present(given)]
            test = cast(Expression, exp.and_(*conditions, copy=False)) if conditions else None
            row, type_ = fold.row(given), self.types[call]
            return Call(label, name, row, Type.of("jsonb"), test, type_, fold=fold)
        first = given[0] if given else None
        of_first = self.types[first] if first is not None else None
        called_ = Call(fresh(name, taken), name, first, of_first, _filter_of(call), self.types[call])
        return replace(called_, second=given[1] if len(given) > 1 else None)


def _null(type_: Type) -> Expression:
    return null_of(type_)


def _label(key: Expression, labels: dict[Expression, str]) -> str:
    return labels.get(key) or (key.name if isinstance(key, exp.Column) else "key")


def _has_delta(call: Expression, types: dict[Expression, Type]) -> bool:
    inner, name = called(call), name_of(call)
    if not isinstance(inner, exp.Anonymous) or name not in DELTA:
        return False
    given = inner.expressions
    if distinct_row(call) is not None or any(map(is_row, given)):
        return False
    if any(isinstance(a, exp.Order) for a in given) or len(given) != (2 if name in OF_TWO else 1):
        return False
    if name == "bit_xor" and types[call].base not in ("smallint", "integer", "bigint"):
        return False
    if not isinstance(given[0], exp.Distinct):
        return True
    # the sums of distinct floats could not be checked: a sum of squares takes other rows for distinct
    return len(given[0].expressions) == 1 and not (name in STATISTICS and types[call].base in _FLOATS)


def _is_kept_fold(call: Expression) -> bool:
    """Whether it calls a fold that has an inverse, over all rows in no order of their own."""
    of_its_own = any(isinstance(a, exp.Distinct | exp.Order) for a in invoked(call).expressions)
    return fold_of(name_of(call)) is not None and not of_its_own


def _is_distinct(call: Expression) -> bool:
    first = next(iter(invoked(call).expressions), None)
    return isinstance(first, exp.Distinct) and name_of(call) not in EXTREMES


def _filter_of(call: Expression) -> Expression | None:
    return bare(call.expression.this) if isinstance(call, exp.Filter) else None


def types_of(
    plan: Plan, expressions: Sequence[Expression], calls: Sequence[Expression], type_of: TypeOf
) -> dict[Expression, Type]:
    """The exact types of keys and arguments, and of calls, over the columns of a plan."""
    found = dict(zip(expressions, type_of(plan.columns, expressions), strict=True)) if expressions else {}
    return found | (dict(zip(calls, type_of(plan.columns, calls), strict=True)) if calls else {})


def grouping_sets(
    group: exp.Group, resolve: Callable[[Expression], Expression]
) -> list[list[Expression]] | None:
    """The keys of each grouping that GROUP BY asks for, None if it is a plain one."""
    if not group.find(exp.GroupingSets, exp.Rollup, exp.Cube) and not any(map(_is_empty, group.expressions)):
        return None
    choices = [list(_sets(e, resolve)) for e in group.expressions]
    found = [list(dict.fromkeys(k for s in sets for k in s)) for sets in product(*choices)]
    if group.args.get("all") is False:  # GROUP BY DISTINCT: each grouping once
        return list({frozenset(keys): keys for keys in reversed(found)}.values())[::-1]
    return found


def _is_empty(key: Expression) -> bool:
    return isinstance(key, exp.Tuple) and not key.expressions


def _sets(element: Expression, resolve: Callable[[Expression], Expression]) -> Iterator[list[Expression]]:
    def keys(e: Expression) -> list[Expression]:
        return [resolve(k) for k in e.expressions] if isinstance(e, exp.Tuple) else [resolve(e)]

    if isinstance(element, exp.GroupingSets):
        for inner in element.expressions:
            yield from _sets(inner, resolve)
    elif isinstance(element, exp.Rollup):
        lists = [keys(e) for e in element.expressions]
        for size in range(len(lists), -1, -1):
            yield [k for part in lists[:size] for k in part]
    elif isinstance(element, exp.Cube):
        lists = [keys(e) for e in element.expressions]
        for size in range(len(lists), -1, -1):
            yield from ([k for part in chosen for k in part] for chosen in combinations(lists, size))
    else:
        yield keys(element)


def _grouping(asked: Expression, kept: Sequence[Expression]) -> Expression:
    """What GROUPING() is: a bit for each argument, set if it is not among the keys."""
    bits = "".join("0" if bare(a) in kept else "1" for a in asked.expressions)
    return exp.Literal.number(int(bits, 2))
