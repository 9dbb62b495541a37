"""Work that can be stopped as a whole, with an error for those who wait rather than a cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from ..errors import DurableError
from ..session.shielded import to_the_end

__all__ = ["Stoppable"]

T = TypeVar("T")


class Stoppable:
    """Runs coroutines until :meth:`close`; then they are cancelled, and new ones refused.

    Resonate gives a task back when its function raises an error, not when it is cancelled.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_stopped = False

    def __repr__(self) -> str:
        return f"<Stoppable {self._what} running={len(self._tasks)} stopped={self._is_stopped}>"

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work``. Raises :class:`DurableError` if stopped before there is one.

        A caller who is cancelled cancels it, and goes when it has ended.
        """
        if self._is_stopped:
            work.close()
            raise DurableError(f"{self._what} is stopping")
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            if not self._is_stopped:  # then it was cancelled already, and may be cleaning up
                task.cancel()
            with suppress(Exception):
                await to_the_end(task)
            raise
        if task.cancelled() and self._is_stopped:
            raise DurableError(f"{self._what} is stopping")
        return task.result()

    async def close(self) -> None:
        """End all; when this returns nothing runs any more."""
        self._is_stopped = True
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
