"""What a statement changes in a view, for actions: triggers on the view's state table.

They fire only while a setting of the view, local to the transaction, is not empty, and append the rows that
went and came to it, their values as texts. The client makes rows of these when somebody looks at them. A
view that puts several state tables together when it is read has none: it is read whole, before and after.
What is run so often stands in functions made for it: there each statement is planned once a session.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any

from psycopg.adapt import Transformer
from psycopg.postgres import types as known_types
from psycopg.pq import Format
from sqlglot import exp

from pg_stepping.backend.settings import dollar_tag, text_settings
from pg_stepping.errors import ViewNotFound
from pg_stepping.frontend.dialect import parse, quote_name, quote_text, to_sql
from pg_stepping.frontend.postgres import Connection, execute, qualified_names, run_script
from pg_stepping.frontend.python.graph import Kept

SEARCH_PATH = "pg_catalog, pg_temp"
_EVENTS = {"INSERT": ("", "NEW TABLE AS new_rows"), "DELETE": ("OLD TABLE AS old_rows", "")}
_EVENTS["UPDATE"] = (_EVENTS["DELETE"][0], _EVENTS["INSERT"][1])


def setting(schema: str, name: str) -> str:
    """The setting that gathers the changes of a view."""
    digest = hashlib.sha256(f"{schema}.{name}".encode()).hexdigest()
    return f"stepping.changed_{digest[:16]}"


def gather_name(state: str) -> str:
    """The function, in schema stepping, of the triggers on a state table: it goes with the view."""
    return f"{state}__gather"


def state_of(conn: Connection, schema: str, name: str) -> tuple[str, str, str] | None:
    """The state table of a view, and the view's SELECT over what goes from it, and over what comes.

    None for a view that puts several state tables, or several rows of one, together when it is read.
    """
    with qualified_names(conn):  # the triggers run without the session's search_path
        rows = execute(
            conn,
            """SELECT v.stages, pg_get_viewdef(to_regclass(format('%%I.%%I', v.schema_name, v.view_name))),
                      v.stripes
               FROM stepping.maintained_view AS v WHERE v.schema_name = %s AND v.view_name = %s""",
            [schema, name],
        ).fetchall()
    if not rows:
        hint = "StorePostgres.from_graph(conn, graph, create_tables=True) makes it"
        raise ViewNotFound(f"there is no maintained view {schema}.{name}", hint=hint)
    [(stages, text, stripes)] = rows
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


def follow_changes(conn: Connection, schema: str, kept: Kept, *, create: bool) -> str | None:
    """The state table of a view whose changes actions see, by triggers as they would be made now.

    With `create` they are made, or made anew, if the view has one state table. None if there are none.
    """
    found = state_of(conn, schema, kept.name)
    if found is None:
        return None
    state, old, new = found
    name = gather_name(state)
    gathers = setting(schema, kept.name)
    doubled = (part.replace('"', '""') for part in (schema, kept.name))
    view = ".".join(f'"{part}"' for part in doubled)  # as has_table_privilege() reads names
    text = _gathering(gathers, view, kept.published, old, new)
    made = execute(
        conn,
        """SELECT p.prosrc FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
           WHERE t.tgrelid = to_regclass(%s) AND t.tgname = 'capture_insert'""",
        [f"stepping.{quote_name(state)}"],
    ).fetchone()
    if made is not None and made[0] == text:
        return state
    if not create:
        return None
    for event in _EVENTS if made is not None else ():
        execute(conn, f"DROP TRIGGER capture_{event.lower()} ON stepping.{quote_name(state)}")
    pinned = {"search_path": SEARCH_PATH, **text_settings(kept.types)}
    function(conn, name, "", "trigger", text, pinned, definer=True)
    when = f"WHEN (current_setting({quote_text(gathers)}, true) <> '')"
    run_script(conn, trigger(state, "capture", quote_name(name), [], when))
    return state


def _gathering(gathers: str, view: str, columns: Sequence[str], old: str, new: str) -> str:
    """The body of a trigger function that appends what went and came to the setting `gathers`.

    Its queries stand in it as they are, so each is planned once a session. Who sets the setting must be one
    who may read the view.
    """
    gone, came = (_as_texts(of, count, columns) for of, count in ((old, -1), (new, 1)))
    told = [
        f"""SELECT string_agg(v.line, ''), has_table_privilege(writer, {quote_text(view)}, 'SELECT')
            AND NOT (SELECT c.relrowsecurity FROM pg_class AS c WHERE c.oid = TG_RELID)
        INTO told, allowed FROM ({rows}) AS v"""
        for rows in (came, gone, f"{gone} UNION ALL {came}")
    ]
    return f"""
