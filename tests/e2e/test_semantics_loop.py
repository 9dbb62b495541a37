"""Rows L1 to L8 (loop, tasks, contexts) of the semantics, end to end."""

import asyncio
import sys

import pytest
import structlog.testing
from watching import until

import stateroom

TICK = """
import asyncio, time
ticks, goal = 0, asyncio.Event()
async def tick(most):
    global ticks
    while ticks < most:
        ticks += 1
        await asyncio.sleep(0.001)
    goal.set()
    print("goal")
"""


@pytest.mark.parametrize(
    "start",
    ["t = asyncio.create_task(tick(10**6))", "await asyncio.sleep(0)\nt = asyncio.create_task(tick(10**6))"],
    ids=["sync", "async"],
)
async def test_L1_background_tasks_go_on_whatever_a_cell_does(session, start):
    await session.run(TICK, check=True)
    await session.run(start, check=True)
    waits = ["await asyncio.sleep(0.1)", "time.sleep(0.1)", "await asyncio.sleep(0)\ntime.sleep(0.1)"]
    waits += [
        "end = time.monotonic() + 0.1\nwhile time.monotonic() < end: pass",
        "sum(1 for _ in range(2_000_000))",
    ]
    for wait in waits:
        result = await session.run(f"before = ticks\n{wait}\nticks - before")
        assert result.error is None
        assert result.value > 2, wait


MADE_WHILE_BLOCKED = """
made = threading.Event()
def make():
    away.append(asyncio.create_task(asyncio.sleep(1000), name="away"))
    made.set()
loop.call_soon_threadsafe(make)
made.wait()
"""


NAMES = "sorted({'here', 'away'} & {task.get_name() for task in asyncio.all_tasks()})"


@pytest.mark.parametrize(
    "prefix",
    ["", "await asyncio.sleep(0)\n", "time.sleep(0)\n", "asyncio.run(asyncio.sleep(0))\n"],
    ids=["sync", "async", "blocking", "asyncio.run"],
)
async def test_L1_all_tasks_knows_those_made_while_a_cell_blocked(session, prefix):
    await session.run(
        "import asyncio, threading, time; loop = asyncio.get_running_loop(); away = []", check=True
    )
    await session.run("here = loop.create_task(asyncio.sleep(1000), name='here')", check=True)
    assert (await session.run(MADE_WHILE_BLOCKED + NAMES)).value == ["away", "here"]
    assert (await session.run(prefix + NAMES)).value == ["away", "here"]
    assert (await session.run(prefix + "asyncio.all_tasks(loop) >= {here, *away}")).value is True


async def test_L1_all_tasks_of_another_loop_are_only_its_own(session):
    await session.run("import asyncio\nhere = asyncio.create_task(asyncio.sleep(1000))", check=True)
    own = "async def look(): return [task.get_name() for task in asyncio.all_tasks()]\n"
    own += "with asyncio.Runner() as runner:\n    names = runner.run(look())\nlen(names)"
    assert (await session.run(own)).value == 1
    outside = "import threading\nraised = []\n"
    outside += "def ask():\n    try: asyncio.all_tasks()\n    except RuntimeError as error: raised.append(str(error))\n"
    outside += "thread = threading.Thread(target=ask); thread.start(); thread.join(); raised"
    assert (await session.run(outside)).value == ["no running event loop"]


async def test_L1_background_tasks_go_on_between_cells(session):
    late = asyncio.Queue()
    session.on_late_output = late.put_nowait
    await session.run(TICK, check=True)
    await session.run("t = asyncio.create_task(tick(100))", execution_id="mine", check=True)
    message = await late.get()
    assert (message.execution_id, message.data) == ("mine", "goal\n")
    assert (await session.run("ticks, t.done()")).value == (100, True)


