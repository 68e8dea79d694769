"""What rows of stand-ins consist of. (Where there is a rows.py, import all of this from there.)"""

from __future__ import annotations

from typing import Any

from pg_stepping.frontend.python.data import Data, Pair
from pg_stepping.frontend.python.scalar import Scalar
from pg_stepping.frontend.python.tracing import _parts as parts
from pg_stepping.frontend.python.tracing import _rebuilt as rebuilt
from pg_stepping.frontend.python.tracing import leaves, normal, row_of

PRESENT = "?"


class Maybe:
    """A row that is there where `present` is true, and is `absent` elsewhere."""

    present: Scalar
    row: Any
    absent: Any


def is_row(value: object) -> bool:
    """Whether a value consists of others, or may be missing as a whole."""
    return type(value) is not Scalar and (isinstance(value, tuple | Data | Pair) or type(value) is Maybe)


__all__ = ["PRESENT", "Maybe", "is_row", "leaves", "normal", "parts", "rebuilt", "row_of"]
