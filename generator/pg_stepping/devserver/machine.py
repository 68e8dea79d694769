"""What this machine has: PostgreSQL server programs, a Docker engine.

Standard library only, because `.ci/setup.py` reads this file before anything is installed.
"""

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

OLDEST_MAJOR = 15

# Distributions keep server programs off the PATH, one folder for each major version.
FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)


class Programs(NamedTuple):
    """A folder with `initdb` and `postgres`, and the major version of that server."""

    major: int
    folder: Path


def server_programs() -> "Programs | None":
    """The newest server programs on this machine, or None if there are none of version 15 or later."""
    on_path = shutil.which("initdb")
    folders = [folder for pattern in FOLDERS for folder in Path("/").glob(pattern[1:])]
    return newest([*folders, *([Path(on_path).resolve().parent] if on_path else [])])


def newest(folders: Iterable[Path]) -> "Programs | None":
    """The folder with the newest server that is new enough."""
    found = (Programs(major(folder), folder) for folder in folders)
    return max((programs for programs in found if programs.major >= OLDEST_MAJOR), default=None)


def major(folder: Path) -> int:
    """The major version of the server in `folder`; 0 if it has no server that runs."""
    if not (folder / "initdb").exists():
        return 0
    try:
        told = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return 0
    number = re.search(r"\) (\d+)", told.stdout)
    return int(number[1]) if number else 0


def docker_engine() -> bool:
    """Whether a Docker engine answers; the client alone is not enough."""
    try:
        asked = subprocess.run(
            ["docker", "info"], stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0
