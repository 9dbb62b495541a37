"""Rows X1 to X9 of the semantics: how a cell ends that is told to."""

import asyncio
import os
import signal
import sys
import textwrap

import pytest

import stateroom
from stateroom import CancelOutcome


@pytest.fixture
async def session():
    async with stateroom.Session(cancel_grace_s=0.3, insist_grace_s=5.0) as session:
        yield session


class Running:
    """A cell that has said ``on`` and runs."""

    def __init__(self, session, code, **how):
        self.started = asyncio.Event()
        self.task = asyncio.create_task(
            session.run(
                code,
                on_output=lambda message: "on" in message.data and self.started.set(),
                on_input=lambda _: asyncio.Event().wait(),
                **how,
            )
        )

    async def __aenter__(self):
        started = asyncio.create_task(self.started.wait())
        await asyncio.wait([started, self.task], return_when=asyncio.FIRST_COMPLETED)
        assert started.done(), self.task.result()
        return self.task

    async def __aexit__(self, *_):
        pass


PRELUDE = (
    "import asyncio, queue, select, socket, subprocess, threading, time, os, concurrent.futures\nkept = 1\n"
)

AWAIT = "await asyncio.sleep(0)\n"
ENDED_BY_ONE = {
    "loop": "print('on')\nwhile True: pass",
    "sleep": "print('on'); time.sleep(100)",
    "recv": "a, b = socket.socketpair(); print('on'); a.recv(1)",
    "accept": "s = socket.create_server(('127.0.0.1', 0)); print('on'); s.accept()",
    "select": "a, b = socket.socketpair(); print('on'); select.select([a], [], [])",
    "subprocess": "print('on'); subprocess.run(['sleep', '100'])",
    "popen wait": "p = subprocess.Popen(['sleep', '100']); print('on'); p.wait()",
    "lock": "l = threading.Lock(); l.acquire(); print('on'); l.acquire()",
    "event": "print('on'); threading.Event().wait()",
    "queue": "print('on'); queue.Queue().get()",
    "join": "t = threading.Thread(target=threading.Event().wait, daemon=True); t.start(); print('on'); t.join()",
    "future": "print('on'); concurrent.futures.Future().result()",
    "pipe": "r, w = os.pipe(); print('on'); os.read(r, 1)",
    "input": "print('on'); input()",
    "regex": "import re; print('on'); re.match('(a+)+$', 'a' * 60 + 'b')",
    "big int": "print('on'); x = 10 ** (10 ** 9)",
    "asyncio.run": "print('on'); asyncio.run(asyncio.sleep(100))",
    "asyncio.run of a loop": "async def f():\n    print('on')\n    while True: pass\nasyncio.run(f())",
    "run_until_complete": "print('on'); asyncio.get_event_loop().run_until_complete(asyncio.sleep(100))",
    "run_forever": "print('on'); asyncio.get_event_loop().run_forever()",
    "asyncio.run with a busy task": (
        "async def spin():\n    print('on')\n    while True: pass\n"
        "async def main():\n    spinning = asyncio.create_task(spin())\n    await asyncio.sleep(100)\nasyncio.run(main())"
    ),
    "asyncio.run with a busy callback": (
        "def spin():\n    print('on')\n    while True: pass\n"
        "async def main():\n    asyncio.get_running_loop().call_soon(spin)\n    await asyncio.sleep(100)\n"
        "asyncio.run(main())"
    ),
    "uvloop.run with a busy task": (
        "import uvloop\nasync def spin():\n    print('on')\n    while True: pass\n"
        "async def main():\n    spinning = asyncio.create_task(spin())\n    await asyncio.sleep(100)\nuvloop.run(main())"
    ),
    "await": "print('on'); await asyncio.sleep(100)",
    "await event": "e = asyncio.Event(); print('on'); await e.wait()",
    "await then loop": "await asyncio.sleep(0); print('on')\nwhile True: pass",
    "await then sleep": "await asyncio.sleep(0); print('on'); time.sleep(100)",
    "await then input": "await asyncio.sleep(0); print('on'); input()",
    "task group": "async with asyncio.TaskGroup() as g:\n    g.create_task(asyncio.sleep(100)); print('on')",
    "task group body": "async with asyncio.TaskGroup() as g:\n    print('on')\n    while True: pass",
    "task group child": (
        "async def spin():\n    print('on')\n    while True: pass\n"
        "async with asyncio.TaskGroup() as g:\n    g.create_task(spin())"
    ),
    "awaited task": "async def spin():\n    print('on')\n    while True: pass\nawait asyncio.create_task(spin())",
    "gathered": "async def spin():\n    print('on')\n    while True: pass\nawait asyncio.gather(spin(), asyncio.sleep(9))",
    "timeout": "async with asyncio.timeout(100):\n    print('on'); await asyncio.sleep(100)",
    "to_thread": "print('on'); await asyncio.to_thread(threading.Event().wait, 20)",
}


