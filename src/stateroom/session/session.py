"""A session: one worker process, and the cells that run in it one after another."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import platform
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import structlog

from ..config import EngineConfig, SessionConfig
from ..errors import (
    Busy,
    InputRefused,
    ProtocolError,
    SessionBroken,
    SessionClosed,
    VersionMismatch,
    WorkerStartError,
)
from ..protocol.lifecycle import ExecutionEvent, SessionEvent, SessionState, advance_session
from ..protocol.messages import (
    PROTOCOL_VERSION,
    ConfigureMessage,
    ErrorInfo,
    ExecuteMessage,
    FaultMessage,
    HeartbeatMessage,
    InputMessage,
    InputResponseMessage,
    OutputMessage,
    ReadyMessage,
    ShutdownMessage,
    ToSession,
)
from .cancellation import CancelOutcome, cancel_running
from .execution import (
    Execution,
    ExecutionResult,
    InputCallback,
    MessageStream,
    OutputCallback,
    answer,
    error_info,
)
from .process import ExitReport, WorkerProcess
from .router import Router
from .transport import SessionTransport

__all__ = ["Session", "SessionInfo"]

log = structlog.get_logger("stateroom.session")


class SessionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a session looks like at one moment."""

    state: str
    pid: int | None
    python_version: str | None
    running: str | None
    """The id of the running execution."""
    queued: int
    executions: int
    """Executions that have ended, however."""
    messages: int
    """Messages received from the worker."""
    restarts: int
    heartbeat_age_s: float | None
    """Seconds since the worker's last sign of life."""
    memory_bytes: int | None
    """Resident memory of the worker."""
    cpu_s: float | None
    """Processor time that the worker has used."""
    last_exit: str | None
    """How the last worker ended, if one has."""


