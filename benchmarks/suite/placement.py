"""Which core runs what: the scheduler's choice would decide ratios of short round trips.

Two processes that wake each other take turns on one core or answer each other across two. Which of the
two it is moves a round trip by a factor of three, differs between programs, and changes while they run. So
this process keeps one core and every session that it measures has another one for all its threads.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import psutil

from .measuring import Plan


@contextlib.contextmanager
def own_core(plan: Plan) -> Iterator[int | None]:
    """Keep this thread on one core; gives the core for the others, or None where that is not to be had."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if not plan.pinned or len(cores) < 2:
        plan.note("processes were left to the scheduler: ratios of short round trips depend on its choices")
        yield None
        return
    plan.note("this process kept one core; sessions that answer round trips had another, all threads on it")
    os.sched_setaffinity(0, cores[:1])
    try:
        yield cores[1]
    finally:
        os.sched_setaffinity(0, cores)


def move(pid: int, core: int) -> None:
    """Keep all threads of a process on a core; those that they start stay there too."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread.name), [core])


def move_children(core: int) -> None:
    """The same for all children of this process."""
    for child in psutil.Process().children():
        move(child.pid, core)
