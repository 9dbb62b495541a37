"""A session: one worker process, and the cells that run in it one after another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Self

import msgspec

from ..config import SessionConfig
from ..errors import NoRunningLoop
from ..protocol.lifecycle import SessionEvent
from ..protocol.messages import ExecuteMessage, RestoredMessage, ToSession
from .arguments import check_argv, check_encodable, check_launcher, check_text, check_timeout
from .callbacks import call_back
from .cancellation import CancelOutcome
from .checkpoint import Checkpoint, Recovery
from .control_messages import StepCallback
from .execution import DisplayCallback, Execution, ExecutionResult, OutputCallback
from .info import SessionInfo, figures_of, figures_or_error
from .inputs import InputCallback
from .interceptors import Interceptor
from .launcher import ExitReport, Launcher
from .pace import Pace
from .parts import Parts
from .process import spawn
from .settings import load_config
from .shielded import Closing
from .stream import MessageStream

__all__ = ["Session"]


class Session:
    """Runs cells in a worker process of its own, from the event loop that starts it.

    Use as ``async with Session() as session:``, or ``await start()`` and ``await close()``; what is awaited
    in another event loop raises :class:`NoRunningLoop`. Settings are the fields of
    :class:`~stateroom.config.SessionConfig` and, for the engine, of
    :class:`~stateroom.config.EngineConfig`, as keywords; or a whole ``config``.
    """

    def __init__(
        self, config: SessionConfig | None = None, *, launcher: Launcher = spawn, **settings: Any
    ) -> None:
        check_launcher(launcher)
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
        reports = Pace()
        self._parts = Parts(
            self.config,
            launcher,
            # Looked up at each call: the user may replace them.
            on_lost=lambda report: call_back(self.on_worker_lost, report),
            on_late_output=lambda message: call_back(self.on_late_output, message, reports),
            on_late_display=lambda message: call_back(self.on_late_display, message, reports),
        )
        self._closing = Closing()
        self._loop: asyncio.AbstractEventLoop | None = None
        """The one that has started it, and that alone can use it."""

    def __repr__(self) -> str:
        return f"<Session {self._parts.schedule!r} pid={self.pid}>"

    async def __aenter__(self) -> Self:
        self._parts.schedule.start()
        self._loop = asyncio.get_running_loop()
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

        A cancelled caller cancels its cell. Raises :class:`SessionClosed`, :class:`SessionBroken`,
        TypeError for an argument of the wrong type or ValueError for an id that cannot be sent, before
        anything is run.
        """
        self._check_loop()
        message = self._execute_message(code, execution_id, filename, argv)
        execution = Execution(
            message,
            on_output=on_output,
            on_display=on_display,
            on_input=on_input,
            max_repr_chars=self.config.engine.max_repr_chars,
        )
        check_timeout(timeout)
        if timeout is not None and timeout <= 0:
            self._parts.schedule.expire(execution, timeout)
        else:
            self._parts.schedule.submit(execution, queue=queue)
        timer = self._parts.cancels.limit(execution, timeout) if timeout is not None else None
        try:
            result = await execution.result()
        except asyncio.CancelledError:
            self._parts.cancels.abandon(execution)
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
        self._check_loop()
        stream = MessageStream(
            self._parts.pause, self._parts.resume, max_outbox_bytes=self.config.max_outbox_bytes
        )
        message = self._execute_message(code, execution_id, None, None)
        execution = Execution(message, on_input=on_input, stream=stream)
        self._parts.schedule.submit(execution, queue=queue)
        try:
            async for item in stream:
                yield item
        finally:
            stream.abandon()
            if not execution.done.done():
                self._parts.cancels.abandon(execution)

    async def cancel(self, execution_id: str | None = None, *, hard_stop: bool = False) -> CancelOutcome:
        """Cancel the running cell, or the one named, which may wait in the queue.

        While the session is busy with itself (a restart, a recovery, an automatic checkpoint), the cell
        that waits longest counts as the running one; if none waits, only a ``hard_stop`` ends the recovery
        or the checkpoint.
        Returns when the cell has ended, or after ``cancel_grace_s``: a cell that swallowed the request
        is IGNORED, and a second ``cancel`` insists. With ``hard_stop``, what does not end by that is
        killed with its worker; another one is started and the last checkpoint restored. Never raises
        for a cell that is unknown or has ended: that is NOTHING_RUNNING.
        """
        self._check_loop()
        return await self._parts.cancels.cancel(execution_id, hard_stop=hard_stop)

    def input_response(self, input_id: str, text: str | None) -> None:
        """Answer an input request by its id; None is the end of the file.

        Raises :class:`InputRefused` if that request is not open, TypeError for what is no text.
        """
        self._parts.inputs.respond(input_id, text)

    @property
    def on_step(self) -> StepCallback | None:
        """Asked what is recorded of a cell's step, and to record it; without it nothing is recorded."""
        return self._parts.control.on_step

    @on_step.setter
    def on_step(self, callback: StepCallback | None) -> None:
        self._parts.control.on_step = callback

    @property
    def state(self) -> str:
        """What ``info.state`` says, without the cost of the rest."""
        return self._parts.schedule.state.value

    @property
    def pid(self) -> int | None:
        """The worker's process id, while there is one."""
        link = self._parts.supervisor.link
        return link.pid if link is not None and not link.is_gone else None

    @property
    def info(self) -> SessionInfo:
        """State, counters and figures, read now. Never raises."""
        parts = self._parts
        link, running = parts.supervisor.link, parts.router.running
        last_exit = parts.supervisor.last_exit
        memory_bytes, cpu_s = figures_of(self.pid)
        return SessionInfo(
            state=self.state,
            pid=self.pid,
            python_version=link.python_version if link is not None else None,
            running=running.execution_id if running is not None else None,
            queued=len(parts.schedule.queued),
            executions=parts.router.executions,
            messages=parts.router.messages,
            restarts=parts.supervisor.restarts,
            heartbeat_age_s=link.heartbeat_age_s if link is not None else None,
            memory_bytes=memory_bytes,
            cpu_s=cpu_s,
            cells_since_checkpoint=parts.keeper.cells_since,
            interceptors=parts.interceptors.figures(),
            cancels=msgspec.structs.replace(parts.cancels.canceller.counters),
            telemetry=dict(link.telemetry) if link is not None else {},
            last_exit=str(last_exit) if last_exit is not None else None,
            attachments={name: figures_or_error(figures) for name, figures in self.attachments.items()},
        )

    def add_message_interceptor(self, interceptor: Interceptor) -> None:
        """Show each message from the worker to ``interceptor`` before it goes anywhere, in order.

        A plain function should be done within ``interceptor_budget_s``; a coroutine function runs as a
        task, at most ``max_routing_concurrency`` of them at a time. What it raises is logged. Raises
        TypeError for what cannot be called.
        """
        if not callable(interceptor):
            raise TypeError(f"interceptor={interceptor!r}: give a function")
        self._parts.interceptors.add(interceptor)

    def remove_message_interceptor(self, interceptor: Interceptor) -> None:
        """Undo :meth:`add_message_interceptor`; raises ValueError if there was none."""
        self._parts.interceptors.remove(interceptor)

    # State

    async def checkpoint(self) -> Checkpoint:
        """Save the namespace, when the cells before are done; what cannot be saved is listed as skipped.

        A caller that is cancelled ends it, and what was written is dropped. The worker is never killed for
        that: an object whose saving cannot be interrupted holds the next cell up until it is saved.
        Raises :class:`CheckpointError`, :class:`SessionClosed` or :class:`SessionBroken`.
        """
        self._check_loop()
        return await self._parts.checkpoints.make()

    async def restore(
        self, saved: Checkpoint, *, clear_existing: bool = True, allow_other_python: bool = False
    ) -> RestoredMessage:
        """Bring a saved namespace back, into the same dict; the report says what came back and what not.

        With ``clear_existing`` the user's other names go. A checkpoint of another Python minor version is
        refused unless ``allow_other_python``. Raises :class:`CheckpointError`; the namespace is then as
        it was. A caller that is cancelled ends it in the same way as a checkpoint; one that cannot be
        interrupted still comes to its end.
        """
        self._check_loop()
        return await self._parts.checkpoints.restore(
            saved, clear_existing=clear_existing, allow_other_python=allow_other_python
        )

    @property
    def recovery(self) -> Recovery | None:
        """What the newest worker got back of its predecessor's state; None if it has none."""
        return self._parts.keeper.recovery

    # Life

    async def start(self) -> None:
        """Start the worker and wait until it is ready.

        Raises :class:`WorkerStartError` (with the tail of the worker's stderr), or
        :class:`VersionMismatch`, within ``start_timeout_s``; the session can then be restarted. With a
        ``store``, what was saved under the session's name comes back after that (:attr:`recovery` tells).
        Raises :class:`CheckpointError` if nothing of it does within ``restore_timeout_s``, another process
        has that name open, the file is damaged or the store cannot be used; :class:`Busy` if it was started
        before.
        """
        self._parts.schedule.start()
        self._loop = asyncio.get_running_loop()
        await self._start()

    async def _start(self) -> None:
        reason = "the session was opened" if self.config.store is not None else None
        await self._parts.supervisor.start(reason, is_first=True)

    async def restart(self, *, restore: bool = True) -> None:
        """End the worker, whatever it is doing, and start another one.

        The running cell fails; cells that wait in the queue go to the new worker. The namespace comes
        back from the last checkpoint, if there is one and ``restore`` is left on; :attr:`recovery` tells,
        also if nothing did. Raises :class:`Busy` while the session starts or restarts already, else as
        :meth:`start` does.
        """
        self._check_loop()
        await self._parts.supervisor.replace("restart() was called" if restore else None)

    async def close(self) -> None:
        """End the worker: what runs is cancelled, ``atexit`` handlers run, after the grace it is killed.

        With a ``store``, the namespace is saved first. Safe to call twice, and in any state.
        """
        self._check_loop()
        await self._closing.run(self._begin_closing)

    def _check_loop(self) -> None:
        """What is called in another loop would wait there for what happens in this one, for ever."""
        if self._loop is not None and asyncio.get_running_loop() is not self._loop:
            raise NoRunningLoop(
                f"{self!r} was called in another event loop than the one that has started it, which alone "
                "can use it: start it where it is used, or take a BlockingSession"
            )

    def _begin_closing(self) -> Coroutine[Any, Any, None]:
        self._parts.schedule.advance(SessionEvent.CLOSE)  # at once: nothing new is taken on from here on
        return self._parts.close()

    def _execute_message(
        self, code: str, execution_id: str | None, filename: str | None, argv: list[str] | None
    ) -> ExecuteMessage:
        check_text("code", code)
        for what, text in (("execution_id", execution_id), ("filename", filename)):
            if text is not None:
                check_text(what, text)
        check_argv(argv)
        if execution_id is not None:
            check_encodable(execution_id)
        number = next(self._parts.numbers)
        name = execution_id if execution_id is not None else f"e{number}"
        return ExecuteMessage(execution_id=name, number=number, code=code, filename=filename, argv=argv)


def _ignore(_what: object) -> None:
    pass
