"""Durable cells of a named session that several processes run in turn."""

from __future__ import annotations

import asyncio
from typing import Any

from ...errors import StoreError
from ..cell_store import CellStore
from ..durable_cells import DurableCells
from ..resonate_bridge import ResonateProtocolBridge
from ..stoppable import Stoppable
from .lease import Lease

__all__ = ["LeasedCells"]


class LeasedCells(DurableCells):
    """As :class:`DurableCells`, but each execution owns the session in the database ``dsn`` meanwhile.

    Between two of them another process may have run cells of the session: the store is asked, and the
    worker's namespace is used again only if it is still that after the latest cell. An owner that has
    lost its connection, and with it the session, stops the cell; what it had done is not stored.
    """

    def __init__(
        self,
        bridge: ResonateProtocolBridge,
        store: CellStore,
        *,
        dsn: str,
        session_name: str,
        max_attempts: int = 3,
    ) -> None:
        super().__init__(bridge, store, session_name=session_name, max_attempts=max_attempts)
        self._lease = Lease(dsn, session_name)
        self._turn = asyncio.Lock()
        self._executions = Stoppable(f"session {session_name!r}")

    async def execute(self, execution_id: str, code: str, **how: Any) -> dict[str, Any]:
        """As :meth:`DurableCells.execute`, when it is its turn; DurableError if :meth:`close` came first."""
        return await self._executions.run(self._execute_in_turn(execution_id, code, **how))

    async def close(self) -> None:
        """Stop the cell that runs and those that wait for their turn; their executions stay pending."""
        await self._executions.close()
        await self._lease.close()

    async def _execute_in_turn(self, execution_id: str, code: str, **how: Any) -> dict[str, Any]:
        async with self._turn, self._lease.held():
            await self._state.ask(again=True)
            return await self._execute_while_held(super().execute(execution_id, code, **how))

    async def _execute_while_held(self, execution: Any) -> dict[str, Any]:
        running: asyncio.Task[dict[str, Any]] = asyncio.ensure_future(execution)
        lost = asyncio.ensure_future(self._lease.lost())
        try:
            await asyncio.wait([running, lost], return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                raise StoreError(f"the lease of session {self.session_name!r} was lost: {lost.result()}")
            return running.result()
        finally:
            for task in (running, lost):
                task.cancel()
            await asyncio.gather(running, lost, return_exceptions=True)
