"""Small questions about the trees that sqlglot gives, and small changes of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlglot import exp

from pg_stepping.ir.types import fresh

# What needs the parentheses around its operand.
_PARENTHESISED = (exp.Dot, exp.Bracket, exp.Any, exp.All)


class Pending(exp.Expression):
    """A subquery in an expression that is not yet joined: its place in a list, and its own text."""

    arg_types = {"this": True, "text": True}  # noqa: RUF012


def conjuncts(expression: exp.Expression) -> list[exp.Expression]:
    """The conditions that `expression` joins by AND, without outer parentheses."""
    inner = bare(expression)
    if isinstance(inner, exp.And):
        return [*conjuncts(inner.this), *conjuncts(inner.expression)]
    return [inner]


def bare(expression: exp.Expression) -> exp.Expression:
    """The expression without the parentheses around it."""
    while isinstance(expression, exp.Paren):
        expression = expression.this
    return expression


def without_parentheses(expression: exp.Expression) -> exp.Expression:
    """The expression without the parentheses that Postgres prints around names, constants and calls."""
    for node in list(expression.find_all(exp.Paren)):
        atomic = isinstance(node.this, exp.Column | exp.Literal | exp.Anonymous | exp.Paren)
        if atomic and node.parent is not None and not isinstance(node.parent, _PARENTHESISED):
            node.replace(node.this)
    return expression


def without_percent(expression: exp.Expression) -> exp.Expression:
    """`a % b` as mod(a, b): a percent sign in a migration is a placeholder to many tools."""
    for node in reversed(list(expression.find_all(exp.Mod))):
        call = exp.Anonymous(this="mod", expressions=[bare(node.this), bare(node.expression)])
        expression = call if node is expression else expression
        node.replace(call)
    return expression


def with_unique_names(select: exp.Select) -> exp.Select:
    """The SELECT with a new name for an output whose name an earlier one has: none can read it by that."""
    copy = select.copy()
    names = [e.alias_or_name for e in copy.expressions]
    seen: set[str] = set()
    for i, (name, expression) in enumerate(zip(names, list(copy.expressions), strict=True)):
        if name in seen:
            label = fresh(name, {*names, *seen})
            copy.expressions[i].replace(exp.alias_(unaliased(expression).copy(), label, quoted=True))
            seen.add(label)
        seen.add(name)
    return copy


def unaliased(expression: exp.Expression) -> exp.Expression:
    """The expression of a select list's entry."""
    return expression.this if isinstance(expression, exp.Alias) else expression


def name_of(call: exp.Expression) -> str:
    """The name of the aggregate that is called, with its schema where it has one."""
    inner = called(call)
    if isinstance(inner, exp.WithinGroup):
        inner = inner.this
    if isinstance(inner, exp.Dot):
        return f"{inner.this.name}.{inner.expression.name}"
    return str(inner.name)


def is_call(node: exp.Expression, aggregates: Collection[str]) -> bool:
    """Whether the node, without its FILTER and WITHIN GROUP, calls one of the aggregates (by name_of)."""
    if isinstance(node, exp.Dot):
        called_ = isinstance(node.expression, exp.Anonymous) and isinstance(node.this, exp.Identifier)
        return called_ and f"{node.this.name}.{node.expression.name}" in aggregates
    if not isinstance(node, exp.Anonymous) or isinstance(node.parent, exp.Dot):
        return False
    return node.name in aggregates


def calls_in(expression: exp.Expression, aggregates: Collection[str]) -> list[exp.Expression]:
    """The aggregate calls in `expression`, each with its FILTER; none that is a window's."""
    found = []
    for node in expression.find_all(exp.Anonymous, exp.Dot):
        if not is_call(node, aggregates):
            continue
        whole: exp.Expression = node
        while isinstance(whole.parent, exp.Filter | exp.WithinGroup) and whole.arg_key == "this":
            whole = whole.parent
        if not _is_of_window(whole):
            found.append(whole)
    return found


def calls_of(select: exp.Select, aggregates: Collection[str]) -> list[exp.Expression]:
    """The aggregate calls of a SELECT itself: none of a subquery's."""
    parts = [*select.expressions, *(select.args[k] for k in ("having", "order") if select.args.get(k))]
    return [c for p in parts for c in calls_in(p, aggregates) if c.find_ancestor(exp.Select) is select]


def _is_of_window(call: exp.Expression) -> bool:
    """Whether it is what a window calls: not an aggregate of the group, though it may be written like one."""
    while isinstance(call.parent, exp.Filter) and call.arg_key == "this":
        call = call.parent
    return isinstance(call.parent, exp.Window) and call.arg_key == "this"


def called(call: exp.Expression) -> exp.Expression:
    """An aggregate call without its FILTER."""
    return call.this if isinstance(call, exp.Filter) else call


def invoked(call: exp.Expression) -> exp.Expression:
    """An aggregate call without its FILTER and its schema."""
    inner = called(call)
    while isinstance(inner, exp.Dot):
        inner = inner.expression
    return inner


def argument_of(call: exp.Expression) -> exp.Expression | None:
    """What is aggregated; None for `count(*)`."""
    argument = invoked(call).expressions[0]
    if isinstance(argument, exp.Distinct):
        argument = argument.expressions[0]
    return None if isinstance(argument, exp.Star) else bare(argument)


def is_row(expression: exp.Expression) -> bool:
    """Whether it is (a, b) or ROW(a, b)."""
    inner = bare(expression)
    return isinstance(inner, exp.Tuple) or (isinstance(inner, exp.Anonymous) and inner.name.upper() == "ROW")


def distinct_row(call: exp.Expression) -> exp.Expression | None:
    """The row (a, b) of `count(DISTINCT (a, b))`."""
    first = next(iter(invoked(call).expressions), None)
    row = first.expressions[0] if isinstance(first, exp.Distinct) and len(first.expressions) == 1 else None
    return row if row is not None and is_row(row) and name_of(call) == "count" else None


def arguments_of(call: exp.Expression) -> list[exp.Expression]:
    """All that is aggregated by a call that has a delta."""
    first = argument_of(call)
    return [] if first is None else [first, *(bare(e) for e in invoked(call).expressions[1:])]


def ungrouped(expression: exp.Expression, grouped: Collection[exp.Expression]) -> list[exp.Expression]:
    """The columns that are read outside of what is grouped: keys and calls."""
    if expression in grouped and not _is_of_window(expression):
        return []
    if isinstance(expression, exp.Column):
        return [expression]
    return [column for child in expression.iter_expressions() for column in ungrouped(child, grouped)]


def read_grouped(
    expression: exp.Expression, outputs: Mapping[exp.Expression, exp.Expression]
) -> exp.Expression:
    """An expression over what was grouped as one over the groups; `outputs` says how these are read."""
    if expression in outputs and not _is_of_window(expression):
        return outputs[expression].copy()
    copy = expression.copy()
    for child in list(copy.iter_expressions()):
        child.replace(read_grouped(child, outputs))
    return copy
