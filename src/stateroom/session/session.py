"""A session: one worker process, and the cells that run in it one after another."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Self

import msgspec
import structlog

from ..config import EngineConfig, SessionConfig
from ..errors import (
    Busy,
    CheckpointError,
    FrameTooLarge,
    NotPlainData,
    ProtocolError,
    SessionBroken,
    SessionClosed,
    StateroomError,
)
from ..protocol.lifecycle import ExecutionEvent, ExecutionState, SessionEvent, SessionState, advance_session
from ..protocol.messages import (
    ErrorInfo,
    ExecuteMessage,
    FaultMessage,
    HeartbeatMessage,
    OutputMessage,
    RestoredMessage,
    ToSession,
)
from .cancellation import Canceller, CancelOutcome
from .checkpoint_store import CheckpointFile
from .errand import Errand
from .execution import (
    DisplayCallback,
    Execution,
    ExecutionResult,
    OutputCallback,
    error_info,
    stopped_error,
)
from .info import SessionInfo, figures_of
from .inputs import InputCallback, InputDesk
from .interceptors import Interceptor, Interceptors
from .keeper import Checkpoint, Keeper, Recovery, outlook
from .link import WorkerLink
from .process import ExitReport, Launcher, spawn
from .router import Router, Work
from .stream import MessageStream

__all__ = ["Session"]

log = structlog.get_logger("stateroom.session")


class Session:
    """Runs cells in a worker process of its own, from the event loop that starts it.

    Use as ``async with Session() as session:``, or ``await start()`` and ``await close()``. Settings
    are the fields of :class:`~stateroom.config.SessionConfig` and, for the engine, of
    :class:`~stateroom.config.EngineConfig`, as keywords; or a whole ``config``.
    """

    def __init__(
        self, config: SessionConfig | None = None, *, launcher: Launcher = spawn, **settings: Any
    ) -> None:
        self.config = config if config is not None else load_config(settings)
        self.on_worker_lost: Callable[[ExitReport], object] = _ignore
        """Called when the worker has ended without having been told to."""
        self.on_late_output: OutputCallback = _ignore
        """Called with output of executions that have ended, and of none."""
        self.on_late_display: DisplayCallback = _ignore
        """The same for displays, their clearing, and progress."""
        self._launcher = launcher
        self._state = SessionState.NEW
        self._link: WorkerLink | None = None
        self._inputs = InputDesk(self._send_if_alive, self._run_beside)
        self._canceller = Canceller(self.config, request=self._request_cancel, hard_stop=self._hard_stop)
        self._interceptors = Interceptors(
            budget_s=self.config.interceptor_budget_s,
            max_concurrency=self.config.max_routing_concurrency,
            pause=self._pause,
            resume=self._resume,
        )
        self._router = Router(
            self._interceptors,
            on_control=self._control,
            on_input=self._inputs.take,
            on_finished=self._finished,
            on_late_output=lambda message: self.on_late_output(message),  # noqa: PLW0108 - it can be replaced
            on_late_display=lambda message: self.on_late_display(message),  # noqa: PLW0108 - as well
            on_violation=self._violated,
        )
        self._queue: deque[Work] = deque()
        self._numbers = itertools.count(1)
        self._keeper = Keeper(self.config, lambda: next(self._numbers))
        self._replaced_in_a_row = 0
        self._helpers: set[asyncio.Task[Any]] = set()
        self._executions = 0
        self._restarts = 0
        self._last_exit: ExitReport | None = None
        self._violation: ProtocolError | None = None

    def __repr__(self) -> str:
        pid = self._link.pid if self._link is not None else None
        running = self._router.running
        return f"<Session {self._state.name} pid={pid} running={running!r} queued={len(self._queue)}>"

    async def __aenter__(self) -> Self:
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
        on_display: DisplayCallback | None = None,
        on_input: InputCallback | None = None,
        queue: bool = True,
        execution_id: str | None = None,
        filename: str | None = None,
        argv: list[str] | None = None,
    ) -> ExecutionResult:
        """Run a cell and return what became of it; with ``check``, raise ExecutionError if it failed.

        ``timeout`` (seconds) cancels the cell; one that does not end is killed with its worker.
        ``on_output`` is called with each :class:`OutputMessage` as it comes, ``on_display`` with each
        :class:`DisplayMessage`, :class:`ClearMessage` and :class:`ProgressMessage`, ``on_input`` with
        each :class:`InputMessage` for the answer (a string, or an awaitable of one; EOFError for none).
        While another cell runs, this one waits; with ``queue=False``, it raises :class:`Busy`. With
        ``filename`` and ``argv`` the cell finds what a script finds.

        A cancelled caller cancels its cell. Raises :class:`SessionClosed` or :class:`SessionBroken`.
        """
        message = self._execute_message(code, execution_id, filename, argv)
        execution = Execution(message, on_output=on_output, on_display=on_display, on_input=on_input)
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
        self,
        code: str,
        *,
        on_input: InputCallback | None = None,
        queue: bool = True,
        execution_id: str | None = None,
    ) -> AsyncIterator[ToSession]:
        """Run a cell; yield its messages as they come, the last one a Result or an Error.

        A consumer that is slow slows the cell's output down. One that stops early cancels the cell.
        """
        stream = MessageStream(self._pause, self._resume, max_outbox_bytes=self.config.max_outbox_bytes)
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

    async def cancel(self, execution_id: str | None = None, *, hard_stop: bool = False) -> CancelOutcome:
        """Cancel the running cell, or the one named, which may wait in the queue.

        Returns when the cell has ended, or after ``cancel_grace_s``: a cell that swallowed the request
        is IGNORED, and a second ``cancel`` insists. With ``hard_stop``, what does not end by that is
        killed with its worker; another one is started and the last checkpoint restored. Never raises
        for a cell that is unknown or has ended: that is NOTHING_RUNNING.
        """
        for execution in self._queue:
            if execution.execution_id == execution_id:
                self._cancel_queued(execution)
                return CancelOutcome.CANCELLED
        running = self._router.running
        if running is None or execution_id not in (None, running.execution_id):
            return CancelOutcome.NOTHING_RUNNING
        return await self._canceller.cancel(running, hard_stop=hard_stop)

    def input_response(self, input_id: str, text: str | None) -> None:
        """Answer an input request by its id; None is the end of the file.

        Raises :class:`InputRefused` if that request is not open.
        """
        self._inputs.respond(input_id, text)

    @property
    def state(self) -> str:
        """What ``info.state`` says, without the cost of the rest."""
        return self._state.name.lower()

    @property
    def pid(self) -> int | None:
        """The worker's process id, while there is one."""
        return self._link.pid if self._link is not None else None

    @property
    def info(self) -> SessionInfo:
        """State, counters and figures, read now. Never raises."""
        link, running = self._link, self._router.running
        memory_bytes, cpu_s = figures_of(link.pid if link is not None else None)
        return SessionInfo(
            state=self._state.name.lower(),
            pid=link.pid if link is not None else None,
            python_version=link.python_version if link is not None else None,
            running=running.execution_id if running is not None else None,
            queued=len(self._queue),
            executions=self._executions,
            messages=self._router.messages,
            restarts=self._restarts,
            heartbeat_age_s=link.heartbeat_age_s if link is not None else None,
            memory_bytes=memory_bytes,
            cpu_s=cpu_s,
            cells_since_checkpoint=self._keeper.cells_since,
            interceptors=self._interceptors.figures(),
            cancels=msgspec.structs.replace(self._canceller.counters),
            telemetry=dict(link.telemetry) if link is not None else {},
            last_exit=str(self._last_exit) if self._last_exit is not None else None,
        )

    def add_message_interceptor(self, interceptor: Interceptor) -> None:
        """Show each message from the worker to ``interceptor`` before it goes anywhere, in order.

        A plain function should be done within ``interceptor_budget_s``; a coroutine function runs as a
        task, at most ``max_routing_concurrency`` of them at a time. What it raises is logged.
        """
        self._interceptors.add(interceptor)

    def remove_message_interceptor(self, interceptor: Interceptor) -> None:
        """Undo :meth:`add_message_interceptor`; raises ValueError if there was none."""
        self._interceptors.remove(interceptor)

    # State

    async def checkpoint(self) -> Checkpoint:
        """Save the namespace, when the cells before are done; what cannot be saved is listed as skipped.

        Raises :class:`CheckpointError`, :class:`SessionClosed` or :class:`SessionBroken`.
        """
        errand, file = self._keeper.begin()
        self._submit(errand, queue=True)
        try:
            return await self._keeper.finish(errand, file)
        except asyncio.CancelledError:
            errand.renew()
            self._abandon(errand)
            raise

    async def restore(
        self, saved: Checkpoint, *, clear_existing: bool = True, allow_other_python: bool = False
    ) -> RestoredMessage:
        """Bring a saved namespace back, into the same dict; the report says what came back and what not.

        With ``clear_existing`` the user's other names go. A checkpoint of another Python minor version is
        refused unless ``allow_other_python``. Raises :class:`CheckpointError`; the namespace is then as
        it was.
        """
        errand = self._keeper.restore(
            saved, clear_existing=clear_existing, allow_other_python=allow_other_python
        )
        self._submit(errand, queue=True)
        report: RestoredMessage = await errand.done
        return report

    @property
    def recovery(self) -> Recovery | None:
        """What the newest worker got back of its predecessor's state; None if it has none."""
        return self._keeper.recovery

    # Life

    async def start(self) -> None:
        """Start the worker and wait until it is ready.

        Raises :class:`WorkerStartError` (with the tail of the worker's stderr), or
        :class:`VersionMismatch`, within ``start_timeout_s``; the session can then be restarted. With a
        ``store``, what was saved under the session's name comes back (:attr:`recovery` tells); raises
        :class:`CheckpointError` if another process has that name open, or the file is damaged.
        """
        self._advance(SessionEvent.START)
        try:
            await asyncio.to_thread(self._keeper.open)
        except BaseException:
            self._advance(SessionEvent.START_FAILED)
            raise
        await self._start_worker("the session was opened again" if self._keeper.last else None)

    async def restart(self, *, restore: bool = True) -> None:
        """End the worker, whatever it is doing, and start another one.

        The running cell fails; cells that wait in the queue go to the new worker. The namespace comes
        back from the last checkpoint, if there is one and ``restore`` is left on; :attr:`recovery` tells.
        """
        await self._replace_worker("restart() was called" if restore else None)

    async def close(self) -> None:
        """End the worker: what runs is cancelled, ``atexit`` handlers run, after the grace it is killed.

        With a ``store``, the namespace is saved first. Safe to call twice, and in any state.
        """
        if self._state in (SessionState.CLOSED, SessionState.CLOSING):
            return
        self._fail_queue(SessionClosed("the session was closed before this cell began"))
        if self._router.running is not None:
            await self._canceller.ask(self._router.running, grace_s=self.config.close_grace_s)
        if self.config.store is not None and self._state is SessionState.IDLE:
            await self._save_at_the_end()
        self._advance(SessionEvent.CLOSE)
        await self._end_worker(grace_s=self.config.close_grace_s)
        await self._interceptors.settle()
        self._keeper.close()
        self._advance(SessionEvent.CLOSED)

    async def _save_at_the_end(self) -> None:
        try:
            await self.checkpoint()
        except (CheckpointError, SessionBroken) as error:
            log.warning("last_checkpoint_failed", error=str(error))

    async def _replace_worker(self, reason: str | None) -> None:
        """Start a new worker; its namespace is the last checkpoint's, if there is a ``reason`` for it."""
        self._begin_replacing()
        await self._finish_replacing(reason)

    def _begin_replacing(self) -> None:
        self._advance(SessionEvent.RESTART)
        self._restarts += 1

    async def _finish_replacing(self, reason: str | None) -> None:
        try:
            await self._end_worker(grace_s=0)
        except asyncio.CancelledError:
            self._advance(SessionEvent.START_FAILED)
            raise
        if self._state is not SessionState.RESTARTING:
            raise SessionClosed("the session was closed while it restarted")
        await self._start_worker(reason)

    async def _start_worker(self, reason: str | None) -> None:
        self._violation = None
        try:
            self._link = link = await self._launch()
            await link.start()
            self._check_starting(link)
        except BaseException:
            self._link = None
            self._advance(SessionEvent.START_FAILED)
            self._fail_queue(SessionBroken("the worker did not start; call restart() to try again"))
            raise
        recovering = self._keeper.recover(reason) if reason is not None else None
        if recovering is not None:
            self._queue.appendleft(recovering)  # before any cell that waits
        self._advance(SessionEvent.READY)
        self._send_next()
        if recovering is not None:
            await asyncio.wait([recovering.done])

    async def _launch(self) -> WorkerLink:
        process = await self._launcher(self.config)
        link = WorkerLink(self.config, process, on_message=self._router.deliver, on_gone=self._lost)
        if self._state not in (SessionState.STARTING, SessionState.RESTARTING):
            await link.end(grace_s=0)
            raise SessionClosed("the session was closed while its worker was made")
        return link

    def _check_starting(self, link: WorkerLink) -> None:
        if self._link is not link:
            raise SessionClosed("the session was closed while its worker started")

    async def _end_worker(self, *, grace_s: float) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.end(grace_s=grace_s)

    def _lost(self, report: ExitReport) -> None:
        """The worker has ended, expected or not: tell everybody who waits for it."""
        self._last_exit = report
        self._inputs.forget()
        running, self._router.running = self._router.running, None
        if running is not None:
            self._give_up(running, report)
        if self._state in (SessionState.IDLE, SessionState.BUSY):
            self._advance(SessionEvent.WORKER_LOST)
            self._after_loss(report)
            self.on_worker_lost(report)

    def _after_loss(self, report: ExitReport) -> None:
        """A worker that nobody told to end is gone."""
        config = self.config
        if config.auto_restart and self._replaced_in_a_row < config.max_restarts_in_a_row:
            self._replaced_in_a_row += 1
            self._begin_replacing()
            self._run_beside(self._replace_lost(str(report)))
        else:
            self._fail_queue(SessionBroken(f"{report}; call restart() for a new worker"))

    async def _replace_lost(self, reason: str) -> None:
        try:
            await self._finish_replacing(reason)
        except StateroomError as error:
            log.warning("automatic_restart_failed", reason=reason, error=str(error))

    def _give_up(self, execution: Work, report: ExitReport) -> None:
        """End an execution whose worker is gone, with the worker's last words."""
        for stream, text in report.last_words.items():
            if text and isinstance(execution, Execution):
                execution.take_output(
                    OutputMessage(stream=stream, execution_id=execution.execution_id, data=text)
                )
        error = error_info(self._violation or SessionBroken(f"{report} while {execution.execution_id} ran"))
        if execution.hard_stopped and isinstance(execution, Execution):
            error = stopped_error(execution, f"{report}; {outlook(self._keeper)}")
        elif self._violation is None:
            error.type, error.exit_status, error.signal = "WorkerDied", report.exit_status, report.signal
        self._executions += 1
        execution.give_up(ExecutionEvent.WORKER_LOST, error, cancelled=execution.hard_stopped)

    # Executions

    def _execute_message(
        self, code: str, execution_id: str | None, filename: str | None, argv: list[str] | None
    ) -> ExecuteMessage:
        number = next(self._numbers)
        name = execution_id if execution_id is not None else f"e{number}"
        return ExecuteMessage(execution_id=name, number=number, code=code, filename=filename, argv=argv)

    def _submit(self, execution: Work, *, queue: bool) -> None:
        self._check_open()
        if self._state is SessionState.IDLE:
            self._send(execution)
        elif queue:
            self._queue.append(execution)
        else:
            running = self._router.running
            raise Busy(
                f"{running.execution_id if running else 'a restart'} is running and queue=False was given"
            )

    def _send(self, execution: Work) -> None:
        assert self._link is not None
        self._link.send(execution.message)
        execution.advance(ExecutionEvent.EXECUTE)
        self._router.running = execution
        self._advance(SessionEvent.EXECUTE)

    def _finished(self, work: Work) -> None:
        if isinstance(work, Execution):
            if work.state is ExecutionState.CANCELLED:
                self._inputs.refuse_all(work)
            self._executions += 1
            self._replaced_in_a_row = 0
            self._keeper.cells_since += 1
        if self._state is SessionState.BUSY:
            self._advance(SessionEvent.DONE)
            if isinstance(work, Execution) and self._keeper.is_due():
                errand, file = self._keeper.begin()
                self._queue.appendleft(errand)
                self._run_beside(self._keep(errand, file))
            self._send_next()

    async def _keep(self, errand: Errand, file: CheckpointFile) -> None:
        """See the automatic checkpoint through."""
        try:
            await self._keeper.finish(errand, file)
        except CheckpointError as error:
            log.warning("automatic_checkpoint_failed", error=str(error))

    def _send_next(self) -> None:
        while self._queue and self._state is SessionState.IDLE:
            work = self._queue.popleft()
            try:
                self._send(work)
            except (FrameTooLarge, NotPlainData) as error:
                work.give_up(ExecutionEvent.CANCEL, error_info(error))

    def _fail_queue(self, error: Exception) -> None:
        while self._queue:
            self._queue.popleft().give_up(ExecutionEvent.CANCEL, error_info(error))

    def _cancel_queued(self, execution: Work) -> None:
        self._queue.remove(execution)
        error = ErrorInfo(
            type="CancelledError", module="asyncio.exceptions", message="cancelled before it began"
        )
        error.text = f"{error.module}.{error.type}: {error.message}\n"
        execution.give_up(ExecutionEvent.CANCEL, error, cancelled=True)

    def _request_cancel(self, number: int, attempt: int) -> None:
        if self._link is not None:
            self._link.request_cancel(number, attempt)

    async def _hard_stop(self, execution: Work) -> None:
        """Replace a worker whose cell cannot be ended otherwise; cells that wait go to the new one."""
        if self._state is not SessionState.BUSY or self._router.running is not execution:
            return
        execution.hard_stopped = True
        await self._replace_worker(f"{execution.execution_id} was ended by force")

    def _abandon(self, execution: Work) -> None:
        """Nobody waits for this cell any more: end it, so that the next one can run."""
        if execution in self._queue:
            self._cancel_queued(execution)
        elif self._router.running is execution:
            self._run_beside(self._canceller.cancel(execution, hard_stop=True))

    def _limit(self, execution: Execution, timeout_s: float) -> asyncio.TimerHandle:
        def expire() -> None:
            if not execution.done.done():
                execution.timeout_s = timeout_s
                self._run_beside(self._end_by_timeout(execution))

        return asyncio.get_running_loop().call_later(timeout_s, expire)

    async def _end_by_timeout(self, execution: Work) -> None:
        if execution in self._queue:
            self._cancel_queued(execution)
            return
        await self._canceller.cancel(execution, hard_stop=True)

    # Messages that belong to no single execution

    def _control(self, message: ToSession) -> None:
        if isinstance(message, HeartbeatMessage):
            if self._link is not None:
                self._link.take_heartbeat(message)
        elif isinstance(message, FaultMessage):
            log.warning("worker_fault", reason=message.reason, fatal=message.fatal)
        else:
            log.warning("worker_warning", message=msgspec.to_builtins(message))

    def _violated(self, error: ProtocolError) -> None:
        """A worker that breaks the protocol is given up."""
        log.error("protocol_violation", error=str(error), kind=type(error).__name__)
        self._violation = error
        if self._link is not None:
            self._link.kill()

    # Small things

    def _advance(self, event: SessionEvent) -> None:
        self._state = advance_session(self._state, event)

    def _check_open(self) -> None:
        if self._state is SessionState.BROKEN:
            raise SessionBroken(
                f"{self._last_exit or 'the worker did not start'}; call restart() for a new one"
            )
        if self._state in (SessionState.NEW, SessionState.CLOSING, SessionState.CLOSED):
            raise SessionClosed(f"the session is {self._state.name.lower()}; use 'async with' or start()")

    def _run_beside(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Run something beside the caller; kept alive until it is done."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._helpers.add(task)
        task.add_done_callback(self._helpers.discard)

    def _send_if_alive(self, message: Any) -> None:
        if self._link is not None:
            self._link.send(message)

    def _pause(self) -> None:
        if self._link is not None:
            self._link.pause()

    def _resume(self) -> None:
        if self._link is not None:
            self._link.resume()


def load_config(settings: dict[str, Any]) -> SessionConfig:
    """Split keywords between the two settings classes."""
    names = {field.name for field in msgspec.structs.fields(SessionConfig)}
    own = {name: value for name, value in settings.items() if name in names}
    engine = {name: value for name, value in settings.items() if name not in names}
    own.setdefault("engine", EngineConfig.load(**engine))
    config: SessionConfig = SessionConfig.load(**own)
    return config


def _ignore(_what: object) -> None:
    pass
