"""What changed in a cache since a position, in order and without loss: `changes`.

A feed is a table, `stepping.<view>__changes`, that triggers on the view's state table write to. It is made
when it is first asked for, and begins with the rows that are there. Why nothing is lost: sql/19_changes.sql.

It goes with the state table, where a view is made anew or changed by a new version. Positions begin with the
time, in microseconds: those of the next feed come after all of this one, so a reader of this one is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from pg_stepping.errors import PositionGone, SteppingError, UnsupportedQuery
from pg_stepping.frontend.dialect import quote_name, quote_text
from pg_stepping.frontend.postgres import run_script, savepoint
from pg_stepping.frontend.python.cache import Cache
from pg_stepping.frontend.python.capture import SEARCH_PATH, are_there, function, state_of, trigger
from pg_stepping.frontend.python.graph import Kept
from pg_stepping.frontend.python.memory import StorePython
from pg_stepping.frontend.python.render import weight_name
from pg_stepping.frontend.python.rows import named_leaves, reader
from pg_stepping.frontend.python.store import StorePostgres
from pg_stepping.frontend.python.writing import run

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RowChange(Generic[T]):
    """At `position`, `row` came (`count` above zero) or went (below)."""

    position: int
    row: T
    count: int


def changes(store: StorePostgres | StorePython, cache: Cache[T], since: int = 0) -> list[RowChange[T]]:
    """What changed in a cache after the position `since`, in order.

    All changes since 0 add up to the rows that are there. In Postgres the first call makes the feed, which
    waits for the writers of the view; from then on its writers wait for each other until they commit. Raises
    UnsupportedQuery for a view that puts several state tables together when it is read, and PositionGone for
    a position of a feed that went with an earlier version of the view: begin again at 0 then.
    """
    kept = store.kept(cache)
    if isinstance(store, StorePython):
        return [RowChange(*entry) for entry in store.log[kept] if entry[0] > since]
    feed = _feed(store, kept)
    _check_position(store, kept, feed, since)
    names = [quote_name(name) for name, _ in named_leaves(kept.operator.row)]
    count = _quoted_count(kept)
    if kept.operator.signed:
        count += f" * {quote_name(weight_name(kept.operator))}"
    listed = ", ".join(f"{feed}.{name}" for name in names)
    rows = run(
        store.conn,
        f"SELECT {_position(kept)}, {listed}, {count} FROM stepping.{feed}"
        f" WHERE {_position(kept)} > %s ORDER BY 1",
        [since],
    )
    read = reader(kept.operator.row)
    return [RowChange(position, read(values), n) for position, *values, n in rows]


def _check_position(store: StorePostgres, kept: Kept, feed: str, since: int) -> None:
    sql = """SELECT seqstart FROM pg_sequence
             WHERE seqrelid = pg_get_serial_sequence(%s, %s)::regclass AND %s BETWEEN 1 AND seqstart - 1"""
    for (begins,) in run(store.conn, sql, [f"stepping.{feed}", _own(kept, "position"), since]):
        raise PositionGone(
            f"position {since} is of a feed of {kept.name} that went when the view was made anew",
            hint=f"begin again at 0: all changes from there, which is position {begins}, add up to its rows",
        )


def _recording(target: str, old: str, new: str) -> str:
    """The body of a trigger function that writes the feed, with the rights of who writes the state.

    What it runs stands in it, so each statement is planned once a session; the trigger has it as arguments,
    too, by which a feed of another query is told.
    """
    return f"""
#variable_conflict use_column
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO {target} SELECT -1, v.* FROM ({old}) AS v;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO {target} SELECT 1, v.* FROM ({new}) AS v;
    END IF;
    RETURN NULL;
END
"""


_OWNER = """
SELECT relowner::regrole::text FROM pg_class
WHERE oid = %s::regclass AND pg_get_userbyid(relowner) <> current_user"""


def _own(kept: Kept, name: str) -> str:
    """The name of a column of the feed's own, which no column of the rows has."""
    taken = {n for n, _ in named_leaves(kept.operator.row)}
    while name in taken:
        name += "_"
    return name


def _position(kept: Kept) -> str:
    return quote_name(_own(kept, "position"))


def _quoted_count(kept: Kept) -> str:
    return quote_name(_own(kept, "count"))


def _feed(store: StorePostgres, kept: Kept) -> str:
    """The table of the feed, in schema stepping; it is made if it is not there."""
    conn = store.conn
    found = state_of(conn, store.schema, kept.name)
    if found is None:
        raise UnsupportedQuery(
            f"the changes of {kept.name}, which puts several state tables together when it is read",
            hint="read the changes of the caches that it is made of",
        )
    state, old, new = found
    feed = quote_name(f"{state}__changes")
    view = f"{quote_name(store.schema)}.{quote_name(kept.name)}".replace("%", "%%")
    columns = [quote_name(name) for name in kept.published]
    target = f"stepping.{feed} ({', '.join([_quoted_count(kept), *columns])})"
    table = f"stepping.{quote_name(state)}"
    arguments = [target, *(f"SELECT {', '.join(columns)} FROM ({of}) AS v" for of in (old, new))]
    made = are_there(conn, state, "feed", arguments)
    if made:
        return feed
    if made is False:
        events = ("lock", "insert", "update", "delete")
        dropped = "".join(f" DROP TRIGGER feed_{event} ON {table};" for event in events)
        raise SteppingError(
            f"the feed stepping.{feed} tells the changes of an earlier query of {kept.name}",
            hint=f"have it begin anew, and read it from 0:{dropped} DROP TABLE stepping.{feed};",
            sqlstate="55000",
        )
    [(begins,)] = run(conn, "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
    statements = [
        f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE",
        f"CREATE TABLE stepping.{feed} ({_position(kept)} bigint GENERATED ALWAYS AS IDENTITY"
        f" (START WITH {begins}) PRIMARY KEY,"
        f" {_quoted_count(kept)} bigint NOT NULL, LIKE {view})",
        f"COMMENT ON TABLE stepping.{feed} IS {quote_text('What changed in a maintained view.')}",
        f"INSERT INTO {target.replace('%', '%%')} SELECT 1, {', '.join(columns)} FROM {view}",
        f"CREATE TRIGGER feed_lock BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}"
        f" FOR EACH STATEMENT EXECUTE FUNCTION stepping.lock_feed({quote_text(feed)})",
    ]
    with savepoint(conn):
        for statement in statements:
            run(conn, statement)
        recording = f"{state}__record"
        function(conn, recording, "", "trigger", _recording(*arguments), {"search_path": SEARCH_PATH})
        run_script(conn, trigger(state, "feed", quote_name(recording), arguments))
        for (owner,) in run(conn, _OWNER, [f"stepping.{quote_name(state)}"]):
            run_script(conn, f"ALTER TABLE stepping.{feed} OWNER TO {owner}")  # the trigger has his rights
    return feed
