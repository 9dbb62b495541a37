"""Where the pickles of a checkpoint go: a stream of small things, and large buffers beside it."""

from __future__ import annotations

from pickle import PickleBuffer
from time import monotonic
from typing import Any

__all__ = ["Limits", "OverLimit", "Stream"]

MIN_BUFFER_BYTES = 32 * 1024
"""Smaller buffers go into the stream: each one outside it would keep the whole checkpoint mapped."""
MAX_FRAME_BYTES = 256 * 1024
"""What a pickler writes at once and is larger is one bytes object, and no copy."""


class Limits:
    """How much time and space one variable may take."""

    def __init__(self, timeout_s: float = 60.0, max_stream_bytes: int = 4 << 30) -> None:
        self.timeout_s = timeout_s
        self.max_stream_bytes = max_stream_bytes


class OverLimit(Exception):
    """A variable takes too much time or space."""


class Stream:
    """Collects what a pickler writes; large bytes and buffers are kept as they are, not copied."""

    def __init__(self, limits: Limits, *, keep: bool = True) -> None:
        self.parts: list[bytearray | memoryview] = []
        self.buffers: list[memoryview] = []
        self.modules: set[str] = set()
        self.size = 0
        self.buffer_size = 0
        self._limits = limits
        self._written = 0
        self._keep = keep
        self._deadline = float("inf")

    def start_entry(self) -> None:
        """Begin the time of the next variable."""
        self._deadline = monotonic() + self._limits.timeout_s

    def write(self, data: Any) -> None:
        """What the pickler has ready: a frame of small things, or one large object."""
        view = memoryview(data)
        self.size += view.nbytes
        if view.nbytes < MAX_FRAME_BYTES:
            self._written += view.nbytes
        self.check_limits()
        if not self._keep:
            return
        if view.nbytes >= MIN_BUFFER_BYTES:
            self.parts.append(view)
        elif self.parts and isinstance(self.parts[-1], bytearray):
            self.parts[-1] += view
        else:
            self.parts.append(bytearray(view))

    def check_limits(self) -> None:
        """Raise OverLimit for a variable that takes too much time or space."""
        if (reason := self.over_limit()) is not None:
            raise OverLimit(reason)

    def over_limit(self) -> str | None:
        """What of the variable is too much; None if nothing is."""
        if monotonic() > self._deadline:
            return f"it takes longer than {self._limits.timeout_s} s to pickle"
        if self._written > self._limits.max_stream_bytes:
            return f"it takes more than {self._limits.max_stream_bytes} bytes to pickle"
        return None

    def take_buffer(self, buffer: PickleBuffer) -> bool:
        """Keep a large buffer outside the stream."""
        try:
            view = buffer.raw()
        except BufferError:  # not contiguous
            return True
        if view.nbytes < MIN_BUFFER_BYTES:
            return True
        self.buffer_size += view.nbytes
        if self._keep:
            self.buffers.append(view)
        return False
