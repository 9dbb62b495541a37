"""Takes executions for named sessions from a database, and runs them: one of any number that do so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Self

from ..errors import ConfigError
from ..logs import get_logger
from ..session.session import Session
from ..session.settings import load_config
from .cell_store import CellStore
from .postgres.cell_store import PostgresCellStore
from .postgres.connection import PostgresResonate
from .postgres.leased_cells import LeasedCells
from .postgres.slots import Slots
from .resonate_bridge import ResonateProtocolBridge
from .resonate_functions import DurableHost, register
from .retries import Retries
from .runtime import DEFAULT_TTL_S
from .stoppable import Stoppable

__all__ = ["DurableWorker"]

log = get_logger("stateroom.durable")


class DurableWorker:
    """Runs the executions that clients of ``group`` have submitted to the database ``dsn``.

    Use it as an async context manager, or :meth:`start` and :meth:`close` it. ``store`` is where the
    state after each cell goes, the database itself if left out: all workers of a group must use the
    same. At most ``max_sessions`` are open, each with a process, and as many executions are taken at
    once; sessions that have nothing to do are closed to make room, least recently used first.
    ``ttl_s`` is after how long a dead worker's executions are taken over, ``input_timeout_s`` how long a
    question waits for its answer. ``settings`` are those of :class:`Session`.

    Raises ConfigError for a setting, a ``dsn`` or a number that cannot be.
    """

    def __init__(
        self,
        dsn: str,
        group: str = "default",
        *,
        store: CellStore | None = None,
        ttl_s: float = DEFAULT_TTL_S,
        max_sessions: int = 16,
        input_timeout_s: float | None = None,
        env: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        if max_sessions < 1:
            raise ConfigError(f"max_sessions={max_sessions}: give the number of sessions, 1 or more")
        self.group = group
        """Whose executions are taken."""
        self.max_sessions = max_sessions
        """Most sessions open at once."""
        self.store: CellStore = store if store is not None else PostgresCellStore(dsn)
        """Where the state after each cell goes."""
        self._settings = {"auto_restart": False, **settings}
        load_config(None, self._settings)  # so that it is told here if a setting cannot be
        self._input_timeout_s = input_timeout_s
        self._slots = Slots(max_sessions)
        self._connection = PostgresResonate(dsn, group, ttl_s=ttl_s, slots=self._slots, env=env)
        self._open: dict[str, _OpenSession] = {}
        """By name, least recently used first."""
        self._changed = asyncio.Condition()
        self._executions = Stoppable("this worker")
        self._retries = Retries()
        register(self._connection.resonate, DurableHost(self.execute))

    def __repr__(self) -> str:
        busy = sum(1 for entry in self._open.values() if entry.users)
        return f"<DurableWorker group={self.group!r} sessions={len(self._open)} busy={busy}>"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Begin to take executions. Raises :class:`StoreError` if the database cannot be used."""
        await self._connection.check()
        await asyncio.to_thread(self.store.latest, self.group)  # so that it is told if it cannot be used
        self._connection.start()

    async def close(self) -> None:
        """Take no more executions, give those that run back to other workers, close all sessions."""
        await self._connection.stop_deliveries()
        await self._executions.close()
        for entry in tuple(self._open.values()):
            await entry.close()
        self._open.clear()
        await self._connection.close()

    async def execute(self, session: str, execution_id: str, code: str, **how: Any) -> dict[str, Any]:
        """Run a cell, as :meth:`DurableCells.execute`. Raises :class:`DurableError` if stopped meanwhile.

        One that could not be finished is given back, see :class:`Retries`.
        """
        attempt = partial(self._execute, session, execution_id, code, **how)
        with self._slots.used():
            return await self._executions.run(self._retries.outcome(execution_id, attempt))

    async def _execute(self, session: str, execution_id: str, code: str, **how: Any) -> dict[str, Any]:
        async with self._using(session) as cells:
            return await cells.execute(execution_id, code, **how)

    @asynccontextmanager
    async def _using(self, name: str) -> AsyncIterator[LeasedCells]:
        """The open session ``name``, not to be closed meanwhile."""
        entry = await self._take(name)
        try:
            yield await entry.open(self)
        finally:
            async with self._changed:
                entry.users -= 1
                self._changed.notify_all()

    async def _take(self, name: str) -> _OpenSession:
        async with self._changed:
            while name not in self._open and len(self._open) >= self.max_sessions:
                idle = next((entry for entry in self._open.values() if not entry.users), None)
                if idle is None:
                    await self._changed.wait()
                else:
                    del self._open[idle.name]
                    await idle.close()
            entry = self._open.pop(name, None) or _OpenSession(name)
            self._open[name] = entry
            entry.users += 1
            return entry

    async def _make_cells(self, name: str) -> LeasedCells:
        session = Session(**self._settings)
        await session.start()
        try:
            bridge = ResonateProtocolBridge(
                self._connection.resonate, session, input_timeout_s=self._input_timeout_s
            )
        except BaseException:
            await session.close()
            raise
        log.info("durable_session_opened", session=name, pid=session.pid)
        return LeasedCells(bridge, self.store, dsn=self._connection.dsn, session_name=name)


class _OpenSession:
    """A session of a worker, and how many executions want it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.users = 0
        self._cells: LeasedCells | None = None
        self._opening = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<_OpenSession {self.name!r} users={self.users}>"

    async def open(self, worker: DurableWorker) -> LeasedCells:
        async with self._opening:
            if self._cells is None:
                self._cells = await worker._make_cells(self.name)
            return self._cells

    async def close(self) -> None:
        async with self._opening:
            cells, self._cells = self._cells, None
        if cells is not None:
            await cells.close()
            await cells.bridge.close(reject=False)
            await cells.session.close()
