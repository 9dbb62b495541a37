"""Row O2 of the semantics: much output, clients that read slowly or not at all, and the limits of output."""

import asyncio
import gc

import psutil
import pytest

import stateroom
from stateroom import CancelOutcome, OutputMessage

ROOM_BYTES = 64 << 20
"""How much either process may grow while nobody reads; a cell that prints writes this in less than a second."""


async def test_O2_two_hundred_thousand_lines(way):
    result = await way.run("for number in range(200_000): print(number)", check=True)
    assert result.stdout == "".join(f"{number}\n" for number in range(200_000))
    assert result.notes == []


@pytest.mark.parametrize(
    "write",
    [
        "print('x' * 50_000_000)",
        "import os\nfor _ in range(500): os.write(1, b'x' * 100_000)\nprint()",
        "import os; os.system('head -c 50000000 /dev/zero | tr \"\\\\0\" x; echo')",
    ],
)
async def test_O2_one_line_of_50_MB(session, write):
    result = await session.run(write + "\n7", check=True)
    assert len(result.stdout) == 50_000_001
    assert result.stdout.count("x") == 50_000_000
    assert result.value == 7


async def test_O2_a_long_line_is_not_cut_inside_a_character(session):
    chunks = []
    text = "aé€😀" * 500_000
    await session.run("print('aé€😀' * 500_000)", on_output=lambda m: chunks.append(m.data), check=True)
    assert len(chunks) > 1
    assert "".join(chunks) == text + "\n"


async def test_O2_a_client_that_reads_slowly_gets_everything(session):
    parts = []
    async for message in session.execute("for number in range(100_000): print(number, 'x' * 50)"):
        if isinstance(message, OutputMessage):
            parts.append(message.data)
            await asyncio.sleep(0.001)
    lines = "".join(parts).splitlines()
    assert [line.partition(" ")[0] for line in lines] == list(map(str, range(100_000)))


FLOODS = {
    "lines": "while True: print('x' * 100)",
    "unfinished lines": "while True: print('x' * 100, end='')",
    "flushes": "while True: print('x', flush=True)",
    "large": "while True: print('x' * 3_000_000)",
    "stderr": "import sys\nwhile True: sys.stderr.write('x' * 1000)",
    "descriptor": "import os\nwhile True: os.write(1, b'x' * 5000)",
    "child": "import subprocess\nsubprocess.run(['yes'])",
    "thread": (
        "import threading\ndef flood():\n    while True: print('x' * 100)\n"
        "thread = threading.Thread(target=flood, daemon=True)\nthread.start()\nthread.join()"
    ),
    "await": "import asyncio\nwhile True:\n    print('x' * 100)\n    await asyncio.sleep(0)",
    "displays": "while True: display('x' * 100_000)",
}


async def until_stuck(process):
    """Return when this process, and all below it, have come to wait for something.

    No event tells that nothing goes on: it is seen in that none has used time between one look and the next.
    """

    def used():
        family = [process, *process.children(recursive=True)]
        return [(each.pid, each.cpu_times()[:2]) for each in family]

    before, same = used(), 0
    while same < 5:
        await asyncio.sleep(0.02)
        after = used()
        same = same + 1 if after == before else 0
        before = after


@pytest.mark.parametrize("kind", FLOODS)
async def test_O2_a_client_that_stops_reading_stops_the_cell_and_can_still_cancel_it(kind):
    no_limits = {"max_output_bytes": None, "max_display_bytes": None, "heartbeat_interval_s": 0.0}
    async with stateroom.Session(**no_limits) as session:
        await session.run("1")
        gc.collect()
        here, worker = psutil.Process(), psutil.Process(session.info.pid)
        before = here.memory_info().rss, worker.memory_info().rss
        messages = aiter(session.execute(FLOODS[kind]))
        await anext(messages)
        await until_stuck(worker)
        assert worker.memory_info().rss - before[1] < ROOM_BYTES
        assert await session.cancel() is CancelOutcome.CANCELLED
        assert here.memory_info().rss - before[0] < ROOM_BYTES
        last = [message async for message in messages][-1]
        assert isinstance(last, stateroom.protocol.messages.ErrorMessage)
        assert last.cancelled
        if kind == "thread":
            return  # it goes on flooding, as a thread may
        assert (await session.run("1 + 1")).value == 2


