"""Takes orders for checkpoints: on demand, after so many cells, at the end, and for their way back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..errors import CheckpointError, SessionBroken
from ..logs import get_logger
from ..protocol.messages import RestoredMessage
from .background_tasks import BackgroundTasks, result_of
from .cancel_desk import CancelDesk
from .checkpoint import Checkpoint
from .checkpoint_job import CheckpointJob
from .checkpoint_keeper import CheckpointKeeper, Saving
from .schedule import Schedule

__all__ = ["CheckpointDesk"]

log = get_logger("stateroom.session")


class CheckpointDesk:
    """Puts checkpoints and restores into the session's schedule, and sees them through."""

    def __init__(
        self, keeper: CheckpointKeeper, schedule: Schedule, cancels: CancelDesk, background: BackgroundTasks
    ) -> None:
        self._keeper = keeper
        self._schedule = schedule
        self._cancels = cancels
        self._background = background

    def __repr__(self) -> str:
        return f"<CheckpointDesk {self._keeper!r}>"

    async def make(self) -> Checkpoint:
        """Save the namespace, when the cells before are done."""
        self._schedule.check_open()
        return await self._make(self._schedule.submit)

    async def make_last(self) -> None:
        """Save the namespace of a session that is closing, unless nothing has happened in it."""
        if self._keeper.has_nothing_new:
            return
        try:
            await self._make(self._schedule.submit_last)
        except (CheckpointError, SessionBroken) as error:
            log.warning("last_checkpoint_failed", error=str(error))

    def make_if_due(self) -> None:
        """Put an automatic checkpoint before whatever waits."""
        if not self._keeper.is_due() or self._schedule.is_closing:
            return
        try:
            saving = self._keeper.begin(is_automatic=True)
        except CheckpointError as error:
            log.warning("automatic_checkpoint_failed", error=str(error))
            return
        self._schedule.put_first(saving.job)
        self._background.run(self._finish_automatic(saving))

    async def restore(self, saved: Checkpoint, **how: bool) -> RestoredMessage:
        """Bring a saved namespace back, when the cells before are done."""
        job = self._keeper.restore(saved, **how)
        self._schedule.submit(job)
        try:
            report: RestoredMessage = await result_of(job.done)
        except asyncio.CancelledError:
            self._cancels.abandon(job)
            raise
        return report

    async def _make(self, submit: Callable[[CheckpointJob], None]) -> Checkpoint:
        saving = self._keeper.begin()
        try:
            submit(saving.job)
        except BaseException:
            self._keeper.drop(saving)
            raise
        try:
            return await self._keeper.finish(saving)
        except asyncio.CancelledError:
            self._cancels.abandon(saving.job)
            raise

    async def _finish_automatic(self, saving: Saving) -> None:
        try:
            await self._keeper.finish(saving)
        except CheckpointError as error:
            log.warning("automatic_checkpoint_failed", error=str(error))
