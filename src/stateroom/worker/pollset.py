"""Descriptors that one thread waits for and others may change the interest in."""

from __future__ import annotations

import os
import select
import threading
from typing import Protocol

__all__ = ["PollSet", "make_poll_set"]


class PollSet(Protocol):
    """``set`` works from any thread and applies to a wait that is under way."""

    def set(self, fd: int, *, readable: bool | None = None, writable: bool | None = None) -> None:
        """Change the interest in ``fd``; None leaves that side as it is."""

    def remove(self, fd: int) -> None:
        """Wait for nothing of ``fd`` any more, not even its end; no harm if it is not in the set."""

    def wait(self, timeout_s: float | None) -> dict[int, int]:
        """Events by descriptor, in ``select.POLL*`` terms."""

    def wake(self) -> None:
        """Let a wait that is under way, or the next one, return."""


class _Interest:
    """Which events are wanted; a lock, because two threads change two sides of one descriptor."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.events: dict[int, int] = {}

    def change(self, fd: int, readable: bool | None, writable: bool | None) -> tuple[int, int]:
        """The events before and after."""
        before = after = self.events.get(fd, 0)
        for wanted, bit in ((readable, select.POLLIN), (writable, select.POLLOUT)):
            if wanted is not None:
                after = after | bit if wanted else after & ~bit
        self.events[fd] = after
        return before, after


class _Waker:
    """A pipe to wake a wait with."""

    def __init__(self) -> None:
        self.fd, self._write = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._write, False)

    def wake(self) -> None:
        try:
            os.write(self._write, b"\0")
        except BlockingIOError:
            pass  # it has wake-ups enough to read

    def clear(self) -> None:
        os.read(self.fd, 4096)


class _EpollSet:
    """Linux: the kernel applies a change to a wait that is under way, so nobody has to be woken for it."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._interest = _Interest()
        self._waker = _Waker()
        self.wake = self._waker.wake
        self._epoll.register(self._waker.fd, select.EPOLLIN)

    def __repr__(self) -> str:
        return f"<_EpollSet {self._interest.events}>"

    def set(self, fd: int, *, readable: bool | None = None, writable: bool | None = None) -> None:
        with self._interest.lock:
            known = fd in self._interest.events
            before, after = self._interest.change(fd, readable, writable)
            if not known:
                self._epoll.register(fd, after)
            elif before != after:
                self._epoll.modify(fd, after)

    def remove(self, fd: int) -> None:
        with self._interest.lock:
            if self._interest.events.pop(fd, None) is not None:
                self._epoll.unregister(fd)

    def wait(self, timeout_s: float | None) -> dict[int, int]:
        ready = dict(self._epoll.poll(timeout_s))
        if ready.pop(self._waker.fd, None):
            self._waker.clear()
        return ready


class _PollSet:
    """Elsewhere: a wait that is under way is woken by each change."""

    def __init__(self) -> None:
        self._interest = _Interest()
        self._waker = _Waker()
        self.wake = self._waker.wake

    def __repr__(self) -> str:
        return f"<_PollSet {self._interest.events}>"

    def set(self, fd: int, *, readable: bool | None = None, writable: bool | None = None) -> None:
        with self._interest.lock:
            before, after = self._interest.change(fd, readable, writable)
        if before != after:
            self.wake()

    def remove(self, fd: int) -> None:
        with self._interest.lock:
            self._interest.events.pop(fd, None)

    def wait(self, timeout_s: float | None) -> dict[int, int]:
        poll = select.poll()
        poll.register(self._waker.fd, select.POLLIN)
        with self._interest.lock:
            for fd, events in self._interest.events.items():
                poll.register(fd, events)
        ready = dict(poll.poll(None if timeout_s is None else timeout_s * 1000))
        if ready.pop(self._waker.fd, None):
            self._waker.clear()
        return ready


def make_poll_set() -> PollSet:
    """The best one that this system has."""
    return _EpollSet() if hasattr(select, "epoll") else _PollSet()
