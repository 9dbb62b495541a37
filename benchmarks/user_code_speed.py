"""A pure-Python loop in a session against the same loop in plain Python, turn by turn.

``python benchmarks/user_code_speed.py [--rounds N]``: the ratio should be 1.00. The time is that of
the processor, so that other programs on the machine disturb it less.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys

import stateroom

LOOP = """
from time import thread_time
def work(n):
    s = 0
    for i in range(n):
        s += i * i % 7
    return s
def fastest(loops):
    taken = []
    for _ in range(loops):
        start = thread_time()
        work(100_000)
        taken.append(thread_time() - start)
    return min(taken)
"""
LOOPS = 30
PLAIN = f"{LOOP}\nimport sys\nfor line in sys.stdin:\n    print(fastest(int(line)), flush=True)\n"


class Plain:
    """An interpreter that runs the loop when it is told to."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PLAIN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def fastest(self) -> float:
        """Seconds of the fastest loop of one turn."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(LOOPS, file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def close(self) -> None:
        """End the interpreter."""
        self._process.communicate()


async def main() -> None:
    """Print the ratios over the rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    inside, outside = [], []
    plain = Plain()
    async with stateroom.Session() as session:
        await session.run(LOOP, check=True)
        for _ in range(parser.parse_args().rounds):
            outside.append(plain.fastest())
            inside.append((await session.run(f"fastest({LOOPS})", check=True)).value)
    plain.close()
    medians = statistics.median(outside), statistics.median(inside)
    print(f"plain {medians[0] * 1e3:.2f} ms, session {medians[1] * 1e3:.2f} ms", end="; ")
    print(f"ratio of medians {medians[1] / medians[0]:.3f}, of minima {min(inside) / min(outside):.3f}")


if __name__ == "__main__":
    asyncio.run(main())
