"""Lends a loop to the code of a thread, as its "running" loop, in which ``asyncio.run`` still works."""

from __future__ import annotations

import asyncio
import asyncio.events
import os
import sys
from _asyncio import _get_running_loop, _set_running_loop
from threading import get_ident
from typing import Any

from .event_loop import MovableEventLoop

__all__ = ["LoanDesk", "replace_accessors"]


class LoanDesk:
    """Lends a loop to this thread while synchronous code runs in it.

    From ``lend()`` to ``take_back()``, ``get_running_loop()`` and ``create_task()`` find the loop. For
    ``asyncio.run``, ``Runner`` and ``run_until_complete``, which refuse to start under a running
    loop, asyncio's two private accessors are replaced: :func:`replace_accessors`.
    """

    def __init__(self, loop: MovableEventLoop) -> None:
        self.loop = loop
        self.home = get_ident()
        self.lent = False
        self.task: asyncio.Task[Any] | None = None
        """The task of which a stretch is run in this thread: the current task, for that code."""
        self._own: asyncio.AbstractEventLoop | None = None
        """What user code has made the current loop of this thread: while it is open, nothing is on loan."""
        self._set_current = asyncio.set_event_loop
        self._all_of = asyncio.all_tasks
        self._current_of = asyncio.current_task

    def __repr__(self) -> str:
        return f"<LoanDesk lent={self.lent} loop={self.loop!r}>"

    def install(self) -> None:
        """Replace asyncio's accessors, once in the life of the worker."""
        global _desk
        _desk = self
        replace_accessors()
        asyncio.events.set_event_loop = asyncio.set_event_loop = self._set_event_loop
        asyncio.tasks.current_task = asyncio.current_task = self._current_task
        if sys.version_info >= (3, 14):
            asyncio.tasks.all_tasks = asyncio.all_tasks = self._all_tasks
        os.register_at_fork(after_in_child=self._forked)

    def lend(self) -> None:
        """Make the loop this thread's running loop, without running it."""
        self.lent = True
        _set_running_loop(self._on_loan())

    def take_back(self) -> None:
        self.lent = False
        _set_running_loop(None)

    def go_on(self) -> None:
        """A loop that ran in this thread has ended: the loan, if there is one here, goes on."""
        _set_running_loop(self._on_loan() if self.lent and get_ident() == self.home else None)

    def forget_own(self) -> None:
        """A cell was ended in any line of it: a loop that it has left in place is of no use to others."""
        if self._own is not None:
            self._set_event_loop(self.loop)

    def _set_event_loop(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """As in asyncio; a cell that brings a loop of its own does not see the one on loan."""
        self._set_current(loop)
        if get_ident() == self.home:
            self._own = loop if loop is not self.loop else None
            if self.lent and _get_running_loop() in (None, self.loop):
                _set_running_loop(self._on_loan())

    def _current_task(self, loop: asyncio.AbstractEventLoop | None = None) -> asyncio.Task[Any] | None:
        """As in asyncio, where the loop may be stepping another task in another thread."""
        if self.task is not None and get_ident() == self.home and (loop or _get_running_loop()) is self.loop:
            return self.task
        return self._current_of(loop)

    def _all_tasks(self, loop: asyncio.AbstractEventLoop | None = None) -> set[asyncio.Task[Any]]:
        """As in asyncio; for the loop that moves, whichever thread has made the tasks.

        CPython 3.14 lists tasks under the thread that made them, and looks at one thread only when
        asked for the loop that this thread runs; for any other loop it looks at all threads.
        """
        loop = loop or asyncio.get_running_loop()
        if loop is not self.loop or _get_running_loop() is not loop:
            return self._all_of(loop)
        _set_running_loop(None)
        try:
            return self._all_of(loop)
        finally:
            _set_running_loop(loop)

    def _on_loan(self) -> asyncio.AbstractEventLoop | None:
        return self.loop if self._own is None or self._own.is_closed() else None

    def _forked(self) -> None:
        self.take_back()


_desk: LoanDesk | None = None
"""The installed one."""


def replace_accessors() -> None:
    """Have asyncio's accessors for the running loop not see one that is only on loan.

    asyncio looks them up in its module ``events`` at each call. uvloop takes them from the package when
    it is imported, and keeps them: so this comes before any import on behalf of the user.
    """
    asyncio.events._get_running_loop = asyncio._get_running_loop = _get_unless_lent
    asyncio.events._set_running_loop = asyncio._set_running_loop = _set_or_lend


def _get_unless_lent() -> asyncio.AbstractEventLoop | None:
    loop = _get_running_loop()
    return None if isinstance(loop, MovableEventLoop) and loop.thread_id != get_ident() else loop


def _set_or_lend(loop: asyncio.AbstractEventLoop | None) -> None:
    if loop is None and _desk is not None:
        _desk.go_on()
    else:
        _set_running_loop(loop)
