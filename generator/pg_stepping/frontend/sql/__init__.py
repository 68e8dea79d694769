"""The SQL front end: the text of a query becomes a plan."""

from pg_stepping.frontend.sql.query import Query, read_query

__all__ = ["Query", "read_query"]
