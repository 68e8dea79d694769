"""The SQL dialect in which queries are read and printed: the only file that knows how sqlglot is bent.

sqlglot knows many functions by name and prints them as it sees fit. Postgres's own spelling is what we
want back, so here every function is just a name with arguments, except where the grammar of a call is its
own (EXTRACT, TRIM ...). What is printed is also what lands in migrations, where `%`, `:word`, `${` and two
opening braces are taken for placeholders by other tools: they are spelled in escapes that mean the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import sqlglot
from sqlglot import exp
from sqlglot.dialects.postgres import Postgres
from sqlglot.generators.postgres import PostgresGenerator
from sqlglot.parsers.postgres import PostgresParser
from sqlglot.tokenizer_core import Token, TokenType

if TYPE_CHECKING:
    from pg_stepping.ir import Type

_OWN_GRAMMAR = ("CAST", "EXTRACT", "XMLELEMENT")
_WORDED = ("NORMALIZE", "OVERLAY", "POSITION", "SUBSTRING", "TRIM")
# As Postgres prints them, in capitals: a column of such a name is in quotes, or in small letters.
_FORMS = ("NFC", "NFD", "NFKC", "NFKD")
_TESTS = frozenset(("DOCUMENT", "NORMALIZED", *_FORMS))
_PARTING = frozenset(
    (",", "BOTH", "ESCAPE", "FOR", "FROM", "IN", "LEADING", "PLACING", "SIMILAR", "TRAILING", *_FORMS)
)
QUOTED = (TokenType.IDENTIFIER, TokenType.STRING)

# Operators that sqlglot reads as Postgres does. Every other one is opaque, see _with_operators.
_READ_BY_SQLGLOT = frozenset("+ - * / % ^ < > = <= >= <> ~~ !~~ ~~* !~~* =>".split())
_SYMBOLS = r"(?:(?!--|/\*)[-+*/<>=~!@#%^&|`?])+"
_OPERATOR = re.compile(
    rf'{_SYMBOLS}|OPERATOR\s*\(\s*(?:(?:"(?:[^"]|"")*"|\w+)\s*\.\s*)?{_SYMBOLS}\s*\)', re.I
)

# pg_get_keywords(), PostgreSQL 15 to 18: words that need quotes as a function's, or as a column's, name.
KEYWORDS = frozenset(
    """
    all analyse analyze and any array as asc asymmetric authorization between bigint binary bit
    boolean both case cast char character check coalesce collate collation column concurrently
    constraint create cross current_catalog current_date current_role current_schema current_time
    current_timestamp current_user dec decimal default deferrable desc distinct do else end except
    exists extract false fetch float for foreign freeze from full grant greatest group grouping
    having ilike in initially inner inout int integer intersect interval into is isnull join json
    json_array json_arrayagg json_exists json_object json_objectagg json_query json_scalar
    json_serialize json_table json_value lateral leading least left like limit localtime
    localtimestamp merge_action national natural nchar none normalize not notnull null nullif
    numeric offset on only or order out outer overlaps overlay placing position precision primary
    real references returning right row select session_user setof similar smallint some substring
    symmetric system_user table tablesample then time timestamp to trailing treat trim true union
    unique user using values varchar variadic verbose when where window with xmlattributes
    xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize
    xmltable
    """.split()
)
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*\Z")
# What psql, SQLAlchemy, Django and others may take for a placeholder, wherever it stands.
_PLACEHOLDER = re.compile(r"%|(?<!:):(?=\w)|\$(?=\{)|\{(?=[{%#])")
_CONTROL = re.compile(r"[\x00-\x1f\\]")


def is_placeholder(text: str) -> bool:
    """Whether a migration tool may take something in `text` for a placeholder."""
    return _PLACEHOLDER.search(text) is not None


def quote_name(name: str) -> str:
    """An identifier as SQL, quoted only where it must be."""
    if _PLAIN.match(name) and name not in KEYWORDS:
        return name
    inner = name.replace('"', '""')
    if not _PLACEHOLDER.search(name) and not _CONTROL.search(name):
        return f'"{inner}"'
    escaped = _CONTROL.sub(lambda m: f"\\{ord(m[0]):04X}", inner)
    return 'U&"' + _PLACEHOLDER.sub(lambda m: f"\\{ord(m[0]):04X}", escaped) + '"'


def quote_text(text: str) -> str:
    """A string literal as SQL, on one line, that no migration tool takes for a template."""
    doubled = text.replace("'", "''")
    if not _PLACEHOLDER.search(text) and not _CONTROL.search(text):
        return f"'{doubled}'"
    escaped = _CONTROL.sub(lambda m: f"\\x{ord(m[0]):02X}", doubled)
    return "E'" + _PLACEHOLDER.sub(lambda m: f"\\x{ord(m[0]):02X}", escaped) + "'"


def quote_lines(text: str) -> str:
    """The same with line breaks left in, for the text of a query in a catalog row or a comment."""
    lines = [quote_text(line) for line in text.split("\n")]
    if not any(line.startswith("E") for line in lines):
        return "'" + "\n".join(line[1:-1] for line in lines) + "'"
    return "E'" + "\n".join(line.removeprefix("E")[1:-1] for line in lines) + "'"


def _operator_at(text: str, start: int) -> str | None:
    """The operator that begins there, by the rules of Postgres's own scanner."""
    found = _OPERATOR.match(text, start)
    if found is None or re.search(r"[~!@#%^&|`?)]", found[0]):
        return found and found[0]
    return found[0].rstrip("+-") or found[0][0]


