"""``SessionPool.map``: the same work for many inputs, in several sessions at once."""

from __future__ import annotations

import asyncio
import base64
import inspect
import platform
import sys
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple

from ..config import SessionConfig
from ..errors import ConfigError, PoolTimeout, SessionError
from .execution import ExecutionResult, error_info
from .session import Session

__all__ = ["MapItem", "map_over"]

LOAD = "{name} = __import__('pickle').loads(__import__('base64').b85decode({data!r}))"
ADD_PATH = "import sys\nsys.path += [path for path in {path!r} if path not in sys.path]"


class MapItem(NamedTuple):
    """One result, and the position of its input."""

    position: int
    """The position of the input among the inputs, from 0."""
    result: ExecutionResult
    """What became of it."""


class _Work:
    """What a session runs: once before its first input, and for each."""

    def __init__(
        self, work: str | Callable[[Any], Any], config: SessionConfig, timeout_s: float | None
    ) -> None:
        self.timeout_s = timeout_s
        self.prepare: list[str] = []
        if isinstance(work, str):
            self.code = work
            return
        _check_version(config)
        # The function's module may be one that only this process's path leads to.
        self.prepare = [ADD_PATH.format(path=sys.path), _assignment("function", work)]
        is_async = inspect.iscoroutinefunction(inspect.unwrap(work))
        self.code = "await function(item)" if is_async else "function(item)"

    def __repr__(self) -> str:
        return f"<_Work {self.code!r}>"

    async def prepare_session(self, session: Session) -> ExecutionResult | None:
        """What went wrong, if anything did."""
        for code in self.prepare:
            result = await session.run(code)
            if not result.ok:
                return result
        return None

    async def run(self, session: Session, value: Any) -> ExecutionResult:
        result = await session.run(_assignment("item", value))
        return await session.run(self.code, timeout=self.timeout_s) if result.ok else result


class _Inputs:
    """Inputs one at a time, for several takers."""

    def __init__(self, inputs: Iterable[Any] | AsyncIterable[Any]) -> None:
        self._source = aiter(inputs) if isinstance(inputs, AsyncIterable) else _in_turn(iter(inputs))
        self._returned: deque[tuple[int, Any]] = deque()
        self._taken = 0
        self._turn = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<_Inputs taken={self._taken} returned={len(self._returned)}>"

    async def take(self) -> tuple[int, Any] | None:
        """The next input with its position; None at the end."""
        if self._returned:
            return self._returned.popleft()
        async with self._turn:
            try:
                value = await anext(self._source)
            except StopAsyncIteration:
                return None
            self._taken += 1
            return self._taken - 1, value

    def give_back(self, entry: tuple[int, Any]) -> None:
        """Somebody else has to see to it."""
        self._returned.append(entry)


class _Map:
    """One call of ``map``: some slots, each with a session as long as there are inputs."""

    def __init__(
        self,
        lease: Callable[[], AbstractAsyncContextManager[Session]],
        work: _Work,
        inputs: _Inputs,
        slots: int,
    ) -> None:
        self._lease = lease
        self._work = work
        self._inputs = inputs
        self._slots = slots
        self._with_session = 0
        self._results: asyncio.Queue[MapItem | None] = asyncio.Queue(maxsize=slots)

    def __repr__(self) -> str:
        return f"<_Map slots={self._slots} with_session={self._with_session} {self._inputs!r}>"

    async def results(self) -> AsyncIterator[MapItem]:
        runner = asyncio.get_running_loop().create_task(self._run())
        runner.add_done_callback(self._no_more)
        try:
            while not runner.done() or not self._results.empty():
                item = await self._results.get()
                if item is not None:
                    yield item
            await runner
        finally:
            runner.cancel()
            await asyncio.wait([runner])

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._slots):
                    group.create_task(self._slot())
        except BaseExceptionGroup as error:
            raise error.exceptions[0] from None

    def _no_more(self, _runner: object) -> None:
        """Wake a consumer that waits for one more result; one that does not will see for itself."""
        if self._results.empty():
            self._results.put_nowait(None)

    async def _slot(self) -> None:
        """Take sessions, one after another if they die, until the inputs are used up."""
        while (entry := await self._inputs.take()) is not None:
            try:
                async with self._lease() as session:
                    self._with_session += 1
                    try:
                        await self._serve(session, entry)
                    finally:
                        self._with_session -= 1
            except PoolTimeout:
                if not self._with_session:
                    raise
                self._inputs.give_back(entry)  # those that have a session go on
                return

    async def _serve(self, session: Session, entry: tuple[int, Any] | None) -> None:
        pid = session.pid
        failure = await self._work.prepare_session(session)
        while entry is not None:
            position, value = entry
            await self._results.put(MapItem(position, failure or await self._one(session, value)))
            if session.state != "idle" or session.pid != pid:  # a new worker is not prepared
                return
            entry = await self._inputs.take()

    async def _one(self, session: Session, value: Any) -> ExecutionResult:
        try:
            return await self._work.run(session, value)
        except SessionError as error:
            return ExecutionResult(execution_id="", error=error_info(error))


async def map_over(
    lease: Callable[[], AbstractAsyncContextManager[Session]],
    config: SessionConfig,
    work: str | Callable[[Any], Any],
    inputs: Iterable[Any] | AsyncIterable[Any],
    *,
    slots: int,
    timeout_s: float | None,
) -> AsyncIterator[MapItem]:
    """Results as they come; see :meth:`SessionPool.map`."""
    call = _Map(lease, _Work(work, config, timeout_s), _Inputs(inputs), slots)
    results = call.results()
    try:
        async for item in results:
            yield item
    finally:
        await results.aclose()  # type: ignore[attr-defined]


def _assignment(name: str, value: Any) -> str:
    """A cell that gives the worker an object of this process."""
    import cloudpickle

    return LOAD.format(name=name, data=base64.b85encode(cloudpickle.dumps(value)))


def _check_version(config: SessionConfig) -> None:
    own = ".".join(platform.python_version_tuple()[:2])
    if config.python_version not in (None, own):
        raise ConfigError(
            f"a function of Python {own} cannot be sent to workers with python_version="
            f"{config.python_version!r}; give the work as code"
        )


async def _in_turn(values: Iterator[Any]) -> AsyncIterator[Any]:
    for value in values:
        yield value
