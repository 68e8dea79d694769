"""The catalog in schema `stepping`: making it, and what it says of the views that are maintained."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from pg_stepping.errors import InsufficientPrivilege, InvalidQuery, SteppingError, ViewNotFound
from pg_stepping.frontend.dialect import quote_name
from pg_stepping.frontend.postgres import Connection, execute, run_script
from pg_stepping.ir import Table
from pg_stepping.session import guarded
from pg_stepping.shipped import MAINTAINER, catalog_sql, plpython_sql, python_sql, superuser_sql, version


@dataclass(frozen=True, slots=True)
class Installed:
    """A maintained view as the catalog has it.

    `query` is canonical SQL, `recompute` what `verify` compares with; `stages` are its state tables;
    `expands` are the ordinary views that it reads, with the definitions that they had.
    """

    schema: str
    name: str
    query: str
    recompute: str
    language: str
    indexes: tuple[tuple[str, ...], ...]
    settings: tuple[tuple[str, str], ...]
    stages: tuple[str, ...]
    reads: tuple[str, ...]
    expands: tuple[tuple[Table, str], ...]
    fingerprint: str
    version: str
    mode: str
    stripes: int

    @property
    def table(self) -> Table:
        return Table(self.schema, self.name)


MADE_BY = "obj_description(to_regprocedure('stepping.version()'), 'pg_proc')"


def has_catalog(conn: Connection) -> bool:
    """Whether the database has the catalog, by `init` or as an extension.

    Raises SteppingError if another version made it.
    """
    row = execute(conn, f"SELECT to_regclass('stepping.maintained_view') IS NOT NULL, {MADE_BY}").fetchone()
    if row is None or not row[0]:
        return False
    check_version(row[1])
    return True


def check_version(made_by: str | None) -> None:
    """Raises SteppingError if a catalog was made by another version: it may lack what this one needs."""
    if made_by != version():
        says = f"version {made_by}" if made_by else "an earlier version"
        raise SteppingError(
            f"the catalog in this database was made by {says} of pg_stepping, this is {version()}",
            hint="run pg-stepping init, or ALTER EXTENSION pg_stepping UPDATE, as the role that made it;"
            " the views go on",
            sqlstate="55000",
        )


def init(conn: Connection) -> None:
    """Make the catalog in schema `stepping`, as CREATE EXTENSION pg_stepping would; no-op if it is there.

    Where PL/Python came to the database after the catalog, this adds what its trigger functions share.
    Runs in the caller's transaction and does not commit.
    """
    with guarded(conn):
        run_script(conn, _init_script(conn))


def init_script() -> str:
    """The SQL of `init`; running it twice changes nothing."""
    return f"CREATE SCHEMA IF NOT EXISTS stepping;\n\n{_catalog_script()}"


def _catalog_script() -> str:
    return f"{catalog_sql()}\n{plpython_sql()}"


def _init_script(conn: Connection) -> str:
    """The SQL of `init` for this database: a role that may not create schemas may have been given this
    one.
    """
    row = execute(conn, "SELECT to_regnamespace('stepping') IS NOT NULL").fetchone()
    return _catalog_script() if row == (True,) else init_script()


def superuser_script(role: str) -> str:
    """What a superuser runs once, so that `role` can make views with triggers in PL/Python.

    It makes the catalog too, with the event triggers that only a superuser can make. `role` must be trusted:
    see the text. Views in PL/pgSQL need no such script.
    """
    name = quote_name(role)
    grants = (
        f"GRANT USAGE, CREATE ON SCHEMA stepping TO {name};\n"
        f"GRANT ALL ON ALL TABLES IN SCHEMA stepping TO {name};\n"
        f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA stepping TO {name};\n"
    )
    return f"{superuser_sql().replace('the_role', name)}\n{init_script()}\n{grants}"


def check_language(conn: Connection, language: str) -> None:
    """Raises InsufficientPrivilege if this role may not make functions in a language."""
    row = execute(
        conn,
        """SELECT current_user, r.rolsuper OR l.lanpltrusted AND has_language_privilege(l.oid, 'USAGE')
           FROM pg_language AS l JOIN pg_roles AS r ON r.rolname = current_user WHERE l.lanname = %s""",
        [language],
    ).fetchone()
    if row is not None and not row[1]:
        hint = (
            'language="plpgsql" needs no superuser; for plpython3u one runs, once, what'
            f" `pg-stepping init --superuser-script --role {row[0]}` prints"
        )
        raise InsufficientPrivilege(f"role {row[0]} may not make functions in {language}", hint=hint)


def prelude(conn: Connection, language: str) -> str:
    """What a view in `language` needs and the database lacks: the catalog, its PL/Python part, or nothing."""
    if not has_catalog(conn):
        return "-- The catalog of pg_stepping, which this database does not have yet.\n" + _init_script(conn)
    sql = "SELECT to_regprocedure(%s) IS NULL, to_regprocedure('stepping.texts_of(jsonb)') IS NULL"
    row = execute(conn, sql, [f"stepping.load_{MAINTAINER}()"]).fetchone()
    assert row is not None
    return "\n".join(
        [
            *([plpython_sql()] if language == "plpython3u" and row[0] else []),
            *([python_sql()] if row[1] else []),
        ]
    )


def target(conn: Connection, name: str, schema: str | None) -> Table:
    """The schema and name that a view called `name` has; `name` may be schema.name."""
    if schema is None and "." in name:
        schema, _, name = name.partition(".")
    for part in (name,) if schema is None else (schema, name):
        if not 0 < len(part.encode()) <= 63 or "\0" in part:
            hint = "a name has 1 to 63 bytes, none of them zero"
            raise InvalidQuery(f"{part!r} is no name for a view or a schema", hint=hint, sqlstate="42602")
    if schema is None:
        row = execute(conn, "SELECT current_schema()").fetchone()
        schema = row[0] if row is not None else None
    if schema is None:
        hint = "set search_path or give schema="
        raise InvalidQuery("there is no schema for the view", hint=hint, sqlstate="3F000")
    return Table(schema, name)


def list_views(conn: Connection) -> list[Installed]:
    """All maintained views of the database, by schema and name."""
    with guarded(conn):
        if not has_catalog(conn):
            return []
        rows = execute(
            conn,
            """SELECT schema_name, view_name, query, recompute, language, indexes::text, settings::text,
                      stages, reads, expands::text, fingerprint, version, mode, stripes
               FROM stepping.maintained_view ORDER BY schema_name, view_name""",
        )
        return [
            Installed(
                schema, name, query, recompute, language, tuple(map(tuple, json.loads(indexes))),
                tuple(json.loads(settings).items()),
                tuple(stages), tuple(reads), tuple((Table(s, v), text) for s, v, text in json.loads(expands)),
                fingerprint, made_by, mode, stripes,
            )
            for schema, name, query, recompute, language, indexes, settings, stages, reads, expands,
                fingerprint, made_by, mode, stripes in rows
        ]  # fmt: skip


def use_settings(conn: Connection, view: Installed) -> None:
    """Compute, until the savepoint ends, with the settings that the view's triggers run with."""
    set_settings(conn, view.settings)


def set_settings(conn: Connection, settings: Iterable[tuple[str, str]]) -> None:
    for name, value in (*settings, ("extra_float_digits", "1")):
        execute(conn, "SELECT set_config(%s, %s, true)", [name, value])


def installed(conn: Connection, name: str, *, schema: str | None = None) -> Installed | None:
    """The maintained view of this name, or None."""
    with guarded(conn):
        view = target(conn, name, schema)
        return next((v for v in list_views(conn) if v.table == view), None)


def found(conn: Connection, name: str, schema: str | None) -> Installed:
    """The maintained view of this name; raises ViewNotFound."""
    view = installed(conn, name, schema=schema)
    if view is None:
        hint = "`pg-stepping list` shows those there are"
        raise ViewNotFound(f"there is no maintained view {name!r}", hint=hint)
    return view
