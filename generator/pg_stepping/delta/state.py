"""The state of an aggregate: columns that a delta is added to.

Law: for rows with weights w, count and sum are linear, so the state after a change is the state before plus
the same aggregates over the change (Gupta, Mumick, Subrahmanian, SIGMOD 1993, section 4). What is not a
group under addition is made one: float sums are kept as exact numerics of the shortest decimal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import cast

from sqlglot import exp

from pg_stepping.frontend.dialect import cast_to, null_of, operated, quote_name, to_sql
from pg_stepping.ir import Aggregate, Call, Column, Type
from pg_stepping.ir.folds import NOTHING, Fold
from pg_stepping.ir.nodes import EXTREMES, Expression
from pg_stepping.ir.statistics import STATISTICS, statistic
from pg_stepping.ir.types import fresh, reference

BIGINT = Type.of("bigint")
_INTEGERS = ("smallint", "integer")
_FLOATS = ("real", "double precision")
_NUMERIC = re.compile(r"(?:numeric|decimal)\(\d+(?:, ?(\d+))?\)")
SUMMABLE = (*_INTEGERS, "bigint", "numeric", *_FLOATS, "interval", "money")


@dataclass(frozen=True, slots=True)
class Stored:
    """A column of a state table."""

    name: str
    type: Type

    @property
    def sql_name(self) -> str:
        return quote_name(self.name)


@dataclass(frozen=True, slots=True)
class StateColumn(Stored):
    """One stored value of a group.

    `kind` is `rows` (the group's row count), `count` (of rows whose argument is not NULL), `sum`, `parity`
    (bit_xor: what comes twice is gone), `fold` (by its functions), `extreme` (by `function`) or `removed`:
    the extreme of the rows that the last change took from the group. Where it reaches the group's own extreme
    (of the column `beside`), that is computed afresh.
    `cast` brings the argument of a sum to a type in which sums are exact and negation cannot overflow;
    `stale` tells when a sum that something was taken from must be computed afresh: `never`, when it is
    not a finite number (`infinite`), or also when it has trailing zeros that its rows may not have (`scale`).
    """

    kind: str
    argument: Expression | None = None
    condition: Expression | None = None
    cast: str = ""
    stale: str = "never"
    function: str = ""
    beside: str = ""
    fold: Fold | None = None

    @property
    def required(self) -> bool:
        """Whether it is never NULL."""
        return self.kind not in ("extreme", "removed")

    def describe(self) -> str:
        """What the column holds, for its comment."""
        if self.argument is None:
            return "How many rows."
        what, where = to_sql(self.argument), self._filter().removeprefix(" FILTER ")
        how = {
            "count": f"Of how many rows {what} is not NULL",
            "sum": f"Exact sum of {what}",
            "parity": f"Exclusive or of {what}",
            "fold": f"What is folded from {what}",
            "extreme": f"{self.function} of {what}",
            "removed": f"{self.function} of what the last change took away of {what}",
        }[self.kind]
        return f"{how} {where}".rstrip() + "."

    def total(self) -> str:
        """The aggregate over rows of weight 1."""
        if self.kind == "rows":
            return "count(*)"
        if self.kind == "removed":
            return f"NULL::{self.type.name}"
        assert self.argument is not None
        if self.kind == "extreme":
            return f"{self.function}({to_sql(self.argument)}){self._filter()}"
        if self.kind == "count":
            return f"count({to_sql(self.argument)}){self._filter()}"
        if self.kind == "parity":
            return f"coalesce(bit_xor({to_sql(self.argument)}){self._filter()}, 0)"
        if self.fold is not None:
            return _changes(f"jsonb_agg(jsonb_build_array({to_sql(self.argument)}, 1)){self._filter()}")
        return f"coalesce(sum({self._value}){self._filter()}, {self.zero})"

    def filled(self) -> str:
        """The same as it is stored first."""
        if self.fold is None:
            return self.total()
        return to_sql(self.fold.merged(exp.Var(this=NOTHING), exp.Var(this=self.total())))

    def of_one(self) -> str:
        """The same of a single row, without an aggregate."""
        if self.argument is None or self.kind in ("rows", "removed"):
            return "1" if self.kind == "rows" else self.total()
        value = self._value if self.kind == "sum" else to_sql(self.argument)
        if self.kind == "fold":
            value = _changes(f"jsonb_build_array(jsonb_build_array({value}, 1))")
        if self.condition is not None:
            value = f"CASE WHEN {to_sql(self.condition)} THEN {value} END"
        if self.kind == "count":
            return f"num_nonnulls({value})"
        return value if self.kind == "extreme" else f"coalesce({value}, {self.zero})"

    def weighted(self, weight: str, columns: Mapping[Expression, str]) -> str:
        """The aggregate over rows with weights; `columns` names its argument and condition there."""
        if self.kind == "rows":
            return f"sum({weight})"
        assert self.argument is not None
        value = quote_name(columns[self.argument])
        conditions = [quote_name(columns[self.condition])] if self.condition is not None else []
        if self.kind in ("extreme", "removed"):
            conditions.insert(0, f"{weight} {'>' if self.kind == 'extreme' else '<'} 0")
            return f"{self.function}({value}) FILTER (WHERE {' AND '.join(conditions)})"
        if self.kind == "count":
            # not IS NOT NULL, which is false of a composite value with a NULL in it
            conditions.insert(0, f"{value} IS DISTINCT FROM NULL")
            return f"coalesce(sum({weight}) FILTER (WHERE {' AND '.join(conditions)}), 0)"
        if self.kind == "parity":
            conditions.insert(0, f"mod({weight}, 2) <> 0")
            return f"coalesce(bit_xor({value}) FILTER (WHERE {' AND '.join(conditions)}), 0)"
        if self.kind == "fold":
            test = f" FILTER (WHERE {conditions[0]})" if conditions else ""
            return _changes(f"jsonb_agg(jsonb_build_array({value}, {weight})){test}")
        exact = value + self.cast
        product = f"{weight} * {exact}"
        if self.type.base == "interval":  # multiplying an interval rounds; changing its sign does not
            product = f"CASE {weight} WHEN 1 THEN {exact} WHEN -1 THEN -{exact} ELSE {weight} * {exact} END"
        condition = f" FILTER (WHERE {conditions[0]})" if conditions else ""
        return f"coalesce(sum({product}){condition}, {self.zero})"

    def change_test(self, delta: str = "") -> str:
        """The condition that a delta of this column (by its name, unless it is given) changes something."""
        delta = delta or self.sql_name
        return self.is_something(delta) + (f" OR scale({delta}) > 0" if self.stale == "scale" else "")

    def is_something(self, delta: str = "") -> str:
        """The condition that a value is not that of no rows."""
        delta = delta or self.sql_name
        if not self.required:
            return f"{delta} IS NOT NULL"
        if self.type.base == "interval":  # '1 mon' = '30 days', but they are not the same
            return f"interval_send({delta}) <> interval_send('0'::interval)"
        if self.type.base == "money":
            return f"{delta} <> 0::money"
        if self.kind == "fold":
            return f"{delta} <> {_changes('NULL::jsonb')}"
        return f"{delta} <> 0"

    def merged(self, old: Expression, new: Expression) -> Expression:
        """The stored value after a delta."""
        if self.kind == "parity":
            return operated(old, "#", new)
        if self.fold is not None:
            return self.fold.merged(old, new)
        if self.kind != "extreme":
            return exp.Add(this=old, expression=new)
        function = EXTREMES[self.function]
        if function.isalpha():
            return exp.Anonymous(this=function, expressions=[old, new])
        either = [operated(old, function, new), old.copy(), new.copy()]
        return exp.Anonymous(this="COALESCE", expressions=either)

    def reaching(self, removed: Expression, extreme: Expression) -> Expression:
        """What was removed, if the extreme of the group may have been among it: it is not, if there is one
        beyond it."""
        if not EXTREMES[self.function].isalpha():
            return removed.copy()  # a bit of it may be one that no other row has
        beyond = exp.GT if EXTREMES[self.function] == "LEAST" else exp.LT
        known = exp.If(this=beyond(this=removed, expression=extreme), true=null_of(self.type))
        return exp.Case(ifs=[known], default=removed.copy())

    def stale_test(self, relation: str) -> str | None:
        column = f"{relation}.{self.sql_name}"
        if self.kind == "removed":
            return f"{column} IS NOT NULL"
        if self.stale == "scale":
            return f"(scale({column}) = min_scale({column})) IS NOT TRUE"
        return f"scale({column}) IS NULL" if self.stale == "infinite" else None

    def _filter(self) -> str:
        return f" FILTER (WHERE {to_sql(self.condition)})" if self.condition is not None else ""

    @property
    def _value(self) -> str:
        assert self.argument is not None
        return f"{operand(self.argument)}{self.cast}"

    @property
    def zero(self) -> str:
        """The sum of nothing."""
        if self.kind == "fold":
            return NOTHING
        return {"interval": "'0'::interval", "money": "0::money"}.get(self.type.base, "0")


def _changes(rows: str) -> str:
    """The change of a fold's state by rows, each [arguments, weight]."""
    return f"jsonb_build_object('changes', coalesce({rows}, '[]'::jsonb))"


def summed(base: str) -> str:
    """The type of SUMMABLE that a type is, without its modifiers."""
    return "interval" if base.startswith("interval") else base.split("(")[0]


def operand(expression: Expression) -> str:
    """An expression as SQL, in parentheses unless it can stand before an operator or a cast as it is."""
    atomic = isinstance(expression, exp.Column | exp.Literal | exp.Anonymous | exp.Paren)
    return to_sql(expression) if atomic else f"({to_sql(expression)})"


def equal(a: str, b: str, type_: Type) -> str:
    """The condition that two values are of one group, and not NULL."""
    return f"{_side(a, type_)} {type_.equals if type_.sorts else '='} {_side(b, type_)}"


def same(a: str, b: str, type_: Type) -> str:
    """The condition that two values are of one group, or both NULL."""
    sides = [_side(side, type_) for side in (a, b)]
    if type_.is_row and type_.sorts:
        nulls = f"num_nulls({', '.join(sides)}) = 2"
    else:
        nulls = " AND ".join(f"{side} IS NULL" for side in sides)
    return f"({equal(a, b, type_)} OR ({nulls}))"


def _side(operand: str, type_: Type) -> str:
    """What stands at a side of an equality: a domain over an enum or a range has none of its own."""
    if not type_.sorts:
        return f"{operand}::text"
    return operand if type_.name == type_.base else f"{operand}::{type_.base}"


def _sum_of(
    call: Call, columns: Iterable[Column], name: str, argument: Expression | None = None
) -> StateColumn:
    """The state column of a sum, or of one in an average or a statistic; `argument` is one of the call's."""
    argument = argument if argument is not None else call.argument
    assert argument is not None
    assert call.argument_type is not None
    base = call.argument_type.base
    kind = summed(base)
    stored, exactly, stale = Type.of("numeric"), "", "never"
    if kind in _INTEGERS:
        stored, exactly = BIGINT, "::bigint"
    elif kind == "bigint":
        exactly = "::numeric"
    elif kind == "numeric":
        stale = "scale" if _fixed_scale(argument, columns) is None else "infinite"
    elif kind in _FLOATS:
        # sum(real) adds reals, all others doubles: each is exact in the decimals of what it adds
        double = "::double precision" if kind == "real" and call.function != "sum" else ""
        exactly, stale = f"{double}::text::numeric", "infinite"
    else:
        stored = call.argument_type if kind == base else Type.of(kind)
    return StateColumn(name, stored, "sum", argument, call.condition, exactly, stale)


def _sum_of_product(call: Call, columns: Iterable[Column], name: str, *factors: Expression) -> StateColumn:
    """The state column of a sum of products, exact too."""
    assert call.argument_type is not None
    kind = summed(call.argument_type.base)
    exact = list(factors)
    if kind in _FLOATS:
        exact = [cast_to(cast_to(f, "double precision") if kind == "real" else f, "text") for f in factors]
    if kind != "numeric":
        exact = [cast_to(f, "numeric") for f in exact]
    product = exp.Mul(this=_single(exact[0]), expression=_single(exact[1]))
    stale = "infinite" if kind in (*_FLOATS, "numeric") else "never"
    if kind == "numeric" and _fixed_scale(product, columns) is None:
        stale = "scale"
    return StateColumn(name, Type.of("numeric"), "sum", product, call.condition, "", stale)


def _single(expression: Expression) -> Expression:
    atomic = isinstance(expression, exp.Column | exp.Literal | exp.Anonymous | exp.Paren | exp.Cast)
    return expression.copy() if atomic else exp.Paren(this=expression.copy())


def _fixed_scale(expression: Expression, columns: Iterable[Column]) -> int | None:
    """How many digits every value of the expression has after the point; None if that varies."""
    match expression:
        case exp.Column():
            types = {(c.relation, c.name): c.type.base for c in columns}
            name = types.get((expression.table, expression.name), "")
            if name.startswith("numeric("):
                return int(name.rstrip(")").split(",")[1]) if "," in name else 0
            return 0 if name in (*_INTEGERS, "bigint") else None
        case exp.Literal():
            text = str(expression.name)
            return len(text.partition(".")[2]) if text.replace(".", "").isdigit() else None
        case exp.Paren() | exp.Neg():
            return _fixed_scale(expression.this, columns)
        case exp.Cast() if to_sql(expression.to).lower() in ("numeric", "decimal"):
            return _fixed_scale(expression.this, columns)
        case exp.Cast() if given := _NUMERIC.fullmatch(to_sql(expression.to).lower()):
            return int(given[1] or 0)
        case exp.Mul() | exp.Add() | exp.Sub():
            a, b = (_fixed_scale(e, columns) for e in (expression.this, expression.expression))
            if a is None or b is None:
                return None
            return a + b if isinstance(expression, exp.Mul) else max(a, b)
    return None


@dataclass(frozen=True, slots=True)
class ResultColumn(Stored):
    """A result that is stored whenever the state is, so that readers find it ready; `expression` reads the
    state columns by their bare names. NULL for a state of zeros. `of_one` is the result of a single row,
    where that is no more than the row's own value.
    """

    expression: Expression
    of_one: str = ""

    def over(self, columns: Mapping[str, Expression]) -> str:
        """The result as SQL, with other expressions in place of some state columns."""

        def put(node: Expression) -> Expression:
            return columns.get(node.name, node) if isinstance(node, exp.Column) else node

        return to_sql(self.expression.transform(put))


@dataclass(frozen=True, slots=True)
class State:
    """The stored columns of an aggregate, and which of them each of its calls is read from."""

    columns: tuple[StateColumn, ...]
    stored: tuple[ResultColumn, ...]
    results: dict[str, Expression]


def state_of(aggregate: Aggregate, relation: str) -> State:
    """The state of an aggregate; its results are read from `relation`, the state table."""
    taken = {k.name for k in aggregate.keys} | {c.name for c in aggregate.calls if c.function != "count"}
    rows = StateColumn(fresh("n", taken), BIGINT, "rows")
    columns: list[StateColumn] = [rows]
    stored: list[ResultColumn] = []
    results: dict[str, Expression] = {}

    def add(column: StateColumn) -> exp.Column:
        for there in columns:
            if (there.kind, there.argument, there.condition, there.cast, there.fold) == (
                column.kind, column.argument, column.condition, column.cast, column.fold,
            ):  # fmt: skip
                return _bare(there.name)
        taken.add(column.name)
        columns.append(column)
        return _bare(column.name)

    for call in aggregate.calls:
        if call.function == "count" and call.argument is None and call.condition is None:
            results[call.name] = reference(relation, rows.name)
            continue
        if call.function in EXTREMES:
            extreme = StateColumn(
                call.name, call.type, "extreme", call.argument, call.condition, "", "extreme", call.function
            )  # fmt: skip
            name = fresh(f"{call.name}_removed", taken)
            columns += [extreme, replace(extreme, name=name, kind="removed", beside=call.name)]
            results[call.name] = reference(relation, call.name)
            continue
        if call.fold is not None:
            name = fresh(f"state_{call.name}", set(taken))
            state = StateColumn(name, Type.of("jsonb"), "fold", call.argument, call.condition, fold=call.fold)
            stored.append(ResultColumn(call.name, call.type, call.fold.finished(add(state))))
            results[call.name] = reference(relation, call.name)
            continue
        label = _label(call.argument)
        if call.second is not None:  # rows count that have both
            call = replace(call, condition=_all_present(call))
        argument = call.argument if call.argument is not None else exp.Literal.number(1)
        counted = StateColumn(
            fresh(f"count_{label}", set(taken)), BIGINT, "count", argument, call.condition
        )  # fmt: skip
        count = add(counted)
        if call.function == "count":
            results[call.name] = reference(relation, count.name)
            continue
        if call.function == "bit_xor":
            name = fresh(f"parity_{label}", set(taken))
            parity = add(StateColumn(name, call.type, "parity", call.argument, call.condition))
            stored.append(ResultColumn(call.name, call.type, _if_some(parity, count)))
            results[call.name] = reference(relation, call.name)
            continue
        if call.function in STATISTICS:

            def total_of(factors: tuple[Expression, ...], call: Call = call) -> Expression:
                parts = "_".join(["total", *map(_label, factors)])
                name = fresh(parts, set(taken))
                if len(factors) == 1:
                    return add(_sum_of(call, aggregate.input.columns, name, *factors))
                return add(_sum_of_product(call, aggregate.input.columns, name, *factors))

            floats = call.argument_type is not None and call.argument_type.base in _FLOATS
            result = statistic(call.function, call.arguments, count, total_of, floats=floats)
            stored.append(ResultColumn(call.name, call.type, result))
            results[call.name] = reference(relation, call.name)
            continue
        total = add(_sum_of(call, aggregate.input.columns, fresh(f"total_{label}", set(taken))))
        if call.function == "sum":
            result, of_one = _sum_result(call, total, count), _sum_of_one(call)
        else:
            result, of_one = _average(call, total, count), ""
        stored.append(ResultColumn(call.name, call.type, result, of_one))
        results[call.name] = reference(relation, call.name)
    return State(tuple(columns), tuple(stored), results)


def _bare(name: str) -> exp.Column:
    return exp.column(exp.to_identifier(name, quoted=True))


def _label(argument: Expression | None) -> str:
    return argument.name if isinstance(argument, exp.Column) else "value"


def _all_present(call: Call) -> Expression:
    """The condition that a row has all arguments of a call, and meets its own condition."""
    present: list[Expression] = [
        exp.Not(this=exp.Is(this=_single(a), expression=exp.Null())) for a in call.arguments
    ]
    own = [exp.Paren(this=call.condition.copy())] if call.condition is not None else []
    return cast(Expression, exp.and_(*own, *present, copy=False))


def _if_some(total: exp.Column, count: exp.Column) -> Expression:
    """The total, NULL where no row has a value."""
    some = exp.GT(this=count, expression=exp.Literal.number(0))
    return exp.Paren(this=exp.Case(ifs=[exp.If(this=some, true=total)]))


def _sum_result(call: Call, total: exp.Column, count: exp.Column) -> Expression:
    """The sum, NULL where no row has a value."""
    result = _if_some(total, count)
    return cast_to(result, call.type.base) if call.type.base in _FLOATS else result


def _sum_of_one(call: Call) -> str:
    """The sum of a single row; that of the negative zero is zero."""
    assert call.argument is not None
    value = operand(call.argument) + (" + 0" if call.type.base in _FLOATS else "")
    return value if call.condition is None else f"CASE WHEN {to_sql(call.condition)} THEN {value} END"


def _average(call: Call, total: exp.Column, count: exp.Column) -> Expression:
    divisor = exp.Anonymous(this="nullif", expressions=[count, exp.Literal.number(0)])
    if call.type.base == "interval":
        return exp.Paren(this=exp.Div(this=total, expression=cast_to(divisor, "double precision")))
    parts = (cast_to(part, call.type.name) for part in (total, divisor))
    return exp.Paren(this=exp.Div(this=next(parts), expression=next(parts)))
