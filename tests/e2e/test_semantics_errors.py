"""Rows E1 to E5 of the semantics: errors of cells and of what they leave behind, end to end."""

import asyncio
import sys

import pytest

import stateroom


async def test_E1_an_error_is_data_with_its_place(way):
    await way.session.run("a, b = 1, 0", check=True)
    result = await way.run("x = 1\nz = (a + 1) / b", filename="<mine>")
    line = 2 + way.lines_before
    assert result.error.text == (
        "Traceback (most recent call last):\n"
        f'  File "<mine>", line {line}, in <module>\n'
        "    z = (a + 1) / b\n"
        "        ~~~~~~~~^~~\n"
        "ZeroDivisionError: division by zero\n"
    )
    error = result.error
    assert (error.type, error.module, error.message) == ("ZeroDivisionError", "builtins", "division by zero")
    [frame] = error.frames
    assert (frame.filename, frame.name, frame.source) == ("<mine>", "<module>", "z = (a + 1) / b")
    assert (frame.line, frame.end_line, frame.column, frame.end_column) == (line, line, 4, 15)
    assert (error.cause, error.context, error.group, error.notes) == (None, None, None, [])
    assert result.cancelled is False


async def test_E1_chain_and_notes(way):
    code = """
def fail():
    try:
        {}["key"]
    except KeyError as error:
        error.add_note("look here")
        raise ValueError("no key") from error
try:
    fail()
except ValueError:
    1 / 0
"""
    error = (await way.run(code)).error
    assert (error.type, error.context.type, error.context.cause.type) == (
        "ZeroDivisionError",
        "ValueError",
        "KeyError",
    )
    assert error.context.cause.notes == ["look here"]
    assert [frame.name for frame in error.context.frames] == ["<module>", "fail"]
    assert "The above exception was the direct cause" in error.text
    assert "During handling of the above exception" in error.text
    assert "stateroom" not in error.text


async def test_E1_an_error_whose_text_never_ends_is_described_without():
    async with stateroom.Session(repr_timeout_s=0.05) as session:
        code = "class Odd(Exception):\n    def __str__(self):\n        while True: pass\nkept = 1\nraise Odd"
        error = (await session.run(code)).error
        assert (error.type, error.message) == ("Odd", "<exception str() failed>")
        assert error.frames[-1].source == "raise Odd"
        assert (await session.run("kept")).value == 1


async def test_E1_no_frame_of_the_engine_in_an_awaited_error(awaiting):
    code = "async def inner():\n    await give(1)\n    raise ValueError('inner')\nawait asyncio.create_task(inner())"
    result = await awaiting.run(code)
    assert [frame.name for frame in result.error.frames] == ["<module>", "inner"]
    assert "stateroom" not in result.error.text


async def test_E2_the_line_of_an_earlier_cell_is_shown(way):
    await way.run("# first\ndef f(): 1/0")
    result = await way.run("f()")
    [outer, inner] = result.error.frames
    assert inner.filename != outer.filename
    assert (inner.name, inner.line, inner.source) == ("f", 2 + way.lines_before, "def f(): 1/0")
    assert f'File "{inner.filename}", line {inner.line}, in f\n    def f(): 1/0\n' in result.error.text
    same = await way.run("f()")
    assert same.error.frames[0].filename not in (outer.filename, inner.filename)


async def test_E3_members_of_a_group_are_data(way):
    code = "m = ValueError(1)\nm.add_note('its note')\ne = ExceptionGroup('e', [m, ExceptionGroup('f', [TypeError(2)])])\ne.add_note('group note')\nraise e"
    error = (await way.run(code)).error
    assert (error.type, error.message, error.notes) == (
        "ExceptionGroup",
        "e (2 sub-exceptions)",
        ["group note"],
    )
    assert [(member.type, member.message, member.notes) for member in error.group] == [
        ("ValueError", "1", ["its note"]),
        ("ExceptionGroup", "f (1 sub-exception)", []),
    ]
    assert [(member.type, member.message) for member in error.group[1].group] == [("TypeError", "2")]
    assert "+-+---------------- 1 ----------------" in error.text


async def test_E3_a_task_group_of_the_cell(awaiting):
    code = "async def fail(error):\n    raise error\nasync with asyncio.TaskGroup() as g:\n    g.create_task(fail(ValueError(1)))\n    g.create_task(fail(TypeError(2)))"
    error = (await awaiting.run(code)).error
    assert sorted(member.type for member in error.group) == ["TypeError", "ValueError"]
    assert all(member.frames[-1].name == "fail" for member in error.group)


EXITS = [("SystemExit", "SystemExit(3)", 3), ("KeyboardInterrupt", "KeyboardInterrupt", None)]


@pytest.mark.parametrize(("name", "error", "status"), EXITS)
async def test_E4_an_exit_is_reported_and_the_session_lives(way, name, error, status):
    pid = way.session.info.pid
    result = await way.run(f"kept = 1\nraise {error}")
    assert (result.error.type, result.error.exit_status, result.cancelled) == (name, status, False)
    assert (await way.session.run("kept")).value == 1
    assert way.session.info.pid == pid


