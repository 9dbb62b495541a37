"""The process behind :mod:`floor`: take a frame of code, compile it, run it, send a frame back.

One thread and a blocking socket. A frame is four bytes of length and MessagePack: code on the way in;
``[OUTPUT, text]``, ``[VALUE, repr or None]`` or ``[FAILED, name of the exception]`` on the way out.
"""

from __future__ import annotations

import ast
import inspect
import socket
import sys
import time
from types import CodeType
from typing import Any

import msgspec

OUTPUT, VALUE, FAILED = range(3)
FLAGS = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
BATCH_CHARS = 1 << 16
BATCH_S = 0.005


class Sender:
    """Puts frames on the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._encode = msgspec.msgpack.Encoder().encode

    def send(self, kind: int, body: str | None) -> None:
        """Send one frame."""
        data = self._encode((kind, body))
        length = len(data).to_bytes(4, "big")
        if len(data) <= BATCH_CHARS:
            self._sock.sendall(length + data)
        else:  # rather a second system call than a copy
            self._sock.sendall(length)
            self._sock.sendall(data)


class Stdout:
    """Sends the first text at once and what follows in batches, bounded by size and by age."""

    encoding = "utf-8"

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._batch: list[str] = []
        self._chars = 0
        self._due = 0.0

    def write(self, text: str) -> int:
        """Take text; send the batch if it is full or due."""
        self._batch.append(text)
        self._chars += len(text)
        if self._chars >= BATCH_CHARS or time.monotonic() >= self._due:
            self.flush()
        return len(text)

    def flush(self) -> None:
        """Send the batch, if there is one."""
        if self._batch:
            text = "".join(self._batch)
            self._batch.clear()
            self._chars = 0
            self._sender.send(OUTPUT, text)
            self._due = time.monotonic() + BATCH_S

    def finish(self) -> None:
        """The cell has ended: the next one starts a batch of its own."""
        self.flush()
        self._due = 0.0

    def isatty(self) -> bool:
        """It is none."""
        return False


class Runner:
    """Runs cells in one namespace; an event loop is made for the first cell that awaits."""

    def __init__(self) -> None:
        self._namespace: dict[str, Any] = {"__name__": "__main__"}
        self._loop: Any = None

    def run(self, source: str) -> object:
        """The value of the last expression, None if the cell ends with a statement."""
        try:
            last: Any = compile(source, "<cell>", "eval", FLAGS)
        except SyntaxError:
            tree = compile(source, "<cell>", "exec", FLAGS | ast.PyCF_ONLY_AST)
            last = None
            if tree.body and isinstance(tree.body[-1], ast.Expr):
                last = compile(ast.Expression(tree.body.pop().value), "<cell>", "eval", FLAGS)
            self._evaluate(compile(tree, "<cell>", "exec", FLAGS))
        return None if last is None else self._evaluate(last)

    def _evaluate(self, code: CodeType) -> object:
        value = eval(code, self._namespace)
        if not code.co_flags & inspect.CO_COROUTINE:
            return value
        if self._loop is None:
            import asyncio

            self._loop = asyncio.Runner()
        return self._loop.run(value)


def serve(sock: socket.socket) -> None:
    """Answer until the other end hangs up."""
    frames, sender, runner = sock.makefile("rb", BATCH_CHARS), Sender(sock), Runner()
    decode = msgspec.msgpack.Decoder(str).decode
    stdout = Stdout(sender)
    sys.stdout = sys.stderr = stdout
    while length := frames.read(4):
        source = decode(frames.read(int.from_bytes(length, "big")))
        try:
            value = runner.run(source)
            kind, body = VALUE, None if value is None else repr(value)
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - it is the cell's, not ours
            kind, body = FAILED, type(error).__name__
        stdout.finish()
        sender.send(kind, body)


def main(descriptor: int) -> None:
    """Serve on an inherited socket."""
    with socket.socket(fileno=descriptor) as sock:
        serve(sock)
