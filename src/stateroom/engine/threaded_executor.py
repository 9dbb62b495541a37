"""Runs blocking code in a thread of its own, for an event loop that cannot be moved."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

__all__ = ["ThreadedExecutor"]


class ThreadedExecutor:
    """One thread, made when first needed, so that blocking cells see the same thread each time."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None

    def __repr__(self) -> str:
        return f"<ThreadedExecutor {'idle' if self._pool is None else 'started'}>"

    async def run(self, function: Callable[[], Any]) -> Any:
        """Call ``function()`` in the thread, with the caller's context variables."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="stateroom-blocking")
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._pool, context.run, function)

    def close(self) -> None:
        """Let the thread end when its work is done."""
        if self._pool is not None:
            self._pool.shutdown(wait=False)
            self._pool = None
