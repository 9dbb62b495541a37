"""The decisions of the cancel signal's handler, one signal at a time."""

import asyncio
import signal
import sys

import pytest

from stateroom.protocol.cancel_page import CANCEL_SIGNAL_NAME, CancelPage
from stateroom.worker.interrupt_target import Target
from stateroom.worker.interrupts import Interrupts
from stateroom.worker.own_loops import OwnLoop


@pytest.fixture
def page():
    page = CancelPage.create()
    yield page
    page.close()


@pytest.fixture
def interrupts(page):
    number = getattr(signal, CANCEL_SIGNAL_NAME)
    before, hook = signal.getsignal(number), sys.unraisablehook
    interrupts = Interrupts(page, waits=[])
    interrupts.install()
    yield interrupts
    interrupts.aim(None)
    signal.signal(number, before)
    sys.unraisablehook = hook


def cell(source):
    return compile(source, "<cell>", "exec", flags=0x2000, dont_inherit=True)


def hit():
    signal.raise_signal(getattr(signal, CANCEL_SIGNAL_NAME))


def test_raises_in_the_cell_and_once_for_an_attempt(interrupts, page):
    code = cell(
        "try:\n    hit()\nexcept BaseException as error:\n    seen.append(error)\n    hit()\n    seen.append('cleaned up')"
    )
    seen = []
    interrupts.aim(Target(7, frozenset([code]), in_loop=False))
    page.write(7, 1)
    exec(code, {"hit": hit, "seen": seen})
    assert [type(item) for item in seen] == [asyncio.CancelledError, str]


@pytest.mark.parametrize("number", [0, 6, 8])
def test_another_number_is_nobodys(interrupts, page, number):
    code = cell("hit()")
    interrupts.aim(Target(7, frozenset([code]), in_loop=False))
    page.write(number, 1)
    exec(code, {"hit": hit})
    assert interrupts.raised == 0


def test_outside_of_the_cell_nothing_is_raised(interrupts, page):
    interrupts.aim(Target(7, frozenset([cell("pass")]), in_loop=False))
    page.write(7, 1)
    hit()
    assert interrupts.raised == 0


async def test_a_cancel_on_its_way_through_the_loop_that_finds_the_cell_running_is_raised_there(
    interrupts, page
):
    """The cell goes on before the loop gets to cancel its task, and never comes back to the loop."""
    code = cell(
        "await sleep(0)\ntry:\n    hit()\n    ended = False\nexcept BaseException:\n    ended = True\n    raise"
    )
    namespace = {"hit": hit, "sleep": asyncio.sleep}
    target = Target(7, frozenset([code]), in_loop=True)
    target.task = task = asyncio.ensure_future(eval(code, namespace))
    interrupts.aim(target)
    page.write(7, 1)
    # As the handler leaves it when the signal finds the loop between two steps of the task.
    target.attempts, target.to_cancel = 1, task
    with pytest.raises(asyncio.CancelledError):
        await task
    assert namespace["ended"] is True
    target.cancel(task)  # arrives late
    assert not task.cancelling()


@pytest.mark.parametrize("raised", [False, True])
def test_a_cancel_that_a_loop_of_the_cells_own_did_not_get_to_is_due_again(raised):
    loop = asyncio.new_event_loop()
    target = Target(7, frozenset(), in_loop=False)
    target.attempts, target.raised = 1, raised
    target.ask_for_cancel(own := OwnLoop(loop, loop.create_future(), None, is_idle=True))
    loop.close()
    target.back_in_loop()
    assert (target.to_cancel, target.is_due(1)) == (None, not raised)
    target.cancel(own)  # arrives late
    assert not own.future.cancelled()


def test_nothing_is_raised_in_a_hook_where_it_would_be_lost(interrupts, page):
    def print_it(_unraisable):
        interrupts.missed = True
        interrupts.safe_point()
        seen.append("printed")

    seen = []
    interrupts._unraisablehook = print_it
    code = cell("lost(error)\nseen.append('after the hook')\nsafe_point()\nseen.append('not reached')")
    interrupts.aim(Target(7, frozenset([code]), in_loop=False))
    page.write(7, 1)
    error = type("Unraisable", (), {"exc_value": ValueError()})
    names = {"lost": interrupts._lost, "error": error, "seen": seen, "safe_point": interrupts.safe_point}
    with pytest.raises(asyncio.CancelledError):
        exec(code, names)
    assert seen == ["printed", "after the hook"]


@pytest.mark.parametrize("is_done", [False, True])
def test_a_task_that_was_there_when_the_main_one_was_told_is_due_and_a_later_one_is_not(is_done):
    async def wait():
        await asyncio.sleep(100)

    loop = asyncio.new_event_loop()
    main, busy = loop.create_task(wait()), loop.create_task(wait())
    target = Target(7, frozenset(), in_loop=False)
    target.begin_attempt(1, own := OwnLoop(loop, main, main, is_idle=False))
    target.tell_by_raising(own)
    target.raised = True
    if is_done:
        main.cancel()
        loop.run_until_complete(asyncio.wait([main]))
    cleaning = loop.create_task(wait())
    due = [target.is_due(1, own._replace(current=task)) for task in (main, busy, cleaning)]
    assert due == [False, True, False]
    assert own._replace(is_idle=True).is_over is is_done
    busy.cancel()
    assert not target.is_due(1, own._replace(current=busy))
    cleaning.cancel()
    loop.run_until_complete(asyncio.wait([busy, cleaning, main], timeout=0))
    main.cancel()
    loop.run_until_complete(asyncio.wait([busy, cleaning, main]))
    loop.close()


def test_a_loop_that_ended_before_it_was_asked_leaves_the_cancel_to_the_next():
    target = Target(7, frozenset(), in_loop=False)
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    try:
        target.begin_attempt(1, None)
        target.ask_for_cancel(OwnLoop(first, first.create_future(), None, is_idle=True))
        first.close()
        future = second.create_future()
        target.ask_for_cancel(OwnLoop(second, future, None, is_idle=True))
        second.call_soon(second.stop)
        second.run_forever()
        assert future.cancelled()
    finally:
        second.close()