@pytest.mark.parametrize(
    "code",
    [
        "asyncio.run(f())",
        "asyncio.get_event_loop().run_until_complete(f())",
        "with asyncio.Runner() as runner: value = runner.run(f())\nvalue",
        "loop = asyncio.new_event_loop(); value = loop.run_until_complete(f()); loop.close(); value",
        "loop = asyncio.get_event_loop(); loop.call_later(0.01, loop.stop); loop.run_forever(); 5",
    ],
)
async def test_L2_code_that_runs_a_loop_of_its_own_works(way, code):
    await way.session.run("async def f():\n    await asyncio.sleep(0.001)\n    return 5", check=True)
    result = await way.run(code, any_mode=True)
    if way.name == "fallback":  # the wrapper runs it inside of the loop
        assert result.error.type == "RuntimeError"
        assert "running" in result.error.message
    else:
        assert (result.error, result.value) == (None, 5)
    assert (await way.session.run("await f()")).value == 5
    assert (await way.session.run("asyncio.create_task(f()); 6")).value == 6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("asyncio.run(f())", "asyncio.run() cannot be called from a running event loop"),
        ("asyncio.get_event_loop().run_until_complete(f())", "This event loop is already running"),
        ("asyncio.get_event_loop().run_forever()", "This event loop is already running"),
    ],
)
async def test_L2_in_a_coroutine_of_the_cell_it_is_one_clear_error(session, call, message):
    await session.run("import asyncio\nasync def f(): return 5", check=True)
    code = f"async def g():\n    try: {call}\n    finally: here = asyncio.get_running_loop()\nawait g()"
    error = (await session.run(code)).error
    assert (error.type, error.message) == ("RuntimeError", message)
    assert (await session.run("await f()")).value == 5


@pytest.mark.parametrize("prefix", ["", "time.sleep(0.05)\n"], ids=["still", "away"])
async def test_L2_a_loop_on_loan_does_not_say_that_it_runs(session, prefix):
    """Code that asks goes on to ``run_until_complete``, which works, whether or not the loop has moved."""
    await session.run("import asyncio, time", check=True)
    result = await session.run(prefix + "asyncio.get_event_loop().is_running()")
    assert (result.error, result.value) == (None, False)


async def test_L3_a_task_made_without_an_await_runs_and_is_kept_alive(way):
    late = asyncio.Queue()
    way.session.on_late_output = late.put_nowait
    code = """
    gate, done = asyncio.Event(), []
    async def f():
        waiting = asyncio.get_running_loop().create_future()  # nobody else refers to it, or to the task
        gate.set()
        asyncio.get_running_loop().call_later(0.01, waiting.set_result, 1)
        done.append(await waiting)
        print("done")
    """
    await way.session.run(code, check=True)
    await way.run("asyncio.create_task(f());", execution_id="mine")
    await way.session.run("import gc; gc.collect(); await gate.wait()", check=True)
    while not (await way.session.run("done")).value:
        await asyncio.sleep(0)
    assert (await way.session.run("done")).value == [1]


async def test_L4_a_cell_that_makes_a_task_and_blocks_works(way):
    code = "done = []\nasync def f():\n    await asyncio.sleep(0.001)\n    done.append(1)"
    await way.session.run(code, check=True)
    result = await way.run("asyncio.create_task(f()); time.sleep(.1)\ndone", any_mode=True)
    assert result.error is None
    if way.name != "fallback":  # the wrapper runs it inside of the loop
        assert result.value == [1]
    assert (await way.session.run("await asyncio.sleep(0.01)\ndone")).value == [1]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="CPython 3.11 has no eager tasks")
@pytest.mark.parametrize("prefix", ["", "await asyncio.sleep(0)\n"], ids=["sync", "stretch"])
async def test_L4_an_eager_task_begins_in_the_loop_while_that_is_elsewhere(session, prefix):
    code = TICK + "asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)\n"
    code += (
        "async def spin():\n    sum(i for i in range(10**6))\n    await asyncio.sleep(0)\n    done.set()\n"
    )
    await session.run(code + "import threading; t = asyncio.create_task(tick(10**6))", check=True)
    cell = (
        prefix
        + "done = threading.Event()\ntime.sleep(0.01); spinning = asyncio.create_task(spin())\ndone.wait(30)"
    )
    result = await session.run(cell)
    assert (result.value, result.stderr) == (True, "")
    assert (await session.run("await spinning; t.done()")).value is False


