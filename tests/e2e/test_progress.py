"""Progress that cells report: the session's own, tqdm's and Rich's, with a terminal and without."""

import os

import pytest
from watching import begun, shown_by

import stateroom
from stateroom import ProgressMessage


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
    running = await begun(session, code)
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