class Session:
    """Runs cells in a worker process of its own, from the event loop that starts it.

    Use as ``async with Session() as session:``, or ``await start()`` and ``await close()``. Settings
    are the fields of :class:`~stateroom.config.SessionConfig` and, for the engine, of
    :class:`~stateroom.config.EngineConfig`, as keywords; or a whole ``config``.
    """

    def __init__(self, config: SessionConfig | None = None, **settings: Any) -> None:
        self.config = config if config is not None else _load(settings)
        self.on_late_output: OutputCallback = lambda message: None
        """Called with output of executions that have ended, and of none."""
        self._state = SessionState.NEW
        self._worker: WorkerProcess | None = None
        self._transport: SessionTransport | None = None
        self._router = self._make_router()
        self._queue: deque[Execution] = deque()
        self._numbers = itertools.count(1)
        self._ready: asyncio.Future[ReadyMessage] | None = None
        self._gone: asyncio.Future[ExitReport] | None = None
        self._python_version: str | None = None
        self._heartbeat_at: float | None = None
        self._open_inputs: set[str] = set()
        self._helpers: set[asyncio.Task[Any]] = set()
        self._executions = 0
        self._restarts = 0
        self._last_exit: ExitReport | None = None
        self._violation: ProtocolError | None = None

    def __repr__(self) -> str:
        pid = self._worker.pid if self._worker is not None else None
        return f"<Session {self._state.name} pid={pid} running={self._router.running!r} queued={len(self._queue)}>"

    async def __aenter__(self) -> Session:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # Running cells

    async def run(
        self,
        code: str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - it does not cancel the caller, but the cell
        check: bool = False,
        on_output: OutputCallback | None = None,
        on_input: InputCallback | None = None,
        queue: bool = True,
        execution_id: str | None = None,
        filename: str | None = None,
        argv: list[str] | None = None,
    ) -> ExecutionResult:
        """Run a cell and return what became of it; with ``check``, raise ExecutionError if it failed.

        ``timeout`` (seconds, from the moment the cell starts) cancels the cell; one that does not end
        is killed with its worker. ``on_output`` is called with each :class:`OutputMessage` as it comes,
        ``on_input`` with each :class:`InputMessage` for the answer (a string, or an awaitable of one;
        EOFError for none). While another cell runs, this one waits; with ``queue=False``, it raises
        :class:`Busy`. With ``filename`` and ``argv`` it finds what a script finds.

        A cancelled caller cancels its cell. Raises :class:`SessionClosed` or :class:`SessionBroken`.
        """
        message = self._execute_message(code, execution_id, filename, argv)
        execution = Execution(message, on_output=on_output, on_input=on_input)
        self._submit(execution, queue=queue)
        timer = self._limit(execution, timeout) if timeout is not None else None
        try:
            result = await execution.done
        except asyncio.CancelledError:
            execution.renew()
            self._abandon(execution)
            raise
        finally:
            if timer is not None:
                timer.cancel()
        return result.raise_for_error() if check else result

    async def execute(
        self, code: str, *, on_input: InputCallback | None = None, queue: bool = True, execution_id: str | None = None
    ) -> AsyncIterator[ToSession]:
        """Run a cell; yield its messages as they come, the last one a Result or an Error.

        A consumer that is slow slows the cell's output down. One that stops early cancels the cell.
        """
        stream = MessageStream(self._pause, self._resume)
        message = self._execute_message(code, execution_id, None, None)
        execution = Execution(message, on_input=on_input, stream=stream)
        self._submit(execution, queue=queue)
        try:
            async for item in stream:
                yield item
        finally:
            stream.abandon()
            if not execution.done.done():
                self._abandon(execution)

    async def cancel(self, execution_id: str | None = None) -> CancelOutcome:
        """Cancel the running cell, or the one named, which may wait in the queue.

        Returns when the cell has ended, or after ``cancel_grace_s``. Never raises for a cell that is
        unknown or has ended: that is NOTHING_RUNNING.
        """
        running = self._router.running
        for execution in self._queue:
            if execution.execution_id == execution_id:
                self._cancel_queued(execution)
                return CancelOutcome.CANCELLED
        if running is None or execution_id not in (None, running.execution_id):
            return CancelOutcome.NOTHING_RUNNING
        return await self._cancel_running(running)

    def input_response(self, input_id: str, text: str | None) -> None:
        """Answer an input request by its id; None is the end of the file.

        Raises :class:`InputRefused` if that request is not open.
        """
        if input_id not in self._open_inputs or self._transport is None:
            raise InputRefused(f"input {input_id!r} is not open: it was answered, or its cell has ended")
        self._open_inputs.discard(input_id)
        self._transport.send(InputResponseMessage(input_id=input_id, data=text))

    @property
    def info(self) -> SessionInfo:
        """State, counters and figures, read now. Never raises."""
        memory_bytes, cpu_s = _figures(self._worker)
        running, now = self._router.running, asyncio.get_running_loop().time() if self._heartbeat_at else 0.0
        return SessionInfo(
            state=self._state.name.lower(),
            pid=self._worker.pid if self._worker is not None else None,
            python_version=self._python_version,
            running=running.execution_id if running is not None else None,
            queued=len(self._queue),
            executions=self._executions,
            messages=self._router.messages,
            restarts=self._restarts,
            heartbeat_age_s=now - self._heartbeat_at if self._heartbeat_at else None,
            memory_bytes=memory_bytes,
            cpu_s=cpu_s,
            last_exit=str(self._last_exit) if self._last_exit is not None else None,
        )

    # Life of the worker

    async def start(self) -> None:
        """Start the worker and wait until it is ready.

        Raises :class:`WorkerStartError` (with the tail of the worker's stderr), or
        :class:`VersionMismatch`, within ``start_timeout_s``; the session can then be started again.
        """
        self._advance(SessionEvent.START)
        await self._start_worker()

    async def restart(self) -> None:
        """End the worker, whatever it is doing, and start another one with an empty namespace."""
        self._advance(SessionEvent.RESTART)
        await self._end_worker(grace_s=0.0)
        self._restarts += 1
        await self._start_worker()

    async def close(self) -> None:
        """End the worker: what runs is cancelled, ``atexit`` handlers run, after the grace it is killed.

        Safe to call twice, and in any state.
        """
        if self._state in (SessionState.CLOSED, SessionState.CLOSING):
            return
        self._advance(SessionEvent.CLOSE)
        self._fail_queue(SessionClosed("the session was closed before this cell began"))
        if self._router.running is not None:
            await self._signal_until_done(self._router.running, self.config.close_grace_s)
        await self._end_worker(grace_s=self.config.close_grace_s)
        self._advance(SessionEvent.CLOSED)

    async def _start_worker(self) -> None:
        loop = asyncio.get_running_loop()
        self._router = self._make_router()
        self._ready, self._gone, self._violation = loop.create_future(), loop.create_future(), None
        try:
            self._worker = WorkerProcess.spawn(self.config)
            self._worker.watch(self._exited, loop.add_reader)
            _, self._transport = await loop.create_connection(self._make_transport, sock=self._worker.sock)
            self._transport.send(self._settings())
            async with asyncio.timeout(self.config.start_timeout_s):
                self._check_version(await self._ready)
        except BaseException as error:
            failure = self._start_failure(error)
            await self._end_worker(grace_s=0.0)
            self._advance(SessionEvent.START_FAILED)
            if failure is error:
                raise
            raise failure from None
        self._advance(SessionEvent.READY)
        self._send_next()

    def _start_failure(self, error: BaseException) -> BaseException:
        """What to raise for a worker that did not become ready."""
        if isinstance(error, TimeoutError):
            return WorkerStartError(
                f"the worker was not ready within start_timeout_s ({self.config.start_timeout_s} s)" + self._tail()
            )
        if isinstance(error, SessionBroken):
            return WorkerStartError(f"{error} before it was ready" + self._tail())
        return error

    def _tail(self) -> str:
        if self._worker is None:
            return ""
        text = self._worker.leftover("stderr")[-self.config.stderr_tail_bytes :].decode("utf-8", "replace")
        return f"; its stderr ends with:\n{text}" if text else "; it wrote nothing to stderr"

    def _check_version(self, ready: ReadyMessage) -> None:
        self._python_version = ready.python_version
        wanted = self.config.python_version or ".".join(platform.python_version_tuple()[:2])
        if ready.protocol_version != PROTOCOL_VERSION:
            raise VersionMismatch(
                f"this session speaks protocol version {PROTOCOL_VERSION}, the worker {ready.protocol_version}; "
                "install the same version of stateroom for both"
            )
        if wanted not in ("any", ready.python_version.rpartition(".")[0]):
            raise VersionMismatch(
                f"the worker runs Python {ready.python_version}, this session wants {wanted}; "
                f"set python_version={ready.python_version.rpartition('.')[0]!r} if that is meant"
            )

    async def _end_worker(self, *, grace_s: float) -> None:
        """Shut the worker down, by force after ``grace_s``, and give everything back."""
        worker, gone = self._worker, self._gone
        if worker is None or gone is None:
            return
        if not gone.done() and grace_s > 0 and self._transport is not None:
            self._transport.send(ShutdownMessage())
            await asyncio.wait([gone], timeout=grace_s)
        if not gone.done():
            worker.kill()
            await asyncio.wait([gone])
        self._release_worker()

    def _release_worker(self) -> None:
        worker, self._worker = self._worker, None
        if self._transport is not None:
            self._transport.close()
            self._transport = None
        if worker is not None:
            if worker.watched_fd is not None:
                asyncio.get_running_loop().remove_reader(worker.watched_fd)
            worker.close()

    def _exited(self) -> None:
        """The worker process has ended, expected or not."""
        worker, gone = self._worker, self._gone
        if worker is None or gone is None or gone.done():
            return
        if worker.watched_fd is not None:
            asyncio.get_running_loop().remove_reader(worker.watched_fd)
        # What it sent before its end may still be in the transport: let the event loop read that first.
        asyncio.get_running_loop().call_soon(self._bury, worker, gone)

    def _bury(self, worker: WorkerProcess, gone: asyncio.Future[ExitReport]) -> None:
        if gone.done():
            return
        self._last_exit = report = worker.report()
        gone.set_result(report)
        self._lose(SessionBroken(str(report)))

    def _lose(self, broken: SessionBroken) -> None:
        """No reply will come any more: tell everybody who waits."""
        report = self._last_exit
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(broken)
        running = self._router.running
        if running is not None:
            self._router.running = None
            self._last_words(running)
            error = error_info(self._violation or SessionBroken(f"{broken} while {running.execution_id} ran"))
            if report is not None and self._violation is None:
                error.type, error.exit_status, error.signal = "WorkerDied", report.exit_status, report.signal
            running.give_up(ExecutionEvent.WORKER_LOST, error, cancelled=running.timeout_s is not None)
            self._executions += 1
        if self._state in (SessionState.IDLE, SessionState.BUSY):
            self._advance(SessionEvent.WORKER_LOST)
            self._fail_queue(SessionBroken(f"{broken}; call restart() for a new one"))

    def _last_words(self, execution: Execution) -> None:
        """What the dead worker wrote to descriptors 1 and 2 and could not pass on."""
        for stream in ("stdout", "stderr"):
            data = self._worker.leftover(stream) if self._worker is not None else b""
            if data:
                text = data.decode("utf-8", "replace")
                execution.take_output(OutputMessage(stream=stream, execution_id=execution.execution_id, data=text))  # type: ignore[arg-type]

    # Executions

    def _execute_message(
        self, code: str, execution_id: str | None, filename: str | None, argv: list[str] | None
    ) -> ExecuteMessage:
        number = next(self._numbers)
        name = execution_id if execution_id is not None else f"e{number}"
        return ExecuteMessage(execution_id=name, number=number, code=code, filename=filename, argv=argv)

    def _submit(self, execution: Execution, *, queue: bool) -> None:
        self._check_open()
        if self._state is SessionState.IDLE:
            self._send(execution)
        elif queue:
            self._queue.append(execution)
        else:
            running = self._router.running
            raise Busy(f"{running.execution_id if running else 'a restart'} is running and queue=False was given")

    def _send(self, execution: Execution) -> None:
        assert self._transport is not None
        self._transport.send(execution.message)
        execution.advance(ExecutionEvent.EXECUTE)
        self._router.running = execution
        self._advance(SessionEvent.EXECUTE)

    def _finished(self, _execution: Execution) -> None:
        self._executions += 1
        if self._state is SessionState.BUSY:
            self._advance(SessionEvent.DONE)
            self._send_next()

    def _send_next(self) -> None:
        while self._queue and self._state is SessionState.IDLE:
            execution = self._queue.popleft()
            if not execution.done.done():
                self._send(execution)

    def _fail_queue(self, error: Exception) -> None:
        while self._queue:
            execution = self._queue.popleft()
            if not execution.done.done():
                execution.give_up(ExecutionEvent.CANCEL, error_info(error))

    def _cancel_queued(self, execution: Execution) -> None:
        self._queue.remove(execution)
        error = ErrorInfo(type="CancelledError", module="asyncio.exceptions", message="cancelled before it began")
        error.text = f"{error.module}.{error.type}: {error.message}\n"
        execution.give_up(ExecutionEvent.CANCEL, error, cancelled=True)

    async def _cancel_running(self, execution: Execution) -> CancelOutcome:
        return await self._signal_until_done(execution, self.config.cancel_grace_s)

    async def _signal_until_done(self, execution: Execution, grace_s: float) -> CancelOutcome:
        return await cancel_running(
            execution, self._request_cancel, resend_s=self.config.cancel_resend_s, grace_s=grace_s
        )

    def _request_cancel(self, number: int, attempt: int) -> None:
        if self._worker is not None:
            self._worker.request_cancel(number, attempt)

    def _abandon(self, execution: Execution) -> None:
        """Nobody waits for this cell any more: end it, so that the next one can run."""
        if execution in self._queue:
            self._cancel_queued(execution)
        elif self._router.running is execution:
            self._help(self._cancel_running(execution))

    def _limit(self, execution: Execution, timeout_s: float) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(timeout_s, self._expire, execution, timeout_s)

    def _expire(self, execution: Execution, timeout_s: float) -> None:
        if execution.done.done():
            return
        execution.timeout_s = timeout_s
        self._help(self._end_by_timeout(execution))

    async def _end_by_timeout(self, execution: Execution) -> None:
        if execution in self._queue:
            self._cancel_queued(execution)
        elif await self._cancel_running(execution) is CancelOutcome.IGNORED and not execution.done.done():
            self._worker.kill()  # type: ignore[union-attr]

    # Messages that belong to no single execution

    def _make_router(self) -> Router:
        return Router(
            on_control=self._control,
            on_input=self._input,
            on_finished=self._finished,
            on_late_output=lambda message: self.on_late_output(message),
            on_violation=self._violated,
        )

    def _make_transport(self) -> SessionTransport:
        # Bound late: a restart makes a new router for the new worker.
        return SessionTransport(self.config.max_frame_bytes, on_message=self._router.deliver, on_lost=self._hung_up)

    def _settings(self) -> ConfigureMessage:
        names = ("engine", "heartbeat_interval_s", "input_timeout_s", "max_frame_bytes", "max_outbox_bytes")
        return ConfigureMessage(**{name: getattr(self.config, name) for name in names})

    def _control(self, message: ToSession) -> None:
        if isinstance(message, ReadyMessage):
            if self._ready is not None and not self._ready.done():
                self._ready.set_result(message)
        elif isinstance(message, HeartbeatMessage):
            self._heartbeat_at = asyncio.get_running_loop().time()
        elif isinstance(message, FaultMessage):
            log.warning("worker_fault", reason=message.reason, fatal=message.fatal)
            if message.fatal and self._ready is not None and not self._ready.done():
                self._ready.set_exception(VersionMismatch(message.reason))
        else:
            log.warning("worker_warning", message=msgspec.to_builtins(message))

    def _hung_up(self) -> None:
        """The transport has ended; a worker that lives on without it is of no use."""
        if self._worker is not None and self._gone is not None and not self._gone.done():
            self._worker.kill()

    def _violated(self, error: ProtocolError) -> None:
        """A worker that breaks the protocol is given up."""
        log.error("protocol_violation", error=str(error), kind=type(error).__name__)
        self._violation = error
        if self._worker is not None:
            self._worker.kill()

    def _input(self, message: InputMessage, execution: Execution | None) -> None:
        self._open_inputs.add(message.input_id)
        if execution is not None:
            execution.take_input(message)
        if execution is None or (execution.on_input is None and not execution.streams):
            self._refuse_input(message, "no on_input callback was given")
            return
        if execution.on_input is not None:
            self._help(self._answer(message, execution.on_input))

    async def _answer(self, message: InputMessage, on_input: InputCallback) -> None:
        try:
            text = await answer(on_input, message)
        except EOFError as error:
            self._refuse_input(message, str(error) or None)
        except Exception as error:
            log.exception("on_input_failed", input_id=message.input_id)
            self._refuse_input(message, f"on_input raised {type(error).__name__}: {error}")
        else:
            with contextlib.suppress(InputRefused):  # the cell was cancelled meanwhile
                self.input_response(message.input_id, text)

    def _refuse_input(self, message: InputMessage, reason: str | None) -> None:
        self._open_inputs.discard(message.input_id)
        if self._transport is not None:
            self._transport.send(InputResponseMessage(input_id=message.input_id, error=reason))

    # Small things

    def _advance(self, event: SessionEvent) -> None:
        self._state = advance_session(self._state, event)

    def _check_open(self) -> None:
        if self._state is SessionState.BROKEN:
            raise SessionBroken(f"{self._last_exit or 'the worker did not start'}; call restart() for a new one")
        if self._state in (SessionState.NEW, SessionState.CLOSING, SessionState.CLOSED):
            raise SessionClosed(f"the session is {self._state.name.lower()}; use 'async with' or start()")

    def _help(self, coroutine: Any) -> None:
        """Run something beside the caller; kept alive until it is done."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._helpers.add(task)
        task.add_done_callback(self._helpers.discard)

    def _pause(self) -> None:
        if self._transport is not None:
            self._transport.pause()

    def _resume(self) -> None:
        if self._transport is not None:
            self._transport.resume()


def _load(settings: dict[str, Any]) -> SessionConfig:
    """Split keywords between the two settings classes."""
    names = {field.name for field in msgspec.structs.fields(SessionConfig)}
    own = {name: value for name, value in settings.items() if name in names}
    engine = {name: value for name, value in settings.items() if name not in names}
    if "engine" not in own:
        own["engine"] = EngineConfig.load(**engine)
    config: SessionConfig = SessionConfig.load(**own)
    return config


def _figures(worker: WorkerProcess | None) -> tuple[int | None, float | None]:
    """Memory and processor time of the worker, read from outside."""
    import psutil

    if worker is None:
        return None, None
    try:
        process = psutil.Process(worker.pid)
        times = process.cpu_times()
        return process.memory_info().rss, times.user + times.system
    except psutil.Error:
        return None, None
