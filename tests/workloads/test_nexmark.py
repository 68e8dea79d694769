"""Nexmark, but for what needs sessions (q11) or a file beside the stream (q13): the views stay right."""

import random

import pytest
import replay
from nexmark_data import KEYS, Generator


@pytest.fixture(scope="module")
def session(databases):
    with replay.loaded(databases, "nexmark", Generator(1).tables()) as session:
        yield session


@pytest.fixture(autouse=True)
def _clean(session):
    yield
    session.rollback()


@pytest.mark.parametrize(("query", "language"), replay.queries("nexmark"))
def test_stays_right(session, query, language):
    data = Generator(2)
    watched = replay.Watched(session, query, language)

    for table, size in ("person", 4), ("auction", 8), ("bid", 40):
        watched.insert(table, [data.row(table) for _ in range(size)])
        watched.check()

    for table, condition in ("bid", "auction % 7 = 0"), ("auction", "id % 7 = 1"), ("person", "id % 7 = 2"):
        watched.run(f"DELETE FROM {table} WHERE {condition}")
        watched.check()

    watched.run_single_rows(replay.SingleRows(session, random.Random(3), KEYS, data.row))
    watched.end()
