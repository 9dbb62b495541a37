"""A worker that the warm template has forked, as the operating system shows it to the session."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

__all__ = ["ForkedProcess"]

STATUS_WAIT_S = 1.0
"""How long the template may take to say how a worker that has ended did so."""


class ForkedProcess:
    """A child of the template. Its pidfd is for signals and tells of its end, the template of its status."""

    def __init__(self, pid: int, pidfd: int, forget: Callable[[int], None]) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.template_alive = True
        self._pidfd: int | None = pidfd
        self._forget = forget
        self._on_exit: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def __repr__(self) -> str:
        return f"<ForkedProcess pid={self.pid} returncode={self.returncode}>"

    def send_signal(self, number: int) -> None:
        if self._pidfd is not None:
            try:
                signal.pidfd_send_signal(self._pidfd, number)
            except ProcessLookupError:
                pass

    def watch(self, on_exit: Callable[[], None]) -> None:
        self._on_exit = on_exit
        if self.returncode is not None:
            self._loop.call_soon(self._report)
        elif self._pidfd is not None:
            self._loop.add_reader(self._pidfd, self._ended)

    def close(self) -> None:
        self._on_exit = None
        self._forget(self.pid)
        if self._timer is not None:
            self._timer.cancel()
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None

    def exited(self, returncode: int) -> None:
        """The template says how it ended."""
        self.returncode = returncode
        self._report()

    def _ended(self) -> None:
        """It has ended; wait for the status as long as somebody may tell."""
        assert self._pidfd is not None
        self._loop.remove_reader(self._pidfd)
        self._timer = self._loop.call_later(STATUS_WAIT_S if self.template_alive else 0, self._report)

    def _report(self) -> None:
        on_exit = self._on_exit
        self.close()
        if on_exit is not None:
            on_exit()
