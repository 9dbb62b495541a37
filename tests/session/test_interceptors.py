"""Interceptors and the router that calls them, without a worker."""

import asyncio
import time

import pytest
import structlog

from stateroom.errors import MalformedFrame
from stateroom.protocol.lifecycle import ExecutionEvent
from stateroom.protocol.messages import (
    ErrorInfo,
    ErrorMessage,
    ExecuteMessage,
    HeartbeatMessage,
    OutputMessage,
    ReadyMessage,
    ResultMessage,
)
from stateroom.session.execution import Execution
from stateroom.session.interceptors import Interceptors
from stateroom.session.router import Router


class Bench:
    """A router with everything it reports written down."""

    def __init__(self, budget_s=10.0, max_concurrency=100):
        self.seen, self.finished, self.late, self.violations = [], [], [], []
        self.pauses = []
        self.interceptors = Interceptors(
            budget_s=budget_s,
            max_concurrency=max_concurrency,
            pause=lambda _: self.pauses.append("pause"),
            resume=lambda _: self.pauses.append("resume"),
        )
        self.router = Router(
            self.interceptors,
            on_control=self.seen.append,
            on_input=lambda *_: None,
            on_finished=self.finished.append,
            on_late_output=self.late.append,
            on_late_display=lambda _: None,
            on_violation=self.violations.append,
        )

    def run(self, execution_id="e1"):
        execution = Execution(ExecuteMessage(execution_id=execution_id, number=1, code=""))
        execution.advance(ExecutionEvent.EXECUTE)
        self.router.running = execution
        return execution


@pytest.fixture
async def bench():
    return Bench()


async def test_interceptors_see_each_message_first_and_in_order(bench):
    order = []
    bench.interceptors.add(lambda message: order.append(message))
    execution = bench.run()
    messages = [OutputMessage(execution_id="e1", data=str(n)) for n in range(3)]
    messages.append(ResultMessage(execution_id="e1", number=1, mode="simple_sync", duration_s=0.0))
    for message in messages:
        bench.router.deliver(message)
        assert order[-1] is message
    assert order == messages
    assert execution.done.result().stdout == "012"
    assert bench.finished == [execution]


async def test_a_removed_interceptor_sees_no_more(bench):
    seen = []
    bench.interceptors.add(seen.append)
    bench.interceptors.remove(seen.append)
    bench.router.deliver(HeartbeatMessage())
    assert not seen
    with pytest.raises(ValueError, match="not an interceptor"):
        bench.interceptors.remove(seen.append)


async def test_one_that_raises_is_logged_and_breaks_nothing(bench):
    def broken(_message):
        raise OSError("broken on purpose")

    async def broken_later(_message):
        raise OSError("broken later")

    after = []
    for interceptor in (broken, broken_later, after.append):
        bench.interceptors.add(interceptor)
    with structlog.testing.capture_logs() as logs:
        bench.router.deliver(HeartbeatMessage())
        await bench.interceptors.settle()
    assert len(after) == len(bench.seen) == 1
    assert [entry["event"] for entry in logs] == ["interceptor_failed"] * 2
    assert [info.errors for info in bench.interceptors.figures()] == [1, 1, 0]


async def test_one_that_always_raises_is_counted_and_logged_once_in_a_while(bench):
    def broken(_message):
        raise OSError("broken on purpose")

    async def broken_later(_message):
        raise OSError("broken later")

    bench.interceptors.add(broken)
    bench.interceptors.add(broken_later)
    with structlog.testing.capture_logs() as logs:
        for _ in range(50):
            bench.router.deliver(HeartbeatMessage())
        await bench.interceptors.settle()
    assert [(entry["interceptor"].rpartition(".")[2], entry["errors"]) for entry in logs] == [
        ("broken", 1),
        ("broken_later", 1),
    ]
    assert [info.errors for info in bench.interceptors.figures()] == [50, 50]
    assert len(bench.seen) == 50


