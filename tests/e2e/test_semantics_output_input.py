"""Rows O1 to O5 of the semantics: what cells write and ask for."""

import asyncio
import gc
import sys

import psutil
import pytest

import stateroom
from stateroom import CancelOutcome, OutputMessage

ROOM_BYTES = 64 << 20
"""How much either process may grow while nobody reads; a cell that prints writes this in less than a second."""


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


# O2: much output, slow clients


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
    "unfinished lines": "while True: print('x', end='')",
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
    """Return when this process, and all below it, have come to wait for something."""

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


# O4: input

IN_A_THREAD = """
import threading
got = []
ended = threading.Event()
def ask():
    try: got.append(%s)
    except BaseException as error: got.append(type(error).__name__)
    ended.set()
threading.Thread(target=ask).start()
ended.wait()
got[0]
"""


async def test_O4_input_and_getpass_are_asked_of_the_host(way):
    asked = []

    async def on_input(message):
        asked.append((message.prompt, message.password, message.execution_id))
        return f"answer {len(asked)} é"

    code = "import getpass, sys\nprint('before', end='')\n[input('name? '), getpass.getpass('secret: '), sys.stdin.readline()]"
    seen = []
    result = await way.run(code, on_input=on_input, on_output=seen.append, check=True, any_mode=True)
    assert result.value == ["answer 1 é", "answer 2 é", "answer 3 é\n"]
    cell = result.execution_id
    assert asked == [("name? ", False, cell), ("secret: ", True, cell), ("", False, cell)]
    assert result.stdout == "before"


async def test_O4_what_was_printed_comes_before_the_question(way):
    order = []
    await way.run(
        "import os\nos.write(1, b'a')\nprint('b', end='')\ninput('?')",
        on_output=lambda message: order.append(message.data),
        on_input=lambda message: order.append(message.prompt) or "",
        any_mode=True,
    )
    assert "".join(order) == "ab?"


async def test_O4_a_thread_asks_for_its_cell(session):
    asked = []
    result = await session.run(
        IN_A_THREAD % "input('in thread? ')", on_input=lambda message: asked.append(message) or "yes"
    )
    assert result.value == "yes"
    assert [(message.prompt, message.execution_id) for message in asked] == [
        ("in thread? ", result.execution_id)
    ]


async def test_O4_a_thread_is_answered_after_the_end_of_its_cell(session):
    answer = asyncio.get_running_loop().create_future()
    code = "import threading\ngot = []\nthread = threading.Thread(target=lambda: got.append(input('?')))\nthread.start()"
    asked = asyncio.Event()

    async def on_input(_message):
        asked.set()
        return await answer

    await session.run(code, on_input=on_input, check=True)
    await asked.wait()
    assert (await session.run("thread.is_alive()")).value is True
    answer.set_result("late")
    assert (await session.run("thread.join(); got")).value == ["late"]


async def test_O4_a_debugger_in_a_cell(way):
    asked = []
    answers = iter(["p x", "globals().update(x=42)", "c"])
    result = await way.run(
        "x = 41\nbreakpoint()\nx",
        on_input=lambda message: asked.append(message.prompt) or next(answers),
        check=True,
        any_mode=True,
    )
    assert asked == ["(Pdb) "] * 3
    assert "41\n" in result.stdout
    assert result.value == 42


async def test_O4_a_debugger_in_a_thread(session):
    answers = iter(["p 6 * 7", "c"])
    code = "import threading\ndef work():\n    breakpoint()\nt = threading.Thread(target=work)\nt.start()\nt.join()"
    result = await session.run(code, on_input=lambda _: next(answers), check=True)
    assert "42\n" in result.stdout


ASKS = {
    "input": "input('?')",
    "getpass": "__import__('getpass').getpass()",
    "readline": "__import__('sys').stdin.readline()",
    "debugger": "breakpoint()",
}


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
async def test_O4_cancel_wakes_what_waits_for_an_answer(way, ask):
    asked = asyncio.Event()

    async def on_input(_message):
        asked.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(way.run(f"kept = 1\n{ask}", on_input=on_input, any_mode=True))
    await asked.wait()
    assert await way.session.cancel() is CancelOutcome.CANCELLED
    assert (await running).cancelled
    assert (await way.session.run("kept + int(input())", on_input=lambda _: "1")).value == 2


