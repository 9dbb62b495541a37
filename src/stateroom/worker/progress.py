"""``progress``: how far a cell is, as data, for whatever draws it on the other side."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from operator import length_hint
from time import monotonic
from typing import Any, Generic, TypeVar

from ..protocol.messages import ProgressMessage
from .publisher import installed
from .user_code import call_user_code

__all__ = ["Progress", "progress"]

T = TypeVar("T")

INTERVAL_S = 0.05
"""Between two reports; what comes closer is left to the next one."""
_END: Any = object()


class Progress(Generic[T]):
    """A measure of how far something is. Iterate over it, or use it in ``with`` and :meth:`advance` it.

    The first report goes out when it starts and the last when it ends, ``done``; in between at most
    one in 50 ms. Outside of a session's worker it writes to a terminal, if stderr is one. The unit of
    ``total`` is the caller's own.
    """

    def __init__(self, iterable: Iterable[T], total: float | None, description: str) -> None:
        publisher = installed()
        self.completed: float = 0
        """How much is done, in the unit of ``total``."""
        self.total = total
        """How much there is to do; None if that is not known."""
        self.description = description
        """What it is about."""
        self.done = False
        """Whether it has ended."""
        self._iterable = iterable
        self._id = publisher.new_id() if publisher is not None else ""
        self._due = 0.0

    def __repr__(self) -> str:
        return f"<Progress {self.description!r} {self.completed}/{self.total} done={self.done}>"

    def __iter__(self) -> Iterator[T]:
        iterator = call_user_code(iter, self._iterable)
        with self:
            while (item := call_user_code(next, iterator, _END)) is not _END:
                yield item
                self.advance()

    def __enter__(self) -> Progress[T]:
        self._report()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def advance(self, amount: float = 1, description: str | None = None) -> None:
        """``amount`` more is done."""
        self.report(self.completed + amount, description=description)

    def report(self, completed: float, *, total: float | None = None, description: str | None = None) -> None:
        """``completed`` is done, of ``total``; what is None stays as it was."""
        self.completed = completed
        self.total = self.total if total is None else total
        self.description = self.description if description is None else description
        if not self.done and monotonic() >= self._due:
            self._report()

    def close(self) -> None:
        """The last report, whether or not the total was reached; later ones are ignored."""
        if not self.done:
            self.done = True
            self._report()

    def _report(self) -> None:
        self._due = monotonic() + INTERVAL_S
        publisher = installed()
        if publisher is None:
            self._write()
            return
        publisher.progress(
            ProgressMessage(
                progress_id=self._id,
                completed=self.completed,
                total=self.total,
                description=self.description,
                done=self.done,
            )
        )

    def _write(self) -> None:
        if sys.stderr is not None and sys.stderr.isatty():
            total = "" if self.total is None else f"/{self.total}"
            end = "\n" if self.done else ""
            sys.stderr.write(f"\r{self.description} {self.completed}{total}{end}")
            sys.stderr.flush()


def progress(
    iterable: Iterable[T] | None = None, *, total: float | None = None, description: str = ""
) -> Progress[T]:
    """Report how far a loop is: ``for item in stateroom.progress(items): ...``.

    Without ``total``, the length of the iterable is taken, if it has one. Without an iterable, as
    ``with stateroom.progress(total=10) as bar:``, call ``bar.advance()`` or ``bar.report(completed)``.
    """
    if total is None and iterable is not None:
        length = call_user_code(length_hint, iterable, -1)
        total = length if length >= 0 else None
    return Progress(() if iterable is None else iterable, total, str(description))
