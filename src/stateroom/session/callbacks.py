"""Calling the user's functions in the midst of the session's own work, which none of them may interrupt."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, NoReturn

from ..logs import get_logger
from .pace import Pace

__all__ = ["call_back", "check_callback", "pass_on_exit"]

log = get_logger("stateroom.session")


def check_callback(name: str, function: object, *, may_wait: bool = False) -> None:
    """Raise TypeError for what :func:`call_back` cannot call; ``may_wait`` allows a coroutine function."""
    if function is None:
        return
    if not callable(function):
        raise TypeError(f"{name}={function!r}: give a function")
    if not may_wait and inspect.iscoroutinefunction(function):
        raise TypeError(f"{name} is a coroutine function: give a plain one, or use session.execute()")


def call_back(function: Callable[[Any], Any], message: Any, reports: Pace | None = None) -> None:
    """Call a user's callback; what it raises is logged, at the pace of ``reports``, and harms nobody.

    That goes for a CancelledError, too: nobody has cancelled a plain function. A coroutine function is
    refused in the same way: output does not wait for anybody.
    """
    try:
        answer = function(message)
        if inspect.iscoroutine(answer):
            answer.close()
            raise TypeError("this callback must be a plain function; for coroutines use session.execute()")
    except BaseException as error:
        if reports is None or reports.allows():
            log.exception("callback_failed", callback=getattr(function, "__qualname__", repr(function)))
        pass_on_exit(error)


def pass_on_exit(error: BaseException) -> None:
    """Have KeyboardInterrupt and SystemExit end the running event loop, as asyncio does.

    In a turn of its own, so that what is being done now is done; who runs the loop again finds all in order.
    """
    if not isinstance(error, KeyboardInterrupt | SystemExit):
        return

    def leave() -> NoReturn:
        raise error

    asyncio.get_running_loop().call_soon(leave)
