"""The worker's main thread: takes jobs one after another, and waits in the event loop between them."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import deque
from collections.abc import Coroutine
from threading import Lock, get_ident
from typing import Any

from ..errors import FrameTooLarge, NotPlainData, ProtocolError
from ..protocol.framing import FrameReader
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
    ToWorker,
)
from .install import install, start
from .interrupt_target import Target
from .io_thread import describe_fault
from .parts import Endpoints, Parts
from .replies import busy, failure, shortened, withdrawn
from .text_stream import flush_streams

__all__ = ["SubprocessWorker"]

TASKS_GRACE_S = 0.5
"""At the end of the worker: for background tasks to clean up."""

CellReply = ResultMessage | ErrorMessage
Reply = CellReply | CheckpointedMessage | RestoredMessage


class SubprocessWorker:
    """One session's process. Made and served in the main thread; ``serve`` returns at the end."""

    def __init__(
        self, endpoints: Endpoints, settings: ConfigureMessage, reader: FrameReader[ToWorker]
    ) -> None:
        self.parts = parts = Parts(
            endpoints,
            settings,
            reader,
            handle=self.handle,
            on_end=self._transport_ended,
            survives=SubprocessWorker._wait_for_loop,
        )
        self.loop, self.handover, self.receiver = parts.loop, parts.handover, parts.receiver
        self.outbox, self.interrupts, self.cells = parts.outbox, parts.interrupts, parts.cells
        self._inbox: deque[Job | ShutdownMessage] = deque()
        self._current: Job | None = None
        self._behind: Job | None = None
        """Was sent while ``_current`` runs, and is next."""
        self._turns = Lock()
        """Held to see who is current, and to change that."""
        self._page = endpoints.page
        self._waits_for_loop = False
        self._main_thread = get_ident()
        self._sock_fd = endpoints.sock.fileno()

    def __repr__(self) -> str:
        running, behind = (job and job.execution_id for job in (self._current, self._behind))
        return f"<SubprocessWorker running={running} behind={behind} {self.handover!r}>"

    # Whichever thread reads

    def handle(self, item: ToWorker | ProtocolError) -> None:
        """Take one message, in the thread that read it."""
        if isinstance(item, ProtocolError):
            self.outbox.send(FaultMessage(reason=describe_fault(item)))
        elif isinstance(item, Job):
            self._accept(item)
        elif isinstance(item, InputResponseMessage):
            if not self.parts.input.answer(item):
                self.outbox.send(FaultMessage(reason=f"nobody waits for an answer to input {item.input_id}"))
        elif isinstance(item, StepReplyMessage):
            self.parts.steps.answer(item)
        elif isinstance(item, ShutdownMessage):
            self._enqueue(item)
        else:
            self.outbox.send(FaultMessage(reason="UnexpectedMessage: a worker is configured only once"))

    def _accept(self, message: Job) -> None:
        """The Busy guard: one execution at a time, and one that was sent to come after it."""
        with self._turns:
            current = self._current
            begins = current is None and self._page.begin(message.number)
            waits = current is not None and self._behind is None and _comes_after(message, current)
            if begins:
                self._current = message
            elif waits:
                self._behind = message
        if begins:
            if self._waits_for_loop:
                self._aim_at_waiting(message)
            self._enqueue(message)
        elif current is None:
            self.outbox.send(withdrawn(message))
        elif not waits:
            self.outbox.send(busy(message, current))

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
        install(self.parts)
        self.outbox.send(
            ReadyMessage(
                protocol_version=PROTOCOL_VERSION,
                python_version=".".join(map(str, sys.version_info[:3])),
                pid=os.getpid(),
            )
        )
        start(self.parts)
        while isinstance(job := self._next(), Job):
            self._serve(job)
            if self._inbox and self.handover.try_home():
                # Cells that come back to back leave background tasks no other turn.
                self.loop.stop()
                self.handover.run_at_home()
        self._close()

    def _close(self) -> None:
        """End as ``asyncio.run`` does: tasks cancelled and waited for, then the loop closed."""
        self.parts.input.close()
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self._complete(asyncio.wait(tasks, timeout=TASKS_GRACE_S))
        self._complete(self.loop.shutdown_asyncgens())
        self.loop.close()
        self.parts.flush_output()

    def _complete(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """As ``run_until_complete``; a stop of the loop, of a message or of user code, does not end it."""
        task = self.loop.create_task(coroutine)
        task.add_done_callback(lambda _: self.loop.stop())
        while not task.done():
            self.handover.run_at_home()

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
            self._finish(job, failure(job, error, max_chars=self.parts.settings.engine.max_error_chars))
        except BaseException as error:  # noqa: BLE001 - raised by a signal handler of the user's
            self.parts.loop_errors.left_loop(error)
        finally:
            self._waits_for_loop = False

    def _aim_at_waiting(self, job: Job) -> None:
        self.interrupts.aim(Target(job.number, frozenset(), in_loop=False))

    def _serve(self, job: Job) -> None:
        """Do one job and send its reply."""
        self.parts.cell_watch.cell_begins()
        reply: Reply
        buffers: list[Any] = []
        try:
            if isinstance(job, ExecuteMessage):
                reply, buffers = self.cells.do(job)
            else:
                reply = self.parts.checkpoints.do(job)
        except BaseException as error:  # noqa: BLE001 - of the user's objects, or of a module that a cell changed
            reply = failure(job, error, max_chars=self.parts.settings.engine.max_error_chars)
        self._finish(job, reply, buffers)

    def _finish(self, job: Job, reply: Reply, buffers: list[Any] | None = None) -> None:
        """All output of the job, then its one reply, then ready for the next."""
        self.interrupts.aim(None)
        try:
            flush_streams()
        except BaseException:  # noqa: BLE001, S110 - a stream of the cell's own; it is late for an exit
            pass
        self.parts.output.drain()
        if isinstance(reply, CellReply):
            reply.notes = [*reply.notes, *self.cells.end()]
        behind, begins = self._take_next()
        self.parts.cell_watch.cell_ends()
        try:
            self.outbox.send(reply, buffers or None)
        except (FrameTooLarge, NotPlainData) as error:
            assert isinstance(reply, CellReply)
            self.outbox.send(shortened(reply, str(error)))
        if behind is not None and begins:
            self._inbox.appendleft(behind)
            self.outbox.wait_for_room(0)  # the next one may let no other thread run: nothing could leave then
        elif behind is not None:
            self.outbox.send(withdrawn(behind))

    def _take_next(self) -> tuple[Job | None, bool]:
        """The current execution has ended: what was sent to come after it, and whether that may begin."""
        with self._turns:
            behind, self._behind = self._behind, None
            begins = behind is not None and self._page.begin(behind.number)
            self._current = behind if begins else None
            return behind, begins


def _comes_after(message: Job, current: Job) -> bool:
    return isinstance(message, ExecuteMessage) and message.after == current.number
