"""What the i/o thread looks after by the clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ..engine.telemetry import Telemetry
from ..protocol.messages import HeartbeatMessage
from .handover import Handover, Place

__all__ = ["HeartbeatWatch", "TakeoverWatch"]


class TakeoverWatch:
    """Has the companion run the loop when a synchronous cell holds it still for too long."""

    def __init__(self, handover: Handover, after_s: float) -> None:
        self.after_s = after_s
        self.armed = False
        """Set when an execution has been handed to the main thread, which may make the loop stand still."""
        self._handover = handover

    def __repr__(self) -> str:
        return f"<TakeoverWatch armed={self.armed} {self._handover!r}>"

    def next_look(self, now: float) -> float | None:
        if not self.armed:
            return None
        if self._handover.place is Place.STILL:
            return max(0.0, self._handover.still_since + self.after_s - now)
        return self.after_s

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
