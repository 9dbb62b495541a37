"""Time that jumps: in order, never while something can be done, never while a thread works."""

import asyncio
import threading
import time

import pytest

from stateroom.testing import VirtualTimeLoop, virtual_time

YEAR_S = 365 * 24 * 3600.0


@virtual_time
async def test_a_year_passes_at_once():
    loop = asyncio.get_running_loop()
    assert loop.time() == 0.0
    started_at = time.monotonic()
    await asyncio.sleep(YEAR_S)
    assert loop.time() == pytest.approx(YEAR_S)
    assert time.monotonic() - started_at < YEAR_S


@virtual_time
async def test_timers_are_due_in_their_order_and_at_their_time():
    loop, seen = asyncio.get_running_loop(), []

    async def sleeper(delay_s):
        await asyncio.sleep(delay_s)
        seen.append((delay_s, loop.time()))

    await asyncio.gather(*map(sleeper, (3.0, 1.0, 2.0)))
    assert seen == [(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)]


@virtual_time
async def test_no_time_passes_while_anything_can_run():
    loop = asyncio.get_running_loop()
    timer = asyncio.create_task(asyncio.sleep(1))
    for _ in range(1000):
        await asyncio.sleep(0)
    assert not timer.done()
    assert loop.time() == 0.0


@virtual_time
async def test_a_thread_of_an_executor_holds_time_still():
    loop, gate = asyncio.get_running_loop(), threading.Event()
    job = asyncio.create_task(asyncio.to_thread(gate.wait))
    timer = asyncio.create_task(asyncio.sleep(1))
    await asyncio.sleep(0)
    loop.call_soon(gate.set)
    await job
    assert not timer.done()
    assert loop.time() == 0.0
    await timer
    assert loop.time() == 1.0


@virtual_time
async def test_a_job_that_raises_lets_time_go_on():
    def fail():
        raise OSError

    await asyncio.gather(asyncio.to_thread(fail), return_exceptions=True)
    await asyncio.sleep(1)


@virtual_time
async def test_a_timeout_that_is_long_enough_does_not_expire():
    async with asyncio.timeout(9):
        await asyncio.sleep(8.999)


def test_the_decorator_passes_arguments_and_the_result_on():
    @virtual_time
    async def add(a, *, b):
        await asyncio.sleep(1)
        return a + b

    assert add(1, b=2) == 3
    assert not asyncio.iscoroutinefunction(add)


def test_the_loop_may_be_used_by_itself():
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(asyncio.sleep(YEAR_S))
