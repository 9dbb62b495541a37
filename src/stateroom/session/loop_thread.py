"""An event loop in a thread of its own, and calls into it whose callers may give up."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from ..errors import SessionClosed

__all__ = ["LoopThread"]

T = TypeVar("T")


class LoopThread:
    """Runs coroutines for other threads, which wait for them, from :meth:`start` to :meth:`end`.

    ``KeyboardInterrupt`` is raised in a caller when what it waits for has ended; a second one does not wait.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._last: asyncio.Future[Callable[[], Coroutine[Any, Any, None]]] = self._loop.create_future()
        self._ended: Future[None] = Future()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._state = "not started"
        # Nothing is put into the loop behind the last call. A generator calls when it ends, wherever that is.
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"<LoopThread {self._thread.name} {self._state} calls={len(self._tasks)}>"

    def start(self) -> None:
        """Begin to take calls. Raises :class:`SessionClosed` the second time."""
        with self._lock:
            if self._state != "not started":
                raise SessionClosed("this session was started before; make another one, or call restart()")
            self._thread.start()
            self._state = "open"

    def call(self, coroutine: Coroutine[Any, Any, T], *, give_up: Callable[[], object] | None = None) -> T:
        """Run it in the loop and wait for its end. Raises what it raises, or :class:`SessionClosed`.

        An exception that comes while this waits cancels it, or calls ``give_up`` if there is one.
        """
        call = _Call(coroutine, self._tasks)
        try:
            self._begin(call)
            return call.outcome.result()
        except BaseException:
            if not call.outcome.done():
                (give_up or (lambda: self._cancel(call)))()
            raise

    def end(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Take no more calls, await ``last()`` and the calls that there are, and end the thread.

        Raises what ``last()`` raises. A second call waits for the same end.
        """
        self._refuse_own_thread()
        try:
            self._close_behind(last)
            self._ended.result()
        except BaseException:
            if not self._ended.done():
                self._close_behind(last)
                self._ended.exception()
            raise
        if self._thread.ident is not None:
            self._thread.join()

    def _close_behind(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with self._lock:
            if self._state == "not started":
                self._loop.close()
                self._ended.set_result(None)
            else:
                with contextlib.suppress(RuntimeError):  # the loop is closed: it was told before
                    self._loop.call_soon_threadsafe(self._be_told, last)
            self._state = "closed"

    def _be_told(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if not self._last.done():
            self._last.set_result(last)

    def _serve(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._until_ended())
        except BaseException as error:  # noqa: BLE001 - for who ends the thread
            self._ended.set_exception(error)
        else:
            self._ended.set_result(None)

    async def _until_ended(self) -> None:
        last = await self._last
        try:
            await last()
        finally:
            if self._tasks:
                await asyncio.wait(self._tasks)

    def _begin(self, call: _Call[Any]) -> None:
        try:
            self._refuse_own_thread()
            with self._lock:
                if self._state != "open":
                    raise SessionClosed(f"the session is {self._state}; use it in a 'with' statement")
                self._loop.call_soon_threadsafe(call.begin)
        except (SessionClosed, RuntimeError) as error:
            call.refuse(error)

    def _cancel(self, call: _Call[Any]) -> None:
        with self._lock:
            if self._loop.is_closed():  # it was never begun
                return
            self._loop.call_soon_threadsafe(call.cancel)
        call.outcome.exception()

    def _refuse_own_thread(self) -> None:
        if threading.get_ident() == self._thread.ident:
            raise RuntimeError("a callback of a blocking session cannot wait for the session that calls it")


class _Call(Generic[T]):
    """A coroutine for the loop. ``outcome`` is set when it has ended, and not when it is told to."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], tasks: set[asyncio.Task[Any]]) -> None:
        self.outcome: Future[T] = Future()
        self._coroutine = coroutine
        self._tasks = tasks
        self._task: asyncio.Task[T] | None = None

    def __repr__(self) -> str:
        return f"<_Call {self._coroutine!r} {self.outcome!r}>"

    def refuse(self, error: BaseException) -> None:
        """It is not begun."""
        self._coroutine.close()
        self.outcome.set_exception(error)

    # In the loop

    def begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._coroutine)
        self._tasks.add(self._task)
        self._task.add_done_callback(self._done)

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        else:
            self.refuse(asyncio.CancelledError())

    def _done(self, task: asyncio.Task[T]) -> None:
        self._tasks.discard(task)
        try:
            self.outcome.set_result(task.result())
        except BaseException as error:  # noqa: BLE001 - for who waits for it
            self.outcome.set_exception(error)
