"""A pool in figures."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable

import msgspec

from .pool_policy import Counts, Retirement
from .template_launcher import TemplateLauncher

__all__ = ["PoolFigures", "PoolInfo", "WaitTimes"]

WAITS_REMEMBERED = 1000


class WaitTimes(msgspec.Struct, frozen=True, kw_only=True):
    """How long the last thousand callers waited for their session, in seconds."""

    count: int = 0
    """How many these figures are of."""
    mean_s: float = 0.0
    """The mean."""
    p50_s: float = 0.0
    """Half of them waited no longer."""
    p95_s: float = 0.0
    """95 in 100 waited no longer."""
    max_s: float = 0.0
    """The longest."""

    @classmethod
    def of(cls, waits_s: Iterable[float]) -> WaitTimes:
        """Sum up."""
        ordered = sorted(waits_s)
        if not ordered:
            return cls()
        count = len(ordered)
        return cls(
            count=count,
            mean_s=sum(ordered) / count,
            p50_s=ordered[count // 2],
            p95_s=ordered[min(count - 1, count * 95 // 100)],
            max_s=ordered[-1],
        )


class PoolInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A pool as seen from outside, at one moment."""

    state: str
    """One of "new", "starting", "open", "closing", "closed"."""
    idle: int
    """Ready and never used."""
    kept: int
    """Ready for the tenant that used it before."""
    busy: int
    """Handed out."""
    starting: int
    """Not ready yet."""
    closing: int
    """Thrown away, their workers about to end."""
    waiting: int
    """Callers in the queue."""
    created: int
    """Sessions that have become ready, ever."""
    acquired: int
    """Sessions handed out, ever."""
    timeouts: int
    """Callers that gave up after ``acquire_timeout_s``."""
    start_failures: int
    """Sessions that did not become ready, ever."""
    recycled: dict[str, int]
    """Sessions thrown away, by reason (the values of ``Retirement``)."""
    waits: WaitTimes
    """How long callers waited."""
    template_pid: int | None
    """The process id of the template; None if there is none."""
    templates_started: int
    """How many templates it took."""
    spawns_instead: str | None
    """Why sessions are spawned and not forked from a template; None if they are forked."""


class PoolFigures:
    """What a pool counts over its life."""

    def __init__(self) -> None:
        self.created = self.acquired = self.timeouts = self.start_failures = 0
        self.recycled: Counter[Retirement] = Counter()
        self.waits_s: deque[float] = deque(maxlen=WAITS_REMEMBERED)

    def __repr__(self) -> str:
        return f"<PoolFigures created={self.created} acquired={self.acquired} recycled={self.recycled}>"

    def info(self, state: str, counts: Counts, launcher: TemplateLauncher | None) -> PoolInfo:
        """All of it, with how the pool stands now."""
        template = launcher.template if launcher is not None else None
        return PoolInfo(
            state=state,
            **counts._asdict(),
            created=self.created,
            acquired=self.acquired,
            timeouts=self.timeouts,
            start_failures=self.start_failures,
            recycled={str(reason): count for reason, count in self.recycled.items()},
            waits=WaitTimes.of(self.waits_s),
            template_pid=template.pid if template is not None and template.alive else None,
            templates_started=launcher.templates_started if launcher is not None else 0,
            spawns_instead=launcher.spawns_instead if launcher is not None else None,
        )