def _with_operators(text: str, there: Iterable[Token]) -> Iterator[Token]:
    """The tokens, where each operator that sqlglot may misread is one opaque token."""
    end = 0
    for token in there:
        if token.start < end:
            continue
        operator = _operator_at(text, token.start)
        if operator is not None and operator not in _READ_BY_SQLGLOT:
            end = token.start + len(operator)
            yield Token(TokenType.OPERATOR, operator, token.line, token.col, token.start, end - 1)
        else:
            yield token


class Prefix(exp.Unary):
    """`<operator> a`, opaque."""

    arg_types: ClassVar = {"this": True, "operator": True}


class Test(exp.Unary):
    """`a IS <words>`, for words that sqlglot does not know."""

    arg_types: ClassVar = {"this": True, "words": True}


class Worded(exp.Expression):
    """A call whose arguments are parted by words: `SUBSTRING(a FROM b)`; the words are Vars among them."""

    arg_types: ClassVar = {"this": True, "expressions": True}


class WithOrdinality(exp.Unary):
    """`<call> WITH ORDINALITY`, as an item of FROM."""


class Record(exp.Expression):
    """A row without a type of its own, whose fields have names: the entries of a select list."""

    arg_types: ClassVar = {"expressions": True}


class Search(exp.Expression):
    """SEARCH `kind` FIRST BY the expressions, of a CTE, SET a column."""

    arg_types: ClassVar = {"kind": True, "expressions": True, "set": True}


class Cycle(exp.Expression):
    """CYCLE the expressions, of a CTE, SET a `mark` (TO a value, by DEFAULT another one) USING a `path`."""

    arg_types: ClassVar = {"expressions": True, "mark": True, "to": False, "default": False, "path": True}


