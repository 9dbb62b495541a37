"""A run of Trio that a cell makes itself: ``trio.run``, or AnyIO on Trio.

What is raised in the code of Trio leaves it broken: the run is over for the cell, but not for Trio, which
refuses the next one. So Trio is asked to cancel what its main task has begun, as ``nursery.cancel_scope``
does, and every task unwinds. Where a task may be interrupted, Trio tells, since it has to know for Ctrl-C;
but its own code is spared altogether.
"""

from __future__ import annotations

import os
import sys
from asyncio import CancelledError
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from math import inf
from types import CodeType, FrameType
from typing import Any, NamedTuple
from weakref import WeakSet

from ..engine.stacks import traceback_of
from .frames import is_standard

__all__ = ["TrioRun", "as_cancel", "trio_folder", "trio_run_code"]

GENERATED = "<attrs generated"
"""Begins the name of what attrs has written for a class."""
MAIN_DEPTH = 3
"""The main task has the innermost nursery of Trio's root task, inside those for its own tasks."""


class TrioRun(NamedTuple):
    """The run of Trio in the calling thread, seen from the cancel's handler.

    The same questions as :class:`~stateroom.worker.own_loops.OwnLoop` answers.
    """

    token: Any
    """Names the run, and leads into it; None while it is being set up or torn down."""
    future: Any
    """The main task, unless it has not begun or has ended."""
    current: Any
    """The task that has the thread."""
    is_idle: bool
    """Whether the thread is in the code of Trio, and not in what it has called."""

    @property
    def swallows(self) -> bool:
        """Whether an exception raised inside of its code would not come out."""
        return False

    @property
    def is_over(self) -> bool:
        """Whether it is about to begin, or to end by itself."""
        return self.is_idle and self.future is None

    @property
    def may_not_end(self) -> bool:
        """Whether code of the user's can hold up the end that is about to come.

        System tasks and async generators clean up when the main task has ended, without being cancelled.
        """
        return self.token is not None

    def get_loop(self) -> Any:
        """What stands for the run."""
        return self.token

    def call_soon(self, function: Callable[..., object], *args: object) -> None:
        """Have Trio call it, unless it has ended meanwhile."""
        with suppress(RuntimeError):
            self.token.run_sync_soon(function, *args)

    def futures(self) -> WeakSet[Any]:
        """Its tasks, but for Trio's own."""
        return WeakSet(() if self.future is None else _tasks_from(self.future))

    def untold(self, told: WeakSet[Any]) -> list[Any]:
        """What a cancel is for, and has not been told of it: all that the main task has begun."""
        nursery = None if self.future in told else _main_nursery(_lowlevel().current_root_task())
        return [] if nursery is None or nursery.cancel_scope in told else [nursery.cancel_scope]

    def must_hear(self, present: WeakSet[Any]) -> bool:
        """Whether the task that has the thread is to end, and does not clean up already.

        One that began after the cancel is told by Trio as well, but not before it waits.
        """
        if self.current not in present and sys.modules["trio"].current_effective_deadline() > -inf:
            return False
        error = sys.exception()
        while error is not None and not issubclass(type(error), _trio_cancelled()):
            error = error.__context__
        return error is None

    def frames(self) -> Iterator[FrameType]:
        """The frames in which its tasks wait."""
        for task in self.futures():
            yield from (frame for frame, _line in task.iter_await_frames())

    @classmethod
    def around(cls, frame: FrameType) -> TrioRun:
        """The one in the calling thread, which is in ``trio.run`` and was interrupted in ``frame``."""
        lowlevel = _lowlevel()
        try:
            root, token = lowlevel.current_root_task(), lowlevel.current_trio_token()
        except RuntimeError:
            return cls(None, None, None, is_idle=True)
        try:
            current = lowlevel.current_task()
        except RuntimeError:
            current = None
        nursery = _main_nursery(root)
        main = next(iter(_children(nursery)), None)
        is_idle = current is None or lowlevel.currently_ki_protected() or _is_in_trio(frame)
        return cls(token, main, current, is_idle)


def trio_run_code() -> CodeType | None:
    """What a run of Trio is told by, on the stack; None as long as nobody has imported it."""
    trio = sys.modules.get("trio")
    return getattr(getattr(trio, "run", None), "__code__", None) if hasattr(trio, "lowlevel") else None


def trio_folder() -> tuple[str, ...]:
    """Where its code is, if it has been imported."""
    code = trio_run_code()
    return () if code is None else (os.path.dirname(os.path.dirname(code.co_filename)) + os.sep,)


def as_cancel(error: BaseException) -> BaseException:
    """Of what a cancelled run of Trio raises, the CancelledError that it means; other errors as they are.

    A run that had to be left by force ends here: the traceback keeps it, and Trio would refuse the next.
    """
    trace = traceback_of(error)
    while trace is not None:
        if trace.tb_frame.f_code is trio_run_code():
            trace.tb_frame.clear()
        trace = trace.tb_next
    kinds: tuple[type[BaseException], ...] = (CancelledError, *_trio_cancelled())
    if issubclass(type(error), CancelledError) or not _is_nothing_but(error, kinds):
        return error
    return CancelledError("the cell was cancelled").with_traceback(traceback_of(error))


def _is_nothing_but(error: BaseException, kinds: tuple[type[BaseException], ...]) -> bool:
    if issubclass(type(error), BaseExceptionGroup):
        parts = BaseExceptionGroup.__dict__["exceptions"].__get__(error)
        return all(_is_nothing_but(part, kinds) for part in parts)
    if issubclass(type(error), _trio_error("TrioInternalError")):  # of what was raised in a task of its own
        cause = BaseException.__dict__["__cause__"].__get__(error)
        return cause is not None and _is_nothing_but(cause, kinds)
    return issubclass(type(error), kinds)


def _trio_cancelled() -> tuple[type[BaseException], ...]:
    """What Trio raises in a task that is cancelled."""
    return _trio_error("Cancelled")


def _trio_error(name: str) -> tuple[type[BaseException], ...]:
    """An exception of Trio's, if anybody has imported it."""
    kind: type[BaseException] | None = getattr(sys.modules.get("trio"), name, None)
    return () if kind is None else (kind,)


def _is_in_trio(frame: FrameType | None) -> bool:
    """Whether Trio has the thread, or what it has called: it is not everywhere prepared for Ctrl-C."""
    folder = trio_folder()
    while frame is not None and not frame.f_code.co_filename.startswith(folder):
        filename = frame.f_code.co_filename
        if not is_standard(filename) and not filename.startswith(GENERATED):
            return False
        frame = frame.f_back
    return frame is not None


def _lowlevel() -> Any:
    return sys.modules["trio"].lowlevel


def _main_nursery(root: Any) -> Any:
    if root is None or len(root.child_nurseries) != MAIN_DEPTH:
        return None
    return root.child_nurseries[-1]


def _tasks_from(task: Any) -> Iterator[Any]:
    yield task
    for nursery in task.child_nurseries:
        for child in _children(nursery):
            yield from _tasks_from(child)


def _children(nursery: Any) -> Iterable[Any]:
    """Its tasks; none if its making was interrupted."""
    children: Iterable[Any] = getattr(nursery, "child_tasks", ())
    return children
