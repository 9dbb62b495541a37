"""Row O4 of the semantics: what cells ask for."""

import asyncio
import sys

import pytest

import stateroom
from stateroom import CancelOutcome

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
