"""Work that goes on to its end though its caller is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["Closing", "in_thread", "to_the_end"]

T = TypeVar("T")


class Closing:
    """The end of something, brought about once; every caller waits for the same."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        state = "not begun" if self._task is None else "done" if self._task.done() else "going on"
        return f"<Closing {state}>"

    async def run(self, close: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Wait until ``close`` is done, begun by the first call; a caller that is cancelled leaves it so."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(close())
        await asyncio.shield(self._task)


async def to_the_end(work: Awaitable[T]) -> T:
    """The result of ``work``. A caller that is cancelled meanwhile waits for its end, too, and goes then."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        task.cancelled() or task.exception()  # nobody has to look at it
        raise cancelled
    return task.result()


async def in_thread(function: Callable[..., T], *args: Any) -> T:
    """Call ``function`` in a thread, which nothing stops: a cancelled caller waits for its end, too."""
    return await to_the_end(asyncio.get_running_loop().run_in_executor(None, function, *args))
