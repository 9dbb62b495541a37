"""How much work a process has room for: it takes no more, and leaves the rest to others."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .driver import DEQUEUE_EXECUTE_SQL, PostgresConnection, execute_message

__all__ = ["Slots", "WorkSource"]

BEGIN_WITHIN_S = 2.0
"""A task that was taken, but not begun for so long, will not be: somebody else had it."""


class Slots:
    """``total`` places for executions, taken by those that run and by tasks that are about to."""

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.total = total
        self.running = 0
        self._coming: deque[float] = deque()
        """When each task that is on its way was taken."""
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Slots {self.free} of {self.total} free, running={self.running}>"

    @property
    def free(self) -> int:
        """How many more tasks may be taken."""
        while self._coming and self._clock() - self._coming[0] > BEGIN_WITHIN_S:
            self._coming.popleft()
        return max(0, self.total - self.running - len(self._coming))

    def expect(self, tasks: int) -> None:
        """So many tasks were taken and are on their way."""
        self._coming.extend([self._clock()] * tasks)

    @contextmanager
    def used(self) -> Iterator[None]:
        """One of them runs."""
        if self._coming:
            self._coming.popleft()
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1


class WorkSource(PostgresConnection):
    """Delivers tasks of a group as far as ``slots`` are free.

    It overrides a private method of ``resonate-pg``, whose own takes all there is; its version is
    bounded for that, and a test sees that a full process leaves work to others.
    """

    def __init__(self, dsn: str, *, pid: str, group: str, slots: Slots) -> None:
        super().__init__(dsn, pid=pid, group=group)
        self._slots = slots

    async def _dequeue_executes(self, conn: object, address: str) -> list[str]:
        wanted = self._slots.free
        if not wanted:
            return []
        cursor = await conn.execute(DEQUEUE_EXECUTE_SQL, (address, wanted))  # type: ignore[attr-defined]
        rows = await cursor.fetchall()
        self._slots.expect(len(rows))
        return [execute_message(str(task_id), int(version)) for task_id, version in rows]
