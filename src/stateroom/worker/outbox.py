"""Frames on their way to the session, from any thread of the worker, whole and in order."""

from __future__ import annotations

import select
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from ..protocol.framing import Buffer, FrameWriter

__all__ = ["Outbox"]


class Outbox:
    """Sends at once what the socket takes, keeps the rest in order until the socket takes it.

    ``send`` never blocks. A producer of much data calls ``wait_for_room`` between its frames,
    which is where a slow client slows the worker down; everything else is sent regardless.
    """

    def __init__(self, sock: socket.socket, writer: FrameWriter, *, max_bytes: int) -> None:
        self.writer = writer
        self.max_bytes = max_bytes
        self.pending_bytes = 0
        self.wake: Callable[[], None] = lambda: None
        self._sock = sock
        self._queue: deque[memoryview] = deque()
        # A finalizer that prints can interrupt a send of its own thread: reentrant, and `_pumping`
        # leaves the sending to the outer call.
        self._lock = threading.RLock()
        self._pumping = False
        self._closed = False

    def __repr__(self) -> str:
        return f"<Outbox pending_bytes={self.pending_bytes} closed={self._closed}>"

    def send(self, message: Any, payload: Buffer | Sequence[Buffer] | None = None) -> None:
        """Queue one frame and send what the socket takes.

        Raises :class:`FrameTooLarge` or :class:`NotPlainData`; nothing is queued then.
        """
        parts = self.writer.encode(message, payload)
        with self._lock:
            for part in parts:
                self._queue.append(memoryview(part))
                self.pending_bytes += self._queue[-1].nbytes
            self._pump()
            left = bool(self._queue)
        if left:
            self.wake()

    def pump(self) -> None:
        """Send what the socket takes."""
        with self._lock:
            self._pump()

    def wait_for_room(self) -> None:
        """Return when less than ``max_bytes`` are pending; a cancel may end the wait."""
        while self.pending_bytes > self.max_bytes and not self._closed:
            writable = select.poll()
            writable.register(self._sock, select.POLLOUT)
            writable.poll()
            self.pump()

    def close(self) -> None:
        """Drop what is pending and all that comes: nobody reads any more."""
        self._closed = True
        self._queue.clear()
        self.pending_bytes = 0

    def forget_after_fork(self) -> None:
        """In a forked child: this socket belongs to the parent."""
        self._lock = threading.RLock()
        self.close()
        self._sock.close()

    def _pump(self) -> None:
        if self._pumping or self._closed:
            return
        self._pumping = True
        try:
            while self._queue:
                view = self._queue[0]
                sent = self._sock.send(view, socket.MSG_DONTWAIT)
                self.pending_bytes -= sent
                self._queue.popleft()
                if sent < view.nbytes:
                    self._queue.appendleft(view[sent:])
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self.close()  # the session is gone; the i/o thread sees the end of the transport
        finally:
            self._pumping = False
