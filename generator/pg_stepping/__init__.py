"""Incremental view maintenance for plain PostgreSQL."""

from pg_stepping.backend import Script
from pg_stepping.errors import SteppingError, UnsupportedQuery
from pg_stepping.shipped import version as _version
from pg_stepping.views import (
    Difference,
    Installed,
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
    "Difference",
    "Installed",
    "Script",
    "SteppingError",
    "UnsupportedQuery",
    "create_view",
    "drop_view",
    "generate",
    "init",
    "installed",
    "list_views",
    "verify",
]