#variable_conflict use_column
DECLARE
    writer name := coalesce(nullif(current_setting('role'), 'none'), session_user);
    told text;
    allowed boolean;
BEGIN
    IF TG_OP = 'INSERT' THEN  -- an upsert that only updates fires this, too
        PERFORM FROM new_rows;
        IF NOT FOUND THEN
            RETURN NULL;
        END IF;
        {told[0]};
    ELSIF TG_OP = 'DELETE' THEN
        {told[1]};
    ELSE
        {told[2]};
    END IF;
    IF told IS NULL THEN
        RETURN NULL;
    END IF;
    IF NOT allowed THEN
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = concat('role ', writer, ' may not see what changes in view ', {quote_text(view)}),
            HINT = 'An action returns that: GRANT SELECT on the view, without row security, or write by SQL.';
    END IF;
    told := set_config({quote_text(gathers)}, concat(current_setting({quote_text(gathers)}), told), true);
    RETURN NULL;
END
"""


def _as_texts(rows: str, count: int, columns: Sequence[str]) -> str:
    """A SELECT of a text for each row: an array in JSON, its count before its values, and a comma."""
    listed = ", ".join([quote_text(str(count)), *(f"w.{quote_name(column)}::text" for column in columns)])
    return f"SELECT array_to_json(ARRAY[{listed}])::text || ',' AS line FROM ({rows}) AS w"


def function(
    conn: Connection,
    name: str,
    takes: str,
    returns: str,
    body: str,
    pinned: Mapping[str, str] = MappingProxyType({}),
    *,
    definer: bool = False,
) -> None:
    """Make a function in schema stepping, which goes with the view of the state that its name begins with.

    One with `pinned` settings runs with its owner's rights, if it is the `definer`.
    """
    tag = dollar_tag("body", body)
    kept = {key: value if key == "search_path" else quote_text(value) for key, value in pinned.items()}
    runs = "".join(["SECURITY DEFINER" if definer else "", *(f"\nSET {k} = {v}" for k, v in kept.items())])
    says = "Tells what changes in a maintained view."
    run_script(
        conn,
        f"CREATE OR REPLACE FUNCTION stepping.{quote_name(name)}({takes}) RETURNS {returns}\n"
        f"LANGUAGE plpgsql {runs}\nAS {tag}{body}{tag};\n"
        f"COMMENT ON FUNCTION stepping.{quote_name(name)} IS {quote_text(says)};",
    )


def gathered(text: str, columns: Sequence[str]) -> Iterator[tuple[int, list[Any]]]:
    """What is in the setting: the count of each row, and its values as psycopg reads these types."""
    loads = [_loader(kind) for kind in columns]
    for count, *values in json.loads(text.rstrip(",") + "]"):
        made = [None if v is None else load(v.encode()) for load, v in zip(loads, values, strict=True)]
        yield int(count), made


@cache
def _loader(kind: str) -> Callable[[bytes], Any]:
    """How psycopg reads a type's text; that of a bool is the cast's, not the output function's."""
    if kind == "boolean":
        return lambda text: text == b"true"
    return Transformer().get_loader(known_types.get_oid(kind), Format.TEXT).load
