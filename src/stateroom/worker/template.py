"""The warm template: ``python -P -u -m stateroom.worker.template CONTROL LIFELINE [MODULE ...]``.

Loads the worker's code and the modules that are named, then forks a worker for each request that
comes, with its descriptors, through the control socket. After CPython's ``forkserver`` and the zygote of
Android: nothing runs in here but that, no thread and no event loop, so that a fork finds all
locks free. Linux only: pidfds tell of the end of workers, so SIGCHLD is left as users' code expects it.

A forked worker differs from a spawned one in this: modules are loaded already, ``hash()`` of
strings is the same in all workers of one template, and modules with random state of their own (other than
``random`` and ``numpy.random``) must give it anew themselves, through ``os.register_at_fork``.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import select
import signal
import socket
import sys
import threading
import traceback
import warnings
import weakref
from collections.abc import Iterable
from typing import Any

import msgspec

from ..config import EngineConfig
from ..engine.async_executor import AsyncExecutor
from ..engine.namespace import NamespaceManager
from ..engine.tracebacks import describe_exception
from ..protocol.framing import FrameReader
from ..protocol.messages import ToWorker
from ..protocol.template_messages import (
    FORK,
    MAX_TEXT_CHARS,
    Exited,
    Forked,
    ForkFailed,
    FromTemplate,
    PreloadFailed,
    TemplateReady,
    WorkerDescriptors,
)
from .__main__ import die_with_session
from .__main__ import main as be_worker
from .loan_desk import replace_accessors

__all__ = ["Template"]


def main(arguments: list[str]) -> None:
    """Be a template; then, in each forked child, a worker, which ends as one that was spawned."""
    control_fd, lifeline_fd, *modules = arguments
    die_with_session(int(lifeline_fd))
    template = Template(socket.socket(fileno=int(control_fd)), int(lifeline_fd))
    with warnings.catch_warnings():
        # os.fork warns of threads; the pool has been told of them, once.
        warnings.simplefilter("ignore", DeprecationWarning)
        template.load(modules)
        loaded = frozenset(sys.modules)
        descriptors = template.serve()
    del template
    become_worker(descriptors)
    end(loaded)


class Template:
    """Waits for requests and for the end of workers; keeps a pidfd of each worker that lives."""

    def __init__(self, control: socket.socket, lifeline_fd: int) -> None:
        self._control = control
        self._lifeline_fd = lifeline_fd
        self._pids: dict[int, int] = {}
        """The pid behind each pidfd."""
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        self._encode = msgspec.msgpack.Encoder().encode

    def __repr__(self) -> str:
        return f"<Template workers={sorted(self._pids.values())}>"

    def load(self, modules: Iterable[str]) -> None:
        """Import what workers shall find loaded; tell the pool, and end if that fails."""
        replace_accessors()
        sys.path.insert(0, "")  # as in a session: modules of the working folder are found
        for name in modules:
            try:
                importlib.import_module(name)
            except BaseException:  # noqa: BLE001 - a module may well call sys.exit()
                self._send(PreloadFailed(name, traceback.format_exc()[-MAX_TEXT_CHARS:]))
                raise SystemExit(1) from None
        if sys.path[0] == "":
            del sys.path[0]
        warm_up()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a parent or a module may have had it ignored
        settle_memory()
        self._send(TemplateReady(threads_beside_main()))

    def serve(self) -> WorkerDescriptors:
        """Fork a worker per request, for as long as the pool lives; returns in the workers only."""
        while True:
            for fd, _events in self._poll.poll():
                if fd != self._control.fileno():
                    self._reap(fd)
                elif (descriptors := self._take_request()) is not None and self._fork(descriptors):
                    return descriptors

    def _take_request(self) -> WorkerDescriptors | None:
        size = len(WorkerDescriptors._fields)
        data, fds, _flags, _address = socket.recv_fds(self._control, 64, size, socket.MSG_CMSG_CLOEXEC)
        if not data:
            raise SystemExit(0)
        if data == FORK and len(fds) == size:
            return WorkerDescriptors(*fds)
        close_all(fds)
        self._send(ForkFailed(f"{len(fds)} of {size} descriptors came with {data!r}"))
        return None

    def _fork(self, descriptors: WorkerDescriptors) -> bool:
        """Fork; whether this is the child."""
        flush_streams()
        try:
            pid = os.fork()
        except OSError as error:
            self._send(ForkFailed(str(error)))
        else:
            if pid == 0:
                self._forget()
                return True
            self._announce(pid)
        close_all(descriptors)
        return False

    def _announce(self, pid: int) -> None:
        pidfd = os.pidfd_open(pid)
        self._pids[pidfd] = pid
        self._poll.register(pidfd, select.POLLIN)
        self._send(Forked(pid), pidfd)

    def _reap(self, pidfd: int) -> None:
        pid = self._pids.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        self._send(Exited(pid, os.waitstatus_to_exitcode(status)))

    def _send(self, message: FromTemplate, *fds: int) -> None:
        try:
            socket.send_fds(self._control, [self._encode(message)], fds)
        except OSError:
            raise SystemExit(0) from None  # the pool is gone

    def _forget(self) -> None:
        """In a child: let go of everything that is the template's."""
        self._control.close()
        close_all([self._lifeline_fd, *self._pids])
        self._pids.clear()


