"""One worker from Configure to burial: its process, its transport, and how it ended."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable
from typing import Any

from ..config import SessionConfig
from ..errors import ProtocolError, VersionMismatch, WorkerStartError
from ..protocol.messages import (
    PROTOCOL_VERSION,
    ConfigureMessage,
    FaultMessage,
    HeartbeatMessage,
    ReadyMessage,
    ShutdownMessage,
    Stream,
    ToSession,
)
from .launcher import ExitReport, WorkerProcess
from .transport import SessionTransport

__all__ = ["WorkerLink"]

NOT_INSTALLED = "ModuleNotFoundError: No module named 'stateroom'"
INSTALL = "install stateroom for that Python"


class WorkerLink:
    """A session's hold on one worker. A restart makes a new link, so nothing of an old worker reaches it.

    ``on_message`` gets each message after Ready, ``on_gone(report)`` is called once, when the
    process has ended and everything it had sent was handed on.
    """

    def __init__(
        self,
        config: SessionConfig,
        process: WorkerProcess,
        *,
        on_message: Callable[[ToSession | ProtocolError], None],
        on_gone: Callable[[ExitReport], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self.config = config
        self.python_version: str | None = None
        self.telemetry: dict[str, float] = {}
        self._heartbeat_at: float | None = None
        self._is_given_up = False
        self.process = process
        self._transport = SessionTransport(
            config.max_frame_bytes, on_message=self._receive, on_lost=self._hung_up
        )
        self._on_message = on_message
        self._on_gone = on_gone
        self._ready: asyncio.Future[None] = loop.create_future()
        self._gone: asyncio.Future[ExitReport] = loop.create_future()
        self._loop = loop
        process.watch(self._exited)

    def __repr__(self) -> str:
        state = "gone" if self._gone.done() else "ready" if self.python_version else "starting"
        return f"<WorkerLink pid={self.process.pid} {state}>"

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self.process.pid

    @property
    def is_ready(self) -> bool:
        """Whether the worker has said Ready, in a version that suits."""
        return self.python_version is not None

    @property
    def is_gone(self) -> bool:
        """Whether the process has ended."""
        return self._gone.done()

    @property
    def heartbeat_age_s(self) -> float | None:
        """Seconds since the last sign of life."""
        return None if self._heartbeat_at is None else self._loop.time() - self._heartbeat_at

    def take_heartbeat(self, message: HeartbeatMessage) -> None:
        """The worker is alive, and these are its counters."""
        self._heartbeat_at = self._loop.time()
        self.telemetry = message.telemetry

    async def start(self) -> None:
        """Configure the worker and wait for its Ready.

        Raises :class:`WorkerStartError` with the tail of the worker's stderr, or :class:`VersionMismatch`;
        the worker is of no use then.
        """
        try:
            await self.process.connect(self._transport)
            self._transport.send(settings_message(self.config))
            async with asyncio.timeout(self.config.start_timeout_s):
                await self._ready
        except TimeoutError:
            limit = f"the worker was not ready within start_timeout_s ({self.config.start_timeout_s} s)"
            raise WorkerStartError(limit + self._tail(self._last_words("stderr"))) from None

    def send(self, message: Any) -> None:
        """Send a message; dropped if the worker is gone."""
        self._transport.send(message)

    def withdraw(self, number: int, behind: int) -> bool:
        """Take back execution ``number``; False if the worker has begun it, or ``behind``, sent after it."""
        return self.process.withdraw(number, behind)

    def request_cancel(self, number: int, attempt: int) -> None:
        """One signal for the end of execution ``number``."""
        self.process.request_cancel(number, attempt)

    def pause(self, holder: object) -> None:
        """Stop reading until ``holder`` resumes; the worker's output waits in the worker."""
        self._transport.pause(holder)

    def resume(self, holder: object) -> None:
        """Read again, if nobody else has paused."""
        self._transport.resume(holder)

    def give_up(self) -> None:
        """End the worker by force, and pass on nothing more of what it says."""
        self._is_given_up = True
        self.kill()

    def kill(self) -> None:
        """End the worker by force; ``on_gone`` follows."""
        if not self._gone.done():
            self.process.kill()

    async def end(self, *, grace_s: float) -> ExitReport:
        """Shut the worker down, by force after ``grace_s``, and give all that it holds back."""
        if not self._gone.done() and grace_s > 0:
            self._transport.send(ShutdownMessage())
            await asyncio.wait([self._gone], timeout=grace_s)
        self.kill()
        self._transport.resume_for_good()  # its end is seen only when all of it is read
        report = await asyncio.shield(self._gone)
        self._transport.close()
        self.process.close()
        return report

    def _last_words(self, stream: Stream) -> str:
        """What the worker wrote to descriptor 1 or 2 and did not pass on."""
        return self.process.leftover(stream).decode("utf-8", "replace")

    def _receive(self, item: ToSession | ProtocolError) -> None:
        if self._is_given_up:
            return
        if self.is_ready:
            self._on_message(item)
        elif not self._ready.done():  # else the start has failed, or nobody waits for it any more
            self._take_first(item)

    def _take_first(self, item: ToSession | ProtocolError) -> None:
        try:
            self.python_version = check_first(item, self.config)
            self._ready.set_result(None)
        except (VersionMismatch, WorkerStartError) as error:
            self._ready.set_exception(error)

    def _hung_up(self) -> None:
        """The transport has ended: so will the process, or it is of no use any more."""
        if not self._gone.done():
            self._loop.call_later(self.config.close_grace_s, self.kill)

    def _exited(self) -> None:
        """The process has ended. What it sent before may still be in the transport: read that first."""
        self._transport.resume_for_good()
        self._transport.read_to_end(self.process.read_rest)
        if self._gone.done():
            return
        report = self.process.report()
        report.last_words = {"stdout": self._last_words("stdout"), "stderr": self._last_words("stderr")}
        self._gone.set_result(report)
        if not self._ready.done():
            tail = self._tail(report.last_words["stderr"])
            self._ready.set_exception(WorkerStartError(f"{report} before it was ready{tail}"))
            self._ready.exception()  # nobody waits for it if the session was closed meanwhile
        self._on_gone(report)

    def _tail(self, text: str) -> str:
        text = text[-self.config.stderr_tail_bytes :]
        if not text:
            return "; it wrote nothing to stderr"
        advice = f"\n{INSTALL}" if NOT_INSTALLED in text else ""
        return f"; its stderr ends with:\n{text.rstrip()}{advice}"


