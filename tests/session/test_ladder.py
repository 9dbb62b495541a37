"""The cancel ladder by the clock: when it asks, insists and kills, and what it counts."""

import asyncio
import itertools

import pytest
from stage import Stage, now, turns

from stateroom import CancelOutcome
from stateroom.errors import WorkerStartError
from stateroom.session.cancellation import RESEND_MAX_S
from stateroom.testing import each_cell, virtual_time

GRACES = {"cancel_grace_s": 3.0, "insist_grace_s": 1.0, "cancel_resend_s": 0.01}


async def deaf(cell):
    cell.ignore_cancels()
    await asyncio.sleep(10_000)


def deaf_in_the_first_worker(cell):
    return deaf(cell) if cell.worker.ordinal == 1 else 42


async def heeds_the_second(cell):
    cell.ignore_cancels(1)
    await asyncio.sleep(10_000)


async def cleans_up(cell):
    try:
        await asyncio.sleep(10_000)
    finally:
        await asyncio.sleep(2.5)


def attempts(worker):
    return sorted({request.attempt for request in worker.cancels})


def counters(stage):
    counted = stage.session.info.cancels
    return counted.requested, counted.effective, counted.no_op, counted.escalated, counted.hard_stops


async def running(stage, **how):
    task = stage.run(**how)
    await stage.worker.until(lambda: stage.worker.cell is not None)
    await turns()  # its function has begun
    return task


@virtual_time
async def test_a_cell_that_ends_when_asked_ends_at_once():
    async with Stage(each_cell(lambda _: asyncio.sleep(10_000)), **GRACES) as stage:
        task = await running(stage)
        assert await stage.session.cancel() is CancelOutcome.CANCELLED
        assert now() == 0
        assert (await task).cancelled
        assert counters(stage) == (1, 1, 0, 0, 0)


@virtual_time
async def test_a_cell_may_clean_up_for_the_whole_grace_and_is_not_pressed_meanwhile():
    async with Stage(each_cell(cleans_up), **GRACES) as stage:
        task = await running(stage)
        assert await stage.session.cancel(hard_stop=True) is CancelOutcome.CANCELLED
        assert now() == 2.5
        assert attempts(stage.worker) == [1]
        assert (await task).cancelled


@virtual_time
async def test_a_cell_that_ignores_the_request_is_ignored_after_the_grace():
    async with Stage(each_cell(deaf), **GRACES) as stage:
        await running(stage)
        assert await stage.session.cancel() is CancelOutcome.IGNORED
        assert now() == 3.0
        assert attempts(stage.worker) == [1]
        assert stage.session.state == "busy"
        assert counters(stage) == (1, 0, 1, 0, 0)
        stage.worker.exit(0)


@virtual_time
async def test_the_second_request_insists_with_a_grace_of_its_own():
    async with Stage(each_cell(deaf), **GRACES) as stage:
        await running(stage)
        await stage.session.cancel()
        assert await stage.session.cancel() is CancelOutcome.IGNORED
        assert now() == 4.0
        assert attempts(stage.worker) == [1, 2]
        assert counters(stage) == (2, 0, 2, 1, 0)
        stage.worker.exit(0)


@virtual_time
async def test_insisting_ends_what_only_that_ends():
    async with Stage(each_cell(heeds_the_second), **GRACES) as stage:
        task = await running(stage)
        assert await stage.session.cancel(hard_stop=True) is CancelOutcome.CANCELLED
        assert now() == 3.0
        assert (await task).cancelled
        assert (len(stage.launcher.workers), counters(stage)) == (1, (2, 1, 1, 1, 0))


@virtual_time
async def test_the_hard_stop_kills_after_both_graces_and_the_session_goes_on():
    async with Stage(each_cell(deaf_in_the_first_worker), **GRACES) as stage:
        task, waiting = await running(stage), stage.run("next")
        assert await stage.session.cancel(hard_stop=True) is CancelOutcome.STOPPED
        assert now() == 4.0
        error = (await task).error
        assert (error.type, "ended by force" in error.message) == ("CancelledError", True)
        assert "there was no checkpoint" in error.message
        assert (await waiting).value == 42
        assert counters(stage) == (2, 0, 2, 1, 1)