async def test_L4_the_running_loop_is_there_in_every_cell(way):
    result = await way.run("asyncio.get_running_loop() is asyncio.get_event_loop()")
    assert (result.error, result.value) == (None, True)


async def test_L5_context_variables_live_from_cell_to_cell(way):
    await way.session.run("from contextvars import ContextVar\nv = ContextVar('v')", check=True)
    await way.run("token = v.set(1)")
    for code in (
        "v.get()",
        "import asyncio; await asyncio.sleep(0)\nv.get()",
        "import time; time.sleep(0)\nv.get()",
    ):
        assert (await way.session.run(code)).value == 1
    assert (await way.run("v.reset(token)\nv.get('unset')")).value == "unset"
    assert (await way.session.run("v.get('unset')")).value == "unset"


async def test_L5_a_task_has_a_copy(session):
    await session.run(
        "import asyncio\nfrom contextvars import ContextVar\nv = ContextVar('v', default=0)", check=True
    )
    await session.run("async def f():\n    v.set(v.get() + 1)\n    return v.get()", check=True)
    await session.run("v.set(5);", check=True)
    assert (await session.run("await asyncio.create_task(f()), v.get()")).value == (6, 5)


BLOCKING = {
    "module of an earlier cell": ("import time", "time.sleep(0)"),
    "object of an earlier cell": ("import subprocess; p = subprocess.Popen(['true'])", "p.wait()"),
    "queue": ("import queue; q = queue.Queue(); q.put(1)", "q.get()"),
    "socket": ("import socket; a, b = socket.socketpair(); b.send(b'x')", "a.recv(1)"),
    "function": ("import time\ndef slow(): time.sleep(0)", "slow()"),
    "function of a function": ("import time\ndef slow(): time.sleep(0)\ndef slower(): slow()", "slower()"),
    "other name": ("from time import sleep as zz", "zz(0)"),
    "method": ("import time\nclass C:\n    def go(self): time.sleep(0)\nc = C()", "c.go()"),
    "import and call": ("1", "import time; time.sleep(0)"),
    "input": ("1", "input()"),
}


async def test_L6_blocking_calls_are_detected_through_the_live_namespace(session):
    for name, (earlier, code) in BLOCKING.items():
        await session.run(earlier, check=True)
        result = await session.run(code, on_input=lambda _: "")
        assert (result.error, result.mode) == (None, "blocking_sync"), name


async def test_L6_in_a_cell_that_awaits_the_loop_goes_on(session):
    await session.run(TICK + "def slow(): time.sleep(0.1)", check=True)
    await session.run("t = asyncio.create_task(tick(10**6))", check=True)
    result = await session.run("await asyncio.sleep(0)\nbefore = ticks\nslow()\nticks - before")
    assert result.mode == "top_level_await"
    assert result.value > 2


async def test_L6_the_loop_goes_on_while_a_cell_asks_for_input(session):
    await session.run(TICK, check=True)
    await session.run("t = asyncio.create_task(tick(50))", check=True)
    late = asyncio.Queue()
    session.on_late_output = late.put_nowait

    async def answer(_):
        return (await late.get()).data

    for code in ("input()", "await asyncio.sleep(0)\ninput()"):
        await session.run("ticks = 0; t = asyncio.create_task(tick(50))", check=True)
        assert (await session.run(code, on_input=answer)).value == "goal\n"


