"""The "Did you mean" of Python 3.11, whose :mod:`traceback` leaves it to the printer in C.

That printer writes to ``sys.stderr`` and nowhere else; swapping ``sys.stderr`` would catch what other
threads print. So the search is done here: candidates and limits as documented for CPython 3.11, the
distance is that of Levenshtein with cheap changes of case.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import FrameType
from typing import Any

__all__ = ["suggestion"]

MAX_CANDIDATES = 750
MAX_NAME_CHARS = 40
MOVE_COST = 2
CASE_COST = 1


def suggestion(error: NameError | AttributeError) -> str | None:
    """A name close to the one that was not found, or None. Never raises."""
    name = error.name
    if not isinstance(name, str):
        return None
    try:
        names = dir(error.obj) if isinstance(error, AttributeError) else _names_in_scope(error)
        candidates = sorted({name for name in names if isinstance(name, str)})
    except Exception:  # noqa: BLE001 - a hostile __dir__
        return None
    return _closest(name, candidates) if len(candidates) < MAX_CANDIDATES else None


def _names_in_scope(error: NameError) -> Iterable[Any]:
    frame = _innermost_frame(error)
    return () if frame is None else [*frame.f_locals, *frame.f_globals, *frame.f_builtins]


def _innermost_frame(error: BaseException) -> FrameType | None:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return None if trace is None else trace.tb_frame


def _closest(wrong: str, candidates: list[str]) -> str | None:
    if len(wrong) > MAX_NAME_CHARS:
        return None
    best, best_distance = None, None
    for candidate in candidates:
        if candidate == wrong:
            continue
        # A third of the characters involved may be moved.
        limit = (len(candidate) + len(wrong) + 3) * MOVE_COST // 6
        if best_distance is not None:
            limit = min(limit, best_distance - 1)
        distance = _distance(wrong, candidate)
        if distance <= limit:
            best, best_distance = candidate, distance
    return best


def _distance(left: str, right: str) -> int:
    if len(right) > MAX_NAME_CHARS:
        return MOVE_COST * len(right)
    row = [column * MOVE_COST for column in range(len(right) + 1)]
    for index, char in enumerate(left, 1):
        diagonal, row[0] = row[0], index * MOVE_COST
        for column, other in enumerate(right, 1):
            replaced = diagonal + _replacement_cost(char, other)
            diagonal = row[column]
            row[column] = min(replaced, row[column] + MOVE_COST, row[column - 1] + MOVE_COST)
    return row[-1]


def _replacement_cost(left: str, right: str) -> int:
    if left == right:
        return 0
    return CASE_COST if left.lower() == right.lower() else MOVE_COST
