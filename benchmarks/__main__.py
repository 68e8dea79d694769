"""Run the benchmarks and write RESULTS.md beside this file."""

from __future__ import annotations

import os
import platform

import click

from benchmarks.contenders import FOLDER, STEPPING
from benchmarks.databases import Size, arena
from benchmarks.measure import HOT, MIXED, SPREAD, Question, Times, created, end_to_end, in_process, questions
from benchmarks.report import table, target

FULL, SMALL = Size(1000, 10_000, 20, 5), Size(1000, 10_000, 1, 1)
LOADS = (
    ("inserts, spread keys", SPREAD, "on"),
    ("inserts, spread keys", SPREAD, "off"),
    ("inserts, one hot group", HOT, "off"),
    ("95 % inserts and 5 % moves of a meter", MIXED, "off"),
)
HEAD = """# Benchmarks

`make bench`, on {machine}, {server}; {size:,} reads of {meters:,} meters of {users:,} users
preloaded. Medians of alternating runs (a batch that takes over 20 s runs once); in parentheses the speed as a
multiple of the trigger by hand (`hand_written.sql`), which leaves out exact sums, NULL keys,
TRUNCATE and statements that change several tables. {absent}
"""


@click.command()
@click.option("--quick", is_flag=True, help="A smoke test: few statements, small batches, one round.")
def main(quick: bool) -> None:
    """Compare the seed's view with no view, a trigger by hand, REFRESH and pg_ivm."""
    rounds, scale, seconds = (1, 20, 1) if quick else (3, 1, 1)
    full = Size(100, 1000, 10, 2) if quick else FULL
    small = Size(100, 1000, 1, 1) if quick else SMALL
    with arena((full, small), click.echo) as there:
        asked = questions(scale)
        answers: dict[Question, Times] = {}
        for question in asked:
            click.echo(question.title)
            answers[question] = in_process(there, full, question, rounds)
        click.echo("create")
        making = created(there, full, 1)
        rates: list[tuple[str, Times]] = []
        for title, scripts, commit in LOADS:
            for clients in (1, 8) if quick else (1, 2, 4, 8):
                click.echo(f"pgbench, {title}, {clients} clients, synchronous_commit {commit}")
                found = end_to_end(there, full, scripts, clients, commit, seconds, rounds)
                if found is not None:
                    rates.append((f"{title}, {clients} clients, synchronous_commit {commit}", found))
        flat: dict[Question, Times] = {}
        for question in (asked[0], asked[6]):
            flat[question] = in_process(there, small, question, rounds)
        names = {c.name for c in there.contenders}
        absent = "" if "pg_ivm" in names else "The server does not offer pg_ivm, so it is missing here."
        machine = f"{os.cpu_count()} cores ({platform.machine()})"
        version = f"PostgreSQL {there.server.version}"
        text = [
            HEAD.format(machine=machine, server=version, size=full.reads, meters=full.meters,
                        users=full.users, absent=absent),
            "## End to end: single-row statements by pgbench, each committed\n",
            table(there.contenders, rates, "transactions a second", rate=True),
            "\n## In process\n",
            table(there.contenders, [(q.title, t) for q, t in answers.items()], "microseconds"),
            "\n## Making the view, filled\n",
            table(there.contenders, [("create", making)], "microseconds"),
            "\n## Does the time grow with the tables?\n",
            table(there.contenders,
                  [(f"{q.title}, {small.reads:,} reads stored", t) for q, t in flat.items()],
                  "microseconds"),
            "\n## Targets\n",
            "| target | language | asked for | found | met |\n|---|---|---|---|---|",
        ]  # fmt: skip
        for title, times in (rate for rate in rates if rate[0].startswith(LOADS[0][0])):
            found_rates = {n: times[n] / times["hand"] for n in STEPPING}
            text += target(f"insert rate against the trigger by hand, {title}", found_rates, 0.85, least=True)
        locked = {"plpgsql": answers[asked[0]]["plpgsql"] / answers[asked[0]]["unlocked"]}
        text += target("time against the same without locks, insert one read", locked, 1.25, least=False)
        for question in asked[7:10]:
            times = answers[question]
            ratios = {n: times[n] / times["hand"] for n in STEPPING}
            text += target(f"time against the trigger by hand, {question.title}", ratios, 1.15, least=False)
        for question in asked[10:]:
            times = answers[question]
            ratios = {n: times[n] / times["none"] for n in STEPPING}
            text += target(f"time against a plain table, {question.title}", ratios, 1.1, least=False)
        for question, times in flat.items():
            ratios = {n: answers[question][n] / times[n] for n in STEPPING}
            title = f"{full.reads:,} reads stored against {small.reads:,}, {question.title}"
            text += target(title, ratios, 1.2, least=False)
    target_file = FOLDER / ("RESULTS-quick.md" if quick else "RESULTS.md")
    target_file.write_text("\n".join(text) + "\n")
    click.echo(f"written: {target_file.name}")


if __name__ == "__main__":
    main()
