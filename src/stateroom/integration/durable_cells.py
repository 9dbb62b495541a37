"""Runs cells so that each finished one is finished for good, whatever dies.

When a cell has ended, a checkpoint of the session and the cell's outcome are stored as one thing; then
its promise is resolved. Whoever comes to the execution again finds one of three:

- the promise is settled: its outcome is the answer, nothing runs;
- it is pending, but the outcome is stored: the promise is resolved with that, nothing runs;
- neither: the state after the last finished cell is restored, and the cell runs, perhaps again.

So a finished cell never runs twice, and the cell that was running when something died runs at least
once; what it had recorded by ``stateroom.step`` and been told by ``input()`` it gets from the record.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec

from ..errors import CheckpointError, DurableError, SessionBroken, StateroomError, WorkerDied
from ..logs import get_logger
from ..session.arguments import check_text
from ..session.callbacks import check_callback
from ..session.cancellation import CancelOutcome
from ..session.execution import DisplayCallback, ExecutionResult, OutputCallback, error_info
from ..session.session import Session
from ..session.shielded import to_the_end
from .cell_store import CellStore
from .input_capability import Asker
from .outcome import outcome_to_data
from .request import execution_request
from .resonate_bridge import ResonateProtocolBridge, outcome_of
from .session_state import SessionState

__all__ = ["DurableCells"]

log = get_logger("stateroom.durable")


class _Unstored(NamedTuple):
    """A cell that has ended, and whose state the store did not take."""

    execution_id: str
    result: ExecutionResult
    pid: int | None
    """Of the worker that holds its namespace."""
    after: int
    """The cell that was the latest finished one before it."""


class DurableCells:
    """The durable executions of one session, one after another.

    ``store`` keeps the state after each cell under the name ``session_name``; without one, results
    outlive the worker but its namespace does not. A cell whose worker dies is begun again up to
    ``max_attempts`` times in all; then that death is its outcome. The session must not run other
    cells meanwhile that the durable ones depend on: what they do is not stored.
    """

    def __init__(
        self,
        bridge: ResonateProtocolBridge,
        store: CellStore | None = None,
        *,
        session_name: str = "default",
        max_attempts: int = 3,
    ) -> None:
        self.bridge = bridge
        """Makes promises of executions, questions and steps."""
        self.session: Session = bridge.session
        """The session that runs the cells."""
        self.session_name = session_name
        """Under which its state is kept."""
        self.max_attempts = max_attempts if store is not None else 1
        """How often a cell is begun whose worker dies; once without a store."""
        self._state = SessionState(self.session, store, session_name)
        self._lock = asyncio.Lock()
        self._unstored: _Unstored | None = None

    def __repr__(self) -> str:
        return f"<DurableCells {self.session_name!r} finished={self._state.finished} {self.bridge!r}>"

    async def execute(
        self,
        execution_id: str,
        code: str,
        *,
        timeout_s: float | None = None,
        filename: str | None = None,
        argv: list[str] | None = None,
        on_output: OutputCallback | None = None,
        on_display: DisplayCallback | None = None,
        on_input: Asker | None = None,
    ) -> dict[str, Any]:
        """Run a cell durably and return its outcome as data; see :mod:`.outcome` for the shape.

        The same id again returns the stored outcome and runs nothing. ``on_input`` is asked each question
        at the same time as everybody else who can see its promise. A cancelled caller stops the cell
        and waits for its end; the execution stays pending.

        Raises :class:`DurableRejected` when it has run out of ``timeout_s`` (seconds, from the first
        call with this id on), was shut down, or rejected by somebody; :class:`StoreError` if the store
        cannot be used: the next call with this id then goes on with storing; :class:`DurableError` if the
        id belongs to other code, or its state cannot be saved or brought back; :class:`SessionClosed`;
        TypeError for what is no code, or cannot be called.
        """
        check_text("code", code)
        check_callback("on_input", on_input, may_wait=True)
        param = {"session": self.session_name, "digest": digest_of(code), "timeout_s": timeout_s}
        record = await self.bridge.expect(
            execution_id,
            timeout_s=timeout_s,
            param=param,
            hold=True,
            check=lambda found: _check_same(execution_id, found.param.data, param),
        )
        if record.state != "pending":
            return self._outcome(execution_id, record)
        how: dict[str, Any] = {
            "filename": filename,
            "argv": argv,
            "on_output": on_output,
            "on_display": on_display,
        }
        async with self._lock:
            stored = await self._state.find(execution_id)
            if stored is not None:
                await self.bridge.resolve(execution_id, msgspec.json.decode(stored.result))
            elif self._is_pending(execution_id):
                how["on_input"] = lambda message: self.bridge.answer_input(message, also=on_input)
                await self._finish(execution_id, code, how)
        return self._outcome(execution_id, await self.bridge.wait(execution_id))

    async def finished(self) -> int:
        """How many cells of this session are finished."""
        await self._state.ask()
        return self._state.finished

    async def _finish(self, execution_id: str, code: str, how: dict[str, Any]) -> None:
        """Run the cell until it ends, not its worker; store what it left; resolve its promise."""
        for attempt in range(1, self.max_attempts + 1):
            await self._state.ask()
            result = self._take_unstored(execution_id)
            if result is None:
                result = await self._run_anew(execution_id, code, how)
            if result is None:
                return  # settled by something else
            is_last = attempt == self.max_attempts
            if _worker_died(result) and not is_last:
                log.warning("durable_cell_lost", execution_id=execution_id, attempt=attempt)
                continue
            if await self._store_outcome(execution_id, result, must=is_last):
                return

    def _take_unstored(self, execution_id: str) -> ExecutionResult | None:
        """The result of a cell that has ended here before, if its namespace is still there."""
        unstored, self._unstored = self._unstored, None
        if unstored is None or unstored.execution_id != execution_id:
            return None
        is_there = unstored.pid == self.session.pid and unstored.after == self._state.finished
        return unstored.result if is_there else None

    async def _run_anew(self, execution_id: str, code: str, how: dict[str, Any]) -> ExecutionResult | None:
        await self._state.bring()
        with self._state.changing():
            self.bridge.begin(execution_id)
            return await self._run(execution_id, code, how)

    async def _run(self, execution_id: str, code: str, how: dict[str, Any]) -> ExecutionResult | None:
        """Run the cell; None if its promise was settled before it ended, and it was stopped."""
        running = asyncio.ensure_future(self.session.run(code, execution_id=execution_id, **how))
        settled = asyncio.ensure_future(self.bridge.wait(execution_id))
        try:
            await asyncio.wait([running, settled], return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                return _result_of(running, execution_id)
            self.bridge.give_up(execution_id)
            await to_the_end(self._stop(execution_id, running))
            settled.result()  # raises if the bridge was closed
            await self.bridge.desk.withdraw(execution_id)
            return None
        finally:
            settled.cancel()
            if not running.done():  # until it has ended, nobody else is to use the session
                await to_the_end(self._stop(execution_id, running))
            await asyncio.gather(running, settled, return_exceptions=True)

    async def _stop(self, execution_id: str, running: asyncio.Future[ExecutionResult]) -> None:
        """End the cell, whatever that takes."""
        try:
            outcome = await self.session.cancel(execution_id, hard_stop=True)
        except StateroomError as error:  # there is no new worker: whoever is next finds that
            log.warning("durable_session_broken", session=self.session_name, error=str(error))
        else:
            if outcome is CancelOutcome.NOTHING_RUNNING:
                running.cancel()
        await asyncio.wait([running])

    async def _store_outcome(self, execution_id: str, result: ExecutionResult, *, must: bool) -> bool:
        """Store and resolve. False if the worker died before its namespace could be saved."""
        outcome = outcome_to_data(replace(result, notes=[*result.notes, *self._state.notes]))
        after = self._state.finished
        try:
            if self._state.is_stored and not await self._store_state(
                execution_id, result, outcome, must=must
            ):
                return False
            await self.bridge.resolve(execution_id, outcome)
        except DurableError:
            if not _worker_died(result):
                self._unstored = _Unstored(execution_id, result, self.session.pid, after)
            raise
        self._state.notes = []
        return True

    async def _store_state(
        self, execution_id: str, result: ExecutionResult, outcome: dict[str, Any], *, must: bool
    ) -> bool:
        try:
            if _worker_died(result):  # what it leaves is what was there before it
                await self._state.bring()
            await self._state.save(execution_id, outcome)
        except (CheckpointError, SessionBroken) as error:
            if self.session.state == "broken" and not must:
                return False
            raise DurableError(f"the state after {execution_id} cannot be stored: {error}") from error
        return True

    def _is_pending(self, execution_id: str) -> bool:
        """Whether another call with this id has not finished it while this one waited for its turn."""
        return self.bridge.desk.is_pending(execution_request(execution_id))

    def _outcome(self, execution_id: str, record: Any) -> dict[str, Any]:
        if self._unstored is not None and self._unstored.execution_id == execution_id:
            self._unstored = None  # the store had taken it, or nobody wants it any more
        return outcome_of(execution_request(execution_id), record)


def digest_of(code: str) -> str:
    """What tells one text from another."""
    return hashlib.sha256(code.encode("utf-8", "surrogatepass")).hexdigest()


def _check_same(execution_id: str, known: Any, asked: dict[str, Any]) -> None:
    for what in ("digest", "session"):
        if isinstance(known, dict) and known.get(what, asked[what]) != asked[what]:
            whose = "other code" if what == "digest" else f"session {known[what]!r}"
            raise DurableError(f"execution {execution_id!r} belongs to {whose}; choose another id")


def _result_of(running: asyncio.Future[ExecutionResult], execution_id: str) -> ExecutionResult:
    try:
        return running.result()
    except SessionBroken as error:  # the worker was gone before it got the cell
        return ExecutionResult(execution_id=execution_id, error=error_info(WorkerDied(str(error))))


def _worker_died(result: ExecutionResult) -> bool:
    error = result.error
    return error is not None and (error.module, error.type) == ("stateroom.errors", "WorkerDied")
