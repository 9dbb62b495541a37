"""One execution as the handler of the cancel signal sees it, and what it has done to it so far."""

from __future__ import annotations

import asyncio
from types import CodeType
from typing import Any
from weakref import WeakSet

from .own_loops import OwnLoop
from .trio_runs import TrioRun

__all__ = ["INSIST_FROM_ATTEMPT", "Target"]

INSIST_FROM_ATTEMPT = 2
"""The attempt that raises at every signal, and in every line of the cell."""

_NOBODY: WeakSet[asyncio.Future[Any]] = WeakSet()
"""Stays empty: an attempt begins with sets of its own, and most executions never see one."""


class Target:
    """One execution as the handler sees it."""

    __slots__ = ("attempts", "codes", "in_loop", "number", "present", "raised", "task", "to_cancel", "told")

    def __init__(self, number: int, codes: frozenset[CodeType], *, in_loop: bool) -> None:
        self.number = number
        self.codes = codes
        """Top-level code of the cell: a frame of it on the stack means that the cell is running there."""
        self.in_loop = in_loop
        self.task: asyncio.Task[Any] | None = None
        self.attempts = 0
        """The last attempt that was acted upon."""
        self.raised = False
        """Whether that attempt has raised in the cell."""
        self.to_cancel: asyncio.Task[Any] | OwnLoop | TrioRun | None = None
        """What a loop was asked to cancel; the cell may be found running before the loop gets to it."""
        self.present = _NOBODY
        """Tasks of a loop of the cell's own as it was told; what comes later cleans up."""
        self.told = _NOBODY
        """Those that this attempt has raised in, or cancelled."""

    def is_due(self, attempt: int, own: OwnLoop | TrioRun | None = None) -> bool:
        """Whether a signal of this attempt is to be acted upon, or one of it has been already."""
        if attempt > self.attempts or attempt >= INSIST_FROM_ATTEMPT:
            return True
        if own is not None and self._must_tell(own):
            return True
        return self.to_cancel is not None and not self.raised

    def _must_tell(self, own: OwnLoop | TrioRun) -> bool:
        """Whether a task has the thread, perhaps for ever, that has not heard of the cancel."""
        return own.current is not None and own.current not in self.told and own.must_hear(self.present)

    def begin_attempt(self, attempt: int, own: OwnLoop | TrioRun | None) -> None:
        """This attempt has not done anything yet."""
        self.attempts, self.raised = attempt, False
        self.told = WeakSet()
        self.present = own.futures() if own is not None else _NOBODY

    def tell_by_raising(self, own: OwnLoop | TrioRun | None) -> None:
        """An exception is about to be raised in the cell, or in a task of a loop of its own."""
        self.to_cancel = None
        if own is not None and own.current is not None:
            if own.current is own.future:
                self.present = own.futures()
            self.told.add(own.current)

    def has_asked(self, own: OwnLoop | TrioRun) -> bool:
        """Whether this attempt has asked this loop already, or told one of its tasks."""
        if self.to_cancel is not None:
            return self.to_cancel.get_loop() is own.get_loop()
        return bool(self.told)

    def back_in_loop(self) -> None:
        """A stretch is over, and with it a loop that it ran: what that has not done was never asked for."""
        self.in_loop = True
        if isinstance(self.to_cancel, OwnLoop | TrioRun):
            self.to_cancel = None
            if not self.raised:
                self.attempts -= 1

    def ask_for_cancel(self, what: asyncio.Task[Any] | OwnLoop | TrioRun) -> None:
        """Have its loop cancel the task of the cell, or what a loop of the cell's own is run for.

        A loop that was asked before may have ended without getting to it.
        """
        if self.to_cancel is None or self.to_cancel.get_loop() is not what.get_loop():
            self.to_cancel = what
            if isinstance(what, OwnLoop | TrioRun):
                what.call_soon(self.cancel, what)
            else:
                what.get_loop().call_soon_threadsafe(self.cancel, what)

    def cancel(self, what: asyncio.Task[Any] | OwnLoop | TrioRun) -> None:
        """In the loop: cancel it, unless the cell was interrupted on the way here."""
        if self.to_cancel is not what:
            return
        self.to_cancel = None
        if not isinstance(what, OwnLoop | TrioRun):
            what.cancel()
        elif untold := what.untold(self.told):
            self.present = what.futures()
            for future in untold:
                self.told.add(future)
                future.cancel()

    def __repr__(self) -> str:
        return f"<Target number={self.number} in_loop={self.in_loop} attempts={self.attempts}>"
