"""The section of RESULTS.md for TPC-H: a table, and what was to be reached."""

from __future__ import annotations

import math
import os
import platform
import statistics
from collections.abc import Sequence

from benchmarks.tpch.measure import NONE, OURS, PG_IVM, UNLIMITED, Times

TITLE = "# TPC-H"
HEAD = """{title}

`make bench` (`python -m benchmarks.tpch`), on {machine}, PostgreSQL {version}: each query of TPC-H as a
maintained view (PL/pgSQL) over the data of `tpchgen-cli`, scale factor {scale}. Milliseconds inside the
server, in warm sessions, each statement in a transaction of its own, the same one in every database in turn.

- One row: as many INSERTs, UPDATEs and DELETEs, mixed, on the fact tables of the query (lineitem and orders,
  else partsupp and customer). A new row is a copy of a stored one but for its key; an UPDATE gives a row all
  values of another.
- Other tables: the same on those of customer, partsupp, part and supplier that are left; a row of them may
  join with many.
- Batch: 0.1 % of the first fact table in one INSERT, UPDATE or DELETE, median.
- Recomputed: the query itself, without JIT.
- Ratio: the median for one row against that at scale factor {smaller}.

{ivm}
"""
IVM = """pg_ivm has no time where it refuses the query. It is given queries without the ORDER BY and LIMIT
at their end; the speed is ours as a multiple of its, of a view of the same."""

Answers = tuple[float, dict[str, Times]]


def section(at_small: Answers, at_large: Answers, version: str) -> str:
    """The whole section; the answers come with their scale factors."""
    (smaller, small), (scale, large) = at_small, at_large
    with_ivm = any(PG_IVM in t.rows for t in large.values())
    columns = [
        *(
            "query",
            "no view",
            "one row",
            "p95",
            "times no view",
            "recomputed",
            "times faster",
            "other tables",
        ),
        *("batch of", "no view", "batch", "times faster", "ratio"),
        *(["pg_ivm", "speed", "its batch", "speed"] if with_ivm else []),
    ]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name, times in large.items():
        ours = statistics.median(times.rows[OURS])
        plain, batch = statistics.median(times.rows[NONE]), statistics.median(times.batches[OURS])
        cells = [
            name, _ms(plain), _ms(ours), _ms(_p95(times.rows[OURS])), f"{ours / plain:.1f}",
            _ms(times.recompute), f"{times.recompute / ours:,.0f}", _ms(_median(times.others.get(OURS, ()))),
            times.batch, _ms(statistics.median(times.batches[NONE])), _ms(batch),
            f"{times.recompute / batch:,.1f}", f"{_growth(times, small[name]):.2f}",
        ]  # fmt: skip
        if with_ivm:
            for found in (times.rows, times.batches):
                ratio = f"{_speed(found):.1f}" if PG_IVM in found else ""
                cells += [_ms(_median(found.get(PG_IVM, ()))), ratio]
        lines.append(f"| {' | '.join(cells)} |")
    head = HEAD.format(
        title=TITLE, version=version, scale=scale, smaller=smaller,
        machine=f"{os.cpu_count()} cores ({platform.machine()})",
        ivm=IVM if with_ivm else "The server does not offer pg_ivm, so it is missing here.",
    )  # fmt: skip
    return "\n".join([head.replace("\n\n\n", "\n\n"), *lines, "", *_targets(large, small)]) + "\n"


def _targets(large: dict[str, Times], small: dict[str, Times]) -> list[str]:
    lines = ["| to reach | asked for | found | met |", "|---|---|---|---|"]
    faster = {n: t.recompute / statistics.median(t.rows[OURS]) for n, t in large.items()}
    growth = {n: _growth(t, small[n]) for n, t in large.items()}
    found = [
        ("one row faster than recomputation, the slowest query", 1, min(faster.values()),
         min(faster, key=faster.__getitem__)),
        ("one row faster than recomputation, the median query", 50, statistics.median(faster.values()), ""),
    ]  # fmt: skip
    rows = {n: _speed(t.rows) for n, t in large.items() if PG_IVM in t.rows}
    batches = {n: _speed(large[n].batches) for n in rows}
    if rows:
        found += [
            ("one row faster than pg_ivm, the slowest query", 1, min(rows.values()),
             min(rows, key=rows.__getitem__)),
            ("one row faster than pg_ivm, the median query", 3, statistics.median(rows.values()), ""),
            ("what a view adds to one row, faster than pg_ivm's, the median query", 3,
             statistics.median(_speed(large[n].rows, _median(large[n].rows[NONE])) for n in rows), ""),
            ("a batch faster than pg_ivm, the slowest query", 1, min(batches.values()),
             min(batches, key=batches.__getitem__)),
        ]  # fmt: skip
    for title, limit, value, name in found:
        met = "yes" if value >= limit else "**no**"
        lines.append(f"| {title} | at least {limit} times | {value:,.1f} {name} | {met} |")
    over = [f"{n} {g:.2f}" for n, g in growth.items() if g > 1.5]
    met = "yes" if not over else f"**no**: {', '.join(over)}"
    worst = f"{max(growth.values()):.2f}"
    lines.append(f"| growth of the time with the data, the worst query | at most 1.5 | {worst} | {met} |")
    return lines


def _speed(found: dict[str, list[float]], without: float = 0) -> float:
    """Ours as a multiple of pg_ivm's, of the same query; `without` is what to take off the times of both."""
    return (_median(found[PG_IVM]) - without) / (_median(found.get(UNLIMITED, found[OURS])) - without)


def _growth(large: Times, small: Times) -> float:
    return statistics.median(large.rows[OURS]) / statistics.median(small.rows[OURS])


def _median(times: Sequence[float]) -> float:
    return statistics.median(times) if times else math.nan


def _p95(times: Sequence[float]) -> float:
    return sorted(times)[math.ceil(len(times) * 0.95) - 1]


def _ms(time: float) -> str:
    if math.isnan(time):
        return ""
    return f"{time:.3f}" if time < 10 else f"{time:,.1f}"
