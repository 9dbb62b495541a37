"""The worker's end of the transport for reading: one reader at a time, whoever is awake anyway.

While no cell runs, the main thread sits in the event loop and reads there: a cell then starts
without a change of threads. While a cell runs, the i/o thread reads, so that answers and the end
of the transport are seen whatever the cell does. Who of the two is woken is changed by one
``epoll_ctl``, without waking anybody; a lock keeps a late wake-up harmless.
"""

from __future__ import annotations

import asyncio
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
        loop: asyncio.AbstractEventLoop,
        *,
        handle: Callable[[Any], None],
        on_end: Callable[[], None],
    ) -> None:
        self.sock = sock
        self.watch_in_io_thread: Callable[[bool], None] = lambda _: None
        """Set by the i/o thread: whether it is to be woken by the transport."""
        self._reader = reader
        self._loop = loop
        self._handle = handle
        self._on_end = on_end
        self._lock = threading.Lock()
        self._in_loop = False

    def __repr__(self) -> str:
        return f"<Receiver in_loop={self._in_loop} {self._reader!r}>"

    def read_in_loop(self) -> None:
        """From now on the event loop, in the main thread, is woken by the transport."""
        self.watch_in_io_thread(False)
        if not self._in_loop:
            self._in_loop = True
            self._loop.add_reader(self.sock, self.receive)

    def read_in_io_thread(self) -> None:
        """From now on the i/o thread is. The loop still is as well, but stands still."""
        self.watch_in_io_thread(True)

    def leave_loop(self) -> None:
        """The loop is going to run while the i/o thread reads."""
        if self._in_loop:
            self._in_loop = False
            self._loop.remove_reader(self.sock)

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
