"""Handlers of the user's for signals, in real workers: they come at every moment, and harm only user code."""

import asyncio

import pytest

import stateroom

TICK = """
import signal
class Tick(Exception):
    pass
def on_alarm(*_):
    raise Tick
signal.signal(signal.SIGALRM, on_alarm)
"""


async def test_a_handler_that_raises_between_two_cells_costs_nothing_but_its_moment():
    async with stateroom.Session(auto_restart=False) as session:
        await session.run(TICK, check=True)
        pid = session.pid
        for number in range(400):
            moment_s = (number % 200 + 1) * 4e-6
            code = f"_ = signal.setitimer(signal.ITIMER_REAL, {moment_s})\nprint('x' * 10)\nprint('y')"
            result = await session.run(code)
            if result.error is not None:
                assert result.error.type == "Tick", result.error.text
            else:
                assert result.stdout == "x" * 10 + "\ny\n"
        await session.run("_ = signal.setitimer(signal.ITIMER_REAL, 0)")
        assert (await session.run("1 + 1")).value == 2
        assert session.pid == pid


@pytest.mark.parametrize("work", ["print(n, 'x' * 200)", "display(n)", "n + 1", "len(str(n))"])
async def test_the_textbook_time_limit_ends_a_loop_and_is_caught(work):
    code = f"""
import signal
def on_alarm(signum, frame):
    raise TimeoutError("took too long")
before = signal.signal(signal.SIGALRM, on_alarm)
assert signal.getsignal(signal.SIGALRM) is on_alarm
signal.setitimer(signal.ITIMER_REAL, 0.05)
n = 0
try:
    while True:
        {work}
        n += 1
except TimeoutError as error:
    said = str(error)
said
"""
    async with stateroom.Session(max_output_bytes=10_000, max_display_bytes=10_000) as session:
        result = await session.run(code)
    assert (result.value, result.error) == ("took too long", None)


@pytest.mark.parametrize("show", ["display(Loud())", "display(Printing())"])
async def test_what_a_handler_raises_amid_a_repr_ends_the_statement_that_shows_it(show):
    code = """
class Loud:
    def __repr__(self):
        signal.raise_signal(signal.SIGALRM)
        return "loud"
class Printing(Loud):
    def __repr__(self):
        text = super().__repr__()
        print("in the repr")
        return text
"""
    async with stateroom.Session() as session:
        await session.run(TICK + code, check=True)
        result = await session.run(f"{show}\nwhile True: pass")
    assert result.error.type == "Tick"
    assert [display.mime["text/plain"] for display in result.displays] == ["loud"]


async def test_a_handler_runs_while_the_session_is_idle():
    ran = asyncio.Event()
    code = "import signal\n_ = signal.signal(signal.SIGALRM, lambda *_: print('alarm'))"
    async with stateroom.Session() as session:
        session.on_late_output = lambda message: ran.set() if "alarm" in message.data else None
        await session.run(code, check=True)
        await session.run(
            "_ = signal.setitimer(signal.ITIMER_REAL, 0.02)", check=True, on_output=session.on_late_output
        )
        await ran.wait()


async def test_ctrl_c_of_a_worker_that_is_idle_is_reported_and_survived():
    told = asyncio.Event()
    async with stateroom.Session(auto_restart=False) as session:
        session.on_late_output = lambda message: told.set() if "KeyboardInterrupt" in message.data else None
        prelude = "import os, signal, threading\n_ = signal.signal(signal.SIGINT, signal.default_int_handler)"
        await session.run(prelude, check=True)  # it is ignored in what a shell runs in the background
        await session.run(
            "threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT)).start()",
            check=True,
            on_output=session.on_late_output,
        )
        await told.wait()
        assert (await session.run("1 + 1")).value == 2
