"""Time that passes only while everybody waits, and then at once (after the autojump clock of Trio)."""

from __future__ import annotations

import asyncio
import functools
import math
import selectors
from asyncio.events import AbstractEventLoop
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, ParamSpec, TypeVar, TypeVarTuple

__all__ = ["VirtualTimeLoop", "virtual_time"]

RESOLUTION_S = 1e-9
"""What an event loop adds to the time before it looks for timers that are due."""

P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop that does not wait for its timers: when nothing else is to be done, they are due.

    ``time()`` begins at 0. A thread of an executor, such as ``asyncio.to_thread`` uses, holds time still
    while it works; other threads and processes do not, so sessions in this loop need scripted workers.
    """

    def __init__(self) -> None:
        self._clock = _JumpingSelector()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now_s

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        future = super().run_in_executor(executor, func, *args)
        self._clock.jobs += 1
        future.add_done_callback(self._clock.job_done)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - asyncio's own
        self._clock.jobs += 1
        try:
            await super().shutdown_default_executor()
        finally:
            self._clock.jobs -= 1


class _JumpingSelector(selectors.DefaultSelector):
    """Does not wait for the time that it is given, but lets it pass."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.jobs = 0

    def job_done(self, _job: object) -> None:
        self.jobs -= 1

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout > 0:
            if self.jobs:
                return super().select(None)
            ready = super().select(0)
            if not ready:
                self.now_s += timeout
                if self.now_s + RESOLUTION_S == self.now_s:  # a timer that is just due would not be seen
                    self.now_s = math.nextafter(self.now_s, math.inf)
            return ready
        return super().select(timeout)


def virtual_time(test: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """For test functions, a decorator: the coroutine is run by a :class:`VirtualTimeLoop` of its own."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        with asyncio.Runner(loop_factory=_make_loop) as runner:
            return runner.run(test(*args, **kwargs))

    return run


def _make_loop() -> AbstractEventLoop:
    return VirtualTimeLoop()
