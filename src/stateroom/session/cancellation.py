"""Ends a running cell: signals until the worker's reply is there, or the grace is over."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable

from .execution import Execution

__all__ = ["CancelOutcome", "cancel_running"]

RESEND_FACTOR = 1.5
RESEND_MAX_FACTOR = 50


class CancelOutcome(enum.StrEnum):
    """What a cancel came to."""

    CANCELLED = "cancelled"
    """The cell has ended because of it, or was taken out of the queue."""
    IGNORED = "ignored"
    """The cell ended by itself meanwhile, or swallowed the cancel, or has not ended within the grace."""
    NOTHING_RUNNING = "nothing_running"
    """There was nothing to cancel."""


async def cancel_running(
    execution: Execution, request: Callable[[int, int], None], *, resend_s: float, grace_s: float
) -> CancelOutcome:
    """Signal until ``execution`` ends; ``request(number, attempt)`` sends one signal.

    A signal can be lost (in a ``__del__``, say) or come where nothing may be raised, hence the
    repetition; the pauses grow from ``resend_s``.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + grace_s
    execution.cancel_attempts += 1
    attempt, pause_s = execution.cancel_attempts, resend_s
    while not execution.done.done() and (left_s := deadline - loop.time()) > 0:
        request(execution.number, attempt)
        await asyncio.wait([execution.done], timeout=min(pause_s, left_s))
        pause_s = min(pause_s * RESEND_FACTOR, resend_s * RESEND_MAX_FACTOR)
    if execution.done.done() and execution.done.result().cancelled:
        return CancelOutcome.CANCELLED
    return CancelOutcome.IGNORED
