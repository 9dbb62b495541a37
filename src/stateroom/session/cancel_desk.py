"""Which execution is ended, on whose behalf: by request, by a time limit, or since nobody waits for it."""

from __future__ import annotations

import asyncio

from ..config import SessionConfig
from ..protocol.lifecycle import SessionState
from .background_tasks import BackgroundTasks
from .cancellation import Canceller, CancelOutcome, Rung
from .checkpoint_job import CheckpointJob
from .execution import Execution
from .router import Router, Work
from .schedule import Schedule
from .supervisor import Supervisor

__all__ = ["CancelDesk"]


class CancelDesk:
    """Ends what runs in one session, and what waits in its queue."""

    def __init__(
        self,
        config: SessionConfig,
        router: Router,
        schedule: Schedule,
        supervisor: Supervisor,
        background: BackgroundTasks,
    ) -> None:
        self.canceller = Canceller(
            config, request=self._request, can_stop=self._can_stop, hard_stop=self._hard_stop
        )
        self._grace_s = config.cancel_grace_s
        self._restore_timeout_s = config.restore_timeout_s
        self._router = router
        self._schedule = schedule
        self._supervisor = supervisor
        self._background = background

    def __repr__(self) -> str:
        return f"<CancelDesk {self.canceller!r}>"

    async def cancel(self, execution_id: str | None, *, hard_stop: bool) -> CancelOutcome:
        """End the execution of that id; without one what runs, or else what waits longest.

        What the session does by itself is meant only by a hard stop, when nothing waits: who asks twice
        for the end of a cell must not end the recovery of his state behind it.
        """
        work = self._find(execution_id, hard_stop=hard_stop)
        if work is None:
            return CancelOutcome.NOTHING_RUNNING
        if self._schedule.cancel_unbegun(work):
            return CancelOutcome.CANCELLED
        return await self._end(work, up_to=Rung.HARD_STOP if hard_stop else Rung.ASK)

    def abandon(self, work: Work) -> None:
        """Nobody waits for it any more: end it, so that the next one can run.

        The worker is not killed for a checkpoint or a restore: what it holds may be all that there is.
        """
        if not self._schedule.cancel_unbegun(work) and not work.done.done():
            up_to = Rung.INSIST if isinstance(work, CheckpointJob) else Rung.HARD_STOP
            self._background.run(self._end(work, up_to=up_to))

    def limit(self, execution: Execution, timeout_s: float) -> asyncio.TimerHandle:
        """End it if it has not ended after ``timeout_s``; the timer can be cancelled."""

        def expire() -> None:
            if not execution.done.done():
                execution.timeout_s = timeout_s
                self._background.run(self._end_by_timeout(execution))

        return asyncio.get_running_loop().call_later(timeout_s, expire)

    async def see_through(self, recovery: CheckpointJob) -> None:
        """Wait for its end; if it has not ended after ``restore_timeout_s``, the worker goes on without it.

        Raises what the start of another worker raises, if there has to be one.
        """
        await asyncio.wait([recovery.done], timeout=self._restore_timeout_s)
        if not recovery.done.done():
            recovery.timeout_s = self._restore_timeout_s
            await self._end(recovery, up_to=Rung.HARD_STOP)

    def _find(self, execution_id: str | None, *, hard_stop: bool) -> Work | None:
        """What is meant; of several of one id, that which came first."""
        running = self._router.running
        if execution_id is not None:
            is_meant = running is not None and running.execution_id == execution_id
            return running if is_meant else self._schedule.find_queued(execution_id)
        if running is None or running.is_automatic:
            return self._schedule.first_queued() or (running if hard_stop else None)
        return running

    async def _end_by_timeout(self, execution: Execution) -> None:
        if not self._schedule.cancel_unbegun(execution):
            await self._end(execution, up_to=Rung.HARD_STOP)

    async def _end(self, work: Work, *, up_to: Rung) -> CancelOutcome:
        """Climb the ladder with one that has begun, perhaps behind one whose reply was not read yet."""
        running = self._router.running
        if running is not None and running is not work:
            running.let_pass()
            # The page has room for one request, and this one may still ask for itself.
            await asyncio.wait([running.done], timeout=self._grace_s)
        return await self.canceller.cancel(work, up_to=up_to)

    def _request(self, number: int, attempt: int) -> None:
        if self._supervisor.link is not None:
            self._supervisor.link.request_cancel(number, attempt)

    def _can_stop(self, work: Work) -> bool:
        return self._schedule.state is SessionState.BUSY and self._router.running is work

    async def _hard_stop(self, work: Work) -> None:
        """Replace a worker whose cell cannot be ended otherwise; cells that wait go to the new one.

        A recovery that came to this is not tried again.
        """
        work.hard_stopped = True
        is_recovery = isinstance(work, CheckpointJob) and work.is_recovery
        await self._supervisor.replace(None if is_recovery else f"{work.execution_id} was ended by force")
