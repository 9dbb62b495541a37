"""How much work a process has room for: it takes no more, and leaves the rest to others."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ...logs import get_logger
from .driver import DEQUEUE_EXECUTE_SQL, PROCESS_TIMEOUTS_SQL, PostgresConnection, execute_message, psycopg

__all__ = ["Slots", "WorkSource"]

log = get_logger("stateroom.durable")

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
    """Delivers tasks of a group as far as ``slots`` are free, and has what is due happen in the database.

    It overrides two private methods of ``resonate-pg``, whose own take all there is, and leave the timers
    alone for good once the database was away for a moment: nobody would take over from the dead then.
    Its version is bounded for that, and tests see to both.
    """

    def __init__(self, dsn: str, *, pid: str, group: str, slots: Slots) -> None:
        super().__init__(dsn, pid=pid, group=group)
        self._slots = slots

    async def _fire_timers(self) -> None:
        if not self._drive_timers:
            return
        try:
            async with self._sessions.session() as db:
                await db.execute(PROCESS_TIMEOUTS_SQL)
        except psycopg.errors.InsufficientPrivilege:
            self._drive_timers = False
            log.warning(
                "timers_left_to_the_database", why="this user may not call resonate.process_timeouts()"
            )

    async def _dequeue_executes(self, conn: object, address: str) -> list[str]:
        wanted = self._slots.free
        if not wanted:
            return []
        cursor = await conn.execute(DEQUEUE_EXECUTE_SQL, (address, wanted))  # type: ignore[attr-defined]
        rows = await cursor.fetchall()
        self._slots.expect(len(rows))
        return [execute_message(str(task_id), int(version)) for task_id, version in rows]
