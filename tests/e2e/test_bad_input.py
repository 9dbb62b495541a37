"""Either end meets bytes, messages and orders that it should not get."""

import asyncio
import contextlib
import sys
import textwrap

import pytest

import stateroom
from stateroom import errors
from stateroom.config import SessionConfig
from stateroom.protocol.framing import FrameReader, FrameWriter
from stateroom.protocol.messages import (
    ConfigureMessage,
    ExecuteMessage,
    FaultMessage,
    InputMessage,
    InputResponseMessage,
    OutputMessage,
    ReadyMessage,
    ResultMessage,
    ShutdownMessage,
    ToSession,
)
from stateroom.session.process import PlumbedProcess

WRITER = FrameWriter((1 << 31) - 1)


class RawSession:
    """The session's end of a real worker, as bytes."""

    def __init__(self):
        self.worker = PlumbedProcess.spawn(SessionConfig())
        self.worker.sock.setblocking(True)
        self.reader = FrameReader(ToSession, (1 << 31) - 1)
        self.waiting = []

    def send_bytes(self, data):
        self.worker.sock.sendall(data)

    def send(self, message):
        for part in WRITER.encode(message):
            self.send_bytes(part)

    def receive(self):
        while not self.waiting:
            count = self.worker.sock.recv_into(self.reader.get_buffer())
            if not count:
                return None
            self.waiting += self.reader.received(count)
        return self.waiting.pop(0)

    def receive_only(self, kind):
        """The next message of this kind; heartbeats and output may come before it."""
        while not isinstance(message := self.receive(), kind):
            assert message is not None, "the worker hung up"
        return message


@pytest.fixture
def raw():
    raw = RawSession()
    yield raw
    raw.worker.kill()
    raw.worker.process.popen.wait()
    raw.worker.close()


@pytest.fixture
def ready(raw):
    raw.send(ConfigureMessage(max_frame_bytes=100_000, heartbeat_interval_s=0))
    assert isinstance(raw.receive(), ReadyMessage)
    return raw


def frame(header, payload=b""):
    return len(header).to_bytes(4, "big") + len(payload).to_bytes(4, "big") + header + payload


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (frame(b"\xc1 not msgpack"), "MalformedFrame"),
        (frame(b"\x81\xa4type\xa5bogus"), "bogus"),
        (frame(b""), "MalformedFrame"),
        (frame(b"x" * 200_000), "FrameTooLarge"),
    ],
    ids=["garbage", "unknown type", "empty", "oversized"],
)
def test_worker_names_the_fault_and_goes_on(ready, data, reason):
    ready.send_bytes(data)
    assert reason in ready.receive_only(FaultMessage).reason
    ready.send(ExecuteMessage(execution_id="after", number=1, code="1"))
    assert ready.receive_only(ResultMessage).execution_id == "after"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (ConfigureMessage(), "configured only once"),
        (InputResponseMessage(input_id="7", data="x"), "nobody waits"),
    ],
    ids=["second configure", "answer without question"],
)
def test_worker_refuses_messages_out_of_order(ready, message, reason):
    ready.send(message)
    assert reason in ready.receive_only(FaultMessage).reason


def test_worker_is_busy_with_one_cell_at_a_time(ready):
    ready.send(ExecuteMessage(execution_id="one", number=1, code="input()"))
    ready.send(ExecuteMessage(execution_id="two", number=2, code="2"))
    first, second = sorted((ready.receive(), ready.receive()), key=lambda message: type(message).__name__)
    assert (first.execution_id, first.busy) == ("two", True)
    assert isinstance(second, InputMessage)
    ready.send(InputResponseMessage(input_id="1", data="x"))
    assert ready.receive_only(ResultMessage).execution_id == "one"


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (ExecuteMessage(execution_id="early", number=1, code="1"), "UnexpectedMessage"),
        (ConfigureMessage(protocol_version=99), "VersionMismatch"),
    ],
    ids=["execute before configure", "other protocol version"],
)
def test_worker_that_cannot_be_used_says_why_and_exits(raw, message, kind):
    raw.send(message)
    fault = raw.receive_only(FaultMessage)
    assert fault.fatal
    assert kind in fault.reason
    assert raw.worker.process.popen.wait() == 1


def test_worker_ends_with_its_transport(ready):
    ready.worker.sock.close()
    ready.worker.process.popen.wait()


def test_shutdown_runs_atexit_handlers(ready):
    ready.send(
        ExecuteMessage(execution_id="one", number=1, code="import atexit; atexit.register(print, 'bye')")
    )
    ready.receive_only(ResultMessage)
    ready.send(ShutdownMessage())
    assert ready.receive_only(OutputMessage).data == "bye\n"
    assert ready.worker.process.popen.wait() == 0


# A session whose worker does not start, or is asked for what cannot be


async def test_a_process_that_is_no_worker_fails_the_start_with_what_it_wrote(tmp_path):
    script = tmp_path / "python"
    script.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('no luck')\n")
    script.chmod(0o755)
    session = stateroom.Session(python=str(script), start_timeout_s=10)
    with pytest.raises(errors.WorkerStartError, match=r"(?s)exited with status 1.*no luck"):
        await session.start()
    assert session.info.state == "broken"
    await session.close()


async def test_answer_to_an_input_that_is_not_open():
    async with stateroom.Session() as session:
        with pytest.raises(errors.InputRefused, match="not open"):
            session.input_response("1", "x")


async def test_code_over_the_frame_limit_is_refused_and_the_session_lives():
    async with stateroom.Session(max_frame_bytes=10_000) as session:
        with pytest.raises(errors.FrameTooLarge):
            await session.run("#" * 20_000)
        result = await session.run("'x' * 20_000")
        assert result.ok
        assert any("max_frame_bytes" in note for note in result.notes)
        assert (await session.run("1")).value == 1


async def test_lone_surrogates_and_odd_text_cross():
    async with stateroom.Session() as session:
        assert (await session.run("chr(0xD800)")).value == "\ud800"
        result = await session.run("print('\\ud800'); import os; os.write(1, b'\\xff\\n') and None")
        assert result.stdout == "\\ud800\n\ufffd\n"


async def test_a_worker_dies_with_its_session_even_if_it_never_looks(tmp_path):
    """The session's process is killed while the worker is in a C call that holds the GIL."""
    code = textwrap.dedent(
        """
        import stateroom, time
        with stateroom.open_session() as session:
            session.run("import os; print(os.getpid())", on_output=lambda m: print(m.data, end="", flush=True))
            session.run("print('busy'); 10**10**8", on_output=lambda m: print(m.data, end="", flush=True))
        """
    )
    client = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    pid = int(await client.stdout.readline())
    assert await client.stdout.readline() == b"busy\n"
    client.kill()
    await client.wait()
    await process_ended(pid)


async def process_ended(pid):
    """Return when no process has this pid (an orphan is not ours to wait for)."""
    import os

    with contextlib.suppress(ProcessLookupError):
        fd = os.pidfd_open(pid)
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(fd, ended.set)
        await ended.wait()
        asyncio.get_running_loop().remove_reader(fd)
        os.close(fd)
