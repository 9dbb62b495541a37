"""Where a signal handler of the user's may run, and that ``signal.signal`` looks as it always does."""

import os
import signal
import sys
import threading

import pytest

from stateroom.engine.text import normalise
from stateroom.worker.user_signals import ENTRIES, UserSignals


@pytest.fixture
def wakes():
    return []


@pytest.fixture
def signals(wakes):
    before, functions = signal.getsignal(signal.SIGUSR1), (signal.signal, signal.getsignal)
    signals = UserSignals(frozenset(), frozenset(), lambda: wakes.append(True))
    signals.install()
    yield signals
    signal.signal, signal.getsignal = functions
    signal.signal(signal.SIGUSR1, before)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def frame_of(function, call):
    """The frame of ``function`` when ``call()`` comes to it."""
    found = []

    def look(frame, event, _argument):
        if event == "call" and frame.f_code is function.__code__:
            found.append(frame)

    sys.setprofile(look)
    try:
        call()
    finally:
        sys.setprofile(None)
    return found[0]


def frame_of_engine():
    return frame_of(normalise, lambda: normalise("1"))


def test_a_handler_of_the_user_runs_in_the_users_code(signals, wakes):
    seen = []
    signal.signal(signal.SIGUSR1, lambda number, frame: seen.append((number, frame.f_code.co_name)))
    signal.raise_signal(signal.SIGUSR1)
    assert seen == [(signal.SIGUSR1, "test_a_handler_of_the_user_runs_in_the_users_code")]
    assert wakes == []


def test_one_that_comes_while_the_engine_has_the_thread_is_sent_again(signals, wakes):
    seen = []
    signal.signal(signal.SIGUSR1, lambda *_: seen.append("called"))
    signals._handle(signal.SIGUSR1, frame_of_engine())
    assert (seen, wakes) == ([], [True])
    assert signals.next_look(0.0) > 0
    io_thread = threading.Thread(target=signals.look, args=(0.0,))
    io_thread.start()
    io_thread.join()
    assert seen == ["called"]
    assert signals.next_look(0.0) is None


def test_signal_and_getsignal_answer_as_python_does(signals):
    def handler(_number, _frame):
        pass

    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    before = signal.getsignal(signal.SIGUSR1)
    assert signal.signal(signal.SIGUSR1, handler) == before
    assert signal.getsignal(signal.SIGUSR1) is handler
    assert signal.signal(signal.SIGUSR1, signal.SIG_IGN) is handler
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
    assert signal.signal(signalnum=signal.SIGUSR1, handler=before) is signal.SIG_IGN
    with pytest.raises(TypeError, match="must be"):
        signal.signal(signal.SIGUSR1, "no handler")
    with pytest.raises(ValueError, match="out of range"):
        signal.signal(10_000, handler)


def test_the_places_where_user_code_calls_the_engine_are_there():
    assert all(map(os.path.exists, ENTRIES))
