"""All of TPC-H: the views stay right under its refresh functions and under random changes of every table."""

import random

import pytest
import replay
from tpch_data import KEYS, Generator

# Old sales, in one statement that changes two tables.
RF2 = """
    WITH old AS (DELETE FROM orders WHERE o_orderkey % 5 = 0 RETURNING o_orderkey)
    DELETE FROM lineitem USING old WHERE l_orderkey = o_orderkey
"""


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

    orders, lines = data.orders(20)
    watched.insert("orders", orders)
    watched.check()
    watched.insert("lineitem", lines)
    watched.check()

    watched.run(RF2)
    watched.check()

    watched.run_single_rows(replay.SingleRows(session, random.Random(3), KEYS, data.row))
    watched.end()
