"""The worker's main thread: takes cells from the i/o thread and runs them one after another."""

from __future__ import annotations

import asyncio
import builtins
import contextvars
import os
import socket
import sys
import time
from collections import deque
from threading import get_ident
from types import ModuleType
from typing import Any, NamedTuple

from ..engine import sources
from ..engine.async_executor import AsyncExecutor
from ..engine.compiler import ExecutionMode
from ..engine.coroutines import note_cancel
from ..engine.namespace import NamespaceManager
from ..engine.tracebacks import STR_CALLERS, describe_exception
from ..errors import FrameTooLarge, NotPlainData, ProtocolError
from ..protocol.cancel_page import CancelPage
from ..protocol.framing import FrameReader, FrameWriter
from ..protocol.messages import (
    PROTOCOL_VERSION,
    CheckpointedMessage,
    CheckpointMessage,
    ConfigureMessage,
    ErrorInfo,
    ErrorMessage,
    ExecuteMessage,
    FaultMessage,
    InputResponseMessage,
    Job,
    ReadyMessage,
    RestoredMessage,
    RestoreMessage,
    ResultMessage,
    ShutdownMessage,
    Stream,
    ToWorker,
)
from . import children
from .cell_runner import CellRunner
from .display import Shown, call_repr, show
from .event_loop import MovableEventLoop
from .handover import Handover, Place
from .input import InputBroker, reopen_stdin, wait_for_answer
from .interrupts import Interrupts, Target
from .io_thread import IoThread, describe_fault
from .keeping import Keeping
from .lag_watch import LagWatch
from .loop_errors import LoopErrors
from .origin import follow_threads, origin_of_cell
from .outbox import Outbox
from .output import Output, TextStream
from .output_limit import OutputLimit
from .publisher import Publisher
from .receiver import Receiver
from .time_limit import TimeLimit
from .user_code import call_user_code
from .user_display import display
from .watches import HeartbeatWatch, TakeoverWatch

__all__ = ["Endpoints", "SubprocessWorker"]

SHOWING = frozenset({call_repr.__code__, call_user_code.__code__})
"""The frames through which the engine calls code of a value that it shows."""
TASKS_GRACE_S = 0.5
"""At the end of the worker: for background tasks to clean up."""
MATPLOTLIB_BACKEND = f"module://{__package__}.figures"
"""Chosen for the user unless the environment names another one."""
SWITCH_INTERVAL_S = 0.0005
"""How long a busy thread may keep the i/o thread and the companion waiting."""


class Endpoints(NamedTuple):
    """What the worker inherits from its session."""

    sock: socket.socket
    page: CancelPage
    pipes: dict[int, Stream]