async def test_O2_a_client_that_stops_reading_can_close_the_session():
    async with stateroom.Session(max_output_bytes=None) as session:
        messages = aiter(session.execute(FLOODS["lines"]))
        await anext(messages)
        await until_stuck(psutil.Process(session.info.pid))
    last = [message async for message in messages][-1]
    assert last.cancelled


async def test_O2_a_client_that_goes_away_in_a_flood_leaves_a_session_that_works(session):
    messages = aiter(session.execute(FLOODS["lines"]))
    await anext(messages)
    await messages.aclose()
    assert (await session.run("1 + 1")).value == 2


async def test_O2_what_has_ended_holds_nobody_up(session):
    """Nobody consumes the rest of a cell that has ended: the next one runs all the same."""
    messages = aiter(session.execute("print('on')\nfor _ in range(40): print('x' * 50_000)"))
    await anext(messages)
    assert (await session.run("1 + 1")).value == 2
    assert len([message async for message in messages]) > 1


async def test_O2_a_worker_that_dies_unread_is_reported(session):
    messages = aiter(session.execute("import os\nfor _ in range(30): print('x' * 50_000)\nos._exit(3)"))
    await anext(messages)
    rest = [message async for message in messages]
    assert rest[-1].error.exit_status == 3
    assert sum(message.data.count("x") for message in rest[:-1]) <= 30 * 50_000


# Output limits


@pytest.mark.parametrize(
    "write",
    [
        "for _ in range(1000): print('x' * 99)",
        "print('x' * 100_000)",
        "import os\nfor _ in range(1000): os.write(1, b'x' * 100)",
        "import os; os.system('head -c 100000 /dev/zero | tr \"\\\\0\" x')",
        "import sys\nfor _ in range(1000): sys.stderr.write('x' * 100)",
    ],
)
async def test_output_over_the_limit_is_cut_once_and_the_result_is_there(write):
    async with stateroom.Session(max_output_bytes=1000) as session:
        result = await session.run(write + "\n7", check=True)
        text = result.stdout + result.stderr
        assert text.count("[output cut: ") == 1
        assert text.endswith("max_output_bytes is 1000]\n")
        assert 990 <= text.index("[output cut: ") <= 1001
        assert result.value == 7
        assert [note.split(" with ")[0] for note in result.notes] in (
            ["output cut: 99000 bytes"],
            ["output cut: 99001 bytes"],
        )
        again = await session.run("print('fresh')")
        assert (again.stdout, again.notes) == ("fresh\n", [])


async def test_lines_over_the_limit_are_cut_and_an_error_is_still_an_error():
    async with stateroom.Session(max_output_lines=2) as session:
        result = await session.run("for number in range(5): print(number)\n1/0")
        assert result.error.type == "ZeroDivisionError"
        assert result.stdout.splitlines()[:2] == ["0", "1"]
        assert len(result.stdout.splitlines()) == 3
        assert result.notes == ["output cut: 6 bytes with 3 line ends left out, max_output_lines is 2"]


async def test_late_output_is_not_counted():
    late = []
    async with stateroom.Session(max_output_bytes=10) as session:
        session.on_late_output = lambda message: late.append(message.data)
        code = "import threading\ngo = threading.Event()\nt = threading.Thread(target=lambda: (go.wait(), print('x' * 100)))\nt.start()"
        await session.run(code)
        result = await session.run("go.set(); t.join(); print('own')")
        assert (result.stdout, result.notes) == ("own\n", [])
        assert "".join(late) == "x" * 100 + "\n"
