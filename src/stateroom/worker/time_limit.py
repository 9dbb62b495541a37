"""Ends user code that shows a value (``__repr__`` and its like), or saves one, when it takes too long.

The i/o thread is the clock: it signals the main thread, whose signal handler raises
:class:`TookTooLong` where that code runs (see :mod:`stateroom.worker.interrupts`).
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from threading import get_ident
from time import monotonic
from types import CodeType

from ..protocol.cancel_page import CANCEL_SIGNAL_NAME

__all__ = ["TimeLimit", "TookTooLong"]

SIGNAL_AGAIN_S = 0.01
"""Until the next signal, if one found the main thread where nothing may be raised."""
MAX_WAIT_S = 3600.0
"""The i/o thread looks again at least so often: it cannot wait for an endless limit."""


class TookTooLong(BaseException):
    """Raised in user code by the time limit; no Exception, so that most code lets it pass."""


class TimeLimit:
    """``with limit:`` around calls of user code, in the thread that makes this object.

    ``codes`` is the code of the engine that calls it: what a frame of that has called may be ended.
    Each call that is ended gives the next one ``limit_s`` of its own. The i/o thread is woken only
    if it has not looked for some time: to wake it for each value would cost more than most values.
    """

    def __init__(
        self, limit_s: float, wake: Callable[[], None], codes: frozenset[CodeType] = frozenset()
    ) -> None:
        self.limit_s = limit_s
        self.codes = codes
        self.ended = 0
        """How often something was ended since the limit was entered."""
        self._wake = wake
        self._thread = get_ident()
        self._ends_at: float | None = None
        self._signal_at = 0.0
        self._begun = 0.0
        self._looking = False

    def __repr__(self) -> str:
        return f"<TimeLimit limit_s={self.limit_s} ended={self.ended} ends_at={self._ends_at}>"

    def set(self, limit_s: float, codes: frozenset[CodeType]) -> None:
        """Another limit from now on, of ``limit_s`` seconds; not while it is entered."""
        self.codes = codes
        if limit_s != self.limit_s:
            self.limit_s = limit_s
            self._wake()  # it may be asleep for as long as the one before

    def __enter__(self) -> None:
        self.ended = 0
        self._begun = monotonic()
        self._ends_at = self._begun + self.limit_s
        if not self._looking:
            self._looking = True
            self._wake()

    def __exit__(self, *_: object) -> None:
        self._ends_at = None

    def has_passed(self) -> bool:
        """Whether code is running on borrowed time."""
        return self._ends_at is not None and monotonic() >= self._ends_at

    def end(self) -> TookTooLong:
        """What to raise; the time begins anew."""
        self.ended += 1
        self._ends_at = monotonic() + self.limit_s
        return TookTooLong(f"it took longer than {self.limit_s} s")

    def next_look(self, now: float) -> float | None:
        """As every watch of the i/o thread."""
        ends_at = self._ends_at
        if ends_at is not None:
            return min(MAX_WAIT_S, max(0.0, max(ends_at, self._signal_at) - now))
        if not self._looking:
            return None
        self._looking = False  # first, and only then see whether the limit was entered meanwhile
        self._looking = now - self._begun < self.limit_s
        return min(MAX_WAIT_S, self.limit_s / 2) if self._looking else None

    def look(self, now: float) -> None:
        """Signal the thread that has run out of time."""
        self._signal_at = now + SIGNAL_AGAIN_S
        signal.pthread_kill(self._thread, getattr(signal, CANCEL_SIGNAL_NAME))
