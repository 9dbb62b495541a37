"""How tests make frames and read them."""

from __future__ import annotations

import struct

from stateroom.errors import ProtocolError
from stateroom.protocol.framing import FrameReader, FrameWriter
from stateroom.protocol.messages import (
    OutputMessage,
    ResultMessage,
    ToSession,
)

LIMIT = 1 << 20


def make_reader(buffer_bytes=65536, max_frame_bytes=LIMIT):
    return FrameReader(ToSession, max_frame_bytes, buffer_bytes)


def feed(reader, data, sizes=()):
    """Receive ``data`` in pieces of the given sizes, then in as large ones as fit."""
    items, source, sizes = [], memoryview(data), iter(sizes)
    while source:
        room = reader.get_buffer()
        assert len(room) > 0
        count = min(len(room), len(source), max(1, next(sizes, len(source))))
        room[:count] = source[:count]
        source = source[count:]
        items += reader.received(count)
    return items


def frame(header: bytes, payload: bytes = b"") -> bytes:
    return struct.pack(">II", len(header), len(payload)) + header + payload


def wire(message, payload=None, limit=LIMIT):
    return b"".join(FrameWriter(limit).encode(message, payload))


def output(text: str) -> bytes:
    return wire(OutputMessage(execution_id="e1"), text.encode())


def result(buffers=None, **fields) -> ResultMessage:
    message = ResultMessage(execution_id="e1", number=1, mode="simple_sync", duration_s=0.5, **fields)
    message.buffers = buffers
    return message


def seen(item):
    """What can be compared of a message or an error."""
    if isinstance(item, ProtocolError):
        return type(item), str(item)
    buffers = getattr(item, "buffers", None)
    return item, None if buffers is None else bytes(buffers)
