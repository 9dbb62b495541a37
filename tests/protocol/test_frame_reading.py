"""Frames become messages, however they arrive and whatever is in them."""

from __future__ import annotations

import struct
import tracemalloc

import msgspec
import pytest
from frames import LIMIT, feed, frame, make_reader, output, result, seen, wire
from hypothesis import given
from hypothesis import strategies as st

from stateroom.errors import FrameTooLarge, MalformedFrame, ProtocolError
from stateroom.protocol import framing
from stateroom.protocol.framing import PREFIX_BYTES, FrameReader
from stateroom.protocol.messages import (
    PROTOCOL_VERSION,
    ErrorInfo,
    ErrorMessage,
    ExecuteMessage,
    HeartbeatMessage,
    OutputMessage,
    ReadyMessage,
    ToSession,
    ToWorker,
)


def test_several_frames_of_one_read_come_in_order():
    data = output("a") + wire(result(value=b"\x01")) + wire(HeartbeatMessage()) + output("b")
    kinds = [type(item).__name__ for item in feed(make_reader(), data)]
    assert kinds == ["OutputMessage", "ResultMessage", "HeartbeatMessage", "OutputMessage"]


def test_every_type_of_message_survives():
    messages = [
        ReadyMessage(protocol_version=PROTOCOL_VERSION, python_version="3.13.0", pid=7),
        ErrorMessage(
            execution_id="e1",
            number=1,
            error=ErrorInfo(type="X", group=[ErrorInfo(type="Y")]),
            cancelled=True,
        ),
        OutputMessage(stream="stderr", execution_id=None, data="in the header"),
    ]
    assert feed(make_reader(), b"".join(map(wire, messages))) == messages


def test_what_attach_gets_stays_valid_and_cannot_be_written_to():
    reader = make_reader(buffer_bytes=1024)
    small, large = b"s" * 100, b"l" * 5000
    items = feed(reader, wire(result(), small) + wire(result(), large))
    feed(reader, b"".join(wire(result(), b"#" * size) for size in (100, 5000, 900, 100)))
    assert [bytes(item.buffers) for item in items] == [small, large]
    assert all(item.buffers.readonly for item in items)


def test_a_large_frame_is_received_straight_into_memory_of_its_own_and_the_reader_shrinks_back():
    reader = make_reader(buffer_bytes=1024)
    data = wire(result(), b"x" * 100_000)
    assert feed(reader, data[:50_000]) == []
    assert len(reader.get_buffer()) == len(data) - 50_000
    assert "large" in repr(reader)
    (item,) = feed(reader, data[50_000:])
    assert len(item.buffers) == 100_000
    assert len(reader.get_buffer()) == 1024
    (after,) = feed(reader, output("next"))
    assert after.data == "next"


def test_a_very_large_frame_arrives(monkeypatch):
    monkeypatch.setattr(framing, "_MAP_FROM_BYTES", 100_000)
    payload = bytes(range(256)) * 1000
    first, second = feed(make_reader(), wire(result(), payload) + output("next"))
    assert bytes(first.buffers) == payload
    assert first.buffers.readonly
    assert second.data == "next"


def test_a_claimed_size_costs_no_memory_until_bytes_come():
    reader = make_reader(max_frame_bytes=(1 << 32) - 1)
    tracemalloc.start()
    try:
        assert feed(reader, struct.pack(">II", 10, (1 << 30))) == []
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


def test_a_frame_that_no_memory_can_be_had_for_is_skipped(monkeypatch):
    def no_memory(size):
        raise MemoryError

    monkeypatch.setattr(framing, "_allocate", no_memory)
    error, after = feed(make_reader(buffer_bytes=1024), wire(result(), b"x" * 5000) + output("next"))
    assert isinstance(error, FrameTooLarge)
    assert "no memory" in str(error)
    assert after.data == "next"


def test_an_oversized_frame_is_reported_once_and_skipped_without_being_stored():
    reader = make_reader(buffer_bytes=1024, max_frame_bytes=2000)
    huge = wire(result(), b"x" * 300_000)
    items = feed(reader, output("before") + huge[:500])
    assert [type(item) for item in items] == [OutputMessage, FrameTooLarge]
    assert "2000" in str(items[1])
    assert "skipping" in repr(reader)
    assert feed(reader, huge[500:-1]) == []
    (after,) = feed(reader, huge[-1:] + output("after"))
    assert after.data == "after"


def test_the_largest_lengths_there_are_do_not_spin():
    reader = make_reader()
    (error,) = feed(reader, b"\xff" * PREFIX_BYTES)
    assert isinstance(error, FrameTooLarge)
    assert feed(reader, b"\xff" * 200_000) == []


