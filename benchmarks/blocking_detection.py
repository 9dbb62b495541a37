"""Precision and recall of the blocking detection over its corpus, and what it costs.

Run: ``python benchmarks/blocking_detection.py``. Times are medians, in microseconds.
"""

from __future__ import annotations

import ast
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from stateroom.config import EngineConfig
from stateroom.engine.blocking import BlockingDetector
from stateroom.engine.telemetry import Telemetry

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "engine"))

from blocking_corpus import SNIPPETS, Snippet
from blocking_fakes import fake_packages

FLAGS = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT

SETUP = """
import math, json, random, os
class Model:
    def __init__(self): self.rows = []
    def add(self, row): self.rows.append(row); return self
    def total(self): return sum(len(row) for row in self.rows)
def clean(text): return text.strip().lower().replace("_", " ")
model = Model()
names = ["Ada_L", "Alan_T"]
"""
TWENTY_LINES = """
import collections
counts = collections.Counter()
for name in names:
    words = clean(name).split()
    counts.update(words)
    model.add(words)
total = model.total()
ratio = math.sqrt(total) / max(len(names), 1)
if ratio > 1:
    label = f"{ratio:.2f} of {total}"
else:
    label = "few"
table = {word: counts[word] for word in sorted(counts)}
text = json.dumps(table, indent=2)
path = os.path.join("a", label)
def report(rows):
    return [f"{key}: {value}" for key, value in rows.items()]
lines = report(table)
lines.sort(key=lambda line: line.lower())
print("\\n".join(lines), path, random.random())
"""
PLAIN_LINES = """
rows = []
for i in range(10):
    rows.append({"id": i, "name": f"row {i}", "score": i * 2.5})
total = sum(row["score"] for row in rows)
mean = total / len(rows)
above = [row for row in rows if row["score"] > mean]
print("mean", mean)
if above:
    best = max(above, key=lambda row: row["score"])
    print(best["name"])
else:
    best = None
text = ""
for row in above:
    text += row["name"] + " "
words = text.split()
unique = set(words)
n = len(unique)
x = math.sqrt(n) + 1
print(f"{n} words, {x:.2f}")
"""
CELLS = {
    "1+1": "1+1",
    "20 plain lines": PLAIN_LINES,
    "20 lines, own functions": TWENTY_LINES,
    "the same + time.sleep": TWENTY_LINES + "time.sleep(1)\n",
}


def parse(text: str) -> ast.Module:
    """The tree that the engine's compiler makes of a cell."""
    tree = compile(text, "<cell>", "exec", FLAGS)
    assert isinstance(tree, ast.Module)
    return tree


def new_detector() -> BlockingDetector:
    """A detector with default settings and counters of its own."""
    return BlockingDetector(EngineConfig(), Telemetry())


def judge(snippet: Snippet) -> bool:
    """Whether the cell of a snippet is found blocking, after its set-up has run."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    exec(compile(snippet.setup, "<cell 1>", "exec"), namespace)
    detector = new_detector()
    return detector.verdict(detector.analyse(parse(snippet.cell)), namespace) is not None


def print_quality() -> None:
    """Precision and recall over all snippets, the known errors included."""
    with fake_packages(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        judged = [(judge(snippet), snippet.call is not None) for snippet in SNIPPETS]
    hits = judged.count((True, True))
    false_alarms, misses = judged.count((True, False)), judged.count((False, True))
    print(f"{len(judged)} snippets: {hits} hits, {misses} misses, {false_alarms} false alarms")
    print(f"precision {hits / (hits + false_alarms):.3f}   recall {hits / (hits + misses):.3f}")


def median_us(work: Callable[[], object], repeat: int = 2000) -> float:
    """Median time of one call."""
    times = []
    for _ in range(repeat):
        begin = time.perf_counter_ns()
        work()
        times.append(time.perf_counter_ns() - begin)
    return statistics.median(times) / 1000


def print_times() -> None:
    """What a cell costs besides its parse: seen before, and new."""
    namespace: dict[str, object] = {"__name__": "__main__", "time": time}
    exec(compile(SETUP, "<setup>", "exec"), namespace)
    detector = new_detector()
    print(f"{'cell':24}{'seen before':>12}{'new':>8}{'first ever':>12}{'parse':>8}")
    for name, text in CELLS.items():
        tree = parse(text)
        sites = detector.analyse(tree)

        def new(tree: ast.Module = tree) -> None:
            detector.verdict(detector.analyse(tree), namespace)

        def first(tree: ast.Module = tree) -> None:
            detector._scopes._scopes.clear()
            new(tree)

        seen_us = median_us(lambda sites=sites: detector.verdict(sites, namespace))  # type: ignore[misc]
        row = [seen_us, median_us(new), median_us(first, 200), median_us(lambda text=text: parse(text))]  # type: ignore[misc]
        print(f"{name:24}{row[0]:12.1f}{row[1]:8.1f}{row[2]:12.1f}{row[3]:8.1f}")


if __name__ == "__main__":
    print(f"Python {sys.version.split()[0]}")
    print_quality()
    print_times()
