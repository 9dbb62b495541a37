"""All that cells write, as Python streams or straight to descriptors 1 and 2, in one order.

Python streams hand bytes to :class:`Output`, which sends the first at once and gathers what
comes close behind it. Descriptors 1 and 2 are pipes whose other ends are held here. Before any
Python write is taken, one ``poll`` says whether a pipe has something older; before a result, both
are drained. So nothing overtakes anything, without a sleep or a sentinel.
"""

from __future__ import annotations

import io
import os
import select
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from ..protocol.messages import OutputMessage, Stream
from .origin import current_origin
from .outbox import Outbox
from .output_limit import OutputLimit, whole_characters

__all__ = ["Output", "TextStream", "flush_streams"]

BATCH_BYTES = 1 << 16
BATCH_INTERVAL_S = 0.002
CHUNK_BYTES = 1 << 20
PIPE_READ_BYTES = 1 << 16


class Output:
    """Takes output from every source, tags it with its execution, and sends it in order."""

    def __init__(self, outbox: Outbox, pipes: dict[int, Stream], limit: OutputLimit) -> None:
        self.running: str | None = None
        """The execution to which output of unknown origin belongs."""
        self.flush_at: float | None = None
        """When the gathered batch is due, on the monotonic clock."""
        self.arm: Callable[[], None] = lambda: None
        """Called when a batch begins to wait, from the thread that writes."""
        self.safe_point: Callable[[], None] = lambda: None
        """Called when something was written, before user code goes on."""
        self._outbox = outbox
        self._limit = limit
        self.pipes = dict(pipes)
        """Descriptors to read, with their streams; less those that user code has closed."""
        self.all_pipes = tuple(pipes)
        self._poll = select.poll()
        for fd in pipes:
            os.set_blocking(fd, False)
            self._poll.register(fd, select.POLLIN)
        self._tails = dict.fromkeys(pipes, b"")
        # Reentrant: a finalizer or a signal handler of the user's may print inside of a print.
        self._lock = threading.RLock()
        self._parts: list[bytes] = []
        self._size = 0
        self._source: tuple[Stream, str | None] = ("stdout", None)
        self._sent_at = 0.0
        self._forked = False

    def __repr__(self) -> str:
        return f"<Output running={self.running} gathered_bytes={self._size}>"

    def begin(self, execution_id: str) -> None:
        """A new cell, which has all of the limit to itself."""
        self.running = execution_id
        self._limit.begin()

    def end(self) -> list[str]:
        """The cell has ended; notes on what of its output is missing."""
        self.running = None
        return self._limit.notes()

    def stream(self, name: Stream) -> io.TextIOWrapper:
        """A text stream like the interpreter's own on a terminal: passes on what ends a line."""
        text = TextStream(
            _ByteStream(self, name), encoding="utf-8", errors="backslashreplace", line_buffering=True
        )
        text.output = self
        text.mode = "w"  # type: ignore[misc]
        return text

    def write(self, stream: Stream, data: bytes) -> None:
        """Take what user code wrote to one of the Python streams."""
        if self._forked:
            _write_all(1 if stream == "stdout" else 2, data)
            return
        with self._lock:
            if self._poll.poll(0):
                self._drain_pipes()
            source = (stream, current_origin() or self.running)
            if source != self._source:
                self._flush()
                self._source = source
            self._parts.append(data)
            self._size += len(data)
            now = time.monotonic()
            if self._size >= BATCH_BYTES or now - self._sent_at >= BATCH_INTERVAL_S:
                self._flush(now)
            elif self.flush_at is None:
                self.flush_at = self._sent_at + BATCH_INTERVAL_S
                self.arm()

    def flush(self) -> None:
        """Send what was gathered, without waiting for more."""
        with self._lock:
            self._flush()

    def drain(self) -> None:
        """Send all that has been written so far, by anybody."""
        with self._lock:
            if self._poll.poll(0):
                self._drain_pipes()
            self._flush(keep_batching=False)

    def try_drain(self, *, pipes: bool) -> bool:
        """As :meth:`drain`, unless another thread is at it: then False, at once."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            if pipes:
                self._drain_pipes()
            self._flush()
        finally:
            self._lock.release()
        return True

    def forget_after_fork(self) -> None:
        """In a forked child: write to the descriptors, which the parent's worker reads."""
        self._forked = True
        self._lock = threading.RLock()

    def _flush(self, now: float | None = None, *, keep_batching: bool = True) -> None:
        parts, self._parts = self._parts, []
        size, self._size = self._size, 0
        self.flush_at = None
        if size:
            self._send(*self._source, parts[0] if len(parts) == 1 else b"".join(parts))
            self._sent_at = now or time.monotonic()
        if not keep_batching:
            self._sent_at = 0.0

    def _send(self, stream: Stream, origin: str | None, data: bytes) -> None:
        if origin is not None and origin == self.running:
            data = self._limit.admit(data)
            if not data:
                return
        message = OutputMessage(stream=stream, execution_id=origin)
        if len(data) <= CHUNK_BYTES:
            self._outbox.send(message, data)
            self._outbox.wait_for_room()
            return
        view = memoryview(data)
        while view:
            size = whole_characters(view[:CHUNK_BYTES]) if len(view) > CHUNK_BYTES else len(view)
            self._outbox.send(message, view[:size])
            self._outbox.wait_for_room()
            view = view[size:]

    def _drain_pipes(self) -> None:
        """Read both pipes until they are empty; what Python gathered before goes first."""
        self._flush()
        busy = True
        while busy:
            busy = False
            for fd, stream in list(self.pipes.items()):
                try:
                    data = os.read(fd, PIPE_READ_BYTES)
                except BlockingIOError:
                    continue
                if not data:  # user code closed the descriptor
                    self._poll.unregister(fd)
                    del self.pipes[fd]
                busy = busy or bool(data)
                data = self._tails[fd] + data
                size = whole_characters(data)
                self._tails[fd] = data[size:]
                if size:
                    self._send(stream, self.running, data[:size])


class TextStream(io.TextIOWrapper):
    """``sys.stdout`` or ``sys.stderr``.

    At the end of a line only the buffer below is flushed, so ``flush`` is what user code calls itself,
    and means now.
    """

    output: Output

    def flush(self) -> None:
        super().flush()
        self.output.flush()

    def end_line(self) -> None:
        """Pass on what has not ended its line, to be sent with the rest."""
        super().flush()


class _ByteStream(io.BufferedIOBase):
    """The binary side of ``sys.stdout``: no buffer of its own, everything goes on at once."""

    def __init__(self, output: Output, name: Stream) -> None:
        self._output = output
        self._stream = name
        self.name = f"<{name}>"
        self.mode = "wb"

    def __repr__(self) -> str:
        return f"<_ByteStream {self._stream}>"

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if not isinstance(data, bytes):
            data = bytes(data)
        self._output.write(self._stream, data)
        self._output.safe_point()
        return len(data)

    def fileno(self) -> int:
        return 1 if self._stream == "stdout" else 2


def flush_streams() -> None:
    """Pass on what the cell wrote without an end of line, to whatever its streams are now."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if isinstance(stream, TextStream):
                stream.end_line()
            else:
                stream.flush()
        except Exception:  # noqa: BLE001, S110 - closed by the cell, or an object of its own
            pass


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
