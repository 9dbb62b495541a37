"""Rows O1, O3 and O5 of the semantics: all that is written arrives in order, with its cell, as it is."""

import asyncio

import pytest

import stateroom


def joined(messages):
    """What was written, one entry for each run of the same stream."""
    runs = []
    for message in messages:
        if runs and runs[-1][0] == message.stream:
            runs[-1][1] += message.data
        else:
            runs.append([message.stream, message.data])
    return runs


# O1: every way to write

EVERY_WAY = r"""
import ctypes, os, subprocess, sys
print("print")
sys.stderr.write("stderr\n")
os.write(1, b"os.write\n")
os.system("echo system")
subprocess.run(["echo", "subprocess"])
os.write(2, b"os.write to 2\n")
print("between two descriptors")
ctypes.CDLL(None).printf(b"printf\n")
sys.stdout.buffer.write(b"buffer\n")
sys.__stdout__.write("__stdout__\n")
os.system("echo system to 2 >&2")
print("last, without a line end", end="")
"""


async def test_O1_all_that_is_written_arrives_in_order_before_the_result(way):
    seen = []
    result = await way.run(EVERY_WAY, on_output=seen.append, check=True, any_mode=True)
    assert joined(seen) == [
        ["stdout", "print\n"],
        ["stderr", "stderr\n"],
        ["stdout", "os.write\nsystem\nsubprocess\n"],
        ["stderr", "os.write to 2\n"],
        ["stdout", "between two descriptors\nprintf\nbuffer\n__stdout__\n"],
        ["stderr", "system to 2\n"],
        ["stdout", "last, without a line end"],
    ]
    assert {message.execution_id for message in seen} == {result.execution_id}
    assert result.stdout == "".join(text for stream, text in joined(seen) if stream == "stdout")
    assert result.stderr == "".join(text for stream, text in joined(seen) if stream == "stderr")


PIECES = """
import os, sys
for _ in range(3):  # the first pieces of a cell go another way than those behind them
    print("a", end="")
    os.write(1, b"b")
    print("c", end="")
    os.system("printf d")
    sys.stdout.write("e\\nf")
    sys.stdout.buffer.write(b"g")
    os.write(1, b"h")
    print()
"""


async def test_O1_pieces_of_lines_keep_their_order_too(way):
    result = await way.run(PIECES, check=True, any_mode=True)
    assert result.stdout == "abcde\nfgh\n" * 3


@pytest.mark.parametrize(
    "change",
    [
        "sys.stdout.reconfigure(encoding='latin-1', errors='replace', write_through=True)",
        "sys.stdout = open(1, 'w', closefd=False, buffering=1)",
        "import io; sys.stdout = io.TextIOWrapper(sys.stdout.buffer, write_through=True)",
    ],
)
async def test_O1_a_stream_that_the_cell_has_changed_keeps_the_order(session, change):
    await session.run("import os, sys; old = sys.stdout", check=True)
    code = f"print('one'); {change}; print('two'); os.write(1, b'three\\n'); print('four', flush=True)"
    try:
        assert (await session.run(code, check=True)).stdout == "one\ntwo\nthree\nfour\n"
    finally:
        await session.run("sys.stdout = old; old.reconfigure(encoding='utf-8', errors='backslashreplace')")


async def test_a_closed_stdout_says_so_and_the_next_cell_can_go_on():
    async with stateroom.Session() as session:
        result = await session.run("import sys; sys.stdout.close(); print('lost')")
        assert (result.error.type, result.error.message) == ("ValueError", "I/O operation on closed file.")
        assert (await session.run("6 * 7")).value == 42


async def test_O1_what_a_process_writes_that_outlives_its_cell_arrives(session):
    late = asyncio.Queue()
    session.on_late_output = late.put_nowait
    code = (
        "import subprocess\np = subprocess.Popen('read line; echo late', shell=True, stdin=subprocess.PIPE)"
    )
    await session.run(code, check=True)
    await session.run("import threading\nt = threading.Timer(0.01, p.stdin.close)\nt.start()", check=True)
    assert (await late.get()).data == "late\n"


# O3: what comes after the end


