"""Queries in Python: a query function is a way to write SQL.

`compile` calls it once and has a graph of operators (operators.py, language.py); all that it keeps becomes
a SELECT (render.py), which goes the way of every other query.
"""

from pg_stepping.frontend.python.actions import Action, RowNotFound, actions, iteration
from pg_stepping.frontend.python.cache import Cache, ZSetPostgres
from pg_stepping.frontend.python.data import EMPTY, Data, Empty, Pair
from pg_stepping.frontend.python.feed import RowChange, changes
from pg_stepping.frontend.python.functions import function
from pg_stepping.frontend.python.graph import Graph, compile, compile_lazy
from pg_stepping.frontend.python.index import Index
from pg_stepping.frontend.python.language import (
    Grouped,
    Integrated,
    add,
    add3,
    at_compile_time,
    count,
    delay,
    delay_indexed,
    differentiate,
    distinct,
    filter,
    first_n,
    flatten,
    group,
    group_reduce_flatten,
    identity_print,
    integrate,
    integrate_delay,
    integrate_indexed,
    join,
    map,
    map_many,
    neg,
    outer_join,
    per_group,
    reduce,
    transitive_closure,
)
from pg_stepping.frontend.python.memory import StorePython
from pg_stepping.frontend.python.picture import write_png
from pg_stepping.frontend.python.store import StorePostgres
from pg_stepping.frontend.python.types import AwareDatetime
from pg_stepping.frontend.python.zset import MATCH_ALL, ZSet, ZSetPython

__all__ = [
    "EMPTY",
    "MATCH_ALL",
    "Action",
    "AwareDatetime",
    "Cache",
    "Data",
    "Empty",
    "Graph",
    "Grouped",
    "Index",
    "Integrated",
    "Pair",
    "RowChange",
    "RowNotFound",
    "StorePostgres",
    "StorePython",
    "ZSet",
    "ZSetPostgres",
    "ZSetPython",
    "actions",
    "add",
    "add3",
    "at_compile_time",
    "changes",
    "compile",
    "compile_lazy",
    "count",
    "delay",
    "delay_indexed",
    "differentiate",
    "distinct",
    "filter",
    "first_n",
    "flatten",
    "function",
    "group",
    "group_reduce_flatten",
    "identity_print",
    "integrate",
    "integrate_delay",
    "integrate_indexed",
    "iteration",
    "join",
    "map",
    "map_many",
    "neg",
    "outer_join",
    "per_group",
    "reduce",
    "transitive_closure",
    "write_png",
]
