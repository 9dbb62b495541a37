"""Processes that a cell forks: what they write, how they end, and what they leave alone."""

import asyncio
import sys

import pytest

FORK = """
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
def child(function):
    'Run it in a forked child that leaves it as a script would; the exit status.'
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    function()
    sys.exit(0)
"""


@pytest.fixture
async def forking(session):
    await session.run(FORK, check=True)
    return session


async def test_O1_what_a_forked_child_writes_is_the_cells(forking):
    seen = []
    code = "print('before')\nchild(lambda: (print('child', 1), os.write(1, b'raw\\n'), os.system('echo sh')))\nprint('after')"
    result = await forking.run(code, on_output=seen.append, check=True)
    assert result.stdout == "before\nchild 1\nraw\nsh\nafter\n"
    assert {message.execution_id for message in seen} == {result.execution_id}


async def test_O1_a_child_writes_whole_lines(forking):
    code = """
def lines(name):
    for number in range(200): print(name, number, name, number)
if pid := os.fork():
    lines("parent")
    os.waitpid(pid, 0)
else:
    lines("child")
    os._exit(0)
"""
    text = (await forking.run(code, check=True)).stdout
    for number in range(200):
        text = text.replace(f"child {number} child {number}\n", "", 1)
    assert text == "".join(f"parent {number} parent {number}\n" for number in range(200))


async def test_O1_a_child_of_multiprocessing_writes_its_last_unfinished_line(forking):
    code = (
        "import multiprocessing\nprocess = multiprocessing.get_context('fork').Process("
        "target=lambda: print('unfinished', end=''))\nprocess.start(); process.join()\nprint(' line')"
    )
    assert (await forking.run(code, check=True)).stdout == "unfinished line\n"


@pytest.mark.parametrize(
    ("leave", "status", "stderr"),
    [
        ("None", 0, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit(0)", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("sys.exit('no more')", 1, "no more\n"),
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
        ("os._exit(5)", 5, ""),
    ],
)
async def test_a_child_ends_as_a_script_does(forking, leave, status, stderr):
    result = await forking.run(f"child(lambda: {leave})", check=True)
    assert (result.value, result.stdout) == (status, "")
    assert result.stderr.endswith(stderr)
    assert bool(result.stderr) == bool(stderr)


async def test_a_child_that_falls_out_of_the_cell_has_ended_well(forking):
    result = await forking.run("pid = os.fork()\nprint(pid == 0)\nif pid: print(os.waitpid(pid, 0)[1])")
    assert sorted(result.stdout.splitlines()) == ["0", "False", "True"]
    assert (await forking.run("6 * 7")).value == 42


async def test_O1_a_grandchild_that_outlives_its_cell_does_not_hold_it_up(forking):
    """It holds the pipes open, and writes when it is told to, which is after the result."""
    later = asyncio.Queue()  # it may come while a cell runs, or none
    forking.on_late_output = later.put_nowait
    code = """
read, write = os.pipe()
if os.fork() == 0:
    os.setsid()
    os.close(write)
    if os.fork() == 0:
        os.read(read, 1)
        print("grandchild")
        os._exit(0)
    os._exit(0)
os.wait()
print("parent")
"""
    result = await forking.run(code, check=True)
    assert result.stdout == "parent\n"
    await forking.run("os.close(write)", on_output=later.put_nowait)
    assert (await later.get()).data == "grandchild\n"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_a_child_has_nothing_of_the_session_in_its_hands(forking):
    code = "child(lambda: print(len([fd for fd in os.listdir('/proc/self/fd') if 'socket' in os.readlink(f'/proc/self/fd/{fd}')])))"
    before = await forking.run("len(os.listdir('/proc/self/fd'))")
    await forking.run(code, check=True)
    assert (await forking.run("len(os.listdir('/proc/self/fd'))")).value == before.value
