"""What a durable session leaves behind after each finished cell, and the interface of what keeps it.

A finished cell is stored as one thing: its result, by the id of its execution, together with the
checkpoint of the session after it. Either both are there or neither is, so whoever takes over can
tell exactly which cells are done:

- the result of the execution is there: answer with it, run nothing;
- it is not: restore the latest checkpoint and run the cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import msgspec

from ..errors import CheckpointError
from ..protocol.framing import Buffer

__all__ = ["CHUNK_BYTES", "CellStore", "FinishedCell", "StaleSave", "in_chunks"]

CHUNK_BYTES = 1 << 20
"""Checkpoints are stored in pieces of at most this size."""


class FinishedCell(msgspec.Struct, kw_only=True, frozen=True):
    """A cell of a named session that was run to its end, successfully or not."""

    session: str
    """The name of the session."""
    number: int
    """The first finished cell of the session is number 1."""
    execution_id: str
    """The id of the execution that ran it."""
    result: bytes
    """What was saved for it, as it was given."""
    saved_at: float
    """Seconds since the epoch."""


class StaleSave(CheckpointError):
    """Somebody else has finished a cell of this session meanwhile; what was to be saved is void."""


class CellStore(Protocol):
    """Finished cells by session, with the checkpoints of the last few.

    All methods block: call them from a thread if an event loop runs. They raise
    :class:`CheckpointError` for what is not there or not whole. Results are kept until
    :meth:`delete`, of the checkpoints the newest ``keep``.
    """

    def save(
        self, session: str, execution_id: str, result: bytes, checkpoint: Iterable[Buffer], *, after: int
    ) -> FinishedCell:
        """Store a finished cell, whole or not at all; it is durable when this returns.

        ``checkpoint`` comes in pieces of any size. ``after`` is the number of the cell that the session
        had finished before, 0 for none: if that is not the latest any more, :class:`StaleSave` is
        raised and nothing is stored, so two processes that both believe to own a session cannot both
        finish its next cell.
        """

    def find(self, session: str, execution_id: str) -> FinishedCell | None:
        """The finished cell with this execution id, or None if there is none."""

    def latest(self, session: str) -> FinishedCell | None:
        """The cell that was finished last, or None for a session that has none."""

    def checkpoint(self, cell: FinishedCell) -> Iterator[bytes]:
        """The checkpoint that was taken after ``cell``, piece by piece."""

    def delete(self, session: str) -> None:
        """Forget all cells and checkpoints of ``session``; nothing happens if there are none."""


def in_chunks(data: Iterable[Buffer]) -> Iterator[bytes]:
    """``data`` in pieces of :data:`CHUNK_BYTES`, the last one smaller."""
    gathered = bytearray()
    for piece in data:
        view = memoryview(piece).cast("B")
        for start in range(0, len(view), CHUNK_BYTES):
            gathered += view[start : start + CHUNK_BYTES]
            while len(gathered) >= CHUNK_BYTES:
                yield bytes(gathered[:CHUNK_BYTES])
                del gathered[:CHUNK_BYTES]
    if gathered:
        yield bytes(gathered)
