"""Steps of durable cells: what is recorded is not repeated, and is found by its own cell only."""

from __future__ import annotations

import pytest

pytest.importorskip("resonate", reason="durable executions need resonate-sdk, which needs Python 3.12")

from stateroom.integration import step_capability
from stateroom.integration.outcome import outcome_to_result

STEP = """
import os, stateroom
def work(n):
    with open({runs!r}, 'a') as file: file.write('x')
    return [n, b'bytes', {{1: 2}}]
async def awork(n):
    return work(n)
one = await stateroom.step('work', work, 1)
two = await stateroom.step('work', awork, n=2)
if not os.path.exists({died!r}):
    open({died!r}, 'w').close()
    os._exit(9)
one, two
"""


async def test_steps_are_not_repeated_when_their_cell_is(stored, tmp_path):
    code = STEP.format(runs=str(tmp_path / "runs"), died=str(tmp_path / "died"))
    result = outcome_to_result(await stored.cells.execute("e-1", code))
    assert result.value == ([1, b"bytes", {1: 2}], [2, b"bytes", {1: 2}])
    assert (tmp_path / "runs").read_text() == "xx"


async def test_what_a_step_is_called_with_does_not_tell_it_from_others(stored, tmp_path):
    died = str(tmp_path / "died")
    code = (
        "import os, stateroom\nfirst = await stateroom.step('pid', lambda pid: pid, os.getpid())\n"
        f"if not os.path.exists({died!r}):\n    open({died!r}, 'w').close()\n    os._exit(9)\n"
        "first != os.getpid()"
    )
    assert (await stored.cells.execute("e-1", code))["value"] is True


async def test_without_a_bridge_a_step_only_calls_its_function(session):
    result = await session.run("import stateroom\nawait stateroom.step('f', lambda: object) is object")
    assert result.value is True


async def test_in_other_cells_of_the_session_a_step_only_calls_its_function(session, durable):
    result = await session.run("import stateroom\nawait stateroom.step('f', lambda: object) is object")
    assert result.value is True


async def test_a_step_whose_result_is_no_plain_data_says_so(durable, new_id):
    outcome = await durable.cells.execute(new_id(), "import stateroom\nawait stateroom.step('f', object)")
    assert outcome["error"]["type"] == "NotPlainData"
    assert "step 'f'" in outcome["error"]["message"]


async def test_what_a_step_raises_is_not_recorded(durable, new_id):
    code = (
        "import stateroom\ncalls = 0\ndef f():\n    global calls\n    calls += 1\n    if calls == 1: raise OSError('flaky')\n"
        "    return calls\ntry: await stateroom.step('f', f)\nexcept OSError: pass\nawait stateroom.step('f', f)"
    )
    assert (await durable.cells.execute(new_id(), code))["value"] == 2


async def test_steps_that_are_not_recorded_leave_nothing_pending(durable, new_id):
    code = (
        "import stateroom\nfor f in (object, lambda: 1/0):\n"
        "    try: await stateroom.step('f', f)\n    except Exception: pass"
    )
    assert (await durable.cells.execute(new_id(), code))["ok"]
    assert (durable.bridge.pending, durable.bridge.info()["withdrawn"]) == (0, 2)


NESTED = """
import os, stateroom
async def outer(n):
    return [n, await stateroom.step('log', lambda: f'inner {{n}}'), await stateroom.step('log', lambda: 'last')]
found = [await stateroom.step('outer', outer, n) for n in (1, 2)]
found.append(await stateroom.step('log', lambda: 'mine'))
if not os.path.exists({died!r}):
    open({died!r}, 'w').close()
    os._exit(9)
found
"""


async def test_steps_within_steps_are_told_from_those_outside(stored, tmp_path):
    """When the outer one is not repeated, the inner ones are not come to."""
    outcome = await stored.cells.execute("e-1", NESTED.format(died=str(tmp_path / "died")))
    assert outcome["value"] == [[1, "inner 1", "last"], [2, "inner 2", "last"], "mine"]


async def test_steps_at_once_are_told_apart_by_the_order_in_which_they_begin(stored, tmp_path):
    code = (
        "import asyncio, os, stateroom\nbegun = []\nlast_first = [asyncio.Event() for _ in range(4)]\n"
        "last_first[3].set()\n"
        "async def f(n):\n    begun.append(n)\n    await last_first[n].wait()\n"
        "    last_first[n - 1].set()\n    return n\n"
        "async with asyncio.TaskGroup() as group:\n"
        "    tasks = [group.create_task(stateroom.step('f', f, n)) for n in range(4)]\n"
        f"died = {str(tmp_path / 'died')!r}\n"
        "if not os.path.exists(died):\n    open(died, 'w').close()\n    os._exit(9)\n"
        "[task.result() for task in tasks], begun"
    )
    result = outcome_to_result(await stored.cells.execute("e-1", code))
    assert result.value == ([0, 1, 2, 3], [])


@pytest.mark.parametrize("name", ["a:b", "ü/ %41", "x" * 200, "ü" * 5000])
async def test_a_step_may_have_any_name(durable, new_id, name):
    code = f"import stateroom\nawait stateroom.step({name!r}, lambda: 1)"
    assert (await durable.cells.execute(new_id(), code))["value"] == 1


@pytest.mark.parametrize(
    ("name", "function"), [("''", "print"), ("3", "print"), ("'\\ud800'", "print"), ("'f'", "3")]
)
async def test_a_step_that_cannot_be_one_is_refused(session, name, function):
    result = await session.run(f"import stateroom\nawait stateroom.step({name}, {function})")
    assert result.error.type == "TypeError"


async def test_a_step_works_in_a_loop_of_its_own(durable, new_id):
    code = "import asyncio, stateroom\nasyncio.run(stateroom.step('f', asyncio.sleep, 0, 'slept'))"
    assert (await durable.cells.execute(new_id(), code))["value"] == "slept"


async def test_a_result_that_no_store_would_take_fails_its_step(durable, new_id, monkeypatch):
    monkeypatch.setattr(step_capability, "MAX_RESULT_BYTES", 1000)
    code = "import stateroom\nlen(await stateroom.step('f', bytes, {size}))"
    assert (await durable.cells.execute(new_id(), code.format(size=500)))["value"] == 500
    outcome = await durable.cells.execute(new_id(), code.format(size=1001))
    assert outcome["error"]["type"] == "StepFailed"
    assert "put it into a file" in outcome["error"]["message"]
