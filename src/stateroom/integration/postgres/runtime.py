"""Durable executions of one session that is open here, among other processes on a database."""

from __future__ import annotations

from ..resonate_bridge import ResonateProtocolBridge
from ..runtime import DurableRuntime
from .connection import PostgresResonate
from .leased_cells import LeasedCells

__all__ = ["PostgresRuntime"]


class PostgresRuntime(DurableRuntime):
    """As :class:`DurableRuntime`; each execution owns the session in the database while it runs."""

    def __init__(
        self, database: PostgresResonate, bridge: ResonateProtocolBridge, cells: LeasedCells
    ) -> None:
        super().__init__(database.resonate, bridge, cells, keep_pending=True)
        self._database = database
        self._leased = cells

    async def _close(self) -> None:
        await self._database.stop_deliveries()
        await self._leased.close()
        await super()._close()
