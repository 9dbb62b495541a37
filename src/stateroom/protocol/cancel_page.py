"""The page of memory in which a session names the execution that it wants cancelled.

The session writes the number of the execution and of the attempt, then signals the worker; the
worker's handler compares. So a cancel that arrives late finds another number and does nothing,
and no byte has to travel through a transport that a busy worker may not be reading.

An execution that was sent while another one runs can be withdrawn: not one line of it runs then. The
session writes its number and looks which one the worker began last; the worker writes the number of
the one that it is about to begin and looks which one is withdrawn. Whoever comes second sees the other.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
import threading
from collections import deque

__all__ = ["CANCEL_SIGNAL_NAME", "CancelPage"]

CANCEL_SIGNAL_NAME = "SIGURG"
"""Ignored by default, so that one that comes too early or too late harms nobody; rarely used by programs."""

_LAYOUT = struct.Struct("<QQ")
_BEGUN = struct.Struct("<Q")
_WITHDRAWN = struct.Struct("<8Q")
"""More than can be sent and withdrawn before the worker has looked: two."""
_BEGUN_AT = _LAYOUT.size
_WITHDRAWN_AT = _BEGUN_AT + _BEGUN.size


class CancelPage:
    """Shared between one session and its worker. ``fd`` is inherited by the worker."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._memory = mmap.mmap(fd, mmap.PAGESIZE)
        self._barrier = threading.Lock()
        self._withdrawn: deque[int] = deque([0] * 8, maxlen=8)

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
        self._memory[: _LAYOUT.size] = _LAYOUT.pack(number, attempt)

    def read(self) -> tuple[int, int]:
        """The number of the execution to cancel, and which attempt this is."""
        return _LAYOUT.unpack_from(self._memory)

    def withdraw(self, number: int) -> bool:
        """From the session: ``number`` shall not begin; False if it has begun."""
        self._withdrawn.append(number)
        _WITHDRAWN.pack_into(self._memory, _WITHDRAWN_AT, *self._withdrawn)
        with self._barrier:  # for the processor, which might read before it has written
            return number not in _BEGUN.unpack_from(self._memory, _BEGUN_AT)

    def begin(self, number: int) -> bool:
        """From the worker: ``number`` is about to begin; False if it was withdrawn, and must not."""
        _BEGUN.pack_into(self._memory, _BEGUN_AT, number)
        with self._barrier:
            return number not in _WITHDRAWN.unpack_from(self._memory, _WITHDRAWN_AT)

    def close(self) -> None:
        """Unmap, and close the descriptor."""
        self._memory.close()
        os.close(self.fd)