@pytest.mark.parametrize(("name", "error", "status"), EXITS)
async def test_E4_in_a_task_that_the_cell_awaits(awaiting, name, error, status):
    await awaiting.run(f"async def fail():\n    await asyncio.sleep(0)\n    raise {error}", check=True)
    group = "async with asyncio.TaskGroup() as g:\n    g.create_task(fail())"
    for code in (
        group,
        "await asyncio.create_task(fail())",
        "await asyncio.gather(fail(), asyncio.sleep(0))",
    ):
        result = await awaiting.run(code)
        assert (result.error.type, result.cancelled) == (name, False), code
        assert (await awaiting.run("1 + 1")).value == 2
    assert (await awaiting.run("await asyncio.sleep(0, 5)")).value == 5


def collected(session):
    """Late output, as it comes."""
    late = asyncio.Queue()
    session.on_late_output = late.put_nowait
    return late


async def text_until(late, execution_id, end):
    """What is printed late on behalf of an execution, up to ``end``."""
    text = ""
    while end not in text:
        message = await late.get()
        assert (message.execution_id, message.stream) == (execution_id, "stderr"), message
        text += message.data
    return text


@pytest.mark.parametrize(("name", "error", "status"), EXITS)
async def test_E4_in_the_background(session, name, error, status):
    late = collected(session)
    await session.run(
        f"import asyncio\nasync def fail():\n    await asyncio.sleep(0)\n    raise {error}", check=True
    )
    await session.run("task = asyncio.create_task(fail()); del task", execution_id="task")
    assert "Traceback" in await text_until(late, "task", name)
    await session.run(
        f"def fail():\n    raise {error}\nasyncio.get_event_loop().call_soon(fail);", execution_id="callback"
    )
    assert "Traceback" in await text_until(late, "callback", name)
    assert (await session.run("await asyncio.sleep(0, 5)")).value == 5
    assert (await session.run("1 + 1")).value == 2


@pytest.mark.parametrize(("name", "error", "status"), EXITS)
async def test_E4_in_the_background_while_a_cell_runs(session, name, error, status):
    await session.run("import asyncio, time", check=True)
    define = f"def fail():\n    raise {error}\nasyncio.get_event_loop().call_soon(fail)\n"
    for wait in ("await asyncio.sleep(0.01)", "time.sleep(0.05)"):
        result = await session.run(define + wait + "\n7")
        assert (result.error, result.value) == (None, 7)
        assert name in result.stderr


async def test_E4_exit_leaves_input_working(way):
    result = await way.run("exit(3)")
    assert (result.error.type, result.error.exit_status) == ("SystemExit", 3)
    result = await way.run(
        "input('? ') + __import__('sys').stdin.readline()", any_mode=True, on_input=lambda _: "yes"
    )
    assert result.value == "yesyes\n"


FAILING_TASK = "import asyncio\nasync def fail():\n    await asyncio.sleep(0)\n    1 / 0\n"


async def test_E5_an_error_that_nobody_retrieves_goes_to_stderr_of_its_cell(way):
    late = collected(way.session)
    await way.session.run(
        "async def fail(seconds=0):\n    await asyncio.sleep(seconds)\n    1 / 0", check=True
    )
    result = await way.run("task = asyncio.create_task(fail(0.02))\ndel task", execution_id="mine")
    text = result.stderr or await text_until(late, "mine", "ZeroDivisionError")
    assert "    1 / 0\n    ~~^~~\nZeroDivisionError: division by zero\n" in text
    assert "in fail" in text
    assert "stateroom" not in text


async def test_E5_while_another_cell_runs_it_is_not_tagged_with_that(session):
    late = collected(session)
    await session.run(
        FAILING_TASK + "gate = asyncio.Event()\nasync def wait():\n    await gate.wait()\n    await fail()",
        check=True,
    )
    await session.run("task = asyncio.create_task(wait()); del task", execution_id="mine")
    result = await session.run("gate.set(); await asyncio.sleep(0.02)\n5", execution_id="other")
    assert (result.value, result.stderr) == (5, "")
    assert "ZeroDivisionError" in await text_until(late, "mine", "ZeroDivisionError")


async def test_E5_a_task_of_a_task_belongs_to_the_same_cell(session):
    late = collected(session)
    code = (
        FAILING_TASK
        + "async def outer():\n    asyncio.create_task(fail())\ntask = asyncio.create_task(outer())"
    )
    result = await session.run(code, execution_id="mine")
    text = result.stderr or await text_until(late, "mine", "ZeroDivisionError")
    assert "1 / 0" in text


async def test_E5_a_retrieved_error_is_not_reported(session):
    collected(session)
    result = await session.run(
        FAILING_TASK
        + "task = asyncio.create_task(fail())\ntry: await task\nexcept ZeroDivisionError: pass\ndel task\n5"
    )
    assert (result.value, result.stderr) == (5, "")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="needs a task factory that takes a context")
async def test_E5_with_an_eager_task_factory(session):
    late = collected(session)
    await session.run(
        FAILING_TASK + "asyncio.get_event_loop().set_task_factory(asyncio.eager_task_factory)", check=True
    )
    result = await session.run("task = asyncio.create_task(fail()); del task", execution_id="mine")
    assert "1 / 0" in (result.stderr or await text_until(late, "mine", "ZeroDivisionError"))