async def test_a_task_over_the_budget_is_an_overrun_too():
    bench = Bench(budget_s=0.0)

    async def slow(_message):
        await asyncio.sleep(0)

    with structlog.testing.capture_logs() as logs:
        bench.interceptors.add(slow)
        for _ in range(50):
            bench.interceptors.see(HeartbeatMessage())
        await bench.interceptors.settle()
    (info,) = bench.interceptors.figures()
    assert (info.calls, info.overruns, info.running) == (50, 50, 0)
    assert [entry["event"] for entry in logs] == ["slow_interceptor"]


async def test_reading_that_stops_for_tasks_is_reported_once_in_a_while():
    bench = Bench(max_concurrency=2)
    gate = asyncio.Event()

    async def slow(_message):
        await gate.wait()

    bench.interceptors.add(slow)
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            bench.interceptors.see(HeartbeatMessage())
            bench.interceptors.see(HeartbeatMessage())
            gate.set()
            await bench.interceptors.settle()
            gate.clear()
    assert bench.pauses == ["pause", "resume"] * 3
    assert [(entry["event"], entry["running"]) for entry in logs] == [("reading_paused", 2)]


async def test_overruns_are_counted_and_reported_once_in_a_while():
    bench = Bench(budget_s=0.0)
    bench.interceptors.add(lambda _: time.perf_counter())
    with structlog.testing.capture_logs() as logs:
        for _ in range(50):
            bench.router.deliver(HeartbeatMessage())
    (info,) = bench.interceptors.figures()
    assert (info.calls, info.overruns) == (50, 50)
    assert info.longest_s <= info.total_s
    warnings = [entry for entry in logs if entry["event"] == "slow_interceptor"]
    assert len(warnings) == 1
    assert warnings[0]["budget_ms"] == 0.0
    assert len(bench.seen) == 50


async def test_tasks_are_bounded_by_pausing_and_nothing_is_dropped():
    bench = Bench(max_concurrency=3)
    gate, done = asyncio.Event(), []

    async def slow(message):
        await gate.wait()
        done.append(message)

    bench.interceptors.add(slow)
    for _ in range(3):
        bench.router.deliver(HeartbeatMessage())
    assert bench.pauses == ["pause"]
    gate.set()
    await bench.interceptors.settle()
    assert bench.pauses == ["pause", "resume"]
    assert len(done) == 3
    assert bench.interceptors.figures()[0].running == 0


async def test_interceptors_may_change_while_they_are_called(bench):
    def once(_message):
        bench.interceptors.remove(once)

    bench.interceptors.add(once)
    bench.router.deliver(HeartbeatMessage())
    bench.router.deliver(HeartbeatMessage())
    assert bench.interceptors.figures() == []


@pytest.mark.parametrize(
    "item",
    [
        ResultMessage(execution_id="other", number=2, mode="x", duration_s=0.0),
        ErrorMessage(execution_id="other", number=2, error=ErrorInfo(type="X")),
        ReadyMessage(protocol_version=1, python_version="3", pid=1),
        MalformedFrame("bytes"),
        ResultMessage(execution_id="e1", number=1, mode="x", duration_s=0.0, value=b"\xc1"),
    ],
    ids=["result of another", "error of another", "ready", "malformed frame", "malformed value"],
)
async def test_a_breach_of_the_protocol_is_reported_and_the_execution_can_be_given_up(bench, item):
    execution = bench.run()
    bench.router.deliver(item)
    assert len(bench.violations) == 1
    assert not execution.done.done()
    execution.give_up(ExecutionEvent.WORKER_LOST, ErrorInfo(type="WorkerDied"))
    assert execution.done.result().error.type == "WorkerDied"


async def test_late_output_is_nobodys(bench):
    bench.run("e2")
    late = OutputMessage(execution_id="e1", data="late")
    bench.router.deliver(late)
    assert bench.late == [late]
