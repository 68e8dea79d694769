"""Deferred mode: in every order of the steps of two transactions, at every isolation level, whoever looks sees
in his snapshot what the query gives there: a third session after every step, and the two within their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
from interleavings import RC, RR, SERIALIZABLE, Schedule, Shape, all_schedules, sample, stage
from scenarios import SHAPES

LEVELS = list(product((RC, RR, SERIALIZABLE), repeat=2))
LOOK = "SELECT 1 / (1 - least(harness.wrong(), 1))"  # fails where a row is wrong
LANGUAGES = ("plpgsql", "plpython3u")
CHOSEN = [
    name for name in SHAPES if name in ("seed", "extremes", "windows", "outer", "one_table", "recursion")
]


def watched(shape: Shape) -> Shape:
    """With appliers and readers among the transactions, and writers who look at what they wrote.

    TRUNCATE is not among them: who looks would wait for its end.
    """
    shape = replace(
        shape, transactions={n: t for n, t in shape.transactions.items() if "TRUNCATE" not in str(t)}
    )
    applied = {f"apply {v}": (f"SELECT stepping.apply('{v}')",) for v in shape.views}
    applied |= {f"apply a part of {v}": (f"SELECT stepping.apply('{v}', 1)",) for v in shape.views}
    looking = {
        f"{name} and look": (*(s for step in steps for s in (step, LOOK)),)
        for name, steps in list(shape.transactions.items())[:6]
    }
    return replace(
        shape, transactions={**shape.transactions, **looking, **applied, "look twice": (LOOK, LOOK)}
    )


def at_its_level(schedule: Schedule) -> Schedule:
    """Who applies does so at READ COMMITTED."""
    levels = (
        RC if name.startswith("apply") else level
        for name, level in zip(schedule.names, schedule.levels, strict=True)
    )
    return replace(schedule, levels=tuple(levels))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", CHOSEN)
def test_oracle_every_snapshot_is_right_at_all_levels(database: Callable[..., str], name: str) -> None:
    language = LANGUAGES[CHOSEN.index(name) % 2]
    shape = watched(SHAPES[name])
    schedules = [s for s in all_schedules(shape, LEVELS) if "apply" in "".join(s.names)]
    chosen = sample(schedules, 25) + sample(all_schedules(shape, LEVELS), 25)
    with stage(database(language), shape, language, mode="deferred") as on:
        tally = on.run(map(at_its_level, chosen))
    assert not tally.wrong, f"{len(tally.wrong)} of {tally.schedules} are wrong, as {tally.wrong[:3]}"
    assert not tally.failed, f"{len(tally.failed)} of {tally.schedules} failed, as {tally.failed[:3]}"
    assert tally.refused == 0


@pytest.mark.parametrize("name", ["seed", "one_table"])
def test_writers_fail_no_more_often_than_without_the_view(database: Callable[..., str], name: str) -> None:
    shape = SHAPES[name]
    schedules = [s for s in all_schedules(shape, LEVELS) if "truncate" not in "".join(s.names)]
    ends = []
    for views in (shape.views, {}):
        with stage(database("plpgsql"), replace(shape, views=views), "plpgsql", mode="deferred") as on:
            tally = on.run(sample(schedules, 120))
        assert not tally.wrong
        ends.append((tally.conflicts, tally.deadlocks, tally.refused))
    assert ends[0] == ends[1]
    assert ends[0][0] > 0
