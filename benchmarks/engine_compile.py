"""What compiling a cell costs on top of plain ``compile`` and ``exec``.

``python benchmarks/engine_compile.py`` prints medians in microseconds. Compare as ratios: absolute
figures move with the machine.
"""

from __future__ import annotations

import ast
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

from stateroom.engine.cache import CodeCache
from stateroom.engine.compiler import CompiledCell, Compiler
from stateroom.engine.namespace import NamespaceManager
from stateroom.engine.sources import SourceCache
from stateroom.engine.tracebacks import describe_exception

BLOCK = '''
def transform_{n}(rows, factor={n}, *, strict=False):
    """Scale the rows and count what was skipped."""
    skipped = 0
    result = []
    for index, row in enumerate(rows):
        if strict and not isinstance(row, (int, float)):
            raise TypeError(f"row {{index}} is {{type(row).__name__}}")
        if row is None:
            skipped += 1
            continue
        result.append({{"index": index, "value": row * factor, "label": f"r{{index:03d}}"}})
    return result, skipped

rows_{n} = [value if value % 7 else None for value in range({n}, {n} + 5)]
result_{n}, skipped_{n} = transform_{n}(rows_{n}, strict=False)
total_{n} = sum(item["value"] for item in result_{n} if item["label"] != "r001")
'''
BIG = "".join(BLOCK.format(n=n) for n in range(12)) + "total_0 + total_11\n"


def median_us(function: Callable[[], object], seconds: float = 0.6) -> float:
    """Median time of one call."""
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter_ns()
        function()
        times.append(time.perf_counter_ns() - start)
    return statistics.median(times) / 1000


def run(cell: CompiledCell, namespace: dict[str, object]) -> object:
    """Both parts of a cell."""
    if cell.body is not None:
        exec(cell.body, namespace)
    return None if cell.last is None else eval(cell.last, namespace)


class Bench:
    """One compiler and namespace, a new filename for each cell."""

    def __init__(self, cache_size: int, analyse: Callable[[ast.Module], object] | None = None) -> None:
        self.manager = NamespaceManager()
        self.compiler = Compiler(cache=CodeCache(cache_size), sources=SourceCache(), analyse=analyse)
        self.count = 0

    def compile(self, source: str) -> CompiledCell:
        """What an executor does before it runs a cell."""
        self.count += 1
        self.manager.prepare()
        self.manager.record_input(source)
        return self.compiler.compile(source, f"<bench {self.count}>")

    def cell(self, source: str) -> object:
        """A whole cell, result recorded."""
        value = run(self.compile(source), self.manager.namespace)
        self.manager.record_expression_result(value)
        return value


def row(source: str) -> str:
    """One line of the table."""
    namespace: dict[str, object] = {}
    uncached, analysed, cached = Bench(0), Bench(0, analyse=lambda tree: None), Bench(64)
    plain = median_us(lambda: compile(source, "<plain>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT))
    both = median_us(lambda: exec(compile(source, "<plain>", "exec"), namespace))
    new = median_us(lambda: uncached.compile(source))
    tree = median_us(lambda: analysed.compile(source))
    hit = median_us(lambda: cached.compile(source))
    whole = median_us(lambda: cached.cell(source))
    figures = f"{plain:10.1f}{new:10.1f}{tree:10.1f}{hit:10.1f}{both:10.1f}{whole:10.1f}"
    return f"{source if len(source) < 20 else 'big cell':10}{figures}   hit {tree / hit:.1f}x faster than new"


def main() -> None:
    """Print the table."""
    print(f"Python {sys.version.split()[0]}, big cell: {BIG.count(chr(10))} lines, microseconds")
    print(f"{'':10}{'compile':>10}{'new':>10}{'with tree':>10}{'hit':>10}{'comp+exec':>10}{'whole hit':>10}")
    for source in ("x = 1", "1 + 1", BIG):
        print(row(source))
    manager = Bench(0).manager
    print(f"prepare() with nothing missing: {median_us(manager.prepare):.2f}")
    try:
        run(Bench(0).compile("def f(): 1 / 0\nf()"), {})
    except ZeroDivisionError as error:
        described = median_us(partial(describe_exception, error, max_chars=10_000))
        print(f"describe_exception, 2 frames: {described:.1f}")


if __name__ == "__main__":
    main()
