"""Ends code that swallows its cancel: from the second request on, every line of it raises.

``sys.monitoring`` (PEP 669) is told of the cell's live frames only, so nothing else gets slower,
and nothing at all until a cell has swallowed a cancel. Where it is not to be had (CPython 3.11, or the
user's tools have taken what it has), ``sys.settrace`` does the same.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from threading import get_ident
from types import CodeType, FrameType
from typing import Any

__all__ = ["Insistence", "suspended_frames"]

CANCELLED = asyncio.CancelledError("cancelled again, since the first request was swallowed")
TOOL_IDS = (4, 3)
"""The ids that PEP 669 leaves to anybody."""


class Insistence:
    """Makes the lines of an execution's live frames raise CancelledError, from ``begin`` to ``end``."""

    def __init__(self) -> None:
        self._codes: set[CodeType] = set()
        self._error: BaseException = CANCELLED
        self._thread = 0
        self._covers = False
        self._tool: int | None = None
        """The id that monitoring goes by; None while nothing is covered, or by tracing."""

    def __repr__(self) -> str:
        return f"<Insistence codes={len(self._codes)}>"

    def begin(self, frames: list[FrameType], error: BaseException = CANCELLED) -> None:
        """Cover these frames of the calling thread, too; their lines raise errors like ``error``."""
        self._thread = get_ident()
        self._error = error
        self._codes.update(frame.f_code for frame in frames)
        if not self._covers:  # the way is kept to the end, which undoes one way only
            self._covers = True
            self._tool = self._take_tool()
        if sys.version_info >= (3, 12) and self._tool is not None:
            for code in self._codes:
                sys.monitoring.set_local_events(self._tool, code, sum(_events()))
        else:
            for frame in frames:
                frame.f_trace = self._trace
            sys.settrace(self._trace)

    def end(self) -> None:
        """Cover nothing any more."""
        if not self._covers:
            return
        if sys.version_info >= (3, 12) and self._tool is not None:
            for code in self._codes:
                sys.monitoring.set_local_events(self._tool, code, 0)
            sys.monitoring.free_tool_id(self._tool)
            self._tool = None
        else:
            sys.settrace(None)
        self._codes.clear()
        self._covers = False

    def _take_tool(self) -> int | None:
        """An id to monitor by; None if there is none to be had."""
        if sys.version_info >= (3, 12):
            for tool in TOOL_IDS:
                if sys.monitoring.get_tool(tool) is None:
                    sys.monitoring.use_tool_id(tool, "stateroom cancel")
                    for event in _events():
                        sys.monitoring.register_callback(tool, event, self._raise)
                    return tool
        return None

    def _raise(self, code: CodeType, *_: object) -> None:
        if code in self._codes and get_ident() == self._thread:
            raise type(self._error)(*self._error.args)

    def _trace(self, frame: FrameType, event: str, _argument: object) -> Any:
        if event in ("line", "call"):  # raised at an "exception", it would be caught in its place
            self._raise(frame.f_code)
        return self._trace


def _events() -> tuple[int, ...]:
    """What a frame cannot go on without."""
    if sys.version_info >= (3, 12):
        events = sys.monitoring.events
        return events.LINE, events.JUMP, events.PY_START
    return ()


def suspended_frames(task: asyncio.Task[Any]) -> Iterator[FrameType]:
    """The frames of the coroutines in which a task waits, outermost first."""
    coroutine: Any = task.get_coro()
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is not None:
            yield frame
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
