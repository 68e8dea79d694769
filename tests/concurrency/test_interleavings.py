"""Every pair of transactions, in every order of their steps, leaves each view equal to its query."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
from interleavings import (
    RC,
    RR,
    SERIALIZABLE,
    Levels,
    Schedule,
    Shape,
    Tally,
    all_schedules,
    orders,
    sample,
    stage,
)
from scenarios import (
    ALL_SHAPES,
    ANEW,
    COMPUTED_ANEW,
    CONDITIONS,
    JOINS,
    METERS_WITH_KEYS,
    ONE_SOURCE,
    SEED,
    SHAPES,
)

OTHER_LEVELS: list[Levels] = [at for at in product((RC, RR, SERIALIZABLE), repeat=2) if at != (RC, RC)]
LEVEL_SAMPLE = 120
COME_AND_GO = frozenset(("insert new", "move last", "delete last", "refill", "down"))


def right(tally: Tally) -> None:
    """Nothing is wrong, and nothing failed that should not have."""
    assert not tally.wrong, f"{len(tally.wrong)} of {tally.schedules} are wrong, as {tally.wrong[:3]}"
    assert not tally.failed, f"{len(tally.failed)} of {tally.schedules} failed, as {tally.failed[:3]}"
    assert not tally.avoidable, (
        f"{len(tally.avoidable)} of {tally.schedules} aborted, as {tally.avoidable[:3]}"
    )


@pytest.mark.parametrize("name", SHAPES)
def test_oracle_all_schedules_at_read_committed(database: Callable[..., str], name: str) -> None:
    with stage(database("plpgsql"), SHAPES[name], "plpgsql") as on:
        tally = on.run(all_schedules(SHAPES[name]))
    right(tally)
    assert tally.schedules > 300 and tally.waits > 0 and tally.conflicts == tally.refused == 0


@pytest.mark.parametrize("name", SHAPES)
def test_oracle_some_schedules_in_plpython(database: Callable[..., str], name: str) -> None:
    with stage(database("plpython3u"), SHAPES[name], "plpython3u") as on:
        tally = on.run(sample(all_schedules(SHAPES[name]), 80))
    right(tally)
    assert tally.schedules == 80 and tally.waits > 0 and tally.conflicts == tally.refused == 0


@pytest.mark.parametrize("locks", [True, False])
def test_oracle_rows_that_come_to_meet_conditions(
    database: Callable[..., str], language: str, locks: bool
) -> None:
    with stage(database(language), CONDITIONS, language, locks=locks) as on:
        tally = on.run(sample(all_schedules(CONDITIONS), 200), until_wrong=not locks)
    if locks:
        right(tally)
        assert tally.waits > 0 and tally.conflicts == tally.refused == 0
    else:
        assert tally.wrong, f"none in {tally.schedules} schedules"


@pytest.mark.parametrize("name", [*JOINS, *COMPUTED_ANEW, "recursion"])
def test_without_locks_there_are_wrong_rows(database: Callable[..., str], language: str, name: str) -> None:
    shape = ALL_SHAPES[name]
    with stage(database(language), shape, language, locks=False) as on:
        tally = on.run(sample(all_schedules(shape), 1000), until_wrong=True)
    assert tally.wrong, f"none in {tally.schedules} schedules"


@pytest.mark.parametrize("name", ONE_SOURCE)
def test_oracle_views_over_one_table_at_all_levels(database: Callable[..., str], name: str) -> None:
    shape = ALL_SHAPES[name]
    with stage(database("plpgsql"), shape, "plpgsql") as on:
        tally = on.run(sample(all_schedules(shape, OTHER_LEVELS), LEVEL_SAMPLE))
    right(tally)
    assert tally.conflicts > 0 and tally.refused == 0


@pytest.mark.parametrize("name", COMPUTED_ANEW)
def test_oracle_touched_keys_at_all_levels_in_plpython(database: Callable[..., str], name: str) -> None:
    shape = COMPUTED_ANEW[name]
    with stage(database("plpython3u"), shape, "plpython3u") as on:
        tally = on.run(sample(all_schedules(shape, OTHER_LEVELS), 25))
    right(tally)
    assert tally.conflicts > 0 and tally.refused == 0


@pytest.mark.parametrize("name", [n for n in ONE_SOURCE if n != "recursion"])
def test_oracle_groups_that_come_and_go_at_all_levels(database: Callable[..., str], name: str) -> None:
    """A group's row that another session has deleted raises no conflict with a snapshot from before."""
    shape, size = ALL_SHAPES[name], 60 if name in COMPUTED_ANEW else 600
    with stage(database("plpgsql"), shape, "plpgsql") as on:
        schedules = all_schedules(shape, OTHER_LEVELS)
        tally = on.run(sample([s for s in schedules if COME_AND_GO.issuperset(s.names)], size))
    right(tally)
    assert tally.conflicts > 0 and tally.refused == 0


