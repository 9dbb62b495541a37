"""Counters and latencies of a soak, and their tables."""

from __future__ import annotations

import statistics
from collections import Counter
from random import Random
from typing import Any

from census import Census
from rich.console import Console
from rich.table import Table

__all__ = ["Figures"]

SAMPLES = 5000


class _Sample:
    """A fair sample of bounded size (reservoir sampling), so that the figures take no memory."""

    def __init__(self) -> None:
        self.count = 0
        self.longest_s = 0.0
        self._kept: list[float] = []
        self._dice = Random(0)

    def add(self, seconds: float) -> None:
        self.count += 1
        self.longest_s = max(self.longest_s, seconds)
        if len(self._kept) < SAMPLES:
            self._kept.append(seconds)
        elif (place := self._dice.randrange(self.count)) < SAMPLES:
            self._kept[place] = seconds

    def percentile_ms(self, percent: int) -> float:
        if len(self._kept) < 2:
            return 1e3 * self.longest_s
        return 1e3 * statistics.quantiles(self._kept, n=100, method="inclusive")[percent - 1]


class Figures:
    """What happened, counted by all cabins together."""

    def __init__(self) -> None:
        self.cells: Counter[tuple[str, str]] = Counter()
        self.events: Counter[str] = Counter()
        self.latencies: dict[str, _Sample] = {}
        self.censuses: list[Census] = []

    def cell(self, kind: str, outcome: str) -> None:
        """A cell has ended so."""
        self.cells[kind, outcome] += 1

    def count(self, event: str, amount: int = 1) -> None:
        """Something else has happened."""
        self.events[event] += amount

    def latency(self, what: str, seconds: float) -> None:
        """It took so long."""
        self.latencies.setdefault(what, _Sample()).add(seconds)

    def show(self, console: Console) -> None:
        """All tables."""
        console.print(self._cells(), self._events(), self._latencies(), self._resources())

    def _cells(self) -> Table:
        outcomes = sorted({outcome for _, outcome in self.cells})
        table = _table(f"{self.cells.total()} cells", "kind", *outcomes)
        for kind in sorted({kind for kind, _ in self.cells}):
            table.add_row(kind, *(str(self.cells[kind, outcome] or "") for outcome in outcomes))
        totals = [sum(n for (_, o), n in self.cells.items() if o == outcome) for outcome in outcomes]
        table.add_section()
        table.add_row("all", *map(str, totals))
        return table

    def _events(self) -> Table:
        table = _table("events", "event", "count")
        for event, count in sorted(self.events.items()):
            table.add_row(event, str(count))
        return table

    def _latencies(self) -> Table:
        table = _table("latencies, ms", "of", "count", "p50", "p99", "max")
        for what, sample in sorted(self.latencies.items()):
            values = (sample.percentile_ms(50), sample.percentile_ms(99), sample.longest_s * 1e3)
            table.add_row(what, str(sample.count), *(f"{value:.1f}" for value in values))
        return table

    def _resources(self) -> Table:
        columns: list[Census] = self.censuses
        if len(columns) > 7:
            step = (len(columns) - 1) / 6
            columns = [columns[round(index * step)] for index in range(7)]
        table = _table("the client, all sessions but one closed", "", *(f"{c.at_s:.0f} s" for c in columns))
        rows: dict[str, Any] = {
            "memory MB": lambda c: f"{c.memory_bytes / 1e6:.1f}",
            "old hand's worker MB": lambda c: f"{c.worker_bytes / 1e6:.1f}",
            "blocks": lambda c: str(c.blocks),
            "old hand's blocks": lambda c: str(c.worker_blocks),
            "fds": lambda c: str(c.fds),
            "tasks": lambda c: str(len(c.tasks)),
            "threads": lambda c: str(c.threads),
            "processes": lambda c: str(len(c.processes)),
            "objects": lambda c: str(c.objects),
            "temporary files": lambda c: str(len(c.files)),
        }
        for name, show in rows.items():
            table.add_row(name, *(show(census) for census in columns))
        return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", min_width=30)
    for column in columns:
        table.add_column(column, justify="left" if column in ("kind", "event", "of", "") else "right")
    return table
