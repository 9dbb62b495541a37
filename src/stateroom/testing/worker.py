"""A worker without a process: to its session like any other, to a test an object that does as it is told."""

from __future__ import annotations

import asyncio
import platform
import signal
import traceback
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, TypeVar, overload

from ..config import SessionConfig
from ..errors import ProtocolError
from ..protocol.messages import (
    PROTOCOL_VERSION,
    ErrorInfo,
    ErrorMessage,
    ExecuteMessage,
    InputResponseMessage,
    Job,
    ReadyMessage,
    ResultMessage,
    ShutdownMessage,
    Stream,
    ToWorker,
)
from ..session.launcher import ExitReport
from .cell import ScriptedCell
from .channel import MemoryChannel

__all__ = ["CancelRequest", "ScriptedWorker"]

Message = TypeVar("Message")


class CancelRequest(NamedTuple):
    """What the session asked for by the cancel page and a signal."""

    number: int
    """Of the execution that is to end; see :class:`ExecuteMessage`."""
    attempt: int
    """1 asks, 2 and more insist."""


class ScriptedWorker:
    """A worker process that a test plays.

    Until it is told otherwise, it ends when the session shuts it down or kills it, and does nothing else.
    :class:`ScriptedLauncher` makes it, with a ``pid`` that no process has, as its worker number ``ordinal``.
    """

    def __init__(self, config: SessionConfig, pid: int, ordinal: int) -> None:
        self.config = config
        """The settings of the session."""
        self.pid = pid
        """A number that no process has."""
        self.ordinal = ordinal
        """Which worker of its launcher this is, from 1: a restart makes the next one."""
        self.channel = MemoryChannel(config.max_frame_bytes, on_message=self._take, on_change=self._note)
        """The worker's end of the transport, and the say over what arrives when."""
        self.received: list[ToWorker | ProtocolError] = []
        """All that the session has sent, in order."""
        self.cancels: list[CancelRequest] = []
        """All requests to cancel, in order, repeated ones too."""
        self.obeys_shutdown = True
        """Whether it exits with status 0 when it is told to shut down."""
        self.obeys_kill = True
        """Whether it ends when it is killed; if not, a test does that by :meth:`die`."""
        self.was_killed = False
        """Whether the session has killed it."""
        self.returncode: int | None = None
        """How it has ended: its exit status, or the number of a signal as a negative number."""
        self.cell: ScriptedCell | None = None
        """The cell that :meth:`next_cell` has given out last."""
        self.inputs_asked = 0
        """How many lines of input its cells have asked for."""
        self.answers: dict[str, asyncio.Future[InputResponseMessage]] = {}
        """Who waits for the answer to which question."""
        self._last_words: dict[Stream, bytes] = {}
        self._inbox: list[ToWorker | ProtocolError] = []
        self._withdrawn: list[Job] = []
        """Answered when their turn comes."""
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._on_exit: Callable[[], None] | None = None

    def __repr__(self) -> str:
        state = "alive" if self.returncode is None else f"returncode={self.returncode}"
        return f"<ScriptedWorker {self.ordinal} {state} received={len(self.received)} {self.cell!r}>"

    # What a script does

    def say_ready(
        self, *, python_version: str | None = None, protocol_version: int = PROTOCOL_VERSION
    ) -> None:
        """Tell the session that it may send cells; another ``protocol_version`` is refused by it."""
        version = python_version if python_version is not None else platform.python_version()
        self.send(ReadyMessage(protocol_version=protocol_version, python_version=version, pid=self.pid))

    def send(self, message: Any) -> None:
        """Send any message, expected or not; :meth:`MemoryChannel.send_bytes` sends what is none."""
        if self.cell is not None and isinstance(message, ResultMessage | ErrorMessage):
            self.cell.has_ended |= message.number == self.cell.number
        self.channel.send(message)
        if not self._runs_a_cell:
            self._answer_withdrawn()
        self._note()

    @overload
    async def receive(self) -> ToWorker | ProtocolError: ...

    @overload
    async def receive(self, kind: type[Message]) -> Message: ...

    async def receive(self, kind: Any = object) -> Any:
        """Take the next message of the session, or the next one of a kind; waits until there is one."""
        while True:
            for place, message in enumerate(self._inbox):
                if isinstance(message, kind):
                    return self._inbox.pop(place)
            await self._next_change()

    async def next_cell(self) -> ScriptedCell:
        """Take the next cell; waits until the last one has ended, and the session has sent another."""
        await self.until(lambda: self.cell is None or self.cell.has_ended)
        self.cell = ScriptedCell(self, await self.receive(ExecuteMessage))
        return self.cell

    def exit(self, status: int = 0, *, stderr: str = "") -> None:
        """End, with this exit ``status`` and these last words. What was sent before still arrives."""
        self._last_words["stderr"] = stderr.encode()
        self._end(status)

    def die(self, number: int = signal.SIGKILL) -> None:
        """End by the signal ``number``."""
        self._end(-number)

    # What a test waits for

    async def until(self, fact: Callable[[], object]) -> None:
        """Wait until ``fact()`` is true; it is asked after everything that happens to this worker."""
        while not fact():
            await self._next_change()

    async def has_received(self, kind: type[Message], count: int = 1) -> Message:
        """Wait until the session has sent ``count`` messages of a kind; the last of these, not taken."""
        await self.until(lambda: len(self._of(kind)) >= count)
        return self._of(kind)[count - 1]

    # What the session does, as WorkerProcess

    async def connect(self, protocol: asyncio.BufferedProtocol) -> None:
        self.channel.connect(protocol)

    def read_rest(self, buffer: memoryview) -> int:
        return self.channel.read_rest(buffer)

    def withdraw(self, number: int, behind: int = 0) -> bool:
        for message in self._inbox:
            if isinstance(message, Job) and message.number == number:
                self._inbox.remove(message)
                self._withdrawn.append(message)
                if not self._runs_a_cell:
                    self._answer_withdrawn()
                return True
        return False

    def request_cancel(self, number: int, attempt: int) -> None:
        if self.returncode is not None:
            return
        request = CancelRequest(number, attempt)
        self.cancels.append(request)
        if self.cell is not None:
            self.cell.take_cancel(request.number, request.attempt)
        self._note()

    def kill(self) -> None:
        self.was_killed = True
        if self.obeys_kill:
            self.die()
        self._note()

    def watch(self, on_exit: Callable[[], None]) -> None:
        self._on_exit = on_exit

    def report(self) -> ExitReport:
        return ExitReport(self.pid, self.returncode)

    def leftover(self, stream: Stream) -> bytes:
        return self._last_words.pop(stream, b"")

    def close(self) -> None:
        self._on_exit = None
        if self.returncode is None:
            self.die()

    # Inside

    def run(self, script: Coroutine[Any, Any, None]) -> None:
        """Let a script play this worker; one that raises ends it, with the traceback as last words."""
        self._task = asyncio.get_running_loop().create_task(self._run(script))

    async def _run(self, script: Coroutine[Any, Any, None]) -> None:
        try:
            await script
        except Exception:  # noqa: BLE001 - as any program: it says why, and exits
            self.exit(1, stderr=traceback.format_exc())

    def _take(self, message: ToWorker | ProtocolError) -> None:
        if self.returncode is not None:
            return
        self.received.append(message)
        if isinstance(message, InputResponseMessage) and message.input_id in self.answers:
            answer = self.answers.pop(message.input_id)
            if not answer.done():
                answer.set_result(message)
        elif isinstance(message, ShutdownMessage) and self.obeys_shutdown:
            self.exit(0)
        else:
            self._inbox.append(message)

    @property
    def _runs_a_cell(self) -> bool:
        return self.cell is not None and not self.cell.has_ended

    def _answer_withdrawn(self) -> None:
        jobs, self._withdrawn = self._withdrawn, []
        for job in jobs:
            error = ErrorInfo(type="CancelledError", module="asyncio.exceptions", message="withdrawn")
            self.channel.send(
                ErrorMessage(execution_id=job.execution_id, number=job.number, error=error, cancelled=True)
            )

    def _end(self, returncode: int) -> None:
        if self.returncode is not None:
            return
        self.returncode = returncode
        self.channel.hang_up()
        if self.cell is not None:
            self.cell.stop()
        if self._task is not None:
            self._task.cancel()
        asyncio.get_running_loop().call_soon(self._tell_exit)
        self._note()

    def _tell_exit(self) -> None:
        if self._on_exit is not None:
            self._on_exit()

    def _of(self, kind: type[Message]) -> list[Message]:
        return [message for message in self.received if isinstance(message, kind)]

    async def _next_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _note(self) -> None:
        self._changed.set()
