"""The floor: what a session in a process of its own costs if it does nothing but the necessary.

A socket pair, frames of MessagePack, and a child that compiles and evaluates (:mod:`floor_child`). There
is no cache, no cancel but SIGINT, no limit, no input, no recovery, and no event loop between cells. The
parent is an asyncio program, as that of a session is. Figures of a session are read as multiples of it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from pathlib import Path

import msgspec
from adapters.stateroom_session import OnInput, OnOutput, Outcome
from floor_child import FAILED, OUTPUT

START = "import sys; sys.path.append(sys.argv[1]); import floor_child; floor_child.main(int(sys.argv[2]))"
"""The child's module is imported, not run as a script: so its bytecode is read from the cache."""
RECEIVE_BYTES = 1 << 16

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[int, str | None]).decode


class _Cell:
    """A cell that was sent: what it has printed, and who waits for it."""

    __slots__ = ("done", "on_output", "parts")

    def __init__(self, on_output: OnOutput | None) -> None:
        self.done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.on_output = on_output
        self.parts: list[str] = []

    def take(self, kind: int, body: str | None) -> bool:
        """Take a frame of this cell; whether it was the last one."""
        if kind == OUTPUT:
            assert body is not None
            self.parts.append(body)
            if self.on_output:
                self.on_output(body)
            return False
        out = "".join(self.parts)
        failed = kind == FAILED
        self.done.set_result(Outcome(not failed, None if failed else body, out, body if failed else None))
        return True


class Session:
    """The floor's session."""

    pid: int | None = None

    async def start(self) -> None:
        """Start the child; it reads what is sent as soon as it can."""
        self._socket, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-P", "-c", START, str(Path(__file__).parent), str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        self.pid = self._process.pid
        self._socket.setblocking(False)
        self._chunks: list[bytes] = []
        self._held = 0
        self._needed = 4
        self._cells: deque[_Cell] = deque()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._readable)

    def _readable(self) -> None:
        data = self._socket.recv(RECEIVE_BYTES)
        if not data:
            self._loop.remove_reader(self._socket.fileno())
            for cell in self._cells:
                cell.done.set_exception(ConnectionError("the floor's child has ended"))
            return
        self._held += len(data)
        self._chunks.append(data)
        if self._held >= self._needed:  # else a long frame is on its way: joined once, when it is whole
            self._take(b"".join(self._chunks) if len(self._chunks) > 1 else data)

    def _take(self, data: bytes) -> None:
        """Hand on the whole frames in ``data`` and keep the rest."""
        view, begin = memoryview(data), 0
        self._needed = 4
        while len(data) - begin >= 4:
            size = 4 + int.from_bytes(view[begin : begin + 4], "big")
            if len(data) - begin < size:
                self._needed = size
                break
            if self._cells[0].take(*_decode(view[begin + 4 : begin + size])):
                self._cells.popleft()
            begin += size
        self._held = len(data) - begin
        self._chunks = [data[begin:]] if self._held else []

    async def _send(self, code: str, on_output: OnOutput | None = None) -> asyncio.Future[Outcome]:
        cell = _Cell(on_output)
        self._cells.append(cell)
        data = _encode(code)
        await self._loop.sock_sendall(self._socket, len(data).to_bytes(4, "big") + data)
        return cell.done

    async def execute(
        self, code: str, on_output: OnOutput | None = None, on_input: OnInput | None = None
    ) -> Outcome:
        """Run a cell."""
        assert on_input is None, "the floor knows no input"
        return await (await self._send(code, on_output))

    async def execute_many(self, codes: list[str]) -> None:
        """Send all cells, then wait for all."""
        await asyncio.gather(*[await self._send(code) for code in codes])

    async def interrupt(self) -> None:
        """Raise KeyboardInterrupt in the cell."""
        assert self.pid is not None
        os.kill(self.pid, signal.SIGINT)

    async def close(self) -> None:
        """Hang up; the child ends by itself."""
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self._process.wait()
