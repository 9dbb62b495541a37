"""The seam between a session and its workers: what makes one, and what is asked of one.

A spawned interpreter, a worker forked from a template and the scripted worker of
:mod:`stateroom.testing` are all the same to a session.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Protocol

from ..config import SessionConfig
from ..protocol.messages import Stream

__all__ = ["ExitReport", "Launcher", "WorkerProcess"]


class ExitReport:
    """How a worker ended: ``exit_status`` or ``signal``, one of the two, None if it is not known.

    Made of its ``pid`` and its ``returncode``, as :mod:`subprocess` has it: a status, or a negative signal.
    ``last_words`` is what it wrote to descriptors 1 and 2 and could not pass on.
    """

    __slots__ = ("exit_status", "last_words", "pid", "signal")

    def __init__(self, pid: int, returncode: int | None) -> None:
        self.pid = pid
        """The process id that it had."""
        self.last_words: dict[Stream, str] = {}
        """By stream; empty if there were none."""
        self.exit_status = returncode if returncode is not None and returncode >= 0 else None
        """What it exited with."""
        self.signal = -returncode if returncode is not None and returncode < 0 else None
        """The number of the signal that ended it."""

    def __repr__(self) -> str:
        return f"<ExitReport {self}>"

    def __str__(self) -> str:
        if self.signal is not None:
            return f"worker {self.pid} was killed by {_signal_name(self.signal)}"
        if self.exit_status is not None:
            return f"worker {self.pid} exited with status {self.exit_status}"
        return f"worker {self.pid} is gone"


class WorkerProcess(Protocol):
    """One worker, from its launch to its end, with everything that connects a session with it."""

    @property
    def pid(self) -> int:
        """Its process id; no other process's while this one is held."""

    async def connect(self, protocol: asyncio.BufferedProtocol) -> None:
        """Make ``protocol`` the session's end of the transport."""

    def read_rest(self, buffer: memoryview) -> int:
        """Put what a worker that has ended sent, and nobody has read, into ``buffer``: so many bytes."""

    def withdraw(self, number: int, behind: int = 0) -> bool:
        """Have execution ``number`` not begin; False if it has, as when ``behind``, sent after it, has begun.

        The worker says that it was withdrawn when its turn comes.
        """

    def request_cancel(self, number: int, attempt: int) -> None:
        """Ask for the end of execution ``number``; nothing happens if another one, or none, is running.

        ``attempt`` 1 asks, 2 and more insist.
        """

    def kill(self) -> None:
        """End it by force; nothing happens if it has ended."""

    def watch(self, on_exit: Callable[[], None]) -> None:
        """Have the running event loop call ``on_exit``, once, when it has ended."""

    def report(self) -> ExitReport:
        """How it ended, as far as that is known."""

    def leftover(self, stream: Stream) -> bytes:
        """What it has written to descriptor 1 or 2 and not passed on itself."""

    def close(self) -> None:
        """Give back all that is held for it; if it lives, that is its end."""


class Launcher(Protocol):
    """Makes workers for sessions."""

    async def __call__(self, config: SessionConfig, /) -> WorkerProcess:
        """A worker that waits for its settings on the transport; raises :class:`WorkerStartError`."""


def _signal_name(number: int) -> str:
    try:
        return f"{signal.Signals(number).name} (signal {number})"
    except ValueError:
        return f"signal {number}"
