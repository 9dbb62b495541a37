"""The top-level coroutine of an execution: tracked, cancelled on request, closed on every way out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from .telemetry import Telemetry

__all__ = ["CoroutineManager", "note_cancel"]


class CoroutineManager:
    """Knows the coroutine that a cell runs in, from the moment the cell is taken on.

    Tasks that the user's code made are none of its business: cancelling a cell leaves them alone.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._open: set[Coroutine[Any, Any, Any]] = set()
        self._taken_on = False
        self._task: asyncio.Task[Any] | None = None
        self._cancelled_by: str | None = None

    def __repr__(self) -> str:
        return f"<CoroutineManager open={len(self._open)} running={self._task is not None}>"

    def take_on(self) -> None:
        """A cell is about to run: a cancel that comes before its task exists is kept for it."""
        self._taken_on, self._cancelled_by = True, None

    def let_go(self) -> None:
        """The cell is over, in whatever way it ran."""
        self._taken_on = False

    async def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Await the top-level coroutine of a cell in the current task."""
        self._open.add(coroutine)
        self._task = asyncio.current_task()
        try:
            if self._cancelled_by is not None:
                raise asyncio.CancelledError("the cell was cancelled before it began")
            return await coroutine
        except asyncio.CancelledError as error:
            if self._cancelled_by is not None:
                self._telemetry.cancel_effective += 1
                note_cancel(error, self._cancelled_by)
            raise
        finally:
            self._task, self._taken_on = None, False
            self._open.discard(coroutine)
            coroutine.close()

    def cancel_current(self, by: str = "cancel_current()") -> bool:
        """Ask the running cell to end; ``by`` names the caller in a note on the CancelledError.

        From the thread that runs the loop. False, and counted as a no-op, if no cell is running.
        """
        self._telemetry.cancel_requested += 1
        if not self._taken_on or (self._task is not None and self._task.done()):
            self._telemetry.cancel_no_op += 1
            return False
        if self._cancelled_by is not None:
            self._telemetry.cancel_escalated += 1
        self._cancelled_by = by
        if self._task is not None:
            self._task.cancel()
        return True

    def cleanup_coroutines(self) -> int:
        """Close all that is still open; how many there were. 0 unless a cell was torn away."""
        count = len(self._open)
        while self._open:
            self._open.pop().close()
        return count


def note_cancel(error: BaseException, by: str) -> None:
    """Note on a CancelledError who asked for it, and when."""
    now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    error.add_note(f"cancelled by {by} at {now} UTC")
