"""Tells what became of a cell, and whether that may be."""

from __future__ import annotations

import asyncio
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from cells import Cell

import stateroom
from stateroom import ExecutionResult

__all__ = ["Outcome", "check_cell", "outcome_name"]

MEDDLING = {
    "cancel": {"cancelled", "unqueued"},
    "force": {"cancelled", "unqueued", "forced"},
    "caller": {"caller gone", "cancelled", "forced"},
    "timeout": {"timeout", "unqueued", "forced"},
    "kill": {"died", "broken"},
    "restart": {"died", "broken"},
    "close": {"cancelled", "died", "broken", "closed", "unqueued"},
    "busy": {"busy"},
    "stop": {"caller gone"},
}
"""What may become of a cell if somebody meddles in this way."""
BY_CELL = {
    "itself": {"ok", "raised"},
    "cancel": {"cancelled", "timeout", "unqueued"},
    "insist": {"cancelled", "timeout", "unqueued", "forced"},
    "force": {"cancelled", "timeout", "unqueued", "forced"},
    "death": {"died"},
}
"""And if nobody does more than to end what does not end."""


DESTROYED = ("Task was destroyed but it is pending!", "Exception ignored in: <function BaseEventLoop.__del__")
"""A second cancel may end ``asyncio.run`` in the middle of its own end; Python says so, some cells later."""


@dataclass
class Outcome:
    """A cell, its number, and what became of it."""

    cell: Cell
    number: int
    what: ExecutionResult | BaseException
    name: str = ""

    @property
    def execution_id(self) -> str:
        return f"c{self.number}"

    def __str__(self) -> str:
        what = self.what
        if isinstance(what, ExecutionResult):
            error = f"{what.error.type}: {what.error.message[:300]}" if what.error is not None else "no error"
            shown = f"value {what.value!r:.80}, {len(what.stdout)} characters printed, {error}"
        else:
            shown = f"{type(what).__name__}: {what}"
        return f"{self.name} {self.execution_id} {self.cell.kind}: {shown}; code:\n{self.cell.code[:2000]}"


def outcome_name(what: ExecutionResult | BaseException) -> str:
    """One word or two for it."""
    if isinstance(what, ExecutionResult):
        return _result_name(what)
    by_type = {
        asyncio.CancelledError: "caller gone",
        stateroom.Busy: "busy",
        stateroom.SessionClosed: "closed",
        stateroom.SessionBroken: "broken",
    }
    return by_type.get(type(what), f"raised {type(what).__name__}")


def _result_name(result: ExecutionResult) -> str:
    error = result.error
    if error is None:
        return "ok"
    if result.cancelled:
        if "by force" in error.message:
            return "forced"
        if "before it began" in error.message or "did not begin" in error.message:
            return "unqueued"
        return "timeout" if error.type == "TimeoutError" else "cancelled"
    names = {"WorkerDied": "died", "SessionBroken": "broken", "SessionClosed": "closed"}
    return names.get(error.type, "raised")


def check_cell(outcome: Outcome, meddled: AbstractSet[str]) -> None:
    """Raise AssertionError if this cell cannot have ended so."""
    allowed = set(BY_CELL[outcome.cell.ends]).union(*(MEDDLING[how] for how in meddled))
    assert outcome.name in allowed, f"{outcome.name!r} is not one of {sorted(allowed)}: {outcome}"
    result = outcome.what
    if outcome.name in ("ok", "raised"):
        assert isinstance(result, ExecutionResult)
        _check_ended_well(outcome.cell, result, outcome)
    elif isinstance(result, ExecutionResult) and outcome.cell.floods:
        _check_flood(outcome.cell, result, outcome)


def _check_ended_well(cell: Cell, result: ExecutionResult, outcome: Outcome) -> None:
    error = result.error.type if result.error is not None else None
    assert error == cell.error, f"the error must be {cell.error}: {outcome}"
    assert result.value == cell.value, f"the value must be {cell.value!r:.200}: {outcome}"
    if cell.stdout != "*":
        _check_text("stdout", result.stdout, cell.stdout, outcome)
    if not result.stderr.startswith(DESTROYED):
        _check_text("stderr", result.stderr, cell.stderr, outcome)
    shown = [display.mime.get("text/plain") for display in result.displays]
    assert shown == cell.displays, f"shown was {shown}, must be {cell.displays}: {outcome}"


def _check_text(name: str, have: str, want: str, outcome: Outcome) -> None:
    if have == want:
        return
    place = next(
        (i for i, (a, b) in enumerate(zip(have, want, strict=False)) if a != b), min(len(have), len(want))
    )
    near = slice(max(0, place - 100), place + 100)
    raise AssertionError(
        f"{name} differs at {place} ({len(have)} characters for {len(want)}):\n"
        f"{have[near]!r}\nfor\n{want[near]!r}\n{outcome}"
    )


def _check_flood(cell: Cell, result: ExecutionResult, outcome: Outcome) -> None:
    """All lines are that line, but the last, which may be cut, and the note that says so."""
    lines = result.stdout.partition("[output cut")[0].splitlines(keepends=True)
    wrong = [line for line in lines[:-1] if line != cell.stdout]
    assert not wrong, f"a flood had {len(wrong)} other lines, as {wrong[0]!r}: {outcome}"