class Canonical(Postgres):
    """Postgres as pg_get_viewdef prints it."""

    def tokenize(self, sql: str, dialect: Any = None) -> list[Token]:
        return list(_with_operators(sql, super().tokenize(sql, dialect)))

    class Tokenizer(Postgres.Tokenizer):
        KEYWORDS: ClassVar = {
            **{k: v for k, v in Postgres.Tokenizer.KEYWORDS.items() if k != "OPERATOR"},
            "BIT VARYING": TokenType.IPPREFIX,  # sqlglot has no VARBIT, and Postgres no IPPREFIX
        }

    class Parser(PostgresParser):
        FUNCTIONS: ClassVar[dict[str, Any]] = {}
        FUNCTION_PARSERS: ClassVar = {
            **{name: PostgresParser.FUNCTION_PARSERS[name] for name in _OWN_GRAMMAR},
            **dict.fromkeys(_WORDED, lambda self: self._parse_worded()),
        }
        NO_PAREN_FUNCTIONS: ClassVar[dict[Any, Any]] = {}
        UNARY_PARSERS: ClassVar = {
            **PostgresParser.UNARY_PARSERS,
            TokenType.PLUS: lambda self: self._parse_prefix(self._parse_unary),
            TokenType.OPERATOR: lambda self: self._parse_prefix(self._parse_term),
        }

        def _parse_prefix(self, parse_operand: Callable[[], Any]) -> Any:
            operator = exp.to_identifier(self._prev.text, quoted=True)
            return self.expression(Prefix(this=parse_operand(), operator=operator))

        def _parse_bitwise(self) -> Any:
            """One level, as in Postgres, for every operator but arithmetic, comparison and LIKE."""
            this = self._parse_term()
            while self._match(TokenType.OPERATOR):
                operator = exp.to_identifier(self._prev.text, quoted=True)
                right = self._parse_term()
                this = self.expression(exp.Operator(this=this, operator=operator, expression=right))
            return this

        def _parse_is(self, this: Any) -> Any:
            words = self._parse_words(_TESTS)
            return self.expression(Test(this=this, words=words)) if words else super()._parse_is(this)

        def _parse_join(self, *args: Any, **kwargs: Any) -> Any:
            """A join; the alias in `USING (a) AS j` names its merged columns."""
            join = super()._parse_join(*args, **kwargs)
            if join is not None and join.args.get("using") and self._match(TokenType.ALIAS):
                join.set("alias", self._parse_id_var())
            return join

        def _parse_cte(self) -> Any:
            """A CTE with its SEARCH and CYCLE clauses."""
            cte = super()._parse_cte()
            if cte is not None and self._match_text_seq("SEARCH"):
                kind = "DEPTH" if self._match_text_seq("DEPTH") else "BREADTH"
                self._match_text_seq("BREADTH")
                self._match_text_seq("FIRST", "BY")
                by = self._parse_csv(self._parse_id_var)
                self._match_text_seq("SET")
                cte.set(
                    "search", self.expression(Search(kind=kind, expressions=by, set=self._parse_id_var()))
                )
            if cte is not None and self._match_text_seq("CYCLE"):
                cycle = Cycle(expressions=self._parse_csv(self._parse_id_var))
                self._match_text_seq("SET")
                cycle.set("mark", self._parse_id_var())
                if self._match_text_seq("TO"):
                    cycle.set("to", self._parse_bitwise())
                    self._match_text_seq("DEFAULT")
                    cycle.set("default", self._parse_bitwise())
                self._match_text_seq("USING")
                cycle.set("path", self._parse_id_var())
                cte.set("cycle", self.expression(cycle))
            return cte

        def _parse_lateral(self) -> Any:
            """LATERAL; before ROWS FROM it says nothing, and sqlglot does not know it there."""
            if self._match_text_seq("LATERAL", "ROWS", "FROM", advance=False):
                self._advance()
            return super()._parse_lateral()

        def _parse_wrapped_select(self, table: bool = False) -> Any:
            """What is in parentheses; sqlglot takes no joins there after LATERAL or a function."""
            this = super()._parse_wrapped_select(table)
            joins = list(self._parse_joins()) if isinstance(this, exp.Lateral | exp.Unnest) else []
            return exp.Table(this=this, joins=joins) if joins else this

        def _values_to_select(self, values: Any) -> Any:
            """VALUES in a CTE, or in UNION, INTERSECT, EXCEPT, stay what they are (without ORDER BY)."""
            cut = any(values.args.get(key) for key in exp.QUERY_MODIFIERS)
            return super()._values_to_select(values) if cut else values

        def _parse_worded(self) -> Any:
            name = self._tokens[self._index - 2].text
            parts: list[Any] = []
            while self._curr and not self._match(TokenType.R_PAREN, advance=False):
                words = self._parse_words(_PARTING)
                parts.append(exp.var(words) if words else self._parse_bitwise())
                if parts[-1] is None:
                    self.raise_error("Expected an expression")
            return self.expression(Worded(this=name, expressions=parts))

        def _parse_words(self, known: frozenset[str]) -> str:
            """The longest run of `known` words that comes next; a quoted name is none."""
            words = []
            while self._curr.text in known and self._curr.token_type not in QUOTED:
                words.append(self._curr.text)
                self._advance()
            return " ".join(words)

        def _parse_function_call(self, *args: Any, **kwargs: Any) -> Any:
            token = self._curr
            quoted = token is not None and token.token_type == TokenType.IDENTIFIER
            if quoted:
                kwargs["anonymous"] = True  # "substring"(a, b) is a name, SUBSTRING(a FROM b) is grammar
            call = super()._parse_function_call(*args, **kwargs)
            if quoted and isinstance(call, exp.Anonymous):
                call.set("this", exp.to_identifier(call.this, quoted=True))
            return call

    class Generator(PostgresGenerator):
        MULTI_ARG_DISTINCT = True
        TYPE_MAPPING: ClassVar = {**PostgresGenerator.TYPE_MAPPING, exp.DType.IPPREFIX: "VARBIT"}
        TRANSFORMS: ClassVar = {
            **PostgresGenerator.TRANSFORMS,
            exp.Operator: lambda self, e: (
                f"{self.sql(e, 'this')} {e.text('operator')} {self.sql(e, 'expression')}"
            ),
            Prefix: lambda self, e: f"{e.text('operator')} {self.sql(e, 'this')}",
            Test: lambda self, e: f"{self.sql(e, 'this')} IS {e.args['words']}",
            Worded: lambda self, e: self.worded_sql(e),
            WithOrdinality: lambda self, e: f"{self.sql(e, 'this')} WITH ORDINALITY",
            Record: lambda self, e: (
                f"(SELECT row_of FROM (SELECT {self.expressions(e, flat=True)}) AS row_of)"
            ),
            exp.Pow: lambda self, e: self.binary(e, "^"),
            exp.Slice: lambda self, e: f"{self.sql(e, 'this')} : {self.sql(e, 'expression')}",
        }

        def identifier_sql(self, expression: exp.Identifier) -> str:
            return quote_name(expression.name)

        def literal_sql(self, expression: exp.Literal) -> str:
            return quote_text(expression.name) if expression.is_string else str(expression.name)

        def array_sql(self, expression: exp.Array) -> str:
            return f"ARRAY[{self.expressions(expression, flat=True)}]"  # ARRAY(query) is a call

        def anonymous_sql(self, expression: exp.Anonymous) -> str:
            named = expression.this
            name = quote_name(named.name) if isinstance(named, exp.Identifier) else str(named)
            return f"{name}({self.expressions(expression, flat=True)})"

        def join_sql(self, expression: exp.Join, join_op: str | None = None) -> str:
            alias = expression.args.get("alias")
            named = f" AS {self.sql(alias)}" if alias is not None else ""
            return super().join_sql(expression, join_op) + named

        def cte_sql(self, expression: exp.CTE) -> str:
            text, search, cycle = super().cte_sql(expression), *map(expression.args.get, ("search", "cycle"))
            if search is not None:
                by = self.expressions(search, flat=True)
                text += f" SEARCH {search.args['kind']} FIRST BY {by} SET {self.sql(search, 'set')}"
            if cycle is not None:
                to, default = self.sql(cycle, "to"), self.sql(cycle, "default")
                values = f" TO {to} DEFAULT {default}" if to else ""
                names = self.expressions(cycle, flat=True), self.sql(cycle, "mark"), self.sql(cycle, "path")
                text += f" CYCLE {names[0]} SET {names[1]}{values} USING {names[2]}"
            return text

        def worded_sql(self, expression: Worded) -> str:
            parts = [self.sql(part) for part in expression.expressions]
            inner = "".join(part if part.startswith(",") else f" {part}" for part in parts)
            return f"{expression.name}({inner[1:]})"

        def datatype_sql(self, expression: exp.DataType) -> str:
            if expression.this == exp.DType.BIT and not expression.expressions:
                return '"bit"'  # bare BIT means bit(1)
            if expression.this == exp.DType.INTERVAL and expression.expressions:
                return f"interval({self.expressions(expression, flat=True)})"
            printed = super().datatype_sql(expression)
            return printed if '"' in printed else printed.lower()

        def cast_sql(self, expression: exp.Cast, safe_prefix: str | None = None) -> str:
            value = self.sql(expression, "this")
            atomic = isinstance(
                expression.this, exp.Column | exp.Literal | exp.Paren | exp.Cast | exp.Anonymous
            )
            return f"{value if atomic else f'({value})'}::{self.sql(expression, 'to')}"

        def not_sql(self, expression: exp.Not) -> str:
            inner = expression.this
            if isinstance(inner, exp.Is):
                return f"{self.sql(inner, 'this')} IS NOT {self.sql(inner, 'expression')}"
            return super().not_sql(expression)


