"""A pure-Python loop in a session against the same loop in plain Python, turn by turn.

``python benchmarks/user_code_speed.py [--rounds N]``: the ratio should be 1.00.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys

import stateroom

LOOP = """
from time import perf_counter
def work(n):
    s = 0
    for i in range(n):
        s += i * i % 7
    return s
taken = []
for _ in range(5):
    start = perf_counter()
    work(1_000_000)
    taken.append(perf_counter() - start)
"""


def plain() -> float:
    """Seconds of the fastest of five loops, in an interpreter of its own."""
    output = subprocess.check_output([sys.executable, "-c", LOOP + "print(min(taken))"])
    return float(output)


async def main() -> None:
    """Print the ratio of the medians over the rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    inside, outside = [], []
    async with stateroom.Session() as session:
        for _ in range(parser.parse_args().rounds):
            outside.append(plain())
            inside.append((await session.run(LOOP + "min(taken)", check=True)).value)
    ratio = statistics.median(inside) / statistics.median(outside)
    medians = statistics.median(outside) * 1e3, statistics.median(inside) * 1e3
    print("plain {:.1f} ms, session {:.1f} ms".format(*medians), end="; ")
    print(f"ratio of medians {ratio:.3f}, of minima {min(inside) / min(outside):.3f}")


if __name__ == "__main__":
    asyncio.run(main())
