"""Messages become frames, within their limits."""

from __future__ import annotations

import struct

import msgspec
import pytest
from frames import LIMIT, feed, frame, make_reader, result, wire
from hypothesis import given
from hypothesis import strategies as st

from stateroom.errors import ConfigError, FrameTooLarge, NotPlainData
from stateroom.protocol.framing import JOIN_BELOW_BYTES, PREFIX_BYTES, FrameReader, FrameWriter
from stateroom.protocol.messages import (
    ErrorInfo,
    ErrorMessage,
    ExecuteMessage,
    OutputMessage,
    ShutdownMessage,
    ToSession,
    ToWorker,
)


def test_a_frame_is_two_lengths_a_header_and_a_payload():
    (data,) = FrameWriter(LIMIT).encode(ShutdownMessage())
    assert data == frame(msgspec.msgpack.encode({"type": "shutdown"}))
    (data,) = FrameWriter(LIMIT).encode(OutputMessage(), payload=b"hello")
    assert data == frame(msgspec.msgpack.encode({"type": "output"}), b"hello")


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_small_payload_is_joined_and_a_large_one_is_not_copied(kind):
    small, large = kind(b"x" * (JOIN_BELOW_BYTES - 1)), kind(b"x" * JOIN_BELOW_BYTES)
    assert len(FrameWriter(LIMIT).encode(OutputMessage(), small)) == 1
    head, payload = FrameWriter(LIMIT).encode(OutputMessage(), large)
    assert payload is large or payload.obj is large or payload.obj is large.obj
    assert head == struct.pack(">II", len(head) - PREFIX_BYTES, len(large)) + head[PREFIX_BYTES:]


def test_payload_sizes_count_bytes_not_items():
    numbers = memoryview(struct.pack("4d", 1, 2, 3, 4)).cast("d")
    (item,) = feed(make_reader(), wire(result(), numbers))
    assert bytes(item.buffers) == numbers.tobytes()


def test_the_buffers_of_a_result_go_behind_the_header_and_not_into_it():
    message = result([b"a" * 70_000, bytearray(b"b" * 70_000), b"c"], value=b"\xc0")
    head, *parts = FrameWriter(LIMIT).encode(message)
    assert len(head) < 100
    assert [len(part) for part in parts] == [70_000, 70_000, 1]
    (item,) = feed(make_reader(), b"".join([head, *parts]))
    assert item.value == b"\xc0"
    assert item.buffers == b"a" * 70_000 + b"b" * 70_000 + b"c"


def test_an_explicit_payload_replaces_the_one_of_the_message():
    (item,) = feed(make_reader(), wire(result(b"own"), b"given"))
    assert item.buffers == b"given"


@pytest.mark.parametrize("payload", [b"", [], None, [b"", b""]])
def test_an_empty_payload_is_none(payload):
    (item,) = feed(make_reader(), wire(result(), payload))
    assert item.buffers is None


@pytest.mark.parametrize("over", [0, 1])
def test_the_limit_holds_for_header_and_payload_together_on_both_ends(over):
    header_bytes = len(msgspec.msgpack.encode(OutputMessage()))
    payload = b"x" * (1000 - header_bytes + over)
    data = wire(OutputMessage(), payload)
    (item,) = feed(make_reader(max_frame_bytes=1000), data)
    if over:
        assert isinstance(item, FrameTooLarge)
        with pytest.raises(FrameTooLarge, match=r"OutputMessage of 1001 bytes .* max_frame_bytes \(1000\)"):
            FrameWriter(1000).encode(OutputMessage(), payload)
    else:
        assert item.data == payload.decode()
        assert b"".join(FrameWriter(1000).encode(OutputMessage(), payload)) == data


def test_a_header_over_the_limit_is_refused_by_the_writer():
    with pytest.raises(FrameTooLarge, match="ExecuteMessage"):
        FrameWriter(1000).encode(ExecuteMessage(execution_id="e", number=1, code="x" * 1000))


@pytest.mark.parametrize("limit", [0, -1, 1 << 32])
def test_a_limit_that_cannot_work_is_a_config_error(limit):
    with pytest.raises(ConfigError, match="max_frame_bytes"):
        FrameWriter(limit)
    with pytest.raises(ConfigError, match="max_frame_bytes"):
        FrameReader(ToSession, limit)


def test_lone_surrogates_in_a_header_arrive_as_escapes():
    error = ErrorInfo(type="E\ud800", notes=["n\udfff", "ok ü"])
    message = ErrorMessage(execution_id="e1", number=1, error=error)
    (item,) = feed(make_reader(), wire(message))
    assert item.error == ErrorInfo(type="E\\ud800", notes=["n\\udfff", "ok ü"])
    assert error.type == "E\ud800"


@pytest.mark.parametrize("thing", [object(), 1 << 70, {(1,): {object()}}])
def test_a_field_that_msgpack_cannot_hold_is_named(thing):
    with pytest.raises(NotPlainData, match="a ResultMessage cannot be sent"):
        FrameWriter(LIMIT).encode(result(mime={"x": thing}))


@given(st.text(st.characters(), max_size=50) | st.text(st.characters(categories=["Cs"]), max_size=5))
def test_any_source_text_can_be_sent(code):
    data = wire(ExecuteMessage(execution_id="e1", number=1, code=code))
    (item,) = feed(FrameReader(ToWorker, LIMIT), data)
    assert item.code == code.encode("utf-8", "backslashreplace").decode()
