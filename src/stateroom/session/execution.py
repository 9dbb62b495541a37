"""One execution on the session's side, from ``run`` to its result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from ..config import EngineConfig
from ..errors import ExecutionError, NotPlainData
from ..protocol.lifecycle import ExecutionEvent, ExecutionState, advance_execution
from ..protocol.messages import (
    ClearMessage,
    DisplayMessage,
    ErrorInfo,
    ErrorMessage,
    ExecuteMessage,
    InputMessage,
    OutputMessage,
    ProgressMessage,
    ResultMessage,
    ToSession,
)
from ..protocol.reprs import cut_repr
from ..protocol.values import decode_value
from .callbacks import call_back, check_callback
from .displays import Displays
from .pace import Pace
from .stream import MessageStream

__all__ = [
    "DisplayCallback",
    "Execution",
    "ExecutionResult",
    "OutputCallback",
    "Rich",
    "error_info",
]

Rich = DisplayMessage | ClearMessage | ProgressMessage
"""What a cell shows besides text."""
OutputCallback = Callable[[OutputMessage], Any]
DisplayCallback = Callable[[Rich], Any]


@dataclass(slots=True, kw_only=True, repr=False)
class ExecutionResult:
    """What became of a cell. ``error`` is data; ``raise_for_error()`` makes it an exception."""

    execution_id: str
    """The id that was given, or that the session has made up."""
    value: Any = None
    """The last expression's value, if it is plain data; see ``has_value``."""
    has_value: bool = False
    """Whether there is a plain value (None counts as one, if the cell had a last expression)."""
    mime: dict[str, Any] = field(default_factory=dict)
    """Representations of the value by MIME type, if it is not plain data: text as str, pictures as bytes."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """What the value says about its representations, by MIME type."""
    displays: list[DisplayMessage] = field(default_factory=list)
    """What the cell showed by ``display`` or as figures, in order, as it stood at the end."""
    stdout: str = ""
    """What the cell wrote to stdout, by ``print``, C code or a child process."""
    stderr: str = ""
    """The same of stderr."""
    error: ErrorInfo | None = None
    """The exception that ended the cell, or why it was not run to its end; None if all went well."""
    mode: str = "unknown"
    """How it ran: a value of :class:`ExecutionMode`."""
    duration_s: float = 0.0
    """Compiling and running, in the worker, in seconds."""
    cancelled: bool = False
    """Whether the cell was ended by a cancel or a timeout."""
    notes: list[str] = field(default_factory=list)
    """What is missing from this result, and why."""
    repr_text: str | None = None
    """The ``repr`` that the worker sent; see :attr:`repr`."""
    max_repr_chars: int = field(default=EngineConfig().max_repr_chars, compare=False)
    """How many characters of it :attr:`repr` gives."""

    def __repr__(self) -> str:
        shown = (f"{each.name}={_repr_of(getattr(self, each.name), [])}" for each in fields(self))
        return f"ExecutionResult({', '.join(shown)})"

    @property
    def repr(self) -> str | None:
        """The value as the REPL would show it; None if there is nothing to show.

        A text of more than ``max_repr_chars`` characters is cut. For a large plain value it is made when it
        is first asked for; only then do ``notes`` say that it was cut, or that it could not be made.
        """
        if self.repr_text is None and self.has_value and self.value is not None:
            notes: list[str] = []
            self.repr_text = cut_repr(_repr_of(self.value, notes), self.max_repr_chars, notes)
            self.notes = [*self.notes, *notes]
        return self.repr_text

    @property
    def ok(self) -> bool:
        """Whether the cell ran to its end without an exception."""
        return self.error is None

    def raise_for_error(self) -> ExecutionResult:
        """Return self, or raise :class:`ExecutionError` if the cell failed."""
        if self.error is not None:
            raise ExecutionError(self)
        return self


def _repr_of(value: Any, notes: list[str]) -> str:
    """The ``repr``, or what stands for it, with a note: a number may have more digits than Python shows."""
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - of a plain value: ValueError, RecursionError
        kind, failure = type(value), f"raised {type(error).__name__}"
        notes.append(f"repr() of {kind.__qualname__} {failure}")
        return f"<{kind.__module__}.{kind.__qualname__} whose repr {failure}>"


class Execution:
    """A cell on its way: its state, what it has printed, and who waits for it.

    The state moves by :mod:`stateroom.protocol.lifecycle`; a message that it does not allow
    raises :class:`UnexpectedMessage`.
    """

    is_automatic = False

    def __init__(
        self,
        message: ExecuteMessage,
        *,
        on_output: OutputCallback | None = None,
        on_display: DisplayCallback | None = None,
        on_input: Callable[[InputMessage], Any] | None = None,
        stream: MessageStream | None = None,
        max_repr_chars: int = EngineConfig().max_repr_chars,
    ) -> None:
        check_callback("on_output", on_output)
        check_callback("on_display", on_display)
        check_callback("on_input", on_input, may_wait=True)
        self.message = message
        self.execution_id = message.execution_id
        self.number = message.number
        self.state = ExecutionState.QUEUED
        self.done: asyncio.Future[ExecutionResult] = asyncio.get_running_loop().create_future()
        """Everybody's: who waits for it must not cancel it; see :meth:`result`."""
        self._callers: list[asyncio.Future[None]] = []
        self.on_input = on_input
        self.timeout_s: float | None = None
        """Set when the time limit has run out, so that the result says so."""
        self.cancel_attempts = 0
        self.hard_stopped = False
        """Set when the worker is killed because of this execution."""
        self._on_output = on_output
        self._on_display = on_display
        self._output_reports, self._display_reports = Pace(), Pace()
        self._stream = stream
        self._max_repr_chars = max_repr_chars
        self._stdout: list[str] = []
        self._stderr: list[str] = []
        self._displays = Displays()

    def __repr__(self) -> str:
        return f"<Execution {self.execution_id} {self.state.name}>"

    @property
    def streams(self) -> bool:
        """Whether somebody consumes the messages, and may answer an input request by its id."""
        return self._stream is not None

    async def result(self) -> ExecutionResult:
        """Wait for it in a future of the caller's own: a shield would take another turn of the loop."""
        if not self.done.done():
            self._callers.append(caller := self.done.get_loop().create_future())
            await caller
        return self.done.result()

    def let_pass(self) -> None:
        """The cell is asked to end: its reply must not wait for a consumer that has stopped."""
        if self._stream is not None:
            self._stream.let_pass()

    def advance(self, event: ExecutionEvent) -> None:
        """Move to the next state; raises :class:`UnexpectedMessage` if there is none."""
        self.state = advance_execution(self.state, event, self.execution_id)

    def take_output(self, message: OutputMessage) -> None:
        self.advance(ExecutionEvent.OUTPUT)
        if self._stream is not None:  # who consumes the messages has the output: it is not kept twice
            self._stream.put(message)
        else:
            (self._stdout if message.stream == "stdout" else self._stderr).append(message.data)
        if self._on_output is not None:
            call_back(self._on_output, message, self._output_reports)

    def take_rich(self, message: Rich) -> None:
        self.advance(ExecutionEvent.OUTPUT)
        if self._stream is not None:
            self._stream.put(message)
        elif not isinstance(message, ProgressMessage):
            self._displays.take(message)
        if self._on_display is not None:
            call_back(self._on_display, message, self._display_reports)

    def take_input(self, message: InputMessage) -> None:
        self.advance(ExecutionEvent.INPUT)
        if self._stream is not None:
            self._stream.put(message)

    def take_result(self, message: ResultMessage) -> None:
        result = self._result(mode=message.mode, duration_s=message.duration_s, notes=message.notes)
        result.max_repr_chars = self._max_repr_chars
        result.repr_text, result.mime, result.metadata = message.repr, message.mime, message.metadata
        if message.value is not None:
            _decode(message, result)
        self.advance(ExecutionEvent.RESULT)
        self.finish(result, message)

    def take_error(self, message: ErrorMessage) -> None:
        self.advance(ExecutionEvent.CANCELLED if message.cancelled else ExecutionEvent.ERROR)
        result = self._result(mode=message.mode, duration_s=message.duration_s, notes=message.notes)
        result.error, result.cancelled = message.error, message.cancelled
        if message.cancelled and self.timeout_s is not None:
            result.error = _timed_out(self, message.error.text, "cancelled")
            result.error.frames = message.error.frames
        self.finish(result, message)

    def give_up(self, event: ExecutionEvent, error: ErrorInfo, *, cancelled: bool = False) -> None:
        """End without a reply of the worker: it is gone, or never got the cell."""
        self.advance(event)
        result = self._result(error=error, cancelled=cancelled)
        last = ErrorMessage(
            execution_id=self.execution_id, number=self.number, error=error, cancelled=cancelled
        )
        self.finish(result, last)

    def finish(self, result: ExecutionResult, last: ToSession) -> None:
        """Hand the result to everybody who waits."""
        self.done.set_result(result)
        for caller in self._callers:
            if not caller.done():
                caller.set_result(None)
        if self._stream is not None:
            self._stream.put(last)
            self._stream.end()

    def _result(self, **fields: Any) -> ExecutionResult:
        return ExecutionResult(
            execution_id=self.execution_id,
            stdout="".join(self._stdout),
            stderr="".join(self._stderr),
            displays=self._displays.shown,
            **fields,
        )


