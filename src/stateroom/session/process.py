"""A worker process as its session sees it: spawn, signal, kill, exit status, last words."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable

from ..config import SessionConfig
from ..errors import WorkerStartError
from ..protocol.cancel_page import CANCEL_SIGNAL_NAME, CancelPage
from ..protocol.messages import Stream

__all__ = ["ExitReport", "WorkerProcess"]

SOCKET_BUFFER_BYTES = 1 << 20


class ExitReport:
    """How a worker ended: ``exit_status`` or ``signal``, one of the two, None if it is not known.

    ``last_words`` is what it wrote to descriptors 1 and 2 and could not pass on.
    """

    __slots__ = ("exit_status", "last_words", "pid", "signal")

    def __init__(self, pid: int, returncode: int | None) -> None:
        self.pid = pid
        self.last_words: dict[Stream, str] = {}
        self.exit_status = returncode if returncode is not None and returncode >= 0 else None
        self.signal = -returncode if returncode is not None and returncode < 0 else None

    def __repr__(self) -> str:
        return f"<ExitReport {self}>"

    def __str__(self) -> str:
        if self.signal is not None:
            return f"worker {self.pid} was killed by {_signal_name(self.signal)}"
        if self.exit_status is not None:
            return f"worker {self.pid} exited with status {self.exit_status}"
        return f"worker {self.pid} is gone"


class WorkerProcess:
    """One process and the ends of its transport, pipes, cancel page and lifeline that stay here."""

    def __init__(
        self, popen: subprocess.Popen[bytes], sock: socket.socket, page: CancelPage, fds: dict[str, int]
    ) -> None:
        self.popen = popen
        self.pid = popen.pid
        self.sock = sock
        self.page = page
        self._fds = fds

    @classmethod
    def spawn(cls, config: SessionConfig) -> WorkerProcess:
        """Start a worker; it waits for its settings on the transport.

        Raises :class:`WorkerStartError` if the interpreter cannot be run at all.
        """
        with contextlib.ExitStack() as on_failure, contextlib.ExitStack() as theirs:
            sock, their_sock = _socketpair()
            on_failure.enter_context(sock)
            theirs.enter_context(their_sock)
            page = CancelPage.create()
            on_failure.callback(page.close)
            out_read, out_write = _pipe(on_failure, theirs)
            err_read, err_write = _pipe(on_failure, theirs)
            life_read, life_write = os.pipe()
            theirs.callback(os.close, life_read)
            on_failure.callback(os.close, life_write)
            inherited = [their_sock.fileno(), page.fd, out_read, err_read, life_read]
            popen = _popen(config, inherited, out_write, err_write)
            on_failure.pop_all()
            return cls(popen, sock, page, {"stdout": out_read, "stderr": err_read, "lifeline": life_write})

    def __repr__(self) -> str:
        return f"<WorkerProcess pid={self.pid} returncode={self.popen.returncode}>"

    def request_cancel(self, number: int, attempt: int) -> None:
        """Name the execution in the page and signal the worker; harmless if it is not running."""
        self.page.write(number, attempt)
        self._signal(getattr(signal, CANCEL_SIGNAL_NAME))

    def kill(self) -> None:
        """SIGKILL."""
        self._signal(signal.SIGKILL)

    def watch(
        self, on_exit: Callable[[], None], add_reader: Callable[[int, Callable[[], None]], None]
    ) -> None:
        """Call ``on_exit`` when the process has ended.

        With a pidfd (Linux) as a reader of the event loop, elsewhere from a thread that waits.
        """
        if hasattr(os, "pidfd_open"):
            self._fds["pidfd"] = os.pidfd_open(self.pid)
            add_reader(self._fds["pidfd"], on_exit)
        else:
            threading.Thread(target=self._wait, args=(on_exit,), daemon=True).start()

    @property
    def watched_fd(self) -> int | None:
        """The descriptor that ``watch`` gave to ``add_reader``, to be removed before ``close``."""
        return self._fds.get("pidfd")

    def report(self) -> ExitReport:
        """How it ended, as far as that is known."""
        return ExitReport(self.pid, self.popen.poll())

    def leftover(self, stream: str) -> bytes:
        """What a dead worker has written to descriptor 1 or 2 and not read back itself."""
        parts, fd = [], self._fds.get(stream)
        while fd is not None and select.select([fd], [], [], 0)[0] and (data := os.read(fd, 1 << 16)):
            parts.append(data)
        return b"".join(parts)

    def close(self) -> None:
        """Give all descriptors back, and with the lifeline the process its end."""
        self.sock.close()
        self.page.close()
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()

    def _signal(self, number: int) -> None:
        if self.popen.poll() is None:
            self.popen.send_signal(number)

    def _wait(self, on_exit: Callable[[], None]) -> None:
        self.popen.wait()
        on_exit()


def _socketpair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    for sock in (ours, theirs):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
    ours.setblocking(False)
    return ours, theirs


def _pipe(on_failure: contextlib.ExitStack, theirs: contextlib.ExitStack) -> tuple[int, int]:
    """A pipe of which both sides keep the read end: the session reads what a dead worker left."""
    read, write = os.pipe()
    on_failure.callback(os.close, read)
    theirs.callback(os.close, write)
    return read, write


def _popen(config: SessionConfig, inherited: list[int], stdout: int, stderr: int) -> subprocess.Popen[bytes]:
    python = config.python or sys.executable
    # -P: a module in the working folder must not replace one that the worker needs.
    # -u: what C code prints must not wait in a buffer of the C library.
    command = [python, "-P", "-u", "-m", "stateroom.worker", *map(str, inherited)]
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            pass_fds=inherited,
            cwd=config.cwd,
            env=config.env,
            start_new_session=True,
        )
    except OSError as error:
        raise WorkerStartError(f"cannot run {python!r} as a worker: {error}") from error


def _signal_name(number: int) -> str:
    try:
        return f"{signal.Signals(number).name} (signal {number})"
    except ValueError:
        return f"signal {number}"
