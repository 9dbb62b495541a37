"""What this machine holds: memory of a session, cells a second, time to start, size of a checkpoint.

Run it with ``python examples/capacity.py``; it takes some seconds. The figures are what a plan for more
machines starts from (docs/scaling.md).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import psutil

import stateroom

STATES = {
    "nothing": "",
    "1,000 small names": "globals().update({f'name_{n}': [n, str(n)] for n in range(1000)})",
    "10 functions, 10 classes": "\n".join(
        f"def f{n}(x): return x + {n}\nclass C{n}:\n    def method(self): return f{n}(1)" for n in range(10)
    ),
    "10 MB of bytes": "import os\ndata = os.urandom(10_000_000)",
}
"""What the checkpoint is taken of."""


async def milliseconds(action: Callable[[], Awaitable[object]]) -> float:
    """How long it takes."""
    started = time.perf_counter()
    await action()
    return (time.perf_counter() - started) * 1e3


def private_mb(session: stateroom.Session) -> float:
    """Memory that would be free again if this worker ended, in MB."""
    assert session.pid is not None
    return float(psutil.Process(session.pid).memory_full_info().uss / 1e6)


async def measure_start(count: int) -> None:
    """Sessions that are spawned, and sessions that are forked from the template of a pool."""
    async with AsyncExitStack() as stack:
        sessions = [stateroom.Session() for _ in range(count)]
        times = [await milliseconds(session.start) for session in sessions]
        for session in sessions:
            stack.push_async_callback(session.close)
        show_workers("spawned", times, sessions)
    async with stateroom.SessionPool(size=1, max_size=count + 1) as pool, AsyncExitStack() as stack:
        sessions, times = [], []
        for _ in range(count):
            started = time.perf_counter()
            sessions.append(await stack.enter_async_context(pool.session()))
            times.append((time.perf_counter() - started) * 1e3)
        show_workers("from a pool", times, sessions)


def show_workers(how: str, times: list[float], sessions: list[stateroom.Session]) -> None:
    """One line for one way to start."""
    memory = statistics.median(map(private_mb, sessions))
    resident = statistics.median((session.info.memory_bytes or 0) / 1e6 for session in sessions)
    print(
        f"  {how:<14}{statistics.median(times):8.1f} ms to start{resident:8.1f} MB resident"
        f"{memory:8.1f} MB private"
    )


async def measure_cells(seconds: float) -> None:
    """Cells one after another in one session, and in a session for each processor at once."""
    processors = os.cpu_count() or 1
    for count in (1, processors):
        async with AsyncExitStack() as stack:
            sessions = [await stack.enter_async_context(stateroom.Session()) for _ in range(count)]
            print(f"  {count} session(s): {await rate(sessions, seconds):10,.0f} cells/s of 1 + 1")


async def rate(sessions: list[stateroom.Session], seconds: float) -> float:
    """Cells a second of all sessions together; each waits for a result before it sends the next cell."""
    ends = time.perf_counter() + seconds

    async def keep_busy(session: stateroom.Session) -> int:
        done = 0
        while time.perf_counter() < ends:
            await session.run("1 + 1")
            done += 1
        return done

    return sum(await asyncio.gather(*map(keep_busy, sessions))) / seconds


async def measure_checkpoints() -> None:
    """Size and time of a checkpoint, by what the namespace holds."""
    for what, code in STATES.items():
        async with stateroom.Session() as session:
            await session.run(code, check=True)
            times = [await milliseconds(session.checkpoint) for _ in range(5)]
            saved = await session.checkpoint()
            back = [await milliseconds(lambda saved=saved: session.restore(saved)) for _ in range(5)]  # type: ignore[misc]
            print(
                f"  {what:<26}{saved.total_bytes / 1e3:12,.1f} KB{statistics.median(times):8.1f} ms to save"
                f"{statistics.median(back):8.1f} ms to restore"
            )


async def main() -> None:
    """Measure all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each rate of cells")
    parser.add_argument("--sessions", type=int, default=8, help="for memory and time to start")
    options = parser.parse_args()
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} processors, stateroom {stateroom.__version__}"
    )
    print("sessions, medians")
    await measure_start(options.sessions)
    print("round trips")
    await measure_cells(options.seconds)
    print("checkpoints, medians")
    await measure_checkpoints()


if __name__ == "__main__":
    asyncio.run(main())
