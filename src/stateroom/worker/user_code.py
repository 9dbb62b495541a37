"""The one frame through which the engine runs user code on a cell's behalf, besides the cell itself."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable
from typing import Any

from .time_limit import TookTooLong

__all__ = ["call_user_code", "failure_of"]


def call_user_code(function: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Any:
    """Call it: this frame tells the interrupt handler that what runs inside may be cancelled."""
    return function(*arguments, **keywords)


def failure_of(error: BaseException) -> str:
    """What became of a call: "raised ValueError", "took longer than 2.0 s". A cancel is raised again."""
    if isinstance(error, CancelledError):
        raise error
    if isinstance(error, TookTooLong):
        return str(error).removeprefix("it ")
    return f"raised {type(error).__name__}"
