"""Sessions for code without asyncio: a session whose event loop is in a thread of its own."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from ..errors import SessionClosed
from ..protocol.messages import RestoredMessage, ToSession
from .cancellation import CancelOutcome
from .checkpoint import Checkpoint, Recovery
from .execution import DisplayCallback, ExecutionResult, OutputCallback
from .info import SessionInfo
from .inputs import InputCallback
from .loop_thread import LoopThread
from .session import Session

__all__ = ["BlockingSession", "open_session"]


class BlockingSession:
    """A :class:`Session` whose methods wait; use it as a context manager.

    Callbacks are called in the session's own thread and must not call the session's methods.
    Interceptors, late output and ``on_worker_lost`` are for :class:`Session` only.

    ``KeyboardInterrupt`` while :meth:`run` waits cancels that cell, and is raised when it has ended, or has
    ignored the request for ``cancel_grace_s`` and runs on. In the other methods it gives up what was asked
    for, as if the caller of the :class:`Session`'s method had been cancelled, and is raised when that is
    done; :meth:`close` still closes to the end. A second one does not wait.
    """

    def __init__(self, **settings: Any) -> None:
        self._session = Session(**settings)
        self._thread = LoopThread("stateroom-session")
        self._wait = self._thread.call
        self._numbers = itertools.count(1)

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
        """As :meth:`Session.start`; once: if it fails, the session is closed.

        Raises :class:`SessionClosed` the second time.
        """
        self._thread.start()
        try:
            self._wait(self._session.start())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """As :meth:`Session.close`, and ends the thread."""
        self._thread.end(self._session.close)

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
        name = self._name(execution_id)
        running = self._session.run(
            code,
            timeout=timeout,
            check=check,
            on_output=on_output,
            on_display=on_display,
            on_input=on_input,
            queue=queue,
            execution_id=name,
            filename=filename,
            argv=argv,
        )
        return self._wait(running, give_up=lambda: self._give_up(name))

    def execute(
        self, code: str, *, on_input: InputCallback | None = None, execution_id: str | None = None
    ) -> Iterator[ToSession]:
        """As :meth:`Session.execute`, as a plain iterator that waits its turn; to stop early, close it."""
        messages = self._session.execute(code, on_input=on_input, execution_id=self._name(execution_id))

        async def following() -> ToSession | None:
            return await anext(messages, None)

        async def end() -> None:
            await messages.aclose()  # type: ignore[attr-defined]

        try:
            while (message := self._wait(following())) is not None:
                yield message
        finally:
            with contextlib.suppress(SessionClosed):  # which has ended it
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

    def _name(self, execution_id: str | None) -> str:
        """An id that is known before the cell is: whoever gives up cancels that one and no other."""
        return execution_id if execution_id is not None else f"e{next(self._numbers)}"

    def _give_up(self, execution_id: str) -> None:
        with contextlib.suppress(SessionClosed):
            self.cancel(execution_id)


def open_session(**settings: Any) -> BlockingSession:
    """Make a session for code without asyncio, to be used in a ``with`` statement.

    Settings as for :class:`Session`.
    """
    return BlockingSession(**settings)
