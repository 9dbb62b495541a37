"""Where steps stand that several threads come to at once."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from stateroom.worker.origin import origin_of_cell
from stateroom.worker.steps import EXECUTIONS_REMEMBERED, StepBroker

THREADS = 4


@pytest.fixture(autouse=True)
def impatient():
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def broker():
    return StepBroker(lambda _: None, listen=lambda: None, max_value_bytes=1000)


def test_no_two_steps_of_an_execution_have_one_place(broker):
    names = [f"step {number}" for number in range(5000)]
    together = threading.Barrier(THREADS)

    def come_to_all(_):
        together.wait()
        return [broker._next_place(name) for name in names]

    with ThreadPoolExecutor(THREADS) as pool:
        places = [place for places in pool.map(come_to_all, range(THREADS)) for place in places]
    assert sorted((place.name, place.ordinal) for place in places) == sorted(
        (name, ordinal) for name in names for ordinal in range(1, THREADS + 1)
    )


def test_cells_begin_while_threads_of_others_come_to_steps(broker):
    together, numbers = threading.Barrier(THREADS), range(5 * EXECUTIONS_REMEMBERED)

    def come_to_one_each(thread):
        together.wait()
        for number in numbers:
            origin_of_cell.set(f"{thread}-{number}")
            assert broker._next_place("step").ordinal == 1

    with ThreadPoolExecutor(THREADS) as pool:
        calls = [pool.submit(come_to_one_each, thread) for thread in range(1, THREADS)]
        together.wait()
        while not all(call.done() for call in calls):
            broker.begin("another")
        for call in calls:
            call.result()
