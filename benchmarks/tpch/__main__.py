"""Run the part for TPC-H, and write its section of RESULTS.md."""

from __future__ import annotations

import click

from benchmarks.contenders import FOLDER
from benchmarks.databases import SETTINGS
from benchmarks.tpch.measure import arena, measured
from benchmarks.tpch.report import TITLE, section
from pg_stepping import devserver


@click.command()
@click.option("--quick", is_flag=True, help="A smoke test: small data, few statements.")
@click.option("--sf", default=0.1, help="The scale factor of the data; a tenth is measured too.")
@click.option("--query", "only", multiple=True, help="Only this query, such as q01; prints the section only.")
def main(quick: bool, sf: float, only: tuple[str, ...]) -> None:
    """Compare a maintained view of each query of TPC-H with no view, recomputation and pg_ivm."""
    small, large, each = (0.01, 0.02, 3) if quick else (sf / 10, sf, 15)
    with devserver.start(settings=SETTINGS) as server:
        click.echo(str(server))
        answers = {}
        for scale in (small, large):
            with arena(server, scale, click.echo) as there:
                answers[scale] = measured(there, each, only, click.echo)
        text = section((small, answers[small]), (large, answers[large]), server.version)
    if only:
        click.echo(text)
        return
    file = FOLDER / ("RESULTS-quick.md" if quick else "RESULTS.md")
    others = file.read_text().split(f"\n{TITLE}")[0].rstrip("\n") if file.exists() else "# Benchmarks"
    file.write_text(f"{others}\n\n{text}")
    click.echo(f"written: {file.name}")


if __name__ == "__main__":
    main()
