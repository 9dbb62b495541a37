"""Figures that pages take from the stored run of ``make bench`` are those of benchmarks/baseline.json.

A new baseline that differs from a page by more than the tolerance wants that page brought up to date.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from named_tests import ROOT

TOLERANCE = 0.25
UNITS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6}
README = {
    r"(\S+) times its round trip": ("round_trip", "1+1", "stateroom"),
    r"(\S+) times for an `await`": ("round_trip", "await asyncio.sleep(0)", "stateroom"),
    r"first result in (\S+ ms)": ("pool", "first result", "ready in a pool"),
}
ARCHITECTURE = {
    "`1+1`, from `run` to its result": ("round_trip", "1+1", "stateroom"),
    "`await asyncio.sleep(0)`": ("round_trip", "await asyncio.sleep(0)", "stateroom"),
    "a cell of 205 lines that is new": ("cache", "205 lines, new each time", "stateroom"),
    "the same, seen before": ("cache", "205 lines seen before", "stateroom"),
    "500 cells handed over at once": ("back_to_back", "500 cells at once", "stateroom"),
    "200,000 printed lines": ("output", "200,000 lines", "stateroom"),
    "`while True: pass`, from `cancel()` to the result": ("cancel", "while True: pass", "stateroom"),
    "a session that is spawned, with its first result": ("cold_start", "first result", "stateroom"),
    "one that is ready in a pool, with its first result": ("pool", "first result", "ready in a pool"),
    "a checkpoint of 256 MB in numpy arrays": ("checkpoint", "write 256 MB of numpy", "stateroom"),
}


@pytest.mark.parametrize("text", README)
def test_the_figures_of_the_readme(text: str) -> None:
    stated = re.search(text, (ROOT / "README.md").read_text(encoding="utf-8"))
    assert stated is not None
    agree(stated[1], stored(*README[text]))


@pytest.mark.parametrize("row", ARCHITECTURE)
def test_the_figures_of_the_architecture(row: str) -> None:
    _, time, ratio = rows_of_the_architecture()[row]
    agree(time, stored(*ARCHITECTURE[row]))
    agree(ratio, stored(*ARCHITECTURE[row]))


def test_no_row_of_the_architecture_is_unchecked() -> None:
    assert list(rows_of_the_architecture()) == list(ARCHITECTURE)


def rows_of_the_architecture() -> dict[str, list[str]]:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition("## What it costs")[2]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {row[0]: row for row in rows[1:]}


def stored(group: str, name: str, subject: str) -> dict[str, Any]:
    run = json.loads((ROOT / "benchmarks" / "baseline.json").read_text(encoding="utf-8"))
    (result,) = [each for each in run["results"] if (each["group"], each["name"]) == (group, name)]
    figures: dict[str, Any] = result["figures"][subject]
    return figures


def agree(stated: str, figures: dict[str, Any]) -> None:
    """A time is compared with the median, a number without a unit with the ratio."""
    number, _, unit = stated.partition(" ")
    figure = figures["median_s"] / UNITS[unit] if unit else figures["ratio"]
    assert float(number) == pytest.approx(figure, rel=TOLERANCE)
