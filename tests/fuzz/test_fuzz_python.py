"""Random row functions, and random queries in Python, of fixed seeds: as in Python itself.

More of them: `make fuzz`.
"""

from __future__ import annotations

import psycopg
import pytest
from function_generator import HEADING, Generator
from function_rows import rows
from functions import module, prepare, trial, valid
from graphs import is_shipped
from graphs import trial as trial_of_graph

FUNCTIONS, GRAPHS = 60, (0, 2, 6, 12)


@pytest.fixture
def session(databases):
    """In a database of its own."""
    name = databases.create(databases.template("plpython3u"))
    with psycopg.connect(databases.dsn(name)) as session:
        session.execute("SET jit = off")
        session.commit()
        yield session
        session.rollback()
    databases.drop(name)


def test_differential_random_functions(session):
    texts = {seed: Generator(seed, shipped=seed % 3 == 0).function(f"f{seed}") for seed in range(FUNCTIONS)}
    texts = {seed: text for seed, text in texts.items() if valid(text)}
    made = module("\n\n\n".join([HEADING, *texts.values()]), "random_functions")
    given = prepare(session, rows(100_000, 60))
    found = {seed: trial(session, getattr(made, f"f{seed}"), given) for seed in texts}
    assert not [(seed, str(f), texts[seed]) for seed, f in found.items() if f.failed]
    assert sum(f.kind in ("sql", "python") for f in found.values()) > 0.8 * len(found)


def test_differential_random_graphs(session):
    found = {seed: trial_of_graph(session, seed, steps=6) for seed in GRAPHS}
    assert {seed: str(f) for seed, f in found.items() if f.kind != "right"} == {}
    assert any(map(is_shipped, found))