@pytest.mark.parametrize("name", JOINS)
def test_oracle_joins_refuse_writers_at_higher_levels(database: Callable[..., str], name: str) -> None:
    """With a hint; and the writers at READ COMMITTED beside them go through."""
    with stage(database("plpgsql"), SHAPES[name], "plpgsql") as on:
        schedules = sample(all_schedules(SHAPES[name], OTHER_LEVELS), LEVEL_SAMPLE)
        tally = on.run(schedules)
    right(tally)
    assert tally.refused > LEVEL_SAMPLE // 2
    assert all("deferred mode" in hint for hint in tally.hints)


@pytest.mark.parametrize("name", ALL_SHAPES)
def test_every_transaction_alone_writes_rows(database: Callable[..., str], name: str) -> None:
    """Else the schedules would prove less than they seem to."""
    shape = ALL_SHAPES[name]
    with stage(database("plpgsql"), shape, "plpgsql") as on:
        conn = on.sessions[0].conn
        for statements in shape.transactions.values():
            for statement in statements:
                written = conn.execute(statement.format(s=1))  # type: ignore[arg-type]
                assert written.rowcount != 0, statement
            conn.commit()
            assert not on.scalar("SELECT harness.wrong() + harness.wrong_state()")
            on.scalar("SELECT harness.reset()")


def test_writers_of_other_keys_do_not_conflict(database: Callable[..., str]) -> None:
    """Nor do they wait: only writers of one key do. (SERIALIZABLE takes who scans a table for a reader of all.)"""
    views = {name: ANEW.views[name] for name in ("running", "latest")}
    transactions = {
        "insert": ("INSERT INTO reads (meter_id, value) VALUES (1, 10)",),
        "update": ("UPDATE reads SET value = value + 1 WHERE meter_id = 2",),
        "come": ("INSERT INTO reads (meter_id, value) VALUES (9, 1)",),
        "go": ("DELETE FROM reads WHERE meter_id = 3",),
    }
    shape = Shape(ANEW.schema, views, transactions, joins=False)
    with stage(database("plpgsql"), shape, "plpgsql") as on:
        schedules = all_schedules(shape, [(RR, RR), (RR, RC)])
        tally = on.run(s for s in schedules if s.names[0] != s.names[1])
    right(tally)
    assert tally.schedules > 50 and tally.waits == tally.conflicts == tally.refused == 0


# --- who waits for whom ------------------------------------------------------------------------------


def waits(database: Callable[..., str], language: str, first: str, others: list[str]) -> list[int]:
    """How often each of the others and the first wait for each other, over all orders of their steps."""
    names = [f"other {i}" for i in range(len(others))]
    shape = Shape(
        METERS_WITH_KEYS  # without keys nothing tells the facts from the dimensions
        + """INSERT INTO users SELECT i, 'user ' || i FROM generate_series(1, 40) AS i;
             INSERT INTO meters SELECT i, i, 'gas' FROM generate_series(1, 40) AS i;
             INSERT INTO reads (meter_id, day, value) SELECT i, '2024-01-01', i FROM generate_series(1, 40) AS i""",
        SEED.views,
        {"first": (first,), **{name: (other,) for name, other in zip(names, others, strict=True)}},
    )
    with stage(database(language), shape, language) as on:
        tallies = [
            on.run(Schedule(("first", name), order) for order in orders(shape, ("first", name)))
            for name in names
        ]
    for tally in tallies:
        right(tally)
    return [tally.waits for tally in tallies]


def read_of(meter: int, day: str = "2024-01-01") -> str:
    return f"INSERT INTO reads (meter_id, day, value) VALUES ({meter}, '{day}', 1)"


def test_writers_of_facts_of_other_groups_never_wait(database: Callable[..., str], language: str) -> None:
    others = [read_of(meter) for meter in range(2, 12)] + [read_of(1, "2024-01-02")]
    others += ["UPDATE reads SET value = 9 WHERE meter_id = 2", "DELETE FROM reads WHERE meter_id = 3"]
    for first in (read_of(1), "UPDATE reads SET value = 5 WHERE meter_id = 1"):
        found = waits(database, language, first, others)
        assert {other: n for other, n in zip(others, found, strict=True) if n} == {}


def test_writers_of_facts_of_one_group_wait(database: Callable[..., str], language: str) -> None:
    assert waits(database, language, read_of(1), [read_of(1)])[0] > 0


@pytest.mark.parametrize(
    "dimension", ["INSERT INTO meters VALUES ({0}, {0} - 80, 'gas')", "INSERT INTO users VALUES ({0}, 'eve')"]
)
def test_writers_of_dimensions_run_beside_facts_of_other_keys(
    database: Callable[..., str], language: str, dimension: str
) -> None:
    """Keys may share a bucket of locks, so a few of many may wait."""
    others = [dimension.format(key) for key in range(100, 112)]
    found = waits(database, language, read_of(1), others)
    assert len(found) == 12
    assert sum(count > 0 for count in found) <= 3, found
