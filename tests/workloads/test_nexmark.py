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
        fresh = [data.row(table) for _ in range(size)]
        watched.ran.append(replay.insert(session, table, fresh))
        watched.check()

    for table, condition in ("bid", "auction % 7 = 0"), ("auction", "id % 7 = 1"), ("person", "id % 7 = 2"):
        watched.ran.append(f"DELETE FROM {table} WHERE {condition}")
        session.execute(watched.ran[-1])
        watched.check()

    writer = replay.SingleRows(session, random.Random(3), KEYS, data.row)
    for place in range(replay.SINGLE_ROWS):
        watched.ran.append(writer.run(place))
        if place % 3 == 2:
            watched.check()
    watched.end()
