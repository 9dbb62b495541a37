"""Work that is stopped as a whole: who waits for it gets an error, who is cancelled is cancelled."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("resonate", reason="durable executions need resonate-sdk, which needs Python 3.12")

from stateroom.errors import DurableError
from stateroom.integration.stoppable import Stoppable
from stateroom.session.shielded import Closing, to_the_end


class Work:
    """Ends when it may, however often it is cancelled."""

    def __init__(self, ends_at_once=True):
        self.begun, self.may_end, self.ended = asyncio.Event(), asyncio.Event(), False
        if ends_at_once:
            self.may_end.set()

    async def run(self):
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await self.may_end.wait()
            self.ended = True


async def test_what_is_stopped_is_an_error_for_its_caller():
    stoppable, work = Stoppable("the test"), Work()
    running = asyncio.create_task(stoppable.run(work.run()))
    await work.begun.wait()
    await stoppable.close()
    assert work.ended
    with pytest.raises(DurableError, match="the test is stopping"):
        await running
    with pytest.raises(DurableError, match="the test is stopping"):
        await stoppable.run(work.run())


@pytest.mark.parametrize("while_stopping", [False, True])
async def test_a_caller_who_is_cancelled_is_cancelled_when_the_work_has_ended(while_stopping):
    stoppable, work = Stoppable("the test"), Work(ends_at_once=False)
    running = asyncio.create_task(stoppable.run(work.run()))
    await work.begun.wait()
    if while_stopping:
        stopping = asyncio.create_task(stoppable.close())
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.sleep(0)
    assert not running.done()
    work.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert work.ended
    if while_stopping:
        await stopping


async def test_what_the_work_raises_reaches_its_caller():
    async def fail():
        raise ValueError("no")

    for run in (Stoppable("the test").run, to_the_end):
        with pytest.raises(ValueError, match="no"):
            await run(fail())


async def test_a_caller_who_is_cancelled_waits_for_the_end_and_goes_then():
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def work():
        begun.set()
        await may_end.wait()
        raise ValueError("nobody has to look at it")

    running = asyncio.create_task(to_the_end(work()))
    await begun.wait()
    for _ in range(2):
        running.cancel()
        await asyncio.sleep(0)
    assert not running.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_an_end_is_brought_about_once_and_goes_on_without_its_caller():
    begun, may_end, ended = [], asyncio.Event(), []

    async def close():
        begun.append(1)
        await may_end.wait()
        ended.append(1)

    closing = Closing()
    assert repr(closing) == "<Closing not begun>"
    first = asyncio.create_task(closing.run(close))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert (begun, repr(closing)) == ([1], "<Closing going on>")
    may_end.set()
    await closing.run(close)
    assert (begun, ended, repr(closing)) == ([1], [1], "<Closing done>")
