"""What a session looks like from outside, at one moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from .cancellation import CancelCounters
from .interceptors import InterceptorInfo

__all__ = ["SessionInfo", "figures_of", "figures_or_error"]


class SessionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """State, counters and figures of a session."""

    state: str
    """One of "new", "starting", "idle", "busy", "broken", "restarting", "closing", "closed"."""
    pid: int | None
    """The worker's process id; None while there is no worker."""
    python_version: str | None
    """The worker's, in full; None before there was one."""
    running: str | None
    """The id of the running execution."""
    queued: int
    """Executions that wait for their turn."""
    executions: int
    """Executions that were begun and have ended, however."""
    messages: int
    """Messages received from the session's workers."""
    restarts: int
    """Workers that were replaced, for whatever reason."""
    heartbeat_age_s: float | None
    """Seconds since the worker's last sign of life."""
    memory_bytes: int | None
    """Resident memory of the worker."""
    cpu_s: float | None
    """Processor time that the worker has used."""
    cells_since_checkpoint: int
    """Cells that have ended since the last checkpoint."""
    interceptors: list[InterceptorInfo]
    """What each message interceptor has cost."""
    cancels: CancelCounters
    """Requests to cancel, and what became of them."""
    telemetry: dict[str, float]
    """Counters of the worker's engine, as of its last sign of life."""
    last_exit: str | None
    """How the last worker ended, if one has."""
    attachments: dict[str, dict[str, Any]] = {}
    """Figures of what is attached to the session, by name: of durable executions, say.

    Of what raises, the only one is ``error``.
    """


def figures_of(pid: int | None) -> tuple[int | None, float | None]:
    """Resident memory in bytes and processor time in seconds of a process, read from outside."""
    import psutil  # only those who ask pay for it

    if pid is None:
        return None, None
    try:
        process = psutil.Process(pid)
        times = process.cpu_times()
        return process.memory_info().rss, times.user + times.system
    except psutil.Error:
        return None, None


def figures_or_error(figures: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What an attachment says of itself; the user's own may raise."""
    try:
        return figures()
    except Exception as error:  # noqa: BLE001 - one that is broken must not hide all the others
        return {"error": f"{type(error).__name__}: {error}"}
