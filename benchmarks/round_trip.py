"""Round trip of ``1+1`` and of ``await asyncio.sleep(0)``: this project beside ipykernel, in one run.

``python benchmarks/round_trip.py [--rounds N]``; ipykernel and jupyter_client must be installed for the
second column (``pip install ipykernel``), and are left out with a word if they are not.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import statistics
import time
from collections.abc import Awaitable, Callable

import stateroom

CELLS = ("1+1", "await asyncio.sleep(0)")
Run = Callable[[str], Awaitable[object]]


async def timed(run: Run, code: str, count: int) -> list[float]:
    """Microseconds of each of ``count`` round trips, after a tenth as many that are not counted."""
    taken = []
    for number in range(count + count // 10):
        start = time.perf_counter()
        await run(code)
        if number >= count // 10:
            taken.append((time.perf_counter() - start) * 1e6)
    return taken


async def measure_stateroom(count: int) -> dict[str, list[float]]:
    """All cells in one session."""
    async with stateroom.Session() as session:
        await session.run("import asyncio", check=True)
        return {code: await timed(session.run, code, count) for code in CELLS}


async def measure_ipykernel(count: int) -> dict[str, list[float]]:
    """The same through jupyter_client."""
    from jupyter_client.manager import start_new_async_kernel

    manager, client = await start_new_async_kernel(kernel_name="python3")

    async def run(code: str) -> object:
        return await client.execute_interactive(code, output_hook=lambda _: None)

    try:
        await run("import asyncio")
        return {code: await timed(run, code, count) for code in CELLS}
    finally:
        client.stop_channels()
        await manager.shutdown_kernel(now=True)


def row(name: str, taken: list[float], base: list[float] | None) -> str:
    """One line of the table, with how many times slower than ``base`` the median is."""
    taken = sorted(taken)
    median = statistics.median(taken)
    ratio = f"{median / statistics.median(base):8.1f}x" if base else "        -"
    return f"  {name:<12}{median:>10.0f}{taken[len(taken) * 99 // 100]:>10.0f}{ratio}"


async def main() -> None:
    """Measure the peers in turn, round by round, so that a noisy minute hits all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=500)
    options = parser.parse_args()
    peers = {"stateroom": measure_stateroom}
    if importlib.util.find_spec("ipykernel"):
        peers["ipykernel"] = measure_ipykernel
    else:
        print("ipykernel is not installed: measured without it")
    figures: dict[str, dict[str, list[float]]] = {peer: {code: [] for code in CELLS} for peer in peers}
    for _ in range(options.rounds):
        for peer, measure in peers.items():
            count = options.count if peer == "stateroom" else options.count // 5
            for code, taken in (await measure(count)).items():
                figures[peer][code] += taken
    for code in CELLS:
        print(f"{code}\n  {'':<12}{'p50 µs':>10}{'p99 µs':>10}{'ratio':>9}")
        base = figures["stateroom"][code]
        for peer in peers:
            print(row(peer, figures[peer][code], None if peer == "stateroom" else base))


if __name__ == "__main__":
    asyncio.run(main())
