"""Submits executions for named sessions to a database, where workers take them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Self

from ..errors import DurableError
from ..session.execution import ExecutionResult
from .outcome import outcome_to_result
from .postgres.connection import PostgresResonate
from .request import check_cell, check_id, execution_request
from .resonate_bridge import outcome_of
from .resonate_functions import FUNCTION_NAME
from .sdk import NO_TIMEOUT, told, wait_settled

__all__ = ["DurableClient"]


class DurableClient:
    """Has the workers of ``group`` run cells in named sessions; use it as an async context manager.

    An execution goes on without its client. Ask for it again by the same ``execution_id``, from any
    process: it is not run again, its result comes back.
    """

    def __init__(self, dsn: str, group: str = "default", *, env: Mapping[str, str] | None = None) -> None:
        self.group = group
        """Whose workers run the cells."""
        # A group of its own, for which no work is ever meant: a client only listens for answers.
        self._connection = PostgresResonate(dsn, f"client-{uuid.uuid4().hex}", env=env)
        self._resonate = self._connection.resonate

    def __repr__(self) -> str:
        return f"<DurableClient group={self.group!r} {self._connection!r}>"

    async def __aenter__(self) -> Self:
        await self._connection.check()
        self._connection.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()

    async def execute(
        self, session: str, code: str, *, execution_id: str | None = None, timeout_s: float | None = None
    ) -> ExecutionResult:
        """Run a cell in the session and wait for its result; see :meth:`submit`."""
        submitted = await self.submit(session, code, execution_id=execution_id, timeout_s=timeout_s)
        return await self.result(submitted)

    async def submit(
        self, session: str, code: str, *, execution_id: str | None = None, timeout_s: float | None = None
    ) -> str:
        """Have a cell run and return its execution id; the cell is durable when this returns.

        Cells of one session run one at a time; those that are submitted without waiting for the one
        before may run in any order. ``timeout_s`` counts from the moment when a worker takes the cell.
        Raises :class:`DurableError` if the id belongs to another cell, ConfigError for an id, a session,
        code or a time that cannot be one, :class:`StoreError` if the database cannot be used.
        """
        chosen = execution_id if execution_id is not None else f"e-{uuid.uuid4().hex}"
        check_cell(session=session, execution_id=chosen, code=code, timeout_s=timeout_s)
        request = {"execution_id": chosen, "session": session, "code": code, "timeout_s": timeout_s}
        workers = self._resonate.options(target=self.group, timeout=NO_TIMEOUT)
        with told(chosen):
            await workers.rpc(chosen, FUNCTION_NAME, request).id()
            known = await self._resonate.promises.get(chosen)
        if _request_of(known.param.data) != request:
            raise DurableError(f"execution {chosen!r} belongs to another cell; choose another id")
        return chosen

    async def result(self, execution_id: str) -> ExecutionResult:
        """Wait for the result of an execution, submitted by whomever.

        Raises :class:`DurableRejected` if somebody has rejected it instead, :class:`DurableError` if
        nobody has submitted it, :class:`StoreError` if the database cannot be used.
        """
        check_id("execution_id", execution_id)
        with told(execution_id):
            record = await wait_settled(self._resonate, execution_id)
        return outcome_to_result(outcome_of(execution_request(execution_id), record))


def _request_of(param: Any) -> Any:
    """What a promise of :meth:`DurableClient.submit` was made with."""
    try:
        return param["args"][0]
    except (KeyError, IndexError, TypeError):
        return None