@virtual_time
async def test_signals_are_repeated_at_pauses_that_grow_to_a_bound():
    times = []
    async with Stage(each_cell(deaf), **GRACES) as stage:
        await running(stage)
        request = stage.worker.request_cancel
        stage.worker.request_cancel = lambda *what: (times.append(now()), request(*what))
        await stage.session.cancel()
        pauses = [round(later - earlier, 9) for earlier, later in itertools.pairwise(times)]
        assert times[0] == 0
        assert pauses[0] == pytest.approx(0.01)
        assert pauses == sorted(pauses)
        assert pauses[-1] == pytest.approx(RESEND_MAX_S)
        assert len(times) < 20
        stage.worker.exit(0)


@virtual_time
async def test_two_requests_at_once_insist_at_once_and_both_hear_of_the_end():
    async with Stage(each_cell(heeds_the_second), **GRACES) as stage:
        task = await running(stage)
        outcomes = await asyncio.gather(stage.session.cancel(), stage.session.cancel())
        assert outcomes == [CancelOutcome.CANCELLED] * 2
        assert now() == 0
        assert (await task).cancelled


@pytest.mark.parametrize(
    ("play", "ended_at_s", "restarts", "words"),
    [
        (lambda _: asyncio.sleep(10_000), 60, 0, "was cancelled"),
        (cleans_up, 62.5, 0, "was cancelled"),
        (heeds_the_second, 63, 0, "was cancelled"),
        (deaf, 64, 1, "was ended by force"),
    ],
    ids="prompt cleaning swallowing deaf".split(),
)
@virtual_time
async def test_a_time_limit_climbs_the_ladder_as_far_as_it_must(play, ended_at_s, restarts, words):
    async with Stage(each_cell(play), **GRACES) as stage:
        result = await stage.session.run("", timeout=60)
        assert now() == ended_at_s
        assert (result.error.type, result.cancelled) == ("TimeoutError", True)
        assert "did not end within 60 s" in result.error.message
        assert words in result.error.message
        while stage.session.state != "idle":
            await asyncio.sleep(1)
        assert stage.session.info.restarts == restarts


@virtual_time
async def test_a_cell_that_ends_in_time_is_left_alone():
    async with Stage(each_cell(lambda _: asyncio.sleep(59.9, "done")), **GRACES) as stage:
        assert (await stage.session.run("", timeout=60)).value == "done"
        await asyncio.sleep(1000)
        assert stage.worker.cancels == []


@virtual_time
async def test_the_time_limit_counts_from_the_call_and_takes_a_cell_out_of_the_queue():
    async with Stage(**GRACES) as stage:
        first, cell = await stage.begin("first")
        result = await stage.session.run("second", timeout=60)
        assert (now(), result.error.type, result.cancelled) == (60, "TimeoutError", True)
        assert "did not begin within 60 s" in result.error.message
        assert stage.worker.cancels == []
        cell.succeed()
        assert (await first).ok


@virtual_time
async def test_a_hard_stop_whose_new_worker_does_not_start_leaves_a_session_to_restart():
    async def script(worker):
        if worker.ordinal == 2:
            worker.exit(1)
        await each_cell(deaf)(worker)

    async with Stage(script, **GRACES) as stage:
        task = await running(stage)
        with pytest.raises(WorkerStartError):
            await stage.session.cancel(hard_stop=True)
        assert (await task).cancelled
        assert (stage.session.state, counters(stage)[-1]) == ("broken", 1)
        await stage.session.restart()
        assert stage.session.state == "idle"


@virtual_time
async def test_a_close_gives_the_cell_and_then_the_worker_the_grace():
    stage = Stage(each_cell(deaf), **GRACES, close_grace_s=20)
    async with stage:
        task = await running(stage)
        stage.worker.obeys_shutdown = False
    assert now() == 40
    assert stage.worker.was_killed
    assert (await task).error.type == "WorkerDied"


@virtual_time
async def test_an_abandoned_cell_is_ended_by_force_if_need_be_and_the_next_one_runs():
    async with Stage(each_cell(deaf_in_the_first_worker), **GRACES) as stage:
        task, waiting = await running(stage), stage.run("next")
        await turns()
        task.cancel()
        assert (await waiting).value == 42
        assert now() == 4.0
