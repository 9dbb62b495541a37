"""Functions that see each message from the worker before anybody else, in order.

A plain function is called at once, a coroutine function runs as a task; both are timed against a
budget. ``max_routing_concurrency`` bounds how many tasks are under way, and when the bound is reached
the session stops reading until one has ended. So nothing is dropped and nothing grows.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from ..logs import get_logger
from ..protocol.messages import ToSession
from .callbacks import pass_on_exit
from .pace import Pace

__all__ = ["Interceptor", "InterceptorInfo", "Interceptors"]

Interceptor = Callable[[ToSession], Any]

log = get_logger("stateroom.session")


class InterceptorInfo(msgspec.Struct, kw_only=True):
    """What one interceptor has cost; durations in seconds, of tasks from start to end, waiting included."""

    name: str
    """The function's qualified name."""
    calls: int = 0
    """Messages that it was called with."""
    errors: int = 0
    """Calls that raised."""
    overruns: int = 0
    """Calls that took longer than the budget."""
    total_s: float = 0.0
    """All calls together."""
    longest_s: float = 0.0
    """The longest call."""
    running: int = 0
    """Tasks under way."""


class _Entry:
    """One interceptor and its figures."""

    __slots__ = ("errors", "function", "info", "overruns")

    def __init__(self, function: Interceptor) -> None:
        self.function = function
        name = getattr(function, "__qualname__", None) or repr(function)
        self.info = InterceptorInfo(name=name)
        self.errors, self.overruns = Pace(), Pace()

    def __repr__(self) -> str:
        return f"<_Entry {self.info!r}>"


class Interceptors:
    """The interceptors of one session. ``pause(self)`` and ``resume(self)`` stop and continue the reading.

    A pause ends with the worker whose messages it holds back: the next worker is paused anew.
    """

    def __init__(
        self,
        *,
        budget_s: float,
        max_concurrency: int,
        pause: Callable[[object], None],
        resume: Callable[[object], None],
    ) -> None:
        self.budget_s = budget_s
        self.max_concurrency = max_concurrency
        self._pause = pause
        self._resume = resume
        self._entries: list[_Entry] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._pauses = Pace()

    def __repr__(self) -> str:
        return f"<Interceptors count={len(self._entries)} tasks={len(self._tasks)}>"

    def __bool__(self) -> bool:
        return bool(self._entries)

    def add(self, function: Interceptor) -> None:
        """Call ``function`` with each message from now on."""
        self._entries.append(_Entry(function))

    def remove(self, function: Interceptor) -> None:
        """Call it no more; what it has begun goes on. Raises ValueError if it was not added."""
        for entry in self._entries:
            if entry.function == function:
                self._entries.remove(entry)
                return
        raise ValueError(f"{function!r} is not an interceptor of this session")

    def see(self, message: ToSession) -> None:
        """Show a message to all of them. Never raises."""
        for entry in tuple(self._entries):
            self._call(entry, message)

    def figures(self) -> list[InterceptorInfo]:
        """What each has cost so far."""
        return [msgspec.structs.replace(entry.info) for entry in self._entries]

    async def settle(self, grace_s: float | None = None) -> None:
        """Wait for the tasks that are under way; after ``grace_s`` they are cancelled."""
        tasks = self._tasks - {asyncio.current_task()}
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)
        for task in tasks:
            task.cancel()

    def _call(self, entry: _Entry, message: ToSession) -> None:
        started = time.perf_counter()
        try:
            answer = entry.function(message)
        except BaseException as error:  # noqa: BLE001 - logged; a CancelledError is nobody's cancel here
            self._note_error(entry, error)
            pass_on_exit(error)
            answer = None
        entry.info.calls += 1
        if inspect.iscoroutine(answer):
            self._begin(entry, answer, started)
        else:
            self._note_duration(entry, time.perf_counter() - started)

    def _begin(self, entry: _Entry, coroutine: Coroutine[Any, Any, Any], started: float) -> None:
        task = asyncio.get_running_loop().create_task(self._run(entry, coroutine, started))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        if len(self._tasks) >= self.max_concurrency:
            self._pause(self)
            if self._pauses.allows():
                log.warning("reading_paused", interceptor=entry.info.name, running=len(self._tasks))

    async def _run(self, entry: _Entry, coroutine: Coroutine[Any, Any, Any], started: float) -> None:
        entry.info.running += 1
        try:
            await coroutine
        except Exception as error:  # noqa: BLE001 - logged
            self._note_error(entry, error)
        finally:
            entry.info.running -= 1
            self._note_duration(entry, time.perf_counter() - started)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if len(self._tasks) == self.max_concurrency - 1:
            self._resume(self)

    def _note_error(self, entry: _Entry, error: BaseException) -> None:
        entry.info.errors += 1
        if entry.errors.allows():
            errors = entry.info.errors
            log.error("interceptor_failed", interceptor=entry.info.name, errors=errors, exc_info=error)

    def _note_duration(self, entry: _Entry, duration_s: float) -> None:
        info = entry.info
        info.total_s += duration_s
        info.longest_s = max(info.longest_s, duration_s)
        if duration_s <= self.budget_s:
            return
        info.overruns += 1
        if entry.overruns.allows():
            log.warning(
                "slow_interceptor",
                interceptor=info.name,
                duration_ms=round(duration_s * 1e3, 3),
                budget_ms=self.budget_s * 1e3,
                overruns=info.overruns,
            )
