"""What the namespace of a session may hold: the model that the soak checks the real one against.

Each cell appends its number to the list ``trail``, first of all. So the trail says which cells ran, in
which order, and how often; and after a recovery, which checkpoint came back. A cell that was cancelled
may have left its number or not, so the model is a set of possible trails, newest last, until it is
looked at.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

__all__ = ["Marks", "Trail", "TrailError"]

Marks = tuple[int, ...]

MOST_POSSIBLE = 2000
"""More would mean that the model says nothing."""
SLACK_CELLS = 12
"""An automatic checkpoint or two may have been cancelled, and others put off by that."""


class TrailError(AssertionError):
    """The namespace is not what it must be."""


class Trail:
    """The possible trails of one session.

    ``every_cells``: an automatic checkpoint is made after so many cells; None for none.
    """

    def __init__(self, every_cells: int | None = None) -> None:
        self.possible: list[Marks] = [()]
        self._every_cells = every_cells
        self._generations: deque[list[Marks]] = deque([[()]])
        """What a new worker may begin with: one set for each cell that may have been the last before it."""

    def __repr__(self) -> str:
        return f"<Trail possible={len(self.possible)} kept={len(self.kept)} newest={self.possible[-1][-5:]}>"

    @property
    def kept(self) -> list[Marks]:
        """What a new worker may begin with, newest last."""
        return _distinct(marks for generation in self._generations for marks in generation)

    def ran(self, number: int) -> None:
        """This cell began, and ended."""
        self._become((*marks, number) for marks in self.possible)

    def may_have_run(self, number: int) -> None:
        """This cell was ended, perhaps before its first line."""
        self._become([*self.possible, *((*marks, number) for marks in self.possible)])

    def lost(self) -> None:
        """The worker was replaced here, and began with the last checkpoint."""
        self._become(self.kept)

    def saved(self) -> None:
        """A checkpoint was made here."""
        self._generations = deque([list(self.possible)])

    def may_have_saved(self) -> None:
        """A checkpoint was perhaps made here."""
        self._generations.append(list(self.possible))

    def may_begin_empty(self) -> None:
        """The next session may be another one, of which nothing is known."""
        self.possible.append(())
        self._generations.append([()])

    def restored(self, marks: Iterable[Marks]) -> None:
        """A checkpoint of one of these trails was brought back."""
        self._become(marks)

    def may_have_restored(self, marks: Iterable[Marks]) -> None:
        """The same, or not."""
        self._become([*self.possible, *marks])

    def cleared(self) -> None:
        """The trail was made empty."""
        self._become([()])

    def copy(self) -> Trail:
        """One to try something on."""
        copy = Trail(self._every_cells)
        copy.possible, copy._generations = list(self.possible), deque(self._generations)
        return copy

    def become_one_of(self, trails: Iterable[Trail]) -> None:
        """It went as with one of these."""
        tried = list(trails)
        self.possible = _distinct(marks for trail in tried for marks in trail.possible)
        self._generations = deque([_distinct(marks for trail in tried for marks in trail.kept)])
        self._check_size()

    def observe(self, seen: Iterable[int]) -> None:
        """The real trail; raises :class:`TrailError` if it cannot be."""
        marks = tuple(seen)
        if marks not in self.possible:
            tails = [possible[-8:] for possible in self.possible[-12:]]
            raise TrailError(
                f"the trail ends with {marks[-8:]} ({len(marks)} marks); possible ends, newest last: {tails}"
                f"; kept: {[kept[-4:] for kept in self.kept[-12:]]}"
            )
        self.possible = [marks]

    def forget_other_pasts(self) -> None:
        """After a recovery without a restore: what came back is the beginning of what is there."""
        (seen,) = self.possible
        kept = [marks for marks in self.kept if seen[: len(marks)] == marks]
        self._generations = deque([kept])

    def _become(self, marks: Iterable[Marks]) -> None:
        self.possible = _distinct(marks)
        self._check_size()
        if self._every_cells is not None:
            self._generations.append(list(self.possible))
            while len(self._generations) > SLACK_CELLS + 2 * self._every_cells:
                self._generations.popleft()

    def _check_size(self) -> None:
        if len(self.possible) > MOST_POSSIBLE:
            raise TrailError(f"the model lost its way: {len(self.possible)} possible trails")


def _distinct(marks: Iterable[Marks]) -> list[Marks]:
    return list(dict.fromkeys(marks))
