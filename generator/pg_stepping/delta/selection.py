"""Which changed rows of a table cannot matter: those that fail what the query asks of that table alone.

Law: a relation R of a join under conditions c that read nothing else has, in every product of terms.py, c
beside it. So in place of its change D the rows of D for which c is true will do: the others take no lock, are
not looked up in other tables, and do not wait. Of an UPDATE the old row may pass and the new one not. A table
that is read in several places keeps what passes in one of them.

That is read earlier than the query reads it, so only conditions that cannot fail, whatever is in the row, are
used: comparisons of columns and constants of Postgres's own plain types, LIKE, and what is made of them by
AND, OR and NOT.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from sqlglot import exp

from pg_stepping.delta.terms import Core, all_of, core_of
from pg_stepping.frontend.dialect import cast_to, operated, to_sql
from pg_stepping.ir import Project, Scan, Table, Type, Union
from pg_stepping.ir.nodes import Expression, columns_read

_COMPARISONS = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.NullSafeEQ, exp.NullSafeNEQ)
_LIKENESSES = (exp.Like, exp.ILike)
_OF_TRUTHS = (exp.And, exp.Or, exp.Not, exp.Paren)
_OF_CONSTANTS = (
    exp.Literal,
    exp.Cast,
    exp.Paren,
    exp.Neg,
    exp.Add,
    exp.Sub,
    exp.Array,
    exp.Null,
    exp.Boolean,
)
_D = exp.DType
_NUMBERS = (_D.SMALLINT, _D.INT, _D.BIGINT, _D.DECIMAL, _D.FLOAT, _D.DOUBLE)
_TEXTS = (_D.TEXT, _D.VARCHAR, _D.CHAR, _D.BPCHAR, _D.UUID, _D.VARBINARY)
_TIMES = (_D.DATE, _D.TIME, _D.TIMESTAMP, _D.TIMESTAMPTZ, _D.INTERVAL)
_PLAIN = frozenset((*_NUMBERS, *_TEXTS, *_TIMES, _D.BOOLEAN))
_WIDER = {  # casts that take every value
    _D.SMALLINT: (_D.INT, _D.BIGINT, _D.DECIMAL, _D.FLOAT, _D.DOUBLE),
    _D.INT: (_D.BIGINT, _D.DECIMAL, _D.DOUBLE),
    _D.BIGINT: (_D.DECIMAL, _D.DOUBLE),
    _D.FLOAT: (_D.DOUBLE,),
    _D.VARCHAR: (_D.TEXT,),
    _D.CHAR: (_D.TEXT, _D.BPCHAR),
    _D.BPCHAR: (_D.TEXT,),
}

# Types that are no keywords of the grammar, which would be looked up by search_path.
_NAMED = {
    _D.TEXT: "text",
    _D.BPCHAR: "bpchar",
    _D.UUID: "uuid",
    _D.VARBINARY: "bytea",
    _D.DATE: "date",
}
_SYMBOLS = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.Add: "+",
    exp.Sub: "-",
    exp.Like: "~~",
    exp.ILike: "~~*",
}
_ISO = re.compile(r"\d{4,}-\d\d-\d\d( \d\d:\d\d:\d\d(\.\d+)?)?")
_SETTLED = {_D.DATE: _ISO, _D.TIMESTAMP: _ISO, _D.INTERVAL: re.compile("[^-]*"), _D.ARRAY: re.compile("$^")}
_ANY = re.compile("(?s).*")

Types = Mapping[str, Type]


def selection(cores: Sequence[Core], table: Table, *, logged: bool = False) -> str | None:
    """The condition, on the bare columns of the table, of the changes that can matter to what the cores join;
    None if all can. `logged`: it means the same whatever settings, and search_path, the session has."""
    found: dict[str, None] = {}
    for scan, conditions in (p for core in cores for p in _places(core) if p[0].table == table):
        types = {c.name: c.type for c in scan.fields}
        own = [c for c in conditions if {r for r, _ in columns_read(c)} == {scan.relation}]
        certain = [_bare(c) for c in own if _is_certain(c, types)]
        if logged:
            certain = [_qualified(c) for c in certain if _is_settled(c, types)]
        if not certain:
            return None
        found[all_of(certain)] = None
    return " OR ".join(f if len(found) == 1 else f"({f})" for f in found) or None


def _places(core: Core) -> Iterator[tuple[Scan, Sequence[Expression]]]:
    """Every place where a table is read, with the conditions under which it is joined."""
    joined = [(part, core.conditions) for part in core.parts]
    joined += [(o.input, o.conditions) for o in core.outers]
    joined += [(o.match, o.match_conditions) for o in core.outers if o.match is not None]
    for plan, conditions in joined:
        if isinstance(plan, Scan):
            yield plan, conditions
        elif isinstance(plan, Project | Union):
            for part in plan.parts if isinstance(plan, Union) else (plan,):
                yield from _places(core_of(part.input))


def _bare(condition: Expression) -> Expression:
    """The condition where no relation but one is read."""

    def bare(node: Expression) -> Expression:
        return exp.column(node.this.copy()) if isinstance(node, exp.Column) else node

    return condition.transform(bare)


def _is_certain(condition: Expression, types: Types) -> bool:
    """Whether it cannot fail."""
    if isinstance(condition, _OF_TRUTHS):
        return all(_is_certain(c, types) for c in condition.iter_expressions())
    if isinstance(condition, exp.Is):
        of = condition.this
        known = isinstance(of, exp.Column) or _is_certain(of, types)
        return known and isinstance(condition.expression, exp.Null | exp.Boolean)
    if isinstance(condition, _COMPARISONS):
        sides = (condition.this, _values(condition.expression))
        return all(_is_constant(side) or _type_of(side, types) in _PLAIN for side in sides)
    if isinstance(condition, _LIKENESSES):
        return _is_text(condition.this, types) and _is_pattern(condition.expression)
    return _type_of(condition, types) is _D.BOOLEAN


def _is_text(value: Expression, types: Types) -> bool:
    """Whether it is of a collation that LIKE is sure to take."""
    columns = [types[c.name] for c in value.find_all(exp.Column) if c.name in types]
    own = all(t.collation is None and t.name == t.base for t in columns)
    return own and _type_of(value, types) in (_D.TEXT, _D.VARCHAR, _D.CHAR, _D.BPCHAR)


def _is_pattern(value: Expression) -> bool:
    """Whether it is a constant that does not end in an escape: here, that has none."""
    return _is_constant(value) and not any("\\" in literal.name for literal in value.find_all(exp.Literal))


def _values(of: Expression) -> Expression:
    """The array in ANY (array) or ALL (array), of any other operand itself."""
    is_all = isinstance(of, exp.Anonymous) and of.this == "ALL"
    array: Expression = of.this if isinstance(of, exp.Any) else of.expressions[0] if is_all else of
    return array


def _type_of(value: Expression, types: Types) -> exp.DType | None:
    """The type of a column, or of one that is cast to a wider type, without its length; None of all else."""
    if isinstance(value, exp.Paren):
        return _type_of(value.this, types)
    if isinstance(value, exp.Column):
        return _kind(cast_to(exp.Null(), types[value.name].base).to) if value.name in types else None
    if isinstance(value, exp.Cast) and not value.to.expressions:
        wider = _WIDER.get(_type_of(value.this, types) or _D.UNKNOWN, ())
        return _kind(value.to) if _kind(value.to) in wider else None
    return None


def _kind(type_: exp.DataType) -> exp.DType | None:
    return type_.this if isinstance(type_.this, exp.DType) else None


def _is_constant(value: Expression) -> bool:
    """Whether it is made of literals of plain types alone: such a constant is the same in every row."""
    if isinstance(value, exp.DataType):
        plain = value.expressions[0] if value.this is _D.ARRAY else value
        return _kind(plain) in _PLAIN
    return isinstance(value, _OF_CONSTANTS) and all(map(_is_constant, value.iter_expressions()))


def _is_settled(condition: Expression, types: Types) -> bool:
    """Whether a condition that cannot fail is the same under every setting of a session: none of it reads
    DateStyle, IntervalStyle or TimeZone."""
    if list(condition.find_all(exp.NullSafeEQ, exp.NullSafeNEQ, exp.Neg)):  # their operators have no schema
        return False
    columns = (_type_of(c, types) for c in condition.find_all(exp.Column))
    casts = list(condition.find_all(exp.Cast))
    if _D.TIMESTAMPTZ in {*columns, *(_kind(_element(c.to)) for c in casts)}:
        return False
    literals = ((c.this.name, _kind(c.to)) for c in casts if isinstance(c.this, exp.Literal))
    return all(_SETTLED.get(kind or _D.UNKNOWN, _ANY).fullmatch(text) for text, kind in literals)


def _element(type_: exp.DataType) -> exp.DataType:
    """The type of an array's elements; of any other type itself."""
    element: exp.DataType = type_.expressions[0] if type_.this is _D.ARRAY else type_
    return element


def _qualified(node: Expression) -> Expression:
    """A condition, each operator and type of which is named with its schema."""
    if isinstance(node, exp.Cast):
        named = _NAMED.get(_kind(_element(node.to)) or _D.UNKNOWN)
        suffix = "[]" if node.to.this is _D.ARRAY else ""
        value = _qualified(node.this)
        return cast_to(value, f"pg_catalog.{named}{suffix}" if named else to_sql(node.to))
    symbol = next((s for kind, s in _SYMBOLS.items() if isinstance(node, kind)), None)
    if symbol is not None:
        symbol = f"!{symbol}" if node.args.get("negate") else symbol
        sides = _qualified(node.this), _qualified(node.expression)
        return operated(sides[0], f"OPERATOR(pg_catalog.{symbol})", sides[1])
    copy = node.copy()
    for child in list(copy.iter_expressions()):
        child.replace(_qualified(child))
    return copy
