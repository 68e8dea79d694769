"""What a statement changes in a view, for actions: triggers on the view's state table.

They fire only while a setting of the view, local to the transaction, is not empty, and append the rows that
went and came to it, their values as texts (sql/19_changes.sql). The client makes rows of these when somebody
looks at them. A view that puts several state tables together when it is read has none: it is read whole,
before and after.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from psycopg.adapt import Transformer
from psycopg.postgres import types as known_types
from psycopg.pq import Format
from sqlglot import exp

from pg_stepping.frontend.dialect import parse, quote_name, quote_text, to_sql
from pg_stepping.frontend.postgres import Connection, execute, qualified_names

_EVENTS = {"INSERT": ("", "NEW TABLE AS new_rows"), "DELETE": ("OLD TABLE AS old_rows", "")}
_EVENTS["UPDATE"] = (_EVENTS["DELETE"][0], _EVENTS["INSERT"][1])


def setting(schema: str, name: str) -> str:
    """The setting that gathers the changes of a view."""
    digest = hashlib.sha256(f"{schema}.{name}".encode()).hexdigest()
    return f"stepping.changed_{digest[:16]}"


def state_of(conn: Connection, schema: str, name: str) -> tuple[str, str, str] | None:
    """The state table of a view, and the view's SELECT over what goes from it, and over what comes.

    None for a view that puts several state tables, or several rows of one, together when it is read.
    """
    with qualified_names(conn):  # the triggers run without the session's search_path
        [(stages, text, stripes)] = execute(
            conn,
            """SELECT v.stages, pg_get_viewdef(to_regclass(format('%%I.%%I', v.schema_name, v.view_name))),
                      v.stripes
               FROM stepping.maintained_view AS v WHERE v.schema_name = %s AND v.view_name = %s""",
            [schema, name],
        ).fetchall()
    stage = stages[-1]
    read = {t.name for t in parse(text.rstrip().rstrip(";")).find_all(exp.Table) if t.db == "stepping"}
    if read != {stage} or stripes:
        return None
    return stage, _over("old_rows", text, stage), _over("new_rows", text, stage)


def _over(rows: str, text: str, stage: str) -> str:
    query = parse(text.rstrip().rstrip(";"))
    for table in query.find_all(exp.Table):
        if table.name == stage:
            if not table.alias:
                table.set("alias", exp.TableAlias(this=exp.to_identifier(stage, quoted=True)))
            table.set("this", exp.to_identifier(rows))
            table.set("db", None)
    return to_sql(query)


def trigger(state: str, what: str, function: str, arguments: list[str], condition: str = "") -> str:
    """CREATE TRIGGER for each event of a state table."""
    listed = ", ".join(quote_text(a) for a in arguments)
    created = [
        f"CREATE TRIGGER {quote_name(f'{what}_{event.lower()}')} AFTER {event}\n"
        f"    ON stepping.{quote_name(state)} REFERENCING {' '.join(filter(None, tables))}\n"
        f"    FOR EACH STATEMENT {condition} EXECUTE FUNCTION stepping.{function}({listed});"
        for event, tables in _EVENTS.items()
    ]
    return "\n".join(created)


def are_there(conn: Connection, state: str, what: str, arguments: list[str]) -> bool | None:
    """Whether the triggers that `trigger` makes have these arguments; None if they are not there."""
    row = execute(
        conn,
        """SELECT tgargs, ARRAY(SELECT convert_to(a, getdatabaseencoding())
                                FROM unnest(%s::text[]) WITH ORDINALITY AS u (a, place) ORDER BY place)
           FROM pg_trigger WHERE tgrelid = to_regclass(%s) AND tgname = %s""",
        [arguments, f"stepping.{quote_name(state)}", f"{what}_insert"],
    ).fetchone()
    return None if row is None else bytes(row[0]).split(b"\0")[:-1] == [bytes(a) for a in row[1]]


def follow_changes(conn: Connection, schema: str, name: str, columns: Sequence[str], *, create: bool) -> bool:
    """Whether actions see the changes of a view with these columns, by triggers as they would be made now.

    With `create` they are made, or made anew, if the view has one state table.
    """
    found = state_of(conn, schema, name)
    if found is None:
        return False
    state, old, new = found
    gathers = setting(schema, name)
    view = f"{quote_name(schema)}.{quote_name(name)}"
    arguments = [gathers, _as_texts(old, -1, columns), _as_texts(new, 1, columns), view]
    made = are_there(conn, state, "capture", arguments)
    if made or not create:
        return made is True
    for event in _EVENTS if made is False else ():
        execute(conn, f"DROP TRIGGER capture_{event.lower()} ON stepping.{quote_name(state)}")
    when = f"WHEN (current_setting({quote_text(gathers)}, true) <> '')"
    conn.execute(trigger(state, "capture", "gather_changes", arguments, when).encode())
    return True


def _as_texts(rows: str, count: int, columns: Sequence[str]) -> str:
    """A SELECT of one text: for each row an array in JSON, its count before its values, and a comma."""
    listed = ", ".join([quote_text(str(count)), *(f"v.{quote_name(column)}::text" for column in columns)])
    return f"SELECT string_agg(array_to_json(ARRAY[{listed}])::text || ',', '') FROM ({rows}) AS v"


def gathered(text: str, columns: Sequence[str]) -> Iterator[tuple[int, list[Any]]]:
    """What is in the setting: the count of each row, and its values as psycopg reads these types."""
    loads = [_loader(kind) for kind in columns]
    for count, *values in json.loads(text.rstrip(",") + "]"):
        made = [None if v is None else load(v.encode()) for load, v in zip(loads, values, strict=True)]
        yield int(count), made


def _loader(kind: str) -> Callable[[bytes], Any]:
    """How psycopg reads a type's text; that of a bool is the cast's, not the output function's."""
    if kind == "boolean":
        return lambda text: text == b"true"
    return Transformer().get_loader(known_types.get_oid(kind), Format.TEXT).load