MALFORMED = {
    "nothing": (b"", "without a header"),
    "not msgpack": (b"\xc1", "holds no message"),
    "cut short": (msgspec.msgpack.encode({"type": "heartbeat", "loop_lag_s": 1.0})[:-1], "truncated"),
    "trailing": (msgspec.msgpack.encode({"type": "heartbeat"}) + b"\x00", "dropped"),
    "not an object": (b"\x93\x01\x02\x03", "holds no message"),
    "no tag": (msgspec.msgpack.encode({"loop_lag_s": 1.0}), "holds no message"),
    "unknown tag": (msgspec.msgpack.encode({"type": "dance"}), "'dance'"),
    "for the other end": (msgspec.msgpack.encode({"type": "shutdown"}), "'shutdown'"),
    "wrong field type": (msgspec.msgpack.encode({"type": "input", "input_id": 5}), r"'input'.*input_id"),
    "missing field": (msgspec.msgpack.encode({"type": "input"}), r"'input'.*input_id"),
    "not utf-8": (b"\x81\xa4type\xa1\xff", "holds no message"),
    "too deep": (b"\x82\xa4type\xa7warning\xa6fields\x81\xa1x" + b"\x91" * 200_000 + b"\xc0", "dropped"),
    "too many items": (b"\x82\xa4type\xa7warning\xa6fields\x81\xa1x\xdd\xff\xff\xff\xff", "dropped"),
}


@pytest.mark.parametrize("name", MALFORMED)
@pytest.mark.parametrize("payload", [b"", b"some payload"])
def test_a_malformed_frame_is_an_error_in_its_place(name, payload):
    header, reason = MALFORMED[name]
    before, error, after = feed(make_reader(), output("before") + frame(header, payload) + output("after"))
    assert (before.data, after.data) == ("before", "after")
    assert isinstance(error, MalformedFrame)
    with pytest.raises(MalformedFrame, match=reason):
        raise error


def test_an_error_text_is_short_whatever_came():
    (error,) = feed(make_reader(), frame(msgspec.msgpack.encode({"type": "x" * 100_000})))
    assert isinstance(error, MalformedFrame)
    assert len(str(error)) < 1000


def test_unknown_fields_and_unwanted_payloads_are_ignored():
    header = msgspec.msgpack.encode({"type": "heartbeat", "new_in_version_2": [1]})
    (item,) = feed(make_reader(), frame(header, b"unwanted"))
    assert item == HeartbeatMessage()


def test_a_peer_cannot_set_buffers_in_the_header():
    header = msgspec.msgpack.encode(
        {"type": "result", "execution_id": "e", "number": 1, "mode": "m", "duration_s": 0.0, "buffers": 5}
    )
    (item,) = feed(make_reader(), frame(header))
    assert item.buffers is None


def test_bytes_that_are_no_utf8_are_replaced_in_output():
    (item,) = feed(make_reader(), wire(OutputMessage(), b"a\xffb"))
    assert item.data == "a\ufffdb"


def test_a_read_of_nothing_changes_nothing():
    reader = make_reader()
    data = output("hello")
    feed(reader, data[:5])
    assert reader.received(0) == []
    assert [item.data for item in feed(reader, data[5:])] == ["hello"]


def test_the_buffer_may_be_smaller_than_a_prefix():
    assert [item.data for item in feed(make_reader(buffer_bytes=0), output("a") + output("b"))] == ["a", "b"]


def test_the_worker_side_reads_what_the_session_writes():
    message = ExecuteMessage(execution_id="e1", number=1, code="1 + 1", argv=["x"])
    assert feed(FrameReader(ToWorker, LIMIT), wire(message)) == [message]


good_frames = st.one_of(
    st.text(max_size=80).map(output),
    st.binary(max_size=300).map(lambda payload: wire(result(), payload)),
    st.just(wire(HeartbeatMessage())),
)
bad_frames = st.one_of(
    st.builds(frame, st.binary(max_size=40), st.binary(max_size=40)),
    st.integers(401, 1500).map(lambda size: frame(b"\xc0", b"x" * size)),
)


@given(st.lists(good_frames | bad_frames, max_size=8), st.lists(st.integers(1, 200)), st.integers(0, 300))
def test_however_a_stream_is_split_the_same_comes_out(frames, sizes, buffer_bytes):
    """Read frame by frame on the one hand, in pieces and through a small buffer on the other."""
    expected = [seen(item) for data in frames for item in feed(make_reader(max_frame_bytes=400), data)]
    reader = make_reader(buffer_bytes, max_frame_bytes=400)
    assert [seen(item) for item in feed(reader, b"".join(frames), sizes)] == expected
    assert len(expected) == len(frames)


@given(st.binary(max_size=2000), st.lists(st.integers(1, 200)), st.integers(1, 3000))
def test_random_bytes_give_messages_or_protocol_errors(data, sizes, limit):
    for item in feed(make_reader(64, limit), data, sizes):
        assert isinstance(item, ToSession | ProtocolError)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(1 << 63), (1 << 64) - 1)
        | st.floats()
        | st.text()
        | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    ),
    st.sampled_from(["ready", "heartbeat", "output", "input", "result", "error", "warning", "fault", "x"]),
    st.sampled_from(["execution_id", "error", "fields", "mime", "stream", "input_id", "event", "reason"]),
)
def test_random_fields_give_a_message_or_a_malformed_frame(value, tag, field):
    (item,) = feed(make_reader(), frame(msgspec.msgpack.encode({"type": tag, field: value}), b"p"))
    assert isinstance(item, ToSession | MalformedFrame)
