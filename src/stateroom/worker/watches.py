"""What the i/o thread looks after by the clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ..engine.telemetry import Telemetry
from ..protocol.messages import HeartbeatMessage
from .handover import Handover, Place

__all__ = ["HeartbeatWatch", "TakeoverWatch"]

LINGER_S = 0.1
"""How long after a cell has begun the i/o thread looks every few ms: to wake it for each would cost more."""


class TakeoverWatch:
    """Has the companion run the loop when a synchronous cell holds it still for too long."""

    def __init__(self, handover: Handover, after_s: float, wake: Callable[[], None]) -> None:
        self.after_s = after_s
        self._handover = handover
        self._wake = wake
        self._looking = False
        self._begun = 0.0

    def __repr__(self) -> str:
        return f"<TakeoverWatch looking={self._looking} {self._handover!r}>"

    def cell_begins(self) -> None:
        """From the main thread. Wakes the i/o thread only if it has stopped looking some time ago."""
        self._begun = time.monotonic()
        if not self._looking:
            self._looking = True
            self._wake()

    def next_look(self, now: float) -> float | None:
        if self._handover.place is Place.STILL:
            return max(0.0, self._handover.still_since + self.after_s - now)
        if not self._looking:
            return None
        self._looking = False  # first, and only then see whether a cell has begun meanwhile
        self._looking = now - self._begun < LINGER_S
        return self.after_s if self._looking else None

    def look(self, now: float) -> None:
        self._handover.take_over()


class HeartbeatWatch:
    """Sends a sign of life every ``interval_s``."""

    def __init__(self, send: Callable[[Any], None], interval_s: float, telemetry: Telemetry) -> None:
        self.interval_s = interval_s
        self._send = send
        self._telemetry = telemetry
        self._due = time.monotonic() + interval_s

    def __repr__(self) -> str:
        return f"<HeartbeatWatch interval_s={self.interval_s}>"

    def next_look(self, now: float) -> float | None:
        return max(0.0, self._due - now)

    def look(self, now: float) -> None:
        self._due = now + self.interval_s
        self._send(HeartbeatMessage(telemetry=self._telemetry.as_dict()))
