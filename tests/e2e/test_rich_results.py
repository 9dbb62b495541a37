"""MIME bundles, displays, figures and progress, from the cell to the client."""

import asyncio
import importlib.util
import os

import pytest

import stateroom
from stateroom import ClearMessage, DisplayMessage, OutputMessage, ProgressMessage

PNG = b"\x89PNG\r\n\x1a\n"

needs_matplotlib = pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="matplotlib is not installed"
)

THING = """
class Thing:
    def _repr_html_(self): return "<b>", {"isolated": True}
    def _repr_png_(self): return bytes(range(256))
    def __repr__(self): return "a thing"
thing = Thing()
"""


async def shown_by(session, code, **how):
    """The result, and everything that came before it."""
    seen = []
    result = await session.run(code, on_output=seen.append, on_display=seen.append, **how)
    assert result.error is None, result.error.text
    return result, seen


# The value of a cell


async def test_V5_anything_but_plain_data_gives_repr_and_bundle_and_says_so(session):
    result = await session.run(THING + "thing", check=True)
    assert (result.has_value, result.value, result.repr) == (False, None, "a thing")
    assert result.mime == {"text/html": "<b>", "image/png": bytes(range(256)), "text/plain": "a thing"}
    assert result.metadata == {"text/html": {"isolated": True}}
    assert result.notes == ["no plain value: value is a __main__.Thing"]


@pytest.mark.parametrize("value", [None, True, 1 << 200, "text", b"bytes", [1, (2,)], {"a": {3}}])
async def test_V5_plain_data_has_no_bundle(session, value):
    result = await session.run(repr(value), check=True)
    assert (result.value, result.mime) == (value, {})


@pytest.mark.parametrize(
    ("code", "kind", "untouched"),
    [
        ("(print(n) for n in range(3))", "generator", "inspect.getgeneratorstate(it) == 'GEN_CREATED'"),
        ("asyncio.sleep(0)", "coroutine", "inspect.getcoroutinestate(it) == 'CORO_CREATED'"),
        ("asyncio.create_task(asyncio.sleep(100))", "Task", "not it.done()"),
    ],
)
async def test_V3_a_task_generator_or_coroutine_is_shown_and_left_alone(session, code, kind, untouched):
    result = await session.run(f"import asyncio, inspect\nit = {code}\nit", check=True)
    assert kind in result.repr
    assert result.mime == {"text/plain": result.repr}
    assert (await session.run(untouched)).value is True


@pytest.mark.parametrize(
    ("body", "note"),
    [
        ("raise ValueError", "_repr_html_ of Bad raised ValueError"),
        ("raise SystemExit", "_repr_html_ of Bad raised SystemExit"),
        ("raise KeyboardInterrupt", "_repr_html_ of Bad raised KeyboardInterrupt"),
        ("return 'h' * (64 << 20)", "text/html of 67108864 bytes left out: over max_mime_bytes"),
        ("return self._repr_html_()", "_repr_html_ of Bad raised RecursionError"),
        ("return 5", "text/html left out: it is of type int, not a str"),
    ],
)
async def test_V4_a_bad_representation_becomes_a_note(session, body, note):
    code = f"class Bad:\n    def _repr_html_(self): {body}\n    def _repr_latex_(self): return 'l'\nBad()"
    result = await session.run(code, check=True)
    assert result.mime.keys() == {"text/latex", "text/plain"}
    assert note in result.notes
    assert (await session.run("'Bad' in globals()")).value is True


async def test_V4_a_representation_that_does_not_end_is_given_up():
    async with stateroom.Session(repr_timeout_s=0.2) as session:
        code = "class Bad:\n    def _repr_html_(self):\n        while True: pass\n    def _repr_latex_(self): return 'l'\nBad()"
        result = await session.run(code, check=True)
        assert result.mime.keys() == {"text/latex", "text/plain"}
        assert "_repr_html_ of Bad took longer than 0.2 s" in result.notes


async def test_a_representation_can_be_cancelled(session):
    code = "class Slow:\n    def _repr_html_(self):\n        print('on')\n        while True: pass\nSlow()"
    started = asyncio.Event()
    running = asyncio.create_task(session.run(code, on_output=lambda _: started.set()))
    await started.wait()
    await session.cancel()
    assert (await running).cancelled
    assert (await session.run("1")).value == 1


async def test_mocks_have_no_representations(session):
    result = await session.run("from unittest.mock import MagicMock\nMagicMock()", check=True)
    assert result.mime.keys() == {"text/plain"}


# display


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


# Progress