@pytest.mark.parametrize("code", ENDED_BY_ONE.values(), ids=ENDED_BY_ONE)
async def test_X1_ends_at_once_with_the_namespace_intact(code, refuse_await):
    """In every way in which a worker may run it; the wrapper last, since there is no way back from it."""
    async with stateroom.Session(cancel_grace_s=20) as session:
        await session.run(PRELUDE, check=True)
        ways = {"as it is": code, "after an await": AWAIT + code}
        if "await" not in code and "async with" not in code:
            ways["not seen to block"] = f"exec({code!r}, globals())"
        if ".run" not in code:  # in a wrapped cell a loop runs already
            ways["wrapped"] = AWAIT + AWAIT + code
        for way, cell in ways.items():
            if way == "wrapped":
                await session.run(refuse_await, check=True)
            async with Running(session, cell) as task:
                assert await session.cancel() is CancelOutcome.CANCELLED, way
                result = await task
            assert (result.cancelled, result.error.type) == (True, "CancelledError"), way
            assert (await session.run("kept")).value == 1
            assert (await session.run("await asyncio.sleep(0, 2)")).value == 2


async def test_X2_a_cancel_inside_a_timeout_is_a_cancel_and_a_timeout_a_timeout(session):
    async with Running(
        session, "import asyncio\nasync with asyncio.timeout(50):\n  print('on'); await asyncio.sleep(99)"
    ) as task:
        await session.cancel()
        assert (await task).error.type == "CancelledError"
    result = await session.run("async with asyncio.timeout(0): await asyncio.sleep(99)")
    assert (result.error.type, result.cancelled) == ("TimeoutError", False)


# Each says "on" where a cancel is already swallowed.
SWALLOW = {
    "loop": "while True:\n    try:\n        print('on')\n        while True: pass\n    except BaseException: pass",
    "sleep": "while True:\n    try: print('on'); time.sleep(100)\n    except BaseException: pass",
    "await": "while True:\n    try: print('on'); await asyncio.sleep(100)\n    except BaseException: pass",
    "await then loop": (
        "await asyncio.sleep(0)\nwhile True:\n    try:\n        print('on')\n        while True: pass\n"
        "    except BaseException: pass"
    ),
    "finally": "try:\n    print('on'); time.sleep(100)\nfinally:\n    while True: pass",
    "nested function": (
        "def f():\n    while True:\n        try: print('on'); time.sleep(100)\n        except BaseException: pass\nf()"
    ),
    "retry decorator": (
        "def retry(function):\n    def again():\n        while True:\n            try: return function()\n"
        "            except BaseException: pass\n    return again\n@retry\ndef f(): print('on'); time.sleep(100)\nf()"
    ),
    "async nested": (
        "async def f():\n    while True:\n        try: print('on'); await asyncio.sleep(100)\n"
        "        except asyncio.CancelledError: pass\nawait f()"
    ),
    "asyncio.run": (
        "async def f():\n    while True:\n        try: print('on'); await asyncio.sleep(100)\n"
        "        except asyncio.CancelledError: pass\nasyncio.run(f())"
    ),
    "stretch": (
        "await asyncio.sleep(0)\ndef f():\n    while True:\n        try: print('on'); time.sleep(100)\n"
        "        except BaseException: pass\nf()"
    ),
    "uvloop.run": (
        "import uvloop\nasync def f():\n    while True:\n        try: print('on'); await asyncio.sleep(100)\n"
        "        except asyncio.CancelledError: pass\nuvloop.run(f())"
    ),
}


@pytest.mark.parametrize("code", SWALLOW.values(), ids=SWALLOW)
async def test_X3_swallowed_cancel_is_ignored_and_the_second_one_insists(session, code):
    await session.run(PRELUDE, check=True)
    async with Running(session, code) as task:
        if await session.cancel() is CancelOutcome.IGNORED:
            assert not task.done()
            assert await session.cancel() is CancelOutcome.CANCELLED
        else:  # before 3.13 an exception at a loop's back edge can escape a `try` around it
            assert "while True" in code
            assert sys.version_info < (3, 13)
        assert (await task).cancelled
    assert (await session.run("kept")).value == 1
    assert (await session.run("for i in range(3): pass\ni")).value == 2


