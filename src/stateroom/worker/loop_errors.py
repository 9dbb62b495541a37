"""Errors that nobody in a cell gets to see: of background tasks, and of callbacks of the loop."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import traceback
from types import TracebackType
from typing import Any

from .event_loop import origin_of_task
from .origin import origin_of_cell

__all__ = ["LoopErrors"]

_RUN = asyncio.Handle._run.__code__
_TASK_FLAGS = 0x80 | 0x100  # CO_COROUTINE, CO_ITERABLE_COROUTINE


class LoopErrors:
    """Prints them to stderr, as output of the cell that made the task."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.reported = 0

    def __repr__(self) -> str:
        return f"<LoopErrors reported={self.reported}>"

    def install(self) -> None:
        self._loop.set_exception_handler(self._handle)

    def left_loop(self, error: BaseException) -> None:
        """A SystemExit or KeyboardInterrupt tore through ``run_forever``.

        Of a task it is kept by the task; of a plain callback this is the only trace. The frames of the
        loop refer to the task: without them, one that nobody retrieves is reported at once.
        """
        run = _call_by_loop(error.__traceback__)
        called = None if run is None else run.tb_next
        context = {"message": "callback raised", "exception": error}
        if run is not None and called is not None:
            is_task = called.tb_frame.f_code.co_flags & _TASK_FLAGS
            if not is_task:  # f_locals stays with the frame in 3.12, and would keep a task
                context["handle"] = run.tb_frame.f_locals["self"]
            _clear_frames(error.__traceback__, called)
            error.__traceback__ = called
            if is_task:
                return
        self._loop.call_exception_handler(context)

    def _handle(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An asyncio exception handler."""
        self.reported += 1
        origin = _origin(context)
        token = origin_of_cell.set(origin) if origin is not None else None
        try:
            if (stream := getattr(sys, "stderr", None)) is not None:
                stream.write(_text(context))
        finally:
            if token is not None:
                origin_of_cell.reset(token)


def _call_by_loop(first: TracebackType | None) -> TracebackType | None:
    """Where, in a traceback that goes through the loop, the loop called something."""
    while first is not None and first.tb_frame.f_code is not _RUN:
        first = first.tb_next
    return first


def _clear_frames(first: TracebackType | None, end: TracebackType) -> None:
    """Empty the frames of a traceback, up to ``end``, as far as they have ended."""
    while first is not None and first is not end:
        with contextlib.suppress(RuntimeError):
            first.tb_frame.clear()
        first = first.tb_next


def _origin(context: dict[str, Any]) -> str | None:
    """The execution that the failed task or callback belongs to."""
    task = context.get("task") or context.get("future")
    handle = context.get("handle")
    if (origin := origin_of_task(task)) is not None:
        return origin
    if handle is not None and handle._context is not None:
        return handle._context.get(origin_of_cell)  # type: ignore[no-any-return]
    return None


def _text(context: dict[str, Any]) -> str:
    """The message, the objects it is about, and the traceback."""
    about = [f"{key}: {context[key]!r}" for key in ("task", "future", "handle") if key in context]
    lines = [context.get("message", "Unhandled exception in the event loop"), *about]
    error = context.get("exception")
    text = "\n".join(lines) + "\n"
    return text + "".join(traceback.format_exception(error)) if error is not None else text
