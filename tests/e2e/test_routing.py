"""Interceptors on a real session, and floods."""

import asyncio

import pytest
from watching import begun

import stateroom
from stateroom import CancelOutcome
from stateroom.protocol.messages import OutputMessage, ResultMessage


async def test_interceptors_on_a_session():
    seen, later = [], []

    async def slow(message):
        await asyncio.sleep(0)
        later.append(type(message))

    async with stateroom.Session(heartbeat_interval_s=0) as session:
        session.add_message_interceptor(seen.append)
        session.add_message_interceptor(slow)
        await session.run("print('x'); 1")
        assert [type(message) for message in seen] == [OutputMessage, ResultMessage]
        session.remove_message_interceptor(seen.append)
        await session.run("2")
        assert len(seen) == 2
        assert session.info.interceptors[0].calls == 3
    assert later == [OutputMessage, ResultMessage, ResultMessage]


async def flood(count):
    """Small outputs through an asynchronous interceptor; the largest number of its tasks at one time."""
    most, chars = 0, 0

    async def count_tasks(message):
        nonlocal most, chars
        most = max(most, len(asyncio.all_tasks()))
        if isinstance(message, OutputMessage):
            chars += len(message.data)
        await asyncio.sleep(0)

    async with stateroom.Session(max_routing_concurrency=10) as session:
        session.add_message_interceptor(count_tasks)
        code = f"import sys\nfor i in range({count}): sys.stdout.write('x\\n'); sys.stdout.flush()"
        async for _ in session.execute(code):
            pass
    return most, chars


async def test_a_flood_leaks_no_tasks_and_loses_nothing():
    before = len(asyncio.all_tasks())
    most, chars = await flood(20_000)
    assert chars == 40_000
    assert most <= 10 + 5  # besides the tasks of the test and of the session
    assert len(asyncio.all_tasks()) == before


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_flood_of_a_million():
    most, chars = await flood(1_000_000)
    assert chars == 2_000_000
    assert most <= 10 + 5


async def test_cancel_answers_in_a_flood():
    async with stateroom.Session() as session:
        running = await begun(session, "while True: print('x')")
        assert await session.cancel() is CancelOutcome.CANCELLED
        assert (await running).cancelled
