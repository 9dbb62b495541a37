"""How much one cell may print: what goes beyond is counted, and left out."""

from __future__ import annotations

__all__ = ["OutputLimit", "whole_characters"]


class OutputLimit:
    """Counts the output of one cell, both streams together, and cuts it with one line that says so."""

    def __init__(self, max_bytes: int | None, max_lines: int | None) -> None:
        self.max_bytes = max_bytes
        self.max_lines = max_lines
        self.begin()

    def __repr__(self) -> str:
        return f"<OutputLimit bytes={self.bytes} lines={self.lines} left_out_bytes={self.left_out_bytes}>"

    def begin(self) -> None:
        """A new cell: count from nothing."""
        self.bytes = self.lines = 0
        self.left_out_bytes = self.left_out_lines = 0
        self._in_line = False
        self._reason = ""

    def admit(self, data: bytes) -> bytes:
        """What of this output is to be sent."""
        size = 0 if self.left_out_bytes else self._room(data)
        if size < len(data):
            return self._cut(data, size)
        self.bytes += size
        self._in_line = not data.endswith(b"\n")
        return data

    def notes(self) -> list[str]:
        """For the result: how much is missing."""
        if not self.left_out_bytes:
            return []
        left_out = f"{self.left_out_bytes} bytes with {self.left_out_lines} line ends"
        return [f"output cut: {left_out} left out, {self._reason}"]

    def _room(self, data: bytes) -> int:
        """How many leading bytes are within both limits; counts their lines."""
        size = len(data)
        if self.max_bytes is not None and self.bytes + size > self.max_bytes:
            size = whole_characters(data[: self.max_bytes - self.bytes])
            self._reason = f"max_output_bytes is {self.max_bytes}"
        if self.max_lines is not None:
            count = data.count(b"\n", 0, size)
            room = self.max_lines - self.lines
            if count > room or (count == room and not data.endswith(b"\n", 0, size)):
                size, count = _end_of_line(data, room), room
                self._reason = f"max_output_lines is {self.max_lines}"
            self.lines += count
        return size

    def _cut(self, data: bytes, size: int) -> bytes:
        """The part within the limits; once, with the line that says that there is more."""
        first = not self.left_out_bytes
        self.left_out_bytes += len(data) - size
        self.left_out_lines += data.count(b"\n", size)
        if not first:
            return b""
        self.bytes += size
        in_line = not data.endswith(b"\n", 0, size) if size else self._in_line
        marker = f"[output cut: what this cell prints from here on is left out, {self._reason}]\n"
        return data[:size] + b"\n" * in_line + marker.encode()


def whole_characters(data: bytes | memoryview) -> int:
    """How many leading bytes do not end inside a UTF-8 character; all, if it is not UTF-8."""
    size = len(data)
    for back in range(1, min(4, size + 1)):
        byte = data[size - back]
        if byte & 0xC0 != 0x80:  # not a continuation byte: the start of the last character
            need = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
            return size if need <= back else size - back
    return size


def _end_of_line(data: bytes, count: int) -> int:
    """Where the first ``count`` lines end."""
    end = 0
    for _ in range(count):
        end = data.index(b"\n", end) + 1
    return end
