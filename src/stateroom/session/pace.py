"""How often the log is told of what happens again and again."""

from __future__ import annotations

import math
import time

__all__ = ["Pace"]

REPORT_EVERY_S = 1.0
"""A function that is always late, or always raises, is reported once in this time."""


class Pace:
    """Lets one report through in ``REPORT_EVERY_S``."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = -math.inf

    def __repr__(self) -> str:
        return f"<Pace last={self._last}>"

    def allows(self) -> bool:
        """Whether it is time for a report, which is then made."""
        now = time.monotonic()
        if now - self._last < REPORT_EVERY_S:
            return False
        self._last = now
        return True
