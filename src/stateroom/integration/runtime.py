"""What a process holds to run cells durably: Resonate, a bridge, the cells of a session; and its end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any, Self

from ..errors import DurableError
from ..session.shielded import Closing
from .durable_cells import DurableCells
from .pickle_free import PickleFree
from .request import check_cell, execution_request
from .resonate_bridge import ResonateProtocolBridge, outcome_of
from .resonate_functions import FUNCTION_NAME, DurableHost
from .retries import Retries
from .sdk import NO_TIMEOUT, Never, PromiseRecord, Resonate, told, wait_settled

__all__ = ["DEFAULT_TTL_S", "DurableRuntime", "host_of", "make_resonate"]

DEFAULT_TTL_S = 15.0
"""After this, tasks of a process that died are given to another one, where several share a database."""
REFRESH_S = 0.5
"""How often the SDK looks at what it waits for besides being told; else a lost message costs a minute."""


class DurableRuntime:
    """What :mod:`.resonate_init` makes: use it as an async context manager.

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
        """The Resonate, for functions and promises of one's own."""
        self.bridge = bridge
        """Between the session and Resonate."""
        self.cells = cells
        """Runs cells durably."""
        self._keep_pending = keep_pending
        self._connection = connection
        self._closed = asyncio.Event()
        self._closing = Closing()

    def __repr__(self) -> str:
        return f"<DurableRuntime {'closed' if self._closed.is_set() else 'open'} {self.cells!r}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def run(self, execution_id: str, code: str, *, timeout_s: float | None = None) -> dict[str, Any]:
        """Dispatch ``stateroom.execute`` through Resonate and return the outcome as data.

        Raises :class:`DurableError` if this is closed before there is one, :class:`DurableRejected` if
        somebody has rejected it instead, ConfigError for an id, code or a time that cannot be one.
        """
        session = self.cells.session_name
        check_cell(session=session, execution_id=execution_id, code=code, timeout_s=timeout_s)
        request = {"code": code, "session": session, "timeout_s": timeout_s}
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
        with told(execution_id):
            await self.resonate.options(timeout=NO_TIMEOUT).run(execution_id, FUNCTION_NAME, request).id()
            return await wait_settled(self.resonate, execution_id)

    async def close(self) -> None:
        """Shut the bridge down, then Resonate; the session stays open. Safe to call twice.

        A caller that is cancelled leaves it going on.
        """
        await self._closing.run(self._close)

    async def _close(self) -> None:
        """In this order, since Resonate waits for its functions, and these for the bridge."""
        try:
            await self.bridge.close(reject=not self._keep_pending)
            await self.resonate.stop()
        finally:
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


def host_of(cells: DurableCells) -> DurableHost:
    """For the durable functions of a process that has one session."""
    retries = Retries(is_over=lambda: cells.bridge.desk.closed)

    async def execute(session: str, execution_id: str, code: str, **how: Any) -> dict[str, Any]:
        if session != cells.session_name:
            raise DurableError(f"session {session!r} is not here, only {cells.session_name!r} is")
        return await retries.outcome(execution_id, partial(cells.execute, execution_id, code, **how))

    return DurableHost(execute)
