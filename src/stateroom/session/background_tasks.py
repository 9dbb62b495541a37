"""Tasks that go on beside the caller, kept alive until they are done; and waiting that harms nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from ..errors import SessionError
from ..logs import get_logger

__all__ = ["BackgroundTasks", "result_of"]

T = TypeVar("T")

log = get_logger("stateroom.session")


class BackgroundTasks:
    """Runs coroutines as tasks of the running loop. What one of them raises is logged, never lost."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[Any]] = set()

    def __repr__(self) -> str:
        return f"<BackgroundTasks running={len(self.tasks)}>"

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Begin it, and do not wait."""
        self._keep(asyncio.get_running_loop().create_task(coroutine))

    async def finish(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Begin it, and wait for what it returns or raises; it goes on if the caller is cancelled."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._keep(task)
        return await result_of(task)

    def _keep(self, task: asyncio.Task[Any]) -> None:
        self.tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, SessionError):
            log.debug("overtaken", error=str(error))  # the session was closed, or lost, meanwhile
        elif error is not None:
            log.error("background_task_failed", exc_info=error)


async def result_of(done: asyncio.Future[T]) -> T:
    """Wait for a future that others wait for as well: it is not cancelled with the caller."""
    await asyncio.wait([done])
    return done.result()
