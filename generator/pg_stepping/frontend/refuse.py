"""Refusals that name a construct and its place in the text that the user wrote."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot.errors import TokenError
from sqlglot.tokenizer_core import Token, TokenType

from pg_stepping.errors import InvalidQuery, UnsupportedQuery
from pg_stepping.frontend.dialect import tokens


@dataclass(frozen=True, slots=True)
class Source:
    """The text of a query, as its author wrote it."""

    text: str

    def unsupported(self, construct: str, *words: str, hint: str) -> UnsupportedQuery:
        """The refusal of `construct`, placed at the first of `words` that the text has.

        A word may be several tokens, as in "group by".
        """
        for word in words:
            found = self._find(word)
            if found is not None:
                line, column, near = found
                return UnsupportedQuery(construct, hint=hint, line=line, column=column, near=near)
        return UnsupportedQuery(construct, hint=hint)

    def _find(self, word: str) -> tuple[int, int, str] | None:
        """Line, column and text of a word: first outside of quotes, then as a quoted name."""
        bare = [t for t in tokens(self.text) if t.token_type != TokenType.STRING]
        unquoted = [t for t in bare if t.token_type != TokenType.IDENTIFIER]
        return self._find_among(unquoted, word) or self._find_among(bare, word)

    def _find_among(self, there: list[Token], word: str) -> tuple[int, int, str] | None:
        wanted = word.lower().split()
        flat = [(w, t) for t in there for w in t.text.lower().split()]
        for i in range(len(flat) - len(wanted) + 1):
            if [w for w, _ in flat[i : i + len(wanted)]] == wanted:
                first, last = flat[i][1], flat[i + len(wanted) - 1][1]
                before = self.text[: first.start]
                column = first.start - (before.rfind("\n") + 1) + 1
                return before.count("\n") + 1, column, self.text[first.start : last.end + 1]
        return None

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
