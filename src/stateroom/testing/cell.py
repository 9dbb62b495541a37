"""A cell in the hands of a scripted worker."""

from __future__ import annotations

import asyncio
import inspect
import math
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import NotPlainData
from ..protocol.messages import (
    DisplayMessage,
    ErrorInfo,
    ErrorMessage,
    ExecuteMessage,
    InputMessage,
    InputResponseMessage,
    OutputMessage,
    ResultMessage,
    Stream,
)
from ..protocol.values import encode_value

if TYPE_CHECKING:
    from .worker import ScriptedWorker

__all__ = ["ScriptedCell"]

_NO_VALUE = object()


class ScriptedCell:
    """What a session has sent to be run, and what its worker may say about it."""

    def __init__(self, worker: ScriptedWorker, message: ExecuteMessage) -> None:
        self.worker = worker
        """The worker that has it."""
        self.message = message
        """The message that it came in."""
        self.code: str = message.code
        """Its text."""
        self.execution_id: str = message.execution_id
        """The id of its execution."""
        self.number: int = message.number
        """The number of its execution, which no other has."""
        self.has_ended = False
        """Whether its result or error was sent."""
        self.cancel_attempts = 0
        """The highest attempt of a request to cancel it: 1 asked, 2 and more insisted."""
        self._ignored_attempts: float = 0
        self._task: asyncio.Task[Any] | None = None

    def __repr__(self) -> str:
        state = "ended" if self.has_ended else "running"
        return f"<ScriptedCell {self.execution_id} {state} cancel_attempts={self.cancel_attempts}>"

    # What it says while it runs

    def print(self, text: str, *, stream: Stream = "stdout") -> None:
        """Write ``text``, as it is: no line end is added."""
        self.worker.send(OutputMessage(stream=stream, execution_id=self.execution_id, data=text))

    def display(self, mime: dict[str, Any], **fields: Any) -> None:
        """Show something by MIME type; ``fields`` are those of :class:`DisplayMessage`."""
        self.worker.send(DisplayMessage(execution_id=self.execution_id, mime=mime, **fields))

    async def input(self, prompt: str = "", *, password: bool = False) -> str:
        """Ask for a line and wait for it. Raises EOFError if there is none, with the reason if one came."""
        worker = self.worker
        worker.inputs_asked += 1
        input_id = str(worker.inputs_asked)
        answer: asyncio.Future[InputResponseMessage] = asyncio.get_running_loop().create_future()
        worker.answers[input_id] = answer
        worker.send(
            InputMessage(input_id=input_id, execution_id=self.execution_id, prompt=prompt, password=password)
        )
        reply = await answer
        if reply.data is None:
            raise EOFError(reply.error or "there is no more input")
        return reply.data

    # How it ends

    def succeed(
        self, value: object = _NO_VALUE, *, mode: str = "simple_sync", duration_s: float = 0.0
    ) -> None:
        """End with a result: of no value, of plain data, or else of the value's ``repr``."""
        message = ResultMessage(
            execution_id=self.execution_id, number=self.number, mode=mode, duration_s=duration_s
        )
        if value is not _NO_VALUE:
            try:
                message.value, message.buffers = encode_value(
                    value, self.worker.config.engine.max_value_bytes
                )
            except NotPlainData:
                message.repr = repr(value)
        self.worker.send(message)

    def fail(
        self, error: BaseException | ErrorInfo, *, cancelled: bool = False, mode: str = "simple_sync"
    ) -> None:
        """End with an error; ``cancelled`` says that a request to cancel was the cause."""
        info = error if isinstance(error, ErrorInfo) else _info(error)
        self.worker.send(
            ErrorMessage(
                execution_id=self.execution_id,
                number=self.number,
                error=info,
                mode=mode,
                cancelled=cancelled,
            )
        )

    # Cancels

    def ignore_cancels(self, attempts: float = math.inf) -> None:
        """Go on in spite of requests to cancel: of all, or of the first ``attempts``."""
        self._ignored_attempts = attempts

    async def cancelled(self, attempt: int = 1) -> None:
        """Wait until the session has asked for its end, for the ``attempt``-th time or more."""
        await self.worker.until(lambda: self.cancel_attempts >= attempt)

    def take_cancel(self, number: int, attempt: int) -> None:
        """A request has come: it counts once for each ``attempt``, if ``number`` is this execution's."""
        if number != self.number or attempt <= self.cancel_attempts:
            return
        self.cancel_attempts = attempt
        if self._task is not None and attempt > self._ignored_attempts:
            self._task.cancel()

    # A cell as a function

    async def play(self, function: Callable[[ScriptedCell], Any]) -> None:
        """Let ``function`` be the cell: what it returns, or raises, is how the cell ends.

        None is no value. A request to cancel cancels a coroutine, as it would the cell's task. Returns when
        the cell has ended.
        """
        self._task = asyncio.ensure_future(_call(function, self))
        await asyncio.wait([self._task])
        if self.has_ended or self.worker.returncode is not None:
            return
        if self._task.cancelled():
            self.fail(asyncio.CancelledError(), cancelled=True)
        elif (error := self._task.exception()) is not None:
            self.fail(error)
        else:
            value = self._task.result()
            self.succeed(_NO_VALUE if value is None else value)

    def stop(self) -> None:
        """The worker has ended."""
        if self._task is not None:
            self._task.cancel()


async def _call(function: Callable[[ScriptedCell], Any], cell: ScriptedCell) -> Any:
    answer = function(cell)
    return await answer if inspect.isawaitable(answer) else answer


def _info(error: BaseException) -> ErrorInfo:
    kind = type(error)
    return ErrorInfo(
        type=kind.__qualname__,
        module=kind.__module__,
        message=str(error),
        text="".join(traceback.format_exception_only(error)),
        notes=list(getattr(error, "__notes__", [])),
    )