def parse(text: str) -> exp.Expression:
    """The one statement in `text`."""
    parsed = sqlglot.parse_one(text, dialect=Canonical)
    assert isinstance(parsed, exp.Expression)
    for collate in parsed.find_all(exp.Collate):
        named = collate.expression
        if isinstance(named, exp.Column):  # a name with its schema, which sqlglot takes for a column
            collate.set("expression", exp.Dot.build([part.copy() for part in named.parts]))
    return parsed.transform(_filter_of_a_qualified_call, copy=False)


def _filter_of_a_qualified_call(node: exp.Expression) -> exp.Expression:
    """`schema.f(x) FILTER (...)`, which sqlglot reads as a column of a table `schema`."""
    if not isinstance(node, exp.Column) or not isinstance(node.this, exp.Filter | exp.WithinGroup):
        return node
    outer: exp.Expression = node.this
    inner = outer
    while isinstance(inner.this, exp.Filter | exp.WithinGroup):
        inner = inner.this
    inner.set("this", exp.Dot(this=node.args["table"], expression=inner.this))
    return outer


def cast_to(expression: exp.Expression, type_: str) -> exp.Cast:
    """`expression::type_`."""
    parsed = parse(f"SELECT NULL::{type_}").expressions[0]
    return exp.Cast(this=expression.copy(), to=parsed.to)


