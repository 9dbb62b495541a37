"""The promises that somebody here waits for: created first, settled once, never forgotten.

What is pending is kept here, since stores need not be searchable. Time limits are kept here too: not
every store times promises out by itself.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import msgspec

from ..errors import DurableError, StoreError
from ..logs import get_logger
from ..session.background_tasks import BackgroundTasks
from .request import Request, check_id, check_timeout, ended_error, shutdown_error, timeout_error
from .retries import pause
from .sdk import EXTERNAL, FAR_FUTURE_MS, PromiseRecord, Resonate, Value, told, wait_settled

__all__ = ["DeskCounters", "PromiseDesk"]

log = get_logger("stateroom.durable")

BACKSTOP_S = 10.0
"""So long after its time limit a promise is timed out by the store, if nobody here has."""


class DeskCounters(msgspec.Struct, kw_only=True):
    """What became of all promises so far."""

    created: int = 0
    replayed: int = 0
    """Found settled when they were asked for."""
    resolved: int = 0
    rejected: int = 0
    timed_out: int = 0
    shut_down: int = 0
    withdrawn: int = 0
    """Rejected since the execution that asked had ended."""
    late: int = 0
    """Answers to what nobody waited for any more; they changed nothing."""
    duplicate: int = 0
    """Answers to what somebody else had settled already; they changed nothing."""


class _Pending:
    """A promise on its way; ``settled`` gets its record."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.settled: asyncio.Future[PromiseRecord] = asyncio.get_running_loop().create_future()
        self.timer: asyncio.TimerHandle | None = None
        self.is_settling = False

    def __repr__(self) -> str:
        return f"<_Pending {self.request.promise_id} settled={self.settled.done()}>"

    def finish(self, record: PromiseRecord) -> None:
        if self.timer is not None:
            self.timer.cancel()
        if not self.settled.done():
            self.settled.set_result(record)

    def fail(self, error: DurableError) -> None:
        if self.timer is not None:
            self.timer.cancel()
        if not self.settled.done():
            self.settled.set_exception(error)
            self.settled.exception()  # nobody has to look at it