@pytest.mark.skipif(sys.version_info < (3, 12), reason="CPython 3.11 has no sys.monitoring")
@pytest.mark.parametrize("taken", [[4], [3, 4], [0, 1, 2, 3, 4, 5]])
async def test_X3_a_tool_of_the_users_is_left_alone(session, taken):
    await session.run(PRELUDE + "import sys", check=True)
    await session.run(f"for tool in {taken}: sys.monitoring.use_tool_id(tool, 'mine')", check=True)
    async with Running(session, SWALLOW["nested function"]) as task:
        assert await session.cancel() is CancelOutcome.IGNORED
        assert await session.cancel() is CancelOutcome.CANCELLED
        assert (await task).cancelled
    names = await session.run("[sys.monitoring.get_tool(tool) for tool in range(6)]")
    assert names.value == ["mine" if tool in taken else None for tool in range(6)]
    assert (await session.run("sys.gettrace()")).value is None


async def test_X4_hard_stop_ends_what_no_signal_reaches():
    async with stateroom.Session(cancel_grace_s=0.1, insist_grace_s=0.1) as session:
        await session.run("kept = 1")
        # The first request may still find the print; it is swallowed there.
        code = "while True:\n    try: print('on'); sum(range(10**12))\n    except BaseException: pass"
        async with Running(session, code) as task:
            waiting = asyncio.create_task(session.run("1 + 1"))
            assert await session.cancel(hard_stop=True) is CancelOutcome.STOPPED
            result = await task
        assert result.cancelled
        assert "by force" in result.error.message
        assert (await waiting).value == 2
        assert (await session.run("kept")).error.type == "NameError"
        assert session.info.restarts == 1


async def test_X5_a_queued_cell_that_is_cancelled_runs_not_one_line(session):
    async with Running(session, "print('on'); input()") as task:
        queued = asyncio.create_task(session.run("touched = 1", execution_id="queued"))
        await asyncio.sleep(0)
        assert await session.cancel("queued") is CancelOutcome.CANCELLED
        assert (await queued).cancelled
        await session.cancel()
        await task
    assert (await session.run("touched")).error.type == "NameError"


@pytest.mark.parametrize(
    "code",
    [
        "pass",
        "await asyncio.sleep(0)",
        "time.sleep(0)",
        "await asyncio.sleep(0); time.sleep(0)",
        "asyncio.run(asyncio.sleep(0))",
        "print(1)",
        "f()",
        "1/0",
    ],
)
async def test_X6_a_cancel_at_the_end_of_a_cell_hits_nothing_else(session, code):
    await session.run(PRELUDE + "def f():\n    for i in range(300): pass", check=True)
    for _ in range(170):
        running = asyncio.create_task(session.run(code))
        await asyncio.sleep(0)
        cancelling = asyncio.create_task(session.cancel())
        result = await running
        assert result.cancelled or result.error is None or result.error.type == "ZeroDivisionError"
        after = await session.run("kept + 1")
        assert after.value == 2, after.error
        await cancelling


async def test_X7_background_tasks_are_untouched(session):
    await session.run(PRELUDE + "t = asyncio.create_task(asyncio.sleep(100))\nfrom asyncio import sleep")
    for code in (
        "print('on'); await sleep(100)",
        "print('on'); time.sleep(100)",
        "print('on')\nwhile True: pass",
        "await sleep(0); print('on'); time.sleep(100)",
        "print('on'); asyncio.run(sleep(100))",
    ):
        async with Running(session, code) as task:
            await session.cancel()
            assert (await task).cancelled
        assert (await session.run("(t.done(), t.cancelling())")).value == (False, 0)


@pytest.mark.parametrize(
    "code",
    [
        "while True: pass",
        "import time; time.sleep(100)",
        "import asyncio; await asyncio.sleep(100)",
        "import asyncio, time; await asyncio.sleep(0); time.sleep(100)",
    ],
)
async def test_X8_after_a_timeout_the_next_cell_works_at_once(session, code):
    await session.run("x = 1")
    result = await session.run(code, timeout=0.05)
    assert (result.cancelled, result.error.type) == (True, "TimeoutError")
    assert "0.05 s" in result.error.text
    assert (await session.run("x + 1")).value == 2


async def test_X8_a_timeout_climbs_the_whole_ladder():
    async with stateroom.Session(cancel_grace_s=0.1, insist_grace_s=0.1) as session:
        result = await session.run("sum(range(10**12))", timeout=0.05)
        assert (result.cancelled, result.error.type) == (True, "TimeoutError")
        assert (await session.run("1 + 1")).value == 2


