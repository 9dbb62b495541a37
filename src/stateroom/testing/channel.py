"""A transport between a session and a scripted worker, in memory: no process, no descriptors.

It carries the bytes of the real protocol, and a test decides when, and in which pieces, they arrive.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from ..errors import ProtocolError
from ..protocol.framing import FrameReader, FrameWriter
from ..protocol.messages import ToWorker

__all__ = ["MemoryChannel"]

CHUNK_BYTES = 65536
"""What arrives at once by default, as from a socket."""


class MemoryChannel:
    """What the worker's end of a transport is to a test; the session's end is an ordinary asyncio transport.

    ``on_message`` is called with what the session sends, ``on_change`` whenever anything has happened.
    """

    def __init__(
        self,
        max_frame_bytes: int,
        *,
        on_message: Callable[[ToWorker | ProtocolError], None],
        on_change: Callable[[], None],
    ) -> None:
        self.chunk_bytes = CHUNK_BYTES
        """At most so many bytes arrive at once: with 1, each byte by itself."""
        self._reader: FrameReader[ToWorker] = FrameReader(ToWorker, max_frame_bytes)
        self._writer = FrameWriter(max_frame_bytes)
        self._on_message = on_message
        self._on_change = on_change
        self._protocol: asyncio.BufferedProtocol | None = None
        self._sent = bytearray()
        self._held: deque[bytes] = deque()
        self._is_holding = False
        self._is_paused = False
        self._has_ended = False
        self._is_pumping = False

    def __repr__(self) -> str:
        state = "open" if self.is_open else "closed"
        return f"<MemoryChannel {state} in_flight={self.in_flight_bytes} paused={self._is_paused}>"

    # Facts

    @property
    def is_open(self) -> bool:
        """Whether the session has its end, and has not closed it."""
        return self._protocol is not None

    @property
    def is_paused(self) -> bool:
        """Whether the session has stopped reading."""
        return self._is_paused

    @property
    def in_flight_bytes(self) -> int:
        """What was sent to the session and has not arrived."""
        return len(self._sent) + sum(map(len, self._held))

    # The worker's end

    def send(self, message: Any, *, payload: bytes | None = None) -> None:
        """Send a message to the session, with raw bytes behind it. Lost behind the end."""
        self.send_bytes(self.encode(message, payload=payload))

    def send_bytes(self, data: bytes) -> None:
        """Send what need not be a message."""
        if self._has_ended:
            return
        if self._is_holding:
            self._held.append(data)
        else:
            self._sent += data
            self._pump()

    def encode(self, message: Any, *, payload: bytes | None = None) -> bytes:
        """The frame of a message, to be sent in pieces or with a fault in it."""
        return b"".join(self._writer.encode(message, payload))

    def hang_up(self) -> None:
        """Close the worker's end: the session finds the end behind what was sent before."""
        self._has_ended = True
        self._pump()

    def cut(self) -> None:
        """Close the worker's end, and lose what is in flight."""
        self._sent.clear()
        self._held.clear()
        self.hang_up()

    # What arrives when

    def hold(self) -> None:
        """From here on nothing that is sent arrives by itself; see :meth:`deliver` and :meth:`release`."""
        self._is_holding = True

    def deliver(self, count: int = 1) -> None:
        """Let the next ``count`` of the things that are held arrive, each as it was sent."""
        for _ in range(min(count, len(self._held))):
            self._sent += self._held.popleft()
        self._pump()

    def release(self) -> None:
        """Let everything arrive, and hold no more."""
        self._is_holding = False
        self.deliver(len(self._held))

    def read_rest(self, buffer: memoryview) -> int:
        """What a worker that has ended sent has arrived, held or not: as much of it as fits."""
        self.release()
        count = min(len(buffer), len(self._sent)) if self.is_open else 0
        buffer[:count] = self._sent[:count]
        del self._sent[:count]
        return count

    # The session's end

    def connect(self, protocol: asyncio.BufferedProtocol) -> None:
        """Give the session its end."""
        self._protocol = protocol
        protocol.connection_made(_SessionEnd(self))
        self._pump()

    def take(self, data: bytes | bytearray | memoryview) -> None:
        """The session has written this; after the end it goes nowhere."""
        view = memoryview(data).cast("B")
        while view and not self._has_ended:
            buffer = self._reader.get_buffer()
            count = min(len(buffer), len(view))
            buffer[:count] = view[:count]
            view = view[count:]
            for message in self._reader.received(count):
                self._on_message(message)
        self._on_change()

    def pause(self, *, is_paused: bool) -> None:
        """The session stops reading, or goes on."""
        self._is_paused = is_paused
        self._pump()
        self._on_change()

    def close(self) -> None:
        """The session has closed its end."""
        protocol, self._protocol = self._protocol, None
        self._sent.clear()
        if protocol is not None:
            asyncio.get_running_loop().call_soon(protocol.connection_lost, None)
        self._on_change()

    def _pump(self) -> None:
        """Have the next piece arrive, in a turn of the event loop of its own."""
        if not self._is_pumping and self._can_arrive():
            self._is_pumping = True
            asyncio.get_running_loop().call_soon(self._arrive)

    def _can_arrive(self) -> bool:
        has_news = bool(self._sent) or (self._has_ended and not self._held)
        return self._protocol is not None and not self._is_paused and has_news

    def _arrive(self) -> None:
        self._is_pumping = False
        protocol = self._protocol
        if protocol is None or not self._can_arrive():
            return
        if not self._sent:
            self.close()
            return
        buffer = memoryview(protocol.get_buffer(-1))
        count = min(len(buffer), len(self._sent), self.chunk_bytes)
        buffer[:count] = self._sent[:count]
        del self._sent[:count]
        protocol.buffer_updated(count)
        self._on_change()
        self._pump()


class _SessionEnd(asyncio.Transport):
    """A channel as the session's protocol sees it."""

    def __init__(self, channel: MemoryChannel) -> None:
        super().__init__()
        self._channel = channel

    def __repr__(self) -> str:
        return f"<_SessionEnd of {self._channel!r}>"

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._channel.take(data)

    def pause_reading(self) -> None:
        self._channel.pause(is_paused=True)

    def resume_reading(self) -> None:
        self._channel.pause(is_paused=False)

    def is_reading(self) -> bool:
        return not self._channel.is_paused

    def is_closing(self) -> bool:
        return not self._channel.is_open

    def close(self) -> None:
        self._channel.close()

    def abort(self) -> None:
        self._channel.close()
