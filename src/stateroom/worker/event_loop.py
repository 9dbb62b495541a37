"""An event loop that synchronous cells can use while it stands still or runs in another thread.

Between two iterations a stopped asyncio loop belongs to no thread, so another thread may continue
it with ``run_forever()``. What asyncio does not provide for is the thread that the loop has left:
its code should still be able to call ``create_task`` or ``call_later``. :class:`MovableEventLoop`
makes these calls safe from there; :mod:`.loan_desk` makes it the "running" loop there.
"""

from __future__ import annotations

import asyncio
import asyncio.events
import contextvars
import heapq
import selectors
import sys
from _asyncio import _get_running_loop, _set_running_loop
from collections import deque
from collections.abc import Callable
from threading import get_ident
from time import monotonic
from typing import TYPE_CHECKING, Any

from .origin import origin_of_cell

__all__ = ["MovableEventLoop", "origin_of_task"]


class MovableEventLoop(asyncio.SelectorEventLoop):
    """A selector loop whose scheduling calls work from its home thread wherever it runs.

    The private names used here (``_thread_id``, ``_ready``, ``_scheduled``, ``_selector``, ``_run_once``,
    ``_process_events``, ``_write_to_self``, ``_check_thread``, ``_check_running``) are the same in CPython
    3.11 to 3.14; the tests run on each.
    """

    if TYPE_CHECKING:  # asyncio's own, which its stubs do not show
        _thread_id: int | None
        _scheduled: list[asyncio.TimerHandle]
        _ready: deque[asyncio.Handle]
        _selector: selectors.BaseSelector

        def _write_to_self(self) -> None: ...
        def _check_closed(self) -> None: ...
        def _check_running(self) -> None: ...

    wait_elsewhere: Callable[[Any], Any] | None = None
    """Set by the handover: wait, in the home thread, for a future of the loop that has moved."""

    def __init__(self) -> None:
        super().__init__()
        self._strong: set[asyncio.Task[Any]] = set()
        self._until_stopped: asyncio.Future[None] | None = None
        """What ``run_forever`` of a cell waits for, while the loop runs elsewhere."""
        self.busy_since: float | None = None
        """Since when it has been running callbacks, on the monotonic clock; None while it waits."""
        self.lag_limit_s = float("inf")
        self.on_lag: Callable[[float], None] = lambda _: None
        """Called after callbacks that took longer than ``lag_limit_s``, with the time they took."""

    def __repr__(self) -> str:
        where = "still" if self._thread_id is None else f"in thread {self._thread_id}"
        return f"<{type(self).__name__} {where} tasks={len(self._strong)} closed={self.is_closed()}>"

    @property
    def thread_id(self) -> int | None:
        """The thread that runs it at the moment."""
        return self._thread_id

    def has_tasks(self) -> bool:
        """Whether there are tasks that are not done."""
        return bool(self._strong)

    def is_running(self) -> bool:
        """As in asyncio; False for code that has the loop on loan, which may wait for it.

        asyncio asks before it takes the first step of an eager task: not in a thread that only borrows.
        """
        return self._thread_id is not None and not self.lent_here()

    def run_forever(self) -> None:
        """As in asyncio; from a cell that has the loop on loan, waits until ``stop()`` is called."""
        if self.wait_elsewhere is not None and self.lent_here():
            self._until_stopped = self.create_future()
            self.wait_elsewhere(self._until_stopped)
            return
        self._check_running()  # CPython 3.13.0 asks too late: it then ends the run that is under way
        self.busy_since = None
        try:
            super().run_forever()
        finally:
            self._note_end_of_callbacks()

    def stop(self) -> None:
        super().stop()
        if self._until_stopped is not None and not self._until_stopped.done():
            self._until_stopped.set_result(None)

    def idle(self, fd: int) -> bool:
        """Wait for the first event; True if it is that ``fd``, which the loop watches, became readable.

        This is ``run_forever`` for a loop that has nothing to do, at a fraction of its cost. False
        means that there is something for ``run_forever`` to do.
        """
        if self._ready or self._scheduled:
            return False
        self._thread_id = get_ident()
        _set_running_loop(self)
        try:
            events = self._selector.select()
        finally:
            self._thread_id = None
            _set_running_loop(None)
        if len(events) == 1 and events[0][0].fd == fd:
            return True
        self._process_events(events)
        return False

    def _run_once(self) -> None:
        self._note_end_of_callbacks()
        super()._run_once()  # type: ignore[misc]

    def _process_events(self, events: Any) -> None:
        self.busy_since = monotonic()  # the wait for events is over
        super()._process_events(events)  # type: ignore[misc]

    def _note_end_of_callbacks(self) -> None:
        since, self.busy_since = self.busy_since, None
        if since is not None and (lag_s := monotonic() - since) > self.lag_limit_s:
            self.on_lag(lag_s)

    def lent_here(self) -> bool:
        """Whether this thread has the loop as its running loop without running it."""
        return _get_running_loop() is self and self._thread_id != get_ident()

    def call_soon(  # type: ignore[override]
        self, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = super().call_soon(callback, *args, context=context)
        if self._thread_id is not None and self._thread_id != get_ident():
            # Appended first, looked second: either the loop sees the entry or we wake it.
            self._write_to_self()
        return handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        if self._thread_id == get_ident():
            return super().call_at(when, callback, *args, context=context)
        # The heap of timers compares Python objects, so only the running thread may touch it.
        self._check_closed()
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self.call_soon(self._add_timer, timer)
        return timer

    def _add_timer(self, timer: asyncio.TimerHandle) -> None:
        if not timer.cancelled():
            heapq.heappush(self._scheduled, timer)
            timer._scheduled = True  # type: ignore[attr-defined]

    def create_task(self, coro: Any, **kwargs: Any) -> asyncio.Task[Any]:
        """As in asyncio, but the loop keeps a strong reference until the task is done."""
        if sys.version_info >= (3, 12) or self.get_task_factory() is not None:
            task: asyncio.Task[Any] = super().create_task(coro, **kwargs)
        else:
            task = Task(coro, loop=self, **kwargs)
        if not task.done():
            self._strong.add(task)
            task.add_done_callback(self._strong.discard)
        return task

    def run_until_complete(self, future: Any) -> Any:
        """As in asyncio; from a cell that has the loop on loan, waits while the loop runs elsewhere."""
        if self.wait_elsewhere is not None and self.lent_here():
            return self.wait_elsewhere(future)
        return super().run_until_complete(future)

    def close(self) -> None:
        """Refused while lent: a cell cannot close the loop that all later cells need."""
        if self.lent_here():
            raise RuntimeError("this is the session's own event loop; it closes with the session")
        super().close()

    def _check_thread(self) -> None:
        """Debug mode's check for foreign threads; the home thread of a moved loop is not one."""
        if not self.lent_here():
            super()._check_thread()  # type: ignore[misc]


class Task(asyncio.Task[Any]):
    """A task that tells its context, as those of 3.12 and later do."""

    def __init__(self, coro: Any, *, context: contextvars.Context | None = None, **kwargs: Any) -> None:
        self._own_context = contextvars.copy_context() if context is None else context
        super().__init__(coro, context=self._own_context, **kwargs)

    def get_context(self) -> contextvars.Context:
        return self._own_context


def origin_of_task(task: Any) -> str | None:
    """The execution that made a task, as far as that is known."""
    get_context = getattr(task, "get_context", None)
    return None if get_context is None else get_context().get(origin_of_cell)
