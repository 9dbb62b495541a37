"""All that cells write, as Python streams or straight to descriptors 1 and 2, in one order.

Python streams hand text or bytes to :class:`Output`, which sends the first at once and gathers what
comes close behind it. Descriptors 1 and 2 are pipes whose other ends are held here. Before any
Python write is taken, one system call says whether a pipe has something older; before a result,
both are drained. So nothing overtakes anything, without a sleep or a sentinel. One thing is not
looked for: what comes between a text and the line feed behind it, which ``print`` writes apart.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from time import monotonic

from ..protocol.messages import OutputMessage, Stream
from .interrupts import Interrupts
from .origin import current_origin, origin_of_cell
from .outbox import Outbox
from .output_limit import OutputLimit, whole_characters
from .text_stream import BATCH_PARTS, NOBODYS, Batch, TextStream

__all__ = ["Output"]

BATCH_BYTES = 1 << 16
BATCH_INTERVAL_S = 0.002
CHUNK_BYTES = 1 << 20
PIPE_READ_BYTES = 1 << 16


class Output:
    """Takes output from every source, tags it with its execution, and sends it in order."""

    def __init__(
        self,
        outbox: Outbox,
        pipes: dict[int, Stream],
        limit: OutputLimit,
        interrupts: Interrupts,
        *,
        is_terminal: bool = False,
    ) -> None:
        self.running: str | None = None
        """The execution to which output of unknown origin belongs."""
        self.flush_at: float | None = None
        """When the gathered batch is due, on the monotonic clock."""
        self.arm: Callable[[], None] = lambda: None
        """Called when a batch begins to wait, from the thread that writes."""
        self.interrupts = interrupts
        self.is_terminal = is_terminal
        """Whether the Python streams say that they are one."""
        self._outbox = outbox
        self._limit = limit
        self.pipes = dict(pipes)
        """Descriptors to read, with their streams; less those that user code has closed."""
        self.all_pipes = dict(pipes)
        self._poll = select.epoll() if hasattr(select, "epoll") else select.poll()
        for fd in pipes:
            os.set_blocking(fd, False)
            self._poll.register(fd, select.POLLIN)
        at_once = (0, 1) if hasattr(select, "epoll") else (0,)
        self.pipes_have_more = partial(self._poll.poll, *at_once)
        """Whether one of them has; room for more than one answer would cost more than the question."""
        self._tails = dict.fromkeys(pipes, b"")
        self._lock = threading.RLock()
        self._due: deque[Callable[[], None]] = deque()
        self._acting = False
        self.in_line = False
        """Whether the last part was text that leaves its line open."""
        self._size = 0
        self._batch = Batch("stdout", None)
        self._sent_at = 0.0
        self.is_forked = False
        """Whether this is a child that user code has forked."""
        self.streams: dict[Stream, TextStream] = {}

    def __repr__(self) -> str:
        return f"<Output running={self.running} {self._batch!r}>"

    def begin(self, execution_id: str) -> None:
        """A new cell, which has all of the limit to itself."""
        self.running = execution_id
        self._limit.begin()

    def end(self) -> list[str]:
        """The cell has ended; notes on what of its output is missing."""
        self._act(self._send_tails)
        self.running = None
        return self._limit.notes()

    def keep_others_out(self) -> None:
        """For the last code of this process: threads that are stopped in a print must not hold the lock."""
        self.drain()
        self._lock.acquire()

    def stream(self, name: Stream) -> TextStream:
        """A text stream that writes here."""
        stream = self.streams[name] = TextStream(self, name)
        return stream

    def write(self, stream: Stream, part: str | bytes) -> None:
        """Take what user code wrote to one of the Python streams; text waits for the end of its line."""
        if self.is_forked:
            _write_all(1 if stream == "stdout" else 2, _encode([part]))
            return
        self._act(partial(self._take, stream, current_origin() or self.running, part))

    def line_ended(self, batch: Batch) -> None:
        """A line has come into this batch by the short way of :class:`TextStream`, perhaps too late."""
        self._act(partial(self._take_line, batch))

    def flush(self) -> None:
        """Send what was gathered, without waiting for more."""
        self._act(self._flush)

    def drain(self) -> None:
        """Send all that has been written so far, by anybody."""
        self._act(self._drain)

    def try_drain(self, *, pipes: bool) -> bool:
        """As :meth:`drain`, unless another thread is at it: then False, at once."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            self._act(self._drain_pipes if pipes else self._flush)
        finally:
            self._lock.release()
        return True

    def _act(self, action: Callable[[], None]) -> None:
        """Do it now; inside of another one, or of a send, after that.

        A finalizer or a signal handler of the user's may print inside of a print, at any line of it.
        """
        if self._outbox.postpone(partial(self._act, action)):
            return
        with self._lock:
            self._due.append(action)
            while self._due and not self._acting:
                self._acting = True
                try:
                    while self._due:
                        self._due.popleft()()
                finally:
                    self._acting = False

    def _take(self, stream: Stream, origin: str | None, part: str | bytes) -> None:
        if self.pipes_have_more():
            self._drain_pipes()
        self._gather(stream, origin)
        self._batch.parts.append(part)
        self._size += len(part)
        self.in_line = isinstance(part, str) and not part.endswith("\n")
        if not self.in_line or self._size >= BATCH_BYTES or "\n" in part or "\r" in part:
            self._pass_on()

    def _take_line(self, batch: Batch) -> None:
        if batch is not self._batch:
            self._send_batch(batch)
        elif len(batch.parts) >= BATCH_PARTS:
            self._flush()
        else:
            self._pass_on()

    def _drain(self) -> None:
        if self.pipes_have_more():
            self._drain_pipes()
        self._flush()
        self._sent_at = 0.0  # what comes next is sent at once

    def forget_after_fork(self) -> None:
        """In a forked child: write to the descriptors, which the parent's worker reads."""
        self.is_forked = True
        self._lock = threading.RLock()
        self._due.clear()
        for text_stream in self.streams.values():
            text_stream.be_ordinary()

    def _pass_on(self) -> None:
        """Send the batch if it is due, or see to it that somebody will."""
        now = monotonic()
        if self._size >= BATCH_BYTES or now - self._sent_at >= BATCH_INTERVAL_S:
            self._flush()
        elif self.flush_at is None:
            self.flush_at = self._sent_at + BATCH_INTERVAL_S
            self.arm()

    def _gather(self, stream: Stream, origin: str | None) -> None:
        """The batch is of this stream and origin; such text may take the short way."""
        if (stream, origin) != (self._batch.stream, self._batch.origin):
            self._admit_nothing()
            self._flush()
            self._batch = Batch(stream, origin)
        self._batch.origin = origin  # the very object, by which the short way knows its own
        mine = origin_of_cell.get()
        for name, text_stream in self.streams.items():
            may = name == stream and text_stream.is_plain and mine is not None and mine is origin
            text_stream.admits = self._batch if may else NOBODYS

    def _admit_nothing(self) -> None:
        """All text has to take the way that takes the lock."""
        for text_stream in self.streams.values():
            text_stream.admits = NOBODYS

    def _flush(self) -> None:
        self.flush_at = None
        if self._batch.parts:
            self._size = 0
            self._send_batch(self._batch)
            self._sent_at = monotonic()

    def _send_batch(self, batch: Batch) -> None:
        parts = batch.parts[:]
        del batch.parts[: len(parts)]  # what another thread appends meanwhile stays
        if parts:
            self._send(batch.stream, batch.origin, _encode(parts))

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
        """Read both pipes until they are empty; what Python gathered before goes first.

        Texts that are on the short way go into the batch even now. What their threads write to a pipe
        comes after that, so all that is in the batch when a pipe has been read is older.
        """
        self._admit_nothing()
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
                self._tails[fd] += data  # first of all: a cancel may end what follows
                self._flush()
                data = self._tails[fd]
                size = whole_characters(data)
                self._tails[fd] = data[size:]
                if size:
                    self._send(stream, self.running, data[:size])

    def _send_tails(self) -> None:
        """Characters that nobody has completed belong to the cell that has begun them."""
        for fd, tail in self._tails.items():
            if tail:
                self._tails[fd] = b""
                self._send(self.all_pipes[fd], self.running, tail)


def _encode(parts: list[str | bytes]) -> bytes:
    try:
        text = "".join(parts)  # type: ignore[arg-type]
    except TypeError:
        return b"".join([_encode([part]) if isinstance(part, str) else part for part in parts])
    return text.encode("utf-8", "backslashreplace")


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
