"""Run the part for deferred mode and stripes, and write RESULTS.md beside this file."""

from __future__ import annotations

import math
import os
import platform
from typing import LiteralString, cast

import click

from benchmarks.databases import SETTINGS
from benchmarks.deferred.measure import (
    CONTENDERS,
    DEFERRED,
    HAND,
    HERE,
    IMMEDIATE,
    LEAST,
    NONE,
    Q01,
    SEED,
    STRIPED,
    TITLES,
    Arena,
    Rates,
    apply_rates,
    arena,
    pend,
)
from pg_stepping import devserver

HEAD = """# Deferred mode and stripes

`make bench` (`python -m benchmarks.deferred`), on {machine}, PostgreSQL {version}. Inserts of one row by
pgbench, each committed, prepared; medians of {rounds} runs of {seconds:g} s;
nobody applies meanwhile. In parentheses the share of the rate without a view. Triggers in PL/pgSQL.
With synchronous_commit off a hot row is free again within microseconds: there the cores are the limit.

"""
Targets = list[tuple[str, str, float, bool]]
PENDING = (0, 100, 10_000)


@click.command()
@click.option("--quick", is_flag=True, help="A smoke test: 1 and 8 clients, one round of a second.")
@click.option("--seconds", default=1.0, help="How long each run takes.")
@click.option("--rounds", default=3, help="Of how many runs the median is taken.")
@click.option(
    "--part", type=click.Choice(["inserts", "apply", "reads"]), multiple=True, help="Only this; prints it."
)
def main(quick: bool, seconds: float, rounds: int, part: tuple[str, ...]) -> None:
    """Compare deferred mode and stripes with immediate mode, a trigger by hand, and no view."""
    seconds, rounds = (1.0, 1) if quick else (seconds, rounds)
    clients = (1, 8) if quick else (1, 2, 4, 8)
    lines: list[str] = []
    targets: Targets = []
    with devserver.start(settings=SETTINGS) as server:
        for workload in (SEED, Q01):
            if workload is Q01 and part and "inserts" not in part:
                continue
            with arena(server, workload, seconds, rounds, click.echo) as there:
                if workload is SEED and (not part or "reads" in part):
                    lines += _reads(there, targets)
                if workload is SEED and (not part or "apply" in part):
                    rates = apply_rates(there, 10_000 if quick else 100_000)
                    each = f"{rates[0]:,.0f} changes in new groups, {rates[1]:,.0f} in old ones"
                    lines.append(f"Applied a second: {each}.\n")
                    targets.append(
                        ("applied a second, the seed query", "at least 100,000", rates[0], rates[0] >= 1e5)
                    )
                if not part or "inserts" in part:
                    lines += _inserts(there, clients, targets)
        version = server.version
    text = HEAD.format(
        machine=f"{os.cpu_count()} cores ({platform.machine()})",
        version=version,
        rounds=rounds,
        seconds=seconds,
    )
    text += "\n".join(lines) + "\n\n| target | asked for | found | met |\n|---|---|---|---|\n"
    for title, asked, value, met in targets:
        shown = f"{value:,.0f}" if value > 1000 else f"{value:.2f}"
        text += f"| {title} | {asked} | {shown} | {'yes' if met else '**no**'} |\n"
    if part:
        click.echo(text)
        return
    file = HERE / ("RESULTS-quick.md" if quick else "RESULTS.md")
    file.write_text(text)
    click.echo(f"written: {file.name}")


def _inserts(there: Arena, clients: tuple[int, ...], targets: Targets) -> list[str]:
    """A hot row is held until its writer's commit is on the disk, so there both ways of that are told."""
    lines = []
    for title, script in there.workload.writes:
        for commit in ("off", "on") if "hot" in title else ("off",):
            name = f"{there.workload.name}, {title}, synchronous_commit {commit}"
            lines.append(_table_head(f"{name}: inserts a second"))
            for n in clients:
                found = there.rates(CONTENDERS, script, n, commit=commit)
                click.echo(f"{name}, {n} clients: {found}")
                lines.append(_row(n, found))
                targets += _asked(f"{name}, {n} clients", found, n)
            lines.append("")
    return lines


def _table_head(title: str) -> str:
    columns = " | ".join(TITLES[c] for c in CONTENDERS)
    return f"{title}\n\n| clients | {columns} |\n{'|---' * (len(CONTENDERS) + 1)}|"


def _row(clients: int, found: Rates) -> str:
    cells = [
        "failed"
        if math.isnan(found[c])
        else f"{found[c]:,.0f}" + ("" if c == NONE else f" ({found[c] / found[NONE]:.2f})")
        for c in CONTENDERS
    ]
    return f"| {clients} | {' | '.join(cells)} |"


def _asked(title: str, found: Rates, clients: int) -> Targets:
    share = found[DEFERRED] / found[NONE]
    asked = [(f"deferred against no view, {title}", "at least 0.6", share, share >= 0.6)]
    if clients == 8 and "hot" in title:
        for contender, least in ((DEFERRED, 3), (STRIPED, 2)):
            times = found[contender] / found[HAND]
            name = f"{TITLES[contender]} against the trigger by hand, {title}"
            asked.append((name, f"at least {least}", times, times >= least))
    return asked


def _reads(there: Arena, targets: Targets) -> list[str]:
    """Immediate mode is measured beside each, in turn: the machine may have other work at times."""
    lines = ["SELECT by key, milliseconds in one session (times those of immediate mode)\n"]
    lines += ["| rows pending | prepared | not prepared |", "|---|---|---|"]
    with there.connect(DEFERRED) as conn:
        for statement in filter(str.strip, LEAST.split(";")):
            conn.execute(cast(LiteralString, statement))
    least = []
    for rows in PENDING:
        pend(there, rows)
        cells = []
        for protocol, title in (("prepared", "prepared"), ("simple", "not prepared")):
            contenders = [IMMEDIATE, DEFERRED, *([] if rows else ["least"])]
            found = there.rates(contenders, HERE / "select_key.pgbench", 1, protocol)
            times = {c: found[IMMEDIATE] / found[c] for c in contenders}
            cells.append(f"{1000 / found[DEFERRED]:.3f} ({times[DEFERRED]:,.2f})")
            if not rows:
                least.append(f"{1000 / found['least']:.3f} ({times['least']:,.2f})")
                name = f"SELECT by key against immediate mode, nothing pending, {title}"
                targets.append((name, "at most 1.15", times[DEFERRED], times[DEFERRED] <= 1.15))
        lines.append(f"| {rows:,} | {' | '.join(cells)} |")
    lines.append(f"| UNION ALL with an empty table | {' | '.join(least)} |")
    pend(there, 0)
    return [*lines, ""]


if __name__ == "__main__":
    main()
