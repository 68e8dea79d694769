"""All of TPC-H: the views stay right under its refresh functions and under random changes of every table."""

import random

import pytest
import replay
from tpch_data import KEYS, Generator


@pytest.fixture(scope="module")
def session(databases):
    with replay.loaded(databases, "tpch", Generator(1).tables()) as session:
        yield session


@pytest.fixture(autouse=True)
def _clean(session):
    yield
    session.rollback()


@pytest.mark.parametrize(("query", "language"), replay.queries("tpch"))
def test_stays_right(session, query, language):
    data = Generator(2)
    data.next_order = 1001
    watched = replay.Watched(session, query, language)

    orders, lines = data.orders(8)
    watched.ran.append(replay.insert(session, "orders", orders))
    watched.ran.append(replay.insert(session, "lineitem", lines))
    watched.check()

    for table, key in ("lineitem", "l_orderkey"), ("orders", "o_orderkey"):
        watched.ran.append(f"DELETE FROM {table} WHERE {key} % 5 = 0")
        session.execute(watched.ran[-1])
        watched.check()

    writer = replay.SingleRows(session, random.Random(3), KEYS, data.row)
    for place in range(replay.SINGLE_ROWS):
        watched.ran.append(writer.run(place))
        if place % 3 == 2:
            watched.check()
    watched.end()
