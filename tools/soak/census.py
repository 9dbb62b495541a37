"""What the client holds at one moment: memory, descriptors, tasks, threads, processes, objects, files."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import statistics
import sys
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["Census", "family", "leaks", "slope_bytes_per_min", "take_census"]

MARKER = "SOAK_RUN"
"""An environment variable that all workers, and their children, inherit from the client."""
THREADS_OF_EXECUTOR = 32
"""``asyncio.to_thread`` keeps its threads; they come as they are needed."""
GROWTH_BYTES = 32 << 20
"""So much may come and go in a process that breathes."""
BLOCKS_FACTOR, BLOCKS_SLACK = 1.1, 5_000
GROWTH_BYTES_PER_MIN = 300_000
"""Tolerated of the line through all censuses after the warm-up, in long runs."""
OBJECTS_SLACK = 3
ENTRIES_PER_SESSION = 6
"""Its folder with its owner and its locks, and in it one checkpoint with a folder and a lock."""


@dataclass(frozen=True)
class Census:
    """One count, at a moment when every session but the old hand is closed."""

    at_s: float
    memory_bytes: int
    worker_bytes: int
    """Of the old hand's worker."""
    blocks: int
    """Living blocks of Python's allocator: what leaks shows here before it does in the memory."""
    worker_blocks: int
    fds: int
    tasks: list[str]
    threads: int
    processes: dict[int, str]
    kinds: Counter[str]
    """Living objects of the library, by type."""
    objects: int
    files: list[str]


def take_census(
    at_s: float, run_id: str, folder: Path, *, worker_pid: int | None, worker_blocks: int
) -> Census:
    """Count now. ``folder`` is where temporary files go."""
    for _ in range(3):
        gc.collect()
    _trim()
    everything = gc.get_objects()
    kinds = Counter(type(thing).__qualname__ for thing in everything if _is_ours(thing))
    return Census(
        at_s=at_s,
        memory_bytes=psutil.Process().memory_info().rss,
        worker_bytes=psutil.Process(worker_pid).memory_info().rss if worker_pid is not None else 0,
        blocks=sys.getallocatedblocks(),
        worker_blocks=worker_blocks,
        fds=psutil.Process().num_fds(),
        tasks=[repr(task) for task in asyncio.all_tasks()],
        threads=threading.active_count(),
        processes=family(run_id),
        kinds=kinds,
        objects=len(everything),
        files=sorted(str(path.relative_to(folder)) for path in folder.rglob("*")),
    )


def family(run_id: str) -> dict[int, str]:
    """Every process that this run has started, directly or not, orphans included, and that lives."""
    found = {}
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARKER) == run_id:
                found[process.pid] = " ".join(process.cmdline()[-6:])
        except psutil.Error:  # noqa: PERF203 - gone meanwhile, or somebody else's
            continue
    zombies = [child for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE]
    return {**found, **{child.pid: "zombie" for child in zombies}}


def leaks(first: Census, now: Census) -> list[str]:
    """What has grown between two censuses that must not."""
    found = []
    folders = now.kinds["TemporaryFolder"] - first.kinds["TemporaryFolder"]  # each holds its owner open
    if now.fds > first.fds + folders:
        found.append(f"fds: {first.fds} -> {now.fds}")
    if len(now.tasks) > len(first.tasks):
        found.append(f"tasks: {len(first.tasks)} -> {len(now.tasks)}: {_more(first.tasks, now.tasks)}")
    if now.threads > first.threads + THREADS_OF_EXECUTOR:
        found.append(f"threads: {first.threads} -> {now.threads}")
    if len(now.processes) > len(first.processes):
        found.append(f"processes: {first.processes} -> {now.processes}")
    for kind, count in now.kinds.items():
        if count > first.kinds[kind] + OBJECTS_SLACK:
            found.append(f"objects: {kind}: {first.kinds[kind]} -> {count}")
    if len(now.files) > ENTRIES_PER_SESSION * now.kinds["Session"]:
        found.append(f"files of {now.kinds['Session']} sessions: {now.files}")
    return found


def memory_leak(censuses: list[Census]) -> str | None:
    """Whether the memory of the client, or of the old hand's worker, goes on growing after the warm-up."""
    settled = censuses[max(1, len(censuses) // 5) :]
    if len(settled) < 3:
        return None
    for what in ("blocks", "worker_blocks"):
        # Of the second half: on a loaded machine it takes long to fill all that is bounded.
        values = [getattr(census, what) for census in censuses[len(censuses) // 2 :]]
        if values[-1] > min(values) * BLOCKS_FACTOR + BLOCKS_SLACK:
            return f"{what}: {values}"
    for what in ("memory_bytes", "worker_bytes"):
        values = [getattr(census, what) for census in settled]
        growth, slope = values[-1] - min(values), slope_bytes_per_min(settled, what)
        minutes = (settled[-1].at_s - settled[0].at_s) / 60
        if growth > GROWTH_BYTES and slope * minutes > max(GROWTH_BYTES, GROWTH_BYTES_PER_MIN * minutes):
            return f"{what}: {values[0] / 1e6:.1f} MB -> {values[-1] / 1e6:.1f} MB, {slope / 1e6:.2f} MB/min"
    return None


def slope_bytes_per_min(censuses: list[Census], what: str = "memory_bytes") -> float:
    """Of the straight line that fits best; 0 for fewer than two."""
    if len(censuses) < 2:
        return 0.0
    times = [census.at_s / 60 for census in censuses]
    return statistics.linear_regression(times, [getattr(census, what) for census in censuses]).slope


def _is_ours(thing: object) -> bool:
    return type(thing).__module__.startswith("stateroom.session")


def _more(before: list[str], now: list[str]) -> list[str]:
    return [text for text in now if text not in before][:5]


def _trim() -> None:
    """Give free memory back, so that what is left is held by somebody."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):
        pass
