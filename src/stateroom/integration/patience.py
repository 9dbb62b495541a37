"""What becomes of a cell that ran and could not be finished: another attempt, or its end."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from ..errors import DurableError, DurableRejected, SessionError, StoreError
from ..logs import get_logger
from ..session.execution import ExecutionResult, error_info
from .durable_cells import DurableCells
from .outcome import outcome_to_data

__all__ = ["Patience", "PatientCells"]

RETRY_PAUSE_S = 1.0
MAX_ATTEMPTS = 5

log = get_logger("stateroom.durable")


class Patience:
    """Counts the attempts that failed, by execution."""

    def __init__(self) -> None:
        self._failed: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<Patience failed={dict(self._failed)}>"

    async def after(self, error: Exception, *, session: str, execution_id: str) -> dict[str, Any]:
        """Raise the error again after a pause, as the execution may be offered again at once.

        When that has happened ``MAX_ATTEMPTS`` times here, and not because the store could not be
        reached, the error is the outcome that is returned.
        """
        log.warning("durable_cell_unfinished", session=session, execution_id=execution_id, error=str(error))
        if not isinstance(error, StoreError):
            self._failed[execution_id] += 1
        if self._failed[execution_id] < MAX_ATTEMPTS:
            await asyncio.sleep(RETRY_PAUSE_S)
            raise error
        self.forget(execution_id)
        return outcome_to_data(ExecutionResult(execution_id=execution_id, error=error_info(error)))

    def forget(self, execution_id: str) -> None:
        """It has its outcome."""
        self._failed.pop(execution_id, None)


class PatientCells:
    """The cells of a session, for durable functions, which are called again when they fail."""

    def __init__(self, cells: DurableCells) -> None:
        self._cells = cells
        self._patience = Patience()

    def __repr__(self) -> str:
        return f"<PatientCells {self._cells!r}>"

    async def execute(self, execution_id: str, code: str, **how: Any) -> dict[str, Any]:
        """As :meth:`DurableCells.execute`."""
        try:
            outcome = await self._cells.execute(execution_id, code, **how)
        except DurableRejected:
            raise
        except (DurableError, SessionError) as error:
            if self._cells.bridge.desk.closed:
                raise
            session = self._cells.session_name
            return await self._patience.after(error, session=session, execution_id=execution_id)
        self._patience.forget(execution_id)
        return outcome
