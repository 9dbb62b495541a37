"""The worker's i/o thread: reads the pipes when no cell drains them, and the transport for a long cell.

It never runs user code. Besides reading it keeps the worker's time: it has the companion take
the loop over from a cell that takes long, sends gathered output that is due, and heartbeats.
"""

from __future__ import annotations

import _thread
import os
import select
import traceback
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from ..errors import ProtocolError
from .outbox import Outbox
from .output import Output
from .pollset import make_poll_set
from .receiver import Receiver

__all__ = ["IoThread", "Watch"]

BUSY_RETRY_S = 0.005
READABLE = select.POLLIN | select.POLLHUP | select.POLLERR


class Watch(Protocol):
    """Something that wants to be looked after at certain times."""

    def next_look(self, now: float) -> float | None:
        """Seconds until :meth:`look` is due; None if nothing is to be looked after."""

    def look(self, now: float) -> None:
        """Do what is due."""


class IoThread:
    """Waits for the transport, the pipes, a wake-up and the clock, all at once."""

    def __init__(
        self,
        receiver: Receiver,
        outbox: Outbox,
        output: Output,
        *,
        prepare_thread: Callable[[], None],
    ) -> None:
        self.watches: list[Watch] = []
        self._receiver = receiver
        self._sock = receiver.sock.fileno()
        self._outbox = outbox
        self._output = output
        self._prepare_thread = prepare_thread
        self._output_is_held = False
        """Another thread was found to be sending output: no use to look at the pipes for a moment."""
        self._set = make_poll_set()
        self._ident: int | None = None
        receiver.watch_in_io_thread = self._watch_transport
        outbox.wake = output.arm = self.wake

    def __repr__(self) -> str:
        return f"<IoThread ident={self._ident} watches={self.watches!r}>"

    def start(self) -> None:
        """Start the thread; unseen by :mod:`threading`, since no code of a cell ever runs in it."""
        self._watch_transport(False)
        self._ident = _thread.start_new_thread(self._run, ())

    def wake(self) -> None:
        """From any thread: look at the world again."""
        if _thread.get_ident() != self._ident:
            self._set.wake()

    def _watch_transport(self, readable: bool) -> None:
        self._set.set(self._sock, readable=readable)

    def _run(self) -> None:
        self._prepare_thread()
        try:
            while True:
                self._turn()
        except BaseException:  # noqa: BLE001
            # A worker that nobody can reach must not live on, nor end without a word.
            os.write(2, traceback.format_exc().encode())
            os._exit(1)

    def _turn(self) -> None:
        """Wait once and do what is to be done."""
        ready = self._set.wait(self._prepare_wait())
        events = ready.pop(self._sock, 0)
        if events & select.POLLOUT:
            self._outbox.pump()
        now = monotonic()
        if ready or (self._output.flush_at or now + 1) <= now:
            self._output_is_held = not self._output.try_drain(pipes=True)
        for watch in self.watches:
            if watch.next_look(now) == 0:
                watch.look(now)
        if events & READABLE:
            self._receiver.receive()

    def _prepare_wait(self) -> float | None:
        """Say what is to be waited for; the longest time to wait."""
        backlog = self._outbox.pending_bytes
        held, self._output_is_held = self._output_is_held, False
        self._set.set(self._sock, writable=backlog > 0)
        look = not held and backlog <= self._outbox.max_bytes
        for fd in self._output.all_pipes:
            if fd in self._output.pipes:
                self._set.set(fd, readable=look)
            else:
                self._set.remove(fd)
        now = monotonic()
        waits = [wait for watch in self.watches if (wait := watch.next_look(now)) is not None]
        if held:
            waits.append(BUSY_RETRY_S)
        elif self._output.flush_at is not None:
            waits.append(max(0.0, self._output.flush_at - now))
        return min(waits) if waits else None


def describe_fault(error: ProtocolError) -> str:
    """What the session is told about something it sent."""
    return f"{type(error).__name__}: {error}"
