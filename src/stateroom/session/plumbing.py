"""What connects a session with one worker: transport, cancel page, output pipes, lifeline."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator

from ..protocol.cancel_page import CancelPage
from ..protocol.messages import Stream

__all__ = ["Plumbing"]

SOCKET_BUFFER_BYTES = 1 << 20


class Plumbing:
    """The ends that stay here, and, until the worker has its own copies, those that go to it."""

    def __init__(self) -> None:
        self.pipes: dict[Stream, int] = {}
        """Read ends of what are descriptors 1 and 2 of the worker, which reads them as well."""
        self._ours = contextlib.ExitStack()
        self._theirs = contextlib.ExitStack()
        try:
            self._lay()
        except BaseException:
            self._theirs.close()
            self.close()
            raise

    @classmethod
    @contextlib.contextmanager
    def lay(cls) -> Iterator[Plumbing]:
        """Make it, for a worker that exists when the block ends; if the block fails, nothing is left."""
        plumbing = cls()
        try:
            yield plumbing
        except BaseException:
            plumbing.close()
            raise
        finally:
            plumbing._theirs.close()

    def __repr__(self) -> str:
        return f"<Plumbing sock={self.sock.fileno()} pipes={self.pipes!r}>"

    def close(self) -> None:
        """Close the ends that stay; with the lifeline, the worker ends."""
        self.pipes.clear()
        self._ours.close()

    def _lay(self) -> None:
        self.sock, their_sock = _socketpair()
        self._ours.callback(self.sock.close)
        self._theirs.callback(their_sock.close)
        self.page = CancelPage.create()
        self._ours.callback(self.page.close)
        out_read, self.stdout = self._pipe(keep_read=True)
        err_read, self.stderr = self._pipe(keep_read=True)
        life_read, _ = self._pipe(keep_read=False)
        self.pipes["stdout"], self.pipes["stderr"] = out_read, err_read
        self.inherited = [their_sock.fileno(), self.page.fd, out_read, err_read, life_read]
        """What the worker is told the numbers of: transport, page, both pipes, lifeline."""

    def _pipe(self, *, keep_read: bool) -> tuple[int, int]:
        """A pipe whose one end is to stay; a read end that stays can be inherited all the same."""
        read, write = os.pipe()
        ours, theirs = (read, write) if keep_read else (write, read)
        self._ours.callback(os.close, ours)
        self._theirs.callback(os.close, theirs)
        return read, write


def _socketpair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    for sock in (ours, theirs):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
    ours.setblocking(False)
    return ours, theirs
