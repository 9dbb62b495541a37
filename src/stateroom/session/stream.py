"""The messages of one execution for ``async for``, and what keeps a slow consumer from filling the memory."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from ..protocol.messages import DisplayMessage, OutputMessage, ToSession

__all__ = ["MessageStream"]

HIGH_WATER_BYTES = 2 << 20
"""What is held for a slow consumer before the session stops reading, as far as it counts."""
MESSAGE_BYTES = 64
"""What counts for a message besides its text and pictures: about its size on the wire."""
SLACK_BYTES = 16 << 20
"""What may come on top of the worker's outbox when a cell is asked to end."""


class MessageStream:
    """Holds messages until they are consumed; pauses the transport when they become too many.

    Then the worker's prints wait, and with them its cell. Its reply to a cancel waits behind them:
    so :meth:`let_pass` reads on as far as what the worker can hold back.
    """

    def __init__(
        self, pause: Callable[[object], None], resume: Callable[[object], None], *, max_outbox_bytes: int
    ) -> None:
        self._pause = pause
        self._resume = resume
        self._slack_bytes = SLACK_BYTES + 2 * max_outbox_bytes
        self._messages: deque[ToSession | None] = deque()
        self._held_bytes = 0
        self._high_water_bytes = HIGH_WATER_BYTES
        self._arrival: asyncio.Future[None] | None = None
        """The consumer waits for it."""
        self._paused = False
        self._abandoned = False

    def __repr__(self) -> str:
        return f"<MessageStream held={len(self._messages)} bytes={self._held_bytes} paused={self._paused}>"

    def put(self, message: ToSession) -> None:
        """Take a message from the transport."""
        if self._abandoned:
            return
        self._messages.append(message)
        self._held_bytes += _weight(message)
        self._wake()
        if self._held_bytes >= self._high_water_bytes and not self._paused:
            self._paused = True
            self._pause(self)

    def let_pass(self) -> None:
        """The cell is to end: read what it has written, though nobody consumes it."""
        self._high_water_bytes = self._held_bytes + self._slack_bytes
        self._unpause()

    def end(self) -> None:
        """Nothing comes any more; what is held waits for its consumer, but nothing waits behind it."""
        if not self._abandoned:
            self._messages.append(None)
            self._wake()
        self._unpause()

    def abandon(self) -> None:
        """Nobody consumes any more: read on, keep nothing."""
        self._abandoned = True
        self._messages.clear()
        self._held_bytes = 0
        self._unpause()

    async def __aiter__(self) -> AsyncIterator[ToSession]:
        while True:
            if not self._messages:
                self._unpause()  # may put what is held back at once
            if not self._messages:
                self._arrival = asyncio.get_running_loop().create_future()
                await self._arrival
            message = self._messages.popleft()
            if message is None:
                return
            self._held_bytes -= _weight(message)
            yield message

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    def _unpause(self) -> None:
        if self._paused:
            self._paused = False
            self._resume(self)


def _weight(message: ToSession) -> int:
    if isinstance(message, OutputMessage):
        return MESSAGE_BYTES + len(message.data)
    if isinstance(message, DisplayMessage):
        sizes = (len(data) for data in message.mime.values() if isinstance(data, str | bytes))
        return MESSAGE_BYTES + sum(sizes)
    return MESSAGE_BYTES