async def test_O4_cancel_of_a_cell_whose_thread_asks_ends_both(session):
    asked = asyncio.Event()

    async def on_input(_message):
        asked.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(session.run(IN_A_THREAD % "input('?')", on_input=on_input))
    await asked.wait()
    assert await session.cancel() is CancelOutcome.CANCELLED
    assert (await running).cancelled
    assert (await session.run("ended.wait(); got")).value == ["EOFError"]


@pytest.mark.parametrize("prefix", ["", "await asyncio.sleep(0)\n"], ids=["sync", "async"])
@pytest.mark.parametrize("ask", ["input('?')", "__import__('getpass').getpass()"])
async def test_O4_no_answer_in_time_is_a_timeout(prefix, ask):
    async with stateroom.Session(input_timeout_s=0.05) as session:
        never = asyncio.Event()
        await session.run("import asyncio")
        result = await session.run(prefix + ask, on_input=lambda _: never.wait())
        assert (result.error.type, result.cancelled) == ("TimeoutError", False)
        assert "0.05 s" in result.error.message
        in_thread = await session.run(IN_A_THREAD % ask, on_input=lambda _: never.wait())
        assert in_thread.value == "TimeoutError"
        assert (await session.run("input()", on_input=lambda _: "in time")).value == "in time"


def end_of_file(_message):
    raise EOFError


@pytest.mark.parametrize("call", ["input(1, 2)", "input(prompt='?')"])
async def test_input_called_wrongly_says_what_the_builtin_says(way, call):
    with pytest.raises(TypeError) as caught:
        eval(call)
    error = (await way.run(call, any_mode=True)).error
    assert (error.type, error.message) == ("TypeError", str(caught.value))


@pytest.mark.parametrize("on_input", [None, end_of_file], ids=["no callback", "EOFError"])
async def test_O4_no_input_is_end_of_file(way, on_input):
    assert (await way.run("input('?')", on_input=on_input, any_mode=True)).error.type == "EOFError"
    assert (
        await way.run("__import__('getpass').getpass()", on_input=on_input, any_mode=True)
    ).error.type == "EOFError"
    assert (await way.run("__import__('sys').stdin.read()", on_input=on_input, any_mode=True)).value == ""
    quit_error = "SystemExit" if sys.version_info >= (3, 14) else "BdbQuit"  # as pdb has it
    assert (await way.run("breakpoint()", on_input=on_input, any_mode=True)).error.type == quit_error
    assert (await way.session.run(IN_A_THREAD % "input('?')", on_input=on_input)).value == "EOFError"
    assert (await way.run("1 + 1")).value == 2


async def test_O4_a_stream_is_answered_by_the_id_of_the_question(session):
    last = None
    async for last in session.execute("[input('a'), input('b')]"):
        if isinstance(last, stateroom.InputMessage):
            session.input_response(last.input_id, None if last.prompt == "c" else last.prompt * 2)
    assert last.repr == "['aa', 'bb']"


async def test_O4_a_question_is_answered_once(session):
    refused = []

    def on_input(message):
        session.input_response(message.input_id, "first")
        with pytest.raises(stateroom.errors.InputRefused) as error:
            session.input_response(message.input_id, "second")
        refused.append(error)
        return "third"

    result = await session.run("input()", on_input=on_input)
    assert result.value == "first"
    assert len(refused) == 1


async def test_O4_threads_that_wait_for_an_answer_do_not_hold_up_the_end():
    session = stateroom.Session(close_grace_s=30)
    await session.start()
    asked = asyncio.Event()
    never = asyncio.Event()

    def on_input(_message):
        asked.set()
        return never.wait()

    await session.run("import threading\nthreading.Thread(target=input).start()", on_input=on_input)
    await asked.wait()
    await session.close()
    assert session.info.last_exit.endswith("exited with status 0")
    never.set()


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
