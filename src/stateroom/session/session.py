"""A session: one worker process, and the cells that run in it one after another."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

import msgspec

from ..config import SessionConfig
from ..errors import SessionClosed
from ..protocol.lifecycle import ExecutionState, SessionEvent, SessionState
from ..protocol.messages import ExecuteMessage, RestoredMessage, ToSession
from .background_tasks import BackgroundTasks
from .cancel_desk import CancelDesk
from .cancellation import CancelOutcome
from .checkpoint import Checkpoint, Recovery
from .checkpoint_desk import CheckpointDesk
from .checkpoint_keeper import CheckpointKeeper
from .control_messages import ControlMessages, StepCallback
from .execution import DisplayCallback, Execution, ExecutionResult, OutputCallback, call_back
from .info import SessionInfo, figures_of
from .inputs import InputCallback, InputDesk
from .interceptors import Interceptor, Interceptors
from .launcher import ExitReport, Launcher
from .pace import Pace
from .process import spawn
from .router import Router, Work
from .schedule import Schedule
from .settings import load_config
from .stream import MessageStream
from .supervisor import Supervisor

__all__ = ["Session"]


class Session:
    """Runs cells in a worker process of its own, from the event loop that starts it.

    Use as ``async with Session() as session:``, or ``await start()`` and ``await close()``. Settings
    are the fields of :class:`~stateroom.config.SessionConfig` and, for the engine, of
    :class:`~stateroom.config.EngineConfig`, as keywords; or a whole ``config``.
    """

    def __init__(
        self, config: SessionConfig | None = None, *, launcher: Launcher = spawn, **settings: Any
    ) -> None:
        self.config = load_config(config, settings)
        """The settings that are in force."""
        self.on_worker_lost: Callable[[ExitReport], object] = _ignore
        """Called when the worker has ended without having been told to."""
        self.on_late_output: OutputCallback = _ignore
        """Called with output of executions that have ended, and of none."""
        self.on_late_display: DisplayCallback = _ignore
        """The same for displays, their clearing, and progress."""
        self.attachments: dict[str, Callable[[], dict[str, Any]]] = {}
        """What shows its figures in :attr:`info`, by name."""
        self._interceptors = Interceptors(
            budget_s=self.config.interceptor_budget_s,
            max_concurrency=self.config.max_routing_concurrency,
            pause=self._pause,
            resume=self._resume,
        )
        self._background = BackgroundTasks()
        self._inputs = InputDesk(self._send, self._background)
        reports = Pace()
        self._router = Router(
            self._interceptors,
            on_control=lambda message: self._control.take(message),  # noqa: PLW0108 - made below
            on_input=self._inputs.take,
            on_finished=self._finished,
            # Looked up at each call: the user may replace them.
            on_late_output=lambda message: call_back(self.on_late_output, message, reports),
            on_late_display=lambda message: call_back(self.on_late_display, message, reports),
            on_violation=lambda error: self._supervisor.give_up_on(error),  # noqa: PLW0108 - made below
        )
        # A checkpoint that is due after a cell comes before the next one.
        may_send_ahead = not self.config.has_automatic_checkpoints
        self._schedule = Schedule(self._router, self._send, self._withdraw, may_send_ahead=may_send_ahead)
        self._numbers = itertools.count(1)
        self._keeper = CheckpointKeeper(self.config, lambda: next(self._numbers))
        self._supervisor = Supervisor(
            self.config,
            launcher,
            self._router,
            self._schedule,
            self._keeper,
            on_gone=self._inputs.forget,
            on_lost=lambda report: call_back(self.on_worker_lost, report),
            see_through=lambda recovery: self._cancels.see_through(recovery),  # noqa: PLW0108 - made below
            background=self._background,
        )
        self._control = ControlMessages(self._supervisor, self._background)
        self._cancels = CancelDesk(
            self.config, self._router, self._schedule, self._supervisor, self._background
        )
        self._checkpoints = CheckpointDesk(self._keeper, self._schedule, self._cancels, self._background)
        self._closing: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<Session {self._schedule!r} pid={self.pid}>"

    async def __aenter__(self) -> Self:
        self._schedule.start()
        try:
            await self._start()
        except BaseException:
            await self.close()
            raise
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

        A cancelled caller cancels its cell. Raises :class:`SessionClosed`, :class:`SessionBroken`, or
        TypeError for an argument of the wrong type, before anything is run.
        """
        message = self._execute_message(code, execution_id, filename, argv)
        execution = Execution(message, on_output=on_output, on_display=on_display, on_input=on_input)
        _check_timeout(timeout)
        if timeout is not None and timeout <= 0:
            self._schedule.expire(execution, timeout)
        else:
            self._schedule.submit(execution, queue=queue)
        timer = self._cancels.limit(execution, timeout) if timeout is not None else None
        try:
            result = await execution.result()
        except asyncio.CancelledError:
            self._cancels.abandon(execution)
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
        """Run a cell; yield its messages as they come.

        The last one is a :class:`ResultMessage` or an :class:`ErrorMessage`. A consumer that is slow slows
        the cell's output down; one that stops early cancels the cell. Raises as :meth:`run` does.
        """
        stream = MessageStream(self._pause, self._resume, max_outbox_bytes=self.config.max_outbox_bytes)
        message = self._execute_message(code, execution_id, None, None)
        execution = Execution(message, on_input=on_input, stream=stream)
        self._schedule.submit(execution, queue=queue)
        try:
            async for item in stream:
                yield item
        finally:
            stream.abandon()
            if not execution.done.done():
                self._cancels.abandon(execution)

    async def cancel(self, execution_id: str | None = None, *, hard_stop: bool = False) -> CancelOutcome:
        """Cancel the running cell, or the one named, which may wait in the queue.

        While the session is busy with itself (a restart, a recovery, an automatic checkpoint), the cell
        that waits longest counts as the running one; if none waits, the recovery or the checkpoint does.
        Returns when the cell has ended, or after ``cancel_grace_s``: a cell that swallowed the request
        is IGNORED, and a second ``cancel`` insists. With ``hard_stop``, what does not end by that is
        killed with its worker; another one is started and the last checkpoint restored. Never raises
        for a cell that is unknown or has ended: that is NOTHING_RUNNING.
        """
        return await self._cancels.cancel(execution_id, hard_stop=hard_stop)

    def input_response(self, input_id: str, text: str | None) -> None:
        """Answer an input request by its id; None is the end of the file.

        Raises :class:`InputRefused` if that request is not open.
        """
        self._inputs.respond(input_id, text)

    @property
    def on_step(self) -> StepCallback | None:
        """Asked what is recorded of a cell's step, and to record it; without it nothing is recorded."""
        return self._control.on_step

    @on_step.setter
    def on_step(self, callback: StepCallback | None) -> None:
        self._control.on_step = callback

    @property
    def state(self) -> str:
        """What ``info.state`` says, without the cost of the rest."""
        return self._schedule.state.value

    @property
    def pid(self) -> int | None:
        """The worker's process id, while there is one."""
        link = self._supervisor.link
        return link.pid if link is not None and not link.is_gone else None

    @property
    def info(self) -> SessionInfo:
        """State, counters and figures, read now. Never raises."""
        link, running = self._supervisor.link, self._router.running
        last_exit = self._supervisor.last_exit
        memory_bytes, cpu_s = figures_of(self.pid)
        return SessionInfo(
            state=self.state,
            pid=self.pid,
            python_version=link.python_version if link is not None else None,
            running=running.execution_id if running is not None else None,
            queued=len(self._schedule.queued),
            executions=self._router.executions,
            messages=self._router.messages,
            restarts=self._supervisor.restarts,
            heartbeat_age_s=link.heartbeat_age_s if link is not None else None,
            memory_bytes=memory_bytes,
            cpu_s=cpu_s,
            cells_since_checkpoint=self._keeper.cells_since,
            interceptors=self._interceptors.figures(),
            cancels=msgspec.structs.replace(self._cancels.canceller.counters),
            telemetry=dict(link.telemetry) if link is not None else {},
            last_exit=str(last_exit) if last_exit is not None else None,
            attachments={name: figures() for name, figures in self.attachments.items()},
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

        A caller that is cancelled ends it, and what was written is dropped. The worker is never killed for
        that: an object whose saving cannot be interrupted holds the next cell up until it is saved.
        Raises :class:`CheckpointError`, :class:`SessionClosed` or :class:`SessionBroken`.
        """
        return await self._checkpoints.make()

    async def restore(
        self, saved: Checkpoint, *, clear_existing: bool = True, allow_other_python: bool = False
    ) -> RestoredMessage:
        """Bring a saved namespace back, into the same dict; the report says what came back and what not.

        With ``clear_existing`` the user's other names go. A checkpoint of another Python minor version is
        refused unless ``allow_other_python``. Raises :class:`CheckpointError`; the namespace is then as
        it was. A caller that is cancelled ends it in the same way as a checkpoint; one that cannot be
        interrupted still comes to its end.
        """
        return await self._checkpoints.restore(
            saved, clear_existing=clear_existing, allow_other_python=allow_other_python
        )

    @property
    def recovery(self) -> Recovery | None:
        """What the newest worker got back of its predecessor's state; None if it has none."""
        return self._keeper.recovery

    # Life

    async def start(self) -> None:
        """Start the worker and wait until it is ready.

        Raises :class:`WorkerStartError` (with the tail of the worker's stderr), or
        :class:`VersionMismatch`, within ``start_timeout_s``; the session can then be restarted. With a
        ``store``, what was saved under the session's name comes back after that, or does not within
        ``restore_timeout_s`` (:attr:`recovery` tells). Raises :class:`CheckpointError` if another process
        has that name open, or the file is damaged; :class:`Busy` if it was started before.
        """
        self._schedule.start()
        await self._start()

    async def _start(self) -> None:
        await self._supervisor.start("the session was opened" if self.config.store is not None else None)

    async def restart(self, *, restore: bool = True) -> None:
        """End the worker, whatever it is doing, and start another one.

        The running cell fails; cells that wait in the queue go to the new worker. The namespace comes
        back from the last checkpoint, if there is one and ``restore`` is left on; :attr:`recovery` tells.
        Raises :class:`Busy` while the session starts or restarts already, and as :meth:`start` does.
        """
        await self._supervisor.replace("restart() was called" if restore else None)

    async def close(self) -> None:
        """End the worker: what runs is cancelled, ``atexit`` handlers run, after the grace it is killed.

        With a ``store``, the namespace is saved first. Safe to call twice, and in any state.
        """
        if self._closing is None:
            self._schedule.advance(SessionEvent.CLOSE)
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)  # a caller that is cancelled leaves it going on

    async def _close(self) -> None:
        schedule, grace_s = self._schedule, self.config.close_grace_s
        closed = SessionClosed("the session was closed before this cell began")
        schedule.fail_queued(closed)
        try:
            while (running := self._router.running) is not None:
                await self._cancels.canceller.ask(running, grace_s=grace_s)
                if self._router.running is running:
                    break  # it does not end; else another one had begun
            if self.config.store is not None and self._router.running is None and self._supervisor.is_ready:
                await self._checkpoints.make_last()
        finally:
            await self._supervisor.close(grace_s=grace_s)
            schedule.fail_queued(closed)
            await self._interceptors.settle(grace_s)
            await self._keeper.close()
            schedule.advance(SessionEvent.CLOSED)

    # Executions

    def _execute_message(
        self, code: str, execution_id: str | None, filename: str | None, argv: list[str] | None
    ) -> ExecuteMessage:
        if not isinstance(code, str):
            raise TypeError(f"code is a {type(code).__name__}: give a string")
        for what, text in (("execution_id", execution_id), ("filename", filename)):
            if text is not None and not isinstance(text, str):
                raise TypeError(f"{what} is a {type(text).__name__}: give a string")
        if argv is not None and not all(isinstance(word, str) for word in argv):
            raise TypeError("argv: give a list of strings")
        number = next(self._numbers)
        name = execution_id if execution_id is not None else f"e{number}"
        return ExecuteMessage(execution_id=name, number=number, code=code, filename=filename, argv=argv)

    def _finished(self, work: Work) -> None:
        if isinstance(work, Execution):
            if work.state is ExecutionState.CANCELLED:
                self._inputs.refuse_all(work)
            self._supervisor.replaced_in_a_row = 0
            self._keeper.cells_since += 1
        self._schedule.done()
        if isinstance(work, Execution) and self._schedule.state is SessionState.IDLE:
            self._checkpoints.make_if_due()
        self._schedule.send_next()

    # Small things

    def _send(self, message: Any) -> None:
        if self._supervisor.link is not None:
            self._supervisor.link.send(message)

    def _withdraw(self, number: int) -> bool:
        return self._supervisor.link is not None and self._supervisor.link.withdraw(number)

    def _pause(self, holder: object) -> None:
        if self._supervisor.link is not None:
            self._supervisor.link.pause(holder)

    def _resume(self, holder: object) -> None:
        if self._supervisor.link is not None:
            self._supervisor.link.resume(holder)


def _check_timeout(timeout_s: Any) -> None:
    if timeout_s is not None and (not isinstance(timeout_s, int | float) or math.isnan(timeout_s)):
        raise TypeError(f"timeout={timeout_s!r}: give seconds, as a number")


def _ignore(_what: object) -> None:
    pass
