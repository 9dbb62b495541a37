"""The bytes of a checkpoint; nothing in here looks into the pickles that it carries.

::

    | magic, 8 | format version, u32 | header length, u32 | header, msgpack | SHA-256 so far | padding
    | pickle stream | padding
    | buffer | padding | buffer | padding ...
    | SHA-256 of all that comes before |

Numbers are big-endian. Stream and buffers begin at multiples of ``ALIGN_BYTES``, so that an array
can live in the mapped file. The header is readable by itself; only the last digest says whether a
checkpoint is whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Any

import msgspec

from ..errors import CheckpointError
from .framing import Buffer

__all__ = [
    "FORMAT_VERSION",
    "CheckpointChecker",
    "CheckpointHeader",
    "CheckpointParts",
    "EntryInfo",
    "checkpoint_chunks",
    "open_parts",
    "read_header",
    "total_bytes",
]

MAGIC = b"\x93SROOM\r\n"
"""Not text, and not the same after a transfer that converts line ends (after PNG)."""
FORMAT_VERSION = 1
ALIGN_BYTES = 64
DIGEST_BYTES = 32
CHUNK_BYTES = 1 << 20
MAX_HEADER_BYTES = 1 << 28

_PREAMBLE = Struct(">8sII")


class EntryInfo(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One variable of a checkpoint, or one module that a variable names."""

    name: str
    type: str
    """The type's name as ``module.qualname``."""
    size_bytes: int = 0
    """What it added to the checkpoint; an object that several variables share counts for the first."""
    module: str | None = None
    """For a module: what to import. It has no pickle."""
    submodules: list[str] = []
    """For a package: what else of it was imported."""


class CheckpointHeader(msgspec.Struct, kw_only=True, frozen=True):
    """What is known about a checkpoint without unpickling anything."""

    python: str
    """``major.minor.micro`` of the interpreter that wrote it."""
    implementation: str
    """``sys.implementation.name``."""
    stateroom: str
    created_at: float
    """Seconds since the epoch."""
    packages: dict[str, str]
    """Versions of the packages whose objects are in it."""
    entries: list[EntryInfo]
    """What was saved, in the order of the pickles in the stream."""
    order: list[str]
    """All saved names in the order of the namespace."""
    skipped: dict[str, str]
    """What was left out, and why."""
    stream_bytes: int
    buffer_bytes: list[int]
    path_first: list[str] = []
    """Folders that cells have put at the start of ``sys.path``."""
    path_last: list[str] = []
    """Folders that they have put elsewhere in it."""

    def __post_init__(self) -> None:
        if self.stream_bytes < 0 or min(self.buffer_bytes, default=0) < 0:
            raise ValueError("negative length")


class CheckpointParts(msgspec.Struct):
    """A checkpoint that was found whole, as views of the memory that it was given in."""

    header: CheckpointHeader
    stream: memoryview
    buffers: list[memoryview]


def checkpoint_chunks(
    header: CheckpointHeader, stream: Iterable[Buffer], buffers: Iterable[Buffer]
) -> Iterator[bytes]:
    """A whole checkpoint in order, as copies of at most ``CHUNK_BYTES``.

    Each chunk is copied before it is hashed: a buffer that somebody changes meanwhile may be saved
    half old and half new, but never makes the digest wrong.
    """
    digest = hashlib.sha256()
    for chunk in _plain_chunks(header, stream, buffers):
        digest.update(chunk)
        yield chunk
    yield digest.digest()


def total_bytes(header: CheckpointHeader) -> int:
    """The size of the whole checkpoint that has this header."""
    return _end_of_body(_aligned(len(_encode_head(header))), header) + DIGEST_BYTES


def read_header(blob: Any) -> CheckpointHeader:
    """The header of a checkpoint, or of the beginning of one.

    ``blob`` is any bytes-like object, a mapped file included. Raises :class:`CheckpointError` for
    what is no checkpoint, is of another format version, or has a damaged header; what comes behind
    the header is not looked at.
    """
    with memoryview(blob) as view:
        return _read_head(view)[0]


def open_parts(blob: Any) -> CheckpointParts:
    """Check a whole checkpoint and give its parts as views of ``blob``.

    Raises :class:`CheckpointError` for a checkpoint that is cut short, too long, altered, or of
    another format version.
    """
    view = memoryview(blob).cast("B")
    header, head_bytes = _read_head(view)
    body = _aligned(head_bytes)
    end = _end_of_body(body, header)
    _check_length(view.nbytes, end + DIGEST_BYTES)
    if hashlib.sha256(view[:end]).digest() != view[end:]:
        raise _damaged("its digest does not match its content")
    places = list(_places(body, header))
    stream, *buffers = [view[start : start + size] for start, size in places]
    return CheckpointParts(header, stream, buffers)