async def test_progress_reports_first_and_last(session):
    code = "import stateroom\nlist(stateroom.progress('abc', description='letters'))"
    result, seen = await shown_by(session, code)
    assert result.value == ["a", "b", "c"]
    first, last = seen
    assert first == ProgressMessage(
        progress_id=first.progress_id,
        execution_id=result.execution_id,
        completed=0,
        total=3,
        description="letters",
    )
    assert (last.completed, last.total, last.done) == (3, 3, True)
    assert last.progress_id == first.progress_id


async def test_progress_is_limited_by_the_clock_not_by_the_loop(session):
    code = """
import time
from stateroom import progress
start = time.monotonic()
for _ in progress(range(200_000)): pass
time.monotonic() - start
"""
    result, seen = await shown_by(session, code)
    assert 2 <= len(seen) <= 3 + result.value / 0.05
    assert [message.done for message in seen] == [False] * (len(seen) - 1) + [True]


@pytest.mark.parametrize(("interval_s", "reported"), [("0", [0, 1, 2, 3, 2.5, 2.5]), ("math.inf", [0, 2.5])])
async def test_progress_is_reported_while_it_lasts_whenever_the_interval_is_over(
    session, interval_s, reported
):
    code = f"""
import math
import stateroom.worker.progress as module
module.INTERVAL_S = {interval_s}
with module.progress(total=3, description="by hand") as bar:
    for _ in range(3):
        bar.advance()
    bar.report(2.5, total=4, description="renamed")
"""
    _, seen = await shown_by(session, code)
    assert [message.completed for message in seen] == reported
    assert [message.done for message in seen] == [False] * (len(seen) - 1) + [True]
    assert (seen[-1].total, seen[-1].description) == (4, "renamed")


@pytest.mark.parametrize("end", ["break", "1/0"])
async def test_progress_that_ends_early_says_so(session, end):
    code = f"from stateroom import progress\nfor n in progress(c for c in 'abc'):\n    if n == 'b': {end}"
    seen = []
    await session.run(code, on_display=seen.append)
    assert (seen[0].completed, seen[0].total) == (0, None)
    assert (seen[-1].completed, seen[-1].done) == (1, True)


async def test_a_slow_iterable_can_be_cancelled_inside_progress(session):
    code = """
from stateroom import progress
def slow():
    print('on')
    while True: pass
    yield
for _ in progress(slow()): pass
"""
    started = asyncio.Event()
    running = asyncio.create_task(session.run(code, on_output=lambda _: started.set()))
    await started.wait()
    assert await session.cancel() is stateroom.CancelOutcome.CANCELLED
    assert (await running).cancelled


async def test_tqdm_writes_as_it_does_anywhere(session):
    pytest.importorskip("tqdm", reason="tqdm is not installed")
    result = await session.run(
        "from tqdm import tqdm\nfor _ in tqdm(range(3), mininterval=0): pass", check=True
    )
    assert result.stderr.count("\r") >= 3
    assert "100%|" in result.stderr
    assert "3/3" in result.stderr


RICH = """
from rich.progress import track
import rich
rich.print("[bold red]red[/]")
list(track(range(3), "Counting"))
"""


async def test_rich_writes_as_it_does_to_a_terminal():
    pytest.importorskip("rich", reason="rich is not installed")
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLORTERM")}
    async with stateroom.Session(is_terminal=True, env={**kept, "TERM": "xterm-256color"}) as session:
        result = await session.run(RICH, check=True)
        assert "\x1b[1;31mred\x1b[0m\n" in result.stdout
        assert "100%" in result.stdout
        assert "\x1b[?25h" in result.stdout  # the cursor is shown again


async def test_rich_writes_plain_text_where_there_is_no_terminal(session):
    pytest.importorskip("rich", reason="rich is not installed")
    result = await session.run(RICH, check=True)
    assert result.stdout.startswith("red\nCounting ")
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize("is_terminal", [False, True])
async def test_streams_say_whether_a_terminal_shows_them(is_terminal):
    async with stateroom.Session(is_terminal=is_terminal) as session:
        code = "import sys\n[s.isatty() for s in (sys.stdout, sys.stderr, sys.stdout.buffer)]"
        assert (await session.run(code)).value == [is_terminal] * 3
        code = "sys.stdout.reconfigure(line_buffering=False)\nsys.stdout.isatty(), sys.stdin.isatty()"
        assert (await session.run(code)).value == (is_terminal, False)


# Figures

PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\n"


@pytest.fixture
async def plotting(tmp_path):
    env = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    async with stateroom.Session(env=env) as session:
        yield session


