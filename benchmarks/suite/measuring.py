"""Comparisons: who is measured beside whom, in turns, and what is left of the figures.

Every sample is a time in seconds, so less is better everywhere and a ratio above 1 means slower than the
base. The contestants of a comparison take turns within each round, and a ratio is made of each round
before the median is taken: a busy minute of the machine hits all of them alike.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import msgspec

PEER_TIMEOUT_S = 10.0

Sample = Callable[[], Awaitable[list[float]]]
"""Measures once; returns one time, or several of the same kind."""


@dataclass(kw_only=True)
class Plan:
    """How much is measured, and what has to be said about it."""

    quick: bool = False
    rounds: int | None = None
    peers: bool = True
    """Whether peers are measured too."""
    pinned: bool = True
    """Whether processes get cores of their own, where the system can do it."""
    notes: list[str] = field(default_factory=list)

    def count(self, full: int) -> int:
        """How often something is done in a round: a quick run does a third."""
        return max(3, full // 3) if self.quick else full

    def rounds_of(self, full: int) -> int:
        """How many rounds a comparison gets that gets ``full`` in a whole run."""
        return self.rounds or (min(5, full) if self.quick else full)

    def note(self, text: str) -> None:
        """Say something beside the figures, once."""
        if text not in self.notes:
            self.notes.append(text)


@dataclass(kw_only=True)
class Comparison:
    """Contestants that do the same. ``base`` is the one that the others are divided by."""

    name: str
    contestants: Mapping[str, Sample]
    base: str = "floor"
    peers: frozenset[str] = frozenset({"ipykernel"})
    """Shown for comparison; never judged."""
    rounds: int = 7
    amount: float | None = None
    """How much of ``unit`` a sample handles, where a rate says more than a time."""
    unit: str = ""


class Figures(msgspec.Struct, kw_only=True, frozen=True):
    """A contestant's times in seconds, and how many times the base's they are (median, least, most)."""

    median_s: float
    p99_s: float
    samples: int
    ratio: float
    ratio_low: float
    ratio_high: float


class Measured(msgspec.Struct, kw_only=True, frozen=True):
    """What came of a comparison."""

    group: str
    name: str
    base: str
    peers: list[str]
    rounds: int
    figures: dict[str, Figures]
    amount: float | None = None
    unit: str = ""

    @property
    def subjects(self) -> list[str]:
        """The contestants that are judged."""
        return [name for name in self.figures if name != self.base and name not in self.peers]


Opener = Callable[[Plan, AsyncExitStack], Awaitable[list[Comparison]]]


@dataclass(frozen=True)
class Group:
    """Comparisons that share what has to be started for them."""

    name: str
    what: str
    open: Opener


async def measure(group: str, comparison: Comparison, plan: Plan) -> Measured:
    """Let the contestants take turns; the first turn of each warms up and is not counted.

    A peer that fails is left out with a note; the failure of anybody else is raised.
    """
    rounds = plan.rounds_of(comparison.rounds)
    taken: dict[str, list[list[float]]] = {name: [] for name in comparison.contestants}
    for number in range(rounds + 1):
        for name in list(taken):
            times = await _turn(group, comparison, name, plan)
            if times is None:
                del taken[name]
            elif number:
                taken[name].append(times)
    bases = [statistics.median(times) for times in taken[comparison.base]]
    return Measured(
        group=group,
        name=comparison.name,
        base=comparison.base,
        peers=sorted(comparison.peers & taken.keys()),
        rounds=rounds,
        figures={name: summary(times, bases) for name, times in taken.items()},
        amount=comparison.amount,
        unit=comparison.unit,
    )


async def _turn(group: str, comparison: Comparison, name: str, plan: Plan) -> list[float] | None:
    """One turn of a contestant; None if it is a peer that fails or hangs."""
    sample = comparison.contestants[name]
    if name not in comparison.peers:
        return await sample()
    try:
        async with asyncio.timeout(PEER_TIMEOUT_S):
            return await sample()
    except Exception as error:  # noqa: BLE001 - whatever goes wrong in somebody else's tool
        plan.note(f"{group}, {comparison.name}: {name} left out, {type(error).__name__} {error}".rstrip())
        return None


def summary(rounds: list[list[float]], bases: list[float]) -> Figures:
    """What is kept of a contestant's rounds, given the base's median of each round."""
    every = sorted(sample for times in rounds for sample in times)
    ratios = [statistics.median(times) / base for times, base in zip(rounds, bases, strict=True)]
    return Figures(
        median_s=statistics.median(every),
        p99_s=every[min(len(every) - 1, len(every) * 99 // 100)],
        samples=len(every),
        ratio=statistics.median(ratios),
        ratio_low=min(ratios),
        ratio_high=max(ratios),
    )


def repeated(action: Callable[[], Awaitable[object]], count: int) -> Sample:
    """A sample of ``count`` times, each of one call."""

    async def sample() -> list[float]:
        taken = []
        for _ in range(count):
            begin = time.perf_counter()
            await action()
            taken.append(time.perf_counter() - begin)
        return taken

    return sample


def repeated_in(home: Executor, action: Callable[[], object], count: int) -> Sample:
    """The same for a plain function that is called in another thread."""

    def times() -> list[float]:
        taken = []
        for _ in range(count):
            begin = time.perf_counter()
            action()
            taken.append(time.perf_counter() - begin)
        return taken

    async def sample() -> list[float]:
        return await asyncio.get_running_loop().run_in_executor(home, times)

    return sample
