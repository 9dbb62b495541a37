"""The ladder that ends a cell: ask, insist, kill; each step with a deadline of its own.

1. *Ask*: one exception in the cell, or its task cancelled. Repeated signals only make sure that it
   arrives, so a cell has time to clean up.
2. *Insist* (the second request): every line of the cell raises, which ends code that swallows.
3. *Hard stop*: the worker is killed, another one started, the last checkpoint restored. For what
   no signal reaches. Only on demand, and at the end of a timeout.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable

import msgspec

from ..config import SessionConfig
from ..protocol.lifecycle import ExecutionState
from .router import Work

__all__ = ["CancelCounters", "CancelOutcome", "Canceller", "Rung"]

RESEND_FACTOR = 1.5
RESEND_MAX_S = 0.5


class Rung(enum.IntEnum):
    """How far up the ladder one request may climb."""

    ASK = 1
    """As far as the next attempt; that is to insist, if it was asked before."""
    INSIST = 2
    HARD_STOP = 3


class CancelOutcome(enum.StrEnum):
    """What a cancel came to."""

    CANCELLED = "cancelled"
    """The cell has ended because of it, or was taken out of the queue."""
    IGNORED = "ignored"
    """The cell ended by itself meanwhile, or has not ended within the grace; ask again to insist."""
    NOTHING_RUNNING = "nothing_running"
    """There was nothing to cancel."""
    STOPPED = "stopped"
    """The hard stop: the worker was killed and replaced."""


class CancelCounters(msgspec.Struct, kw_only=True):
    """How often what happened, over the life of a session."""

    requested: int = 0
    """Requests to end a cell that had begun: by a cancel, a time limit or a close; each step is one."""
    effective: int = 0
    """Those by which a cell has ended."""
    no_op: int = 0
    """Those that came too late, or were not obeyed within their grace."""
    escalated: int = 0
    """Requests that had to insist."""
    hard_stops: int = 0
    """Workers that were killed to end a cell."""


class Canceller:
    """Ends executions of one session.

    ``request(number, attempt)`` sends one signal; ``hard_stop(execution)`` replaces the worker, if
    ``can_stop(execution)`` says that it is that execution's, and not being replaced or ended already.
    """

    def __init__(
        self,
        config: SessionConfig,
        *,
        request: Callable[[int, int], None],
        can_stop: Callable[[Work], bool],
        hard_stop: Callable[[Work], Awaitable[None]],
    ) -> None:
        self.counters = CancelCounters()
        self._config = config
        self._request = request
        self._can_stop = can_stop
        self._hard_stop = hard_stop

    def __repr__(self) -> str:
        return f"<Canceller {self.counters!r}>"

    async def cancel(self, execution: Work, *, up_to: Rung) -> CancelOutcome:
        """One request: asks the first time, insists from the second on.

        From there it climbs as far as it must, at most ``up_to``.
        """
        outcome = await self.ask(execution)
        if outcome is CancelOutcome.IGNORED and up_to >= Rung.INSIST and not execution.done.done():
            outcome = await self.ask(execution)
        if outcome is CancelOutcome.IGNORED and up_to >= Rung.HARD_STOP and self._can_stop(execution):
            self.counters.hard_stops += 1
            await self._hard_stop(execution)
            outcome = CancelOutcome.STOPPED
        return outcome

    async def ask(self, execution: Work, *, grace_s: float | None = None) -> CancelOutcome:
        """Signal until the execution ends or the grace of this attempt is over."""
        execution.cancel_attempts += 1
        attempt = execution.cancel_attempts
        self.counters.requested += 1
        self.counters.escalated += attempt > 1
        config, loop = self._config, asyncio.get_running_loop()
        if grace_s is None:
            grace_s = config.cancel_grace_s if attempt == 1 else config.insist_grace_s
        deadline = loop.time() + grace_s
        pause_s = config.cancel_resend_s
        execution.let_pass()
        while not execution.done.done() and (left_s := deadline - loop.time()) > 0:
            self._request(execution.number, max(attempt, execution.cancel_attempts))
            await asyncio.wait([execution.done], timeout=min(pause_s, left_s))
            pause_s = min(pause_s * RESEND_FACTOR, RESEND_MAX_S)
        return self._count(execution)

    def _count(self, execution: Work) -> CancelOutcome:
        if execution.state is ExecutionState.CANCELLED:
            self.counters.effective += 1
            return CancelOutcome.CANCELLED
        self.counters.no_op += 1
        return CancelOutcome.IGNORED
