"""Keeps a session supplied with a worker: starts it, replaces it, and says what its end means."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from ..config import SessionConfig
from ..errors import (
    CheckpointError,
    ProtocolError,
    SessionBroken,
    SessionClosed,
    StateroomError,
    WorkerDied,
    WorkerStartError,
)
from ..logs import get_logger
from ..protocol.lifecycle import ExecutionEvent, SessionEvent, SessionState
from ..protocol.messages import OutputMessage
from .background_tasks import BackgroundTasks
from .checkpoint_job import CheckpointJob
from .checkpoint_keeper import CheckpointKeeper, outlook
from .execution import Execution, error_info, stopped_error
from .launcher import ExitReport, Launcher, WorkerProcess
from .link import WorkerLink
from .router import Router, Work
from .schedule import Schedule

__all__ = ["Supervisor"]

log = get_logger("stateroom.session")


class Supervisor:
    """Owns the link to the worker that there is. A restart makes a new link."""

    def __init__(
        self,
        config: SessionConfig,
        launcher: Launcher,
        router: Router,
        schedule: Schedule,
        keeper: CheckpointKeeper,
        *,
        on_gone: Callable[[], None],
        on_lost: Callable[[ExitReport], object],
        see_through: Callable[[CheckpointJob], Coroutine[Any, Any, None]],
        background: BackgroundTasks,
    ) -> None:
        self.link: WorkerLink | None = None
        self.restarts = 0
        self.replaced_in_a_row = 0
        """Workers lost and replaced without a cell that ended."""
        self.last_exit: ExitReport | None = None
        self._config = config
        self._launcher = launcher
        self._router = router
        self._schedule = schedule
        self._keeper = keeper
        self._on_gone = on_gone
        self._on_lost = on_lost
        self._see_through = see_through
        self._background = background
        self._violation: ProtocolError | None = None
        self._starting = asyncio.Lock()
        self._endings = BackgroundTasks()

    def __repr__(self) -> str:
        return f"<Supervisor {self.link!r} restarts={self.restarts} last_exit={self.last_exit!r}>"

    @property
    def is_ready(self) -> bool:
        """Whether there is a worker that can be given something to do."""
        return self.link is not None and self.link.is_ready and not self.link.is_gone

    async def start(self, reason: str | None, *, is_first: bool = False) -> None:
        """Start a worker; with a ``reason``, its namespace is the last checkpoint's, if there is one.

        The first one is not used without it: raises :class:`CheckpointError` if nothing of it comes back.
        """
        await self._bring_up()
        is_new = self._keeper.last is None and not self.restarts
        recovering = self._keeper.recover(reason) if reason is not None and not is_new else None
        if recovering is not None:
            self._schedule.is_opening = is_first
            self._schedule.put_first(recovering)  # before any cell that waits
        self._schedule.advance(SessionEvent.READY)
        self._schedule.send_next()
        if recovering is not None:
            see_through = self._see_opened if is_first else self._see_through
            refusal = await self._background.finish(see_through(recovering))
            if refusal is not None:
                raise refusal

    async def _see_opened(self, recovery: CheckpointJob) -> CheckpointError | None:
        """Let cells begin when the state is there; if nothing of it came, why the session is not opened."""
        try:
            await self._see_through(recovery)
            is_failed = recovery.done.exception() is not None
            # Else it is begun anew, or closed.
            is_ours = self._schedule.state in (SessionState.IDLE, SessionState.BROKEN)
            return await self._refuse(recovery) if is_failed and is_ours else None
        finally:
            self._schedule.opened()

    async def _refuse(self, recovery: CheckpointJob) -> CheckpointError:
        what = "the saved state did not come back"
        self._schedule.open_failed(SessionBroken(f"{what}; call restart() to go on without it"))
        await self.end(grace_s=0)
        self._schedule.broken_by = what
        return await self._keeper.refusal(recovery)

    async def _bring_up(self) -> None:
        """Make a worker and wait until it is ready; if that fails, it is ended, and nothing is left of it."""
        async with self._starting:
            self._violation = None
            try:
                await self._keeper.open()
                await self._launch()
                await self._keeper.settled()
                self._check_wanted()
            except BaseException:
                try:
                    await self.end(grace_s=0)
                finally:
                    failure = SessionBroken("the worker did not start; call restart() to try again")
                    self._schedule.start_failed(failure)
                raise

    async def replace(self, reason: str | None) -> None:
        """End the worker, whatever it is doing, and start another; ``reason`` as for :meth:`start`."""
        self._begin_replacing()
        await self._finish_replacing(reason)

    async def end(self, *, grace_s: float) -> None:
        """End the worker, by force after ``grace_s``; return when none lives.

        It goes on if the caller is cancelled, and the next call waits for it: two never live at once.
        """
        link, self.link = self.link, None
        if link is not None:
            self._endings.run(link.end(grace_s=grace_s))
        if self._endings.tasks:
            await asyncio.wait(self._endings.tasks)

    async def close(self, *, grace_s: float) -> None:
        """As :meth:`end`, for a session that makes no more workers: one that is being made is ended, too."""
        await self.end(grace_s=grace_s)
        async with self._starting:
            pass

    def give_up_on(self, violation: ProtocolError) -> None:
        """The worker breaks the protocol: kill it, and hear no more of it."""
        log.error("protocol_violation", error=str(violation), kind=type(violation).__name__)
        self._violation = violation
        if self.link is not None:
            self.link.give_up()

    async def _launch(self) -> None:
        self._check_open()
        process = await self._launcher(self._config)
        self.link = link = WorkerLink(
            self._config,
            process,
            on_message=self._router.deliver,
            on_gone=lambda report: self._gone(report, process),
        )
        self._check_open()
        await link.start()

    def _check_open(self) -> None:
        if self._schedule.is_closing:
            raise SessionClosed("the session was closed while its worker was made")

    def _check_wanted(self) -> None:
        self._check_open()
        if self.link is None or self.link.is_gone:
            raise WorkerStartError(f"{self.last_exit} as soon as it was ready")

    def _begin_replacing(self) -> None:
        self._schedule.restart()
        self.restarts += 1

    async def _finish_replacing(self, reason: str | None) -> None:
        try:
            await self.end(grace_s=0)
        except asyncio.CancelledError:
            self._schedule.start_failed(SessionBroken("the restart was cancelled; call restart() again"))
            raise
        if self._schedule.state is not SessionState.RESTARTING:
            raise SessionClosed("the session was closed while it restarted")
        await self.start(reason)

    def _gone(self, report: ExitReport, process: WorkerProcess) -> None:
        """A worker has ended, expected or not: tell everybody who waits for it."""
        self.last_exit = report
        self._schedule.broken_by = str(report)
        self._on_gone()
        running, begun = self._router.release(), self._schedule.worker_lost(process.withdraw)
        if begun is not None:  # the reply of the one before it was never sent
            begun.advance(ExecutionEvent.EXECUTE)
            self._give_up(begun, report, with_last_words=True)
        if running is not None:
            self._give_up(running, report, with_last_words=begun is None)
        if self._schedule.state in (SessionState.IDLE, SessionState.BUSY):
            self._schedule.advance(SessionEvent.WORKER_LOST)
            if self._violation is None:
                log.warning("worker_lost", reason=str(report))
            self._replace_lost(report)
            self._on_lost(report)

    @property
    def _replaces_by_itself(self) -> bool:
        """Whether a worker that nobody told to end is replaced."""
        config = self._config
        is_wanted = config.auto_restart and not self._schedule.is_opening
        return is_wanted and self.replaced_in_a_row < config.max_restarts_in_a_row

    def _replace_lost(self, report: ExitReport) -> None:
        """Nobody told this worker to end."""
        if self._replaces_by_itself:
            self.replaced_in_a_row += 1
            self._begin_replacing()
            self._background.run(self._try_to_replace(str(report)))
        else:
            self._schedule.fail_queued(SessionBroken(f"{report}; call restart() for a new worker"))

    async def _try_to_replace(self, reason: str) -> None:
        try:
            await self._finish_replacing(reason)
        except StateroomError as error:
            if self._schedule.is_closing:
                return
            log.warning("automatic_restart_failed", reason=reason, error=str(error))

    def _give_up(self, work: Work, report: ExitReport, *, with_last_words: bool) -> None:
        """End an execution whose worker is gone; ``with_last_words`` of that worker, which are its own."""
        if with_last_words and isinstance(work, Execution):
            for stream, text in report.last_words.items():
                if text:
                    message = OutputMessage(stream=stream, execution_id=work.execution_id, data=text)
                    work.take_output(message)
        error = error_info(self._violation or WorkerDied(self._end_of(work, report)))
        if work.hard_stopped and isinstance(work, Execution):
            error = stopped_error(work, f"{report}; {outlook(self._keeper)}")
        elif self._violation is None:
            error.exit_status, error.signal = report.exit_status, report.signal
        work.give_up(ExecutionEvent.WORKER_LOST, error, cancelled=work.hard_stopped)

    def _end_of(self, work: Work, report: ExitReport) -> str:
        """How it ended, and what becomes of the namespace, as far as that is known."""
        end = f"{report} while {work.execution_id} ran"
        goes_on = self._schedule.state in (SessionState.IDLE, SessionState.BUSY) and self._replaces_by_itself
        return f"{end}; {outlook(self._keeper)}" if goes_on and isinstance(work, Execution) else end
