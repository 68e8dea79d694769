"""A server to work on, and why there is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from pg_stepping.devserver.cluster import Cluster


class NoServer(RuntimeError):
    """No PostgreSQL server of this kind; the message says why, in a clause that can follow a colon."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running PostgreSQL server.

    `dsn` is a conninfo string; `place` says where the server is; `plpython` is whether plpython3u can be
    created in its databases; `cluster` is the process, if it is ours to kill and to start again.
    """

    dsn: str
    place: str
    version: str
    plpython: bool
    cluster: Cluster | None = None

    @classmethod
    def at(cls, dsn: str, place: str, cluster: Cluster | None = None) -> Server:
        """Connect to `dsn` and ask the server what it is; psycopg.OperationalError if it does not answer."""
        with psycopg.connect(dsn, connect_timeout=10) as conn:
            row = conn.execute(
                "SELECT current_setting('server_version'),"
                " EXISTS (SELECT FROM pg_available_extensions WHERE name = 'plpython3u')"
            ).fetchone()
        assert row is not None
        return cls(dsn, place, row[0], row[1], cluster)

    def __str__(self) -> str:
        languages = "with plpython3u" if self.plpython else "without plpython3u, so PL/pgSQL only"
        return f"PostgreSQL {self.version}, {self.place}, {languages}."


Kind = Callable[[Mapping[str, str]], AbstractContextManager[Server]]
"""Starts a server with these settings and stops it at the end; raises NoServer if this machine cannot."""