class CheckpointChecker:
    """Follows a checkpoint that comes in chunks, and says at its end whether it is whole."""

    def __init__(self) -> None:
        self.header: CheckpointHeader | None = None
        self.received_bytes = 0
        self._digest = hashlib.sha256()
        self._head = bytearray()
        self._tail = b""

    def __repr__(self) -> str:
        return f"<CheckpointChecker received_bytes={self.received_bytes} header={self.header is not None}>"

    def feed(self, chunk: Buffer) -> None:
        """Take the next chunk; raises :class:`CheckpointError` as soon as the header is seen to be bad."""
        self.received_bytes += len(chunk)
        if self.header is None:
            self._head += chunk
            if len(self._head) >= _head_bytes(self._head):
                self.header = read_header(self._head)
                self._head.clear()
        held = self._tail + bytes(chunk)
        self._digest.update(memoryview(held)[:-DIGEST_BYTES])
        self._tail = held[-DIGEST_BYTES:]

    def finish(self) -> CheckpointHeader:
        """The header of the complete checkpoint; raises :class:`CheckpointError` if it is not whole."""
        if self.header is None:
            raise _cut_short(self.received_bytes)
        _check_length(self.received_bytes, total_bytes(self.header))
        if self._digest.digest() != self._tail:
            raise _damaged("its digest does not match its content")
        return self.header


def _encode_head(header: CheckpointHeader) -> bytes:
    """Preamble, header and their digest."""
    encoded = msgspec.msgpack.encode(header)
    head = _PREAMBLE.pack(MAGIC, FORMAT_VERSION, len(encoded)) + encoded
    return head + hashlib.sha256(head).digest()


def _head_bytes(begun: Buffer) -> int:
    """How many bytes the head takes, as far as its beginning tells."""
    if len(begun) < _PREAMBLE.size:
        return _PREAMBLE.size
    magic, version, header_bytes = _PREAMBLE.unpack_from(begun)
    if magic != MAGIC:
        raise CheckpointError("this is no stateroom checkpoint: it does not begin like one")
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"the checkpoint has format version {version}, this stateroom reads version {FORMAT_VERSION}; "
            "use the version of stateroom that wrote it"
        )
    if header_bytes > MAX_HEADER_BYTES:
        raise _damaged(f"its header claims {header_bytes} bytes")
    return int(_PREAMBLE.size + header_bytes + DIGEST_BYTES)


def _read_head(view: memoryview) -> tuple[CheckpointHeader, int]:
    size = _head_bytes(view)
    if view.nbytes < size:
        raise _cut_short(view.nbytes)
    end = size - DIGEST_BYTES
    if hashlib.sha256(view[:end]).digest() != view[end:size]:
        raise _damaged("the digest of its header does not match")
    try:
        return msgspec.msgpack.decode(view[_PREAMBLE.size : end], type=CheckpointHeader), size
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _damaged(f"its header cannot be read: {error}") from None


def _plain_chunks(
    header: CheckpointHeader, stream: Iterable[Buffer], buffers: Iterable[Buffer]
) -> Iterator[bytes]:
    yield from _padded([_encode_head(header)])
    yield from _padded(stream)
    for buffer in buffers:
        yield from _padded([buffer])


def _padded(parts: Iterable[Buffer]) -> Iterator[bytes]:
    size = 0
    for part in parts:
        view = memoryview(part).cast("B")
        size += view.nbytes
        for start in range(0, view.nbytes, CHUNK_BYTES):
            yield bytes(view[start : start + CHUNK_BYTES])
    if size % ALIGN_BYTES:
        yield bytes(_aligned(size) - size)


def _places(start: int, header: CheckpointHeader) -> Iterator[tuple[int, int]]:
    """Where the stream and each buffer begins, and its size."""
    for size in (header.stream_bytes, *header.buffer_bytes):
        yield start, size
        start += _aligned(size)


def _end_of_body(start: int, header: CheckpointHeader) -> int:
    return start + sum(map(_aligned, (header.stream_bytes, *header.buffer_bytes)))


def _aligned(size: int) -> int:
    return -(-size // ALIGN_BYTES) * ALIGN_BYTES


def _check_length(have: int, want: int) -> None:
    if have < want:
        raise _cut_short(have, want)
    if have > want:
        raise _damaged(f"it has {have - want} bytes too many")


def _cut_short(have: int, want: int | None = None) -> CheckpointError:
    of = f" of {want}" if want is not None else ""
    return CheckpointError(f"the checkpoint is cut short: {have}{of} bytes are there; use another one")


def _damaged(reason: str) -> CheckpointError:
    return CheckpointError(f"the checkpoint is damaged: {reason}; use another one")
