"""An event loop that a cell runs itself, and how what it is run for is cancelled.

An exception that a signal handler raises inside of a loop can cost asyncio a callback, and uvloop
swallows it. In what a task has called of asyncio it can leave a task that runs and is in no list; in
the end of ``asyncio.run``, the loop open and in place for the cells that follow. So the loop is asked,
as asyncio's Runner does for SIGINT: it cancels its main task. Another task of the loop, or a callback,
may have the thread and keep it: that has to end as well.
"""

from __future__ import annotations

import asyncio
import os
import selectors
from _asyncio import _get_running_loop
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NamedTuple
from weakref import WeakSet

from .frames import is_standard
from .insist import suspended_frames
from .trio_runs import TrioRun, trio_run_code

__all__ = ["ASYNCIO_FOLDER", "RUN_HANDLE", "OwnLoop", "is_in_asyncio", "own_loop_around"]

ASYNCIO_FOLDER = os.path.dirname(asyncio.__file__) + os.sep
LOOP_CODE = (ASYNCIO_FOLDER, selectors.__file__)
RUN_HANDLE = asyncio.Handle._run.__code__
"""What calls all that a loop runs."""
RUN_UNTIL_COMPLETE = asyncio.BaseEventLoop.run_until_complete.__code__


class OwnLoop(NamedTuple):
    """A loop that runs in the interrupted thread, for ``future`` if that is known: a loop in C hides it."""

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any] | None
    current: asyncio.Task[Any] | None
    """The task that has the thread."""
    is_idle: bool
    """Whether the thread is in the code of the loop, and not in what it has called."""

    @property
    def swallows(self) -> bool:
        """Whether an exception raised inside of its code would not come out."""
        return not isinstance(self.loop, asyncio.BaseEventLoop)

    @property
    def is_over(self) -> bool:
        """Whether it is about to end by itself: an exception in its code could cost it just that."""
        return self.is_idle and self.future is not None and self.future.done()

    @property
    def may_not_end(self) -> bool:
        """Whether code of the user's can hold up the end that is about to come."""
        return False

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """As of a future."""
        return self.loop

    def call_soon(self, function: Callable[..., object], *args: object) -> None:
        """Have the loop call it."""
        self.loop.call_soon_threadsafe(function, *args)

    def futures(self) -> WeakSet[asyncio.Future[Any]]:
        """Its tasks, and what it is run for."""
        futures: WeakSet[asyncio.Future[Any]] = WeakSet(asyncio.all_tasks(self.loop))
        if self.future is not None:
            futures.add(self.future)
        return futures

    def untold(self, told: WeakSet[asyncio.Future[Any]]) -> list[asyncio.Future[Any]]:
        """What a cancel is for, and has not been told of it: what the loop is run for, or all its tasks."""
        wanted = [*self.futures()] if self.future is None else [self.future]
        return [future for future in wanted if future not in told]

    def must_hear(self, present: WeakSet[asyncio.Future[Any]]) -> bool:
        """Whether the task that has the thread was there when the loop was told, and has not heard of it."""
        return self.current in present and self.current is not None and not self.current.cancelling()

    def frames(self) -> Iterator[FrameType]:
        """The frames in which its tasks wait."""
        for task in asyncio.all_tasks(self.loop):
            yield from suspended_frames(task)


def own_loop_around(frame: FrameType | None) -> OwnLoop | TrioRun | None:
    """The loop that the interrupted thread runs for the cell, if there is one."""
    loop = _get_running_loop()
    if loop is not None and not isinstance(loop, asyncio.BaseEventLoop):
        current = asyncio.current_task(loop)
        return OwnLoop(loop, None, current, is_idle=current is None)
    is_idle, run_of_trio, interrupted = True, trio_run_code(), frame
    while frame is not None and frame.f_code is not RUN_UNTIL_COMPLETE:
        if frame.f_code is run_of_trio and interrupted is not None:
            return TrioRun.around(interrupted)
        is_idle = is_idle and frame.f_code.co_filename.startswith(LOOP_CODE)
        frame = frame.f_back
    # Not asked which loop runs: this one may be about to, or have ended just now.
    future = None if frame is None else frame.f_locals.get("future")
    if not isinstance(future, asyncio.Future):
        return None
    loop = future.get_loop()
    return OwnLoop(loop, future, asyncio.current_task(loop), is_idle)


def is_in_asyncio(frame: FrameType | None) -> bool:
    """Whether asyncio has the thread, or what it has called: to make a task or a loop, say, or to end one."""
    while frame is not None and frame.f_code is not RUN_HANDLE and is_standard(frame.f_code.co_filename):
        if frame.f_code.co_filename.startswith(ASYNCIO_FOLDER):
            return True
        frame = frame.f_back
    return False
