"""Takes orders for checkpoints: on demand, after so many cells, at the end, and for their way back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from ..errors import CheckpointError, SessionBroken
from ..protocol.messages import RestoredMessage
from .cancel_desk import CancelDesk
from .errand import Errand
from .helpers import Helpers, result_of
from .keeper import Checkpoint, Keeper, Saving
from .schedule import Schedule

__all__ = ["CheckpointDesk"]

log = structlog.get_logger("stateroom.session")


class CheckpointDesk:
    """Puts the keeper's errands into the session's schedule, and sees them through."""

    def __init__(self, keeper: Keeper, schedule: Schedule, cancels: CancelDesk, helpers: Helpers) -> None:
        self._keeper = keeper
        self._schedule = schedule
        self._cancels = cancels
        self._helpers = helpers

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
        self._schedule.waiting.appendleft(saving.errand)
        self._helpers.run(self._finish_automatic(saving))

    async def restore(self, saved: Checkpoint, **how: bool) -> RestoredMessage:
        """Bring a saved namespace back, when the cells before are done."""
        errand = self._keeper.restore(saved, **how)
        self._schedule.submit(errand)
        try:
            report: RestoredMessage = await result_of(errand.done)
        except asyncio.CancelledError:
            self._cancels.abandon(errand)
            raise
        return report

    async def _make(self, submit: Callable[[Errand], None]) -> Checkpoint:
        saving = self._keeper.begin()
        try:
            submit(saving.errand)
        except BaseException:
            self._keeper.drop(saving)
            raise
        try:
            return await self._keeper.finish(saving)
        except asyncio.CancelledError:
            self._cancels.abandon(saving.errand)
            raise

    async def _finish_automatic(self, saving: Saving) -> None:
        try:
            await self._keeper.finish(saving)
        except CheckpointError as error:
            log.warning("automatic_checkpoint_failed", error=str(error))
