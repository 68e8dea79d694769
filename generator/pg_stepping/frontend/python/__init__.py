"""Queries in Python: a query function is a way to write SQL.

`compile` calls it once and has a graph of operators (operators.py, tracing.py); each of its caches becomes
one SELECT (render.py), which goes the way of every other query.
"""

from pg_stepping.frontend.python.actions import Action, RowNotFound, actions
from pg_stepping.frontend.python.cache import Cache, CachedZSet
from pg_stepping.frontend.python.data import Data, Pair
from pg_stepping.frontend.python.functions import function
from pg_stepping.frontend.python.graph import Graph, compile
from pg_stepping.frontend.python.index import Index
from pg_stepping.frontend.python.operators import (
    Integrated,
    ZSet,
    group_reduce_flatten,
    integrate_indexed,
    join,
    map,
)
from pg_stepping.frontend.python.store import StorePostgres

__all__ = [
    "Action",
    "Cache",
    "CachedZSet",
    "Data",
    "Graph",
    "Index",
    "Integrated",
    "Pair",
    "RowNotFound",
    "StorePostgres",
    "ZSet",
    "actions",
    "compile",
    "function",
    "group_reduce_flatten",
    "integrate_indexed",
    "join",
    "map",
]
