"""What rows of stand-ins consist of."""

from pg_stepping.frontend.python.rows import (
    PRESENT,
    Maybe,
    is_row,
    leaves,
    normal,
    parts,
    rebuilt,
    row_of,
)

__all__ = ["PRESENT", "Maybe", "is_row", "leaves", "normal", "parts", "rebuilt", "row_of"]
