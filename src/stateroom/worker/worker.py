"""The worker's main thread: takes jobs one after another, and waits in the event loop between them."""

from __future__ import annotations

import asyncio
import builtins
import contextvars
import os
import socket
import sys
import time
from collections import deque
from collections.abc import Coroutine
from threading import get_ident
from types import ModuleType
from typing import Any, NamedTuple

from ..engine import sources
from ..engine.async_executor import AsyncExecutor
from ..engine.namespace import NamespaceManager
from ..engine.tracebacks import STR_CALLERS
from ..errors import FrameTooLarge, NotPlainData, ProtocolError
from ..protocol.cancel_page import CancelPage
from ..protocol.framing import FrameReader, FrameWriter
from ..protocol.messages import (
    PROTOCOL_VERSION,
    CheckpointedMessage,
    ConfigureMessage,
    ErrorMessage,
    ExecuteMessage,
    FaultMessage,
    InputResponseMessage,
    Job,
    ReadyMessage,
    RestoredMessage,
    ResultMessage,
    ShutdownMessage,
    StepReplyMessage,
    Stream,
    ToWorker,
)
from . import children
from .cell_jobs import SHOWING, CellJobs
from .cell_runner import CellRunner
from .display import call_repr
from .event_loop import MovableEventLoop
from .handover import Handover
from .input import InputBroker, wait_for_answer
from .interrupts import Interrupts, Target
from .io_thread import IoThread, describe_fault
from .keeping import Keeping
from .lag_watch import LagWatch
from .loop_errors import LoopErrors
from .origin import follow_threads
from .outbox import Outbox
from .output import Output
from .output_limit import OutputLimit
from .publisher import Publisher
from .receiver import Receiver
from .replies import busy, failure, shortened
from .steps import StepBroker
from .text_stream import flush_streams
from .time_limit import TimeLimit
from .user_code import call_user_code
from .user_display import display
from .watches import CellWatch, HeartbeatWatch

__all__ = ["Endpoints", "SubprocessWorker"]

TASKS_GRACE_S = 0.5
"""At the end of the worker: for background tasks to clean up."""
MATPLOTLIB_BACKEND = f"module://{__package__}.figures"
"""Chosen for the user unless the environment names another one."""
SWITCH_INTERVAL_S = 0.0005
"""How long a busy thread may keep the i/o thread and the companion waiting."""

