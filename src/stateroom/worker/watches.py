"""What the i/o thread looks after by the clock."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from ..engine.telemetry import Telemetry
from ..protocol.messages import HeartbeatMessage
from .handover import Handover, Place
from .receiver import Receiver

__all__ = ["CellWatch", "HeartbeatWatch"]

LINGER_S = 0.1
"""How long after a cell has begun the i/o thread looks every few ms: to wake it for each would cost more."""


class CellWatch:
    """Takes over from a cell that runs for longer than ``after_s``.

    The companion then runs the loop that a synchronous cell holds still, and the i/o thread reads
    the transport. A cell that ends sooner costs nothing of that.
    """

    def __init__(
        self,
        handover: Handover,
        receiver: Receiver,
        after_s: float,
        *,
        is_asking: Callable[[], bool],
        wake: Callable[[], None],
    ) -> None:
        self.after_s = after_s
        self._is_asking = is_asking
        self._handover = handover
        self._receiver = receiver
        self._wake = wake
        self._looking = False
        self._begun = 0.0
        self._running = False

    def __repr__(self) -> str:
        return f"<CellWatch running={self._running} looking={self._looking} {self._handover!r}>"

    def cell_begins(self) -> None:
        """From the main thread. Wakes the i/o thread only if it has stopped looking some time ago."""
        self._begun = monotonic()
        self._running = True
        if not self._looking:
            self._looking = True
            self._wake()

    def cell_ends(self) -> None:
        """From the main thread, before the session can send another one."""
        self._running = False
        if self._receiver.io_thread_reads:
            self._receiver.leave_io_thread(self._needs_reader)

    def next_look(self, now: float) -> float | None:
        if self._handover.place is Place.STILL:
            return max(0.0, self._handover.still_since + self.after_s - now)
        if self._running and not self._receiver.io_thread_reads:
            return max(0.0, self._begun + self.after_s - now)
        if not self._looking:
            return None
        self._looking = False  # first, and only then see whether a cell has begun meanwhile
        self._looking = now - self._begun < LINGER_S
        return self.after_s if self._looking else None

    def look(self, now: float) -> None:
        self._handover.take_over()
        self._receiver.read_in_io_thread()
        self._receiver.leave_io_thread(self._needs_reader)  # the cell may have ended meanwhile

    def _needs_reader(self) -> bool:
        """Whether a message may come while no loop is there to read it."""
        return self._running or self._is_asking() or self._handover.place is Place.AWAY


class HeartbeatWatch:
    """Sends a sign of life every ``interval_s``."""

    def __init__(self, send: Callable[[Any], None], interval_s: float, telemetry: Telemetry) -> None:
        self.interval_s = interval_s
        self._send = send
        self._telemetry = telemetry
        self._due = monotonic() + interval_s

    def __repr__(self) -> str:
        return f"<HeartbeatWatch interval_s={self.interval_s}>"

    def next_look(self, now: float) -> float | None:
        return max(0.0, self._due - now)

    def look(self, now: float) -> None:
        self._due = now + self.interval_s
        self._send(HeartbeatMessage(telemetry=self._telemetry.as_dict()))
