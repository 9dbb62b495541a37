"""What a pool decides, apart from doing it: how many sessions to start, which to let go and why."""

from __future__ import annotations

import enum
from typing import Any, NamedTuple

from ..config import PoolConfig, SessionConfig, settings_of
from ..errors import ConfigError

__all__ = [
    "Counts",
    "Retirement",
    "check_sessions",
    "retirement",
    "split_settings",
    "to_evict",
    "to_start",
]


class Retirement(enum.StrEnum):
    """Why a session was thrown away."""

    USED = "used"
    """It was used, and nobody is to have it after that."""
    USES = "uses"
    """It was handed to its tenant ``max_uses`` times."""
    AGE = "age"
    """It is older than ``max_age_s``."""
    MEMORY = "memory"
    """Its worker holds more than ``max_memory_bytes``."""
    IDLE = "idle"
    """Nobody has used it for ``idle_timeout_s``, and it is one more than ``min_size``."""
    ROOM = "room"
    """It was kept for its tenant, and others were waiting."""
    DIED = "died"
    """Its worker ended by itself."""
    SILENT = "silent"
    """Its worker gave no sign of life."""
    BUSY = "busy"
    """It was to be kept for its tenant, but a cell was still running."""


class Counts(NamedTuple):
    """The sessions of a pool by what they are doing, and who waits for one."""

    idle: int = 0
    """Ready and never used."""
    kept: int = 0
    """Ready for the tenant that used it before."""
    busy: int = 0
    starting: int = 0
    closing: int = 0
    waiting: int = 0

    @property
    def total(self) -> int:
        """All that exist."""
        return self.idle + self.kept + self.busy + self.starting + self.closing


def to_start(config: PoolConfig, counts: Counts) -> int:
    """How many sessions to start, so that all who wait get one and ``min_size`` are ready."""
    short = max(counts.waiting, config.ready_size) - counts.idle - counts.starting
    return max(0, min(short, config.max_size - counts.total))


def to_evict(config: PoolConfig, counts: Counts) -> int:
    """How many kept sessions have to make room for those who wait."""
    coming = counts.idle + counts.starting + counts.closing + max(0, config.max_size - counts.total)
    return max(0, min(counts.kept, counts.waiting - coming))


def retirement(
    config: PoolConfig,
    *,
    age_s: float,
    uses: int = 0,
    memory_bytes: int | None = None,
    idle_s: float = 0.0,
    spare: bool = False,
) -> Retirement | None:
    """Why a session in good health must not be handed out again; None if it may.

    ``spare`` says that the pool has its ``min_size`` ready without it.
    """
    if uses >= config.max_uses:
        return Retirement.USED if config.max_uses == 1 else Retirement.USES
    if config.max_age_s is not None and age_s > config.max_age_s:
        return Retirement.AGE
    if config.max_memory_bytes is not None and (memory_bytes or 0) > config.max_memory_bytes:
        return Retirement.MEMORY
    if spare and config.idle_timeout_s is not None and idle_s > config.idle_timeout_s:
        return Retirement.IDLE
    return None


def check_sessions(config: SessionConfig) -> None:
    """Raise :class:`ConfigError` for settings that sessions of a pool cannot share."""
    if config.store is not None:
        raise ConfigError(
            f"store={config.store!r}: the sessions of a pool would all have the name {config.name!r} in "
            "it, and a name is for one session at a time; make a Session for each name instead"
        )


def split_settings(size: int | None, settings: dict[str, Any]) -> tuple[PoolConfig, dict[str, Any]]:
    """The pool's settings, and those that are for its sessions."""
    names = settings_of(PoolConfig).keys()
    own = {name: value for name, value in settings.items() if name in names}
    if isinstance(own.get("preload"), str):
        raise ConfigError(f"preload={own['preload']!r} is a string: give a list of names of modules")
    if "preload" in own:
        own["preload"] = tuple(own["preload"])
    if size is not None:
        for name, value in {"size": size, **own}.items():
            if name in {"size", "min_size", "max_size"} and not isinstance(value, int | None):
                raise ConfigError(f"{name}={value!r}: give a number of sessions")
        own.setdefault("max_size", max(size, own.get("min_size") or 0))
        own.setdefault("min_size", min(size, own["max_size"]))
    config: PoolConfig = PoolConfig.load(**own)
    return config, {name: value for name, value in settings.items() if name not in names}
