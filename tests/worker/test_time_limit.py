"""The limit on code that shows or saves a value, by itself: how long the i/o thread may wait for it."""

import select
import socket
from math import inf
from time import monotonic

import pytest

from stateroom.worker.time_limit import TimeLimit


@pytest.mark.parametrize("is_entered", [True, False])
def test_the_wait_for_an_endless_limit_is_one_that_the_system_takes(is_entered):
    limit = TimeLimit(inf, wake=lambda: None)
    with limit:
        wait_s = limit.next_look(monotonic())
    if not is_entered:
        wait_s = limit.next_look(monotonic())
    here, there = socket.socketpair()
    with here, there:
        poll = select.poll()
        poll.register(here, select.POLLOUT)
        assert poll.poll(wait_s * 1000)


def test_another_limit_wakes_who_waits_for_the_one_before():
    woken = []
    limit = TimeLimit(60, wake=lambda: woken.append(limit.limit_s))
    with limit:
        pass
    limit.set(60, frozenset())
    limit.set(1, frozenset())
    with limit:
        assert limit.next_look(monotonic()) <= 1
    assert woken == [60, 1]
