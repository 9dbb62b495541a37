"""A worker process as its session sees it: spawn, signal, kill, exit status, last words."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from ..config import SessionConfig
from ..errors import WorkerStartError
from ..protocol.cancel_page import CANCEL_SIGNAL_NAME
from ..protocol.messages import Stream
from .launcher import ExitReport
from .plumbing import Plumbing

__all__ = ["OwnedProcess", "PlumbedProcess", "SpawnedProcess", "popen_python", "spawn"]


class OwnedProcess(Protocol):
    """The operating system's side of a worker, however it was made. Safe against reuse of its pid."""

    pid: int

    @property
    def returncode(self) -> int | None:
        """As of :class:`subprocess.Popen`; None also if nobody can know any more."""

    def send_signal(self, number: int) -> None:
        """Signal it; nothing happens if it has ended."""

    def watch(self, on_exit: Callable[[], None]) -> None:
        """Have the running event loop call ``on_exit``, once, when the process has ended."""

    def close(self) -> None:
        """Give back what is held for it; ``on_exit`` is not called after this."""


class SpawnedProcess:
    """A child of this process."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self.pid = popen.pid
        self.popen = popen
        self._pidfd: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        return f"<SpawnedProcess pid={self.pid} returncode={self.popen.returncode}>"

    @property
    def returncode(self) -> int | None:
        return self.popen.poll()

    def send_signal(self, number: int) -> None:
        if self.popen.poll() is None:
            self.popen.send_signal(number)

    def watch(self, on_exit: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        if hasattr(os, "pidfd_open"):
            self._pidfd = os.pidfd_open(self.pid)
            self._loop.add_reader(self._pidfd, self._ended, on_exit)
        else:
            threading.Thread(target=self._wait, args=(self._loop, on_exit), daemon=True).start()

    def close(self) -> None:
        if self._pidfd is not None and self._loop is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
        self._pidfd = None

    def _ended(self, on_exit: Callable[[], None]) -> None:
        self.close()
        on_exit()

    def _wait(self, loop: asyncio.AbstractEventLoop, on_exit: Callable[[], None]) -> None:
        self.popen.wait()
        try:
            loop.call_soon_threadsafe(on_exit)
        except RuntimeError:
            pass  # the loop is closed: nobody wants to know


class PlumbedProcess:
    """One process and the ends of its transport, pipes, cancel page and lifeline that stay here."""

    def __init__(self, process: OwnedProcess, plumbing: Plumbing) -> None:
        self.process = process
        self.pid = process.pid
        self.sock = plumbing.sock
        self._plumbing = plumbing

    @classmethod
    def spawn(cls, config: SessionConfig) -> PlumbedProcess:
        """Start a worker; it waits for its settings on the transport.

        Raises :class:`WorkerStartError` if the interpreter cannot be run at all.
        """
        with Plumbing.lay() as plumbing:
            popen = popen_python(
                config,
                ["stateroom.worker.__main__", *map(str, plumbing.inherited)],
                pass_fds=plumbing.inherited,
                stdout=plumbing.stdout,
                stderr=plumbing.stderr,
            )
            return cls(SpawnedProcess(popen), plumbing)

    def __repr__(self) -> str:
        return f"<PlumbedProcess {self.process!r}>"

    async def connect(self, protocol: asyncio.BufferedProtocol) -> None:
        await asyncio.get_running_loop().create_connection(lambda: protocol, sock=self.sock)

    def read_rest(self, buffer: memoryview) -> int:
        try:
            return os.readv(self.sock.fileno(), [buffer])
        except (BlockingIOError, ConnectionResetError):
            return 0

    def withdraw(self, number: int, behind: int = 0) -> bool:
        return self._plumbing.page.withdraw(number, behind)

    def request_cancel(self, number: int, attempt: int) -> None:
        """Name the execution in the page and signal the worker; harmless if it is not running."""
        self._plumbing.page.write(number, attempt)
        self.process.send_signal(getattr(signal, CANCEL_SIGNAL_NAME))

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)

    def watch(self, on_exit: Callable[[], None]) -> None:
        self.process.watch(on_exit)

    def report(self) -> ExitReport:
        return ExitReport(self.pid, self.process.returncode)

    def leftover(self, stream: Stream) -> bytes:
        parts, fd = [], self._plumbing.pipes.get(stream)
        for _ in range(LEFTOVER_READS):  # its own children may live on, and write for ever
            if fd is None or not select.select([fd], [], [], 0)[0] or not (data := os.read(fd, 1 << 16)):
                break
            parts.append(data)
        return b"".join(parts)

    def close(self) -> None:
        """Give all descriptors back, and with the lifeline the process its end."""
        self.process.close()
        self._plumbing.close()


LEFTOVER_READS = 16
"""Of 64 KB: a pipe holds no more than that by default."""


async def spawn(config: SessionConfig) -> PlumbedProcess:
    """The plain launcher: a new interpreter."""
    return PlumbedProcess.spawn(config)


_BOOT = (
    "import sys\nif not sys.flags.safe_path: del sys.path[0]\n"
    "import gc, importlib, linecache\ngc.disable()\nlinecache.clearcache()\n"
    "lazy = importlib.import_module('stateroom.worker.lazy_modules')\n"
    "lazy.import_asyncio()\nlazy.import_msgspec()\n"
    "importlib.import_module(sys.argv[1]).main(sys.argv[2:])"
)
"""What ``-P -m`` does (no module in the working folder may replace one of the worker's), but without
``sys.flags.safe_path``, which user code and the Python processes that it starts would inherit, and
without ``runpy``, which takes its time to load. The worker turns the collector on when all is loaded."""


def popen_python(
    config: SessionConfig, module: Sequence[str], *, pass_fds: Sequence[int], stdout: int, stderr: int
) -> subprocess.Popen[bytes]:
    """Run a module, with arguments, by the interpreter and in the surroundings of the settings."""
    python = config.python or sys.executable
    # -u: what C code prints must not wait in a buffer of the C library.
    try:
        return subprocess.Popen(
            [python, "-u", "-c", _BOOT, *module],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            pass_fds=pass_fds,
            cwd=config.cwd,
            env=config.env,
            start_new_session=True,
        )
    except OSError as error:
        raise WorkerStartError(f"cannot run {python!r} as a worker: {error}") from error
