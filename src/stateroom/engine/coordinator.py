"""Answers one question in one place: is there a running event loop, and which thread runs it.

Nothing in the engine creates a loop for its caller. What needs one asks here and gets either the
loop or one clear error. In a worker the loop can change its thread; the handover does that.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Coroutine
from typing import Any

from ..errors import NoRunningLoop

__all__ = ["EventLoopCoordinator"]


class EventLoopCoordinator:
    """Finds the running loop, and keeps internal coroutines until there is a moment for them."""

    def __init__(self) -> None:
        self._deferred: deque[Coroutine[Any, Any, Any]] = deque()

    def __repr__(self) -> str:
        loop = self.running_loop()
        return f"<EventLoopCoordinator loop={loop!r} deferred={len(self._deferred)}>"

    def running_loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop that runs in this thread, or None."""
        return asyncio._get_running_loop()

    def require(self, what: str) -> asyncio.AbstractEventLoop:
        """The loop that runs in this thread; ``what`` names the caller in the error.

        Raises :class:`NoRunningLoop`, a RuntimeError, if no loop runs here.
        """
        loop = self.running_loop()
        if loop is None:
            thread = threading.current_thread().name
            raise NoRunningLoop(
                f"{what} needs a running event loop, and none runs in thread {thread!r}: await it from a "
                "coroutine that asyncio.run() runs, or use stateroom.open_session(), which needs no loop"
            )
        return loop

    def defer(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Keep something that is not urgent (a diagnostic, a notification) for the next ``flush``."""
        self._deferred.append(coroutine)

    async def flush(self) -> int:
        """Await what was deferred, in order; how many there were. One that fails stops nobody else."""
        self.require("EventLoopCoordinator.flush()")
        count = 0
        while self._deferred:
            count += 1
            try:
                await self._deferred.popleft()
            except Exception as error:  # noqa: BLE001 - reported where asyncio reports what nobody awaits
                self._report(error)
        return count

    def close(self) -> int:
        """Drop what was deferred, without running it; how many there were."""
        count = len(self._deferred)
        while self._deferred:
            self._deferred.popleft().close()
        return count

    def _report(self, error: Exception) -> None:
        context = {"message": "an internal coroutine of stateroom failed", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)
