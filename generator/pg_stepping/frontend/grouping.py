"""GROUP BY and aggregates: the part of the SQL front end that makes an Aggregate."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sqlglot import exp

from pg_stepping.frontend.dialect import to_sql
from pg_stepping.frontend.postgres import Connection, Output, describe, qualified_names
from pg_stepping.frontend.trees import argument_of, bare, called, calls_in, read_grouped, ungrouped
from pg_stepping.ir import Aggregate, Call, Item, Plan
from pg_stepping.ir.types import fresh, reference

Scope = dict[str, dict[str, exp.Expression]]
Resolve = Callable[[exp.Expression, Scope], exp.Expression]


@dataclass(frozen=True, slots=True)
class Grouping:
    """A SELECT's grouping: what it reads, and the exact types of its keys, calls and arguments."""

    keys: tuple[exp.Expression, ...]
    calls: tuple[exp.Expression, ...]
    types: dict[exp.Expression, Output]

    def aggregate(self, plan: Plan, relation: str, labels: dict[exp.Expression, str]) -> Aggregate:
        """The operator; keys are named as in `labels` where they are outputs."""
        taken: set[str] = set()
        keys = tuple(self._key(k, labels, taken) for k in self.keys)
        calls = tuple(self._call(c, taken) for c in self.calls)
        return Aggregate(plan, relation, keys, calls)

    def reader(self, aggregate: Aggregate) -> Callable[[exp.Expression], exp.Expression]:
        """Rewrites an expression of the SELECT, over the grouping's input, into one over its output."""
        columns = aggregate.columns  # keys first, then calls
        named = zip((*self.keys, *self.calls), columns, strict=True)
        outputs = {expression: column.name for expression, column in named}
        return lambda expression: read_grouped(expression, outputs, aggregate.relation)

    def _key(self, key: exp.Expression, labels: dict[exp.Expression, str], taken: set[str]) -> Item:
        name = labels.get(key) or (key.name if isinstance(key, exp.Column) else "key")
        return Item(fresh(name, taken), key, self.types[key].type)

    def _call(self, call: exp.Expression, taken: set[str]) -> Call:
        function, argument = called(call).name, argument_of(call)
        return Call(
            name=fresh(function, taken),
            function=function,
            argument=argument,
            argument_type=self.types[argument].type if argument is not None else None,
            condition=bare(call.expression.this) if isinstance(call, exp.Filter) else None,
            type=self.types[call].type,
        )


def is_grouped(select: exp.Select, expressions: Iterable[exp.Expression]) -> bool:
    """Whether the SELECT has one row a group: by its clauses, or by an aggregate it reads."""
    clauses = select.args.get("group") is not None or select.args.get("having") is not None
    return clauses or any(calls_in(e) for e in expressions)


def grouping_of(
    conn: Connection, select: exp.Select, scope: Scope, resolve: Resolve, read: tuple[exp.Expression, ...]
) -> Grouping:
    """The grouping of a SELECT whose outputs and HAVING, resolved, are `read`.

    A column that the keys determine (by a primary key) may be read ungrouped: it becomes one more key.
    """
    group = select.args.get("group")
    keys = dict.fromkeys(resolve(k, scope) for k in (group.expressions if group is not None else []))
    for expression in read:
        keys.update(dict.fromkeys(ungrouped(expression, keys.keys())))
    calls = dict.fromkeys(c for e in read for c in calls_in(e))
    arguments = [a for a in map(argument_of, calls) if a is not None]
    types: dict[exp.Expression, Output] = {}
    for expressions in ([*keys, *arguments], list(calls)):
        types.update(_types(conn, select, scope, expressions))
    return Grouping(tuple(keys), tuple(calls), types)


def _types(
    conn: Connection, select: exp.Select, scope: Scope, expressions: list[exp.Expression]
) -> dict[exp.Expression, Output]:
    """The exact types of expressions over the SELECT's FROM."""
    if not expressions:
        return {}
    back = {read: reference(a, name) for a, fields in scope.items() for name, read in fields.items()}
    probe = select.copy()
    for clause in ("having", "group", "where"):
        probe.set(clause, None)
    original = [e.transform(lambda n: back[n].copy() if n in back else n) for e in expressions]
    probe.set("expressions", [exp.alias_(e, f"c{i}", quoted=True) for i, e in enumerate(original)])
    with qualified_names(conn):
        return dict(zip(expressions, describe(conn, to_sql(probe)).outputs, strict=True))
