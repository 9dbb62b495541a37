"""The warm template as the pool sees it: start it, have it fork workers, hear how they end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
from collections import deque
from collections.abc import Sequence

import msgspec

from ..config import SessionConfig
from ..errors import ConfigError, WorkerStartError
from ..protocol.template_messages import (
    FORK,
    MAX_PACKET_BYTES,
    Exited,
    Forked,
    ForkFailed,
    FromTemplate,
    PreloadFailed,
    TemplateReady,
    WorkerDescriptors,
)
from .forked_process import ForkedProcess
from .plumbing import Plumbing
from .process import PlumbedProcess, SpawnedProcess, popen_python

__all__ = ["TemplateGone", "TemplateProcess", "can_fork"]

FORKS_IN_FLIGHT = 32
"""Requests sent before the first is answered: few enough to never fill the control socket."""
STDERR_TAIL_BYTES = 16_384


class TemplateGone(WorkerStartError):
    """The template ended, or did not answer; another one may do better."""


def can_fork() -> bool:
    """Whether forking from a template is to be had here.

    Linux with pidfds: elsewhere a worker could not be signalled safely, and the system libraries of
    macOS do not survive a fork.
    """
    return sys.platform == "linux" and hasattr(os, "pidfd_open") and hasattr(signal, "pidfd_send_signal")


class TemplateProcess:
    """One template: ``await start()``, ``await fork(config)`` as often as needed, ``await close()``."""

    def __init__(self, config: SessionConfig, preload: Sequence[str]) -> None:
        self.config = config
        self.preload = tuple(preload)
        self.threads: list[str] = []
        """Threads that its modules have started, which no worker will have."""
        self.forks = 0
        self._loop = asyncio.get_running_loop()
        self._decode = msgspec.msgpack.Decoder(FromTemplate).decode
        self._process: SpawnedProcess | None = None
        self._control: socket.socket | None = None
        self._lifeline: int | None = None
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by _ended; a pipe would have to be read
        self._ready: asyncio.Future[TemplateReady] = self._loop.create_future()
        self._doomed = False  # killed, or found dead, though the system has not said so
        self._gone = asyncio.Event()
        self._slots = asyncio.Semaphore(FORKS_IN_FLIGHT)
        self._asked: deque[asyncio.Future[ForkedProcess]] = deque()
        self._workers: dict[int, ForkedProcess] = {}

    def __repr__(self) -> str:
        state = "gone" if self._gone.is_set() else "ready" if self._ready.done() else "starting"
        return f"<TemplateProcess pid={self.pid} {state} forks={self.forks} workers={len(self._workers)}>"

    @property
    def pid(self) -> int | None:
        """The template's process id."""
        return self._process.pid if self._process is not None else None

    @property
    def alive(self) -> bool:
        """Whether it takes requests."""
        return self._ready.done() and not self._doomed and not self._gone.is_set()

    async def start(self) -> None:
        """Start it and wait until everything is loaded.

        Raises :class:`ConfigError` for a module that cannot be imported, :class:`TemplateGone` if the
        template does not get that far within ``start_timeout_s``, :class:`WorkerStartError` if the
        interpreter cannot be run at all.
        """
        try:
            self._spawn()
            async with asyncio.timeout(self.config.start_timeout_s):
                self.threads = (await self._ready).threads
        except TimeoutError:
            limit = f"start_timeout_s ({self.config.start_timeout_s} s)"
            failure = TemplateGone(f"the template was not ready within {limit}; {self._tail()}")
            await self.close(grace_s=0)
            raise failure from None
        except BaseException:
            await self.close(grace_s=0)
            raise

    async def fork(self, config: SessionConfig) -> PlumbedProcess:
        """A launcher: have a worker forked. Raises :class:`TemplateGone` if the template is, or hangs."""
        async with self._slots:
            with Plumbing.lay() as plumbing:
                self.forks += 1
                answer = self._ask(plumbing)
                try:
                    async with asyncio.timeout(config.start_timeout_s):
                        process = await answer
                except TimeoutError:
                    self._kill()
                    raise TemplateGone("the template did not answer and was killed") from None
                return PlumbedProcess(process, plumbing)

    async def close(self, *, grace_s: float) -> None:
        """End the template, by force after ``grace_s``; its workers live on."""
        if self._process is None:
            self._ended()
            return
        if self._control is not None:
            self._stop_reading()
            with contextlib.suppress(OSError):
                self._control.shutdown(socket.SHUT_RDWR)
        try:
            async with asyncio.timeout(grace_s):
                await self._gone.wait()
        except TimeoutError:
            self._kill()
            await self._gone.wait()

    def _spawn(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        life_read, self._lifeline = os.pipe()
        try:
            command = ["stateroom.worker.template", str(theirs.fileno()), str(life_read), *self.preload]
            output, inherited = self._stderr.fileno(), [theirs.fileno(), life_read]
            popen = popen_python(self.config, command, pass_fds=inherited, stdout=output, stderr=output)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(life_read)
        self._process, self._control = SpawnedProcess(popen), ours
        ours.setblocking(False)
        self._loop.add_reader(ours, self._receive)
        self._process.watch(self._ended)

    def _ask(self, plumbing: Plumbing) -> asyncio.Future[ForkedProcess]:
        if self._gone.is_set() or self._control is None:
            raise TemplateGone(f"the template is gone; {self._tail()}")
        descriptors = WorkerDescriptors(*(*plumbing.inherited, plumbing.stdout, plumbing.stderr))
        try:
            socket.send_fds(self._control, [FORK], descriptors)
        except OSError as error:
            self._doomed = True
            raise TemplateGone(f"the template cannot be reached: {error}") from error
        answer: asyncio.Future[ForkedProcess] = self._loop.create_future()
        self._asked.append(answer)
        return answer

    def _receive(self) -> None:
        """Take every packet that is there."""
        while self._control is not None:
            try:
                data, fds, _flags, _address = socket.recv_fds(
                    self._control, MAX_PACKET_BYTES, 1, socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                return
            except OSError:
                data, fds = b"", []
            if not data:
                self._stop_reading()  # the end of the process is what counts, and follows
                return
            self._take(self._decode(data), fds)

    def _take(self, message: FromTemplate, fds: list[int]) -> None:
        if isinstance(message, Forked):
            self._take_worker(message.pid, fds[0])
        elif isinstance(message, Exited):
            worker = self._workers.get(message.pid)
            if worker is not None:
                worker.exited(message.returncode)
        elif isinstance(message, ForkFailed):
            self._answer(WorkerStartError(f"the template cannot fork a worker: {message.reason}"))
        elif self._ready.done():
            pass
        elif isinstance(message, PreloadFailed):
            what = f"preload: {message.module!r} cannot be imported by the template:\n{message.text}"
            self._ready.set_exception(ConfigError(what))
        else:
            self._ready.set_result(message)

    def _take_worker(self, pid: int, pidfd: int) -> None:
        worker = ForkedProcess(pid, pidfd, self._forget)
        self._workers[pid] = worker
        if not self._answer(worker):
            worker.close()  # its plumbing is closed, so it ends by itself

    def _answer(self, answer: ForkedProcess | Exception) -> bool:
        """Answer the oldest request; False if nobody waits for it any more."""
        asked = self._asked.popleft()
        if asked.done():
            return False
        if isinstance(answer, Exception):
            asked.set_exception(answer)
        else:
            asked.set_result(answer)
        return True

    def _forget(self, pid: int) -> None:
        self._workers.pop(pid, None)

    def _kill(self) -> None:
        self._doomed = True
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)

    def _stop_reading(self) -> None:
        if self._control is not None:
            self._loop.remove_reader(self._control)

    def _ended(self) -> None:
        """The process has ended: take its last words, fail who waits, give all back."""
        self._receive()
        gone = TemplateGone(f"the template has ended ({self._status()}); {self._tail()}")
        self._gone.set()
        if not self._ready.done():
            self._ready.set_exception(gone)
            self._ready.exception()  # there may be nobody to retrieve it
        while self._asked:
            self._answer(gone)
        for worker in self._workers.values():
            worker.template_alive = False
        if self._control is not None:
            self._stop_reading()
            self._control.close()
            self._control = None
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None
        self._stderr.close()

    def _status(self) -> str:
        returncode = self._process.returncode if self._process is not None else None
        return f"status {returncode}"

    def _tail(self) -> str:
        """The end of what it wrote, for error messages."""
        if self._stderr.closed:
            return "what it wrote is gone"
        size = os.fstat(self._stderr.fileno()).st_size
        # Without a seek: the template writes at the position of the same open file.
        text = os.pread(self._stderr.fileno(), STDERR_TAIL_BYTES, max(0, size - STDERR_TAIL_BYTES))
        return f"it wrote:\n{text.decode('utf-8', 'replace')}" if text else "it wrote nothing"