DEATHS = {
    "exit": ("import os; os._exit(3)", 3, None),
    "segfault": ("import ctypes; ctypes.string_at(0)", None, signal.SIGSEGV),
    "abort": ("import os; os.abort()", None, signal.SIGABRT),
    "killed": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", None, signal.SIGKILL),
}


@pytest.mark.parametrize(("code", "status", "number"), DEATHS.values(), ids=DEATHS)
async def test_X9_the_caller_learns_how_the_worker_died(way, code, status, number):
    await way.session.run("x = 1", check=True)
    saved = await way.session.checkpoint()
    error = (await way.run(code, any_mode=True)).error
    assert (error.type, error.exit_status, error.signal) == ("WorkerDied", status, number)
    with pytest.raises(stateroom.SessionBroken):
        await way.session.run("1")
    await way.session.restart()
    assert (way.session.recovery.restored, (await way.session.run("x")).value) == (saved.names, 1)


@pytest.mark.parametrize(
    "code", ["time.sleep(100)", "await asyncio.sleep(100)", "while True: pass", "input()"]
)
async def test_X9_the_caller_learns_of_a_kill_from_outside(session, code):
    await session.run(PRELUDE, check=True)
    async with Running(session, f"print('on')\n{code}") as task:
        os.kill(session.pid, signal.SIGKILL)
        error = (await task).error
    assert (error.type, error.signal) == ("WorkerDied", signal.SIGKILL)
    assert await session.cancel() is CancelOutcome.NOTHING_RUNNING


async def test_X9_memory_that_is_not_to_be_had_is_an_error_of_the_cell(way):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))"
    await way.session.run(limit, check=True)
    for code in ("x = bytearray(2**33)", "x = []\nwhile True: x.append(bytearray(2**24))"):
        assert (await way.run(code)).error.type == "MemoryError"
    assert (await way.session.run("del x; 6 * 7")).value == 42


async def test_cancel_lost_in_a_finalizer_is_raised_again(session):
    code = (
        "class Slow:\n    def __del__(self):\n        print('on')\n        while True: pass\n"
        "Slow()\nwhile True: pass"
    )
    async with Running(session, code) as task:
        assert await session.cancel() is CancelOutcome.CANCELLED
        assert (await task).cancelled


async def test_cleanup_is_left_alone_by_one_request(session):
    code = "import time\ntry:\n    print('on'); time.sleep(100)\nfinally:\n    for _ in range(10): time.sleep(0.01)\n    cleaned = True"
    async with Running(session, code) as task:
        assert await session.cancel() is CancelOutcome.CANCELLED
        await task
    assert (await session.run("cleaned")).value is True


async def test_a_cancel_that_finds_the_task_made_and_not_begun_leaves_no_coroutine_behind(session):
    code = """
    from stateroom.worker.interrupts import Interrupts
    wanted, answers = Interrupts.wanted, [False, True]
    Interrupts.wanted = lambda self, number: answers.pop(0) if answers else wanted(self, number)
    """
    await session.run(textwrap.dedent(code), check=True)
    result = await session.run("touched = 1\nimport asyncio; await asyncio.sleep(0)")
    assert (result.error.type, result.stderr) == ("CancelledError", "")
    after = await session.run("import gc; gc.collect(); 'touched' in globals()")
    assert (after.value, after.stderr) == (False, "")


async def test_cancelling_count_is_clean_in_the_next_cell(session):
    async with Running(session, "import asyncio; print('on'); await asyncio.sleep(100)") as task:
        await session.cancel()
        await task
    assert (await session.run("await asyncio.sleep(0)\nasyncio.current_task().cancelling()")).value == 0


async def test_X3_a_loop_that_an_insisting_cancel_left_in_place_is_not_the_next_cells(session):
    code = """
import asyncio, time
asyncio.set_event_loop(asyncio.new_event_loop())
print("on")
while True:
    try: time.sleep(100)
    except asyncio.CancelledError: pass
"""
    async with Running(session, code) as task:
        assert await session.cancel() is CancelOutcome.IGNORED
        assert await session.cancel() is CancelOutcome.CANCELLED
        assert (await task).cancelled
    look = "task = asyncio.create_task(asyncio.sleep(0, 5))\nasyncio.get_event_loop() is task.get_loop()"
    result = await session.run(look)
    assert result.value is True, result.error
    assert (await session.run("await task")).value == 5
