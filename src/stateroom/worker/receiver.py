"""The worker's end of the transport for reading: whoever is awake anyway reads it.

The event loop does, wherever it runs; between cells that is the main thread, so that a cell starts
without a change of threads. While a cell keeps the loop still, or blocks it, the i/o thread does:
from the moment a cell has run for some milliseconds, or waits for an answer. Which threads are
woken is changed by one ``epoll_ctl``; a lock keeps a late wake-up harmless.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

from ..protocol.framing import FrameReader

__all__ = ["Receiver"]


class Receiver:
    """Hands each message to ``handle``, in order, in the thread that read it."""

    def __init__(
        self,
        sock: socket.socket,
        reader: FrameReader[Any],
        *,
        handle: Callable[[Any], None],
        on_end: Callable[[], None],
    ) -> None:
        self.sock = sock
        self.watch_in_io_thread: Callable[[bool], None] = lambda _: None
        """Set by the i/o thread: whether the transport is to wake it."""
        self.io_thread_reads = False
        self._reader = reader
        self._handle = handle
        self._on_end = on_end
        self._lock = threading.Lock()
        self._switch = threading.Lock()

    def __repr__(self) -> str:
        return f"<Receiver io_thread_reads={self.io_thread_reads} {self._reader!r}>"

    def read_in_io_thread(self) -> None:
        """From any thread: the transport wakes the i/o thread, too, from now on."""
        with self._switch:
            if not self.io_thread_reads:
                self.io_thread_reads = True
                self.watch_in_io_thread(True)

    def leave_io_thread(self, is_needed: Callable[[], bool]) -> None:
        """Undo :meth:`read_in_io_thread`, unless somebody needs it by now."""
        with self._switch:
            if self.io_thread_reads and not is_needed():
                self.io_thread_reads = False
                self.watch_in_io_thread(False)

    def receive(self) -> None:
        """Take what is there; nothing, if the other thread was faster."""
        with self._lock:
            try:
                count = self.sock.recv_into(self._reader.get_buffer(), 0, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                count = 0
            if not count:
                self._on_end()
                return
            for item in self._reader.received(count):
                self._handle(item)
