"""Takes executions for named sessions from a database, and runs them: one of any number that do so."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any, Self

from ..errors import ConfigError
from ..logs import get_logger
from ..session.session import Session
from ..session.settings import load_config
from ..session.shielded import Closing
from .cell_store import CellStore
from .postgres.cell_store import PostgresCellStore
from .postgres.connection import PostgresResonate
from .postgres.leased_cells import LeasedCells
from .postgres.open_sessions import OpenSessions
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
        self._sessions = OpenSessions(max_sessions, self._make_cells)
        self._executions = Stoppable("this worker")
        self._retries = Retries()
        self._closing = Closing()
        register(self._connection.resonate, DurableHost(self.execute))

    def __repr__(self) -> str:
        sessions = self._sessions
        return f"<DurableWorker group={self.group!r} sessions={len(sessions)} busy={sessions.busy}>"

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
        """Take no more executions, give those that run back to other workers, close all sessions.

        Safe to call twice. A caller that is cancelled leaves it going on.
        """
        await self._closing.run(self._close)

    async def _close(self) -> None:
        await self._connection.stop_deliveries()
        await self._executions.close()
        await self._sessions.close()
        await self._connection.close()

    async def execute(self, session: str, execution_id: str, code: str, **how: Any) -> dict[str, Any]:
        """Run a cell, as :meth:`DurableCells.execute`. Raises :class:`DurableError` if stopped meanwhile.

        One that could not be finished is given back, see :class:`Retries`.
        """
        attempt = partial(self._execute, session, execution_id, code, **how)
        with self._slots.used():
            return await self._executions.run(self._retries.outcome(execution_id, attempt))

    async def _execute(self, session: str, execution_id: str, code: str, **how: Any) -> dict[str, Any]:
        async with self._sessions.using(session) as cells:
            return await cells.execute(execution_id, code, **how)

    async def _make_cells(self, name: str) -> LeasedCells:
        session = Session(**self._settings)
        try:
            await session.start()
            bridge = ResonateProtocolBridge(
                self._connection.resonate, session, input_timeout_s=self._input_timeout_s
            )
            cells = LeasedCells(bridge, self.store, dsn=self._connection.dsn, session_name=name)
        except BaseException:
            await session.close()
            raise
        log.info("durable_session_opened", session=name, pid=session.pid)
        return cells
