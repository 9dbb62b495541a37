"""``sys.stdout`` and ``sys.stderr`` of a worker."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

from ..protocol.messages import Stream
from .origin import origin_of_cell

if TYPE_CHECKING:
    from .output import Output

__all__ = ["BATCH_PARTS", "NOBODYS", "Batch", "TextStream", "flush_streams"]

BATCH_PARTS = 1 << 12
"""So many texts are sent without waiting for more."""
LONG_TEXT = 1024
"""From so many characters on, a text costs more than the way it takes."""


class Batch:
    """What was written to one stream by one execution, and not sent yet.

    Anybody may append to ``parts``; who takes them out again holds the lock of :class:`Output`.
    """

    __slots__ = ("origin", "parts", "stream")

    def __init__(self, stream: Stream, origin: Any) -> None:
        self.stream = stream
        self.origin = origin
        self.parts: list[str | bytes] = []

    def __repr__(self) -> str:
        return f"<Batch {self.stream} of {self.origin} parts={len(self.parts)}>"


NOBODYS = Batch("stdout", object())
"""The batch of no text at all."""


class TextStream(io.TextIOWrapper):
    """A text stream like the interpreter's own on a terminal: what ends a line is passed on.

    ``print`` calls ``write`` twice for each line, so there is a short way for what is most common: a
    short text of the cell whose batch is being gathered. As long as the stream is as it was made, text
    goes into the batch as text; after ``reconfigure`` it takes the way of any text stream.

    The short way takes no lock, and another thread may come between at any line of it. So the pipes
    are asked before the batch, which is not to be had while they are read; and the batch is asked for
    again when the text is in it: if it is another one, the old one may have been sent without the text.
    """

    def __init__(self, output: Output, name: Stream) -> None:
        super().__init__(
            _ByteStream(output, name), encoding="utf-8", errors="backslashreplace", line_buffering=True
        )
        self.mode = "w"  # type: ignore[misc]
        self.stream = name
        self.is_plain = True
        """Whether it is open and as it was made."""
        self.admits = NOBODYS
        """The batch that text may be put into: the one that is gathered, while it is of this stream."""
        self._output = output

    def write(self, text: str, /) -> int:
        output = self._output
        if type(text) is not str:
            return self._write_slowly(text)
        if text == "\n" and output.in_line:  # the end of what print was given
            batch = self.admits
            if origin_of_cell.get() is not batch.origin:
                return self._write_slowly(text)
            output.in_line = False
            batch.parts.append(text)
            if output.flush_at is None or self.admits is not batch:
                output.line_ended(batch)
            return 1
        count = len(text)
        if output.pipes_have_more() or count > LONG_TEXT:
            return self._write_slowly(text)
        batch = self.admits
        if origin_of_cell.get() is not batch.origin:
            return self._write_slowly(text)
        parts = batch.parts
        parts.append(text)
        if "\n" in text or "\r" in text:
            output.in_line = not text.endswith("\n")
            output.line_ended(batch)
        else:
            output.in_line = True
            if len(parts) >= BATCH_PARTS or self.admits is not batch:
                output.line_ended(batch)
        if output.interrupts.missed:
            output.interrupts.safe_point()
        return count

    def _write_slowly(self, text: str) -> int:
        """Any text, from anybody; raises what a text stream raises."""
        if self.is_plain and isinstance(text, str):
            self._output.write(self.stream, str.__str__(text))
            self._output.interrupts.safe_point()
            return len(text)
        count = super().write(text)
        if not self._output.is_forked:
            super().flush()
        return count

    def flush(self) -> None:
        """Everything so far, now."""
        super().flush()
        self._output.flush()

    def reconfigure(self, **settings: Any) -> None:
        super().reconfigure(**settings)
        self.be_ordinary()

    def close(self) -> None:
        self.be_ordinary()
        super().close()

    def detach(self) -> Any:
        self.be_ordinary()
        return super().detach()

    def be_ordinary(self) -> None:
        """Be a text stream without a short way; in a forked child, it passes on whole lines."""
        self.is_plain = False
        self.admits = NOBODYS


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
        self._output.interrupts.safe_point()
        return len(data)

    def isatty(self) -> bool:
        return self._output.is_terminal

    def fileno(self) -> int:
        return 1 if self._stream == "stdout" else 2


def flush_streams() -> None:
    """Pass on what the cell wrote to streams of its own; ours hold nothing back."""
    for stream in (getattr(sys, "stdout", None), getattr(sys, "stderr", None)):
        try:
            if stream is not None and not isinstance(stream, TextStream):
                stream.flush()
        except Exception:  # noqa: BLE001, S110 - closed by the cell, or an object of its own
            pass