def settings_message(config: SessionConfig) -> ConfigureMessage:
    """The part of a session's settings that its worker needs."""
    return ConfigureMessage(
        engine=config.engine,
        heartbeat_interval_s=config.heartbeat_interval_s,
        input_timeout_s=config.input_timeout_s,
        max_frame_bytes=config.max_frame_bytes,
        max_outbox_bytes=config.max_outbox_bytes,
    )


def check_first(item: ToSession | ProtocolError, config: SessionConfig) -> str:
    """The Python version of the worker that says this first.

    Raises :class:`VersionMismatch` or :class:`WorkerStartError` if the session cannot use it.
    """
    if isinstance(item, FaultMessage):
        raise VersionMismatch(item.reason)
    if not isinstance(item, ReadyMessage):
        reason = str(item) if isinstance(item, ProtocolError) else f"a {type(item).__name__} came first"
        raise WorkerStartError(f"the worker did not say Ready: {reason}")
    check_version(item, config)
    return item.python_version


def check_version(ready: ReadyMessage, config: SessionConfig) -> None:
    """Raise :class:`VersionMismatch` unless this worker is one that the session can use."""
    if ready.protocol_version != PROTOCOL_VERSION:
        raise VersionMismatch(
            f"this session speaks protocol version {PROTOCOL_VERSION}, the worker {ready.protocol_version}; "
            "install the same version of stateroom for both"
        )
    have = ready.python_version.rpartition(".")[0]
    want = config.python_version or ".".join(platform.python_version_tuple()[:2])
    if want not in ("any", have):
        raise VersionMismatch(
            f"the worker runs Python {ready.python_version}, this session wants {want}; "
            f"set python_version={have!r} if that is meant"
        )
