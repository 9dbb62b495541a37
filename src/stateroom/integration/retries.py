"""What follows when a store cannot be used, or a cell could not be finished: another attempt, or its end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from ..errors import DurableError, DurableRejected, SessionError, StoreError
from ..logs import get_logger
from ..session.execution import ExecutionResult, error_info
from .outcome import outcome_to_data

__all__ = ["Retries", "insist", "pause"]

T = TypeVar("T")

RETRY_PAUSE_S = 1.0
MAX_ATTEMPTS = 5

log = get_logger("stateroom.durable")


async def pause() -> None:
    """Wait before something is tried again."""
    await asyncio.sleep(RETRY_PAUSE_S)


async def insist(
    attempt: Callable[[], Awaitable[T]], *, on: str, is_wanted: Callable[[], bool] = lambda: True
) -> T:
    """What ``attempt`` gives; when the store cannot be used, it is made again after a pause.

    For what a cell waits with: to the cell an error would be the answer, and then be in its outcome for
    good. ``on`` is the promise that it is about. Raises :class:`StoreError` when it is not wanted any more.
    """
    while True:
        try:
            return await attempt()
        except StoreError as error:
            log.warning("promise_delayed", promise_id=on, error=str(error))
            await pause()
            if not is_wanted():
                raise


class Retries:
    """Counts the attempts that failed, by execution. Durable functions are called again when they fail."""

    def __init__(self, is_over: Callable[[], bool] = lambda: False) -> None:
        self._failed: Counter[str] = Counter()
        self._is_over = is_over
        """Whether this process is about to end, and what fails is left to the next one at once."""

    def __repr__(self) -> str:
        return f"<Retries failed={dict(self._failed)}>"

    async def outcome(
        self, execution_id: str, attempt: Callable[[], Awaitable[dict[str, Any]]]
    ) -> dict[str, Any]:
        """The outcome that ``attempt`` has.

        If it fails, its error is raised after a pause, as the execution may be offered again at once. When
        that has happened ``MAX_ATTEMPTS`` times here, and not because a store could not be used, the
        error is the outcome.
        """
        try:
            outcome = await attempt()
        except DurableRejected:
            self._failed.pop(execution_id, None)
            raise
        except (DurableError, SessionError) as error:
            if self._is_over():
                raise
            log.warning("durable_cell_unfinished", execution_id=execution_id, error=str(error))
            if not isinstance(error, StoreError):
                self._failed[execution_id] += 1
            if self._failed[execution_id] < MAX_ATTEMPTS:
                await pause()
                raise
            outcome = outcome_to_data(ExecutionResult(execution_id=execution_id, error=error_info(error)))
        self._failed.pop(execution_id, None)
        return outcome