Reply = ResultMessage | ErrorMessage | CheckpointedMessage | RestoredMessage


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
        limit = OutputLimit(settings.engine.max_output_bytes, settings.engine.max_output_lines)
        self.output = Output(self.outbox, endpoints.pipes, limit, self.interrupts)
        self.receiver = Receiver(endpoints.sock, reader, handle=self.handle, on_end=self._transport_ended)
        self.input = InputBroker(
            self.outbox.send,
            self._flush_output,
            listen=self.receiver.read_in_io_thread,
            timeout_s=settings.input_timeout_s,
        )
        self.publisher = Publisher(self.outbox, self._flush_output, settings.engine)
        self.steps = StepBroker(
            self.outbox.send,
            listen=self.receiver.read_in_io_thread,
            max_value_bytes=settings.engine.max_value_bytes,
        )
        self.publisher.safe_point = self.interrupts.safe_point
        self.loop_errors = LoopErrors(self.loop)
        self.handover = Handover(
            self.loop, on_loop_exit=self.loop_errors.left_loop, prepare_thread=Interrupts.block_here
        )
        self.cells = CellJobs(
            self.executor,
            CellRunner(self.executor, self.handover, self.interrupts, self.context),
            self.interrupts,
            self.limit,
            self.context,
            output=self.output,
            publisher=self.publisher,
            broker=self.input,
            steps=self.steps,
        )
        self.keeping = Keeping(self.executor, self.outbox, self.interrupts, self.loop)
        self.io = IoThread(self.receiver, self.outbox, self.output, prepare_thread=Interrupts.block_here)
        self.cell_watch = CellWatch(
            self.handover,
            self.receiver,
            settings.engine.takeover_after_s,
            is_asking=lambda: self.input.is_asking() or self.steps.is_asking(),
            wake=self._wake_io,
        )
        self._inbox: deque[Job | ShutdownMessage] = deque()
        self._current: Job | None = None
        self._waits_for_loop = False
        self._main_thread = get_ident()
        self._sock_fd = endpoints.sock.fileno()

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
        elif isinstance(item, StepReplyMessage):
            self.steps.answer(item)
        elif isinstance(item, ShutdownMessage):
            self._enqueue(item)
        else:
            self.outbox.send(FaultMessage(reason="UnexpectedMessage: a worker is configured only once"))

    def _accept(self, message: Job) -> None:
        """The Busy guard: one execution at a time."""
        if self._current is not None:
            self.outbox.send(busy(message, self._current))
            return
        self._current = message
        if self._waits_for_loop:
            self._aim_at_waiting(message)
        self._enqueue(message)

    def _enqueue(self, message: Job | ShutdownMessage) -> None:
        self._inbox.append(message)
        if get_ident() == self._main_thread:
            if self.loop.is_running():
                self.loop.stop()
        else:
            self.loop.call_soon_threadsafe(self.loop.stop)

    def _transport_ended(self) -> None:
        """The session is gone: nobody can be served any more."""
        os._exit(0)

    # The main thread

    def serve(self) -> None:
        """Do jobs until told to shut down."""
        self._install()
        self.outbox.send(
            ReadyMessage(
                protocol_version=PROTOCOL_VERSION,
                python_version=".".join(map(str, sys.version_info[:3])),
                pid=os.getpid(),
            )
        )
        while isinstance(job := self._next(), Job):
            self._serve(job)
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
        self.steps.install()
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
        self.io.watches += [self.cell_watch, self.limit]
        self._watch_for_lag()
        if self.settings.heartbeat_interval_s:
            interval_s, telemetry = self.settings.heartbeat_interval_s, self.executor.telemetry
            self.io.watches.append(HeartbeatWatch(self.outbox.send, interval_s, telemetry))
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self.io.start()
        self.loop.add_reader(self.receiver.sock, self.receiver.receive)

    def _watch_for_lag(self) -> None:
        limit_s = self.settings.engine.loop_lag_warning_s
        self.loop.lag_limit_s, self.loop.on_lag = limit_s, self.executor.telemetry.note_loop_lag
        self.io.watches.append(LagWatch(self.loop, limit_s, self.executor.compiler.sources, self.outbox.send))

    def _close(self) -> None:
        """End as ``asyncio.run`` does: tasks cancelled and waited for, then the loop closed."""
        self.input.close()
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self._complete(asyncio.wait(tasks, timeout=TASKS_GRACE_S))
        self._complete(self.loop.shutdown_asyncgens())
        self.loop.close()
        self._flush_output()

    def _complete(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """As ``run_until_complete``; a stop of the loop, of a message or of user code, does not end it."""
        task = self.loop.create_task(coroutine)
        task.add_done_callback(lambda _: self.loop.stop())
        while not task.done():
            self.handover.run_at_home()

    def _forget_after_fork(self) -> None:
        self.interrupts.aim(None)
        self.output.forget_after_fork()
        self.outbox.forget_after_fork()
        self.input.forget_after_fork()
        self.publisher.forget_after_fork()
        self.steps.forget_after_fork()

    def _next(self) -> Job | ShutdownMessage:
        """Run the loop until there is something to do."""
        while True:
            while not self.handover.try_home():
                self._wait_for_loop()
            if self._inbox:
                return self._inbox.popleft()
            if self.handover.wait_at_home(self._sock_fd):
                self.receiver.receive()
            else:
                self.handover.run_at_home()

    def _wait_for_loop(self) -> None:
        """A background task may hold the loop elsewhere; a job that comes meanwhile can be cancelled."""
        self._waits_for_loop = True
        if self._current is not None:
            self._aim_at_waiting(self._current)
        try:
            self.handover.home()
        except asyncio.CancelledError as error:
            while not self._inbox:  # aimed at before it is put there
                time.sleep(0)
            job = self._inbox.popleft()
            assert not isinstance(job, ShutdownMessage)
            self._finish(job, failure(job, error, max_chars=self.executor.config.max_error_chars))
        except BaseException as error:  # noqa: BLE001 - raised by a signal handler of the user's
            self.loop_errors.left_loop(error)
        finally:
            self._waits_for_loop = False

    def _aim_at_waiting(self, job: Job) -> None:
        self.interrupts.aim(Target(job.number, frozenset(), in_loop=False))

    def _serve(self, job: Job) -> None:
        """Do one job and send its reply."""
        self.cell_watch.cell_begins()
        if isinstance(job, ExecuteMessage):
            self._finish(job, *self.cells.do(job))
            return
        reply: Reply
        try:
            reply = self.keeping.do(job)
        except BaseException as error:  # noqa: BLE001 - code of the user's objects has run
            reply = failure(job, error, max_chars=self.executor.config.max_error_chars)
        self._finish(job, reply)

    def _finish(self, job: Job, reply: Reply, buffers: list[Any] | None = None) -> None:
        """All output of the job, then its one reply, then ready for the next."""
        self.interrupts.aim(None)
        try:
            flush_streams()
        except BaseException:  # noqa: BLE001, S110 - a stream of the cell's own; it is late for an exit
            pass
        self.output.drain()
        if isinstance(reply, ResultMessage | ErrorMessage):
            reply.notes = [*reply.notes, *self.cells.end()]
        self._current = None
        self.cell_watch.cell_ends()
        try:
            self.outbox.send(reply, buffers or None)
        except (FrameTooLarge, NotPlainData) as error:
            assert isinstance(reply, ResultMessage | ErrorMessage)
            self.outbox.send(shortened(reply, str(error)))

    def _wake_io(self) -> None:
        self.io.wake()

    def _flush_output(self) -> None:
        flush_streams()
        self.output.drain()
