"""Ends a cell from outside: the handler of the cancel signal, which decides by frames.

The session names an execution and an attempt in the cancel page and signals the worker's main
thread. What the handler then does depends on where the main thread is, seen from the innermost
frame outwards:

- code of the cell, or a library that it called: raise ``asyncio.CancelledError`` there, which task
  groups, timeouts and ``finally`` blocks treat as what it is (``subprocess`` would delay a
  KeyboardInterrupt, and asyncio lets one through the loop);
- a wait of the engine on behalf of the cell (``input()``, a full outbox): raise as well;
- other code of the engine: do nothing, it ends soon, and the session signals again;
- an event loop that the cell runs itself (``asyncio.run``, ``trio.run``): cancel what it is run for; if
  another task or a callback of it has the thread, raise in that one too, but not in the loop's own code;
- the event loop, with the cell waiting in it: cancel the cell's task. If a task that the cell waits
  for has the thread (a child of its task group, say), raise in that one too.

So the exception can reach neither the engine, nor the loop, nor another cell. Deciding by flags
instead of frames loses the race at the end of a cell sooner or later.

The first attempt raises once, so that a cell can clean up; unless Python says that the exception
was lost (``sys.unraisablehook``: it was raised in a finalizer). From the second attempt on every
signal raises, and the cell's lines do as well: see :mod:`stateroom.worker.insist`.
"""

from __future__ import annotations

import asyncio
import enum
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import get_ident, main_thread
from types import CodeType, FrameType
from typing import Any

from ..protocol.cancel_page import CANCEL_SIGNAL_NAME, CancelPage
from .frames import ENGINE_FOLDER, is_on_stack
from .insist import Insistence, suspended_frames
from .interrupt_target import INSIST_FROM_ATTEMPT, Target
from .own_loops import ASYNCIO_FOLDER, RUN_HANDLE, OwnLoop, is_in_asyncio, own_loop_around
from .time_limit import TimeLimit
from .trio_runs import TrioRun, trio_folder
from .user_signals import UserSignals
from .waiting import waits_for

__all__ = ["Decision", "Interrupts", "decide"]


class Decision(enum.Enum):
    """What the handler does with one signal."""

    RAISE = enum.auto()
    CANCEL_TASK = enum.auto()
    RAISE_AND_CANCEL_TASK = enum.auto()
    CANCEL_OWN_LOOP = enum.auto()
    LATER = enum.auto()


def decide(frame: FrameType | None, target: Target, waits: frozenset[CodeType]) -> Decision:
    """Walk outwards from the interrupted frame to the first one that settles the matter."""
    while frame is not None:
        code = frame.f_code
        if code in target.codes or code in waits:
            return Decision.RAISE
        if code.co_filename.startswith(ENGINE_FOLDER):
            return Decision.LATER
        if target.in_loop and code.co_filename.startswith(ASYNCIO_FOLDER):
            return _decide_in_loop(frame, target)
        frame = frame.f_back
    return Decision.LATER


def _decide_in_loop(frame: FrameType, target: Target) -> Decision:
    """The cell awaits something, and the loop or another task has the thread."""
    task = target.task
    current = asyncio.current_task(task.get_loop()) if task is not None else None
    if task is None or current is None or current is task or frame.f_code is not RUN_HANDLE:
        return Decision.CANCEL_TASK
    return Decision.RAISE_AND_CANCEL_TASK if waits_for(task, current) else Decision.CANCEL_TASK


def _spare_own_loop(
    decision: Decision,
    frame: FrameType | None,
    own: OwnLoop | TrioRun | None,
    target: Target,
    *,
    insists: bool,
) -> Decision:
    """Raise nothing in asyncio's own code, on behalf of a loop that the cell runs, if that can be had.

    Nor in a task of Trio that may get back to it by itself: what comes from nowhere can cost it a nursery.
    """
    if own is not None and own.is_over and not (insists and own.may_not_end):
        return Decision.LATER
    if decision is not Decision.RAISE:
        return decision
    if own is not None and own.is_idle:
        return Decision.CANCEL_OWN_LOOP if own.swallows or not insists else decision
    if isinstance(own, TrioRun) and not insists:
        return decision if target.has_asked(own) else Decision.CANCEL_OWN_LOOP
    if insists or not is_in_asyncio(frame):
        return decision
    return Decision.LATER if own is None else Decision.CANCEL_OWN_LOOP


