"""An event loop that a cell runs itself, and how what it is run for is cancelled.

An exception that a signal handler raises inside of a loop can cost asyncio a callback, and uvloop
swallows it. So the loop is asked, as asyncio's Runner does for SIGINT: it cancels its main task.
"""

from __future__ import annotations

import asyncio
import os
import selectors
from _asyncio import _get_running_loop
from collections.abc import Iterator
from types import FrameType
from typing import Any, NamedTuple

from .insist import suspended_frames

__all__ = ["ASYNCIO_FOLDER", "OwnLoop", "own_loop_at"]

ASYNCIO_FOLDER = os.path.dirname(asyncio.__file__) + os.sep
LOOP_CODE = (ASYNCIO_FOLDER, selectors.__file__)
RUN_UNTIL_COMPLETE = asyncio.BaseEventLoop.run_until_complete.__code__


class OwnLoop(NamedTuple):
    """A loop whose own code has the thread, not code that it has called."""

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any] | None
    """What it is run for; None if that cannot be known, as of a loop written in C."""

    @property
    def swallows(self) -> bool:
        """Whether an exception raised inside of it would not come out."""
        return not isinstance(self.loop, asyncio.BaseEventLoop)

    def cancel(self) -> None:
        """In the loop: cancel what it is run for, or all its tasks."""
        for future in self._futures():
            future.cancel()

    def frames(self) -> Iterator[FrameType]:
        """The frames in which its tasks wait."""
        for task in asyncio.all_tasks(self.loop):
            yield from suspended_frames(task)

    def _futures(self) -> list[asyncio.Future[Any]]:
        return [*asyncio.all_tasks(self.loop)] if self.future is None else [self.future]


def own_loop_at(frame: FrameType | None) -> OwnLoop | None:
    """The loop that the interrupted thread runs, if no code called by it has the thread now."""
    loop = _get_running_loop()
    if loop is None or isinstance(loop, asyncio.BaseEventLoop):
        return _loop_of_asyncio(frame)
    return OwnLoop(loop, None) if asyncio.current_task(loop) is None else None


def _loop_of_asyncio(frame: FrameType | None) -> OwnLoop | None:
    while frame is not None and frame.f_code.co_filename.startswith(LOOP_CODE):
        if frame.f_code is RUN_UNTIL_COMPLETE:
            future = frame.f_locals.get("future")
            if not isinstance(future, asyncio.Future) or future.done():
                return None
            return OwnLoop(future.get_loop(), future)
        frame = frame.f_back
    return None
