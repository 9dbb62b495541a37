"""What a session is made of, each part given the others that it needs; :class:`Session` is their face."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from ..config import SessionConfig
from ..errors import SessionClosed
from ..protocol.lifecycle import ExecutionState, SessionEvent, SessionState
from .background_tasks import BackgroundTasks
from .cancel_desk import CancelDesk
from .checkpoint_desk import CheckpointDesk
from .checkpoint_keeper import CheckpointKeeper
from .control_messages import ControlMessages
from .execution import DisplayCallback, Execution, OutputCallback
from .inputs import InputDesk
from .interceptors import Interceptors
from .launcher import ExitReport, Launcher
from .router import Router, Work
from .schedule import Schedule
from .supervisor import Supervisor

__all__ = ["Parts"]


class Parts:
    """Made before there is an event loop; nothing is begun."""

    def __init__(
        self,
        config: SessionConfig,
        launcher: Launcher,
        *,
        on_lost: Callable[[ExitReport], object],
        on_late_output: OutputCallback,
        on_late_display: DisplayCallback,
    ) -> None:
        self.config = config
        self.numbers = itertools.count(1)
        """Of executions and checkpoints: the cancel page names them by these."""
        self.background = BackgroundTasks()
        self.inputs = InputDesk(self.send, self.background)
        self._make_way(on_late_output, on_late_display)
        self._make_supply(launcher, on_lost)
        self._make_desks()

    def __repr__(self) -> str:
        return f"<Parts {self.schedule!r} {self.supervisor!r}>"

    # To the worker that there is

    def send(self, message: Any) -> None:
        """Send a message; dropped if there is no worker."""
        if self.supervisor.link is not None:
            self.supervisor.link.send(message)

    def withdraw(self, number: int, behind: int) -> bool:
        """Take back execution ``number``; False if it has begun, or ``behind``, which was sent after it."""
        return self.supervisor.link is not None and self.supervisor.link.withdraw(number, behind)

    def pause(self, holder: object) -> None:
        """Stop reading what the worker sends until ``holder`` resumes."""
        if self.supervisor.link is not None:
            self.supervisor.link.pause(holder)

    def resume(self, holder: object) -> None:
        """Read again, if nobody else has paused."""
        if self.supervisor.link is not None:
            self.supervisor.link.resume(holder)

    async def close(self) -> None:
        """End what runs, save the state if there is a store, and give everything back."""
        schedule, supervisor, grace_s = self.schedule, self.supervisor, self.config.close_grace_s
        closed = SessionClosed("the session was closed before this cell began")
        schedule.fail_queued(closed)
        try:
            while (running := self.router.running) is not None:
                await self.cancels.canceller.ask(running, grace_s=grace_s)
                if self.router.running is running:
                    break  # it does not end; else another one had begun
            if self.config.store is not None and self.router.running is None and supervisor.is_ready:
                await self.checkpoints.make_last()
        finally:
            await supervisor.close(grace_s=grace_s)
            schedule.fail_queued(closed)
            await self.interceptors.settle(grace_s)
            await self.keeper.close()
            schedule.advance(SessionEvent.CLOSED)

    # What is made below another part is looked up when it is called: hence the lambdas.

    def _make_way(self, on_late_output: OutputCallback, on_late_display: DisplayCallback) -> None:
        """What becomes of a message, and whose turn is next."""
        self.interceptors = Interceptors(
            budget_s=self.config.interceptor_budget_s,
            max_concurrency=self.config.max_routing_concurrency,
            pause=self.pause,
            resume=self.resume,
        )
        self.router = Router(
            self.interceptors,
            on_control=lambda message: self.control.take(message),  # noqa: PLW0108
            on_input=self.inputs.take,
            on_finished=self._finished,
            on_late_output=on_late_output,
            on_late_display=on_late_display,
            on_violation=lambda error: self.supervisor.give_up_on(error),  # noqa: PLW0108
        )
        # A checkpoint that is due after a cell comes before the next one.
        may_send_ahead = not self.config.has_automatic_checkpoints
        self.schedule = Schedule(self.router, self.send, self.withdraw, may_send_ahead=may_send_ahead)

    def _make_supply(self, launcher: Launcher, on_lost: Callable[[ExitReport], object]) -> None:
        """Where workers come from, and the state that they get."""
        self.keeper = CheckpointKeeper(self.config, lambda: next(self.numbers))
        self.supervisor = Supervisor(
            self.config,
            launcher,
            self.router,
            self.schedule,
            self.keeper,
            on_gone=self.inputs.forget,
            on_lost=on_lost,
            see_through=lambda recovery: self.cancels.see_through(recovery),  # noqa: PLW0108
            background=self.background,
        )
        self.control = ControlMessages(self.supervisor, self.background)

    def _make_desks(self) -> None:
        self.cancels = CancelDesk(self.config, self.router, self.schedule, self.supervisor, self.background)
        self.checkpoints = CheckpointDesk(self.keeper, self.schedule, self.cancels, self.background)

    def _finished(self, work: Work) -> None:
        """The worker has replied: what follows from that, and what comes next."""
        if isinstance(work, Execution):
            if work.state is ExecutionState.CANCELLED:
                self.inputs.refuse_all(work)
            self.supervisor.replaced_in_a_row = 0
            self.keeper.cells_since += 1
        self.schedule.done()
        if isinstance(work, Execution) and self.schedule.state is SessionState.IDLE:
            self.checkpoints.make_if_due()
        self.schedule.send_next()
