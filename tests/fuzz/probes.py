"""What `make fuzz` tries: each probe takes a session and a seed, and returns what became of its queries.

queries    random queries over three tables (query_generator.py)
composed   more of SQL, over partitioned tables, ordinary views and maintained views (composer.py)
joins      every syntax of FROM (joins.py)
values     values of every type that play tricks (values.py)
"""

from functools import partial

import values
from composer import Composer, World
from fuzzing import attempt, shrink, trial, twice
from joins import Joins

LANGUAGES = ("plpgsql", "plpgsql", "plpython3u")
MODES = ("immediate", "deferred")


def queries(session, seed):
    return [trial(session, seed, seed)]


def _world(mode, language):
    return lambda seed: World(seed, mode, language)


def composed(session, seed, statements=8):
    language, mode = LANGUAGES[seed % 3], MODES[seed % 2]
    query = Composer(seed).statement()
    if seed % 8 == 7:
        query = twice(session, query)
    return [attempt(session, query, seed, statements, language, 8000, mode, _world(mode, language))]


def joins(session, seed, statements=5):
    query = Joins(seed).statement()
    return [attempt(session, query, seed, statements, LANGUAGES[seed % 3], 8000, MODES[seed % 2])]


PROBES = {"queries": queries, "composed": composed, "joins": joins, "values": values.trial}


def shrunk(session, probe, outcome, seed, budget):
    """A smaller query that fails in the same way, where the probe's own are not small already."""
    if probe == "values" or not budget:
        return outcome
    more = {
        "composed": {"world": _world(outcome.mode, outcome.language), "statements": 8},
        "joins": {"statements": 5},
    }
    return partial(shrink, **more.get(probe, {}))(session, outcome, seed, budget)
