"""Start of a worker process: ``stateroom.worker`` as a module, with SOCKET PAGE STDOUT STDERR LIFELINE.

The arguments are inherited descriptors: the transport, the cancel page, the read ends of the
pipes that are descriptors 1 and 2 here, and a pipe whose other end lives as long as the session.
"""

from __future__ import annotations

import faulthandler
import fcntl
import gc
import os
import signal
import socket
import sys

from ..errors import ProtocolError, UnexpectedMessage, VersionMismatch
from ..protocol.cancel_page import CancelPage
from ..protocol.framing import FrameReader, FrameWriter
from ..protocol.messages import PROTOCOL_VERSION, ConfigureMessage, FaultMessage, ToWorker
from .parts import Endpoints
from .worker import SubprocessWorker

F_SETSIG = 10
"""Linux's fcntl command; the module has no name for it."""


def main(arguments: list[str]) -> None:
    """Be a worker until the session says otherwise or is gone."""
    gc.freeze()  # what is loaded stays: no collection that user code causes has to look at it
    gc.enable()
    sock_fd, page_fd, stdout_fd, stderr_fd, lifeline_fd = map(int, arguments)
    die_with_session(lifeline_fd)
    faulthandler.enable(2)
    sock = socket.socket(fileno=sock_fd)
    reader: FrameReader[ToWorker] = FrameReader(ToWorker, (1 << 31) - 1)
    try:
        settings = receive_settings(sock, reader)
    except ProtocolError as error:
        refuse(sock, error)
        raise SystemExit(f"{type(error).__name__}: {error}") from None
    reader.max_frame_bytes = settings.max_frame_bytes
    endpoints = Endpoints(sock, CancelPage(page_fd), {stdout_fd: "stdout", stderr_fd: "stderr"})
    SubprocessWorker(endpoints, settings, reader).serve()


def die_with_session(lifeline_fd: int) -> None:
    """Have the kernel kill this process when the session's end of the lifeline closes.

    Works whatever this process is doing, unlike a thread that waits for the end of a pipe; and
    not when a *thread* of the session ends, unlike PR_SET_PDEATHSIG. Elsewhere than on Linux the
    end of the transport, seen by the i/o thread, is what ends the worker.
    """
    if sys.platform == "linux":
        fcntl.fcntl(lifeline_fd, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(lifeline_fd, F_SETSIG, signal.SIGKILL)
        flags = fcntl.fcntl(lifeline_fd, fcntl.F_GETFL)
        fcntl.fcntl(lifeline_fd, fcntl.F_SETFL, flags | os.O_ASYNC)


def receive_settings(sock: socket.socket, reader: FrameReader[ToWorker]) -> ConfigureMessage:
    """The first message; raises ProtocolError if it is not what it should be."""
    items: list[ToWorker | ProtocolError] = []
    while not items:
        count = sock.recv_into(reader.get_buffer())
        if not count:
            raise SystemExit(0)
        items = reader.received(count)
    first = items[0]
    if isinstance(first, ProtocolError):
        raise first
    if not isinstance(first, ConfigureMessage) or len(items) > 1:
        raise UnexpectedMessage(f"{type(first).__name__} came before the worker was configured and ready")
    if first.protocol_version != PROTOCOL_VERSION:
        raise VersionMismatch(
            f"the session speaks protocol version {first.protocol_version}, this worker {PROTOCOL_VERSION}; "
            "install the same version of stateroom for both"
        )
    return first


def refuse(sock: socket.socket, error: ProtocolError) -> None:
    """Tell the session why this worker will not start."""
    fault = FaultMessage(reason=f"{type(error).__name__}: {error}", fatal=True)
    for part in FrameWriter(1 << 20).encode(fault):
        sock.sendall(part)


if __name__ == "__main__":
    main(sys.argv[1:])
