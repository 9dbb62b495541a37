"""The worker's i/o thread: the only reader of the transport and, when no cell drains them, of the pipes.

It never runs user code. Besides reading it keeps the worker's time: it has the companion take
the loop over from a cell that takes long, sends gathered output that is due, and heartbeats.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from ..errors import ProtocolError
from ..protocol.framing import FrameReader
from .outbox import Outbox
from .output import Output

__all__ = ["IoThread", "Watch"]

BUSY_RETRY_S = 0.005


class Watch(Protocol):
    """Something that wants to be looked after at certain times."""

    def next_look(self, now: float) -> float | None:
        """Seconds until :meth:`look` is due; None if nothing is to be looked after."""

    def look(self, now: float) -> None:
        """Do what is due."""


class IoThread:
    """Waits for the transport, the pipes, a wake-up and the clock, all in one ``poll``."""

    def __init__(
        self,
        sock: socket.socket,
        reader: FrameReader[Any],
        outbox: Outbox,
        output: Output,
        *,
        handle: Callable[[Any], None],
        on_end: Callable[[], None],
        prepare_thread: Callable[[], None],
    ) -> None:
        self.watches: list[Watch] = []
        self._sock = sock
        self._reader = reader
        self._outbox = outbox
        self._output = output
        self._handle = handle
        self._on_end = on_end
        self._prepare_thread = prepare_thread
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        self._thread = threading.Thread(target=self._run, name="stateroom-io", daemon=True)
        outbox.wake = output.arm = self.wake

    def __repr__(self) -> str:
        return f"<IoThread alive={self._thread.is_alive()} watches={self.watches!r}>"

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """From any thread: look at the world again."""
        if threading.current_thread() is not self._thread:
            try:
                os.write(self._wake_write, b"\0")
            except BlockingIOError:
                pass  # it has enough wake-ups to read

    def _run(self) -> None:
        self._prepare_thread()
        try:
            while self._turn():
                pass
        finally:
            self._on_end()  # also when this thread fails: a worker that nobody can reach must not live on

    def _turn(self) -> bool:
        """Wait once and do what is to be done; False at the end of the transport."""
        ready = self._wait()
        if self._wake_read in ready:
            os.read(self._wake_read, 4096)
        if ready.get(self._sock.fileno(), 0) & select.POLLOUT:
            self._outbox.pump()
        now = time.monotonic()
        if not ready.keys().isdisjoint(self._output.pipes) or (self._output.flush_at or now + 1) <= now:
            self._output_is_held = not self._output.try_drain(pipes=True)
        for watch in self.watches:
            if watch.next_look(now) == 0:
                watch.look(now)
        events = ready.get(self._sock.fileno(), 0)
        return not events & (select.POLLIN | select.POLLHUP | select.POLLERR) or self._receive()

    _output_is_held = False
    """Whether another thread was found to be sending output: no use to look at the pipes then."""

    def _wait(self) -> dict[int, int]:
        poll = select.poll()
        backlog = self._outbox.pending_bytes
        poll.register(self._sock, select.POLLIN | (select.POLLOUT if backlog else 0))
        poll.register(self._wake_read, select.POLLIN)
        held, self._output_is_held = self._output_is_held, False
        if not held and backlog <= self._outbox.max_bytes:
            for fd in list(self._output.pipes):
                poll.register(fd, select.POLLIN)
        now = time.monotonic()
        waits = [wait for watch in self.watches if (wait := watch.next_look(now)) is not None]
        if held:
            waits.append(BUSY_RETRY_S)
        elif self._output.flush_at is not None:
            waits.append(max(0.0, self._output.flush_at - now))
        return dict(poll.poll(min(waits) * 1000 if waits else None))

    def _receive(self) -> bool:
        try:
            count = self._sock.recv_into(self._reader.get_buffer(), 0, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not count:
            return False
        for item in self._reader.received(count):
            self._handle(item)
        return True


def describe_fault(error: ProtocolError) -> str:
    """What the session is told about something it sent."""
    return f"{type(error).__name__}: {error}"
