"""Refusals that name a construct and its place in the text that the user wrote."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot.errors import TokenError
from sqlglot.tokenizer_core import Token, TokenType

from pg_stepping.errors import InvalidQuery, UnsupportedQuery
from pg_stepping.frontend.dialect import QUOTED, tokens


@dataclass(frozen=True, slots=True)
class Source:
    """The text of a query, as its author wrote it; of a view that it reads, `view` is schema and name."""

    text: str
    view: tuple[str, str] | None = None

    def within(self, schema: str, name: str) -> Source:
        """The same text, to refuse what a view has that it reads."""
        return Source(self.text, self.view or (schema, name))

    def unsupported(self, construct: str, *patterns: str, hint: str) -> UnsupportedQuery:
        """The refusal of `construct`, placed at the first of `patterns` that the text has.

        A pattern is words in sequence, as in "group by"; the place is its first word, or the one after an
        arrow: "( →distinct" is the DISTINCT that follows a parenthesis.
        """
        if self.view is not None:
            schema, name = self.view
            construct, patterns = f"{construct} in the view {schema}.{name}", (f"{schema} . →{name}", name)
        found = next(filter(None, map(self._find, patterns)), None)
        return self._refusal(construct, found, hint)

    def without_from(self, *, hint: str) -> UnsupportedQuery:
        """The refusal of a SELECT that reads no table, placed at the first one: no FROM is beside it."""
        return self._refusal("a SELECT without FROM", self._find_without_from(), hint)

    def _refusal(self, construct: str, found: tuple[Token, Token] | None, hint: str) -> UnsupportedQuery:
        if found is None:
            return UnsupportedQuery(construct, hint=hint)
        first, last = found
        before = self.text[: first.start]
        line, column = before.count("\n") + 1, first.start - before.rfind("\n")
        near = self.text[first.start : last.end + 1]
        return UnsupportedQuery(construct, hint=hint, line=line, column=column, near=near)

    def _find(self, pattern: str) -> tuple[Token, Token] | None:
        """The first and the last token of a pattern: first outside of quotes, then with quoted names."""
        bare = [t for t in tokens(self.text) if t.token_type != TokenType.STRING]
        unquoted = [t for t in bare if t.token_type != TokenType.IDENTIFIER]
        return _find_among(unquoted, pattern) or _find_among(bare, pattern)

    def _find_without_from(self) -> tuple[Token, Token] | None:
        selects: list[Token | None] = [None]  # of each open parenthesis, a SELECT whose FROM has not come
        before = ""
        for token in tokens(self.text):
            word = "" if token.token_type in QUOTED else token.text.upper()
            if word == "(":
                selects.append(None)
            elif word == "SELECT":
                selects[-1] = token
            elif word == "FROM" and before != "DISTINCT":
                selects[-1] = None
            elif word == ")":
                found = selects.pop()
                if found is not None:
                    return found, found
            before = word
        return (selects[0], selects[0]) if selects[0] is not None else None

    def single_statement(self) -> str:
        """The text without a closing semicolon; InvalidQuery if it holds several statements or none."""
        if "\0" in self.text:
            hint = "take it out: Postgres would read the query only up to there"
            raise InvalidQuery("the query holds a zero byte", hint=hint, sqlstate="22021")
        try:
            there = tokens(self.text)
        except TokenError as error:
            hint = "look for a quote or a comment that is not closed"
            raise InvalidQuery(f"the query cannot be read: {error}", hint=hint) from error
        while there and there[-1].text == ";":
            there.pop()
        if not there:
            raise InvalidQuery("the query is empty", hint="give one SELECT statement")
        for token in there:
            if token.token_type == TokenType.SEMICOLON:
                line = self.text[: token.start].count("\n") + 1
                raise InvalidQuery(
                    f"the text holds several statements (a semicolon in line {line})",
                    hint="give one SELECT statement",
                )
        return self.text[: there[-1].end + 1]


def _find_among(there: list[Token], pattern: str) -> tuple[Token, Token] | None:
    words = pattern.lower().split()
    wanted = [word.removeprefix("→") for word in words]
    place = next((i for i, word in enumerate(words) if word != wanted[i]), 0)
    flat = [(word, token) for token in there for word in _words(token)]
    for i in range(len(flat) - len(wanted) + 1):
        if [word for word, _ in flat[i : i + len(wanted)]] == wanted:
            return flat[i + place][1], flat[i + len(wanted) - 1][1]
    return None


def _words(token: Token) -> list[str]:
    """The words of a token; of OPERATOR(schema.+) only the operator."""
    text = token.text.lower()
    if token.token_type == TokenType.OPERATOR and text.endswith(")"):
        text = text.rstrip(" )").rpartition("(" if "." not in text else ".")[2]
    return text.split()
