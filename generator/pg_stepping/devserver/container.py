"""PostgreSQL with plpython3u in a Docker container, through testcontainers (extra `container-server`)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pg_stepping.devserver import machine
from pg_stepping.devserver.server import NoServer, Server

IMAGE = "pg_stepping-devserver"


@contextmanager
def start(settings: Mapping[str, str]) -> Iterator[Server]:
    """A container from the image that the Dockerfile beside this file describes."""
    if not machine.docker_engine():
        raise NoServer("no Docker engine answers")
    try:
        from docker.errors import DockerException
        from testcontainers.community.postgres import PostgresContainer
        from testcontainers.core.image import DockerImage
    except ImportError as error:
        raise NoServer("the extra container-server is not installed") from error

    try:
        # Built once: the image stays, and Docker finds it the next time.
        image = DockerImage(path=Path(__file__).parent, tag=IMAGE).build()
    except DockerException as error:
        raise NoServer(f"the Docker image cannot be built: {error}") from error
    command = ["postgres", *(part for item in settings.items() for part in ("-c", "=".join(item)))]
    with PostgresContainer(str(image), driver=None).with_command(command) as container:
        yield Server.at(container.get_connection_url(), "a Docker container")
