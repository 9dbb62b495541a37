"""What a caller does with a session: one step after another, each checked as soon as it is over."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from random import Random
from typing import Any

from cabins import ITSELF, Cabin
from cells import Cell, make_cell
from fates import Fate, check_cancels, choose_fate, end_all
from judge import Outcome, check_cell, outcome_name
from streams import consume
from trail import Marks, Trail, TrailError

from stateroom.errors import StateroomError

__all__ = ["take_step"]

PROBE = """
globals().setdefault('trail', [])
{
    'trail': list(trail),
    'kept': 'kept' not in globals() or kept() == thing.count() == len(trail) and pair[0] is trail,
    'loop': await __import__('asyncio').sleep(0, True),
    'threads': __import__('threading').active_count(),
}
"""
LATE_WITHIN_S = 20.0
LONGEST_TRAIL = 200
NUMBERS = itertools.count(1)


async def take_step(cabin: Cabin, dice: Random) -> None:
    """One random step, with a random fate, and a look at what has become of it."""
    step = dice.choices([_one, _many, _stream, _busy, _save, _restore], [8, 5, 3, 2, 2, 2])[0]
    restarts = cabin.open_session.info.restarts
    outcomes, fate, note = await step(cabin, dice)
    session = cabin.open_session
    if any(outcome.name == "caller gone" and outcome.cell.ends == "death" for outcome in outcomes):
        with contextlib.suppress(StateroomError):
            await cabin.open_session.run("0")  # ends when the death is known, which may be under way
    reopened = await cabin.settle()
    if reopened:
        _account(cabin.trail, outcomes, note, session.info.restarts - restarts)
        cabin.closed(saved=False)
        await cabin.open()
        await _probe(cabin)
    else:
        seen = await _look(cabin)
        assert cabin.session is session
        crashes = session.info.restarts - restarts
        assert not crashes or cabin.kind.rough, f"a worker was lost that nobody touched: {cabin!r}"
        _account(cabin.trail, outcomes, note, crashes)
        try:
            cabin.trail.observe(seen["trail"])
        except TrailError as error:
            error.add_note("\n".join(map(str, outcomes)))
            raise
        if crashes and outcomes:  # a restore has no cells
            cabin.trail.forget_other_pasts()
        if not crashes:
            await _check_late(cabin, outcomes)
    for outcome in outcomes:
        cabin.figures.cell(outcome.cell.kind, outcome.name)
        check_cell(outcome, fate.meddled | ({"kill"} if _dies(outcomes) else set()))
    check_cancels(fate, outcomes)
    cabin.late.clear()
    cabin.seen_chars.clear()
    if len(cabin.trail.possible[0]) > LONGEST_TRAIL:
        await cabin.open_session.run("trail.clear()", check=True)
        cabin.trail.cleared()


Note = Callable[[Trail], None]
"""Tells the model what the step did besides running cells."""
Step = tuple[list[Outcome], Fate, Note]


def _nothing(_trail: Trail) -> None:
    pass


async def _one(cabin: Cabin, dice: Random) -> Step:
    """One cell."""
    return await _cells(cabin, dice, 1, queue=True)


async def _many(cabin: Cabin, dice: Random) -> Step:
    """Several at once: one runs, the others wait."""
    return await _cells(cabin, dice, dice.randrange(2, 7), queue=True)


async def _busy(cabin: Cabin, dice: Random) -> Step:
    """Several at once, of which none but the first wants to wait."""
    return await _cells(cabin, dice, 2, queue=False)


async def _cells(cabin: Cabin, dice: Random, count: int, *, queue: bool) -> Step:
    cells = {number: make_cell(dice, number, cabin.kind.ends) for number in itertools.islice(NUMBERS, count)}
    fate = choose_fate(dice, rough=cabin.kind.rough, span_s=sum(cell.lasts_s for cell in cells.values()))
    cabin.doing = f"{count} cells {[cell.kind for cell in cells.values()]} with {fate}, queue={queue}"
    if not queue:
        fate.meddled.add("busy")
    timeout_s, first = fate.timeout_s(), min(cells)
    tasks = {
        number: asyncio.create_task(_run(cabin, number, cell, timeout_s, queue=queue or number == first))
        for number, cell in cells.items()
    }
    await asyncio.gather(fate.strike(cabin, tasks), end_all(cabin, cells, tasks, fate))
    results = await asyncio.gather(*tasks.values(), return_exceptions=True)
    outcomes = [
        Outcome(cell, number, result, outcome_name(result))
        for (number, cell), result in zip(cells.items(), results, strict=True)
    ]
    return outcomes, fate, _nothing


async def _run(cabin: Cabin, number: int, cell: Cell, timeout_s: float | None, *, queue: bool) -> Any:
    started = asyncio.get_running_loop().time()
    result = await cabin.open_session.run(
        cell.code,
        timeout=timeout_s,
        on_input=cabin.answer(cell),
        queue=queue,
        execution_id=f"c{number}",
    )
    if result.ok and cell.kind == "sync":
        cabin.figures.latency("run (sync)", asyncio.get_running_loop().time() - started)
    return result


async def _stream(cabin: Cabin, dice: Random) -> Step:
    """One cell whose messages are consumed slowly, or not to the end."""
    number = next(NUMBERS)
    cell = make_cell(dice, number, cabin.kind.ends)
    fate = choose_fate(dice, rough=cabin.kind.rough, span_s=cell.lasts_s)
    if fate.name == "timeout":
        fate.name = "none"
    cabin.doing = f"stream of {cell.kind} with {fate}"
    task = asyncio.create_task(consume(cabin, number, cell, dice, fate))
    await asyncio.gather(
        fate.strike(cabin, {number: task}), end_all(cabin, {number: cell}, {number: task}, fate)
    )
    result = await _what(task)
    return [Outcome(cell, number, result, outcome_name(result))], fate, _nothing


async def _save(cabin: Cabin, dice: Random) -> Step:
    """A checkpoint behind a cell, and perhaps trouble."""
    number = next(NUMBERS)
    cell = make_cell(dice, number, frozenset({ITSELF}))
    fate = choose_fate(dice, rough=cabin.kind.rough, span_s=cell.lasts_s + 0.01)
    fate.name = "none" if fate.name == "timeout" else fate.name
    cabin.doing = f"checkpoint behind {cell.kind} with {fate}"
    running = asyncio.create_task(_run(cabin, number, cell, None, queue=True))
    saving = asyncio.create_task(cabin.open_session.checkpoint())
    tasks: dict[int, asyncio.Task[Any]] = {number: running, 0: saving}
    await asyncio.gather(fate.strike(cabin, tasks), asyncio.wait([running, saving]))
    result, saved = await _what(running), await _what(saving)
    outcome = Outcome(cell, number, result, outcome_name(result))
    if isinstance(saved, BaseException):
        assert fate.meddled, f"a checkpoint failed: {saved!r}"
        assert isinstance(saved, StateroomError | asyncio.CancelledError), repr(saved)
        cabin.figures.count(f"checkpoints failed: {type(saved).__name__}")
        return [outcome], fate, Trail.may_have_saved
    cabin.figures.count("checkpoints")

    marks: list[Marks] = []

    def note(trail: Trail) -> None:
        trail.saved()
        marks.extend(trail.possible)

    cabin.saved = [*cabin.saved[-2:], (saved, marks)]
    return [outcome], fate, note


async def _what(task: asyncio.Task[Any]) -> Any:
    """What a task that is done returned or raised."""
    await asyncio.wait([task])
    return asyncio.CancelledError() if task.cancelled() else task.exception() or task.result()


async def _restore(cabin: Cabin, dice: Random) -> Step:
    """A checkpoint comes back, and perhaps trouble."""
    fate = choose_fate(dice, rough=cabin.kind.rough, span_s=0.01)
    if not cabin.saved or fate.name == "timeout":
        return await _one(cabin, dice)
    saved, marks = dice.choice(cabin.saved)
    cabin.doing = f"restore with {fate}"
    task = asyncio.create_task(cabin.open_session.restore(saved))
    await asyncio.gather(fate.strike(cabin, {0: task}), asyncio.wait([task]))
    try:
        report = await task
    except (StateroomError, asyncio.CancelledError) as error:
        is_gone = cabin.kind.stored and not saved.path.exists()  # only so many are kept
        if not fate.meddled and not is_gone:
            raise
        cabin.figures.count(f"restores failed: {type(error).__name__}")
        return [], fate, lambda trail: trail.may_have_restored(marks)
    assert "trail" in report.restored or () in marks, report
    cabin.figures.count("restores")
    return [], fate, lambda trail: trail.restored(marks)


async def _look(cabin: Cabin) -> dict[str, Any]:
    result = await cabin.open_session.run(PROBE)
    assert result.error is None, f"the probe failed: {result.error.text} {cabin!r}"
    assert result.value["kept"], f"what is defined in the namespace is not bound to it: {cabin!r}"
    assert result.value["loop"], cabin
    seen: dict[str, Any] = result.value
    return seen


async def _probe(cabin: Cabin) -> None:
    cabin.trail.observe((await _look(cabin))["trail"])


def _account(trail: Trail, outcomes: list[Outcome], note: Note, crashes: int) -> None:
    """Tell the model what has happened, in the order in which it did.

    Of ``crashes``, those that took no cell along may have come at any point: all are tried.
    """
    seen = sum(outcome.name in ("died", "forced") for outcome in outcomes)
    events: list[Note] = [_event(outcome) for outcome in outcomes] + [note]
    tried = []
    for places in itertools.combinations_with_replacement(range(len(events) + 1), max(0, crashes - seen)):
        copy = trail.copy()
        for place, event in enumerate([*events, _nothing]):
            if place in places:
                copy.lost()
            event(copy)
        tried.append(copy)
    trail.become_one_of(tried)


def _event(outcome: Outcome) -> Note:
    number = outcome.number
    if outcome.name in ("ok", "raised") and outcome.cell.marks:
        return lambda trail: trail.ran(number)
    if outcome.name in ("cancelled", "timeout", "caller gone"):
        return lambda trail: trail.may_have_run(number)
    if outcome.name in ("died", "forced"):
        return Trail.lost
    return _nothing


def _dies(outcomes: list[Outcome]) -> bool:
    return any(outcome.cell.ends == "death" or outcome.name == "forced" for outcome in outcomes)


async def _check_late(cabin: Cabin, outcomes: list[Outcome]) -> None:
    """Tasks and threads that outlive their cell are heard all the same, under its name."""
    for outcome in outcomes:
        if outcome.name != "ok" or outcome.cell.kind != "background":
            continue
        wanted = [f"task {outcome.number}", f"thread {outcome.number}"]
        deadline = asyncio.get_running_loop().time() + LATE_WITHIN_S
        while True:
            text = getattr(outcome.what, "stdout", "") + cabin.late.get(outcome.execution_id, "")
            if all(want in text for want in wanted):
                break
            assert asyncio.get_running_loop().time() < deadline, f"only {text!r} came of {outcome}"
            await asyncio.sleep(0.002)
        with contextlib.suppress(KeyError):
            del cabin.late[outcome.execution_id]
