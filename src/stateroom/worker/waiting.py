"""Whether one task waits for another, directly or through task groups and gathers.

CPython 3.14 keeps this (``asyncio.future_add_to_awaited_by``); before, it is read off what asyncio's
own constructs leave on the futures.
"""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["waits_for"]

MAX_DEPTH = 50


def waits_for(waiter: asyncio.Task[Any], task: asyncio.Task[Any], depth: int = MAX_DEPTH) -> bool:
    """Whether ``waiter`` cannot go on before ``task`` is done."""
    if waiter is task:
        return True
    if depth == 0:
        return False
    return any(waits_for(parent, task, depth - 1) for parent in _awaited(waiter, task))


def _awaited(waiter: asyncio.Task[Any], task: asyncio.Task[Any]) -> list[asyncio.Task[Any]]:
    """Tasks that ``waiter`` waits for at the moment, as far as they matter for ``task``."""
    future = getattr(waiter, "_fut_waiter", None)
    if future is None:
        return []
    if isinstance(future, asyncio.Task):
        return [future]
    children = list(getattr(future, "_children", ()))  # of asyncio.gather
    if _group_parent(task) is waiter:
        children.append(task)
    return [child for child in children if isinstance(child, asyncio.Task)]


def _group_parent(task: asyncio.Task[Any]) -> asyncio.Task[Any] | None:
    """The task whose ``async with TaskGroup()`` started ``task``, if one did."""
    for callback, *_ in getattr(task, "_callbacks", None) or ():
        group = getattr(callback, "__self__", None)
        if isinstance(group, asyncio.TaskGroup):
            return group._parent_task  # type: ignore[attr-defined, no-any-return]
    return None
