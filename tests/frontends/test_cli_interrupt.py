"""Ctrl-C: the first cancels the cell, the second ends the session at once."""

from __future__ import annotations

import signal

import psutil
import pytest

WAITS = {
    "sleep": "import time\nprint('ready')\ntime.sleep(1000)",
    "loop": "print('ready')\nwhile True: pass",
    "await": "import asyncio\nprint('ready')\nawait asyncio.sleep(1000)",
    "child": "import subprocess\nprint('ready')\nsubprocess.run(['sleep', '1000'])",
    "input": "print('ready')\ninput()",
}
TIDY = "try:\n    {}\nfinally:\n    print('tidied')"
STUBBORN = """
import os, time
while True:
    try:
        print("pid", os.getpid())
        time.sleep(1000)
    except BaseException:
        print("no")
"""


def tidily(code: str) -> str:
    return TIDY.format(code.replace("\n", "\n    "))


@pytest.mark.parametrize("code", WAITS.values(), ids=WAITS)
def test_once_cancels_the_cell_which_may_tidy_up(start, code):
    running = start("exec", tidily(code))
    running.expect("ready")
    running.process.send_signal(signal.SIGINT)
    running.expect("tidied")
    assert running.wait() == 130


@pytest.mark.parametrize("code", WAITS.values(), ids=WAITS)
def test_once_in_a_terminal(start_in_terminal, code):
    running = start_in_terminal("exec", tidily(code))
    running.expect("ready")
    running.type("\x03")
    running.expect("tidied")
    assert running.wait() == 130


def test_twice_ends_the_session_whatever_the_cell_does(start):
    running = start("exec", STUBBORN)
    worker = psutil.Process(int(running.expect(r"pid (\d+)\n")[1]))
    running.process.send_signal(signal.SIGINT)
    running.expect("no")
    running.process.send_signal(signal.SIGINT)
    assert running.wait() == 130
    worker.wait(10)


def test_twice_ends_a_cell_that_no_signal_reaches(start):
    # The first Ctrl-C may still find the print; it is swallowed there.
    code = "import os\nwhile True:\n    try: print('pid', os.getpid(), flush=True); sum(range(10**15))\n"
    running = start("exec", code + "    except BaseException: pass")
    worker = psutil.Process(int(running.expect(r"pid (\d+)\n")[1]))
    running.process.send_signal(signal.SIGINT)
    running.expect("Ctrl-C again ends the session")
    running.process.send_signal(signal.SIGINT)
    assert running.wait() == 130
    worker.wait(10)


def test_the_cells_of_a_killed_command_end_too(start):
    running = start("exec", "import os, time\nprint('pid', os.getpid())\ntime.sleep(1000)")
    worker = psutil.Process(int(running.expect(r"pid (\d+)\n")[1]))
    running.process.kill()
    worker.wait(10)