@pytest.mark.parametrize(
    "start",
    [
        "import threading\nthreading.Thread(target=lambda: (go.wait(), print('late'))).start()",
        "import asyncio\nasync def late():\n    while not go.is_set(): await asyncio.sleep(0)\n    print('late')\nt = asyncio.create_task(late())",
        "import asyncio\nawait asyncio.sleep(0)\nasync def late():\n    while not go.is_set(): await asyncio.sleep(0)\n    print('late')\nt = asyncio.create_task(late())",
        "import asyncio\ndef late():\n    if go.is_set(): print('late')\n    else: asyncio.get_event_loop().call_later(0.001, late)\nlate()",
        "from concurrent.futures import ThreadPoolExecutor\nf = ThreadPoolExecutor(1).submit(lambda: (go.wait(), print('late')))",
    ],
)
async def test_O3_late_output_is_tagged_with_the_cell_that_started_it(session, start):
    late = asyncio.Queue()
    session.on_late_output = late.put_nowait
    await session.run("import threading\ngo = threading.Event()", check=True)
    await session.run(start, execution_id="one", check=True)
    await session.run("go.set()", execution_id="two")
    message = await late.get()
    assert (message.execution_id, message.stream, message.data) == ("one", "stdout", "late\n")


# O5: what is not plain text


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("for n in range(3): print(f'\\r{n}/3', end='')\nprint()", "\r0/3\r1/3\r2/3\n"),
        ("print('\\x1b[1;31mred\\x1b[0m')", "\x1b[1;31mred\x1b[0m\n"),
        ("print('a\\0b\\x7f\\x85\\u2028')", "a\0b\x7f\x85\u2028\n"),
        ("print('a\\r\\nb')", "a\r\nb\n"),
        ("print('\\ud800 and \\udcff')", "\\ud800 and \\udcff\n"),
        ("print('e\\u0301 \U0001f468\u200d\U0001f469')", "e\u0301 \U0001f468\u200d\U0001f469\n"),
        ("import sys; sys.stdout.buffer.write(b'a\\xff\\xfeb\\n')", "a\ufffd\ufffdb\n"),
        ("import os; os.write(1, b'a\\xff\\xfeb\\n')", "a\ufffd\ufffdb\n"),
        ("import os; os.write(1, b'\\xe2\\x82'); os.write(1, b'\\xac')", "€"),
        ("import os; os.write(1, b'\\xe2\\x82'); print('x')", "x\n\ufffd"),
        ("import os; os.system('printf \"a\\\\377b\"')", "a\ufffdb"),
        ("import os; os.write(1, bytes(range(256)) * 1000)", None),
    ],
)
async def test_O5_odd_text_arrives_or_is_replaced(way, code, text):
    result = await way.run(code + ";", check=True, any_mode=True)
    assert text is None or result.stdout == text
    assert (await way.run("print('fine')\n1")).stdout == "fine\n"


async def test_O5_odd_text_in_questions_values_and_errors(session):
    asked = []
    result = await session.run(
        "raise ValueError(input('\\ud800\\x1b[1m\\0'))",
        on_input=lambda m: asked.append(m.prompt) or "\x1b[0m\0",
    )
    assert result.error.message == "\x1b[0m\0"
    assert asked == ["\\ud800\x1b[1m\0"]
    result = await session.run("raise ValueError('\\udcff')")
    assert "\\udcff" in result.error.text
    assert (await session.run("'\\ud800'")).value == "\ud800"


async def test_O5_an_answer_with_a_lone_surrogate_arrives_escaped(session):
    assert (await session.run("input()", on_input=lambda _: "\ud800")).value == "\\ud800"


async def test_O5_replaced_streams_and_closed_descriptors_do_no_harm(session):
    code = "import sys, io\nkept = sys.stdout\nsys.stdout = io.StringIO()\nprint('swallowed')\nsys.stdout = kept\nprint('shown')"
    assert (await session.run(code)).stdout == "shown\n"
    assert (await session.run("import os\nos.close(1)\nos.close(2)\n6 * 7")).value == 42
    result = await session.run("print('still here')\n1")
    assert (result.value, result.stdout) == (1, "still here\n")
