"""Whose code a function or module is: the user's own, the standard library's, or a third party's."""

from __future__ import annotations

import sys
import sysconfig
import types
from functools import cache
from pathlib import Path
from typing import Any

_PACKAGES = tuple({sysconfig.get_paths()[name] for name in ("purelib", "platlib")})
_OURS = str(Path(__file__).parents[3])


@cache
def origin(module: str) -> str:
    """`standard`, `installed` (from PyPI or the like), `ours`, or `user`."""
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names and top != "__main__":
        return "standard"
    if top == "pg_stepping":
        return "ours"
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is not None and (file.startswith(_PACKAGES) or "site-packages" in file):
        return "installed"
    return "user"


def is_users(value: Any) -> bool:
    """Whether a function or class is the user's own, so that its source belongs to the query."""
    if isinstance(value, types.ModuleType):
        return origin(value.__name__) == "user"
    return origin(getattr(value, "__module__", None) or "__main__") == "user"
