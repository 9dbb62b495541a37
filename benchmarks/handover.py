"""What moving the event loop costs, and how long tasks stand still: ``python benchmarks/handover.py``.

The first table times :class:`Handover` itself, in this process. The second one asks a session: a
background task sleeps 1 ms at a time, and the longest gap between two of its ticks is what a cell
of that kind did to it.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import stateroom
from stateroom.worker.event_loop import MovableEventLoop
from stateroom.worker.handover import Handover

TICK = """
import asyncio, threading, time
gaps = []
async def tick():
    last = time.perf_counter()
    while True:
        await asyncio.sleep(0.001)
        now = time.perf_counter()
        gaps.append(now - last)
        last = now
ticker = asyncio.create_task(tick())
hidden = {"sleep": time.sleep}
def busy(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end: pass
"""
KINDS = {
    "await asyncio.sleep(.3)": "await asyncio.sleep(.3)",
    "time.sleep(.3)": "time.sleep(.3)",
    "the same, not detected": "hidden['sleep'](.3)",
    "busy Python loop": "busy(.3)",
    "await, then time.sleep": "await asyncio.sleep(0)\ntime.sleep(.3)",
    "asyncio.run": "asyncio.run(asyncio.sleep(.3))",
    "one C call with the GIL": "sum(range(15_000_000))",
}


def microseconds(function: Callable[[], None], count: int) -> float:
    """Median time of one call."""
    taken = []
    for _ in range(count):
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken) * 1e6


@contextmanager
def handover_moves() -> Iterator[dict[str, Callable[[], None]]]:
    """What a cell pays for the loop being out of its way, by what happens meanwhile.

    They are called in the thread that entered this, in which no other loop may run.
    """
    loop = MovableEventLoop()
    asyncio.set_event_loop(loop)
    handover = Handover(loop, on_loop_exit=lambda _: None)
    handover.start()

    def still() -> None:
        handover.still()
        handover.release()
        handover.home()

    def there_and_back() -> None:
        """Until the companion really runs the loop, and back."""
        handover.still()
        handover.take_over()
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result()
        handover.release()
        handover.home()

    yield {"cell that ends before the takeover": still, "takeover, one turn there, and back": there_and_back}
    asyncio.set_event_loop(None)
    loop.close()


def time_handover(count: int) -> None:
    """Print the moves' medians."""
    with handover_moves() as moves:
        for name, move in moves.items():
            print(f"{name:<40}{microseconds(move, count):>8.1f} µs")


async def longest_gaps() -> None:
    """Print how long the background task stood still, by kind of cell."""
    async with stateroom.Session() as session:
        await session.run(TICK, check=True)
        print(f"\n{'':<28}{'median gap ms':>14}{'longest gap ms':>16}")
        for name, code in KINDS.items():
            await session.run("gaps.clear()")
            await session.run(code, check=True)
            median, longest = (await session.run("sorted(gaps)[len(gaps) // 2], max(gaps)")).value
            print(f"{name:<28}{median * 1e3:>14.2f}{longest * 1e3:>16.2f}")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    time_handover(parser.parse_args().count)
    asyncio.run(longest_gaps())


if __name__ == "__main__":
    main()