def image_of(expression: exp.Expression) -> exp.Expression:
    """The text of a value, which values share only if they are the same."""
    collation = exp.to_identifier("C", quoted=True)
    return exp.Paren(this=exp.Collate(this=cast_to(expression, "text"), expression=collation))


def null_of(type_: Type) -> exp.Expression:
    """NULL of a type; of a domain that of no row, as an outer join gives it: a cast would check NOT NULL."""
    null = cast_to(exp.Null(), type_.name)
    if type_.name == type_.base:
        return null
    return exp.Paren(this=exp.Var(this=f"SELECT {to_sql(null)} WHERE false"))


def operated(left: exp.Expression, operator: str, right: exp.Expression) -> exp.Expression:
    """`left <operator> right`, for an operator that sqlglot does not know."""
    symbol = exp.to_identifier(operator, quoted=True)
    return exp.Operator(this=left.copy(), operator=symbol, expression=right.copy())


def to_sql(expression: exp.Expression) -> str:
    """An expression on one line."""
    # writing may change a tree, so it takes a copy; most are columns, which have nothing to change
    copy = not isinstance(expression, exp.Column)
    return expression.sql(dialect=Canonical, copy=copy, normalize_functions=False, comments=False)


def tokens(text: str) -> list[Token]:
    """The tokens of `text`, each with its line and column, counted from 1 (the column is that of its end)."""
    return Canonical().tokenize(text)
