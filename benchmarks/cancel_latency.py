"""From ``cancel()`` to the reply, by what the cell is doing: ``python benchmarks/cancel_latency.py``."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time

import stateroom

PRELUDE = "import asyncio, re, subprocess, time"
CELLS = {
    "await": "print('on'); await asyncio.sleep(100)",
    "time.sleep": "print('on'); time.sleep(100)",
    "while True: pass": "print('on')\nwhile True: pass",
    "Popen.wait": "p = subprocess.Popen(['sleep', '100']); print('on'); p.wait()",
    "regex": "print('on'); re.match('(a+)+$', 'a' * 60 + 'b')",
    "input()": "print('on'); input()",
}
SETTLE_S = 0.02
"""The cell is given this long to be where it will be cancelled; not part of the figure."""


async def never_answer(_: object) -> str:
    """Leave the cell waiting for its input."""
    await asyncio.Event().wait()
    return ""


async def cancel_once(session: stateroom.Session, code: str) -> float:
    """Milliseconds from the request until the result is here."""
    started = asyncio.Event()
    running = asyncio.create_task(session.run(code, on_output=lambda _: started.set(), on_input=never_answer))
    await started.wait()
    await asyncio.sleep(SETTLE_S)
    start = time.perf_counter()
    cancelling = asyncio.create_task(session.cancel())
    result = await running
    taken = (time.perf_counter() - start) * 1e3
    assert result.cancelled, result
    await cancelling
    return taken


async def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    count = parser.parse_args().count
    print(f"{'':<20}{'p50 ms':>8}{'p99 ms':>8}{'max ms':>8}")
    for name, code in CELLS.items():
        async with stateroom.Session() as session:
            await session.run(PRELUDE, check=True)
            taken = sorted([await cancel_once(session, code) for _ in range(count)])
            await session.run("try: p.kill()\nexcept NameError: pass")
        p99 = taken[min(len(taken) - 1, len(taken) * 99 // 100)]
        print(f"{name:<20}{statistics.median(taken):>8.2f}{p99:>8.2f}{taken[-1]:>8.2f}")


if __name__ == "__main__":
    asyncio.run(main())
