"""Bytes to messages and back; no I/O in here.

A frame is a prefix of two big-endian 32-bit lengths, then the header (one msgpack message of
:mod:`stateroom.protocol.messages`), then the payload (raw bytes, may be empty)::

    | header length, u32 | payload length, u32 | header ... | payload ... |

The reader never loses its place: a frame that is too large, or that holds no known message, is
one :class:`~stateroom.errors.ProtocolError` among the messages and the next frame is read as if
nothing had happened. After h11: bytes in, events out, and the caller owns the socket.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from ..errors import ConfigError, FrameTooLarge, MalformedFrame, NotPlainData, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["JOIN_BELOW_BYTES", "PREFIX_BYTES", "Buffer", "FrameReader", "FrameWriter"]

Message = TypeVar("Message")
Buffer = bytes | bytearray | memoryview

JOIN_BELOW_BYTES = 64 * 1024
"""Smaller payloads are joined with their header, so that a frame takes one send."""

_PREFIX = Struct(">II")
_UINT32_MAX = (1 << 32) - 1
_REASON_CHARS = 300
_MAP_FROM_BYTES = 16 * 1024 * 1024
"""Larger frames are received into mapped memory, which costs nothing until bytes really come."""

PREFIX_BYTES = _PREFIX.size


class _Tagged(msgspec.Struct):
    """As much of a header as an error message needs."""

    type: str


class FrameWriter:
    """Turns messages into buffers to send. Safe to share between threads: it keeps no state."""

    def __init__(self, max_frame_bytes: int) -> None:
        self.max_frame_bytes = _checked_limit(max_frame_bytes)
        self._encoder = msgspec.msgpack.Encoder()

    def __repr__(self) -> str:
        return f"<FrameWriter max_frame_bytes={self.max_frame_bytes}>"

    def encode(self, message: Any, payload: Buffer | Sequence[Buffer] | None = None) -> list[Buffer]:
        """One frame as the buffers to send back to back.

        ``payload`` is sent in place of ``message.payload``; several buffers arrive as one. Below
        ``JOIN_BELOW_BYTES`` the frame is one bytes object, above it the payload is not copied
        and must not change until it is sent. Lone surrogates in texts of the header arrive as
        backslash escapes.

        Raises :class:`FrameTooLarge` for a frame over the limit, :class:`NotPlainData` for a field
        that msgpack cannot hold; nothing of the frame is to be sent then.
        """
        header = self._encode_header(message)
        if payload is None:
            payload = message.payload
        if not payload:
            self._check(message, len(header))
            return [_PREFIX.pack(len(header), 0) + header]
        parts = [payload] if isinstance(payload, bytes) else _parts(payload)
        payload_bytes = sum(map(len, parts))
        self._check(message, len(header) + payload_bytes)
        prefix = _PREFIX.pack(len(header), payload_bytes)
        if payload_bytes < JOIN_BELOW_BYTES:
            return [b"".join((prefix, header, *parts))]
        return [prefix + header, *parts]

    def _encode_header(self, message: Any) -> bytes:
        try:
            return self._encoder.encode(message)
        except UnicodeEncodeError:
            return self._encoder.encode(_escape_surrogates(msgspec.to_builtins(message)))
        except (TypeError, OverflowError, ValueError, RecursionError) as error:
            raise NotPlainData(f"{_name_of(message)} cannot be sent: {_clip(error)}") from error

    def _check(self, message: Any, size: int) -> None:
        if size > self.max_frame_bytes:
            raise FrameTooLarge(
                f"{_name_of(message)} of {size} bytes was not sent: over max_frame_bytes "
                f"({self.max_frame_bytes}); send less, or raise the limit in SessionConfig"
            )


class FrameReader(Generic[Message]):
    """Turns received bytes into messages.

    Ask :meth:`get_buffer` where to receive into, then say how much came with :meth:`received`;
    the pair suits ``socket.recv_into`` and :class:`asyncio.BufferedProtocol`. Frames share one
    buffer of ``buffer_bytes``; a larger frame gets a buffer of exactly its size, which its message
    takes along, so the reader itself never holds more than one of each.
    """

    def __init__(self, union_type: Any, max_frame_bytes: int, buffer_bytes: int = 65536) -> None:
        self.max_frame_bytes = _checked_limit(max_frame_bytes)
        self._decode = msgspec.msgpack.Decoder(union_type).decode
        self._buffer = bytearray(max(buffer_bytes, PREFIX_BYTES))
        self._view = memoryview(self._buffer)
        self._start = 0  # the first byte that is not read yet
        self._end = 0  # where the next received byte goes
        self._large: memoryview | None = None  # header and payload of a frame over buffer_bytes
        self._large_header_bytes = 0
        self._large_end = 0
        self._skip_bytes = 0  # what is still to come of a frame that was refused

    def __repr__(self) -> str:
        if self._large is not None:
            state = f"{self._large_end} of {self._large.nbytes} bytes of a large frame"
        elif self._skip_bytes:
            state = f"skipping {self._skip_bytes} bytes"
        else:
            state = f"{self._end - self._start} bytes held"
        return f"<FrameReader {state}>"

    def get_buffer(self) -> memoryview:
        """Where to receive into; never empty, valid until the next call of :meth:`received`."""
        if self._large is not None:
            return self._large[self._large_end :]
        return self._view[self._end :]

    def received(self, count: int) -> list[Message | ProtocolError]:
        """Take ``count`` bytes that were written to :meth:`get_buffer`; what they complete, in order.

        A frame that cannot be used stands in the list as the error that says why: :class:`FrameTooLarge`
        as soon as its prefix is there, :class:`MalformedFrame` when all of it is. What
        ``message.attach`` gets is read-only and the message's own for as long as it likes.
        """
        if self._large is not None:
            self._large_end += count
            return [self._take_large(self._large)] if self._large_end == self._large.nbytes else []
        self._end += count
        self._skip()
        items: list[Message | ProtocolError] = []
        while self._end - self._start >= PREFIX_BYTES:
            header_bytes, payload_bytes = _PREFIX.unpack_from(self._view, self._start)
            size = header_bytes + payload_bytes
            if size > self.max_frame_bytes:
                items.append(self._refuse(size, f"over max_frame_bytes ({self.max_frame_bytes})"))
            elif self._start + PREFIX_BYTES + size <= self._end:
                items.append(self._take_small(header_bytes, payload_bytes))
            elif PREFIX_BYTES + size <= len(self._buffer):
                break
            elif (error := self._begin_large(header_bytes, payload_bytes)) is not None:
                items.append(error)
        self._make_room()
        return items

    def _take_small(self, header_bytes: int, payload_bytes: int) -> Message | ProtocolError:
        body = self._start + PREFIX_BYTES
        payload = body + header_bytes
        self._start = end = payload + payload_bytes
        header = self._view[body:payload]
        return self._message(header, memoryview(bytes(self._view[payload:end])) if payload_bytes else None)

    def _begin_large(self, header_bytes: int, payload_bytes: int) -> FrameTooLarge | None:
        size = header_bytes + payload_bytes
        try:
            frame = _allocate(size)
        except (MemoryError, OSError):
            return self._refuse(size, "there is no memory for it")
        held = self._view[self._start + PREFIX_BYTES : self._end]
        frame[: len(held)] = held
        self._large, self._large_header_bytes, self._large_end = frame, header_bytes, len(held)
        self._start = self._end
        return None

    def _take_large(self, frame: memoryview) -> Message | ProtocolError:
        self._large = None
        header, payload = frame[: self._large_header_bytes], frame[self._large_header_bytes :]
        return self._message(header, payload.toreadonly() if payload else None)

    def _message(self, header: memoryview, payload: memoryview | None) -> Message | ProtocolError:
        try:
            message: Any = self._decode(header)
            if payload is not None:
                message.attach(payload)
        except Exception as error:  # noqa: BLE001 - msgspec raises six kinds for hostile bytes
            return _malformed(header, error)
        return message  # type: ignore[no-any-return]

    def _refuse(self, size: int, reason: str) -> FrameTooLarge:
        """Give up the frame whose prefix comes next."""
        self._start += PREFIX_BYTES
        self._skip_bytes = size
        self._skip()
        return FrameTooLarge(
            f"a frame of {size} bytes was refused: {reason}; send less, or raise the limit in SessionConfig"
        )

    def _skip(self) -> None:
        """Drop what is there of a refused frame."""
        count = min(self._skip_bytes, self._end - self._start)
        self._skip_bytes -= count
        self._start += count

    def _make_room(self) -> None:
        """Let the frame that has begun fit behind what is held of it."""
        held = self._end - self._start
        if not held:
            self._start = self._end = 0
            return
        needed = PREFIX_BYTES
        if held >= PREFIX_BYTES:
            needed += sum(_PREFIX.unpack_from(self._view, self._start))
        if self._start + needed > len(self._buffer):
            self._view[:held] = self._view[self._start : self._end]
            self._start, self._end = 0, held


def _checked_limit(max_frame_bytes: int) -> int:
    if not 0 < max_frame_bytes <= _UINT32_MAX:
        raise ConfigError(f"max_frame_bytes={max_frame_bytes!r}: give a number from 1 to {_UINT32_MAX}")
    return max_frame_bytes


def _allocate(size: int) -> memoryview:
    if size < _MAP_FROM_BYTES:
        return memoryview(bytearray(size))
    import mmap

    return memoryview(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANON))


def _parts(payload: Buffer | Sequence[Buffer]) -> list[Buffer]:
    """The payload's buffers, each with a ``len`` that counts bytes."""
    buffers = [payload] if isinstance(payload, bytes | bytearray | memoryview) else payload
    return [part if isinstance(part, bytes) else memoryview(part).cast("B") for part in buffers]


def _escape_surrogates(tree: Any) -> Any:
    if isinstance(tree, str):
        return tree.encode("utf-8", "backslashreplace").decode()
    if isinstance(tree, dict):
        return {_escape_surrogates(key): _escape_surrogates(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_escape_surrogates(item) for item in tree]
    return tree


def _malformed(header: memoryview, error: Exception) -> MalformedFrame:
    if not header:
        return MalformedFrame("a frame without a header was dropped")
    try:
        tag = msgspec.msgpack.decode(header, type=_Tagged).type
    except Exception:  # noqa: BLE001 - the bytes are hostile, and the reason is known already
        return MalformedFrame(f"a frame that holds no message was dropped: {_clip(error)}")
    return MalformedFrame(f"a message {_clip(tag)!r} was dropped: {_clip(error)}")


def _name_of(message: Any) -> str:
    return f"a {type(message).__name__}"


def _clip(text: object) -> str:
    text = str(text)
    return text if len(text) <= _REASON_CHARS else text[:_REASON_CHARS] + "…"
