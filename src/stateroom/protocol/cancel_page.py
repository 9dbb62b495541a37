"""The page of memory in which a session names the execution that it wants cancelled.

The session writes the number of the execution and of the attempt, then signals the worker; the
worker's handler compares. So a cancel that arrives late finds another number and does nothing,
and no byte has to travel through a transport that a busy worker may not be reading.

An execution that the worker has not begun, since another one runs or a background task keeps it busy,
can be withdrawn: not one line of it runs then. The session writes its number and looks which one the
worker began last; the worker writes the number of the one that it is about to begin and looks which
are withdrawn. One of the two sees the other at least, so none runs that was said to be withdrawn. If
both do, it does not run either; so the worker answers for each one that it finds withdrawn, and the
session passes over the answers that it does not need.

What each writes must be out before it reads: on x86 the lock that it takes in between sees to that.
ARM promises it of no instruction that Python offers, though a write takes nanoseconds, and the way
to the read a hundred.
"""

from __future__ import annotations

import itertools
import mmap
import os
import sys
import threading

__all__ = ["CANCEL_SIGNAL_NAME", "MAX_WITHDRAWN", "CancelPage"]

CANCEL_SIGNAL_NAME = "SIGURG"
"""Ignored by default, so that one that comes too early or too late harms nobody; rarely used by programs."""

_NUMBER, _ATTEMPT, _BEGUN = range(3)
MAX_WITHDRAWN = 30
"""So many can be withdrawn before the worker has looked."""
_WITHDRAWN = slice(3, 3 + MAX_WITHDRAWN + 2)
"""The last ones. One that is unanswered outlives MAX_WITHDRAWN others, and one that was sent before it."""
_NONE = bytes(8 * (MAX_WITHDRAWN + 2))


class CancelPage:
    """Shared between one session and its worker. ``fd`` is inherited by the worker.

    Each word is written by one of the two, and by one store: the other sees what was there, or what is.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._memory = mmap.mmap(fd, mmap.PAGESIZE)
        self._words = memoryview(self._memory).cast("Q")
        self._between = threading.Lock()
        self._places = itertools.cycle(range(_WITHDRAWN.start, _WITHDRAWN.stop))
        self._place = next(self._places)

    @classmethod
    def create(cls) -> CancelPage:
        """Make a new page, all zero: no execution has the number 0."""
        if sys.platform == "linux":
            fd = os.memfd_create("stateroom-cancel")
        else:
            import tempfile

            with tempfile.TemporaryFile() as file:
                fd = os.dup(file.fileno())
        os.ftruncate(fd, mmap.PAGESIZE)
        return cls(fd)

    def __repr__(self) -> str:
        number, attempt = self.read() if not self._memory.closed else (0, 0)
        return f"<CancelPage number={number} attempt={attempt}>"

    def write(self, number: int, attempt: int) -> None:
        """Ask for the end of execution ``number``; ``attempt`` counts from 1."""
        self._words[_NUMBER] = 0  # or the worker might see this number with the attempt of the last one
        self._words[_ATTEMPT] = attempt
        self._words[_NUMBER] = number

    def read(self) -> tuple[int, int]:
        """The number of the execution to cancel, and which attempt this is."""
        return self._words[_NUMBER], self._words[_ATTEMPT]

    def withdraw(self, number: int, behind: int = 0) -> bool:
        """From the session: ``number`` shall not begin; False if it has, or may have, begun.

        So has it if ``behind``, the only one that was sent after it, has begun.
        """
        self._words[self._place] = number
        with self._between:
            if self._words[_BEGUN] in (number, behind or number):
                return False  # the place is free again
        self._place = next(self._places)
        return True

    def begin(self, number: int) -> bool:
        """From the worker: ``number`` is about to begin; False if it was withdrawn, and must not."""
        self._words[_BEGUN] = number
        with self._between:
            withdrawn = self._words[_WITHDRAWN]
            return withdrawn.tobytes() == _NONE or number not in withdrawn

    def close(self) -> None:
        """Unmap, and close the descriptor."""
        self._words.release()
        self._memory.close()
        os.close(self.fd)