class SubprocessWorker:
    """One session's process. Made and served in the main thread; ``serve`` returns at the end."""

    def __init__(
        self, endpoints: Endpoints, settings: ConfigureMessage, reader: FrameReader[ToWorker]
    ) -> None:
        self.settings = settings
        self.main_module = ModuleType("__main__")
        self.executor = AsyncExecutor(
            NamespaceManager(vars(self.main_module), history_size=settings.engine.history_size),
            execution_id="worker",
            config=settings.engine,
        )
        self.loop = MovableEventLoop()
        self.context = contextvars.copy_context()
        self.outbox = Outbox(
            endpoints.sock, FrameWriter(settings.max_frame_bytes), max_bytes=settings.max_outbox_bytes
        )
        limit = OutputLimit(settings.engine.max_output_bytes, settings.engine.max_output_lines)
        self.output = Output(self.outbox, endpoints.pipes, limit)
        self.input = InputBroker(self.outbox.send, self._flush_output, timeout_s=settings.input_timeout_s)
        self.publisher = Publisher(self.outbox, self._flush_output, settings.engine)
        self.limit = TimeLimit(settings.engine.repr_timeout_s, self._wake_io)
        self.interrupts = Interrupts(
            endpoints.page,
            showing=SHOWING | STR_CALLERS,
            limit=self.limit,
            waits=[
                wait_for_answer,
                call_repr,
                call_user_code,
                Outbox.wait_for_room,
                Handover.wait_for_loop,
                Handover.wait_elsewhere,
            ],
        )
        self.output.safe_point = self.publisher.safe_point = self.interrupts.safe_point
        self.loop_errors = LoopErrors(self.loop)
        self.receiver = Receiver(
            endpoints.sock, reader, self.loop, handle=self.handle, on_end=self._transport_ended
        )
        self.handover = Handover(
            self.loop,
            on_loop_exit=self.loop_errors.left_loop,
            before_leaving=self.receiver.leave_loop,
            prepare_thread=Interrupts.block_here,
        )
        self.cells = CellRunner(
            self.executor,
            self.handover,
            self.interrupts,
            self.context,
            before_loop=self.receiver.leave_loop,
        )
        self.io = IoThread(
            self.receiver,
            self.outbox,
            self.output,
            prepare_thread=Interrupts.block_here,
        )
        self.takeover_watch = TakeoverWatch(self.handover, settings.engine.takeover_after_s, self.io.wake)
        self.keeping = Keeping(self.executor, self.outbox, self.interrupts, self.loop)
        self._inbox: deque[Job | ShutdownMessage] = deque()
        self._current: Job | None = None
        self._waits_for_loop = False
        self._pid = os.getpid()
        self._main_thread = get_ident()

    def __repr__(self) -> str:
        running = self._current and self._current.execution_id
        return f"<SubprocessWorker running={running} waiting={len(self._inbox)} {self.handover!r}>"

    # Whichever thread reads

    def handle(self, item: ToWorker | ProtocolError) -> None:
        """Take one message, in the thread that read it."""
        if isinstance(item, ProtocolError):
            self.outbox.send(FaultMessage(reason=describe_fault(item)))
        elif isinstance(item, Job):
            self._accept(item)
        elif isinstance(item, InputResponseMessage):
            if not self.input.answer(item):
                self.outbox.send(FaultMessage(reason=f"nobody waits for an answer to input {item.input_id}"))
        elif isinstance(item, ShutdownMessage):
            self._enqueue(item)
        else:
            self.outbox.send(FaultMessage(reason="UnexpectedMessage: a worker is configured only once"))

    def _accept(self, message: Job) -> None:
        """The Busy guard: one execution at a time."""
        if self._current is not None:
            error = ErrorInfo(
                type="Busy",
                module="stateroom.errors",
                message=f"{message.execution_id} was refused: {self._current.execution_id} is running",
            )
            self.outbox.send(ErrorMessage(execution_id=message.execution_id, error=error, busy=True))
            return
        self._current = message
        if self._waits_for_loop:
            self._aim_at_waiting(message)
        self._enqueue(message)

    def _enqueue(self, message: Job | ShutdownMessage) -> None:
        self._inbox.append(message)
        if get_ident() == self._main_thread:
            self.loop.stop()
        else:
            self.loop.call_soon_threadsafe(self.loop.stop)

    def _transport_ended(self) -> None:
        """The session is gone: nobody can be served any more."""
        os._exit(0)

    # The main thread

    def serve(self) -> None:
        """Run cells until told to shut down."""
        self._install()
        self.outbox.send(
            ReadyMessage(
                protocol_version=PROTOCOL_VERSION,
                python_version=".".join(map(str, sys.version_info[:3])),
                pid=self._pid,
            )
        )
        while True:
            message = self._next()
            if isinstance(message, ShutdownMessage):
                break
            if isinstance(message, ExecuteMessage):
                self._serve_cell(message)
            else:
                self._serve_keeping(message)
        self._close()

    def _install(self) -> None:
        """Make this process a place for cells; nothing of it is undone."""
        sys.modules["__main__"] = self.main_module
        sys.path.insert(0, "")
        sys.stdout, sys.stderr = self.output.stream("stdout"), self.output.stream("stderr")
        sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr  # type: ignore[misc]
        sys.stdin = sys.__stdin__ = self.input.stdin()  # type: ignore[misc]
        sys.argv = [""]
        self.input.install()
        self.publisher.install()
        builtins.display = display  # type: ignore[attr-defined]
        os.environ.setdefault("MPLBACKEND", MATPLOTLIB_BACKEND)
        follow_threads()
        asyncio.set_event_loop(self.loop)
        self.loop_errors.install()
        sources.install(self.executor.compiler.sources)
        children.install(self.executor.namespace_manager)
        self.handover.start()
        self.interrupts.install()
        os.register_at_fork(after_in_child=self._forget_after_fork)
        self.io.watches += [self.takeover_watch, self.limit]
        self._watch_for_lag()
        if self.settings.heartbeat_interval_s:
            interval_s, telemetry = self.settings.heartbeat_interval_s, self.executor.telemetry
            self.io.watches.append(HeartbeatWatch(self.outbox.send, interval_s, telemetry))
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self.io.start()

    def _watch_for_lag(self) -> None:
        limit_s = self.settings.engine.loop_lag_warning_s
        self.loop.lag_limit_s, self.loop.on_lag = limit_s, self.executor.telemetry.note_loop_lag
        self.io.watches.append(LagWatch(self.loop, limit_s, self.executor.compiler.sources, self.outbox.send))

    def _close(self) -> None:
        """End as ``asyncio.run`` does: tasks cancelled and waited for, then the loop closed."""
        self.handover.close()
        self.input.close()
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self.loop.run_until_complete(asyncio.wait(tasks, timeout=TASKS_GRACE_S))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()
        self._flush_output()

    def _forget_after_fork(self) -> None:
        self.interrupts.aim(None)
        self.output.forget_after_fork()
        self.outbox.forget_after_fork()
        self.input.forget_after_fork()
        self.publisher.forget_after_fork()

    def _next(self) -> Job | ShutdownMessage:
        """Run the loop until there is something to do."""
        while True:
            self._waits_for_loop = True
            if self._current is not None:
                self._aim_at_waiting(self._current)
            try:
                self.handover.home()
            except asyncio.CancelledError as error:
                cancelled = _failure(error, ExecutionMode.UNKNOWN, 0.0, 1000)
                cancelled.cancelled = True
                self._finish(self._inbox.popleft(), cancelled)  # type: ignore[arg-type]
                continue
            finally:
                self._waits_for_loop = False
            if self._inbox:
                return self._inbox.popleft()
            self.receiver.read_in_loop()
            self.handover.run_at_home()
            self.receiver.read_in_io_thread()

    def _aim_at_waiting(self, message: Job) -> None:
        """A background task may hold the loop elsewhere: the wait for it can be cancelled with the work."""
        self.interrupts.aim(Target(message.number, frozenset(), in_loop=False))

    def _serve_keeping(self, message: CheckpointMessage | RestoreMessage) -> None:
        """A checkpoint or a restore, and its reply."""
        reply: CheckpointedMessage | RestoredMessage | ErrorMessage
        try:
            reply = self.keeping.do(message)
        except BaseException as error:  # noqa: BLE001 - code of the user's objects has run
            reply = _failure(error, ExecutionMode.UNKNOWN, 0.0, self.executor.config.max_error_chars)
            reply.execution_id = message.execution_id
            reply.cancelled = isinstance(error, asyncio.CancelledError)
        self.interrupts.aim(None)
        self._flush_output()
        self._current = None
        self._let_loop_read()
        self.outbox.send(reply)

    def _serve_cell(self, message: ExecuteMessage) -> None:
        self.output.begin(message.execution_id)
        self.publisher.begin(message.execution_id)
        self.input.running = message.execution_id
        self.context.run(origin_of_cell.set, message.execution_id)
        self.takeover_watch.cell_begins()
        reopen_stdin(self.input)
        if message.argv is not None:
            self._become_script(message)
        reply, buffers = self._run(message)
        if os.getpid() != self._pid:  # the cell forked, and this is the child coming out of it
            sys.stdout.flush()
            os._exit(0 if isinstance(reply, ResultMessage) else 1)
        self._finish(message, reply, buffers)

    def _become_script(self, message: ExecuteMessage) -> None:
        """Let the cell find what a script finds: its file, its arguments, its folder on the path."""
        sys.argv = list(message.argv or [])
        if message.filename:
            from importlib.machinery import SourceFileLoader

            self.executor.namespace["__file__"] = message.filename
            self.executor.namespace["__cached__"] = None
            self.executor.namespace["__loader__"] = SourceFileLoader("__main__", message.filename)
            sys.path[0] = os.path.dirname(os.path.abspath(message.filename))

    def _run(self, message: ExecuteMessage) -> tuple[ResultMessage | ErrorMessage, list[Any]]:
        """Compile and run one cell; its outcome as a message."""
        started = time.perf_counter()
        mode = ExecutionMode.UNKNOWN
        try:
            cell = self.executor.prepare(message.code, message.filename)
            plan = self.executor.plan(cell)
            mode = plan.mode
            target = Target(message.number, plan.codes | SHOWING, in_loop=cell.is_coroutine)
            self.interrupts.aim(target)
            value = self.cells.run(plan, target)
            self.executor.record(value)
            with self.limit:
                shown = show(value, self.executor.config)
            self.publisher.send_figures()
        except BaseException as error:  # noqa: BLE001 - whatever a cell raises is its outcome
            duration_s = time.perf_counter() - started
            cancelled = isinstance(error, asyncio.CancelledError) and self.interrupts.wanted(message.number)
            if cancelled:
                note_cancel(error, f"the session, request {self.interrupts.page.read()[1]}")
            with self.limit:
                failure = _failure(error, mode, duration_s, self.executor.config.max_error_chars)
            failure.cancelled = cancelled
            if not cancelled:
                self._send_figures_of_failure()
            return failure, []
        return _success(message, mode, time.perf_counter() - started, shown), shown.buffers

    def _send_figures_of_failure(self) -> None:
        """A cell that failed has drawn something all the same; a cancel that comes now ends only this."""
        try:
            self.publisher.send_figures()
        except asyncio.CancelledError:
            pass

    def _let_loop_read(self) -> None:
        """Before the session can send the next cell; not while the loop may be long in coming home."""
        if self.handover.place is not Place.AWAY:
            self.receiver.watch_in_io_thread(False)

    def _wake_io(self) -> None:
        self.io.wake()

    def _flush_output(self) -> None:
        _flush_streams()
        self.output.drain()

    def _finish(
        self, message: ExecuteMessage, reply: ResultMessage | ErrorMessage, buffers: list[Any] | None = None
    ) -> None:
        """All output of the cell, then its one reply, then ready for the next."""
        reply.execution_id = message.execution_id
        self.interrupts.aim(None)
        self._flush_output()
        self._current = None
        reply.notes = [*reply.notes, *self.output.end(), *self.publisher.end()]
        self.input.running = None
        self._let_loop_read()
        try:
            self.outbox.send(reply, buffers or None)
        except (FrameTooLarge, NotPlainData) as error:
            self.outbox.send(_shortened(reply, str(error)))


