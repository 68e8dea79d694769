"""From a query to a plan: SQL text, as Postgres itself reads it; Python functions, by way of SQL."""

from pg_stepping.frontend.sql import Query, read_query

__all__ = ["Query", "read_query"]
