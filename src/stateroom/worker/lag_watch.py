"""Names the line that holds the event loop still, by looking at its thread from the i/o thread."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Container
from types import FrameType
from typing import Any

from ..protocol.messages import WarningMessage
from .event_loop import MovableEventLoop, origin_of_task

__all__ = ["LagWatch"]


class LagWatch:
    """Sends a warning, once for each line of a cell that holds the loop for over ``limit_s``.

    It costs the loop nothing, and looks only while the loop has tasks. A stall that never lets go
    of the GIL (a long C call) is seen by nobody but the loop itself, which counts it.
    """

    def __init__(
        self,
        loop: MovableEventLoop,
        limit_s: float,
        cells: Container[str],
        send: Callable[[WarningMessage], None],
    ) -> None:
        self.limit_s = limit_s
        self._loop = loop
        self._cells = cells
        self._send = send
        self._named: set[tuple[str, int]] = set()
        self._seen: float | None = None

    def __repr__(self) -> str:
        return f"<LagWatch limit_s={self.limit_s} named={len(self._named)}>"

    def next_look(self, now: float) -> float | None:
        """As every watch of the i/o thread."""
        if not self._loop.has_tasks():
            return None
        since = self._loop.busy_since
        if since is None or since == self._seen:
            return self.limit_s
        return max(0.0, since + self.limit_s - now)

    def look(self, now: float) -> None:
        """The loop has been busy for ``limit_s``: say with what, if that is a line of a cell."""
        since, thread_id = self._loop.busy_since, self._loop.thread_id
        if since is None or thread_id is None or now - since < self.limit_s:
            return
        self._seen = since
        frame = self._innermost_of_cells(sys._current_frames().get(thread_id))
        if frame is None or (place := (frame.f_code.co_filename, frame.f_lineno)) in self._named:
            return
        self._named.add(place)
        fields: dict[str, Any] = {
            "filename": place[0],
            "line": place[1],
            "function": frame.f_code.co_qualname,
            "seconds_so_far": round(now - since, 3),
        }
        task = asyncio.current_task(self._loop)
        self._send(WarningMessage(event="loop_lag", execution_id=origin_of_task(task), fields=fields))

    def _innermost_of_cells(self, frame: FrameType | None) -> FrameType | None:
        while frame is not None and frame.f_code.co_filename not in self._cells:
            frame = frame.f_back
        return frame