def become_worker(descriptors: WorkerDescriptors) -> None:
    """Make a forked child what a new interpreter would be, and serve."""
    os.setsid()
    os.dup2(descriptors.stdout, 1)
    os.dup2(descriptors.stderr, 2)
    close_all([descriptors.stdout, descriptors.stderr])
    forget_exit_handlers()
    seed_anew()
    arguments = [str(fd) for fd in descriptors[:5]]
    sys.argv = [sys.modules[be_worker.__module__].__file__ or "", *arguments]
    be_worker(arguments)


def end(loaded: frozenset[str]) -> None:
    """End as an interpreter does, without taking down what the template has loaded: that takes 15 ms.

    Threads are waited for, exit handlers run, and what cells made is let go, so that open files are
    written and finalizers run.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    vars(sys.modules["__main__"]).clear()
    for name in sys.modules.keys() - loaded:
        del sys.modules[name]
    gc.collect()
    flush_streams()
    os._exit(0)


def warm_up() -> None:
    """Do once what each worker would do for the first time: decoders, tables, imports inside functions."""
    FrameReader(ToWorker, 1 << 16)
    executor = AsyncExecutor(NamespaceManager({}), execution_id="warm-up", config=EngineConfig())
    for code in ("import asyncio; await asyncio.sleep(0)", "def f():\n    return 1\nf()"):
        executor.plan(executor.prepare(code, None))
    try:
        executor.prepare("x = (", None)
    except SyntaxError as error:
        describe_exception(error, max_chars=1000)


def settle_memory() -> None:
    """Keep the collector away from what is loaded, so that its pages stay shared by all workers."""
    gc.collect()
    gc.disable()
    gc.freeze()


def threads_beside_main() -> list[str]:
    """Threads that a fork would leave behind.

    Native ones are counted after a first fork, since a library may end its own before each fork and start
    them again when it needs them (OpenBLAS does).
    """
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    names = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    native = len(os.listdir("/proc/self/task")) - 1 - len(names)
    os.waitpid(pid, 0)
    return names + [f"{native} native"] * (native > 0)


def forget_exit_handlers() -> None:
    """What the template's modules want done at exit is the template's; stdlib's own is set up again."""
    atexit._clear()
    finalize: Any = weakref.finalize
    finalize._registry.clear()  # of temporary folders, for one: they are not this process's to remove
    finalize._registered_with_atexit = False
    for module, function in (("logging", "shutdown"), ("multiprocessing.util", "_exit_function")):
        if module in sys.modules:
            atexit.register(getattr(sys.modules[module], function))


def seed_anew() -> None:
    """Give this process random numbers of its own; ``random`` sees to itself at a fork."""
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()


def flush_streams() -> None:
    """What waits in a buffer at a fork would be written by both."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


def close_all(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)


if __name__ == "__main__":
    main(sys.argv[1:])
