"""What cells show besides their value: displays, their updates, and clear_output."""

import asyncio

import pytest
from watching import THING, shown_by

import stateroom
from stateroom import ClearMessage, DisplayMessage, OutputMessage


async def test_displays_come_in_order_with_the_text(session):
    code = "print('a', end='')\ndisplay(thing)\nprint('b')\nimport os\nos.write(1, b'c')\ndisplay(2, 3)\nprint('d')"
    await session.run(THING)
    result, seen = await shown_by(session, code)
    texts = [m.data if isinstance(m, OutputMessage) else f"<{m.mime['text/plain']}>" for m in seen]
    assert "".join(texts) == "a<a thing>b\nc<2><3>d\n"
    assert seen[1].mime["image/png"] == bytes(range(256))
    assert seen[1].metadata == {"text/html": {"isolated": True}}
    assert result.displays == [m for m in seen if isinstance(m, DisplayMessage)]


@pytest.mark.parametrize("way_in", ["", "from stateroom import display\n"])
async def test_display_is_there_and_can_be_imported(session, way_in):
    result, _ = await shown_by(session, way_in + "display('x') is None")
    assert result.value is True
    assert [shown.mime for shown in result.displays] == [{"text/plain": "'x'"}]


async def test_importing_display_loads_no_session_code(session):
    code = (
        "from stateroom import display, update_display, clear_output, progress\nimport sys\n"
        "[name for name in sys.modules if name.startswith('stateroom.session')]"
    )
    assert (await session.run(code, check=True)).value == []


async def test_a_handle_updates_what_is_shown(session):
    result, seen = await shown_by(
        session, "h = display(1, display_id=True)\ndisplay('other')\nh.update(2)\nh.display_id"
    )
    first, _, update = seen
    assert first.display_id == update.display_id == result.value
    assert (first.update, update.update) == (False, True)
    assert [shown.mime["text/plain"] for shown in result.displays] == ["2", "'other'"]


async def test_a_later_cell_updates_what_an_earlier_one_has_shown(session):
    await session.run("from stateroom import update_display\ndisplay(1, display_id='one')")
    result, seen = await shown_by(session, "update_display(2, display_id='one')")
    assert (seen[0].display_id, seen[0].update, seen[0].mime["text/plain"]) == ("one", True, "2")
    assert result.displays == []


async def test_clear_output_takes_away_what_was_shown(session):
    code = "from stateroom import clear_output\ndisplay(1)\nclear_output()\ndisplay(2)"
    result, seen = await shown_by(session, code)
    assert [type(message) for message in seen] == [DisplayMessage, ClearMessage, DisplayMessage]
    assert seen[1].wait is False
    assert [shown.mime["text/plain"] for shown in result.displays] == ["2"]


async def test_clear_output_that_waits_leaves_what_nothing_follows(session):
    result, seen = await shown_by(session, "import stateroom\ndisplay(1)\nstateroom.clear_output(wait=True)")
    assert seen[1] == ClearMessage(execution_id=result.execution_id, wait=True)
    assert [shown.mime["text/plain"] for shown in result.displays] == ["1"]
    result, _ = await shown_by(session, "display(1)\ndisplay(2, clear=True)")
    assert [shown.mime["text/plain"] for shown in result.displays] == ["2"]


async def test_raw_bundles_are_taken_as_they_are(session):
    code = (
        "display({'text/html': 'h', 'application/x': {'a': [1]}}, raw=True, metadata={'text/html': {'m': 1}})"
    )
    result, _ = await shown_by(session, code)
    assert result.displays[0].mime == {"text/html": "h", "application/x": {"a": [1]}}
    assert result.displays[0].metadata == {"text/html": {"m": 1}}
    result = await session.run("display(5, raw=True)")
    assert result.error.type == "TypeError"
    assert "stateroom" not in result.error.text


async def test_what_a_thread_shows_late_is_tagged_with_its_cell(session):
    late = asyncio.Queue()
    session.on_late_display = late.put_nowait
    code = "import threading\ngo = threading.Event()\nthreading.Thread(target=lambda: (go.wait(), display('late'))).start()"
    await session.run(code, execution_id="one")
    await session.run("go.set()", execution_id="two")
    message = await late.get()
    assert (message.execution_id, message.mime) == ("one", {"text/plain": "'late'"})


async def test_a_forked_child_prints_what_it_would_show(session):
    code = "import os\nif os.fork() == 0:\n    display('child')\n    os._exit(0)\nos.wait()[1]"
    result = await session.run("import warnings\nwarnings.simplefilter('ignore')\n" + code, check=True)
    assert (result.value, result.stdout, result.displays) == (0, "child\n", [])


async def test_displays_of_a_cell_are_bounded_but_updates_are_not():
    async with stateroom.Session(max_display_bytes=1000) as session:
        code = "h = display('x' * 600, display_id=True)\nfor _ in range(9): h.update('y' * 600)\ndisplay('z' * 600)\n7"
        result, seen = await shown_by(session, code)
        assert len(seen) == 10
        assert [shown.mime["text/plain"][1] for shown in result.displays] == ["y"]
        assert result.notes == ["1 displays left out: over max_display_bytes (1000)"]
        assert result.value == 7
        assert (await shown_by(session, "display('x' * 600)"))[0].notes == []


async def test_displays_of_a_failed_cell_are_in_its_result(session):
    result = await session.run("display(1)\n1/0")
    assert result.error.type == "ZeroDivisionError"
    assert [shown.mime["text/plain"] for shown in result.displays] == ["1"]


async def test_displays_are_streamed(session):
    kinds = [type(message).__name__ async for message in session.execute("print(1)\ndisplay(2)\n3")]
    assert kinds == ["OutputMessage", "DisplayMessage", "ResultMessage"]


def test_blocking_session_takes_on_display():
    seen = []
    with stateroom.open_session() as session:
        session.run("display(1)", on_display=seen.append, check=True)
    assert [message.mime for message in seen] == [{"text/plain": "1"}]
