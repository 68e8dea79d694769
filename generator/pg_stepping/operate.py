"""The commands of whoever looks after maintained views."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import click

from pg_stepping.catalog import Installed, has_catalog, list_views
from pg_stepping.console import KeyType, ShareType, connected, shown, table
from pg_stepping.lineage import why as why_rows
from pg_stepping.repair import repair as repair_view
from pg_stepping.verification import Difference
from pg_stepping.verification import verify as differences_of

_STATUS = """
SELECT concat(schema_name, '.', view_name) AS view, state, language, pg_size_pretty(size) AS size, rows,
    date_trunc('second', age) AS age, left(fingerprint, 12) AS fingerprint, problem
FROM stepping.views ORDER BY 1"""
_TOP = """
SELECT concat(schema_name, '.', view_name) AS view, calls, delta_rows_in AS "rows in",
    delta_rows_out AS "rows out", round(total_time::numeric, 1) AS "ms",
    round((total_time / nullif(calls, 0))::numeric, 3) AS "ms a call",
    lock_waits AS waits, pending, date_trunc('second', pending_age) AS "for",
    round(apply_time::numeric, 1) AS "ms applied", last_error AS problem
FROM stepping.stat_views ORDER BY total_time DESC NULLS LAST, 1"""
Keys = tuple[Mapping[str, Any], ...]
_SCHEMA = click.option("--schema", help="Schema of the view.")
_KEY_HELP = "column=value,column=value or a JSON object"


@click.command()
@click.argument("name", required=False)
@_SCHEMA
@click.option("--all", "all_", is_flag=True, help="All maintained views, in one snapshot.")
@click.option("--sample", type=ShareType(), metavar="SHARE", help="Compare a share of the rows, such as 1%.")
@click.option(
    "--keys",
    multiple=True,
    type=KeyType(),
    metavar="KEY",
    help=f"Compare the rows of a key: {_KEY_HELP}; may be repeated.",
)
@click.pass_context
def verify(
    ctx: click.Context, name: str | None, schema: str | None, all_: bool, sample: float | None, keys: Keys
) -> None:
    """Compare view NAME, or all views, with its query computed anew; exit status 1 if they differ.

    Rows that the view has too often are shown with +1, those that it lacks with -1.
    """
    if (name is None) is not all_:
        raise click.UsageError("give the name of a view, or --all")
    if all_ and keys:
        raise click.UsageError("--keys is for one view")
    differ = False
    with connected(ctx) as conn:
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        names = [(name, schema)] if name else [(v.name, v.schema) for v in list_views(conn)]
        for view, of in names:
            found = differences_of(conn, view, schema=of, sample=sample, keys=keys or None)
            differ = differ or bool(found)
            _show(f"{of}.{view}" if all_ else view, found)
    if not names:
        click.echo("there are no maintained views", err=True)
    ctx.exit(1 if differ else 0)


def _show(view: str, differences: list[Difference]) -> None:
    if differences:
        sign = "+/-"
        while any(sign in d.row for d in differences):
            sign += " "
        click.echo(table({sign: f"{d.weight:+d}", **d.row} for d in differences))
    says = f"{len(differences)} rows differ (+1: too many, -1: missing)" if differences else "is right"
    click.echo(f"view {view}: {says}", err=True)


@click.command()
@click.argument("name", required=False)
@_SCHEMA
@click.option("--all", "all_", is_flag=True, help="All maintained views.")
@click.pass_context
def repair(ctx: click.Context, name: str | None, schema: str | None, all_: bool) -> None:
    """Compute the keys of view NAME anew in which it differs from its query.

    Writers go on: they wait for one batch of keys at a time.
    """
    if (name is None) is not all_:
        raise click.UsageError("give the name of a view, or --all")
    with connected(ctx, autocommit=True) as conn:
        views: list[Installed | None] = [*list_views(conn)] if all_ else [None]
        for view in views:
            of = (view.name, view.schema) if view else (name or "", schema)
            changed = repair_view(conn, of[0], schema=of[1])
            click.echo(f"view {of[0]}: {changed} rows of its state were put right", err=True)


@click.command()
@click.argument("name")
@click.argument("key", type=KeyType(), metavar="KEY")
@_SCHEMA
@click.pass_context
def why(ctx: click.Context, name: str, key: Mapping[str, Any], schema: str | None) -> None:
    """Show the source rows behind the rows of view NAME with KEY: column=value,... or a JSON object."""
    with connected(ctx) as conn:
        rows = why_rows(conn, name, key, schema=schema)
    for source in dict.fromkeys(r.table for r in rows):
        click.echo(f"{source}\n{table(r.row for r in rows if r.table == source)}\n")
    click.echo(f"{len(rows)} source rows", err=True)


@click.command()
@click.pass_context
def status(ctx: click.Context) -> None:
    """Show how each maintained view stands; exit status 1 if one is out of step."""
    with connected(ctx) as conn:
        rows = shown(conn, _STATUS) if has_catalog(conn) else []
    click.echo(table(rows) if rows else "there are no maintained views")
    ctx.exit(1 if any(row["state"] != "in step" for row in rows) else 0)


@click.command()
@click.option("--every", type=click.FloatRange(min=0.1), metavar="SECONDS", help="Show it again and again.")
@click.pass_context
def top(ctx: click.Context, every: float | None) -> None:
    """Show what the maintenance of each view did and took, the dearest first.

    Calls and times are there with track_functions = all.
    """
    with connected(ctx, autocommit=True) as conn:
        while True:
            rows = shown(conn, _TOP) if has_catalog(conn) else []
            if every is not None:
                click.clear()
            click.echo(table(rows) if rows else "there are no maintained views")
            if every is None:
                break
            time.sleep(every)
