"""Sums as SQL: of numbers, and of collections, which are JSON arrays of [element, count]."""

from __future__ import annotations

from sqlglot import exp

from pg_stepping.frontend.dialect import Canonical, parse, quote_name, quote_text
from pg_stepping.frontend.python.rows import PRESENT, Maybe, parts
from pg_stepping.frontend.python.scalar import Scalar
from pg_stepping.frontend.python.types import FieldType, operand
from pg_stepping.ir.types import fresh


def totalled(value: exp.Expression | None, kind: FieldType, weight: exp.Expression | None) -> exp.Expression:
    """The sum of `value`, or the count of rows, where each row counts `weight` times."""
    if value is None:
        if weight is None:
            return expression("count(*)")
        return kind.cast(exp.Anonymous(this="sum", expressions=[weight]))
    if weight is not None:
        if kind.python is float:  # the sum is of exact decimals, as of rows without weights
            value = FieldType(str).cast(value)
            value = exp.Cast(this=value, to=exp.DataType.build("numeric", dialect="postgres"))
        value = exp.Mul(this=operand(value), expression=operand(weight))
    total: exp.Expression = exp.Anonymous(this="sum", expressions=[value])
    if kind.python is int or weight is not None:
        total = kind.cast(total)  # sum(bigint) is numeric
    return total


def collected(
    statement: exp.Select, keys: list[str], collection: str, weight: str | None, taken: set[str]
) -> exp.Subquery:
    """`statement` has `keys` and a `collection` a row; the result has, a key, all of them laid together.

    A key whose elements all cancel has an empty array.
    """
    rows, element, counted = (fresh(name, taken) for name in ("rows", "element", "counted"))
    quoted = [quote_name(k) for k in keys]
    value, number = fresh("value", set(keys)), fresh("number", set(keys))
    times = f" * {rows}.{quote_name(weight)}" if weight else ""
    inner = statement.sql(dialect=Canonical, normalize_functions=False, comments=False)
    listed = "".join(f"{rows}.{k}, " for k in quoted)
    by = "".join(f"{rows}.{k}, " for k in quoted)
    outer = "".join(f"{counted}.{k}, " for k in quoted)
    grouped = f" GROUP BY {', '.join(f'{counted}.{k}' for k in quoted)}" if quoted else " HAVING count(*) > 0"
    pair = f"jsonb_build_array({counted}.{value}, {counted}.{number})"
    text = f"""
        SELECT {outer}coalesce(
            jsonb_agg({pair} ORDER BY {counted}.{value}) FILTER (WHERE {counted}.{number} <> 0), '[]'::jsonb
        ) AS {quote_name(collection)}
        FROM (
            SELECT {listed}{element}.item -> 0 AS {value},
                coalesce(sum(({element}.item -> 1)::bigint{times}), 0)::bigint AS {number}
            FROM ({inner}) AS {rows}
            LEFT JOIN LATERAL jsonb_array_elements({rows}.{quote_name(collection)}) AS {element}(item) ON TRUE
            GROUP BY {by}{element}.item -> 0
        ) AS {counted}{grouped}"""
    return exp.Subquery(
        this=parse(text), alias=exp.TableAlias(this=exp.to_identifier(fresh("collected", taken), quoted=True))
    )


def from_json(value: exp.Expression, path: tuple[str, ...], kind: FieldType) -> exp.Expression:
    """The leaf at `path` of a row in JSON, as a value of its type."""
    inner = value.sql(dialect=Canonical)
    if path and path[-1] == PRESENT:
        there = from_json(value, path[:-1], FieldType(dict)).sql(dialect=Canonical)
        return expression(f"({there} IS NOT NULL)")
    for step in path:
        inner = f"({inner} -> {step if step.isdigit() else quote_text(step)})"
    if kind.sql == "jsonb":
        return expression(f"nullif({inner}, 'null'::jsonb)")
    if kind.element is not None:
        return expression(f"stepping.texts_of(nullif({inner}, 'null'::jsonb))::{kind.sql}")
    return expression(f"({inner} #>> '{{}}')::{kind.sql}")


def expression(text: str) -> exp.Expression:
    """An expression from its text."""
    parsed: exp.Expression = parse(f"SELECT {text}").expressions[0]
    return parsed


_IN_JSON_AS_THEY_ARE = ("bigint", "double precision", "text", "boolean", "date", "uuid", "jsonb")
_BY_TEXT = ("numeric",)


def to_json(row: object, count: int) -> exp.Expression | None:
    """[element, count] of a row of stand-ins, as `encode` has it; None if a part would differ."""
    element = _to_json(row)
    if element is None:
        return None
    pair = [element, FieldType(int).literal(count)]
    return exp.Anonymous(this="jsonb_build_array", expressions=pair)


def _to_json(row: object) -> exp.Expression | None:
    if type(row) is Scalar:
        value = row.expression.copy()
        if row.type.sql in _BY_TEXT:
            value = FieldType(str).cast(value)
        elif row.type.sql not in _IN_JSON_AS_THEY_ARE:
            return None
        return value if row.type.sql == "jsonb" else exp.Anonymous(this="to_jsonb", expressions=[value])
    if type(row) is Maybe:
        return None
    made: list[exp.Expression] = []
    for name, part in parts(row):
        inner = _to_json(part)
        if inner is None:
            return None
        made += [inner] if isinstance(row, tuple) else [exp.Literal.string(name), inner]
    function = "jsonb_build_array" if isinstance(row, tuple) else "jsonb_build_object"
    return exp.Anonymous(this=function, expressions=made)
