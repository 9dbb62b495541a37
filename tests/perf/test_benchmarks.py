"""Micro benchmarks, opt-in: ``pytest -m perf -s`` prints figures; only that they can be had is asserted."""

import asyncio

import bench
import pytest
from rich.console import Console
from suite.measuring import Plan
from suite.report import table


@pytest.mark.perf
@pytest.mark.parametrize("name", list(bench.GROUPS))
def test_measure(name, capsys):
    bench.compile_all()
    plan, quiet = Plan(quick=True, rounds=2), Console(quiet=True)
    results = asyncio.run(bench.measure_group(bench.GROUPS[name], plan, quiet))
    with capsys.disabled():
        print()
        Console(width=150).print(table(results))
        print(*plan.notes, sep="\n")
    assert results or plan.notes
    for measured in results:
        assert measured.subjects
        for figures in measured.figures.values():
            assert figures.samples > 0
            assert 0 < figures.ratio_low <= figures.ratio <= figures.ratio_high
