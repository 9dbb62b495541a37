"""Wires a session, its bridge and Resonate together, and takes them apart in the right order."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Self

from ..errors import DurableError
from ..session.session import Session
from .cell_store import CellStore
from .durable_cells import DurableCells
from .patience import PatientCells
from .pickle_free import PickleFree
from .request import execution_request
from .resonate_bridge import ResonateProtocolBridge, outcome_of
from .resonate_functions import FUNCTION_NAME, DurableHost, register
from .sdk import LocalConnection, Never, PromiseRecord, Resonate, wait_settled

__all__ = ["DurableRuntime", "initialize_resonate_local", "make_resonate"]

REFRESH_S = 0.5
"""How often the SDK looks at what it waits for besides being told; else a lost message costs a minute."""


class DurableRuntime:
    """What :func:`initialize_resonate_local` has made: use it as an async context manager.

    ``cells.execute(id, code)`` runs a cell durably from here; ``run(id, code)`` does so through Resonate,
    as any other client of the same store may.
    """

    def __init__(
        self,
        resonate: Resonate,
        bridge: ResonateProtocolBridge,
        cells: DurableCells,
        *,
        keep_pending: bool,
        connection: Any = None,
    ) -> None:
        self.resonate = resonate
        self.bridge = bridge
        self.cells = cells
        self._keep_pending = keep_pending
        self._connection = connection
        self._closed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<DurableRuntime {'closed' if self._closed.is_set() else 'open'} {self.cells!r}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def run(self, execution_id: str, code: str, *, timeout_s: float | None = None) -> dict[str, Any]:
        """Dispatch ``stateroom.execute`` through Resonate and return the outcome as data.

        Raises :class:`DurableError` if this is closed before there is one, :class:`DurableRejected` if
        somebody has rejected it instead.
        """
        request = {"code": code, "session": self.cells.session_name, "timeout_s": timeout_s}
        settled = asyncio.ensure_future(self._run(execution_id, request))
        closed = asyncio.ensure_future(self._closed.wait())
        try:
            await asyncio.wait([settled, closed], return_when=asyncio.FIRST_COMPLETED)
            if not settled.done():
                raise DurableError(f"{execution_id} has no outcome yet: its runtime was closed")
            return outcome_of(execution_request(execution_id), settled.result())
        finally:
            settled.cancel()
            closed.cancel()
            await asyncio.gather(settled, closed, return_exceptions=True)

    async def _run(self, execution_id: str, request: dict[str, Any]) -> PromiseRecord:
        await self.resonate.run(execution_id, FUNCTION_NAME, request).id()
        return await wait_settled(self.resonate, execution_id)

    async def close(self) -> None:
        """Shut the bridge down, then Resonate; the session stays open. Safe to call twice.

        In this order, since Resonate waits for its functions, and these for the bridge.
        """
        await self.bridge.close(reject=not self._keep_pending)
        await self.resonate.stop()
        self._closed.set()
        if self._connection is not None:
            self._connection.close()


def make_resonate(
    connection: Any, *, env: Mapping[str, str] | None = None, ttl: timedelta = timedelta(0), **how: Any
) -> Resonate:
    """A Resonate on ``connection``, set up for cells, which may take long and are not retried by it.

    ``ttl`` is the lease of a task; none where one process owns the store.
    """
    return Resonate(
        network=connection,
        ttl=ttl,
        encryptor=PickleFree(),
        retry_policy=Never(),
        subscription_refresh_secs=REFRESH_S,
        env=env,
        **how,
    )


async def initialize_resonate_local(
    session: Session,
    *,
    path: str | os.PathLike[str] | None = None,
    connection: Any = None,
    store: CellStore | None = None,
    session_name: str = "default",
    input_timeout_s: float | None = None,
    env: Mapping[str, str] | None = None,
) -> DurableRuntime:
    """Make the executions of a started session durable, in this process.

    With ``path``, promises and the state after each cell live in that SQLite file and outlive any
    process. Otherwise they live where ``connection`` and ``store`` keep them; without those, promises
    are in memory and outlive the worker, and no state is kept. Closing rejects what is pending in
    memory, and leaves what is pending elsewhere for the next process.

    Raises :class:`StoreError` for a file that cannot be used, another owner's for one.
    """
    owned = None
    if path is not None:
        from .sqlite_store import SqliteCellStore, SqliteConnection

        connection = owned = SqliteConnection(path)
        store = store if store is not None else SqliteCellStore(path)
    keep_pending = connection is not None
    resonate = make_resonate(connection if connection is not None else LocalConnection(), env=env)
    try:
        bridge = ResonateProtocolBridge(resonate, session, input_timeout_s=input_timeout_s)
    except BaseException:
        await resonate.stop()
        if owned is not None:
            owned.close()
        raise
    cells = DurableCells(bridge, store, session_name=session_name)
    register(resonate, host_of(cells))
    return DurableRuntime(resonate, bridge, cells, keep_pending=keep_pending, connection=owned)


def host_of(cells: DurableCells) -> DurableHost:
    """For the durable functions of a process that has one session."""
    patient = PatientCells(cells)

    async def cells_of(name: str) -> PatientCells:
        if name != cells.session_name:
            raise DurableError(f"session {name!r} is not here, only {cells.session_name!r} is")
        return patient

    return DurableHost(cells_of)
