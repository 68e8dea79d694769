"""The query of a view over other views, in place of some that it reads."""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

from pg_stepping.frontend.dialect import parse, to_sql
from pg_stepping.frontend.postgres import Connection
from pg_stepping.frontend.sql.expansion import replace_by
from pg_stepping.frontend.tables import ordinary_view
from pg_stepping.ir import Table


def reading(conn: Connection, query: str, instead: Mapping[Table, Table]) -> str:
    """The canonical `query` with other views in place of some, under the names of these.

    An ordinary view that reads one of them is written out.
    """
    ast = parse(query)
    _replace(conn, ast, instead)
    return to_sql(ast)


def _replace(conn: Connection, ast: exp.Expression, instead: Mapping[Table, Table]) -> bool:
    replaced = False
    for item in list(ast.find_all(exp.Table)):
        view = Table(item.db, item.name)
        if view in instead:
            if not item.args.get("alias"):
                alias = exp.TableAlias(this=exp.to_identifier(view.name, quoted=True))
                item.set("alias", alias)
            item.set("this", exp.to_identifier(instead[view].name, quoted=True))
            item.set("db", exp.to_identifier(instead[view].schema, quoted=True))
            replaced = True
        elif item.db and (definition := ordinary_view(conn, view)) is not None:
            inner = parse(definition)
            if _replace(conn, inner, instead):
                replace_by(item, inner)
                replaced = True
    return replaced
