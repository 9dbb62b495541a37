"""A session's hold on one worker, with the worker's end of the socket in the test's hand."""

import asyncio
import platform
import socket

import pytest

from stateroom.config import SessionConfig
from stateroom.errors import VersionMismatch, WorkerStartError
from stateroom.protocol.framing import FrameWriter
from stateroom.protocol.messages import PROTOCOL_VERSION, FaultMessage, HeartbeatMessage, ReadyMessage
from stateroom.session.launcher import ExitReport
from stateroom.session.link import WorkerLink


class FarEnd:
    """Both a worker's end of the socket and what the session sees of its process."""

    pid = 1

    def __init__(self):
        self.sock, self._far = socket.socketpair()
        self._writer = FrameWriter(1 << 20)
        self._on_exit = None
        self.is_held = asyncio.Event()

    async def connect(self, protocol):
        self.sock.setblocking(False)
        await asyncio.get_running_loop().create_connection(lambda: protocol, sock=self.sock)

    def read_rest(self, buffer):
        try:
            return self.sock.recv_into(buffer)
        except ConnectionResetError:
            return 0

    def watch(self, on_exit):
        self._on_exit = on_exit

    def kill(self):
        """A worker that has been signalled may still have sent something: the test says when it ends."""
        self.is_held.set()

    def exit(self):
        self._far.close()
        self._on_exit()

    def report(self):
        return ExitReport(self.pid, -9)

    def leftover(self, stream):
        return b"last words" if stream == "stderr" else b""

    def close(self):
        self.sock.close()

    def say(self, message):
        for part in self._writer.encode(message):
            self._far.sendall(part)

    async def heard(self):
        """Wait until the session has said something: it has begun to wait for Ready then."""
        self._far.setblocking(False)
        return await asyncio.get_running_loop().sock_recv(self._far, 65536)


def ready(**changes):
    settings = {
        "protocol_version": PROTOCOL_VERSION,
        "python_version": platform.python_version(),
        "pid": 1,
    }
    return ReadyMessage(**{**settings, **changes})


class Start:
    """A link that starts, and what came of it."""

    def __init__(self):
        self.far, self.messages, self.reports = FarEnd(), [], []
        self.link = WorkerLink(
            SessionConfig(), self.far, on_message=self.messages.append, on_gone=self.reports.append
        )
        self.task = asyncio.create_task(self.link.start())

    async def ends_with(self, kind):
        """The start has failed, and ended the worker."""
        await self.far.is_held.wait()
        self.far.exit()
        with pytest.raises(kind) as caught:
            await self.task
        assert len(self.reports) == 1
        return str(caught.value)


async def test_after_ready_messages_are_passed_on():
    start = Start()
    start.far.say(ready())
    await start.task
    assert start.link.is_ready
    start.far.say(HeartbeatMessage())
    start.far.exit()
    assert start.messages == [HeartbeatMessage()]
    assert [str(report) for report in start.reports] == ["worker 1 was killed by SIGKILL (signal 9)"]


async def test_a_start_that_was_cancelled_hears_nothing_of_its_worker_any_more():
    start = Start()
    await start.far.heard()
    start.task.cancel()
    await start.far.is_held.wait()
    start.far.say(ready())
    start.far.say(HeartbeatMessage())
    await start.ends_with(asyncio.CancelledError)
    assert start.messages == []


@pytest.mark.parametrize(
    ("first", "kind", "said"),
    [
        (ready(protocol_version=0), VersionMismatch, "the worker 0"),
        (ready(python_version="2.7.18"), VersionMismatch, "Python 2.7.18"),
        (FaultMessage(reason="no such protocol"), VersionMismatch, "no such protocol"),
        (HeartbeatMessage(), WorkerStartError, "a HeartbeatMessage came first"),
    ],
)
async def test_a_worker_that_says_anything_but_a_fitting_ready_is_ended(first, kind, said):
    start = Start()
    start.far.say(first)
    assert said in await start.ends_with(kind)
    assert start.messages == []
    assert not start.link.is_ready


async def test_a_worker_that_ends_before_it_is_ready_fails_the_start_with_its_last_words():
    start = Start()
    await start.far.heard()
    start.far.exit()
    with pytest.raises(WorkerStartError, match=r"(?s)before it was ready.*last words"):
        await start.task
