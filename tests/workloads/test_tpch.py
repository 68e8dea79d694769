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

# Many rows of the smaller tables at once.
CATALOGUE = [
    "UPDATE partsupp SET ps_supplycost = ps_supplycost + 7 WHERE ps_suppkey % 2 = 0",
    "DELETE FROM partsupp WHERE ps_availqty < 12",
    "UPDATE part SET p_size = 15, p_name = 'forest linen' WHERE p_partkey % 5 = 1",
    "UPDATE supplier SET s_acctbal = s_acctbal - 50, s_nationkey = 3 WHERE s_suppkey % 5 = 2",
    "UPDATE customer SET c_acctbal = c_acctbal + 900 WHERE c_custkey % 3 = 0",
]


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

    for statement in [RF2, *CATALOGUE]:
        watched.run(statement)
        watched.check()

    watched.run_single_rows(replay.SingleRows(session, random.Random(3), KEYS, data.row))
    watched.end()
