"""Whether this Python can do durable work at all, which no extra changes."""

from __future__ import annotations

import sys

__all__ = ["check_python"]

NEEDED = (3, 12)


def check_python() -> None:
    """Raise ImportError for a Python that the packages of the extras are not for."""
    have = tuple(sys.version_info[:2])
    if have < NEEDED:
        raise ImportError(f"durable executions need Python 3.12 or newer; this is {sys.version.split()[0]}")