class Interrupts:
    """The installed handler and what it may hit at the moment.

    ``waits`` are the functions of the engine in which user code waits and may be interrupted;
    ``limits`` end what the engine calls for as long as they are entered.
    """

    def __init__(
        self,
        page: CancelPage,
        waits: Sequence[Callable[..., object]],
        *,
        limits: Sequence[TimeLimit] = (),
        user_signals: UserSignals | None = None,
    ) -> None:
        self.page = page
        self._user_signals = user_signals
        self._limits = limits
        self.raised = 0
        self.missed = False
        """Whether a signal, this one or another, came while the engine worked for the cell."""
        self._target: Target | None = None
        self._last: BaseException | None = None
        self._waits = frozenset(function.__code__ for function in [*waits, Interrupts._raise_missed])
        self._insistence = Insistence()

    def __repr__(self) -> str:
        return f"<Interrupts target={self._target!r} raised={self.raised}>"

    def install(self) -> None:
        """Take the cancel signal; only in the main thread, and before the worker says Ready."""
        signal.signal(getattr(signal, CANCEL_SIGNAL_NAME), self._handle)
        self._unraisablehook = sys.unraisablehook
        sys.unraisablehook = self._lost

    @staticmethod
    def block_here() -> None:
        """Keep the signal away from the calling thread: only the main thread can be interrupted."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {getattr(signal, CANCEL_SIGNAL_NAME)})

    def aim(self, target: Target | None) -> None:
        """From now on signals may hit this execution, or none."""
        self._target = target
        self._last = None
        self.missed = False
        if target is None:
            self._insistence.end()

    @contextmanager
    def within(self, limit: TimeLimit) -> Iterator[None]:
        """Enter ``limit``; whatever it insists on, the same code may run again behind it."""
        try:
            with limit:
                yield
        finally:
            cancels = self._target is not None and self._target.attempts >= INSIST_FROM_ATTEMPT
            if limit.ended >= INSIST_FROM_ATTEMPT and not cancels:
                self._insistence.end()

    def safe_point(self) -> None:
        """Where the engine is about to return to user code: a signal that came too early counts here.

        A cell that does nothing but print would else be hit by few of them.
        """
        if self.missed and get_ident() == main_thread().ident:
            self._raise_missed()

    def _raise_missed(self) -> None:
        frame = sys._getframe(1)
        if is_on_stack(frame, _HOOKS):  # what is raised in a hook is lost
            return
        self.missed = False
        if self._target is not None and is_on_stack(frame, self._target.codes):
            signal.raise_signal(getattr(signal, CANCEL_SIGNAL_NAME))
        if self._user_signals is not None:
            self._user_signals.deliver()

    def wanted(self, number: int) -> bool:
        """Whether the cancel of this execution has been asked for."""
        return self.page.read()[0] == number

    def _handle(self, _signum: int, frame: FrameType | None) -> None:
        target = self._target
        if target is None:
            return
        number, attempt = self.page.read()
        if number == target.number:
            own = None if target.in_loop else own_loop_around(frame)
            if target.is_due(attempt, own):
                self._cancel(frame, target, attempt, own)
        for limit in self._limits:
            if limit.has_passed():
                self._end_late(frame, limit)

    def _cancel(
        self, frame: FrameType | None, target: Target, attempt: int, own: OwnLoop | TrioRun | None
    ) -> None:
        insists = attempt >= INSIST_FROM_ATTEMPT
        decision = decide(frame, target, self._waits)
        decision = _spare_own_loop(decision, frame, own, target, insists=insists)
        if decision is Decision.LATER:
            self.missed = True
            return
        if attempt > target.attempts:
            target.begin_attempt(attempt, own)
        if insists:
            self._insistence.begin(_frames_of_cell(frame, target, decision, own))
        if decision is Decision.RAISE:
            target.tell_by_raising(own)
        if own is not None:
            target.ask_for_cancel(own)
        elif decision is not Decision.RAISE and target.task is not None:
            target.ask_for_cancel(target.task)
        if decision in (Decision.RAISE, Decision.RAISE_AND_CANCEL_TASK):
            # The very class, no subclass: asyncio compares with `is` in 3.11 and 3.12.
            self._last = asyncio.CancelledError("the cell was cancelled")
            self.raised += 1
            target.raised = True
            raise self._last

    def _end_late(self, frame: FrameType | None, limit: TimeLimit) -> None:
        called = Target(0, limit.codes, in_loop=False)
        if decide(frame, called, self._waits) is Decision.RAISE:
            error = limit.end()
            if limit.ended >= INSIST_FROM_ATTEMPT:
                frames = _frames_of_cell(frame, called, Decision.RAISE)
                self._insistence.begin(frames, error)
            raise error

    def _lost(self, unraisable: Any) -> None:
        """``sys.unraisablehook``: a cancel that was raised in a finalizer has ended nothing."""
        if unraisable.exc_value is self._last and self._last is not None:
            if self._target is not None:
                self._target.attempts -= 1
                self._target.raised = False
        else:
            self._unraisablehook(unraisable)


_HOOKS = frozenset({Interrupts._lost.__code__})


def _frames_of_cell(
    frame: FrameType | None, target: Target, decision: Decision, own: OwnLoop | TrioRun | None = None
) -> list[FrameType]:
    """The live frames of a cell: those on the stack, or those in which its tasks wait."""
    frames: list[FrameType] = []
    if decision is Decision.CANCEL_TASK:
        frames += suspended_frames(target.task) if target.task is not None else ()
    elif decision is Decision.CANCEL_OWN_LOOP:
        frames += own.frames() if own is not None else ()
    else:
        while frame is not None and frame.f_code is not RUN_HANDLE:
            frames.append(frame)
            frame = None if frame.f_code in target.codes else frame.f_back
    spared = (ENGINE_FOLDER, ASYNCIO_FOLDER, *trio_folder())
    return [each for each in frames if not each.f_code.co_filename.startswith(spared)]
