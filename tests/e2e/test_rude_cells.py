"""Cells that change what the worker itself stands on: its streams, its signals, its loop."""

from __future__ import annotations

from textwrap import dedent

import pytest
from watching import begun

import stateroom

RUDE = {
    "stdin without closed": "class F:\n    def readline(self): return 'x'\nsys.stdin = F()",
    "no stdin": "del sys.stdin",
    "no stdout": "del sys.stdout, sys.stderr",
    "a stream that exits": (
        "class F:\n    def write(self, text): return len(text)\n    def flush(self): raise SystemExit(3)\nsys.stdout = F()"
    ),
    "other threads": "import threading; threading.current_thread = threading.Lock = threading.Thread = None",
}


@pytest.mark.parametrize("rude", RUDE.values(), ids=RUDE)
async def test_the_next_cell_runs_all_the_same(rude):
    async with stateroom.Session(auto_restart=False) as session:
        await session.run(f"import sys\n{rude}", check=True)
        assert (await session.run("import time; time.sleep(0.02); 6 * 7", check=True)).value == 42
        assert (await session.run("await __import__('asyncio').sleep(0); 6 * 7", check=True)).value == 42


@pytest.mark.parametrize("rude", ["import sys; sys.path.clear()", "import sys; sys.path = None"])
async def test_a_script_after_a_path_that_was_destroyed(rude, tmp_path):
    async with stateroom.Session(auto_restart=False) as session:
        await session.run(rude, check=True)
        script = await session.run("6 * 7", filename=str(tmp_path / "script.py"), argv=["script.py"])
        assert script.value == 42 or script.error.type == "TypeError"
        assert session.state == "idle"


HANDLER = """
import signal, sys, time
seen = []
def handler(*_):
    seen.append(1)
    print("H", file={stream})
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
count = 0
while len(seen) < 300:
    count += 1
    {body}
signal.setitimer(signal.ITIMER_REAL, 0)
len(seen), count
"""
BODIES = {
    "lines": ("sys.stdout", "print('o')"),
    "both streams": ("sys.stdout", "print('o'); print('e', file=sys.stderr)"),
    "the other stream": ("sys.stderr", "print('o')"),
    "large": ("sys.stdout", "print('o' * 400_000)"),
    "pieces": ("sys.stdout", "print('o', end=''); sys.stdout.flush()"),
}


@pytest.mark.parametrize(("stream", "body"), BODIES.values(), ids=BODIES)
async def test_a_signal_handler_that_prints_inside_of_a_print_loses_nothing(stream, body):
    async with stateroom.Session(max_output_bytes=None) as session:
        result = await session.run(HANDLER.format(stream=stream, body=body), check=True)
        seen, count = result.value
        text = result.stdout + result.stderr
        assert text.count("H") == seen
        assert text.count("o") == count * (400_000 if "400_000" in body else 1)
        assert result.stderr.count("e") == (count if "stderr" in body else 0)
        assert ("H" in result.stderr) == (stream == "sys.stderr")


LATE_ALARM = """
import asyncio, os, signal, time
def handler(*_): raise TimeoutError("a late alarm")
signal.signal(signal.SIGALRM, handler)
async def hold():
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    while signal.getitimer(signal.ITIMER_REAL)[0]: pass
    time.sleep(0.1)
task = asyncio.get_running_loop().create_task(hold())
time.sleep(0.03)
"""


async def test_a_signal_handler_that_raises_while_the_worker_waits_for_its_loop():
    async with stateroom.Session(auto_restart=False) as session:
        late = []
        session.on_late_output = lambda message: late.append(message.data)
        await session.run(LATE_ALARM, check=True)
        assert (await session.run("await task; 6 * 7", check=True)).value == 42
        assert "a late alarm" in "".join(late)


async def test_close_during_a_cell_lets_background_tasks_clean_up(tmp_path):
    proof = tmp_path / "proof"
    session = stateroom.Session()
    async with session:
        code = f"""
            import asyncio, time
            async def work():
                try:
                    await asyncio.sleep(60)
                finally:
                    await asyncio.sleep(0)
                    asyncio.get_running_loop().stop()
                    await asyncio.sleep(0)
                    open({str(proof)!r}, "w").close()
            task = asyncio.create_task(work())
            await asyncio.sleep(0)
            """
        await session.run(dedent(code), check=True)
        cell = await begun(session, "print(flush=True); time.sleep(60)")
    assert proof.exists()
    assert (await cell).cancelled
