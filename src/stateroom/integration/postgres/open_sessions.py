"""The sessions that a worker has open: no more than there is room for, and those in use stay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from ...logs import get_logger
from .leased_cells import LeasedCells

__all__ = ["OpenSessions"]

log = get_logger("stateroom.durable")


class OpenSessions:
    """At most ``max_sessions`` by name, each opened by ``make`` when it is used first.

    One that nobody uses is closed to make room, the least recently used first. That goes on if who
    needs the room is cancelled, and holds up nobody else; until it is done the session has its place.
    """

    def __init__(self, max_sessions: int, make: Callable[[str], Awaitable[LeasedCells]]) -> None:
        self._max_sessions = max_sessions
        self._make = make
        self._open: dict[str, _OpenSession] = {}
        """By name, least recently used first."""
        self._waiting = 0
        """How many wait for room, or for a session to be closed before it is opened again."""
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<OpenSessions sessions={len(self)} busy={self.busy} waiting={self._waiting}>"

    def __len__(self) -> int:
        return len(self._open)

    @property
    def busy(self) -> int:
        """How many are used."""
        return sum(1 for entry in self._open.values() if entry.users)

    @asynccontextmanager
    async def using(self, name: str) -> AsyncIterator[LeasedCells]:
        """The open session ``name``, not to be closed meanwhile."""
        entry = await self._take(name)
        try:
            yield await entry.open(self._make)
        finally:
            entry.users -= 1
            self._changed.set()

    async def close(self) -> None:
        """Close all, which nobody may use any more; when this returns no process of theirs is left."""
        for entry in self._open.values():
            self._end(entry)
        while endings := [entry.ending for entry in self._open.values() if entry.ending is not None]:
            await asyncio.wait(endings)

    async def _take(self, name: str) -> _OpenSession:
        while True:
            entry = self._open.get(name)
            if entry is None and len(self._open) < self._max_sessions:
                entry = self._open[name] = _OpenSession(name)
            if entry is not None and entry.ending is None:
                self._open[name] = self._open.pop(name)  # the most recently used
                entry.users += 1
                return entry
            await self._wait_for_change()

    async def _wait_for_change(self) -> None:
        self._waiting += 1
        try:
            ending = sum(1 for entry in self._open.values() if entry.ending is not None)
            idle = next((entry for entry in self._open.values() if entry.is_idle), None)
            if idle is not None and ending < self._waiting:
                self._end(idle)
            self._changed.clear()
            await self._changed.wait()
        finally:
            self._waiting -= 1

    def _end(self, entry: _OpenSession) -> None:
        if entry.ending is None:
            entry.ending = asyncio.get_running_loop().create_task(self._close(entry))

    async def _close(self, entry: _OpenSession) -> None:
        try:
            await entry.close()
        except Exception:
            log.exception("durable_session_not_closed", session=entry.name)
        finally:
            del self._open[entry.name]
            self._changed.set()


class _OpenSession:
    """A session, and how many executions want it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.users = 0
        self.ending: asyncio.Task[None] | None = None
        """What closes it."""
        self._opening: asyncio.Future[LeasedCells] | None = None

    def __repr__(self) -> str:
        return f"<_OpenSession {self.name!r} users={self.users} ending={self.ending is not None}>"

    @property
    def is_idle(self) -> bool:
        """Whether it can be closed to make room."""
        return not self.users and self.ending is None

    async def open(self, make: Callable[[str], Awaitable[LeasedCells]]) -> LeasedCells:
        """Its cells; a user who is cancelled leaves it being opened for the next one."""
        if self._opening is None or _has_failed(self._opening):
            self._opening = asyncio.ensure_future(make(self.name))
        return await asyncio.shield(self._opening)

    async def close(self) -> None:
        """End it; one that is being opened is not opened."""
        opening = self._opening
        if opening is None:
            return
        opening.cancel()
        await asyncio.wait([opening])
        if _has_failed(opening):
            return
        cells = opening.result()
        async with AsyncExitStack() as steps:
            steps.push_async_callback(cells.session.close)
            steps.push_async_callback(cells.bridge.close, reject=False)
            steps.push_async_callback(cells.close)


def _has_failed(future: asyncio.Future[LeasedCells]) -> bool:
    return future.done() and (future.cancelled() or future.exception() is not None)