class PromiseDesk:
    """Creates promises, waits for them, settles them. For one event loop.

    Its methods raise :class:`StoreError` if the store cannot be reached, or refuses.
    """

    def __init__(self, resonate: Resonate) -> None:
        self.resonate = resonate
        self.counters = DeskCounters()
        self.high_water_mark = 0
        self.closed = False
        self._rejects = False
        self._pending: dict[str, _Pending] = {}
        self._background = BackgroundTasks()

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<PromiseDesk {state} pending={len(self._pending)} high_water_mark={self.high_water_mark}>"

    @property
    def pending(self) -> list[Request]:
        """What is waited for, oldest first."""
        return [entry.request for entry in self._pending.values()]

    def is_pending(self, request: Request) -> bool:
        """Whether an answer to this is waited for."""
        return request.promise_id in self._pending

    async def open(
        self, request: Request, param: Any = None, *, check: Callable[[PromiseRecord], None] | None = None
    ) -> PromiseRecord:
        """Create the promise, or find it as it is; from now on it is waited for, unless it is settled.

        ``param`` is JSON-safe data that travels with the promise. ``check`` may raise for what was found:
        then it is not waited for. Raises :class:`DurableError` when closed, :class:`StoreError`.
        """
        self._check_open()
        check_id("execution_id", request.execution_id)
        check_timeout(request.timeout_s)
        with told(request.promise_id):
            record = await self.resonate.promises.create(
                request.promise_id, _backstop_ms(request.timeout_s), Value(data=param), dict(EXTERNAL)
            )
        if check is not None:
            check(record)
        if self.closed:  # while it was created: it becomes what those became that were pending then
            if self._rejects and record.state == "pending":
                await self.reject(request, shutdown_error(request))
            raise DurableError(f"{request.promise_id} is not waited for: the bridge was closed meanwhile")
        if record.state != "pending":
            self.counters.replayed += 1
        elif request.promise_id not in self._pending:
            self._add(request, record)
        return record

    async def wait(self, request: Request, *, watch: bool = False) -> PromiseRecord:
        """Wait until an open promise is settled; with ``watch``, by whomever, in whichever process.

        Raises :class:`DurableError` for one that stays pending, since the desk is closed.
        """
        entry = self._pending.get(request.promise_id)
        if entry is None:
            with told(request.promise_id):
                record = await self.resonate.promises.get(request.promise_id)
            if record.state == "pending":
                raise DurableError(f"{request.promise_id} stays pending: nothing here waits for it any more")
            return record
        if watch:
            self._background.run(self._until_settled(entry, self._look))
        return await asyncio.shield(entry.settled)

    async def resolve(self, request: Request, data: Any) -> bool:
        """Settle it with JSON-safe ``data``. False, and nothing has changed, if it was settled before."""
        if await self._settle(request, "resolved", data):
            self.counters.resolved += 1
            return True
        return False

    async def reject(self, request: Request, error: dict[str, Any]) -> bool:
        """Settle it as failed; ``error`` says why. False if it was settled before."""
        # Under any other key the SDK of a reader may find a pickle to load.
        if await self._settle(request, "rejected", {"message": json.dumps(error)}):
            self.counters.rejected += 1
            return True
        return False

    def note_late(self) -> None:
        """An answer came to what nobody waits for any more."""
        self.counters.late += 1

    async def cancel_all(self) -> int:
        """Reject all that is pending as shut down; how many that were."""
        rejected = await self._reject_all(self.pending, shutdown_error)
        self.counters.shut_down += rejected
        return rejected

    async def withdraw(self, execution_id: str) -> None:
        """Reject the inputs and steps that an execution which has ended still asked for."""
        asked = [each for each in self.pending if each.execution_id == execution_id]
        inner = [each for each in asked if each.capability != "execute"]
        self.counters.withdrawn += await self._reject_all(inner, ended_error)

    async def close(self, *, reject: bool) -> None:
        """Wait for nothing any more. With ``reject`` what is pending is rejected, else it stays pending."""
        self.closed, self._rejects = True, reject
        for entry in self._pending.values():
            if entry.timer is not None:
                entry.timer.cancel()
        if reject:
            await self.cancel_all()
        for entry in self._pending.values():
            entry.fail(DurableError(f"{entry.request.promise_id} stays pending: the bridge was closed"))
        self._pending.clear()
        while tasks := list(self._background.tasks):
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)  # not gather, which gives a task that has just ended no turn to leave

    def info(self) -> dict[str, Any]:
        """Figures, as plain data."""
        return {
            "pending": len(self._pending),
            "pending_high_water_mark": self.high_water_mark,
            **msgspec.structs.asdict(self.counters),
        }

    def _add(self, request: Request, record: PromiseRecord) -> None:
        entry = self._pending[request.promise_id] = _Pending(request)
        self.counters.created += 1
        self.high_water_mark = max(self.high_water_mark, len(self._pending))
        if request.timeout_s is not None:
            left_s = record.created_at / 1000 + request.timeout_s - time.time()
            entry.timer = asyncio.get_running_loop().call_later(
                max(0.0, left_s), lambda: self._background.run(self._until_settled(entry, self._time_out))
            )

    async def _reject_all(
        self, requests: list[Request], error_for: Callable[[Request], dict[str, Any]]
    ) -> int:
        """How many were; what the store refuses to settle is logged, and stays pending."""
        rejected = 0
        for request in requests:
            try:
                rejected += await self.reject(request, error_for(request))
            except Exception:
                log.exception("promise_not_rejected", promise_id=request.promise_id)
        return rejected

    async def _settle(self, request: Request, state: Literal["resolved", "rejected"], data: Any) -> bool:
        entry = self._pending.get(request.promise_id)
        if entry is not None and entry.is_settling:
            self.counters.late += 1
            return False
        if entry is not None:
            entry.is_settling = True
        promises = self.resonate.promises
        try:
            settle = promises.resolve if state == "resolved" else promises.reject
            with told(request.promise_id):
                record = await settle(request.promise_id, Value(data=data))
        except BaseException:
            if entry is not None:
                entry.is_settling = False
            raise
        self._finish(request, record)
        if record.state != state or record.value.data != data:
            self.counters.duplicate += 1
            return False
        return True

    def _finish(self, request: Request, record: PromiseRecord) -> None:
        entry = self._pending.pop(request.promise_id, None)
        if entry is not None:
            entry.finish(record)

    async def _until_settled(self, entry: _Pending, attempt: Callable[[_Pending], Awaitable[None]]) -> None:
        """Try it again until it is waited for no more, however often the store is away."""
        while self._pending.get(entry.request.promise_id) is entry:
            try:
                await attempt(entry)
            except StoreError as error:
                log.warning("promise_delayed", promise_id=entry.request.promise_id, error=str(error))
            if not entry.settled.done():
                await pause()

    async def _look(self, entry: _Pending) -> None:
        """Wait until it is settled, by whomever; who is settling it from here comes to know by himself."""
        promise_id = entry.request.promise_id
        with told(promise_id):
            record = await wait_settled(self.resonate, promise_id)
        if not entry.is_settling:
            self._finish(entry.request, record)

    async def _time_out(self, entry: _Pending) -> None:
        if not entry.is_settling and await self.reject(entry.request, timeout_error(entry.request)):
            self.counters.timed_out += 1

    def _check_open(self) -> None:
        if self.closed:
            raise DurableError("the bridge is closed; make another one")


def _backstop_ms(timeout_s: float | None) -> int:
    if timeout_s is None:
        return FAR_FUTURE_MS
    return int((time.time() + timeout_s + BACKSTOP_S) * 1000)
