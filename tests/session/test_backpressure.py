"""Who pauses the reading, for how long, and what becomes of it when the worker ends meanwhile."""

import asyncio
import contextlib

from stage import Stage, end_cancelled

from stateroom.protocol.messages import OutputMessage, ResultMessage
from stateroom.session.stream import HIGH_WATER_BYTES
from stateroom.testing import virtual_time

BLOCK = "x" * (HIGH_WATER_BYTES // 4)


class Gate:
    """An interceptor whose tasks wait until it is opened."""

    def __init__(self):
        self.opened = asyncio.Event()
        self.seen = []

    async def __call__(self, message):
        await self.opened.wait()
        self.seen.append(message)


def tasks_of(session):
    return session.info.interceptors[0].running


async def settled():
    """Everything has happened that can: virtual time passes only then."""
    await asyncio.sleep(1)


@virtual_time
async def test_interceptors_pause_the_worker_at_their_bound_and_lose_nothing():
    async with Stage(max_routing_concurrency=2) as stage:
        stage.session.add_message_interceptor(gate := Gate())
        running, cell = await stage.begin()
        stage.worker.channel.chunk_bytes = 16
        for text in "abcdef":
            cell.print(text)
        cell.succeed()
        await settled()
        assert stage.worker.channel.is_paused
        assert tasks_of(stage.session) == 2
        gate.opened.set()
        assert (await running).stdout == "abcdef"
        assert len(gate.seen) == 7


@virtual_time
async def test_the_bound_of_interceptors_holds_for_the_next_worker_too():
    async with Stage(max_routing_concurrency=2) as stage:
        stage.session.add_message_interceptor(gate := Gate())
        _, cell = await stage.begin()
        cell.print("x")
        cell.print("x")
        await settled()
        await stage.next_worker(stage.session.restart())
        running, cell = await stage.begin()
        stage.worker.channel.chunk_bytes = 16
        for _ in range(10):
            cell.print("x")
        cell.succeed()
        await settled()
        assert stage.worker.channel.is_paused
        assert tasks_of(stage.session) == 3  # the first message tells that the bound is reached
        gate.opened.set()
        assert (await running).stdout == "x" * 10


@virtual_time
async def test_a_worker_that_ends_is_read_to_the_end_whoever_wants_a_pause():
    async with Stage(max_routing_concurrency=2) as stage:
        stage.session.add_message_interceptor(gate := Gate())
        running, cell = await stage.begin()
        stage.worker.channel.hold()
        for text in "abcdef":
            cell.print(text)
        cell.succeed(1)
        stage.worker.exit(0)
        result = await running
        assert (result.value, result.stdout) == (1, "abcdef")
        gate.opened.set()
        await settled()
        assert len(gate.seen) == 7


@virtual_time
async def test_a_consumer_that_stops_pauses_the_worker_and_one_that_goes_on_gets_all():
    async with Stage() as stage:
        messages, first, cell = await stage.begin_stream()
        for _ in range(8):
            cell.print(BLOCK)
        cell.succeed()
        await first
        await settled()
        assert stage.worker.channel.is_paused
        assert stage.worker.channel.in_flight_bytes > 2 * len(BLOCK)
        rest = [message async for message in messages]
        assert [type(message) for message in rest] == [OutputMessage] * 7 + [ResultMessage]
        assert not stage.worker.channel.is_paused


@virtual_time
async def test_what_came_together_with_the_message_that_paused_it_reaches_the_consumer():
    async with Stage() as stage:
        messages = stage.session.execute("")
        first = asyncio.ensure_future(anext(messages))
        cell = await stage.worker.next_cell()
        for text in (*[BLOCK] * 4, BLOCK[1000:], *["x"] * 100):
            cell.print(text)
        cell.succeed()
        await first
        await settled()
        assert stage.worker.channel.is_paused
        assert stage.worker.channel.in_flight_bytes == 0  # the session holds the rest and the result
        async with asyncio.timeout(60):
            rest = [message async for message in messages]
        assert [type(message) for message in rest] == [OutputMessage] * 104 + [ResultMessage]


@virtual_time
async def test_the_reply_to_a_cancel_gets_past_a_consumer_that_has_stopped():
    async with Stage() as stage:
        messages, first, cell = await stage.begin_stream()
        for _ in range(8):
            cell.print(BLOCK)
        await first
        await settled()
        assert stage.worker.channel.is_paused
        cancelling = asyncio.create_task(stage.session.cancel())
        await cell.cancelled()
        end_cancelled(cell)
        assert await cancelling == "cancelled"
        await messages.aclose()


@virtual_time
async def test_a_consumer_that_leaves_cancels_its_cell_and_lets_the_rest_by():
    async with Stage() as stage:
        async with contextlib.aclosing(stage.session.execute("")) as messages:
            first = asyncio.ensure_future(anext(messages))
            cell = await stage.worker.next_cell()
            for _ in range(8):
                cell.print(BLOCK)
            await first
        await cell.cancelled()
        end_cancelled(cell)
        assert await stage.works()
        assert stage.worker.channel.in_flight_bytes == 0


@virtual_time
async def test_the_end_of_a_worker_ends_the_stream_behind_what_it_had_sent():
    async with Stage() as stage:
        messages, first, cell = await stage.begin_stream()
        for _ in range(8):
            cell.print(BLOCK)
        await first
        await settled()
        stage.worker.exit(3)
        rest = [message async for message in messages]
        assert len(rest) == 8
        assert rest[-1].error.exit_status == 3
