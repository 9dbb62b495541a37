"""What all messages share: see :mod:`stateroom.protocol.messages` for them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

__all__ = ["Message", "Payload"]

Payload = bytes | bytearray | memoryview | Sequence[bytes | bytearray | memoryview] | None


class Message(msgspec.Struct, omit_defaults=True, kw_only=True, array_like=False):
    """What all messages share. ``payload`` is the raw part of the frame, if there is one."""

    @property
    def payload(self) -> Payload:
        """What to send behind the message: nothing, one buffer, or several that arrive as one."""
        return None

    def attach(self, payload: memoryview) -> None:
        """Take the raw part of the frame that this message came in; it stays valid."""
