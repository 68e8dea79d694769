"""The command line: `pg-stepping COMMAND`; operating is in operate.py, migrations are in migrate/."""

from __future__ import annotations

import sys
from functools import partial
from typing import IO, Any

import click
import psycopg
from click.core import ParameterSource

import pg_stepping
from pg_stepping import catalog, operate
from pg_stepping.backend.script import LANGUAGES
from pg_stepping.catalog import init_script
from pg_stepping.compiler import MODES
from pg_stepping.console import Steps, connected, table
from pg_stepping.delta.terms import regclass
from pg_stepping.explain import FORMATS, explain
from pg_stepping.frontend.postgres import Connection
from pg_stepping.logs import vacuum
from pg_stepping.migrate.commands import IMPORT, diff, generate
from pg_stepping.migrate.declared import import_modules
from pg_stepping.worker import MUCH, STEP, pending_of, worker

_MODE_HELP = "immediate: writers maintain the view; deferred: they append to a log, readers see it at once."
_STRIPES_HELP = "Spread each group over so many rows, for many writers of one group; the view sums them."
_DSN_HELP = "Conninfo string or URL of the database; default: the PG* variables."
_INDEX_HELP = "Published columns of a further index, separated by commas; may be repeated."


def _note_dsn(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.obj = value


class _Commands(click.Group):
    """Turns our errors, and Postgres's, into one message on stderr and exit status 2."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Every command takes --dsn, before its name or after it."""
        cmd.params.append(click.Option(["--dsn"], help=_DSN_HELP, expose_value=False, callback=_note_dsn))
        super().add_command(cmd, name)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UnicodeDecodeError as error:
            self._fail(f"a file is not text in UTF-8: {error}")
        except pg_stepping.SteppingError as error:
            self._fail(f"{error} (SQLSTATE {error.sqlstate})")
        except psycopg.Error as error:
            state = f" (SQLSTATE {error.sqlstate})" if error.sqlstate else ""
            self._fail(f"{str(error).strip()}{state}")

    def _fail(self, message: str) -> None:
        click.echo(f"pg-stepping: {message}", err=True)
        sys.exit(2)


@click.group(cls=_Commands)
@click.version_option(pg_stepping.__version__, prog_name="pg-stepping")
@click.option("--dsn", default="", help=_DSN_HELP)
@click.pass_context
def main(ctx: click.Context, dsn: str) -> None:
    """Maintained views for plain PostgreSQL: the result of a query, always right, kept by triggers."""
    ctx.obj = dsn


def _indexes(values: tuple[str, ...]) -> list[list[str]]:
    return [[column.strip() for column in value.split(",")] for value in values]


def _is_complete(conn: Connection, name: str, schema: str | None) -> bool:
    """Whether there is such a view, and it is not one that is being filled."""
    view = pg_stepping.installed(conn, name, schema=schema)
    sql = "SELECT to_regclass(%s) IS NOT NULL"
    return view is not None and conn.execute(sql, [regclass(view.table)]).fetchone() == (True,)


def _check_stripes(conn: Connection, name: str, schema: str | None, stripes: int) -> None:
    view = pg_stepping.installed(conn, name, schema=schema)
    if view is not None and stripes not in (0, view.stripes):
        raise click.UsageError(f"{name} is in {view.stripes} stripes: drop it to change that.")


def _tell_rows(rows: int) -> None:
    click.echo(f"about {rows} rows to read", err=True)


def _view_options(command: Any, *, required: bool = True) -> Any:
    for option in (
        click.option("--index", "indexes", multiple=True, metavar="COLUMNS", help=_INDEX_HELP),
        click.option("--language", type=click.Choice(LANGUAGES), help="Default: plpython3u if it is there."),
        click.option("--schema", help="Schema of the view; default: the first of search_path."),
        IMPORT,
        click.argument("query", type=click.File("r", encoding="utf-8-sig"), required=required),
        click.argument("name"),
    ):  # fmt: skip
        command = option(command)
    return command


@main.command()
@click.option("--print", "print_only", is_flag=True, help="Print the SQL instead of running it.")
@click.option("--superuser-script", is_flag=True, help="Print what a superuser runs once, for PL/Python.")
@click.option("--role", help="The role that this script is for.")
@click.pass_context
def init(ctx: click.Context, print_only: bool, superuser_script: bool, role: str | None) -> None:
    """Make the catalog (schema stepping), where CREATE EXTENSION pg_stepping is not to be had.

    Any role may that may create schemas. Only with triggers in PL/Python there is a part for a superuser.
    """
    if superuser_script != (role is not None):
        raise click.UsageError("--superuser-script and --role go together.")
    if print_only or role is not None:
        click.echo(init_script() if role is None else catalog.superuser_script(role), nl=False)
        return
    with connected(ctx) as conn:
        pg_stepping.init(conn)
    click.echo("the catalog is there, in schema stepping", err=True)


main.add_command(generate)
main.add_command(diff)


@main.command()
@_view_options
@click.option("--mode", type=click.Choice(MODES), default="immediate", help=_MODE_HELP)
@click.option("--stripes", default=0, help=_STRIPES_HELP)
@click.option("--or-replace", is_flag=True, help="Change the view if it is there.")
@click.option("--online", is_flag=True, help="Fill it while its tables are written; goes on if interrupted.")
@click.pass_context
def create(
    ctx: click.Context,
    name: str,
    query: IO[str],
    schema: str | None,
    language: str | None,
    indexes: tuple[str, ...],
    or_replace: bool,
    online: bool,
    mode: str,
    imports: tuple[str, ...],
    stripes: int,
) -> None:
    """Make view NAME of the SELECT in file QUERY (- for stdin), and fill it.

    With --online writers go on meanwhile: run it again if it was interrupted, or drop NAME to undo it.
    """
    import_modules(imports)
    if online:
        with connected(ctx, autocommit=True) as conn:
            if or_replace and _is_complete(conn, name, schema):
                _check_stripes(conn, name, schema, stripes)
                change = pg_stepping.change_view(
                    conn,
                    name,
                    query.read(),
                    schema=schema,
                    language=language,
                    indexes=_indexes(indexes),
                    online=True,
                    progress=Steps(),
                    estimated=_tell_rows,
                )
                click.echo(str(change), err=True)
                return
            pg_stepping.create_view_online(
                conn,
                name,
                query.read(),
                schema=schema,
                language=language,
                indexes=_indexes(indexes),
                mode=mode,
                stripes=stripes,
                progress=Steps(),
                estimated=_tell_rows,
            )
        click.echo(f"view {name} is maintained from now on", err=True)
        return
    with connected(ctx) as conn:
        there = pg_stepping.installed(conn, name, schema=schema) if or_replace else None
        if there is not None:
            _check_stripes(conn, name, schema, stripes)
            conn.rollback()
            conn.autocommit = True
            change = pg_stepping.change_view(
                conn, name, query.read(), schema=schema, language=language, indexes=_indexes(indexes)
            )
            click.echo(str(change), err=True)
            if ctx.get_parameter_source("mode") == ParameterSource.COMMANDLINE:
                pg_stepping.switch_view(conn, name, mode=mode, schema=schema)
            return
        pg_stepping.create_view(
            conn,
            name,
            query.read(),
            schema=schema,
            language=language,
            indexes=_indexes(indexes),
            mode=mode,
            stripes=stripes,
        )
    click.echo(f"view {name} is maintained from now on", err=True)


@main.command()
@partial(_view_options, required=False)
@click.option("--plan", is_flag=True, help="Show what it takes, and do nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--online", is_flag=True, help="Make a new version while the tables are written.")
@click.pass_context
def change(
    ctx: click.Context,
    name: str,
    query: IO[str] | None,
    schema: str | None,
    language: str | None,
    indexes: tuple[str, ...],
    plan: bool,
    yes: bool,
    online: bool,
    imports: tuple[str, ...],
) -> None:
    """Give view NAME the SELECT in file QUERY (- for stdin); what reads it, grants and comments stay.

    What it takes is shown first: the steps, the rows to be read and the locks. Indexes stay as they are
    unless some are given. With --online writers go on meanwhile: run it again if it was interrupted.
    Without QUERY the view keeps its own: it is made anew where `status` says that an older version made it
    with a fault.
    """
    import_modules(imports)
    text = query.read() if query is not None else None
    chosen = _indexes(indexes) if indexes else None
    with connected(ctx, autocommit=True) as conn:
        change = pg_stepping.plan_change(
            conn, name, text, schema=schema, language=language, indexes=chosen, online=online
        )
        click.echo(str(change))
        if plan or change.kind == "nothing":
            return
        if not yes:
            click.confirm("Do it?", abort=True, err=True)
        pg_stepping.change_view(
            conn,
            name,
            text,
            schema=schema,
            language=language,
            indexes=chosen,
            online=online,
            progress=Steps(),
            estimated=_tell_rows,
        )
    click.echo(f"view {name} {'has its new query' if text else 'is made anew'}", err=True)


@main.command()
@click.argument("name")
@click.option("--schema", help="Schema of the view.")
@click.option("--limit", type=click.IntRange(1), default=STEP, show_default=True, help="Changes in one step.")
@click.pass_context
def apply(ctx: click.Context, name: str, schema: str | None, limit: int) -> None:
    """Bring the state of view NAME, which is in deferred mode, up to date with its logs.

    A long log is applied in steps, each a transaction of its own; interrupted, what was applied stays so.
    """
    with connected(ctx, autocommit=True) as conn:
        waiting = {p.view: p.changes for p in pending_of(conn)}
        view = pg_stepping.installed(conn, name, schema=schema)
        total = waiting.get(view.table, 0) if view is not None else 0
        progress, applied = Steps(), 0
        while True:
            step = pg_stepping.apply(conn, name, limit=limit, schema=schema)
            applied += step
            if total > limit:
                progress("apply", min(applied / total, 1))
            if step == 0 or applied >= total:
                break
        if view is not None and applied >= MUCH:
            vacuum(conn, view.stages[-1], shorter=True)
    click.echo(f"view {name}: {applied} changes applied", err=True)


@main.command()
@click.argument("name")
@click.option("--mode", type=click.Choice(MODES), required=True, help=_MODE_HELP)
@click.option("--schema", help="Schema of the view.")
@click.pass_context
def switch(ctx: click.Context, name: str, mode: str, schema: str | None) -> None:
    """Bring view NAME to the other mode without computing it anew, while its tables are written."""
    with connected(ctx, autocommit=True) as conn:
        pg_stepping.switch_view(conn, name, mode=mode, schema=schema)
    click.echo(f"view {name} is in {mode} mode", err=True)


@main.command()
@click.argument("name")
@click.option("--schema", help="Schema of the view.")
@click.pass_context
def drop(ctx: click.Context, name: str, schema: str | None) -> None:
    """Drop view NAME and all that belongs to it; the tables that it reads stay."""
    with connected(ctx) as conn:
        pg_stepping.drop_view(conn, name, schema=schema)
    click.echo(f"view {name} is gone", err=True)


@main.command(name="explain")
@click.argument("name", required=False)
@click.option("--schema", help="Schema of the view.")
@click.option("--format", "format_", type=click.Choice(list(FORMATS)), default="text", show_default=True)
@click.option("--analyze", metavar="STATEMENT", help="Run a statement, time its maintenance, roll it back.")
@click.pass_context
def explain_command(
    ctx: click.Context, name: str | None, schema: str | None, format_: str, analyze: str | None
) -> None:
    """Show the plan of view NAME, and what runs when each of its tables changes.

    With --analyze, and no NAME: what a statement makes the maintenance of all views do.
    """
    if (name is None) is (analyze is None):
        raise click.UsageError("give the name of a view, or --analyze STATEMENT")
    with connected(ctx) as conn:
        if analyze is None:
            click.echo(explain(conn, name or "", schema=schema, format=format_), nl=False)
            return
        analysis = pg_stepping.explain_analyze(conn, analyze)
        click.echo(table(analysis.as_rows()))
    click.echo(
        f"{analysis.time:.3f} ms in all, of which {analysis.maintenance:.3f} ms maintenance; rolled back"
    )


@main.command(name="list")
@click.pass_context
def list_command(ctx: click.Context) -> None:
    """List the maintained views of the database."""
    with connected(ctx) as conn:
        views = pg_stepping.list_views(conn)
        pending = {p.view: p.changes for p in pending_of(conn)} if views else {}
    for view in views:
        waits = f"\t{pending[view.table]} pending" if view.table in pending else ""
        click.echo(
            f"{view.table}\t{view.language}\t{view.version}\t{view.fingerprint[:12]}\t{view.mode}{waits}"
        )
    click.echo(f"{len(views)} maintained views", err=True)


for command in (operate.verify, operate.repair, operate.why, operate.status, operate.top, worker):
    main.add_command(command)


if __name__ == "__main__":
    main()