def _shortened(reply: ResultMessage | ErrorMessage, reason: str) -> ResultMessage | ErrorMessage:
    """What is left of a reply that cannot be sent."""
    common: dict[str, Any] = {
        "execution_id": reply.execution_id,
        "mode": reply.mode,
        "duration_s": reply.duration_s,
        "notes": [reason],
    }
    if isinstance(reply, ResultMessage):
        return ResultMessage(**common)
    error = ErrorInfo(type=reply.error.type[:1000], module=reply.error.module[:1000], message=reason)
    error.text = f"{error.type}: {reason}\n"
    return ErrorMessage(**common, error=error, cancelled=reply.cancelled)


def _flush_streams() -> None:
    """Pass on what the cell wrote without an end of line, to whatever its streams are now."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if isinstance(stream, TextStream):
                stream.end_line()
            else:
                stream.flush()
        except Exception:  # noqa: BLE001, S110 - closed by the cell, or an object of its own
            pass


def exit_status(error: SystemExit) -> int | None:
    """The status that ``python`` would exit with; None for a message, which it prints, exiting with 1."""
    if error.code is None:
        return 0
    return int(error.code) & 0xFF if isinstance(error.code, int) else None


def _success(message: ExecuteMessage, mode: ExecutionMode, duration_s: float, shown: Shown) -> ResultMessage:
    return ResultMessage(
        execution_id=message.execution_id,
        mode=mode,
        duration_s=duration_s,
        value=shown.value,
        repr=shown.repr,
        mime=shown.mime,
        metadata=shown.metadata,
        notes=shown.notes,
    )


def _failure(error: BaseException, mode: ExecutionMode, duration_s: float, max_chars: int) -> ErrorMessage:
    info = describe_exception(error, max_chars=max_chars)
    if isinstance(error, SystemExit):
        info.exit_status = exit_status(error)
    return ErrorMessage(execution_id="", error=info, mode=mode, duration_s=duration_s)