def _decode(message: ResultMessage, result: ExecutionResult) -> None:
    """Take the plain value; one that this side cannot build (a time zone it does not know) is noted."""
    assert message.value is not None
    try:
        result.value, result.has_value = decode_value(message.value, message.buffers), True
    except NotPlainData as error:
        result.notes = [*result.notes, str(error)]


def error_info(error: BaseException) -> ErrorInfo:
    """An error of the session itself, as the error of a cell."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return ErrorInfo(
        type=kind.__qualname__, module=kind.__module__, message=str(error), text=f"{name}: {error}\n"
    )


def stopped_error(execution: Execution, how: str) -> ErrorInfo:
    """The error of a cell that the hard stop ended; ``how`` tells what that did."""
    if execution.timeout_s is not None:
        return _timed_out(execution, "", f"ended by force: {how}")
    message = f"{execution.execution_id} did not end when asked and was ended by force: {how}"
    return ErrorInfo(
        type="CancelledError",
        module="asyncio.exceptions",
        message=message,
        text=f"asyncio.exceptions.CancelledError: {message}\n",
    )


def _timed_out(execution: Execution, text: str, what: str) -> ErrorInfo:
    """The end that a timeout caused, told as the timeout; ``text`` is the traceback of the cancellation."""
    message = f"{execution.execution_id} did not end within {execution.timeout_s} s and was {what}"
    head = text.rstrip("\n").rpartition("\n")[0]
    return ErrorInfo(
        type="TimeoutError", message=message, text=f"{head}\nTimeoutError: {message}\n".lstrip("\n")
    )
