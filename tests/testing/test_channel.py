"""The transport in memory: what arrives when, and in which pieces."""

import asyncio

import pytest

from stateroom.errors import MalformedFrame
from stateroom.protocol.messages import ExecuteMessage, HeartbeatMessage, OutputMessage, ShutdownMessage
from stateroom.session.transport import SessionTransport
from stateroom.testing import MemoryChannel, virtual_time


class Ends:
    """Both ends, with what each of them has got."""

    def __init__(self):
        self.at_worker, self.at_session, self.lost = [], [], 0
        self.channel = MemoryChannel(1 << 20, on_message=self.at_worker.append, on_change=lambda: None)
        self.transport = SessionTransport(1 << 20, on_message=self.at_session.append, on_lost=self._lose)
        self.channel.connect(self.transport)

    def _lose(self):
        self.lost += 1


def output(text):
    return OutputMessage(data=text)


async def settled():
    """Everything has arrived that can: virtual time passes only then."""
    await asyncio.sleep(1)


@virtual_time
async def test_messages_cross_both_ways_in_order():
    ends = Ends()
    ends.transport.send(ExecuteMessage(execution_id="e1", number=1, code="1"))
    ends.transport.send(ShutdownMessage())
    assert [type(message) for message in ends.at_worker] == [ExecuteMessage, ShutdownMessage]
    for text in "abc":
        ends.channel.send(output(text))
    assert ends.at_session == []
    await settled()
    assert ends.at_session == [output("a"), output("b"), output("c")]
    assert ends.channel.in_flight_bytes == 0


@virtual_time
async def test_large_messages_cross_whole():
    ends = Ends()
    code = "#" * 500_000
    ends.transport.send(ExecuteMessage(execution_id="e1", number=1, code=code))
    assert ends.at_worker[0].code == code
    ends.channel.send(OutputMessage(), payload=code.encode())
    await settled()
    assert ends.at_session[0].data == code


@virtual_time
async def test_what_is_held_arrives_as_told():
    ends = Ends()
    ends.channel.hold()
    for text in "abcd":
        ends.channel.send(output(text))
    await settled()
    assert ends.at_session == []
    ends.channel.deliver(2)
    await settled()
    assert ends.at_session == [output("a"), output("b")]
    ends.channel.release()
    ends.channel.send(output("e"))
    await settled()
    assert [message.data for message in ends.at_session] == list("abcde")


@pytest.mark.parametrize("chunk_bytes", [1, 2, 7, 8, 9])
@virtual_time
async def test_pieces_of_any_size_make_the_same_messages(chunk_bytes):
    ends = Ends()
    ends.channel.chunk_bytes = chunk_bytes
    ends.channel.send(output("first"))
    ends.channel.send(OutputMessage(), payload=b"second")
    await settled()
    assert [message.data for message in ends.at_session] == ["first", "second"]


@virtual_time
async def test_a_session_that_pauses_gets_nothing():
    ends = Ends()
    ends.transport.pause(ends)
    assert ends.channel.is_paused
    ends.channel.send(output("a"))
    ends.channel.hang_up()
    await settled()
    assert (ends.at_session, ends.lost) == ([], 0)
    assert ends.channel.in_flight_bytes > 0
    ends.transport.resume(ends)
    await settled()
    assert (ends.at_session, ends.lost) == ([output("a")], 1)


@virtual_time
async def test_hang_up_comes_behind_what_was_sent_and_cut_in_its_place():
    for end, arrived in ((MemoryChannel.hang_up, [output("a")]), (MemoryChannel.cut, [])):
        ends = Ends()
        ends.channel.send(output("a"))
        end(ends.channel)
        ends.channel.send(output("after the end"))
        ends.transport.send(ShutdownMessage())
        await settled()
        assert (ends.at_session, ends.at_worker, ends.lost) == (arrived, [], 1)
        assert not ends.channel.is_open


@virtual_time
async def test_the_end_waits_for_what_is_held():
    ends = Ends()
    ends.channel.hold()
    ends.channel.send(output("a"))
    ends.channel.hang_up()
    await settled()
    assert ends.lost == 0
    ends.channel.release()
    await settled()
    assert (ends.at_session, ends.lost) == ([output("a")], 1)


@virtual_time
async def test_bytes_with_a_fault():
    ends = Ends()
    frame = bytearray(ends.channel.encode(HeartbeatMessage()))
    frame[-1] ^= 0xFF
    ends.channel.send_bytes(bytes(frame))
    ends.channel.send(HeartbeatMessage())
    await settled()
    assert [type(item) for item in ends.at_session] == [MalformedFrame, HeartbeatMessage]


@virtual_time
async def test_the_rest_is_read_without_a_turn_of_the_loop():
    ends = Ends()
    ends.channel.hold()
    for text in "abc":
        ends.channel.send(output(text))
    ends.transport.read_to_end(ends.channel.read_rest)
    assert [message.data for message in ends.at_session] == list("abc")


@virtual_time
async def test_a_session_that_closes_its_end_hears_nothing_more():
    ends = Ends()
    ends.channel.send(output("a"))
    ends.transport.close()
    await settled()
    assert (ends.at_session, ends.lost) == ([], 1)
