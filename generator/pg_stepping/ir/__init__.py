"""The plan: a relational tree of frozen nodes that cannot be ill-formed."""

from pg_stepping.ir.nodes import (
    Aggregate,
    Call,
    Filter,
    Item,
    Join,
    Outer,
    Partition,
    Plan,
    Project,
    Recursive,
    Rows,
    Scan,
    Union,
)
from pg_stepping.ir.types import Column, Table, Type

__all__ = [
    "Aggregate",
    "Call",
    "Column",
    "Filter",
    "Item",
    "Join",
    "Outer",
    "Partition",
    "Plan",
    "Project",
    "Recursive",
    "Rows",
    "Scan",
    "Table",
    "Type",
    "Union",
]
