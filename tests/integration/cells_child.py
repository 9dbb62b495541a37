"""Saves one cell after another, says so on stdout, and is killed by tests: ``python cells_child.py WHERE``."""

from __future__ import annotations

import itertools
import sys

from test_cell_stores import open_store


def main(where: str) -> None:
    store = open_store(where)
    latest = store.latest("s")
    for number in itertools.count(latest.number if latest is not None else 0):
        pieces = itertools.repeat(f"{number + 1} ".encode() * 1000, 300)
        print(store.save("s", f"e{number + 1}", b"result", pieces, after=number).number, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
