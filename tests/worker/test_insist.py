"""Insistence by itself: what it covers raises, in either way, and nothing is left when it ends."""

import asyncio
import contextlib
import sys

import pytest

from stateroom.worker.insist import TOOL_IDS, Insistence

HAS_MONITORING = sys.version_info >= (3, 12)
needs_monitoring = pytest.mark.skipif(not HAS_MONITORING, reason="tracing is the only way")


@pytest.fixture(autouse=True)
def tracing():
    """Whatever traces the tests comes back after them."""
    before = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(before)


@contextlib.contextmanager
def all_ids_taken():
    for tool in TOOL_IDS if HAS_MONITORING else ():
        sys.monitoring.use_tool_id(tool, "the user's")
    try:
        yield
    finally:
        for tool in TOOL_IDS if HAS_MONITORING else ():
            sys.monitoring.free_tool_id(tool)


def lines():
    yield
    yield "went on"


def suspended():
    generator = lines()
    next(generator)
    return generator


def nothing_is_left():
    ids = [sys.monitoring.get_tool(tool) for tool in TOOL_IDS] if HAS_MONITORING else []
    return sys.gettrace() is None and not any(ids)


@pytest.mark.parametrize("ids", [contextlib.nullcontext, all_ids_taken])
def test_it_covers_from_begin_to_end(ids):
    insistence, generator = Insistence(), suspended()
    with ids():
        insistence.begin([generator.gi_frame])
        with pytest.raises(asyncio.CancelledError):
            next(generator)
        insistence.end()
    assert nothing_is_left()
    assert list(suspended()) == ["went on"]


@needs_monitoring
def test_an_id_that_gets_free_meanwhile_leaves_no_tracing_behind():
    insistence, generator = Insistence(), suspended()
    with all_ids_taken():
        insistence.begin([generator.gi_frame])
    insistence.begin([generator.gi_frame])
    insistence.end()  # before anything was raised: CPython itself drops a trace function that raises
    assert nothing_is_left()
    assert list(suspended()) == ["went on"]


@needs_monitoring
def test_ids_that_are_taken_meanwhile_do_not_matter():
    insistence, generator = Insistence(), suspended()
    insistence.begin([generator.gi_frame])
    other = next(tool for tool in TOOL_IDS if sys.monitoring.get_tool(tool) is None)
    sys.monitoring.use_tool_id(other, "the user's")
    try:
        insistence.begin([generator.gi_frame])
        with pytest.raises(asyncio.CancelledError):
            next(generator)
        insistence.end()
    finally:
        sys.monitoring.free_tool_id(other)
    assert nothing_is_left()


@pytest.mark.parametrize("ids", [contextlib.nullcontext, all_ids_taken])
def test_without_frames_nothing_is_left_either(ids):
    insistence = Insistence()
    with ids():
        insistence.begin([])
        insistence.end()
    assert nothing_is_left()


@pytest.mark.parametrize("ids", [contextlib.nullcontext, all_ids_taken])
def test_it_begins_anew_after_an_end(ids):
    insistence = Insistence()
    for _ in range(2):
        generator = suspended()
        with ids():
            insistence.begin([generator.gi_frame], TimeoutError("late"))
            with pytest.raises(TimeoutError, match="late"):
                next(generator)
            insistence.end()
        assert nothing_is_left()
