"""Alembic plug-in: `alembic revision --autogenerate` and `alembic check` see maintained views.

In `env.py`:

    import pg_stepping.alembic  # noqa: F401

The views are those of the nearest pyproject.toml (see pg_stepping.migrate.declared), or of `pg_stepping=` in
`context.configure()`: a Declaration, a list of Views or the path of a file. A revision has the SQL itself, in
`op.execute`; it needs nothing of pg_stepping when it runs.

Tables that the same revision makes or alters are there when the views are compiled: Alembic's own operations
run in a savepoint before. What is in schema stepping is ours and left out of the comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from alembic.autogenerate import comparators, renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import Operations, ops
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError, DispatchPriority, PriorityDispatchResult
from sqlalchemy import NullPool, create_engine

from pg_stepping.errors import SteppingError
from pg_stepping.frontend.postgres import Connection
from pg_stepping.migrate import Declaration, Migration, View, migrate, read_declaration
from pg_stepping.migrate.database import catalog_for
from pg_stepping.migrate.declared import find_file
from pg_stepping.migrate.formats.alembic import execute

_SCHEMA = "stepping"


class MaintainedViewsOp(ops.MigrateOperation):
    """Makes or drops maintained views by `up`; `down` takes that back, `told` says what it does."""

    def __init__(self, told: Sequence[tuple[str, str]], up: str, down: str) -> None:
        self.told = tuple(told)
        self.up = up
        self.down = down

    def reverse(self) -> MaintainedViewsOp:
        return MaintainedViewsOp(self.told, self.down, self.up)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        return ("maintained_views", *self.told)


@Operations.implementation_for(MaintainedViewsOp)
def _run(operations: Operations, operation: MaintainedViewsOp) -> None:
    operations.execute(operation.up)


@renderers.dispatch_for(MaintainedViewsOp)
def _render(context: AutogenContext, operation: MaintainedViewsOp) -> str:
    return execute(operation.up, str(context.opts.get("alembic_module_prefix") or ""))


@comparators.dispatch_for("schema", qualifier="postgresql", priority=DispatchPriority.FIRST)
def _leave_out_ours(
    context: AutogenContext, upgrade: ops.UpgradeOps, schemas: set[str | None]
) -> PriorityDispatchResult:
    schemas.discard(_SCHEMA)
    return PriorityDispatchResult.CONTINUE


@comparators.dispatch_for("schema", qualifier="postgresql", priority=DispatchPriority.LAST)
def _compare(
    context: AutogenContext, upgrade: ops.UpgradeOps, schemas: Iterable[str | None]
) -> PriorityDispatchResult:
    """Add what the maintained views need: drops before everything else, new ones after it."""
    own = list(_flat(upgrade.ops))
    try:
        declaration = _declaration(context)
        with _connection(context) as (conn, there):
            changes = migrate(conn, declaration, before=_before(there, own) if own else None)
            prelude = catalog_for(conn, [c.new for c in changes if c.new is not None])
    except SteppingError as error:
        raise CommandError(f"pg_stepping: {error}") from error
    migration = Migration(tuple(changes), prelude)
    told = [(c.kind, str(c.view)) for c in changes]
    if migration.drops:
        upgrade.ops.insert(0, MaintainedViewsOp(told, migration.drops, migration.restores))
    if migration.creates:
        upgrade.ops.append(MaintainedViewsOp(told, migration.creates, migration.undoes))
    return PriorityDispatchResult.CONTINUE


def _flat(operations: Iterable[ops.MigrateOperation]) -> Iterator[ops.MigrateOperation]:
    for operation in operations:
        if isinstance(operation, ops.OpContainer):
            yield from _flat(operation.ops)
        else:
            yield operation


def _before(there: MigrationContext, own: Sequence[ops.MigrateOperation]) -> Callable[[], None]:
    def run() -> None:
        operations = Operations(there)
        for operation in own:
            operations.invoke(operation)

    return run


def _declaration(context: AutogenContext) -> Declaration:
    given = context.opts.get("pg_stepping")
    if isinstance(given, Declaration):
        return given
    if isinstance(given, (str, Path)):
        return read_declaration(Path(given))
    if given is not None:
        views = tuple(given)
        if not all(isinstance(v, View) for v in views):
            raise CommandError(
                "pg_stepping= in context.configure() is a Declaration, a path or a list of Views"
            )
        return Declaration(views)
    environment = context.migration_context.environment_context
    config = environment.config.config_file_name if environment is not None else None
    return read_declaration(find_file(Path(config).parent if config else None))


@contextmanager
def _connection(context: AutogenContext) -> Iterator[tuple[Connection, MigrationContext]]:
    """Alembic's own connection, if psycopg 3 drives it; else one beside it, with the operations on it."""
    connection = context.connection
    if connection is None:
        raise CommandError("pg_stepping: autogenerate needs a connection")
    raw = connection.connection.driver_connection
    if isinstance(raw, psycopg.Connection):
        yield raw, context.migration_context
        return
    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    given = connection.engine.url
    query = {k: v for k, v in given.query.items() if k in known}
    url = given.set(drivername="postgresql+psycopg", query=query)
    with create_engine(url, poolclass=NullPool).connect() as beside:
        other: Any = beside.connection.driver_connection
        yield other, MigrationContext.configure(beside)
