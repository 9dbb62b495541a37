"""Which execution a piece of code belongs to, for output, input and error reports.

A ContextVar says it for the cell itself and for the tasks it makes, which copy the context.
A thread starts with an empty context, so the starting code's origin is noted on the thread.
"""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import Any

__all__ = ["current_origin", "follow_threads", "origin_of_cell"]

origin_of_cell: ContextVar[str | None] = ContextVar("stateroom_execution", default=None)

_of_thread: dict[int, str] = {}


def current_origin() -> str | None:
    """The id of the execution that the calling code belongs to, or None."""
    return origin_of_cell.get() or _of_thread.get(threading.get_ident())


def follow_threads() -> None:
    """Make every thread started from now on carry the origin of the code that starts it."""
    start = threading.Thread.start
    bootstrap = threading.Thread._bootstrap_inner  # type: ignore[attr-defined]

    def start_with_origin(self: Any) -> None:
        self._stateroom_origin = current_origin()
        start(self)

    def bootstrap_with_origin(self: Any) -> None:
        origin = getattr(self, "_stateroom_origin", None)
        if origin is not None:
            _of_thread[threading.get_ident()] = origin
        try:
            bootstrap(self)
        finally:
            _of_thread.pop(threading.get_ident(), None)

    threading.Thread.start = start_with_origin  # type: ignore[method-assign]
    threading.Thread._bootstrap_inner = bootstrap_with_origin  # type: ignore[attr-defined]
