"""Sends that something comes inside of: a finalizer that prints, say, in the middle of a send."""

import socket
import threading

import pytest

from stateroom.protocol.framing import FrameWriter
from stateroom.protocol.messages import FaultMessage
from stateroom.worker.interrupts import Interrupts
from stateroom.worker.outbox import Outbox
from stateroom.worker.output import Output
from stateroom.worker.output_limit import OutputLimit


class InterruptedSocket:
    """Calls ``inside`` in the middle of each send."""

    def __init__(self, sock):
        self.sock = sock
        self.inside = lambda: None

    def send(self, *arguments):
        inside, self.inside = self.inside, lambda: None
        inside()
        return self.sock.send(*arguments)

    def fileno(self):
        return self.sock.fileno()


@pytest.fixture
def wire():
    ours, theirs = socket.socketpair()
    yield InterruptedSocket(ours), theirs
    ours.close()
    theirs.close()


@pytest.fixture
def outbox(wire):
    return Outbox(wire[0], FrameWriter(1 << 24), max_bytes=0)


@pytest.fixture
def output(outbox):
    output = Output(outbox, {}, OutputLimit(None, None), Interrupts(None, waits=[]))
    output.begin("cell")
    return output


def everything(theirs):
    theirs.setblocking(False)
    data = b""
    try:
        while True:
            data += theirs.recv(1 << 20)
    except BlockingIOError:
        return data


def test_a_print_inside_of_a_send_does_not_wait_for_who_has_the_output(wire, outbox, output):
    sock, theirs = wire
    stream = output.stream("stdout")
    inside, told = threading.Event(), threading.Event()

    def finalize():
        inside.set()
        told.wait()  # the other thread has the lock of the output by now, and wants to send
        stream.write("from a finalizer\n")

    def other_thread():
        inside.wait()
        with output._lock:
            told.set()
            outbox.send(FaultMessage(reason="second"))

    sock.inside = finalize
    other = threading.Thread(target=other_thread, daemon=True)
    other.start()
    main = threading.Thread(target=outbox.send, args=(FaultMessage(reason="first"),), daemon=True)
    main.start()
    main.join(20)
    other.join(20)
    assert (main.is_alive(), other.is_alive()) == (False, False)
    data = everything(theirs)
    places = [data.index(word) for word in (b"first", b"from a finalizer")]
    assert places == sorted(places)
    assert data.count(b"from a finalizer") == data.count(b"second") == 1


def test_a_wait_for_room_inside_of_a_send_leaves_the_waiting_to_the_send(wire, outbox):
    sock, theirs = wire
    large = b"x" * 4_000_000

    def finalize():
        outbox.send(FaultMessage(reason="nested"), large)
        outbox.wait_for_room()

    sock.inside = finalize
    sender = threading.Thread(target=outbox.send, args=(FaultMessage(reason="first"), large), daemon=True)
    sender.start()
    sender.join(20)
    assert not sender.is_alive()
    assert outbox.pending_bytes > 0
    got = 0
    while outbox.pending_bytes:
        got += len(theirs.recv(1 << 20))
        outbox.pump()
    assert got + len(everything(theirs)) > 8_000_000
