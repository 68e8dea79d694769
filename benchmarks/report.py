"""The results as Markdown: absolute figures, ratios to the trigger by hand, and the targets."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmarks.contenders import STEPPING, Contender
from benchmarks.measure import Times


def table(
    contenders: Sequence[Contender], rows: Sequence[tuple[str, Times]], unit: str, *, rate: bool = False
) -> str:
    """One row a question; beside each figure its ratio to the trigger by hand (above 1 is better)."""
    shown = [c for c in contenders if any(c.name in times for _, times in rows)]
    lines = [f"| {unit} | " + " | ".join(c.title for c in shown) + " |", "|---" * (len(shown) + 1) + "|"]
    for title, times in rows:
        cells = [_cell(times, c.name, rate) for c in shown]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(times: Times, name: str, rate: bool) -> str:
    if name not in times:
        return ""
    if math.isnan(times[name]):
        return "failed"
    ratio = times[name] / times["hand"] if rate else times["hand"] / times[name]
    figure = f"{times[name]:,.0f}" if times[name] >= 100 else f"{times[name]:,.1f}"
    return figure if name == "hand" else f"{figure} ({ratio:.2f})"


def target(title: str, values: dict[str, float], limit: float, *, least: bool) -> list[str]:
    """One line for each language of pg_stepping: what was asked for, what was found."""
    lines = []
    for name in STEPPING:
        if name in values:
            met = values[name] >= limit if least else values[name] <= limit
            asked = f"{'at least' if least else 'at most'} {limit}"
            lines.append(
                f"| {title} | {name} | {asked} | {values[name]:.2f} | {'yes' if met else '**no**'} |"
            )
    return lines
