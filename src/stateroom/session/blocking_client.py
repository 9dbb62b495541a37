"""Sessions for code without asyncio: an event loop in a thread, and a session in it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from ..errors import SessionClosed
from ..protocol.messages import RestoredMessage, ToSession
from .cancellation import CancelOutcome
from .checkpoint import Checkpoint, Recovery
from .execution import DisplayCallback, ExecutionResult, OutputCallback
from .info import SessionInfo
from .inputs import InputCallback
from .session import Session

__all__ = ["BlockingSession", "open_session"]

T = TypeVar("T")


class BlockingSession:
    """A :class:`Session` whose methods wait; use it as a context manager.

    Callbacks are called in the session's own thread and must not call the session's methods.
    Interceptors, late output and ``on_worker_lost`` are for :class:`Session` only.
    ``KeyboardInterrupt`` during :meth:`run` cancels the cell and is raised when it has ended; a second one
    does not wait.
    """

    def __init__(self, **settings: Any) -> None:
        self._session = Session(**settings)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stateroom-session", daemon=True)

    def __repr__(self) -> str:
        return f"<BlockingSession {self._session!r}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """As :meth:`Session.start`; once. Raises :class:`SessionClosed` the second time."""
        if self._thread.ident is not None:
            raise SessionClosed("this session was started before; make another one, or call restart()")
        self._thread.start()
        try:
            self._wait(self._session.start())
        except BaseException:
            self._stop()
            raise

    def close(self) -> None:
        """As :meth:`Session.close`, and ends the thread."""
        if self._thread.ident is None:
            self._loop.close()
        if self._loop.is_closed():
            return
        try:
            self._wait(self._session.close())
        finally:
            self._stop()

    def run(
        self,
        code: str,
        *,
        timeout: float | None = None,
        check: bool = False,
        on_output: OutputCallback | None = None,
        on_display: DisplayCallback | None = None,
        on_input: InputCallback | None = None,
        queue: bool = True,
        execution_id: str | None = None,
        filename: str | None = None,
        argv: list[str] | None = None,
    ) -> ExecutionResult:
        """As :meth:`Session.run`."""
        running = self._submit(
            self._session.run(
                code,
                timeout=timeout,
                check=check,
                on_output=on_output,
                on_display=on_display,
                on_input=on_input,
                queue=queue,
                execution_id=execution_id,
                filename=filename,
                argv=argv,
            )
        )
        try:
            return running.result()
        except KeyboardInterrupt:
            self.cancel()
            raise

    def execute(
        self, code: str, *, on_input: InputCallback | None = None, execution_id: str | None = None
    ) -> Iterator[ToSession]:
        """As :meth:`Session.execute`, as a plain iterator that waits its turn; to stop early, close it."""
        messages = self._session.execute(code, on_input=on_input, execution_id=execution_id)

        async def following() -> ToSession | None:
            return await anext(messages, None)

        async def end() -> None:
            await messages.aclose()  # type: ignore[attr-defined]

        try:
            while (message := self._wait(following())) is not None:
                yield message
        finally:
            self._wait(end())

    def cancel(self, execution_id: str | None = None, *, hard_stop: bool = False) -> CancelOutcome:
        """As :meth:`Session.cancel`; from any thread."""
        return self._wait(self._session.cancel(execution_id, hard_stop=hard_stop))

    def restart(self, *, restore: bool = True) -> None:
        """As :meth:`Session.restart`."""
        self._wait(self._session.restart(restore=restore))

    def checkpoint(self) -> Checkpoint:
        """As :meth:`Session.checkpoint`."""
        return self._wait(self._session.checkpoint())

    def restore(
        self, saved: Checkpoint, *, clear_existing: bool = True, allow_other_python: bool = False
    ) -> RestoredMessage:
        """As :meth:`Session.restore`."""
        how = {"clear_existing": clear_existing, "allow_other_python": allow_other_python}
        return self._wait(self._session.restore(saved, **how))

    def input_response(self, input_id: str, text: str | None) -> None:
        """As :meth:`Session.input_response`; from any thread."""

        async def respond() -> None:
            self._session.input_response(input_id, text)

        self._wait(respond())

    @property
    def recovery(self) -> Recovery | None:
        """As :attr:`Session.recovery`."""
        return self._session.recovery

    @property
    def state(self) -> str:
        """As :attr:`Session.state`."""
        return self._session.state

    @property
    def pid(self) -> int | None:
        """As :attr:`Session.pid`."""
        return self._session.pid

    @property
    def info(self) -> SessionInfo:
        """As :attr:`Session.info`."""

        async def read() -> SessionInfo:
            return self._session.info

        return self._wait(read())

    def _submit(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        try:
            self._check()
        except BaseException:
            coroutine.close()
            raise
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._submit(coroutine).result()

    def _check(self) -> None:
        if not self._thread.is_alive():
            what = "closed" if self._loop.is_closed() else "not started"
            raise SessionClosed(f"the session is {what}; use it in a 'with' statement")
        if threading.get_ident() == self._thread.ident:
            raise RuntimeError("a callback of a blocking session cannot wait for the session that calls it")

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def open_session(**settings: Any) -> BlockingSession:
    """Make a session for code without asyncio, to be used in a ``with`` statement.

    Settings as for :class:`Session`.
    """
    return BlockingSession(**settings)
