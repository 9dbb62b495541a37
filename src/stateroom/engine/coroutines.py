"""The top-level coroutine of an execution: tracked, cancelled on request, closed on every way out."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from .telemetry import Telemetry

__all__ = ["CoroutineManager"]


class CoroutineManager:
    """Knows the coroutine that a cell runs in. Tasks that the user made are none of its business."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._open: set[Coroutine[Any, Any, Any]] = set()
        self._task: asyncio.Task[Any] | None = None

    def __repr__(self) -> str:
        return f"<CoroutineManager open={len(self._open)} running={self._task is not None}>"

    async def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Await the top-level coroutine of a cell in the current task."""
        self._open.add(coroutine)
        self._task = asyncio.current_task()
        try:
            return await coroutine
        finally:
            self._task = None
            self._open.discard(coroutine)
            coroutine.close()

    def cancel_current(self) -> bool:
        """Cancel the task that runs the cell; False if nothing is running."""
        self._telemetry.cancel_requested += 1
        if self._task is None or self._task.done():
            self._telemetry.cancel_no_op += 1
            return False
        return self._task.cancel()

    def cleanup_coroutines(self) -> int:
        """Close all that is still open; how many there were."""
        count = len(self._open)
        while self._open:
            self._open.pop().close()
        return count
