"""Makes this process a place for cells. Nothing of it is undone: the process ends with its session."""

from __future__ import annotations

import asyncio
import atexit
import builtins
import os
import sys
import threading

from ..engine import sources
from . import children
from .lag_watch import LagWatch
from .origin import follow_threads
from .parts import Parts
from .uncaught import print_thread_error, print_unraisable
from .user_display import display
from .watches import HeartbeatWatch

__all__ = ["install", "start"]

MATPLOTLIB_BACKEND = f"module://{__package__}.figures"
"""Chosen for the user unless the environment names another one."""
SWITCH_INTERVAL_S = 0.0005
"""How long a busy thread may keep the i/o thread and the companion waiting."""


def install(parts: Parts) -> None:
    """Give user code its ``__main__``, streams and loop, and cancels their signal."""
    _install_main(parts)
    _install_loop(parts)
    sources.install(parts.executor.compiler.sources)
    children.install(parts.executor.namespace_manager)
    sys.unraisablehook = print_unraisable
    if sys.version_info < (3, 13):
        threading.excepthook = print_thread_error
    parts.interrupts.install()
    parts.user_signals.install()
    os.register_at_fork(after_in_child=lambda: _forget_after_fork(parts))
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    atexit.register(_be_alone, parts)  # the first that is registered runs last


def start(parts: Parts) -> None:
    """Start the i/o thread, and let the loop read; the session may know already that the worker is ready."""
    _add_watches(parts)
    parts.io.start()
    parts.loop.add_reader(parts.receiver.sock, parts.receiver.receive)


def _install_main(parts: Parts) -> None:
    sys.modules["__main__"] = parts.main_module
    sys.path.insert(0, "")
    sys.argv = [""]
    sys.stdout, sys.stderr = parts.output.stream("stdout"), parts.output.stream("stderr")
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr  # type: ignore[misc]
    sys.stdin = sys.__stdin__ = parts.input.stdin()  # type: ignore[misc]
    for part in (parts.input, parts.publisher, parts.steps):
        part.install()
    builtins.display = display  # type: ignore[attr-defined]
    os.environ.setdefault("MPLBACKEND", MATPLOTLIB_BACKEND)


def _install_loop(parts: Parts) -> None:
    follow_threads()
    asyncio.set_event_loop(parts.loop)
    parts.loop_errors.install()
    parts.handover.start()


def _add_watches(parts: Parts) -> None:
    telemetry, send = parts.executor.telemetry, parts.outbox.send
    lag_limit_s = parts.settings.engine.loop_lag_warning_s
    parts.loop.lag_limit_s, parts.loop.on_lag = lag_limit_s, telemetry.note_loop_lag
    lag_watch = LagWatch(parts.loop, lag_limit_s, parts.executor.compiler.sources, send)
    limits = [parts.limit, parts.saving_limit]
    parts.io.watches += [parts.cell_watch, *limits, lag_watch, parts.user_signals]
    if interval_s := parts.settings.heartbeat_interval_s:
        parts.io.watches.append(HeartbeatWatch(send, interval_s, telemetry))


def _be_alone(parts: Parts) -> None:
    """The interpreter stops all other threads now, wherever they are: also in the middle of a print."""
    parts.output.keep_others_out()
    parts.outbox.keep_others_out()


def _forget_after_fork(parts: Parts) -> None:
    """In a child that user code has forked: what it does is no longer the session's."""
    parts.interrupts.aim(None)
    for part in (parts.output, parts.outbox, parts.input, parts.publisher, parts.steps):
        part.forget_after_fork()
