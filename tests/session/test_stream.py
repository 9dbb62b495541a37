"""The messages of one execution, between a transport that holds some back and a consumer."""

import asyncio

import pytest

from stateroom.protocol.messages import OutputMessage
from stateroom.session.stream import HIGH_WATER_BYTES, MessageStream
from stateroom.testing import virtual_time


class Source:
    """Hands its messages on at once when the stream resumes, as a transport does with those it holds."""

    def __init__(self, *sizes):
        self.held = [OutputMessage(data="x" * size) for size in sizes]
        self.is_paused = False
        self.stream = MessageStream(self.pause, self.resume, max_outbox_bytes=0)

    def pause(self, _holder):
        self.is_paused = True

    def resume(self, _holder):
        self.is_paused = False
        self.flow()

    def flow(self):
        while self.held and not self.is_paused:
            self.stream.put(self.held.pop(0))
        if not self.held:
            self.stream.end()


@pytest.mark.parametrize(
    "sizes",
    [
        (HIGH_WATER_BYTES, 4),
        (HIGH_WATER_BYTES, 4, 4),
        (HIGH_WATER_BYTES, HIGH_WATER_BYTES),
        (HIGH_WATER_BYTES, 4, HIGH_WATER_BYTES, HIGH_WATER_BYTES, 4),
    ],
    ids=["one held", "two held", "pauses again", "pauses again and again"],
)
@virtual_time
async def test_what_was_held_back_reaches_the_consumer_though_nothing_comes_after_it(sizes):
    source = Source(*sizes)
    source.flow()
    assert source.is_paused
    async with asyncio.timeout(60):
        received = [len(message.data) async for message in source.stream]
    assert tuple(received) == sizes


@virtual_time
async def test_a_consumer_that_waits_is_woken_by_what_comes():
    source = Source()
    waiting = asyncio.ensure_future(anext(aiter(source.stream)))
    await asyncio.sleep(1)
    assert not waiting.done()
    for text in ("first", "second"):
        source.stream.put(OutputMessage(data=text))
    assert (await waiting).data == "first"


@virtual_time
async def test_a_consumer_that_left_while_it_waited_is_no_hindrance():
    source = Source()
    waiting = asyncio.ensure_future(anext(aiter(source.stream)))
    await asyncio.sleep(1)
    waiting.cancel()
    source.stream.put(OutputMessage(data="x"))
    source.stream.end()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
