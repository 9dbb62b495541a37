"""What runs in a session, what waits for its turn, and the state that follows from it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from ..errors import Busy, FrameTooLarge, NotPlainData, SessionBroken, SessionClosed
from ..protocol.cancel_page import MAX_WITHDRAWN
from ..protocol.lifecycle import ExecutionEvent, SessionEvent, SessionState, advance_session
from .execution import Execution, error_info
from .router import Router, Work

__all__ = ["Schedule"]


class Schedule:
    """One piece of work at a time, in the order in which it came.

    ``send(message)`` puts a message on the transport of the worker there is. So that the worker need not wait
    for it, the next cell is sent while one runs, if ``may_send_ahead``. ``withdraw(number, behind)`` takes
    back what the worker has not begun, or is False; ``behind`` is what was sent after it, or 0.
    """

    def __init__(
        self,
        router: Router,
        send: Callable[[Any], None],
        withdraw: Callable[[int, int], bool],
        *,
        may_send_ahead: bool,
    ) -> None:
        self.state = SessionState.NEW
        self._waiting: deque[Work] = deque()
        self.ahead: Execution | None = None
        """What the worker has got already; it begins when the running cell has ended, unless withdrawn."""
        self._sent_behind = 0
        """The number of what the worker has got behind the running cell, be it withdrawn; 0 for nothing."""
        self.is_opening = False
        """The saved state is on its way to the first worker: until it is there, nothing else begins."""
        self.broken_by = "the worker did not start"
        """Why there is no worker, when there is none."""
        self._router = router
        self._send = send
        self._withdraw = withdraw
        self._may_send_ahead = may_send_ahead

    def __repr__(self) -> str:
        return f"<Schedule {self.state.name} running={self._router.running!r} queued={len(self.queued)}>"

    @property
    def queued(self) -> list[Work]:
        """What has not begun, in the order in which it will."""
        return [*([self.ahead] if self.ahead is not None else ()), *self._waiting]

    @property
    def is_closing(self) -> bool:
        """Whether ``close()`` was called: nothing new is taken on."""
        return self.state in (SessionState.CLOSING, SessionState.CLOSED)

    def advance(self, event: SessionEvent) -> None:
        """Move the session to its next state; raises :class:`UnexpectedMessage` if there is none."""
        self.state = advance_session(self.state, event)

    def start(self) -> None:
        """A first worker is about to be made. Raises :class:`Busy`, :class:`SessionClosed`."""
        if self.is_closing:
            raise SessionClosed("the session is closed; make another one")
        if self.state is not SessionState.NEW:
            raise Busy(
                f"the session was started already (it is {self.state}); restart() gives it a new worker"
            )
        self.advance(SessionEvent.START)

    def restart(self) -> None:
        """Another worker is about to be made. Raises :class:`Busy`, :class:`SessionClosed`."""
        if self.is_closing or self.state is SessionState.NEW:
            self.check_open()
        if self.state in (SessionState.STARTING, SessionState.RESTARTING):
            raise Busy(f"the session is {self.state} already; cells that are run now wait for its new worker")
        self.advance(SessionEvent.RESTART)
        self._take_back()

    def submit(self, work: Work, *, queue: bool = True) -> None:
        """Send it now, or let it wait its turn.

        Raises :class:`Busy` if it would have to wait and ``queue`` is off, :class:`SessionClosed`,
        :class:`SessionBroken`, :class:`FrameTooLarge`.
        """
        self.check_open()
        self.submit_last(work, queue=queue)

    def submit_last(self, work: Work, *, queue: bool = True) -> None:
        """As :meth:`submit`; also while the session closes, when nothing runs any more."""
        if self.state is SessionState.CLOSING or (self.state is SessionState.IDLE and not self.is_opening):
            self._begin(work)
        elif queue:
            self._waiting.append(work)
            self._send_ahead()
        else:
            running = self._router.running
            what = running.execution_id if running is not None else "a restart"
            raise Busy(f"{what} is running and queue=False was given")

    def put_first(self, work: Work) -> None:
        """Let it wait, before all that wait; :meth:`send_next` begins it. The worker has nothing."""
        assert self._router.running is None
        assert self.ahead is None
        self._waiting.appendleft(work)

    def done(self) -> None:
        """What ran has ended, or was withdrawn; what was sent ahead is the worker's next."""
        begun = self._take_ahead()
        if begun is not None:
            begun.advance(ExecutionEvent.EXECUTE)
            self._router.running = begun
            self._send_ahead()
        elif self.state is SessionState.BUSY:
            self.advance(SessionEvent.DONE)

    def worker_lost(self, withdraw: Callable[[int], bool]) -> Execution | None:
        """What was sent ahead is for the next worker; returned if this one had begun it.

        ``withdraw`` asks the worker that is gone.
        """
        self._router.withdrawn.clear()
        ahead = self._take_ahead()
        if ahead is None or not withdraw(ahead.number):
            return ahead
        self._waiting.appendleft(ahead)
        return None

    def send_next(self) -> None:
        """Begin what waits longest, if nothing runs; only the recovery while the session opens."""
        while self._waiting and self.state is SessionState.IDLE:
            if self.is_opening and not self._waiting[0].is_automatic:
                return
            work = self._waiting.popleft()
            try:
                self._begin(work)
            except (FrameTooLarge, NotPlainData) as error:
                work.give_up(ExecutionEvent.CANCEL, error_info(error))
            self._send_ahead()

    def opened(self) -> None:
        """The saved state is there, or will not come: begin what waits for it."""
        self.is_opening = False
        self.send_next()

    def open_failed(self, error: Exception) -> None:
        """The saved state will not come: nothing runs without it."""
        if self.state is SessionState.IDLE:
            self.advance(SessionEvent.WORKER_LOST)
        self.fail_queued(error)

    def find_queued(self, execution_id: str) -> Work | None:
        """The first piece of work with this id that has not begun."""
        return next((work for work in self.queued if work.execution_id == execution_id), None)

    def first_queued(self) -> Work | None:
        """The cell, or what else was asked for, that waits longest."""
        return next((work for work in self.queued if not work.is_automatic), None)

    def cancel_unbegun(self, work: Work) -> bool:
        """Take it out, so that nothing of it runs; False if it runs, or has.

        What was sent may be unbegun for long: a background task of the user's can keep the worker busy.
        """
        if work is self._router.running:
            return self._cancel_sent(work)
        if work in self._waiting:
            self._waiting.remove(work)
        elif work is not self.ahead or not self._withdraw_ahead(work):
            return False
        _end_unbegun(work)
        return True

    def expire(self, execution: Execution, timeout_s: float) -> None:
        """It has no time to begin. Raises :class:`SessionClosed`, :class:`SessionBroken`."""
        self.check_open()
        execution.timeout_s = timeout_s
        _end_unbegun(execution)

    def fail_queued(self, error: Exception) -> None:
        """Nothing that has not begun will run."""
        self._take_back()
        while self._waiting:
            self._waiting.popleft().give_up(ExecutionEvent.CANCEL, error_info(error))

    def _send_ahead(self) -> None:
        """Let the worker have the next cell while one runs."""
        running = self._router.running
        if not self._may_send_ahead or self.state is not SessionState.BUSY or self._sent_behind:
            return
        if not isinstance(running, Execution) or not self._waiting:
            return
        work = self._waiting[0]
        if isinstance(work, Execution):
            work.message.after = running.number
            try:
                self._send(work.message)
            except (FrameTooLarge, NotPlainData):
                return  # told when its turn comes
            self.ahead, self._sent_behind = work, work.number
            self._waiting.popleft()

    def _take_back(self) -> None:
        """Put what was sent ahead into the queue again, unless it has begun."""
        ahead = self.ahead
        if ahead is not None and self._withdraw_ahead(ahead):
            self._waiting.appendleft(ahead)

    def _withdraw_ahead(self, work: Work) -> bool:
        if not self._withdraw_sent(work, behind=0):
            return False
        self.ahead = None
        return True

    def _withdraw_sent(self, work: Work, *, behind: int) -> bool:
        withdrawn = self._router.withdrawn
        if len(withdrawn) >= MAX_WITHDRAWN or not self._withdraw(work.number, behind):
            return False
        withdrawn.add(work.number)
        return True

    def _cancel_sent(self, work: Work) -> bool:
        if self.state is not SessionState.BUSY or not self._withdraw_sent(work, behind=self._sent_behind):
            return False
        self._router.release()
        _end_unbegun(work)
        self.done()
        self.send_next()
        return True

    def _take_ahead(self) -> Execution | None:
        ahead, self.ahead, self._sent_behind = self.ahead, None, 0
        return ahead

    def _begin(self, work: Work) -> None:
        self._send(work.message)
        work.advance(ExecutionEvent.EXECUTE)
        self._router.running = work
        self.advance(SessionEvent.EXECUTE)

    def check_open(self) -> None:
        """Raise :class:`SessionClosed` or :class:`SessionBroken` unless the session takes work."""
        if self.state is SessionState.BROKEN:
            raise SessionBroken(f"{self.broken_by}; call restart() for a new one")
        if self.is_closing:
            raise SessionClosed("the session is closed, or about to be; make another one")
        if self.state is SessionState.NEW:
            raise SessionClosed("the session was not started; use 'async with' or start()")

    def start_failed(self, error: Exception) -> None:
        """No worker came up: nothing that waits will run."""
        self.advance(SessionEvent.START_FAILED)
        self.fail_queued(error)


def _end_unbegun(work: Work) -> None:
    error = error_info(asyncio.CancelledError("cancelled before it began"))
    if work.timeout_s is not None:
        error = error_info(TimeoutError(f"{work.execution_id} did not begin within {work.timeout_s} s"))
    work.give_up(ExecutionEvent.CANCEL, error, cancelled=True)