@needs_matplotlib
class TestFigures:
    async def test_figures_arrive_at_the_end_of_their_cell(self, plotting):
        result, seen = await shown_by(plotting, PLOT + "plt.figure()\nprint('last')\nNone")
        assert [type(message) for message in seen] == [OutputMessage, DisplayMessage, DisplayMessage]
        assert all(shown.mime["image/png"].startswith(PNG) for shown in result.displays)
        assert result.displays[0].mime["text/plain"] == "<Figure size 640x480 with 1 Axes>"
        result, _ = await shown_by(plotting, "plt.get_fignums()")
        assert (result.value, result.displays) == ([], [])

    async def test_show_sends_at_once(self, plotting):
        _, seen = await shown_by(plotting, PLOT + "plt.show()\nprint('after')")
        assert [type(message) for message in seen] == [DisplayMessage, OutputMessage]

    async def test_a_figure_shows_itself_alone(self, plotting):
        result, _ = await shown_by(
            plotting, PLOT + "first = plt.gcf()\nplt.figure()\nfirst.show()\nprint(plt.get_fignums())"
        )
        assert result.stdout == "[2]\n"
        assert len(result.displays) == 2

    @pytest.mark.parametrize(
        ("form", "kind", "start"),
        [("svg", "image/svg+xml", "<?xml"), ("pdf", "application/pdf", b"%PDF"), ("tiff", "image/png", PNG)],
    )
    async def test_other_formats_on_request(self, plotting, form, kind, start):
        code = PLOT + f"plt.rcParams['savefig.format'] = {form!r}"
        result, _ = await shown_by(plotting, code)
        assert result.displays[0].mime[kind].startswith(start)

    async def test_a_figure_that_is_the_value_is_shown_once(self, plotting):
        result, _ = await shown_by(plotting, PLOT + "plt.gcf()")
        assert result.mime["image/png"].startswith(PNG)
        assert result.displays == []
        result, _ = await shown_by(plotting, "f, _ = plt.subplots()\ndisplay(f)")
        assert len(result.displays) == 1

    async def test_a_closed_figure_can_be_shown_again(self, plotting):
        await plotting.run(PLOT + "kept = plt.gcf()", check=True)
        result, _ = await shown_by(plotting, "kept")
        assert result.mime["image/png"].startswith(PNG)

    async def test_a_failed_cell_shows_what_it_has_drawn(self, plotting):
        result = await plotting.run(PLOT + "1/0")
        assert result.error.type == "ZeroDivisionError"
        assert len(result.displays) == 1

    async def test_a_figure_that_cannot_be_drawn_is_reported_and_gone(self, plotting):
        result = await plotting.run(PLOT + "plt.title('$\\\\nosuch$')\n5", check=True)
        assert result.value == 5
        assert "nosuch" in result.stderr
        assert (await plotting.run("plt.get_fignums()")).value == []

    async def test_drawing_can_be_cancelled(self, plotting):
        code = PLOT + (
            "class Slow(type(plt.gca().lines[0])):\n"
            "    def draw(self, renderer):\n"
            "        print('on')\n"
            "        while True: pass\n"
            "plt.gca().add_line(Slow([0], [0]))"
        )
        started = asyncio.Event()
        running = asyncio.create_task(plotting.run(code, on_output=lambda _: started.set()))
        await started.wait()
        assert await plotting.cancel() is stateroom.CancelOutcome.CANCELLED
        assert (await running).cancelled
        assert (await plotting.run("plt.get_fignums()")).value == []

    async def test_figures_of_a_cancelled_cell_come_with_the_next(self, plotting):
        code = PLOT + "print('on')\nwhile True: pass"
        started = asyncio.Event()
        running = asyncio.create_task(plotting.run(code, on_output=lambda _: started.set()))
        await started.wait()
        await plotting.cancel()
        assert (await running).displays == []
        result, _ = await shown_by(plotting, "1")
        assert len(result.displays) == 1

    async def test_a_backend_that_the_user_has_chosen_is_left_alone(self):
        async with stateroom.Session(env={**os.environ, "MPLBACKEND": "agg"}) as session:
            result, _ = await shown_by(session, PLOT + "plt.get_backend(), plt.get_fignums()")
            assert result.displays == []
            assert result.value[0].lower() == "agg"
            assert result.value[1] == [1]

    async def test_matplotlib_is_loaded_by_nobody_else(self, plotting):
        assert (await plotting.run("import sys\n'matplotlib' in sys.modules")).value is False
