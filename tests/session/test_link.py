"""A session's hold on one worker, from Configure to burial."""

import asyncio

import pytest
from stage import cancelled, now, turns

from stateroom.config import SessionConfig
from stateroom.errors import VersionMismatch, WorkerStartError
from stateroom.protocol.messages import (
    PROTOCOL_VERSION,
    ConfigureMessage,
    FaultMessage,
    HeartbeatMessage,
    ReadyMessage,
    ShutdownMessage,
)
from stateroom.session.link import WorkerLink
from stateroom.testing import ScriptedWorker, virtual_time

CONFIG = SessionConfig(start_timeout_s=30, close_grace_s=2)


class Start:
    """A link that starts, and what came of it."""

    def __init__(self):
        self.messages, self.reports = [], []
        self.worker = ScriptedWorker(CONFIG, 1 << 30, 1)
        self.link = WorkerLink(
            CONFIG, self.worker, on_message=self.messages.append, on_gone=self.reports.append
        )
        self.task = asyncio.create_task(self.link.start())

    async def is_ready(self):
        self.worker.say_ready()
        await self.task


@virtual_time
async def test_after_ready_messages_are_passed_on():
    start = Start()
    await start.is_ready()
    assert start.link.is_ready
    start.worker.send(HeartbeatMessage())
    start.worker.exit(3)
    report = await start.link.end(grace_s=0)
    assert start.messages == [HeartbeatMessage()]
    assert start.reports == [report]
    assert str(report) == f"worker {1 << 30} exited with status 3"


@virtual_time
async def test_a_start_that_was_cancelled_hears_nothing_of_its_worker_any_more():
    start = Start()
    await start.worker.has_received(ConfigureMessage)
    await cancelled(start.task)
    start.worker.say_ready()
    start.worker.send(HeartbeatMessage())
    await start.link.end(grace_s=0)
    assert start.messages == []


@pytest.mark.parametrize(
    ("first", "kind", "said"),
    [
        (ReadyMessage(protocol_version=0, python_version="3.13.0", pid=1), VersionMismatch, "the worker 0"),
        (
            ReadyMessage(protocol_version=PROTOCOL_VERSION, python_version="2.7.18", pid=1),
            VersionMismatch,
            "Python 2.7.18",
        ),
        (FaultMessage(reason="no such protocol"), VersionMismatch, "no such protocol"),
        (HeartbeatMessage(), WorkerStartError, "a HeartbeatMessage came first"),
        (b"\xff" * 100, WorkerStartError, "over max_frame_bytes"),
        (b"\0\0\0\5\0\0\0\0hello", WorkerStartError, "holds no message"),
    ],
    ids="protocol python fault heartbeat oversized malformed".split(),
)
@virtual_time
async def test_a_worker_that_says_anything_but_a_fitting_ready_is_of_no_use(first, kind, said):
    start = Start()
    if isinstance(first, bytes):
        start.worker.channel.send_bytes(first)
    else:
        start.worker.send(first)
    with pytest.raises(kind, match=said):
        await start.task
    assert start.messages == []
    assert not start.link.is_ready


@virtual_time
async def test_a_worker_that_ends_before_it_is_ready_fails_the_start_with_its_last_words():
    start = Start()
    await start.worker.has_received(ConfigureMessage)
    start.worker.exit(1, stderr="last words")
    with pytest.raises(WorkerStartError, match=r"(?s)before it was ready.*last words"):
        await start.task


@virtual_time
async def test_a_worker_whose_python_has_no_stateroom_fails_the_start_with_advice():
    start = Start()
    await start.worker.has_received(ConfigureMessage)
    start.worker.exit(1, stderr="Traceback …\nModuleNotFoundError: No module named 'stateroom'\n")
    with pytest.raises(WorkerStartError, match=r"'stateroom'\ninstall stateroom for that Python$"):
        await start.task


@virtual_time
async def test_a_worker_that_says_nothing_fails_the_start_after_its_time():
    start = Start()
    with pytest.raises(WorkerStartError, match=r"not ready within start_timeout_s \(30"):
        await start.task
    assert now() == 30


@virtual_time
async def test_a_worker_that_hangs_up_is_killed_after_the_grace():
    start = Start()
    await start.is_ready()
    start.worker.channel.hang_up()
    await start.worker.until(lambda: start.worker.was_killed)
    assert now() == 2
    assert str(await start.link.end(grace_s=0)).endswith("was killed by SIGKILL (signal 9)")


@virtual_time
async def test_a_worker_that_hangs_up_and_ends_is_not_killed():
    start = Start()
    await start.is_ready()
    start.worker.channel.hang_up()
    await asyncio.sleep(1)
    start.worker.exit(0)
    await turns()
    assert (await start.link.end(grace_s=0)).exit_status == 0
    await asyncio.sleep(60)
    assert not start.worker.was_killed


@pytest.mark.parametrize("obeys", [True, False])
@virtual_time
async def test_the_end_is_asked_for_and_then_made(obeys):
    start = Start()
    await start.is_ready()
    start.worker.obeys_shutdown = obeys
    report = await start.link.end(grace_s=10)
    assert await start.worker.has_received(ShutdownMessage)
    assert (report.exit_status, report.signal, now()) == ((0, None, 0) if obeys else (None, 9, 10))
    assert not start.worker.channel.is_open


@virtual_time
async def test_without_grace_nothing_is_asked():
    start = Start()
    await start.is_ready()
    await start.link.end(grace_s=0)
    assert [type(message) for message in start.worker.received] == [ConfigureMessage]


@virtual_time
async def test_what_a_worker_says_after_it_was_given_up_does_not_count():
    start = Start()
    await start.is_ready()
    start.worker.obeys_kill = False
    start.link.give_up()
    start.worker.send(HeartbeatMessage())
    start.worker.die()
    await start.link.end(grace_s=0)
    assert (start.messages, len(start.reports)) == ([], 1)


@virtual_time
async def test_heartbeats_are_counted_from_the_last():
    start = Start()
    await start.is_ready()
    assert start.link.heartbeat_age_s is None
    start.link.take_heartbeat(HeartbeatMessage(telemetry={"cells": 1.0}))
    await asyncio.sleep(7)
    assert (start.link.heartbeat_age_s, start.link.telemetry) == (7, {"cells": 1.0})
    await start.link.end(grace_s=0)