NOT_BLOCKING = {
    "rebound module": (
        "class R:\n    def get(self): return 1\nrequests = R()",
        "requests.get()",
        "simple_sync",
    ),
    "recv of a user": ("class C:\n    def recv(self): return 1\nc = C()", "c.recv()", "simple_sync"),
    "sleep of a user": ("class C:\n    def sleep(self): return 1\ntime = C()", "time.sleep()", "simple_sync"),
    "get of a user": ("class C:\n    def get(self): return 1\nqueue = C()", "queue.get()", "simple_sync"),
    "dict": ("d = {}", "d.get('x')", "simple_sync"),
    "asyncio.sleep": ("import asyncio", "await asyncio.sleep(0)", "top_level_await"),
    "passed as a value": ("def take(f): return 1", "take(open)", "simple_sync"),
    "named only": ("import time", "time.sleep", "simple_sync"),
}


async def test_L7_what_only_looks_like_blocking_is_not(session):
    for name, (earlier, code, mode) in NOT_BLOCKING.items():
        await session.run(earlier, check=True)
        result = await session.run(code)
        assert (result.error, result.mode) == (None, mode), name


HIDDEN = """
import asyncio
naps = [getattr(__import__("time"), "sleep")]
async def nap(seconds):
    await asyncio.sleep(0)
    naps[0](seconds)
    return 5
"""


def lags(logs):
    """Where the loop stood still, as the session logged it."""
    messages = [each["message"] for each in logs if each["event"] == "worker_warning"]
    return [
        {**each["fields"], "execution_id": each["execution_id"]}
        for each in messages
        if each["event"] == "loop_lag"
    ]


async def lags_counted(session):
    """The counter as of a heartbeat that is newer than now."""
    count = 0
    while not count:
        before = session.info.messages
        await until(lambda before=before: session.info.messages > before)
        count = session.info.telemetry.get("loop_lags", 0)
    return count


@pytest.fixture
async def watched():
    async with stateroom.Session(loop_lag_warning_s=0.05, heartbeat_interval_s=0.02) as session:
        await session.run(HIDDEN, check=True, filename="<naps>")
        yield session


async def test_L8_a_stall_by_a_cell_is_counted_and_its_line_named_once(watched):
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            assert (await watched.run("await nap(0.2)", execution_id="mine")).value == 5
    [lag] = lags(logs)
    assert (lag["filename"], lag["line"], lag["function"], lag["execution_id"]) == (
        "<naps>",
        6,
        "nap",
        "mine",
    )
    assert lag["seconds_so_far"] >= 0.05
    assert await lags_counted(watched) >= 3


async def test_L8_a_stall_by_a_background_task_names_its_cell(watched):
    with structlog.testing.capture_logs() as logs:
        await watched.run("t = asyncio.create_task(nap(0.2))", execution_id="mine")
        await watched.run("await t", execution_id="other", check=True)
    [lag] = lags(logs)
    assert (lag["line"], lag["execution_id"]) == (6, "mine")


async def test_L8_a_stall_inside_a_call_is_the_line_of_the_cell(watched):
    code = "def spin(n):\n    return sum(x for x in range(n))\nawait asyncio.sleep(0)\nwhile not (spin(5_000_000)): pass"
    with structlog.testing.capture_logs() as logs:
        await watched.run(code, filename="<spin>")
    assert {lag["filename"] for lag in lags(logs)} == {"<spin>"}


async def test_L8_what_does_not_hold_the_loop_is_not_reported():
    with structlog.testing.capture_logs() as logs:
        async with stateroom.Session(loop_lag_warning_s=0.3, heartbeat_interval_s=0.02) as session:
            await session.run(HIDDEN + "import time\ndef hidden(): naps[0](0.4)", check=True)
            await session.run("t = asyncio.create_task(asyncio.sleep(100))", check=True)
            for code in (
                "time.sleep(0.4)",
                "hidden()",
                "await asyncio.sleep(0.4)",
                "await asyncio.sleep(0)\ntime.sleep(0.4)",
            ):
                await session.run(code, check=True)
            before = session.info.messages
            await until(lambda: session.info.messages >= before + 3)
            assert session.info.telemetry["loop_lags"] == 0
    assert lags(logs) == []
