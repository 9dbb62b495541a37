"""What a pool decides, without a pool."""

from __future__ import annotations

import pytest

from stateroom.config import PoolConfig
from stateroom.errors import ConfigError
from stateroom.session.pool_info import WaitTimes
from stateroom.session.pool_policy import (
    Counts,
    Retirement,
    retirement,
    split_settings,
    to_evict,
    to_start,
)


@pytest.mark.parametrize(
    ("min_size", "max_size", "counts", "starts"),
    [
        (2, 4, Counts(), 2),
        (2, 4, Counts(idle=2), 0),
        (2, 4, Counts(idle=1, starting=1), 0),
        (2, 4, Counts(busy=2), 2),
        (2, 4, Counts(busy=3), 1),
        (2, 4, Counts(busy=4, waiting=9), 0),
        (0, 4, Counts(), 0),
        (0, 4, Counts(waiting=3), 3),
        (0, 4, Counts(waiting=9), 4),
        (2, 4, Counts(waiting=1, starting=1), 1),
        (2, 4, Counts(busy=3, closing=1, waiting=1), 0),
        (2, 4, Counts(kept=4), 0),
        (2, 4, Counts(kept=3), 1),
    ],
)
def test_how_many_are_started(min_size, max_size, counts, starts):
    assert to_start(PoolConfig(min_size=min_size, max_size=max_size), counts) == starts


@pytest.mark.parametrize(
    ("counts", "evicted"),
    [
        (Counts(kept=4), 0),
        (Counts(kept=4, waiting=1), 1),
        (Counts(kept=4, waiting=9), 4),
        (Counts(kept=2, busy=1, waiting=1), 0),  # there is room for one more
        (Counts(kept=2, busy=1, closing=1, waiting=1), 0),  # room is coming
        (Counts(kept=2, busy=1, starting=1, waiting=1), 0),  # a session is coming
        (Counts(kept=2, busy=1, starting=1, waiting=2), 1),
    ],
)
def test_how_many_kept_ones_make_room(counts, evicted):
    assert to_evict(PoolConfig(max_size=4), counts) == evicted


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"age_s": 1}, None),
        ({"age_s": 11}, Retirement.AGE),
        ({"age_s": 1, "uses": 2}, None),
        ({"age_s": 1, "uses": 3}, Retirement.USES),
        ({"age_s": 1, "memory_bytes": 1001}, Retirement.MEMORY),
        ({"age_s": 1, "memory_bytes": 1000}, None),
        ({"age_s": 1, "memory_bytes": None}, None),
        ({"age_s": 6, "idle_s": 6}, None),
        ({"age_s": 6, "idle_s": 6, "spare": True}, Retirement.IDLE),
        ({"age_s": 6, "idle_s": 5, "spare": True}, None),
    ],
)
def test_why_a_session_is_retired(facts, reason):
    config = PoolConfig(max_uses=3, max_age_s=10, max_memory_bytes=1000, idle_timeout_s=5)
    assert retirement(config, **facts) is reason


def test_by_default_a_session_is_used_once():
    assert retirement(PoolConfig(), age_s=0, uses=1) is Retirement.USED


def test_without_limits_nothing_is_retired():
    config = PoolConfig(max_uses=2, idle_timeout_s=None)
    assert retirement(config, age_s=1e9, idle_s=1e9, memory_bytes=1 << 50, uses=1, spare=True) is None


@pytest.mark.parametrize(
    ("size", "given", "sizes"),
    [
        (None, {}, (4, 4)),
        (3, {}, (3, 3)),
        (3, {"min_size": 0}, (0, 3)),
        (3, {"max_size": 9}, (3, 9)),
        (3, {"max_size": 2}, (2, 2)),
        (3, {"min_size": 5}, (5, 5)),
        (None, {"max_size": 7}, (7, 7)),
    ],
)
def test_size_is_short_for_both(size, given, sizes):
    config, rest = split_settings(size, {**given, "cwd": "/", "history_size": 3})
    assert (config.ready_size, config.max_size) == sizes
    assert rest == {"cwd": "/", "history_size": 3}


@pytest.mark.parametrize(
    "settings",
    [
        {"max_size": 0},
        {"min_size": -1},
        {"min_size": 5, "max_size": 4},
        {"max_uses": 0},
        {"acquire_timeout_s": 0},
        {"idle_timeout_s": -1},
        {"max_age_s": float("nan")},
        {"max_memory_bytes": 0},
    ],
)
def test_settings_that_cannot_work_are_refused(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        PoolConfig(**settings)


def test_settings_come_from_the_environment_under_a_name_of_their_own(monkeypatch):
    monkeypatch.setenv("STATEROOM_POOL_MAX_SIZE", "7")
    monkeypatch.setenv("STATEROOM_POOL_PRELOAD", "json, decimal")
    monkeypatch.setenv("STATEROOM_MAX_SIZE", "9")
    config = PoolConfig.load()
    assert (config.max_size, config.preload) == (7, ("json", "decimal"))


def test_wait_times():
    assert WaitTimes.of([]) == WaitTimes()
    waits = WaitTimes.of([float(number) for number in range(100, 0, -1)])
    assert (waits.count, waits.mean_s, waits.p50_s, waits.p95_s, waits.max_s) == (
        100,
        50.5,
        51.0,
        96.0,
        100.0,
    )
