"""The session's end of the transport: bytes from the event loop to messages, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import ProtocolError
from ..protocol.framing import Buffer, FrameReader, FrameWriter
from ..protocol.messages import ToSession

__all__ = ["SessionTransport"]


class SessionTransport(asyncio.BufferedProtocol):
    """Receives straight into the frame reader's buffer; hands each message on, synchronously.

    A ``BufferedProtocol``, because asyncio's ordinary receive path allocates 256 KB for each read.
    """

    def __init__(
        self,
        max_frame_bytes: int,
        *,
        on_message: Callable[[ToSession | ProtocolError], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._reader: FrameReader[ToSession] = FrameReader(ToSession, max_frame_bytes)
        self._writer = FrameWriter(max_frame_bytes)
        self._on_message = on_message
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._held: deque[ToSession | ProtocolError] = deque()
        self._holders: set[object] = set()
        self._flows_for_good = False
        self._passing_on = False

    def __repr__(self) -> str:
        is_open = self._transport is not None
        return (
            f"<SessionTransport open={is_open} holders={len(self._holders)} held={len(self._held)} "
            f"{self._reader!r}>"
        )

    def send(self, message: Any, payload: Buffer | Sequence[Buffer] | None = None) -> None:
        """Send one message; dropped if the other end is gone, which ``on_lost`` has said.

        Raises :class:`FrameTooLarge` or :class:`NotPlainData` before anything is sent.
        """
        parts = self._writer.encode(message, payload)
        if self._transport is not None:
            for part in parts:
                self._transport.write(part)

    def pause(self, holder: object) -> None:
        """Hand nothing on and read no more, until ``holder``, and everybody else who paused, resumes.

        What the worker prints from now on waits in the worker.
        """
        if self._flows_for_good:
            return
        self._holders.add(holder)
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self, holder: object) -> None:
        """Undo the :meth:`pause` of this holder, if it did: hand on what is held, then read again."""
        self._holders.discard(holder)
        self._flow()

    def resume_for_good(self) -> None:
        """Nothing is to be held any more, whoever asks, or has asked, for it."""
        self._flows_for_good = True
        self._holders.clear()
        self._flow()

    def read_to_end(self, read_rest: Callable[[memoryview], int]) -> None:
        """Hand on what the other end sent before it died; needs no turn of the event loop.

        ``read_rest(buffer)`` puts what is left into the buffer: so many bytes.
        """
        while self._transport is not None and (count := read_rest(self._reader.get_buffer())):
            self.buffer_updated(count)

    def close(self) -> None:
        """Close this end at once."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._reader.get_buffer()

    def buffer_updated(self, nbytes: int) -> None:
        self._held.extend(self._reader.received(nbytes))
        self._pass_on()

    def _flow(self) -> None:
        self._pass_on()
        if not self._holders and self._transport is not None:
            self._transport.resume_reading()

    def _pass_on(self) -> None:
        """Hand messages on in order; one of them may pause, or resume, while it is handled."""
        if self._passing_on:
            return
        self._passing_on = True
        try:
            while self._held and not self._holders:
                self._on_message(self._held.popleft())
        finally:
            self._passing_on = False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._on_lost()
