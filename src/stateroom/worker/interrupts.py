"""Ends a cell from outside: the handler of the cancel signal, which decides by frames.

The session names an execution in the cancel page and signals the worker's main thread. What the
handler then does depends on where the main thread is, seen from the innermost frame outwards:

- code of the cell, or a library that it called: raise :class:`CellCancelled` there;
- a wait of the engine on behalf of the cell (``input()``, a full outbox): raise as well;
- other code of the engine: do nothing, it ends soon, and the session signals again;
- the event loop, with the cell waiting in it: cancel the cell's task.

So the exception can reach neither the engine, nor the loop, nor another cell. Deciding by flags
instead of frames loses the race at the end of a cell sooner or later.
"""

from __future__ import annotations

import asyncio
import enum
import os
import signal
from collections.abc import Callable
from types import CodeType, FrameType

from ..protocol.cancel_page import CANCEL_SIGNAL_NAME, CancelPage

__all__ = ["CellCancelled", "Decision", "Interrupts", "Target", "decide"]

ENGINE_FOLDER = os.path.dirname(os.path.dirname(__file__)) + os.sep
ASYNCIO_FOLDER = os.path.dirname(asyncio.__file__) + os.sep


class CellCancelled(asyncio.CancelledError):
    """Raised inside a cell that is cancelled while it runs.

    A ``CancelledError``, so that task groups, timeouts and ``finally`` blocks treat it as what it
    is; not a ``KeyboardInterrupt``, which ``subprocess`` delays and asyncio lets through the loop.
    """


class Decision(enum.Enum):
    """What the handler does with one signal."""

    RAISE = enum.auto()
    CANCEL_TASK = enum.auto()
    LATER = enum.auto()


class Target:
    """One execution as the handler sees it."""

    __slots__ = ("attempts", "codes", "in_loop", "number", "task")

    def __init__(self, number: int, codes: frozenset[CodeType], *, in_loop: bool) -> None:
        self.number = number
        self.codes = codes
        self.in_loop = in_loop
        self.task: asyncio.Task[object] | None = None
        self.attempts = 0

    def __repr__(self) -> str:
        return f"<Target number={self.number} in_loop={self.in_loop} attempts={self.attempts}>"


def decide(frame: FrameType | None, target: Target, waits: frozenset[CodeType]) -> Decision:
    """Walk outwards from the interrupted frame to the first one that settles the matter."""
    while frame is not None:
        code = frame.f_code
        if code in target.codes or code in waits:
            return Decision.RAISE
        if code.co_filename.startswith(ENGINE_FOLDER):
            return Decision.LATER
        if target.in_loop and code.co_filename.startswith(ASYNCIO_FOLDER):
            return Decision.CANCEL_TASK
        frame = frame.f_back
    return Decision.LATER


class Interrupts:
    """The installed handler and what it may hit at the moment.

    ``waits`` are the functions of the engine in which user code waits and may be interrupted.
    """

    def __init__(self, page: CancelPage, waits: list[Callable[..., object]]) -> None:
        self.page = page
        self.target: Target | None = None
        self.raised = 0
        self._waits = frozenset(function.__code__ for function in waits)

    def __repr__(self) -> str:
        return f"<Interrupts target={self.target!r} raised={self.raised}>"

    def install(self) -> None:
        """Take the cancel signal; only in the main thread, and before the worker says Ready."""
        signal.signal(getattr(signal, CANCEL_SIGNAL_NAME), self._handle)

    @staticmethod
    def block_here() -> None:
        """Keep the signal away from the calling thread: only the main thread can be interrupted."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {getattr(signal, CANCEL_SIGNAL_NAME)})

    def wanted(self, number: int) -> bool:
        """Whether the cancel of this execution has been asked for."""
        return self.page.read()[0] == number

    def _handle(self, _signum: int, frame: FrameType | None) -> None:
        target = self.target
        if target is None:
            return
        number, attempt = self.page.read()
        if number != target.number:
            return
        decision = decide(frame, target, self._waits)
        if decision is Decision.RAISE:
            target.attempts = attempt
            self.raised += 1
            raise CellCancelled(f"execution {number} was cancelled")
        if decision is Decision.CANCEL_TASK and attempt > target.attempts and target.task is not None:
            target.attempts = attempt
            target.task.get_loop().call_soon_threadsafe(target.task.cancel)
