"""A query's text as one tree: proved to be what Postgres read, with the views and CTEs in it written out."""

from __future__ import annotations

import re
from itertools import takewhile

from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError

from pg_stepping.errors import SteppingError
from pg_stepping.frontend.dialect import parse, to_sql
from pg_stepping.frontend.postgres import Connection, Described, Function, describe
from pg_stepping.frontend.purity import check_functions
from pg_stepping.frontend.refuse import Source
from pg_stepping.frontend.search_and_cycle import ordered_by_depth, with_columns
from pg_stepping.frontend.sql.open_order import decide_order
from pg_stepping.frontend.support import check_clock_words
from pg_stepping.frontend.tables import ordinary_view, query_in_place
from pg_stepping.frontend.trees import bare
from pg_stepping.ir import Table

_SHORT_FRAME = re.compile(
    r"\b(ROWS|RANGE|GROUPS) (?!BETWEEN\b|FROM\b|WITH\b)([^()]+? PRECEDING|CURRENT ROW)\b"
)


class Expansion:
    """Trees of canonical text, in which ordinary views and CTEs stand as the subqueries that they mean,
    and so do maintained views whose state is not their result: in deferred mode, or in stripes.

    `functions` are all those called, `views` the ordinary views by their definitions, `in_place` the others;
    `depends`: the result depends on session settings.
    """

    def __init__(self, conn: Connection) -> None:
        self.conn = conn
        self.functions: set[Function] = set()
        self.views: dict[Table, str] = {}
        self.in_place: set[Table] = set()
        self.depends = False

    def tree(self, described: Described, source: Source) -> exp.Expression:
        self.depends |= check_functions(described, source)
        self.functions |= described.functions
        ast = _faithful(self.conn, described, source)
        _inline_ctes(ast, source)
        check_clock_words(ast, source)
        for item in list(ast.find_all(exp.Table)):
            if not item.db:
                continue
            view = Table(item.db, item.name)
            query = query_in_place(self.conn, view)
            definition = query or ordinary_view(self.conn, view)
            if query is not None:
                self.in_place.add(view)
            elif definition is not None:
                self.views[view] = definition
            if definition is not None:
                inner = describe(self.conn, definition, qualified=True)
                tree = self.tree(inner, source.within(view.schema, view.name))
                tree.meta["row_type"] = view
                replace_by(item, tree)
        _limit_no_proof(ast)
        decide_order(ast, source)
        return ast


def _faithful(conn: Connection, described: Described, source: Source) -> exp.Expression:
    """The canonical text as a tree, proved to mean what the text means."""
    hint = "look for unusual operators or syntax and write them as function calls"
    words: list[str] = []
    try:
        ast = parse(described.text)
        before = describe(conn, described.text, qualified=True)
        again = describe(conn, to_sql(ast), qualified=True)
        texts = _squeeze(before.text), _squeeze(again.text)
        if texts[0] == texts[1] and again.functions == described.functions:
            return ast
        words = _where_they_part(*texts)
    except SqlglotError as error:
        near = error.errors[0] if isinstance(error, ParseError) and error.errors else {}
        words = f"{near.get('highlight', '')} {near.get('end_context', '')}".split()
    except SteppingError as error:
        said = str(error).splitlines()[0]
        hint = f"write it otherwise, IN of several columns as EXISTS: Postgres says of its own print: {said}"
    patterns = [" ".join(words[:n]) for n in (3, 2, 1) if words]
    raise source.unsupported("SQL that cannot be read back faithfully", *patterns, hint=hint)


def _where_they_part(before: str, again: str) -> list[str]:
    """The words of the first text from the one on that the other text has not there."""
    words = before.split()
    same = takewhile(lambda pair: pair[0] == pair[1], zip(words, again.split(), strict=False))
    return words[len(list(same)) :]


def _squeeze(text: str) -> str:
    one_line = (
        " ".join(text.split()).replace("IS UNKNOWN", "IS NULL").replace("IS NOT UNKNOWN", "IS NOT NULL")
    )
    return _SHORT_FRAME.sub(r"\1 BETWEEN \2 AND CURRENT ROW", one_line)


def _inline_ctes(ast: exp.Expression, source: Source) -> None:
    """Put each CTE in the places where it is read: a query's result does not depend on how often it runs."""
    for with_ in reversed(list(ast.find_all(exp.With))):  # the innermost first: its names hide outer ones
        body = with_.parent
        assert body is not None
        with_.pop()
        ctes = list(with_.expressions)
        for i, cte in enumerate(ctes):
            search = cte.args.get("search")
            query = _with_recursion(cte, source) if _reads_itself(cte) else cte.this
            for reader in (*ctes[i + 1 :], body):
                ordered_by_depth(reader, cte, search, source)
                _replace_table(reader, cte, query)


def _reads_itself(cte: exp.CTE) -> bool:
    return any(not t.db and t.name == cte.alias for t in cte.this.find_all(exp.Table))


def _with_recursion(cte: exp.CTE, source: Source) -> exp.Expression:
    """A recursive CTE as a query of its own."""
    with_columns(cte, source)
    own = exp.Table(this=exp.to_identifier(cte.alias, quoted=True))
    alone = exp.With(expressions=[cte.copy()], recursive=True)
    return exp.Select(expressions=[exp.Star()], from_=exp.From(this=own), with_=alone)


def _limit_no_proof(ast: exp.Expression) -> None:
    """EXISTS (... LIMIT 1): whether there is a row does not depend on how many are asked for."""
    for proof in ast.find_all(exp.Exists):
        query = proof.this
        limit = query.args.get("limit") if isinstance(query, exp.Select) else None
        if isinstance(limit, exp.Limit) and not query.args.get("offset"):
            number = bare(limit.expression)
            if isinstance(number, exp.Literal) and number.name.isdigit() and int(number.name) > 0:
                query.set("limit", None)
                query.set("order", None)


def _replace_table(reader: exp.Expression, cte: exp.Expression, query: exp.Expression) -> None:
    for table in list(reader.find_all(exp.Table)):
        if table.db or table.name != cte.alias:
            continue
        replace_by(table, query.copy(), (cte.args.get("alias") or exp.TableAlias()).args.get("columns"))


def replace_by(table: exp.Table, query: exp.Expression, columns: list[exp.Expression] | None = None) -> None:
    """Put a query in the place of a table in FROM, under its name; `columns` are names for its outputs."""
    columns = (table.args.get("alias") or exp.TableAlias()).args.get("columns") or columns
    alias = exp.TableAlias(this=exp.to_identifier(table.alias_or_name, quoted=True), columns=columns)
    joins = table.args.get("joins")
    if isinstance(query, exp.Values) and not joins:
        query.set("alias", alias)
        table.replace(query)
        return
    kind = exp.Table if isinstance(query, exp.Values) else exp.Subquery  # as they are parsed
    table.replace(kind(this=query, alias=alias, joins=joins))
