"""A throwaway PostgreSQL for the demo, the tests and the benchmarks.

with devserver.start() as server:
    print(server)
    conn = psycopg.connect(server.dsn)
"""

import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import psycopg

from pg_stepping.devserver import cluster, container, wheel
from pg_stepping.devserver.server import Kind, NoServer, Server

__all__ = ["KINDS", "NoServer", "Server", "start"]

KINDS = (container.start, cluster.start, wheel.start)


@contextmanager
def start(
    variables: Sequence[str] = ("PG_STEPPING_DSN",),
    kinds: Sequence[Kind] = KINDS,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """A running server: the one an environment variable names, or the first kind this machine can start.

    `variables` are looked up in order and hold a conninfo string or URL; such a server is the user's and is
    neither changed nor stopped. A started one is stopped and deleted at the end of the block, and SIGTERM
    ends the block as Ctrl-C does. `settings` are server settings for a started one. Raises `NoServer` with
    one sentence if there is none.
    """
    for variable in variables:
        if dsn := os.environ.get(variable):
            yield named(variable, dsn)
            return
    with ExitStack() as stack:
        stack.enter_context(interrupt_on_sigterm())
        yield first(kinds, settings or {}, stack)


def named(variable: str, dsn: str) -> Server:
    """The user's own server."""
    try:
        return Server.at(dsn, f"the server {variable} names")
    except psycopg.Error as error:
        raise NoServer(f"{variable} names a server that cannot be used: {error}") from error


def first(kinds: Sequence[Kind], settings: Mapping[str, str], stack: ExitStack) -> Server:
    """Start the first kind that works here; `stack` stops it."""
    reasons = []
    for kind in kinds:
        try:
            return stack.enter_context(kind(settings))
        except NoServer as reason:
            reasons.append(str(reason))
    raise NoServer(
        f"No PostgreSQL server to work on ({'; '.join(reasons)}): install PostgreSQL 15 or later,"
        " or set PG_STEPPING_DSN to the conninfo string of a server of your own."
    )


@contextmanager
def interrupt_on_sigterm() -> Iterator[None]:
    """Turn SIGTERM into KeyboardInterrupt, so that the blocks around it end in order."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
