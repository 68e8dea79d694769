"""The numbers by which tools order their migrations."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

_TIMESTAMP = 14


def numbered(folder: Path, pattern: str) -> list[tuple[int, Path]]:
    """The files whose names match, by the number that is the pattern's first group."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    found = [(re.match(pattern, f.name), f) for f in files]
    return sorted((int(m[1]), f) for m, f in found if m is not None)


def following(taken: list[str], first: str) -> str:
    """The number after those that are taken: as wide as these, and a timestamp if they are.

    `first` is what it is if none is taken; "now" is a timestamp.
    """
    now = datetime.now(UTC).strftime("%Y%m%d%H%M%S")
    if not taken:
        return now if first == "now" else first
    last = max(taken, key=int)
    more = int(last) + 1
    return str(max(int(now), more)) if len(last) == _TIMESTAMP else str(more).zfill(len(last))
