"""What a worker is made of, each part given the others that it needs; :mod:`.worker` makes them run."""

from __future__ import annotations

import contextvars
import socket
from collections.abc import Callable, Iterable
from types import CodeType, ModuleType
from typing import NamedTuple

from ..engine.async_executor import AsyncExecutor
from ..engine.namespace import NamespaceManager
from ..engine.tracebacks import ASKING
from ..errors import ProtocolError
from ..protocol.cancel_page import CancelPage
from ..protocol.framing import FrameReader, FrameWriter
from ..protocol.messages import ConfigureMessage, Stream, ToWorker
from .cell_jobs import SHOWING, CellJobs
from .cell_runner import CellRunner
from .checkpoint_jobs import CheckpointJobs
from .display import call_repr
from .event_loop import MovableEventLoop
from .handover import Handover
from .input import InputBroker, wait_for_answer
from .interrupts import Interrupts
from .io_thread import IoThread
from .loop_errors import LoopErrors
from .outbox import Outbox
from .output import Output
from .output_limit import OutputLimit
from .publisher import Publisher
from .receiver import Receiver
from .steps import StepBroker
from .text_stream import flush_streams
from .time_limit import TimeLimit
from .user_code import call_user_code
from .user_signals import UserSignals
from .watches import CellWatch

__all__ = ["Endpoints", "Parts"]

WAITS = (
    wait_for_answer,
    call_repr,
    call_user_code,
    Outbox.wait_for_room,
    Handover.wait_for_loop,
    Handover.wait_elsewhere,
)
"""Functions of the engine's in which user code waits, so that a cancel may end them."""
RUNS_LOOP = (MovableEventLoop.idle, MovableEventLoop._run_once)
"""Where the worker waits, or runs what was put into its loop; it survives what is raised there."""


def codes_of(functions: Iterable[Callable[..., object]]) -> frozenset[CodeType]:
    """What their frames are known by."""
    return frozenset(function.__code__ for function in functions)


class Endpoints(NamedTuple):
    """What the worker inherits from its session."""

    sock: socket.socket
    page: CancelPage
    pipes: dict[int, Stream]


class Parts:
    """Made in the main thread. No thread runs yet, and nothing of the process is changed."""

    def __init__(
        self,
        endpoints: Endpoints,
        settings: ConfigureMessage,
        reader: FrameReader[ToWorker],
        *,
        handle: Callable[[ToWorker | ProtocolError], None],
        on_end: Callable[[], None],
        survives: Callable[..., object],
    ) -> None:
        """``survives`` is the caller's own wait for the loop, which outlives what is raised in it."""
        self.settings = settings
        self._survives = survives
        self._make_engine()
        self._make_transport(endpoints, reader, handle, on_end)
        self._make_streams(endpoints)
        self._make_exchanges()
        self._make_jobs()
        self.io = IoThread(self.receiver, self.outbox, self.output, prepare_thread=Interrupts.block_here)
        self._make_watch()

    def __repr__(self) -> str:
        return f"<Parts {self.handover!r} {self.cells!r}>"

    def wake_io(self) -> None:
        """Let the i/o thread look at its watches again."""
        self.io.wake()

    def _signal_is_late(self) -> None:
        self.interrupts.missed = True
        self.io.wake()

    def flush_output(self) -> None:
        """Send all that was written so far."""
        flush_streams()
        self.output.drain()

    def _make_engine(self) -> None:
        engine = self.settings.engine
        self.main_module = ModuleType("__main__")
        namespace = NamespaceManager(vars(self.main_module), history_size=engine.history_size)
        self.executor = AsyncExecutor(namespace, execution_id="worker", config=engine)
        self.context = contextvars.copy_context()
        self.loop = MovableEventLoop()
        self.loop_errors = LoopErrors(self.loop)
        self.handover = Handover(
            self.loop, on_loop_exit=self.loop_errors.left_loop, prepare_thread=Interrupts.block_here
        )

    def _make_transport(
        self,
        endpoints: Endpoints,
        reader: FrameReader[ToWorker],
        handle: Callable[[ToWorker | ProtocolError], None],
        on_end: Callable[[], None],
    ) -> None:
        settings = self.settings
        writer = FrameWriter(settings.max_frame_bytes)
        self.outbox = Outbox(endpoints.sock, writer, max_bytes=settings.max_outbox_bytes)
        self.receiver = Receiver(endpoints.sock, reader, handle=handle, on_end=on_end)

    def _make_streams(self, endpoints: Endpoints) -> None:
        engine = self.settings.engine
        self.limit = TimeLimit(engine.repr_timeout_s, self.wake_io, SHOWING | ASKING)
        self.saving_limit = TimeLimit(0.0, self.wake_io)
        self.user_signals = UserSignals(
            codes_of(WAITS),
            codes_of([*RUNS_LOOP, self._survives]),
            self._signal_is_late,
            swallows=SHOWING,
        )
        self.interrupts = Interrupts(
            endpoints.page,
            limits=(self.limit, self.saving_limit),
            waits=WAITS,
            user_signals=self.user_signals,
        )
        limit = OutputLimit(engine.max_output_bytes, engine.max_output_lines)
        self.output = Output(
            self.outbox, endpoints.pipes, limit, self.interrupts, is_terminal=engine.is_terminal
        )

    def _make_exchanges(self) -> None:
        """What user code can ask of the session, or show it."""
        engine, listen = self.settings.engine, self.receiver.read_in_io_thread
        self.input = InputBroker(
            self.outbox.send, self.flush_output, listen=listen, timeout_s=self.settings.input_timeout_s
        )
        self.steps = StepBroker(self.outbox.send, listen=listen, max_value_bytes=engine.max_value_bytes)
        self.publisher = Publisher(self.outbox, self.flush_output, engine)
        self.publisher.safe_point = self.interrupts.safe_point

    def _make_jobs(self) -> None:
        self.cells = CellJobs(
            self.executor,
            CellRunner(self.executor, self.handover, self.interrupts, self.context),
            self.interrupts,
            self.limit,
            self.context,
            send=self.outbox.send,
            output=self.output,
            publisher=self.publisher,
            broker=self.input,
            steps=self.steps,
        )
        self.checkpoints = CheckpointJobs(
            self.executor, self.outbox, self.interrupts, self.saving_limit, self.loop
        )

    def _make_watch(self) -> None:
        self.cell_watch = CellWatch(
            self.handover,
            self.receiver,
            self.settings.engine.takeover_after_s,
            is_asking=lambda: self.input.is_asking() or self.steps.is_asking(),
            wake=self.wake_io,
        )
