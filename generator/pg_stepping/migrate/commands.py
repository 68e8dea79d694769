"""The commands `pg-stepping generate` and `pg-stepping diff`."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import click

from pg_stepping.backend.script import LANGUAGES, write_down
from pg_stepping.catalog import check_language
from pg_stepping.compiler import MODES
from pg_stepping.console import connected
from pg_stepping.errors import InsufficientPrivilege, InvalidDeclaration
from pg_stepping.frontend.postgres import Connection
from pg_stepping.migrate.changes import Change
from pg_stepping.migrate.database import catalog_for, migrate
from pg_stepping.migrate.declared import Declaration, View, import_modules, read_declaration
from pg_stepping.migrate.formats import FORMATS
from pg_stepping.migrate.migration import Migration
from pg_stepping.migrate.wanted import wanted
from pg_stepping.migrate.write import missing, write

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
IMPORT = click.option(
    "--import",
    "imports",
    multiple=True,
    metavar="MODULE",
    help="A module that declares Python functions; repeatable. Those of pyproject.toml are imported, too.",
)
_CONFIG = click.option("--config", type=_FILE, help="The file that declares views; default: pyproject.toml.")


@click.command()
@click.argument("name", required=False)
@click.argument("query", type=click.File("r", encoding="utf-8-sig"), required=False)
@click.option("--schema", help="Schema of the view; default: the first of search_path.")
@click.option("--language", type=click.Choice(LANGUAGES), help="Default: plpython3u if it is there.")
@click.option("--mode", type=click.Choice(MODES), help="Default: immediate.")
@click.option("--stripes", default=0, help="Spread each group over so many rows, for many writers of one.")
@click.option(
    "--index", "indexes", multiple=True, metavar="COLUMNS", help="Columns of a further index; repeatable."
)
@click.option(
    "--format", "format_", type=click.Choice(list(FORMATS)), help="The migration tool; default: sql."
)
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), help="Folder of the migrations.")
@click.option("--down", is_flag=True, help="Write only the script that takes the view away.")
@click.option("--check", is_flag=True, help="Write nothing; exit status 1 if a committed file is stale.")
@IMPORT
@_CONFIG
@click.pass_context
def generate(
    ctx: click.Context,
    name: str | None,
    query: IO[str] | None,
    schema: str | None,
    language: str | None,
    mode: str | None,
    stripes: int,
    indexes: tuple[str, ...],
    format_: str | None,
    output: Path | None,
    down: bool,
    check: bool,
    imports: tuple[str, ...],
    config: Path | None,
) -> None:
    """Write the migration that makes view NAME of the SELECT in file QUERY (- for stdin) to stdout.

    Without NAME: write the migration that the folder `output` lacks, so that it has all the views that
    pyproject.toml declares as they are declared.
    """
    import_modules(imports)
    if name is None:
        declaration = read_declaration(config)
        _for_declared(
            ctx, declaration, output or declaration.output, format_ or declaration.format or "sql", check
        )
        return
    if query is None or check:
        raise click.UsageError("NAME needs QUERY, and --check the declared views: give both, or neither.")
    columns = tuple(tuple(c.strip() for c in i.split(",")) for i in indexes)
    view = View(name, query.read(), schema, language, mode, columns, stripes=stripes)
    with connected(ctx) as conn:
        new = wanted(conn, [view])
        migration = Migration((Change("new", None, new[0]),), catalog_for(conn, new))
        _tell_superuser(conn, migration)
    if output is not None:
        _wrote(output, migration, format_ or "sql")
        return
    _print(migration, format_ or "sql", down)


def _for_declared(
    ctx: click.Context, declaration: Declaration, output: Path | None, format_: str, check: bool
) -> None:
    if format_ not in FORMATS:
        hint = f"one of {', '.join(FORMATS)}"
        raise InvalidDeclaration(f"tool.pg_stepping.format is {format_!r}", hint=hint)
    if output is None:
        hint = 'say it in pyproject.toml, as in output = "migrations", or by --output'
        raise InvalidDeclaration("there is no folder for the migrations", hint=hint)
    with connected(ctx) as conn:
        migration = missing(conn, declaration, output, format_)
        if migration is not None:
            _tell_superuser(conn, migration)
    if migration is None:
        click.echo(f"{output} has all that is declared", err=True)
    elif check:
        for change in migration.changes:
            click.echo(f"{change.kind}\t{change.view}")
        click.echo(f"{output} is stale: run pg-stepping generate", err=True)
        ctx.exit(1)
    else:
        _wrote(output, migration, format_)


def _tell_superuser(conn: Connection, migration: Migration) -> None:
    """Say on stderr what a superuser has to run before, if this role could not run the migration."""
    for language in sorted({c.new.language for c in migration.changes if c.new is not None}):
        try:
            check_language(conn, language)
        except InsufficientPrivilege as error:
            click.echo(f"note: {error}", err=True)


def _wrote(folder: Path, migration: Migration, format_: str) -> None:
    for path in write(folder, migration, format_):
        click.echo(path)


def _print(migration: Migration, format_: str, down: bool) -> None:
    """To stdout: one way of plain SQL, without marks, or whatever files another tool has."""
    (change,) = migration.changes
    assert change.new is not None
    if down:
        click.echo(write_down(change.view), nl=False)
    elif format_ == "sql":
        click.echo(f"{migration.prelude}\n{change.new.up}" if migration.prelude else change.new.up, nl=False)
    else:
        files = FORMATS[format_].files(Path("migrations"), migration)
        for path, text in files.items():
            click.echo(f"-- File {path}\n{text}" if len(files) > 1 else text, nl=False)


@click.command()
@_CONFIG
@click.pass_context
def diff(ctx: click.Context, config: Path | None) -> None:
    """Compare the views that pyproject.toml declares with the database; exit status 1 if they differ.

    new: declared, and not in the database; changed: there, of another query, index, language or mode;
    dropped: there, and not declared; gone: in the catalog, but its view or tables were dropped by hand.
    """
    declaration = read_declaration(config)
    with connected(ctx) as conn:
        changes = migrate(conn, declaration)
    for change in changes:
        click.echo(f"{change.kind}\t{change.view}")
    for line in Migration(tuple(changes)).plan:
        click.echo(line, err=True)
    says = f"{len(changes)} views differ" if changes else "the database has all that is declared"
    click.echo(says, err=True)
    ctx.exit(1 if changes else 0)
