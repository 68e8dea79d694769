"""A private PostgreSQL cluster in a temporary folder, for Unix."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from pg_stepping.devserver import machine
from pg_stepping.devserver.server import NoServer, Server

PATIENCE = 60.0  # seconds a server may take to start or to stop

MEMORY = 2 * 2**30  # bytes free that a cluster in memory may need: its log alone can grow to 1 GB


class Cluster:
    """One `initdb` folder and the postmaster that serves it.

    `programs` is the folder with `initdb` and `postgres`. `settings` are server settings by name; with
    `{"fsync": "off"}` the cluster may lie in memory. The unix socket lies in a folder only the owner can
    enter and asks for no password; the TCP port on 127.0.0.1, which every user of the machine can reach,
    asks for one.
    """

    def __init__(self, programs: Path, settings: Mapping[str, str] | None = None) -> None:
        self.programs = programs
        self.settings = dict(settings or {})
        self.folder = Path(tempfile.mkdtemp(prefix="pg_stepping-", dir=home(self.settings)))
        self.port = free_port()
        self._password = secrets.token_urlsafe()
        self.dsn = make_conninfo(host=str(self.folder), port=self.port, user="postgres", dbname="postgres")
        self.tcp_dsn = make_conninfo(self.dsn, host="127.0.0.1", password=self._password)
        self._postmaster: subprocess.Popen[bytes] | None = None
        self._process = process_options(self.folder)
        self._log = self.folder / "log"

    def create(self) -> None:
        """Make the data directory."""
        (self.folder / "password").write_text(self._password)
        if "user" in self._process:
            for path in (self.folder, self.folder / "password"):
                os.chown(path, self._process["user"], self._process["group"])
        command: list[str | Path] = [
            *(self.programs / "initdb", "--pgdata", self.folder / "data", "--username", "postgres"),
            *("--auth-local", "trust", "--auth-host", "scram-sha-256", "--pwfile", self.folder / "password"),
            *("--encoding", "UTF8", "--no-locale", "--no-sync"),
        ]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, **self._process)
        except (OSError, subprocess.CalledProcessError) as error:
            raise NoServer(f"initdb failed: {getattr(error, 'stderr', '') or error}".strip()) from error

    def start(self) -> None:
        """Start the postmaster, also after `kill` or `stop`, and return when it takes connections."""
        deadline = time.monotonic() + PATIENCE
        while not self._try_start(deadline):
            log = self._log.read_text(errors="replace")
            # After a kill the old backends hold their shared memory until they notice that they are orphans.
            if "still in use" not in log or time.monotonic() > deadline:
                raise NoServer(f"the server in {self.folder} does not start: {log[-2000:]}")
            time.sleep(0.1)

    def _try_start(self, deadline: float) -> bool:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            **self.settings,
        }
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        with self._log.open("wb") as log:
            # A session of its own: Ctrl-C in the terminal reaches us, and we stop the server in order.
            self._postmaster = subprocess.Popen(
                [self.programs / "postgres", "-D", self.folder / "data", *options],
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._process,
            )
        while self._postmaster.poll() is None and time.monotonic() < deadline:
            try:
                psycopg.connect(self.dsn, connect_timeout=10).close()
                return True
            except psycopg.OperationalError:
                time.sleep(0.02)
        self.stop()
        return False

    def stop(self) -> None:
        """Shut down in order, open sessions or not; a second call does nothing."""
        for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            with suppress(subprocess.TimeoutExpired):
                self._signal(how)

    def kill(self) -> None:
        """Kill the postmaster as a crash would; sessions end unsaved, `start` recovers from the log."""
        self._signal(signal.SIGKILL)

    def _signal(self, how: signal.Signals) -> None:
        if self._postmaster is not None:
            self._postmaster.send_signal(how)
            self._postmaster.wait(PATIENCE)
            self._postmaster = None

    def remove(self) -> None:
        """Stop and delete everything."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def home(settings: Mapping[str, str]) -> Path | None:
    """Where to put a cluster: in memory if it may be lost with the machine, else in the temporary folder.

    A copy of an empty database, one for each test, takes 10 ms in memory and 200 ms on a slow disk.
    """
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > MEMORY
    return memory if settings.get("fsync") == "off" and roomy else None


def process_options(folder: Path) -> dict[str, Any]:
    """How server programs are run: in `folder`, without our own settings, and never as root."""
    ours = ("PG", "PYTHON")  # PGDATA, PGPORT, and what PL/Python's interpreter would read
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    options: dict[str, Any] = {"cwd": folder, "env": environment, "stdin": subprocess.DEVNULL}
    if os.geteuid() != 0:
        return options
    accounts = {entry.pw_name: entry for entry in pwd.getpwall()}
    account = accounts.get("postgres") or accounts["nobody"]
    return options | {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def start(settings: Mapping[str, str]) -> Iterator[Server]:
    """A private cluster made with the newest server programs of this machine."""
    programs = machine.server_programs()
    if programs is None:
        raise NoServer(f"no server programs of version {machine.OLDEST_MAJOR} or later on this machine")
    with serve(programs.folder, settings, "a private cluster") as server:
        yield server


@contextmanager
def serve(programs: Path, settings: Mapping[str, str], what: str) -> Iterator[Server]:
    """A cluster from these programs, removed at the end."""
    cluster = Cluster(programs, settings)
    try:
        cluster.create()
        cluster.start()
        yield Server.at(cluster.dsn, f"{what} in {cluster.folder}", cluster)
    finally:
        cluster.remove()
