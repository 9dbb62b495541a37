"""Lines from a file descriptor, read on the event loop so that waiting for one can be cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import termios
from collections.abc import Iterator

__all__ = ["LineReader", "echo_off"]

CHUNK_BYTES = 65_536


class LineReader:
    """Reads lines from a terminal, pipe or file, without a thread that could block exit."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._buffer = b""

    def __repr__(self) -> str:
        return f"<LineReader fd={self.fd} buffered={len(self._buffer)}>"

    async def read_line(self) -> str:
        """Return the next line without its end; raise EOFError if there is none."""
        while b"\n" not in self._buffer:
            chunk = await self._read()
            if not chunk:
                break
            self._buffer += chunk
        if not self._buffer:
            raise EOFError("EOF when reading a line")
        line, _, self._buffer = self._buffer.partition(b"\n")
        encoding = sys.stdin.encoding if sys.stdin is not None else "utf-8"
        return line.removesuffix(b"\r").decode(encoding, "replace")

    async def _read(self) -> bytes:
        """Return what is there, waiting for it; empty at the end of input."""
        while True:
            await _readable(self.fd)
            try:
                return os.read(self.fd, CHUNK_BYTES)
            except BlockingIOError:  # somebody else was faster
                continue
            except OSError:  # closed, or a terminal that has hung up
                return b""


async def _readable(fd: int) -> None:
    """Wait until a read would not block."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(fd, ready.set)
    except OSError:  # a file cannot be waited for: it is always ready
        return
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)


@contextlib.contextmanager
def echo_off(fd: int) -> Iterator[None]:
    """Keep a terminal from showing what is typed; does nothing where there is no terminal."""
    try:
        before = termios.tcgetattr(fd)
    except termios.error:
        yield
        return
    quiet = before[:]
    quiet[3] &= ~termios.ECHO
    termios.tcsetattr(fd, termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
