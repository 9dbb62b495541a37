"""Frames on their way to the session, from any thread of the worker, whole and in order."""

from __future__ import annotations

import select
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from threading import get_ident
from typing import Any

from ..protocol.framing import Buffer, FrameWriter

__all__ = ["Outbox"]


class Outbox:
    """Sends at once what the socket takes, keeps the rest in order until the socket takes it.

    ``send`` never blocks. A producer of much data calls ``wait_for_room`` between its frames,
    which is where a slow client slows the worker down; everything else is sent regardless.

    A finalizer that prints can come inside of a send, at any line of it. It may only append its frame, and
    leaves all else to the send that it has come into: to wait for anything there, the lock of
    :class:`Output` for one, would be to wait for ever. Who needs that lock asks :meth:`postpone` first.
    """

    def __init__(self, sock: socket.socket, writer: FrameWriter, *, max_bytes: int) -> None:
        self.writer = writer
        self.max_bytes = max_bytes
        self.pending_bytes = 0
        self.wake: Callable[[], None] = lambda: None
        self._sock = sock
        self._incoming: deque[list[memoryview]] = deque()
        """Whole frames, not counted yet."""
        self._queue: deque[memoryview] = deque()
        self._sent: deque[tuple[memoryview, int]] = deque()
        """What the socket has taken of the first of the queue, until that is seen to."""
        self._postponed: dict[int, deque[Callable[[], None]]] = {}
        """By thread: what came up inside of a send of that thread, and is done when the send is over."""
        self._lock = threading.RLock()
        self._pumping = False
        self._closed = False
        self._is_last = False
        """Whether only one thread is left, which keeps the lock."""

    def __repr__(self) -> str:
        return f"<Outbox pending_bytes={self.pending_bytes} closed={self._closed}>"

    def send(self, message: Any, payload: Buffer | Sequence[Buffer] | None = None) -> None:
        """Queue one frame and send what the socket takes.

        Raises :class:`FrameTooLarge` or :class:`NotPlainData`; nothing is queued then.
        """
        views = [memoryview(part) for part in self.writer.encode(message, payload)]
        with self._lock:
            self._incoming.append(views)
            self._pump()
            left = bool(self._queue)
        if left:
            self.wake()
        if self._postponed:
            self._do_postponed()

    def pump(self) -> None:
        """Send what the socket takes."""
        with self._lock:
            self._pump()
        if self._postponed:
            self._do_postponed()

    def postpone(self, action: Callable[[], None]) -> bool:
        """Whether the calling thread is inside of a send; then the action is done when that is over."""
        if not self._is_inside():
            return False
        self._postponed.setdefault(get_ident(), deque()).append(action)
        return True

    def wait_for_room(self, max_bytes: int | None = None) -> None:
        """Return when at most ``max_bytes`` (by default its own) are pending; a cancel may end the wait.

        Inside of a send, return at once.
        """
        limit = self.max_bytes if max_bytes is None else max_bytes
        while self.pending_bytes > limit and not self._closed and not self._is_inside():
            writable = select.poll()
            writable.register(self._sock, select.POLLOUT)
            writable.poll()
            self.pump()

    def keep_others_out(self) -> None:
        """As of :class:`Output`; what is pending is sent first."""
        self.wait_for_room(0)
        self._lock.acquire()
        self._is_last = True

    def close(self) -> None:
        """Drop what is pending and all that comes: nobody reads any more."""
        self._closed = True
        self._incoming.clear()
        self._queue.clear()
        self.pending_bytes = 0

    def forget_after_fork(self) -> None:
        """In a forked child: this socket belongs to the parent."""
        self._lock = threading.RLock()
        self._postponed.clear()
        self.close()
        self._sock.close()

    def _is_inside(self) -> bool:
        """Whether the calling thread is at a send, further down its stack."""
        mine = self._lock._is_owned()  # type: ignore[attr-defined]
        return mine and (self._pumping or not self._is_last)

    def _do_postponed(self) -> None:
        while not self._is_inside() and (actions := self._postponed.pop(get_ident(), None)):
            while actions:
                actions.popleft()()

    def _pump(self) -> None:
        while not self._pumping and not self._closed:
            self._pumping = True
            try:
                self._count_sent()
                self._take_in()
                self._send_queue()
            finally:
                self._pumping = False
            if not self._incoming:  # of a call that came inside of this one
                return

    def _take_in(self) -> None:
        while self._incoming:
            views = self._incoming.popleft()
            self._queue.extend(views)
            self.pending_bytes += sum([view.nbytes for view in views])

    def _send_queue(self) -> None:
        try:
            while self._queue:
                view = self._queue[0]
                # One call of C, so that a signal handler that raises cannot come between what the socket
                # has taken and the note of it.
                sending = map(self._sock.send, (view,), (socket.MSG_DONTWAIT,))
                self._sent.extend(zip((view,), sending, strict=True))
                self._count_sent()
            self.pending_bytes = 0
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self.close()  # the session is gone; the i/o thread sees the end of the transport

    def _count_sent(self) -> None:
        """Take out of the queue what was sent of its first view, once."""
        while self._sent:
            view, sent = self._sent[0]
            if self._queue and self._queue[0] is view:
                self.pending_bytes -= sent
                if sent < view.nbytes:
                    self._queue[0] = view[sent:]
                else:
                    self._queue.popleft()
            self._sent.popleft()
