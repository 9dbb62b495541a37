"""What the soak does to cells and workers while they run."""

from __future__ import annotations

import asyncio
import os
import signal
from random import Random
from typing import Any

from cabins import POLL_S, Cabin
from cells import Cell
from judge import Outcome

from stateroom import CancelOutcome, StateroomError

__all__ = ["Fate", "check_cancels", "choose_fate", "end_all"]

FATES = {"none": 12, "cancel": 4, "twice": 2, "by id": 3, "unknown": 1, "caller": 2, "timeout": 3}
ROUGH_FATES = {**FATES, "force": 1, "kill": 3, "restart": 1, "close": 1}
NOTICED_WITHIN_S = 30.0


def choose_fate(dice: Random, *, rough: bool, span_s: float) -> Fate:
    """A random fate, which strikes within about ``span_s``."""
    table = ROUGH_FATES if rough else FATES
    name = dice.choices(list(table), list(table.values()))[0]
    return Fate(name, dice.random() * 1.5 * span_s, dice)


class Fate:
    """One thing that is done to the cells of a step, at a random moment."""

    def __init__(self, name: str, after_s: float, dice: Random) -> None:
        self.name = name
        self.after_s = after_s
        self.meddled: set[str] = set()
        """The kinds of meddling to reckon with."""
        self.cancelled: dict[int, CancelOutcome] = {}
        """What a cancel by name came to, by the number of the cell."""
        self._dice = dice

    def __repr__(self) -> str:
        return f"<Fate {self.name} after {self.after_s * 1e3:.1f} ms>"

    def timeout_s(self) -> float | None:
        """The time limit of the cells, if that is the fate."""
        if self.name != "timeout":
            return None
        self.meddled.add("timeout")
        return self.after_s

    async def strike(self, cabin: Cabin, tasks: dict[int, asyncio.Task[Any]]) -> None:
        """Do it to the cabin, or to one of the cells that ``tasks`` run, by number."""
        if self.name in ("none", "timeout"):
            return
        await asyncio.sleep(self.after_s)
        number = self._dice.choice(list(tasks)) if tasks else 0
        await getattr(self, "_" + self.name.replace(" ", "_"))(cabin, number, tasks)

    async def _cancel(self, cabin: Cabin, _number: int, _tasks: Any) -> None:
        self.meddled.add("cancel")
        outcome = await cabin.open_session.cancel()
        cabin.figures.count(f"cancel of whatever runs: {outcome}")

    async def _twice(self, cabin: Cabin, _number: int, _tasks: Any) -> None:
        self.meddled.add("cancel")
        await asyncio.gather(cabin.open_session.cancel(), cabin.open_session.cancel())

    async def _by_id(self, cabin: Cabin, number: int, _tasks: Any) -> None:
        self.meddled.add("cancel")
        outcome = self.cancelled[number] = await cabin.open_session.cancel(f"c{number}")
        cabin.figures.count(f"cancel by id: {outcome}")

    async def _unknown(self, cabin: Cabin, _number: int, _tasks: Any) -> None:
        outcome = await cabin.open_session.cancel("nobody")
        assert outcome is CancelOutcome.NOTHING_RUNNING, f"cancel of an unknown id: {outcome}"

    async def _force(self, cabin: Cabin, _number: int, _tasks: Any) -> None:
        self.meddled.add("force")
        await cabin.open_session.cancel(hard_stop=True)

    async def _caller(self, cabin: Cabin, number: int, tasks: dict[int, asyncio.Task[Any]]) -> None:
        if number in tasks:
            self.meddled.add("caller")
            cabin.figures.count("callers cancelled")
            tasks[number].cancel()

    async def _kill(self, cabin: Cabin, _number: int, _tasks: Any) -> None:
        pid, session = cabin.open_session.pid, cabin.open_session
        if pid is None or session.state == "broken":
            return
        self.meddled.add("kill")
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        cabin.figures.count("kills")
        started = asyncio.get_running_loop().time()
        while f"worker {pid} " not in (session.info.last_exit or ""):
            waited_s = asyncio.get_running_loop().time() - started
            assert waited_s < NOTICED_WITHIN_S, f"the death of worker {pid} was not noticed: {session!r}"
            await asyncio.sleep(POLL_S)
        cabin.figures.latency("death noticed", asyncio.get_running_loop().time() - started)

    async def _restart(self, cabin: Cabin, _number: int, _tasks: Any) -> None:
        self.meddled.add("restart")
        try:
            await cabin.open_session.restart()
        except StateroomError as error:
            cabin.figures.count(f"restart refused: {type(error).__name__}")

    async def _close(self, cabin: Cabin, _number: int, _tasks: Any) -> None:
        self.meddled.add("close")
        await cabin.open_session.close()


async def end_all(
    cabin: Cabin, cells: dict[int, Cell], tasks: dict[int, asyncio.Task[Any]], fate: Fate
) -> None:
    """End what does not end by itself, one after another, with as many requests as that needs."""
    for number, cell in cells.items():
        if cell.ends in ("itself", "death"):
            await asyncio.wait([tasks[number]])
            continue
        await asyncio.wait([tasks[number]], timeout=fate.after_s + cell.lasts_s)
        for attempt in range(1, 10):
            if tasks[number].done():
                break
            await _end(cabin, number, tasks[number], fate, cell=cell, attempt=attempt)


async def _end(
    cabin: Cabin, number: int, task: asyncio.Task[Any], fate: Fate, *, cell: Cell, attempt: int
) -> None:
    started = asyncio.get_running_loop().time()
    outcome = await cabin.open_session.cancel(f"c{number}", hard_stop=attempt > 2)
    if outcome is CancelOutcome.CANCELLED:
        fate.cancelled[number] = outcome
        cabin.figures.latency(f"cancel ({cell.kind})", asyncio.get_running_loop().time() - started)
    if attempt > 2:
        fate.meddled.add("force")
    is_over = outcome is not CancelOutcome.IGNORED
    await asyncio.wait([task], timeout=30 if is_over else 0)
    assert task.done() or not is_over, f"cancel said {outcome}, but c{number} goes on: {cabin!r}"
    patient = not cabin.kind.rough and cell.ends == "cancel"
    assert task.done() or not patient, f"c{number} did not end within a grace of 30 s: {cabin!r}"


def check_cancels(fate: Fate, outcomes: list[Outcome]) -> None:
    """A cancel that claims to have ended a cell has ended it."""
    for outcome in outcomes:
        if fate.cancelled.get(outcome.number) is CancelOutcome.CANCELLED:
            ended = ("cancelled", "timeout", "unqueued", "caller gone")
            assert outcome.name in ended, f"cancel said CANCELLED, but: {outcome}"
