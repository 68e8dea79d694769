"""Incremental view maintenance for plain PostgreSQL."""

from pg_stepping.backend import Script
from pg_stepping.change import Change, change_view, plan_change
from pg_stepping.errors import NoLineage, SteppingError, UnsupportedQuery
from pg_stepping.explain import explain
from pg_stepping.frontend.python import (
    Action,
    Cache,
    CachedZSet,
    Data,
    Graph,
    Index,
    Integrated,
    Pair,
    RowNotFound,
    StorePostgres,
    ZSet,
    actions,
    compile,
    function,
    group_reduce_flatten,
    integrate_indexed,
    join,
    map,
)
from pg_stepping.lineage import SourceRow, why
from pg_stepping.repair import repair
from pg_stepping.shipped import version as _version
from pg_stepping.views import (
    Difference,
    Installed,
    apply,
    create_view,
    drop_view,
    generate,
    init,
    installed,
    list_views,
    verify,
)

__version__ = _version()

__all__ = [
    "Action",
    "Cache",
    "CachedZSet",
    "Change",
    "Data",
    "Difference",
    "Graph",
    "Index",
    "Installed",
    "Integrated",
    "NoLineage",
    "Pair",
    "RowNotFound",
    "Script",
    "SourceRow",
    "SteppingError",
    "StorePostgres",
    "UnsupportedQuery",
    "ZSet",
    "actions",
    "apply",
    "change_view",
    "compile",
    "create_view",
    "drop_view",
    "explain",
    "function",
    "generate",
    "group_reduce_flatten",
    "init",
    "installed",
    "integrate_indexed",
    "join",
    "list_views",
    "map",
    "plan_change",
    "repair",
    "verify",
    "why",
]
