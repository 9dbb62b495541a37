"""Signal handlers of the user's: they run in the user's code and in waits, never inside of the engine.

Python calls a handler between any two instructions of the main thread, and what it raises is raised
there. In the middle of the engine that would cost a session its worker; a script has no such place.
So ``signal.signal`` puts a function of this module before the user's. It looks at the frames, as the
cancel does. If the engine has the thread, the signal counts where that is about to return to the user's
code, or comes again a moment later, from the i/o thread.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections import deque
from collections.abc import Callable
from signal import pthread_kill, raise_signal  # cells may put others in the place of these
from threading import get_ident
from time import monotonic
from types import CodeType, FrameType
from typing import Any

from .frames import is_in_engine, is_on_stack

__all__ = ["UserSignals"]

AGAIN_S = 0.001
ENTRIES = tuple(
    os.path.join(os.path.dirname(__file__), name)
    for name in ("interrupts.py", "publisher.py", "text_stream.py", "user_display.py", "user_signals.py")
)
"""Where user code calls the engine, and safe points are on the way back."""


class UserSignals:
    """Knows the user's handlers by signal, and where they may run: see :func:`is_in_engine`.

    Not in what ``swallows`` calls, either: it copes with whatever the user's code raises there.
    One of the watches of the i/o thread; ``on_late`` is called when it has something to look after. Made
    in the main thread.
    """

    def __init__(
        self,
        waits: frozenset[CodeType],
        runs_loop: frozenset[CodeType],
        on_late: Callable[[], None],
        *,
        swallows: frozenset[CodeType] = frozenset(),
    ) -> None:
        self._swallows = swallows
        self._waits = waits | {UserSignals.deliver.__code__}
        self._runs_loop = runs_loop
        self._on_late = on_late
        self._thread = get_ident()
        self._handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._late: deque[int] = deque()
        """Signals that came at a bad time."""
        self._again_at = 0.0
        self._set, self._get = signal.signal, signal.getsignal
        self._ours = self._handle

    def __repr__(self) -> str:
        return f"<UserSignals handlers={len(self._handlers)} late={list(self._late)}>"

    def install(self) -> None:
        """Take the place of ``signal.signal`` and ``signal.getsignal``."""

        @functools.wraps(self._set)
        def set_handler(signalnum: Any, handler: Any) -> Any:
            return self.set(signalnum, handler)

        @functools.wraps(self._get)
        def get_handler(signalnum: Any) -> Any:
            return self.get(signalnum)

        signal.signal, signal.getsignal = set_handler, get_handler
        if self._get(signal.SIGINT) is signal.default_int_handler:
            self.set(signal.SIGINT, signal.default_int_handler)

    def set(self, signalnum: Any, handler: Any) -> Any:
        """As ``signal.signal``."""
        before = self.get(signalnum)
        if callable(handler):
            self._set(signalnum, self._ours)
            self._handlers[signalnum] = handler
        else:
            self._set(signalnum, handler)
            self._handlers.pop(signalnum, None)
        return before

    def get(self, signalnum: Any) -> Any:
        """As ``signal.getsignal``."""
        found = self._get(signalnum)
        return self._handlers[signalnum] if found is self._ours else found

    def deliver(self) -> None:
        """At a safe point: the handlers of what came at a bad time run now, if user code has called."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename in ENTRIES:
            frame = frame.f_back
        if self._is_bad_time(frame):
            return
        while self._late:
            raise_signal(self._late.popleft())

    def next_look(self, now: float) -> float | None:
        """As every watch of the i/o thread."""
        return max(0.0, self._again_at - now) if self._late else None

    def look(self, _now: float) -> None:
        """Send again what came at a bad time."""
        try:
            while self._late:
                pthread_kill(self._thread, self._late.popleft())
        except IndexError:  # the main thread was faster
            pass

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        handler = self._handlers.get(signum)
        if handler is None:  # taken out while this one was on its way
            return
        if self._is_bad_time(frame):
            self._again_at = monotonic() + AGAIN_S
            self._late.append(signum)
            self._on_late()
        else:
            handler(signum, frame)

    def _is_bad_time(self, frame: FrameType | None) -> bool:
        return is_in_engine(frame, self._waits, self._runs_loop) or is_on_stack(frame, self._swallows)
